/* execute_hooks.h - what is done around a cursor's method that runs a statement. */
#ifndef MEMWATCH_PYTHON_EXECUTE_HOOKS_H
#define MEMWATCH_PYTHON_EXECUTE_HOOKS_H
#include "adapter.h"

extern PyTypeObject *mwpy_execute_hooks_type;
extern PyType_Spec mwpy_execute_hooks_spec;
#endif
