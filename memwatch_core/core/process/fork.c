/* fork.c - what a process holds is its own: pages, userfaultfd, executable memory, journal. A forked child never uses
 * its parent's.
 *
 * Whose they are stands on a page that reads as zeros in every child, whoever forked it (MADV_WIPEONFORK); nothing of
 * it is written to before that has been looked at. The views and the journal's mappings are MADV_DONTFORK: there is no
 * moment in which a child could write to its parent's.
 *
 * A child of libc's fork() gets copies of the pages that are in use: made before the fork, under all page locks, since
 * the parent's threads go on writing afterwards. Between that and the fork, and after it, handlers of other libraries
 * run: they may store to watched pages, join threads that do, start some. What is stored until the fork is the child's
 * too: it is kept in memory that isn't shared, of which the fork takes what is there at that moment. And only those
 * locks stay taken that no store needs: what they guard can't be half changed in the child. What the others guard may
 * be, by a thread that isn't there any more: instructions, sites and stacks are counted once they are complete, journal
 * and names begin anew, the handlers of signals are put back.
 *
 * Everything else of its own is made when it is asked for. A child that was forked behind libc's back has no copies:
 * its watched values are gone, and using one ends it, with a sentence. vfork, posix_spawn and exec are not concerned.
 * pthread_atfork(3), madvise(2). */
#include "process/fork.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/descriptors.h"
#include "base/lock.h"
#include "base/messages.h"
#include "base/process.h"
#include "base/thread.h"
#include "journal/journal_file.h"
#include "journal/registry.h"
#include "memory/adoption.h"
#include "memory/arena.h"
#include "memory/fork_copy.h"
#include "memory/shared_memory.h"
#include "memory/userfaultfd.h"
#include "memwatch.h"
#include "state.h"
#include "stores/code_blocks.h"
#include "stores/endings.h"

static mw_lock *const inner[] = {&mw.instructions.overflow_lock, &mw.executor.wide_lock};
static mw_lock *const outer[] = {&mw.native_sites.lock, &mw.loaded_files.lock, &mw.sites.lock,        &mw.stacks.lock,
                                 &mw.instructions.lock, &mw.journal.make,      &mw.thread_names.lock, &mw.journal.grow,
                                 &mw.signals.lock,      &mw.descriptors.lock};
enum { INNER = sizeof inner / sizeof *inner, OUTER = sizeof outer / sizeof *outer };

/* ---- locks ---- */

MW_SIGNAL_SAFE static void release_all(void) {
    for (int i = OUTER; i--;) lock_release(outer[i]);
    pages_release();
    for (int i = INNER; i--;) lock_release(inner[i]);
    lock_release(&mw.modules.lock);
    lock_release(&mw.lock);
}

/* A signal handler, or another handler of pthread_atfork, forks where this thread was inside of the core. */
static bool holds_any(uint32_t self) {
    bool any = !core_prepared() && (lock_held_by(&mw.lock, self) || lock_held_by(&mw.modules.lock, self));
    for (int i = 0; i < INNER; i++) any |= lock_held_by(inner[i], self);
    for (int i = 0; i < OUTER; i++) any |= lock_held_by(outer[i], self);
    for (uint32_t i = 0; i < mw.arena.bump && !any; i++)
        any = page_state_of(i) == PAGE_USED && lock_held_by(&mw.arena.pages[i].lock, self);
    return any;
}

/* ---- the parent's is let go ---- */

static const enum descriptor_kind parents[] = {DESCRIPTOR_UFFD, DESCRIPTOR_JOURNAL, DESCRIPTOR_READER};

/* shares_files: the table of descriptors is the parent's too, who goes on using them. */
MW_SIGNAL_SAFE static void let_go(bool shares_files) {
    descriptor_forked();
    for (unsigned i = 0; i < sizeof parents / sizeof *parents; i++)
        if (shares_files)
            descriptor_forget(parents[i]);
        else
            descriptor_close(parents[i]);
}

MW_SIGNAL_SAFE static void lose_values(void) {
    static const char text[] =
        "memwatch: a forked child has no copies of the watched values (out of memory, or forked by "
        "a system call and not by libc's fork()): using one of them ends it\n";
    registry_lose();
    atomic_store(&mw.endings.gone, 0);
    if (arena_lose()) tell(text, sizeof text - 1);
}

MW_SIGNAL_SAFE void fork_notice(void) {
    if (likely(atomic_load(&mw.process->state) != PROCESS_UNNOTICED) || process_arrives()) return;
    uint64_t kept = mask_signals();
    uint32_t self = thread_first();
    lock_take(&mw.process->lock, self);
    if (mw.process->state == PROCESS_UNNOTICED) {
        release_all(); /* held by nobody who is here */
        mw.fork_copy.prepared = mw_thread.forking = 0;
        mw.fork_copy.copied = false;
        let_go(false);
        lose_values();
        journal_file_forked(&mw.journal);
        atomic_store(&mw.process->state, PROCESS_BARE);
    }
    lock_release(&mw.process->lock);
    unmask_signals(kept);
}

