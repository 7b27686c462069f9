/* binding.h - what announces a binding in the code of a function that is watched: a constant of ours.
 *
 * Only for files that define Py_BUILD_CORE_MODULE before Python.h. */
#ifndef MEMWATCH_PYTHON_BINDING_H
#define MEMWATCH_PYTHON_BINDING_H
#include "locals/announcing.h"

/* Where the name is kept. */
enum mwpy_binding_kind {
    MWPY_BINDS_FAST = 0,   /* in a slot of the frame */
    MWPY_BINDS_CELL = 1,   /* in a cell, which lies in a slot of the frame */
    MWPY_BINDS_NAME = 2,   /* in the namespace of a class's body */
    MWPY_BINDS_GLOBAL = 3, /* in the module's dict */
};

/* What is announced. Of a sum, which must be stored by the next instruction, both sides of the two. */
enum mwpy_binding_does {
    MWPY_DOES_STORE = 0,  /* the name is about to be bound to the value below */
    MWPY_DOES_DELETE = 1, /* the name is about to be deleted */
    MWPY_DOES_ADD = 2,    /* something is about to be added to what the name holds */
    MWPY_DOES_SUM = 3,    /* the name is bound to the sum */
};

typedef struct mwpy_binding_site {
    unsigned kind, does;
    unsigned slot;
    bool own; /* the frame is an activation of the function */
    mwpy_loaded where;
} mwpy_binding_site;

/* The type; NULL with an exception. */
PyTypeObject *mwpy_binding_type(void);

/* A binding of a name of `function`. NULL with an exception. */
PyObject *mwpy_binding_new(PyObject *function, PyObject *name, const mwpy_binding_site *site);
#endif
