/* fetching.h - the trace around a cursor method that returns rows. */
#ifndef MEMWATCH_PYTHON_FETCHING_H
#define MEMWATCH_PYTHON_FETCHING_H
#include "sql/steps.h"

extern PyTypeObject *mwpy_fetching_type;
extern PyType_Spec mwpy_fetching_spec;
extern const mwpy_steps mwpy_fetching_steps;
#endif