/* ---- one's own ---- */

static int empty_pages(struct shared *pages) {
    int error = shared_open(pages, NULL, mw.arena.memory.size, false);
    return !error && mw.arena.committed ? shared_use(pages, 0, mw.arena.committed) : error;
}

static void say_without(void) {
    if (mw.tracker->serve)
        tell_formatted(
            "memwatch: forked child %d: %s doesn't work here (%s): what the kernel writes by itself isn't seen\n",
            getpid(), mw.tracker->name, strerror(errno));
}

/* Without userfaultfd (no descriptor is left, privileges were dropped) mprotect will do. */
static void open_tracker(void) {
    mw.userfaultfd.without = false;
    if (!mw.tracker->open()) return;
    mw.userfaultfd.without = true;
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
    if ((error = arena_replace(copy ? copy : &empty)) || (error = adoption_map_all()) ||
        (error = code_blocks_replace()))
        return error;
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

/* Half changed by a thread that won't be in the child, they couldn't be told from whole ones. */
static void keep_handlers(uint32_t self) {
    lock_take(&mw.signals.lock, self);
    memcpy(mw.signals.at_fork, mw.signals.before, sizeof mw.signals.before);
    lock_release(&mw.signals.lock);
}

static void before_fork(void) {
    if (mw.started) fork_notice();
    uint64_t mask = mask_signals();
    uint32_t self = thread_id();
    bool prepared = !holds_any(self);
    mw_thread.forking = mw_thread.forking << 1 | prepared;
    if (prepared) {
        if (!core_prepared()) {
            lock_take(&mw.lock, self); /* waits for a start to end */
            lock_take(&mw.modules.lock, self);
        }
        mw.fork_copy.prepared++;
        if (mw.started) watch_look_at_all(); /* the child mustn't have pages where there is other memory */
        fork_copy();
        keep_handlers(self);
    }
    unmask_signals(mask);
}

static void in_parent(void) {
    bool prepared = mw_thread.forking & 1;
    mw_thread.forking >>= 1;
    if (!prepared) return;
    uint64_t mask = mask_signals();
    fork_copy_drop();
    if (--mw.fork_copy.prepared) { /* a handler forked: its child has the copy now */
        fork_copy();
    } else {
        lock_release(&mw.modules.lock);
        lock_release(&mw.lock);
    }
    unmask_signals(mask);
}

/* The rest of what the child is given, after its handlers or in the midst of them. */
static void arrive(bool shares_files) {
    uint64_t mask = mask_signals();
    bool copied = mw.fork_copy.copied;
    mw_thread.forking = mw.fork_copy.prepared = 0;
    mw.fork_copy.copied = false;
    thread_first();
    if (mw.signals.lock)
        memcpy(mw.signals.before, mw.signals.at_fork, sizeof mw.signals.before); /* half changed by who isn't here */
    release_all();
    if (mw.started) {
        mw_thread.context = 0;
        let_go(shares_files);
        registry_untell();
        journal_file_forked(&mw.journal);
        atomic_store(&mw.process->state, PROCESS_BARE);
        int error = !copied                ? mw.fork_copy.error
                    : fork_copy_complete() ? become_whole(&mw.fork_copy.copy)
                                           : MW_ERR_NO_MEMORY;
        if (!copied || error) lose_values();
        if (error) tell_formatted("memwatch: forked child %d is not watched: %s\n", getpid(), mw_strerror(error));
    }
    unmask_signals(mask);
}

static void arrive_in_handler(void) { arrive(false); }

static void in_child_of(bool shares_files) {
    if (mw_thread.forking & 1) arrive(shares_files);
    mw_thread.forking = 0; /* if not: noticed when it matters: no copies, and locks that nobody here holds */
}

static void in_child(void) { in_child_of(false); }

void fork_begins(void) { before_fork(); }

pid_t fork_ended(pid_t result, bool shares_files) {
    int kept = errno;
    if (result)
        in_parent();
    else
        in_child_of(shares_files);
    errno = kept;
    return result;
}

/* As soon as we are loaded: a fork must wait for the first start, and that can't tell one that has just begun. */
__attribute__((constructor)) static void watch_forks(void) {
    mw.fork_hooks.arrive = arrive_in_handler;
    mw.fork_hooks.notice = fork_notice;
    mw.fork_hooks.unwatched = pthread_atfork(before_fork, in_parent, in_child);
}

int fork_open(void) {
    struct process *process = mw.process;
    if (mw.fork_hooks.unwatched) return MW_ERR_NO_MEMORY;
    if (!process) {
        process = arena_table(MW_PAGE_SIZE);
        if (!process || madvise(process, MW_PAGE_SIZE, MADV_WIPEONFORK)) return MW_ERR_NO_MEMORY;
        mw.process = process;
    }
    atomic_store(&process->state, PROCESS_WHOLE);
    return MW_OK;
}
