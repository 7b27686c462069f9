/* bounce_buffers.h - other memory that a reading call of libc fills in place of watched pages: the kernel can't write
 * to those. Its bytes are then announced writes. */
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
    void *mapped; /* NULL: `small` was enough */
    size_t size;
    uint8_t *next, *end;
    uint8_t small[BOUNCE_SMALL] __attribute__((aligned(16)));
};
/* Bytes of bounce memory that a call with these iovecs needs; 0: the kernel would refuse it (iovecs that can't be read,
 * that are too many or too long). bounce_open() gets them, and bounce_take() gives a part of them away. */
MW_HIDDEN size_t bounce_needs(const struct iovec *buffers, size_t count);
MW_HIDDEN bool bounce_open(struct bounce *bounce, size_t needs); /* false: errno is ENOMEM */
MW_HIDDEN void *bounce_take(struct bounce *bounce, size_t size);
struct placement {
    const struct iovec *wanted, *placed; /* the program's iovecs, and those that the call is made with */
    size_t count;
};
/* Copies the iovecs twice, and in `placed` replaces watched buffers by bounce memory. False: another thread has changed
 * them since bounce_needs(), and they don't fit any more. */
MW_HIDDEN bool bounce_place(struct bounce *bounce, const struct iovec *buffers, size_t count, struct placement *out);
/* Copies the call->bytes that were read into `placed` to `wanted`: one event for each variable and MW_EVENT_MAX bytes.
 * Returns how many bytes: fewer if memory behind a watched page can't be written. caller: where
 * the call returns to. Async-signal-safe; keeps errno. */
MW_HIDDEN size_t bounce_deliver(const struct placement *placement, const struct mwj_call *call, uintptr_t caller);
MW_HIDDEN void bounce_close(void *bounce);
/* Whether a part of [start, start + size) may be watched. For any other memory: two comparisons. */
MW_HIDDEN bool adopted_within(uintptr_t start, size_t size);
static inline bool is_watched(const void *start, size_t size) {
    return in_arena((uintptr_t)start) ||
           (unlikely(atomic_load_explicit(&mw.adopted_pages.count, memory_order_relaxed)) &&
            adopted_within((uintptr_t)start, size));
}
#endif
