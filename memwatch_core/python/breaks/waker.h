/* waker.h - a thread of ours that has other threads act on what they have met where they hadn't the GIL. */
#ifndef MEMWATCH_PYTHON_WAKER_H
#define MEMWATCH_PYTHON_WAKER_H
#include "adapter.h"

/* Starts it, once in a process. 0, or -1 with an exception. Needs the GIL. */
int mwpy_waker_start(void (*woken)(void));
/* Has `woken` called in that thread, with the GIL. Async-signal-safe. */
void mwpy_waker_wake(void);
#endif
