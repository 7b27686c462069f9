/* running.h - the trace around a cursor method that runs a statement. */
#ifndef MEMWATCH_PYTHON_RUNNING_H
#define MEMWATCH_PYTHON_RUNNING_H
#include "sql/steps.h"

extern PyTypeObject *mwpy_running_type;
extern PyType_Spec mwpy_running_spec;
extern const mwpy_steps mwpy_running_steps;
#endif
