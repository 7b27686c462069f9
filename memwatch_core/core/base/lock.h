/* lock.h - a lock that a signal handler may take: a futex word that carries its owner's thread id.
 *
 * Async-signal-safe. Not recursive: lock_held_by() tells a handler that it interrupted the owner itself. */
#ifndef MEMWATCH_LOCK_H
#define MEMWATCH_LOCK_H
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/syscalls.h"

/* Where another thread, a reader or a kill can tell what was done from what wasn't: in tests/journal/protocol.c, which
 * tries all orders of these points, a call; otherwise nothing. */
#ifdef MW_STEPS
void mw_step(const char *what, uint64_t value);
#define MW_STEP(what, value) mw_step(what, value)
#else
#define MW_STEP(what, value) ((void)0)
#endif

typedef _Atomic uint32_t mw_lock;

static inline bool lock_held_by(mw_lock *lock, uint32_t tid) {
    return atomic_load_explicit(lock, memory_order_relaxed) == tid;
}

/* Who has waited a while looks again every 50 us instead of being woken: releasing is then a plain store, and these
 * locks are held for well under a microsecond. */
static inline void lock_wait(mw_lock *lock, uint32_t tid) {
    struct timespec pause = {0, 50000};
    for (unsigned spins = 0;; spins++) {
        uint32_t seen = 0;
        if (atomic_compare_exchange_weak_explicit(lock, &seen, tid, memory_order_acquire, memory_order_relaxed)) return;
        MW_STEP("wait", (uintptr_t)lock);
        if (spins < 200)
            __builtin_ia32_pause();
        else if (seen)
            raw_syscall4(SYS_futex, (long)lock, FUTEX_WAIT_PRIVATE, (long)seen, (long)&pause);
    }
}

static inline void lock_take(mw_lock *lock, uint32_t tid) {
    uint32_t seen = 0;
    MW_STEP("take", (uintptr_t)lock);
    if (__builtin_expect(
            !atomic_compare_exchange_strong_explicit(lock, &seen, tid, memory_order_acquire, memory_order_relaxed), 0))
        lock_wait(lock, tid);
}

static inline bool lock_try(mw_lock *lock, uint32_t tid) {
    uint32_t seen = 0;
    return atomic_compare_exchange_strong_explicit(lock, &seen, tid, memory_order_acquire, memory_order_relaxed);
}

static inline void lock_release(mw_lock *lock) {
    MW_STEP("release", (uintptr_t)lock);
    atomic_store_explicit(lock, 0, memory_order_release);
}
#endif
