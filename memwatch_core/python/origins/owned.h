/* owned.h - a table of rows, each of which belongs to one thread at a time. A row begins with its owner's thread id, 0
 * if it is free. */
#ifndef MEMWATCH_PYTHON_OWNED_H
#define MEMWATCH_PYTHON_OWNED_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Zeroed; a forked child finds zeros as well. NULL: no memory. */
static inline void *mwpy_make_rows(size_t size) {
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return NULL;
    if (!madvise(p, size, MADV_WIPEONFORK)) return p;
    munmap(p, size);
    return NULL;
}

/* A row that nobody has, or else one whose thread has ended; NULL: there is none. */
static inline void *mwpy_take_row(void *rows, size_t count, size_t size, uint32_t self) {
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < count; i++) {
            uint32_t *row = (uint32_t *)((char *)rows + i * size), owner = __atomic_load_n(row, __ATOMIC_RELAXED);
            if (owner && owner != self && (!round || syscall(SYS_tgkill, getpid(), owner, 0) == 0)) continue;
            if (__atomic_compare_exchange_n(row, &owner, self, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) return row;
        }
    return NULL;
}

/* What a thread knows of its row in a table. */
typedef struct mwpy_owner {
    void *row;
    uint32_t tid, tries;
} mwpy_owner;

enum { MWPY_CLAIM_AGAIN = 256 };

/* The calling thread's row; NULL: it has none. In a forked child, the owner is 0. */
static inline void *mwpy_own_row(const mwpy_owner *mine) {
    const uint32_t *row = mine->row;
    return __builtin_expect(row && *row == mine->tid, 1) ? mine->row : NULL;
}

/* One for the calling thread, as `begin` leaves it. NULL: there is none, or not tried again yet. A signal handler that
 * comes meanwhile gets none. */
static __attribute__((noinline, unused)) void *mwpy_claim_row(mwpy_owner *mine, void *rows, size_t count, size_t size,
                                                              void (*begin)(void *)) {
    if (mine->tries++ % MWPY_CLAIM_AGAIN) return NULL;
    uint32_t self = (uint32_t)syscall(SYS_gettid);
    void *row = mwpy_take_row(rows, count, size, self);
    if (!row) return NULL;
    begin(row);
    mine->tid = self;
    mine->row = row;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    mine->tries = 0;
    return row;
}
#endif
