/* hits.h - events that met a condition, from the store until their thread acts on them. */
#ifndef MEMWATCH_PYTHON_HITS_H
#define MEMWATCH_PYTHON_HITS_H
#include "adapter.h"

enum { MWPY_BY_KERNEL = 4 /* MWJ_KERNEL */, MWPY_HIT_PATH = 256 };

typedef struct mwpy_hit {
    mw_hit hit; /* its bytes are these: */
    uint8_t before[MW_HIT_MAX], after[MW_HIT_MAX];
    uint32_t bytes;           /* of each */
    char path[MWPY_HIT_PATH]; /* of a longer one, the end */
    uint32_t path_length;
    uint64_t turn; /* the order in which they were met, in this process */
} mwpy_hit;

/* The calling thread's. */
struct mwpy_own_hits {
    uint32_t waiting; /* for it to act on them */
    uint32_t tid;
    bool acting; /* what it stores meanwhile, nobody acts on */
};
extern __thread struct mwpy_own_hits mwpy_own_hits __attribute__((tls_model("initial-exec")));

/* mw_hit_hook. Async-signal-safe. */
void mwpy_hit_met(const mw_hit *hit);

/* The thread's hit that has waited longest; *more: how many others of the same condition were met behind it. False:
 * there is none. Async-signal-safe. */
bool mwpy_hit_take(uint32_t tid, mwpy_hit *out, uint32_t *more);
/* The thread of the hit that has waited longest, of those that weren't given out since `turn`; 0: there is none. */
uint32_t mwpy_hit_waits(uint64_t *turn);
/* Gives those of a thread to another one. */
void mwpy_hits_give(uint32_t from, uint32_t to);
bool mwpy_hits_wait(void);
/* How many there was no room for, since it was asked last: nobody will act on them. */
uint64_t mwpy_hits_unheld(void);
/* In a forked child: only the calling thread is there. */
void mwpy_hits_forked(void);
#endif
