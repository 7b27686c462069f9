/* bounce_buffers.h - memory in which a libc call leaves what it was told to write into a watched page. */
#ifndef MEMWATCH_BOUNCE_BUFFERS_H
#define MEMWATCH_BOUNCE_BUFFERS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include "base/compiler.h"
#include "journal/journal_format.h"
#include "state.h"

#define BOUNCE_SMALL 1536u
struct bounce {
    void *mapped; /* NULL: `small` is enough */
    size_t size;
    uint8_t *next, *end;
    uint8_t small[BOUNCE_SMALL] __attribute__((aligned(16)));
};
/* Room that the program's buffers need; 0: the kernel would refuse them as they are (what tells their places can't be
 * read, too many, too long). Then that much room, and in it a copy of what tells their places, and that again with the
 * watched ones replaced. */
MW_HIDDEN size_t bounce_needs(const struct iovec *buffers, size_t count);
MW_HIDDEN bool bounce_open(struct bounce *bounce, size_t needs); /* false: errno is ENOMEM */
MW_HIDDEN void *bounce_take(struct bounce *bounce, size_t size);
struct placement {
    const struct iovec *wanted, *placed; /* where the program wants it, and where the call brings it */
    size_t count;
};
/* False: another thread has changed them meanwhile, and there is no room for what they are now. */
MW_HIDDEN bool bounce_place(struct bounce *bounce, const struct iovec *buffers, size_t count, struct placement *out);
/* Brings call->bytes that the call has left in `placed` to where the program wants them, an event for each variable
 * and MW_EVENT_MAX bytes. Returns how many of them could be brought: fewer if memory behind a watched page can't be
 * written. Async-signal-safe; keeps errno. */
MW_HIDDEN size_t bounce_deliver(const struct placement *placement, const struct mwj_call *call);
MW_HIDDEN void bounce_close(void *bounce);
/* Whether a part of [start, start + size) may be watched. For any other memory: two comparisons. */
MW_HIDDEN bool adopted_within(uintptr_t start, size_t size);
static inline bool is_watched(const void *start, size_t size) {
    return in_arena((uintptr_t)start) ||
           (unlikely(atomic_load_explicit(&mw.adopted_pages.count, memory_order_relaxed)) &&
            adopted_within((uintptr_t)start, size));
}
#endif
