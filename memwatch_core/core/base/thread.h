/* thread.h - what the core keeps of a thread, and the thread's signal mask. Generated code finds it through FS, so its
 * layout is the business of stores/code_blocks.c too. */
#ifndef MEMWATCH_THREAD_H
#define MEMWATCH_THREAD_H
#include <stdint.h>
#include <signal.h>
#include <sys/syscall.h>
#include "memwatch.h"
#include "base/compiler.h"
#include "base/syscalls.h"

struct thread {
    uint64_t regs[16]; /* of the interrupted program, around a block (code_blocks.c), by number */
    uint64_t flags;
    uint64_t handler_rsp;
    void *block, *leave;
    uint32_t tid;
    uint32_t failures; /* uffd-queue: signals in a row whose store couldn't be run, at instruction `failed` */
    uint64_t failed;
    uint32_t context;         /* the SQL context: mw_set_context() */
    uint32_t simd_exceptions; /* flags of MXCSR that the last block has raised: fpu_exceptions.c */
    uint32_t named;           /* journal generation in which this thread's name was recorded */
    uint32_t written;         /* announced writes of this thread: every so many, userfaultfd is looked at */
    uint64_t promised;        /* this thread's part of journal.promised */
    uint32_t not_waited; /* the holder of modules.lock for whom this thread doesn't wait any more: import_tables.c */
    uint32_t forking;    /* bit 0: the fork that is under way was prepared; bit 1: the one around that; and so on */
    uintptr_t fault;     /* where a store that also goes to other memory would have faulted; 0: nowhere */
    uintptr_t guarded, guarded_end; /* what the last store has written to guarded pages; 0: nothing */
    const char *subject;            /* of what is being announced: its path, for conditions. NULL: not known */
    mw_path_hook subject_path;      /* who knows it then; NULL: nobody */
    uint64_t subject_number;
    uint32_t subject_length;
    uint32_t faulted;   /* 1 + the page at which this thread has met a fault, which is ours, then; 0: none */
    uint32_t looked_at; /* the adopted variable whose memory was found to be there, by what this thread is at */
    uint32_t hits;      /* conditions that a write has met, and that its adapter wasn't told to act on yet */
};

extern MW_HIDDEN MW_TLS struct thread mw_thread;

/* Between these two no handler interrupts this thread, which would meet things half done. */
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
