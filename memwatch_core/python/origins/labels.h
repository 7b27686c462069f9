/* labels.h - the unit of work that the program names itself: with memwatch_core.label("order 17"). */
#ifndef MEMWATCH_PYTHON_LABELS_H
#define MEMWATCH_PYTHON_LABELS_H
#include "adapter.h"

/* A label that was entered: the value of a ContextVar, so that it goes where context variables go. */
typedef struct mwpy_label {
    PyObject_HEAD PyObject *text; /* an exact str */
    struct mwpy_label *outer;     /* strong: in force where it was entered; NULL: none was */
    PyObject *place;              /* weak reference to the contextvars.Context in which it was entered */
    uint64_t serial;              /* of all labels that were ever entered */
    unsigned depth;               /* labels around it */
    bool left;                    /* its `with` block has ended. Who has inherited it goes on under it */
} mwpy_label;

/* The innermost label in force in the calling thread, borrowed; NULL: none. Async-signal-safe. */
const mwpy_label *mwpy_label_of(PyThreadState *thread);
/* The one around it. */
const mwpy_label *mwpy_label_around(const mwpy_label *label, PyThreadState *thread);

/* How many labels were left while another one of their flow was the innermost: what is around a label may be another
 * one then. */
extern uint64_t mwpy_labels_left_early;

/* Whether there was ever one. */
extern PyObject *mwpy_label_variable;

extern PyMethodDef mwpy_label_functions[];
#endif
