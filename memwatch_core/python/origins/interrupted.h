/* interrupted.h - the frames of a thread whose interpreter may be changing them: a signal handler stores. For files
 * that define Py_BUILD_CORE_MODULE. */
#ifndef MEMWATCH_PYTHON_INTERRUPTED_H
#define MEMWATCH_PYTHON_INTERRUPTED_H
#include <ucontext.h>

#include "origins/sites.h"

/* Whether whoever stores may be a signal handler: while one runs, signals are blocked, at least its own. */
static inline bool mwpy_is_handler(const void *ucontext) {
    return *(const uint64_t *)&((const ucontext_t *)ucontext)->uc_sigmask;
}

typedef struct mwpy_walk {
    PyThreadState *thread;
    bool (*is_known)(const void *known, const PyObject *code, const _Py_CODEUNIT *instruction);
    const void *known; /* code that is alive, and needn't be asked about. NULL: there is none */
    const mwpy_frame *next;
    PyObject **above; /* where on the data stack the frame that it has called begins */
    unsigned seen;    /* frames */
    bool unsure;      /* there may be more frames */
    bool inexact;     /* there may be one that is further in than the first */
} mwpy_walk;

/* `next` is the top frame at first. The next frame that has a line, the innermost first. False: there is none, or none
 * that it is sure of. Nothing is touched that may not be there. */
bool mwpy_walk_on(mwpy_walk *walk, mwpy_place *at);
#endif
