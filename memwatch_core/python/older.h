/* older.h - what CPython 3.11 has under another name, or not at all, of the API that watching in place uses. */
#ifndef MEMWATCH_PYTHON_OLDER_H
#define MEMWATCH_PYTHON_OLDER_H
#include <Python.h>

/* What the program is in the midst of while a report of it is taken: an exception, which must come to no harm. CPython
 * 3.11 collects garbage wherever memory is asked for, which would run code of the program's: not meanwhile. */
#if PY_VERSION_HEX >= 0x030C0000
typedef PyObject *mwpy_aside;
static inline mwpy_aside mwpy_set_aside(void) { return PyErr_GetRaisedException(); }
static inline void mwpy_put_back(mwpy_aside aside) { PyErr_SetRaisedException(aside); }
#else
#include <structmember.h>

typedef struct mwpy_aside {
    PyObject *type, *value, *traceback;
    int collects;
} mwpy_aside;
static inline mwpy_aside mwpy_set_aside(void) {
    mwpy_aside aside = {.collects = PyGC_Disable()};
    PyErr_Fetch(&aside.type, &aside.value, &aside.traceback);
    return aside;
}
static inline void mwpy_put_back(mwpy_aside aside) {
    PyErr_Restore(aside.type, aside.value, aside.traceback);
    if (aside.collects) PyGC_Enable();
}

enum { Py_T_OBJECT_EX = T_OBJECT_EX, Py_READONLY = READONLY, Py_RELATIVE_OFFSET = 0, Py_TPFLAGS_MANAGED_WEAKREF = 0 };
typedef enum PyDict_WatchEvent {
    PyDict_EVENT_ADDED,
    PyDict_EVENT_MODIFIED,
    PyDict_EVENT_DELETED,
    PyDict_EVENT_CLONED,
    PyDict_EVENT_CLEARED,
    PyDict_EVENT_DEALLOCATED
} PyDict_WatchEvent;

static inline PyObject *PyType_GetDict(PyTypeObject *type) { return Py_XNewRef(type->tp_dict); }
#endif

/* The same for functions that the program calls, which may leave an exception. */
static inline int mwpy_collector_stops(void) {
#if PY_VERSION_HEX >= 0x030C0000
    return 0;
#else
    return PyGC_Disable();
#endif
}
static inline void mwpy_collector_goes_on(int collected) {
    if (collected) PyGC_Enable();
}
#endif
