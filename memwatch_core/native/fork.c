/* fork.c - a forked child gets copies of the watched pages and a journal of its own.
 *
 * Without this the two processes would share the pages: the child's stores would change the parent's values, unseen.
 * The pages are copied before the fork, under all page locks: afterwards the parent's threads go on writing. The views
 * themselves are MADV_DONTFORK, so that there is no moment in which the child could write to the parent's.
 * vfork, posix_spawn and exec are not concerned. pthread_atfork(3). */
#include "core.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static mw_lock *const inner[] = {&mw.modules.lock, &mw.overflow_lock, &mw.wide_lock};
static mw_lock *const outer[] = {&mw.sites_lock, &mw.forms_lock, &mw.journal.grow, &mw.signals_lock, &mw.own_lock};
enum { INNER = sizeof inner / sizeof *inner, OUTER = sizeof outer / sizeof *outer };

static void release_all(void) {
    for (int i = OUTER; i--;) lock_release(outer[i]);
    for (uint32_t i = mw.bump; i--;)
        if ((mw.pages[i].state & 0xff) == PAGE_USED) lock_release(&mw.pages[i].lock);
    for (int i = INNER; i--;) lock_release(inner[i]);
    lock_release(&mw.lock);
    raw_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mw.fork.mask, 0, 8);
}

/* In the order in which the rest of the core takes them. */
static void before_fork(void) {
    uint64_t all = ~0ull, mask;
    uint32_t self = thread_id();
    raw_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&mask, 8);
    lock_take(&mw.lock, self);
    for (int i = 0; i < INNER; i++) lock_take(inner[i], self);
    for (uint32_t i = 0; i < mw.bump; i++)
        if ((mw.pages[i].state & 0xff) == PAGE_USED) lock_take(&mw.pages[i].lock, self);
    for (int i = 0; i < OUTER; i++) lock_take(outer[i], self);
    mw.fork.mask = mask;
    mw.fork.watching = atomic_load(&mw.journal.open) && mw.committed;
    mw.fork.copied = mw.committed && !arena_copy(&mw.fork.copy);
}

static void in_parent(void) {
    if (mw.fork.copied) shared_close(&mw.fork.copy);
    mw.fork.copied = false;
    release_all();
}

static void in_child(void) {
    bool copied = mw.fork.copied;
    int error = MW_OK;
    mw.fork.copied = false;
    mw_thread.tid = 0;
    mw_thread.context = 0;
    own_forked();
    if (mw.committed) {
        mw.tracker->close(); /* the parent's descriptor */
        if (mw.tracker->open())
            mw.without_uffd = true; /* the program has no descriptor left for it: mprotect will do */
        error = !copied ? MW_ERR_NO_TRACKER : arena_replace(&mw.fork.copy);
        if (!error) error = code_replace();
    }
    uint64_t mask = mw.fork.mask, all = ~0ull;
    release_all();
    raw_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, 0, 8);
    if (!error && mw.committed && mw.tracker->serve) error = mw.tracker->serve();
    if (!error && mw.fork.watching) error = journal_reopen();
    if (error) dprintf(2, "memwatch: forked child %d is not watched: %s\n", getpid(), mw_strerror(error));
    raw_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, 0, 8);
}

int fork_prepare_for(void) { return pthread_atfork(before_fork, in_parent, in_child) ? MW_ERR_NO_MEMORY : MW_OK; }
