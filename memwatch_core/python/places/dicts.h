/* dicts.h - reports of dicts, as changes of nodes. See reports.h for what they say. */
#ifndef MEMWATCH_PYTHON_DICTS_H
#define MEMWATCH_PYTHON_DICTS_H
#include "adapter.h"

int mwpy_dict_changes(PyDict_WatchEvent event, PyObject *dict, PyObject *key, PyObject *now);
void mwpy_dict_replaced(PyObject *owner, PyObject *before);
#endif
