/* flow.c - the statement in force: the value of one ContextVar, mwpy_flow, in the current context. */
#define Py_BUILD_CORE_MODULE 1
#include "sql/flow.h"

#include "interpreter.h"
#include "origins/context.h"

PyObject *mwpy_flow;

int mwpy_make_flow(void) {
    if (!mwpy_flow) mwpy_flow = PyContextVar_New("memwatch.statement", Py_None);
    return mwpy_flow ? 0 : -1;
}

PyObject *mwpy_flow_value(void) { return mwpy_value_in(mwpy_current_thread(), mwpy_flow); }

int mwpy_set_flow(PyObject *value) { return mwpy_set_in_context(mwpy_flow, value); }
