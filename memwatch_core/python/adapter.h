/* adapter.h - supported interpreters, and thread state, for the C half of the Python adapter. */
#ifndef MEMWATCH_PYTHON_ADAPTER_H
#define MEMWATCH_PYTHON_ADAPTER_H
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

#include "memwatch.h"
#include "older.h"

#if PY_VERSION_HEX < 0x030B0000 || PY_VERSION_HEX >= 0x03100000
#error "MemWatch reads the interpreter's frames, whose layout it knows for CPython 3.11 to 3.15 only"
#endif
#ifdef Py_GIL_DISABLED
#error                                                                                                                 \
    "MemWatch needs CPython with its global interpreter lock (a free-threaded build, python3.14t for instance, has none)"
#endif

/* initial-exec: a thread's first access must not allocate, because a signal handler may make it. */
#define MWPY_THREAD static __thread __attribute__((tls_model("initial-exec")))

/* The calling thread's state; NULL if it doesn't hold the GIL. Before 3.12: the state of whichever thread holds the
 * GIL. */
static inline PyThreadState *mwpy_current_thread(void) {
#if PY_VERSION_HEX >= 0x030D0000
    return PyThreadState_GetUnchecked();
#else
    return _PyThreadState_UncheckedGet();
#endif
}

/* tp_dealloc for types whose tp_clear releases everything. */
static inline void mwpy_plain_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    type->tp_clear(object);
    type->tp_free(object);
    Py_DECREF(type);
}

#endif
