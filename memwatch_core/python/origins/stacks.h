/* stacks.h - the line that makes a store, and the lines that called it. */
#ifndef MEMWATCH_PYTHON_STACKS_H
#define MEMWATCH_PYTHON_STACKS_H
#include "adapter.h"

#define MWPY_STACK_MOST 128

typedef struct mwpy_stack {
    uint32_t site;    /* 0: no Python frame */
    uint32_t callers; /* id from mw_intern_stack; 0: not asked for */
} mwpy_stack;

/* How many frames of a stack are recorded, the site's included; 1: that one alone. Set by mwpy_keep_stacks. */
extern unsigned mwpy_stack_limit;

/* Needs the GIL. 0, or an error of the core. */
int mwpy_keep_stacks(unsigned limit);

/* Needs the GIL. The functions that run now aren't told as callers: they are what runs the program. */
void mwpy_leave_out_callers(void);

/* The stack of the calling thread, whose state this is, if mwpy_stack_limit > 1. Async-signal-safe. */
mwpy_stack mwpy_stack_of(PyThreadState *thread);

/* The same if a signal handler may have interrupted the interpreter, and whatever the limit is. *inexact: it may be
 * another line, or one that can't be told. */
mwpy_stack mwpy_stack_interrupted(PyThreadState *thread, bool *inexact);
#endif
