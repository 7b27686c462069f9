/* thread.h - what the core keeps of a thread, and the thread's signal mask. Generated code finds it through FS, so its
 * layout is the business of stores/code_blocks.c too. */
#ifndef MEMWATCH_THREAD_H
#define MEMWATCH_THREAD_H
#include <stdint.h>
#include <signal.h>
#include <sys/syscall.h>
#include "base/compiler.h"
#include "base/syscalls.h"

struct thread {
    uint64_t regs[16]; /* encoding order */
    uint64_t flags;
    uint64_t handler_rsp;
    void *block, *leave;
    uint32_t tid;
    uint32_t failures; /* faults in a row that were announced by signal, at `failed`, and couldn't be run */
    uint64_t failed;
    uint32_t context;
    uint32_t exceptions; /* of the instruction that ran last, if it may change MXCSR */
    uint32_t named;      /* journal generation in which this thread's name was recorded */
    uint32_t written;    /* announced writes */
    uint64_t promised;   /* of journal.promised, this thread's */
    uint32_t not_waited; /* the turn at the modules that this thread doesn't wait for any more: import_tables.c */
    uint32_t forking;    /* bit 0: whether the fork that is under way was prepared; the bits above: those around it */
    uintptr_t fault;     /* where a store that reaches beyond our pages would have faulted by itself; 0: nowhere */
};

extern MW_HIDDEN MW_TLS struct thread mw_thread;

/* Around what a handler that interrupts it must not meet half done. */
MW_SIGNAL_SAFE static inline uint64_t mask_signals(void) {
    uint64_t all = ~0ull, kept;
    raw_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&kept, 8);
    return kept;
}
MW_SIGNAL_SAFE static inline void unmask_signals(uint64_t kept) {
    raw_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&kept, 0, 8);
}

MW_HIDDEN uint32_t thread_first(void);
static inline uint32_t thread_id(void) { return likely(mw_thread.tid) ? mw_thread.tid : thread_first(); }
#endif
