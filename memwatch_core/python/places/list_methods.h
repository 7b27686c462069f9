/* list_methods.h - what list's own methods do to a watched list, from its beginning to its end. */
#ifndef MEMWATCH_PYTHON_LIST_METHODS_H
#define MEMWATCH_PYTHON_LIST_METHODS_H
#include "adapter.h"

/* As long as it is used, methods and operators of list, and of this class, are reported (reports.h). */
void mwpy_list_methods_take(PyTypeObject *type);
void mwpy_list_methods_give_back(void);
#endif
