/* bottom.h - a program that is run as the interpreter itself runs it: nobody has called it. */
#ifndef MEMWATCH_PYTHON_BOTTOM_H
#define MEMWATCH_PYTHON_BOTTOM_H
#include "adapter.h"

extern PyMethodDef mwpy_bottom_functions[];
#endif
