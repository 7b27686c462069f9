/* shell.h - what stands between the program and a library's function. */
#ifndef MEMWATCH_PYTHON_SHELL_H
#define MEMWATCH_PYTHON_SHELL_H
#include "adapter.h"

extern PyTypeObject *mwpy_shell_type;
extern PyType_Spec mwpy_shell_spec;

/* Whether the exception that is set is ours to swallow: an Exception that no handler of a signal has raised. */
bool mwpy_is_ours(void);
PyObject *mwpy_raise_unless_ours(PyObject *module, PyObject *error);

/* Between these two, the program's trace and profile functions aren't called (sys.settrace, sys.setprofile). */
static inline void mwpy_hush(void) { PyThreadState_EnterTracing(PyThreadState_Get()); }
static inline void mwpy_unhush(void) { PyThreadState_LeaveTracing(PyThreadState_Get()); }
#endif
