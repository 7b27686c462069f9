/* binding.h - what stands before a binding in the code of a function that is watched: a constant of ours. */
#ifndef MEMWATCH_PYTHON_BINDING_H
#define MEMWATCH_PYTHON_BINDING_H
#include "adapter.h"

/* Where the name is kept. */
enum mwpy_binding_kind {
    MWPY_BINDS_FAST = 0,   /* in a slot of the frame */
    MWPY_BINDS_CELL = 1,   /* in a cell, which lies in a slot of the frame */
    MWPY_BINDS_NAME = 2,   /* in the namespace of a class's body */
    MWPY_BINDS_GLOBAL = 3, /* in the module's dict */
    MWPY_BINDS_SUM = 4,    /* in a slot of the frame; said when it is done */
};

/* The type; NULL with an exception. */
PyTypeObject *mwpy_binding_type(void);

/* A binding of a name of `function`. own: it is that one's code which this is a constant of. NULL with an
 * exception. */
PyObject *mwpy_binding_new(PyObject *function, unsigned kind, unsigned slot, PyObject *name, bool own);
#endif
