/* arguments.h - arguments of a fast-called method (METH_FASTCALL | METH_KEYWORDS). */
#ifndef MEMWATCH_PYTHON_ARGUMENTS_H
#define MEMWATCH_PYTHON_ARGUMENTS_H
#include "adapter.h"

enum { MWPY_ARGUMENTS = 8 };

typedef struct mwpy_signature {
    const char *method;
    Py_ssize_t required;
    const char *names[MWPY_ARGUMENTS + 1];
    PyObject *interned[MWPY_ARGUMENTS];
} mwpy_signature;

/* Call once, before the first call of the method. 0, or -1 with an exception. */
int mwpy_intern_names(mwpy_signature *s);

/* Binds a call's arguments to `out`, borrowed; missing ones are NULL. 0, or -1 with TypeError. */
int mwpy_bind(const mwpy_signature *s, PyObject *const *args, Py_ssize_t n, PyObject *keywords, PyObject **out);

static inline bool mwpy_is_given(PyObject *argument) { return argument && argument != Py_None; }

/* `unknown` if missing or None; otherwise 0 or 1, or -2 with an exception. */
int mwpy_truth(PyObject *argument, int unknown);

/* A number of rows; -1 for anything else. */
int64_t mwpy_row_count(PyObject *argument);

#endif
