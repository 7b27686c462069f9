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

#include "raw.h"

#define LOCK_WAITERS 0x80000000u

typedef _Atomic uint32_t mw_lock;

static inline bool lock_held_by(mw_lock *lock, uint32_t tid) {
    return (atomic_load_explicit(lock, memory_order_relaxed) & ~LOCK_WAITERS) == tid;
}

static inline void lock_take(mw_lock *lock, uint32_t tid) {
    uint32_t seen = 0;
    if (__builtin_expect(
            atomic_compare_exchange_strong_explicit(lock, &seen, tid, memory_order_acquire, memory_order_relaxed), 1))
        return;
    for (unsigned spins = 0;; spins++) {
        seen = 0;
        /* Once we have slept others may sleep too, so we leave the mark on: at worst one wake-up too many. */
        uint32_t mine = spins > 128 ? tid | LOCK_WAITERS : tid;
        if (atomic_compare_exchange_weak_explicit(lock, &seen, mine, memory_order_acquire, memory_order_relaxed))
            return;
        if (!seen) continue;
        if (spins < 128) {
            __builtin_ia32_pause();
            continue;
        }
        if (!(seen & LOCK_WAITERS) && !atomic_compare_exchange_weak_explicit(
                                          lock, &seen, seen | LOCK_WAITERS, memory_order_relaxed, memory_order_relaxed))
            continue;
        raw_syscall4(SYS_futex, (long)lock, FUTEX_WAIT_PRIVATE, (long)(seen | LOCK_WAITERS), 0);
    }
}

static inline void lock_release(mw_lock *lock) {
    if (__builtin_expect(atomic_exchange_explicit(lock, 0, memory_order_release) & LOCK_WAITERS, 0))
        raw_syscall4(SYS_futex, (long)lock, FUTEX_WAKE_PRIVATE, 1, 0);
}
#endif
