/* executing.h - code of a module that is exchanged for other code when it is about to be executed. */
#ifndef MEMWATCH_PYTHON_EXECUTING_H
#define MEMWATCH_PYTHON_EXECUTING_H
#include "adapter.h"

extern PyMethodDef mwpy_executing_functions[];
#endif
