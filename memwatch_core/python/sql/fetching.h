/* fetching.h - what is done around a cursor's method that hands out rows. */
#ifndef MEMWATCH_PYTHON_FETCHING_H
#define MEMWATCH_PYTHON_FETCHING_H
#include "sql/steps.h"

extern PyTypeObject *mwpy_fetching_type;
extern PyType_Spec mwpy_fetching_spec;
extern const mwpy_steps mwpy_fetching_steps;
#endif
