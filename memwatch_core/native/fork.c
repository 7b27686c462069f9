/* fork.c - what a process holds is its own: pages, userfaultfd, executable memory, journal. A forked child never uses
 * its parent's.
 *
 * Whose they are stands on a page that reads as zeros in every child, whoever forked it (MADV_WIPEONFORK); nothing of
 * it is written to before that has been looked at. The views and the journal's mappings are MADV_DONTFORK: there is no
 * moment in which a child could write to its parent's.
 *
 * A child of libc's fork() gets copies of the pages that are in use: made before the fork, under all page locks, since
 * the parent's threads go on writing afterwards. Everything else of its own is made when it is asked for. A child that
 * was forked behind libc's back has no copies: its watched values are gone, and using one ends it, with a sentence.
 * vfork, posix_spawn and exec are not concerned. pthread_atfork(3), madvise(2). */
#include "core.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

static mw_lock *const inner[] = {&mw.modules.lock, &mw.overflow_lock, &mw.wide_lock};
static mw_lock *const outer[] = {&mw.sites_lock,   &mw.forms_lock,   &mw.journal.make, &mw.names.lock,
                                 &mw.journal.grow, &mw.signals_lock, &mw.own_lock};
enum { INNER = sizeof inner / sizeof *inner, OUTER = sizeof outer / sizeof *outer };

MW_SIGNAL_SAFE static bool in_use(uint32_t page) { return (mw.pages[page].state & 0xff) == PAGE_USED; }

/* ---- locks ---- */

MW_SIGNAL_SAFE static void release_all(void) {
    for (int i = OUTER; i--;) lock_release(outer[i]);
    for (uint32_t i = mw.bump; i--;)
        if (in_use(i)) lock_release(&mw.pages[i].lock);
    for (int i = INNER; i--;) lock_release(inner[i]);
    lock_release(&mw.lock);
}

static void take_all(uint32_t self) { /* in the order in which the rest of the core takes them */
    lock_take(&mw.lock, self);
    for (int i = 0; i < INNER; i++) lock_take(inner[i], self);
    for (uint32_t i = 0; i < mw.bump; i++)
        if (in_use(i)) lock_take(&mw.pages[i].lock, self);
    for (int i = 0; i < OUTER; i++) lock_take(outer[i], self);
}

/* A signal handler, or another handler of pthread_atfork, forks where this thread was inside of the core. */
static bool holds_any(uint32_t self) {
    bool any = lock_held_by(&mw.lock, self);
    for (int i = 0; i < INNER; i++) any |= lock_held_by(inner[i], self);
    for (int i = 0; i < OUTER; i++) any |= lock_held_by(outer[i], self);
    for (uint32_t i = 0; i < mw.bump && !any; i++) any = in_use(i) && lock_held_by(&mw.pages[i].lock, self);
    return any;
}

/* ---- the parent's is let go ---- */

MW_SIGNAL_SAFE static void let_go(void) {
    own_forked();
    own_close(OWN_UFFD);
    own_close(OWN_JOURNAL);
    own_close(OWN_READER);
}

MW_SIGNAL_SAFE static void lose_values(void) {
    static const char text[] =
        "memwatch: a forked child has no copies of the watched values (out of memory, or forked by "
        "a system call and not by libc's fork()): using one of them ends it\n";
    registry_lose();
    if (arena_lose()) tell(text, sizeof text - 1);
}

MW_SIGNAL_SAFE void fork_notice(void) {
    if (likely(atomic_load(&mw.process->state) != PROCESS_UNNOTICED)) return;
    uint64_t kept = mask_signals();
    uint32_t self = thread_first();
    lock_take(&mw.process->lock, self);
    if (mw.process->state == PROCESS_UNNOTICED) {
        release_all(); /* held by nobody who is here */
        let_go();
        lose_values();
        begin_anew(&mw.journal);
        atomic_store(&mw.process->state, PROCESS_BARE);
    }
    lock_release(&mw.process->lock);
    unmask_signals(kept);
}

/* ---- one's own ---- */

