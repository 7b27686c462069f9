/* places.h - watch() of objects and dicts where they lie, as functions of memwatch_core.native.proxy. */
#ifndef MEMWATCH_PYTHON_PLACES_H
#define MEMWATCH_PYTHON_PLACES_H
#include "adapter.h"

extern PyMethodDef mwpy_places_functions[];
#endif
