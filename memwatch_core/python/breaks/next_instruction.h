/* next_instruction.h - a function of ours is called before the next instruction that a thread of Python executes.
 *
 * The eval breaker isn't looked at between two assignments: so the interpreter's own means for debuggers are used, for
 * the frames in which the thread is, and only until it is called. Needs the GIL, where nothing else is said. */
#ifndef MEMWATCH_PYTHON_NEXT_INSTRUCTION_H
#define MEMWATCH_PYTHON_NEXT_INSTRUCTION_H
#include "adapter.h"

/* Which function; it may leave an exception, and returns 0 or -1. 0, or -1 with an exception: sys.monitoring has no
 * number left for a tool (CPython 3.12 and later). */
int mwpy_next_prepare(int (*called)(void));

/* The thread may be another one than the caller's. No code of the program's runs, no exception is set or lost. */
void mwpy_next_arm(PyThreadState *thread);
/* The calling thread, which needs no GIL; async-signal-safe. Later versions than CPython 3.11 need mwpy_next_check().
 */
void mwpy_next_arm_here(PyThreadState *thread);
/* Has a function called, with the GIL, where a thread next looks whether something is asked of it: behind a call, in a
 * loop. Of CPython 3.11 the main thread. 0, or -1: too much is asked of it already. Needs no GIL; takes a lock that
 * nobody has who stores. */
int mwpy_next_check(int (*called)(void *));
/* Of all threads. */
void mwpy_next_disarm(void);
#endif
