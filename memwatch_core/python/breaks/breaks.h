/* breaks.h - what the adapter does when a condition is met: functions of memwatch_core.native.proxy. */
#ifndef MEMWATCH_PYTHON_BREAKS_H
#define MEMWATCH_PYTHON_BREAKS_H
#include "adapter.h"
#include "breaks/hits.h"

extern PyMethodDef mwpy_breaks_functions[];

/* Whether a condition asks for the statement in force: then its text is kept. */
extern bool mwpy_statements_asked;

/* Acts on what the calling thread has met: 0, or -1 with the exception that this has raised. Needs the GIL. */
int mwpy_hits_act(void);
/* After a write of the calling thread's, where code of the program's may run. */
static inline int mwpy_act(void) { return __builtin_expect(mwpy_own_hits.waiting != 0, 0) ? mwpy_hits_act() : 0; }
/* Where it may not: at the next instruction of this thread. */
void mwpy_hits_later(void);
static inline void mwpy_act_later(void) {
    if (__builtin_expect(mwpy_own_hits.waiting != 0, 0)) mwpy_hits_later();
}
#endif
