/* shell.h - what stands between the program and a library's function. */
#ifndef MEMWATCH_PYTHON_SHELL_H
#define MEMWATCH_PYTHON_SHELL_H
#include "adapter.h"

extern PyTypeObject *mwpy_shell_type;
extern PyType_Spec mwpy_shell_spec;
#endif
