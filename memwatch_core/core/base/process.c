/* process.c - see process.h. What is to be done in a forked child is fork.c's, above this file: it leaves word here. */
#include "base/process.h"

#include "base/thread.h"
#include "memwatch.h"
#include "state.h"

MW_SIGNAL_SAFE bool process_arrives(void) {
    if (!(mw_thread.forking & 1) || atomic_load(&mw.process->state) != PROCESS_UNNOTICED) return false;
    mw.fork_hooks.arrive();
    return true;
}

MW_SIGNAL_SAFE void process_notice(void) {
    if (unlikely(atomic_load(&mw.process->state) == PROCESS_UNNOTICED)) mw.fork_hooks.notice();
}
