/* fork_copy.c - the copy of all pages that a child of fork() is given: made before the fork, under all page locks,
 * since the parent's threads go on writing afterwards. Between that and the fork, and after it, handlers of other
 * libraries run: they may store to watched pages, join threads that do, start some. What is stored until the fork is
 * the child's too: it is kept in memory that isn't shared, of which the fork takes what is there at that moment. */
#include "memory/fork_copy.h"

#include <string.h>
#include <sys/mman.h>

#include "base/lock.h"
#include "base/thread.h"
#include "memory/arena.h"
#include "memory/shared_memory.h"
#include "memwatch.h"
#include "state.h"

MW_SIGNAL_SAFE void pages_release(void) {
    for (uint32_t i = mw.arena.bump; i--;)
        if (page_state_of(i) == PAGE_USED) lock_release(&mw.arena.pages[i].lock);
}

/* The pages that were written to since they were copied, at their places, and behind them a mark for each: memory that
 * fork(2) itself copies. NULL: there is no room for it. */
static uint8_t *open_later(uint64_t committed) {
    size_t size = committed + (committed >> PAGE_SHIFT);
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return NULL;
    madvise(p, size, MADV_NOHUGEPAGE);
    return p;
}

static void close_later(void) {
    if (mw.fork_copy.later) munmap(mw.fork_copy.later, mw.arena.committed + (mw.arena.committed >> PAGE_SHIFT));
    mw.fork_copy.later = NULL;
}

static void take_pages(uint32_t self) {
    for (uint32_t i = 0; i < mw.arena.bump; i++)
        if (page_state_of(i) == PAGE_USED) lock_take(&mw.arena.pages[i].lock, self);
}

void fork_copy_drop(void) {
    if (!mw.fork_copy.copied) return;
    take_pages(thread_id()); /* another thread may be at page_release() */
    mw.fork_copy.copied = false;
    pages_release();
    close_later();
    shared_close(&mw.fork_copy.copy);
}

void fork_copy(void) {
    uint64_t mask = mask_signals();
    uint32_t self = thread_id();
    fork_copy_drop();
    take_pages(self);
    mw.fork_copy.error = mw.arena.used ? arena_copy(&mw.fork_copy.copy) : MW_OK;
    mw.fork_copy.copied = mw.arena.used && !mw.fork_copy.error;
    mw.fork_copy.later = mw.fork_copy.copied ? open_later(mw.arena.committed) : NULL;
    mw.fork_copy.stale = false;
    pages_release();
    unmask_signals(mask);
}

MW_SIGNAL_SAFE void fork_copy_follow(uint32_t page) {
    if (!mw.fork_copy.copied) return;
    if (!mw.fork_copy.later) {
        mw.fork_copy.stale = true;
        return;
    }
    memcpy(mw.fork_copy.later + ((uint64_t)page << PAGE_SHIFT), arena_writable(page), MW_PAGE_SIZE);
    atomic_thread_fence(memory_order_release);
    mw.fork_copy.later[mw.arena.committed + page] = 1;
}

bool fork_copy_complete(void) {
    for (uint32_t i = 0; mw.fork_copy.later && i < mw.arena.bump; i++) {
        uint64_t at = (uint64_t)i << PAGE_SHIFT;
        if (mw.fork_copy.later[mw.arena.committed + i])
            memcpy(mw.fork_copy.copy.base + at, mw.fork_copy.later + at, MW_PAGE_SIZE);
    }
    close_later();
    return !mw.fork_copy.stale;
}

/* ---- locks ---- */

bool core_prepared(void) { return unlikely(mw.fork_copy.prepared) && lock_held_by(&mw.lock, thread_id()); }

bool core_take(void) {
    if (core_prepared()) return false;
    lock_take(&mw.lock, thread_id());
    return true;
}

void core_release(bool taken) {
    if (likely(taken))
        lock_release(&mw.lock);
    else
        fork_copy(); /* pages may have come and gone */
}
