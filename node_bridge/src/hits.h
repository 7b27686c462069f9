/* hits.h - events that met a condition, from the store until somebody acts on them. Async-signal-safe. */
#ifndef MEMWATCH_NODE_HITS_H
#define MEMWATCH_NODE_HITS_H
#include <stdbool.h>
#include <stdint.h>

#include "memwatch.h"
#ifdef __cplusplus
extern "C" {
#endif

enum { HIT_BY_KERNEL = 4 /* MWJ_KERNEL */, HIT_CALLERS = 100, HIT_THREAD = 16 };

struct hit {
    mw_hit hit; /* its bytes are these: */
    uint8_t before[MW_HIT_MAX], after[MW_HIT_MAX];
    uint32_t bytes; /* of each */
    uint32_t more;  /* others of the same condition, in the same thread, that were met before anybody has acted */
    uint32_t count, callers[HIT_CALLERS]; /* sites, of a thread of JavaScript: the innermost first */
    bool cut;                             /* there are more of these */
    int box;                              /* of who acts, if that is another thread; else -1 */
    char thread[HIT_THREAD];              /* its name; empty: not known */
};

/* Takes a hit of the calling thread's, for `to` to act on. thread: its name; NULL: the one that the kernel knows.
 * False: it was counted with another one, or as not held. It can't be taken before hit_complete(). */
bool hit_put(const mw_hit *hit, const void *to, int box, const char *thread);
/* How many there was no room for, since this was asked last. */
uint64_t hits_unheld(void);
/* One of the calling thread's that isn't complete; NULL: all are. *to: who acts on it. */
struct hit *hit_incomplete(uint32_t tid, const void **to);
void hit_complete(struct hit *hit);
/* The one that has waited longest for `to`. */
bool hit_take(const void *to, struct hit *out);
/* Whether one of the condition with this handle waits. */
bool hit_waits(uint32_t handle);
/* Whether one waits for `to`. */
bool hit_waits_for(const void *to);
/* Nobody acts on those any more. */
void hits_forget(const void *to);

#ifdef __cplusplus
}
#endif
#endif
