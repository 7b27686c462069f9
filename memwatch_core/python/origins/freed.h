/* freed.h - objects whose addresses are kept, without references: whether one of them has been freed since.
 *
 * A type's objects are freed by a function in the type, which is led through one of ours. There, a generation goes up
 * if somebody may have kept that address. Whoever keeps addresses keeps the generation with them. */
#ifndef MEMWATCH_PYTHON_FREED_H
#define MEMWATCH_PYTHON_FREED_H
#include "base/hash.h"
#include "interpreter.h"

enum { MWPY_KEPT_BITS = 14 };

typedef struct mwpy_freed {
    uint64_t ended;                     /* generations */
    uint64_t kept[1 << MWPY_KEPT_BITS]; /* by address: the latest generation in which it was kept */
} mwpy_freed;

static inline uint64_t mwpy_generation(const mwpy_freed *f) { return __atomic_load_n(&f->ended, __ATOMIC_ACQUIRE) + 1; }

static inline void mwpy_next_generation(mwpy_freed *f) { __atomic_fetch_add(&f->ended, 1, __ATOMIC_ACQ_REL); }

static inline uint64_t *mwpy_kept_at(mwpy_freed *f, const void *object) {
    return &f->kept[hash_to_bits((uintptr_t)object >> 4, MWPY_KEPT_BITS)];
}

/* Before it is kept. Never puts an older generation in the place of a newer one: another object may share it. */
static inline void mwpy_keep(mwpy_freed *f, const void *object, uint64_t now) {
    uint64_t *at = mwpy_kept_at(f, object), before = __atomic_load_n(at, __ATOMIC_RELAXED);
    while (before < now && !__atomic_compare_exchange_n(at, &before, now, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {
    }
}

/* Before it is freed. */
static inline void mwpy_forget(mwpy_freed *f, const void *object) {
    if (__atomic_load_n(mwpy_kept_at(f, object), __ATOMIC_ACQUIRE) == mwpy_generation(f)) mwpy_next_generation(f);
}
#endif
