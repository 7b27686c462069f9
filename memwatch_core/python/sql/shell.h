/* shell.h - runs a trace around a call of the library's function. */
#ifndef MEMWATCH_PYTHON_SHELL_H
#define MEMWATCH_PYTHON_SHELL_H
#include "adapter.h"

extern PyTypeObject *mwpy_shell_type;
extern PyType_Spec mwpy_shell_spec;

/* Whether the current exception is ours to swallow: an Exception that no signal handler raised. */
bool mwpy_is_ours(void);
PyObject *mwpy_raise_unless_ours(PyObject *module, PyObject *error);

/* Between these two, the program's trace and profile functions (sys.settrace, sys.setprofile) aren't called. */
static inline void mwpy_hush(void) { PyThreadState_EnterTracing(PyThreadState_Get()); }
static inline void mwpy_unhush(void) { PyThreadState_LeaveTracing(PyThreadState_Get()); }
#endif
