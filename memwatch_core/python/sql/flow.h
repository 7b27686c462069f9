/* flow.h - the statement in force in an execution flow: the value of one ContextVar. */
#ifndef MEMWATCH_PYTHON_FLOW_H
#define MEMWATCH_PYTHON_FLOW_H
#include "adapter.h"

int mwpy_make_flow(void);           /* creates the ContextVar, once */
extern PyObject *mwpy_flow;         /* values: a statement, or None */
PyObject *mwpy_flow_value(void);    /* mwpy_flow's value in this flow, borrowed; NULL: none */
int mwpy_set_flow(PyObject *value); /* may end the statement that was in force */
#endif