static int empty_pages(struct shared *pages) {
    int error = shared_open(pages, NULL, mw.arena.size, false);
    return !error && mw.committed ? shared_use(pages, 0, mw.committed) : error;
}

static void say_without(void) {
    if (mw.tracker->serve)
        tell_formatted(
            "memwatch: forked child %d: %s doesn't work here (%s): what the kernel writes by itself isn't seen\n",
            getpid(), mw.tracker->name, strerror(errno));
}

/* Without userfaultfd (no descriptor is left, privileges were dropped) mprotect will do. */
static void open_tracker(void) {
    mw.without_uffd = false;
    if (!mw.tracker->open()) return;
    mw.without_uffd = true;
    say_without();
}

/* So it will where our thread is refused (RLIMIT_NPROC, pids.max). */
static void serve_tracker(void) {
    if (!mw.tracker->serve || !mw.tracker->serve()) return;
    uffd_give_up();
    say_without();
}

/* Takes `copy`, or makes pages that are empty. */
static int become_whole(struct shared *copy) {
    struct shared empty;
    int error = copy ? MW_OK : empty_pages(&empty);
    if (error) return error;
    open_tracker();
    if ((error = arena_replace(copy ? copy : &empty)) || (error = code_replace())) return error;
    atomic_store(&mw.process->state, PROCESS_WHOLE);
    serve_tracker();
    return MW_OK;
}

int fork_settle(void) {
    if (process_is_whole()) return MW_OK;
    fork_notice();
    lock_take(&mw.process->lock, thread_id());
    int error = process_is_whole() ? MW_OK : become_whole(NULL);
    lock_release(&mw.process->lock);
    return error;
}

/* ---- around a fork ---- */

static void before_fork(void) {
    fork_notice();
    uint64_t mask = mask_signals();
    uint32_t self = thread_id();
    bool prepared = !holds_any(self);
    mw_thread.forking = mw_thread.forking << 1 | prepared;
    if (!prepared) {
        unmask_signals(mask);
        return;
    }
    take_all(self);
    mw.fork.mask = mask;
    mw.fork.error = mw.pages_used ? arena_copy(&mw.fork.copy) : MW_OK;
    mw.fork.copied = mw.pages_used && !mw.fork.error;
}

static bool was_prepared(void) {
    bool prepared = mw_thread.forking & 1;
    mw_thread.forking >>= 1;
    return prepared;
}

static void in_parent(void) {
    if (!was_prepared()) return;
    uint64_t mask = mw.fork.mask;
    if (mw.fork.copied) shared_close(&mw.fork.copy);
    mw.fork.copied = false;
    release_all();
    unmask_signals(mask);
}

static void in_child(void) {
    if (!was_prepared()) return; /* noticed when it matters: no copies, and locks that nobody here holds */
    bool copied = mw.fork.copied;
    uint64_t mask = mw.fork.mask;
    mw.fork.copied = false;
    mw_thread.context = 0;
    thread_first();
    let_go();
    release_all();
    registry_untell();
    begin_anew(&mw.journal);
    atomic_store(&mw.process->state, PROCESS_BARE);
    int error = copied ? become_whole(&mw.fork.copy) : mw.fork.error;
    if (!copied || error) lose_values();
    if (error) tell_formatted("memwatch: forked child %d is not watched: %s\n", getpid(), mw_strerror(error));
    unmask_signals(mask);
}

void fork_begins(void) { before_fork(); }

pid_t fork_ended(pid_t result) {
    int kept = errno;
    if (result)
        in_parent();
    else
        in_child();
    errno = kept;
    return result;
}

int fork_open(void) {
    struct process *process = mw.process;
    if (!process) {
        process = arena_table(MW_PAGE_SIZE);
        if (!process || madvise(process, MW_PAGE_SIZE, MADV_WIPEONFORK)) return MW_ERR_NO_MEMORY;
        if (pthread_atfork(before_fork, in_parent, in_child)) return MW_ERR_NO_MEMORY;
        mw.process = process;
    }
    atomic_store(&process->state, PROCESS_WHOLE);
    return MW_OK;
}
