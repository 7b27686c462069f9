/* bounce_buffers.c - memory in which a libc call leaves what it was told to write into a watched page.
 *
 * The kernel can't write to a watched view, and may take as long as it likes: so no lock is held while it writes, and
 * it writes here. What came is then delivered as any other write: under the page's lock, recorded first and published
 * second. A call is made once, with room for all that was asked for: a datagram is not cut.
 *
 * The calls that use this may be made in signal handlers and in forked children: no malloc. Small room is on the stack,
 * other is mapped. */
#include "calls/bounce_buffers.h"

#include <errno.h>
#include <limits.h>
#include <sys/mman.h>

#include "base/syscalls.h"
#include "base/thread.h"
#include "calls/call_origins.h"
#include "journal/conditions.h"
#include "journal/journal_format.h"
#include "memory/adopted_pages.h"
#include "memory/arena.h"
#include "memwatch.h"
#include "state.h"
#include "stores/guarded_copy.h"
#include "stores/page_span.h"

#define KERNEL_MOST 0x7ffff000u /* bytes that the kernel transfers in one call */
#define ALIGNMENT 16u
#define BLOCK 512u /* O_DIRECT wants no less, and addresses to match */

bool adopted_within(uintptr_t start, size_t size) {
    uintptr_t number = start >> PAGE_SHIFT,
              end = number +
                    (((start & PAGE_MASK) + (size < KERNEL_MOST ? size : KERNEL_MOST) + PAGE_MASK) >> PAGE_SHIFT);
    return adopted_next(number, end) < end;
}

static size_t most(size_t size) { return size < KERNEL_MOST ? size : KERNEL_MOST; }

size_t bounce_needs(const struct iovec *buffers, size_t count) {
    size_t needs = 2 * (count * sizeof *buffers + ALIGNMENT), sum = 0;
    struct iovec buffer;
    if (count > IOV_MAX) return 0;
    for (size_t i = 0; i < count; i++) {
        if (!guarded_copy(&buffer, buffers + i, sizeof buffer)) return 0;
        if (buffer.iov_len > SSIZE_MAX || (sum += buffer.iov_len) > SSIZE_MAX) return 0;
        if (is_watched(buffer.iov_base, buffer.iov_len))
            needs += most(buffer.iov_len) + ALIGNMENT + (buffer.iov_len % BLOCK ? 0 : 2 * MW_PAGE_SIZE);
    }
    return needs;
}

bool bounce_open(struct bounce *bounce, size_t needs) {
    bounce->mapped = NULL;
    bounce->next = bounce->small;
    bounce->end = bounce->small + BOUNCE_SMALL;
    if (needs <= BOUNCE_SMALL) return true;
    long p = raw_syscall6(SYS_mmap, 0, (long)needs, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                          -1, 0);
    if (p < 0 && p > -4096) {
        errno = ENOMEM;
        return false;
    }
    bounce->mapped = bounce->next = (void *)p;
    bounce->size = needs;
    bounce->end = bounce->next + needs;
    return true;
}

void bounce_close(void *opened) {
    struct bounce *bounce = opened;
    if (bounce->mapped) raw_syscall4(SYS_munmap, (long)bounce->mapped, (long)bounce->size, 0, 0);
}

void *bounce_take(struct bounce *bounce, size_t size) {
    uint8_t *taken = (uint8_t *)(((uintptr_t)bounce->next + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1));
    bounce->next = taken + size;
    return taken;
}

bool bounce_place(struct bounce *bounce, const struct iovec *buffers, size_t count, struct placement *out) {
    size_t tables = 2 * (count * sizeof *buffers + ALIGNMENT), needs;
    if (count > IOV_MAX || tables > (size_t)(bounce->end - bounce->next)) return false;
    struct iovec *wanted = bounce_take(bounce, count * sizeof *wanted);
    struct iovec *placed = bounce_take(bounce, count * sizeof *placed);
    if (!guarded_copy(wanted, buffers, count * sizeof *wanted) || !(needs = bounce_needs(wanted, count)) ||
        needs - tables > (size_t)(bounce->end - bounce->next))
        return false;
    for (size_t i = 0; i < count; i++) {
        placed[i] = wanted[i];
        if (!is_watched(wanted[i].iov_base, wanted[i].iov_len)) continue;
        size_t size = most(wanted[i].iov_len);
        if (size % BLOCK == 0) { /* at the same place in a page */
            uintptr_t behind = ((uintptr_t)bounce->next + PAGE_MASK) & ~PAGE_MASK;
            bounce->next = (uint8_t *)behind + ((uintptr_t)wanted[i].iov_base & PAGE_MASK);
        }
        placed[i] = (struct iovec){bounce->next, size};
        bounce->next += size;
    }
    *out = (struct placement){wanted, placed, count};
    return true;
}

/* How many bytes from `at` on can be applied at once: of our pages, side by side in the writable view. */
MW_SIGNAL_SAFE static size_t at_once(uintptr_t at, size_t size) {
    uint32_t page = arena_page_at(at);
    size_t room = MW_PAGE_SIZE - (at & PAGE_MASK);
    if (size > MW_EVENT_MAX) size = MW_EVENT_MAX;
    return size <= room || arena_page_at(at + room) == page + 1 ? size : room;
}

MW_SIGNAL_SAFE static size_t deliver(uintptr_t to, const uint8_t *bytes, size_t size, const mw_origin *origin,
                                     const struct mwj_call *call) {
    size_t done = 0;
    while (done < size) {
        uintptr_t at = to + done;
        size_t room = MW_PAGE_SIZE - (at & PAGE_MASK), n = size - done < room ? size - done : room;
        if (arena_page_at(at) == NO_PAGE) { /* the buffer goes on in other memory, or its watch has ended meanwhile */
            if (!safe_write(at, bytes + done, n)) break;
        } else {
            n = at_once(at, size - done);
            if (!page_span_apply(at, bytes + done, (unsigned)n, origin, call)) continue; /* the page has just changed */
        }
        done += n;
    }
    return done;
}

MW_SIGNAL_SAFE size_t bounce_deliver(const struct placement *placement, const struct mwj_call *call, uintptr_t caller) {
    if (unlikely(!process_is_whole())) return 0; /* fork.c: it isn't there */
    const struct iovec *wanted = placement->wanted, *placed = placement->placed;
    size_t left = call->bytes, delivered = 0;
    ucontext_t context;
    uint64_t kept = mask_signals();
    mw_origin origin = call_origin(caller, kept, &context);
    mw_thread.looked_at = 0;
    for (size_t i = 0; i < placement->count && left; i++) {
        size_t n = placed[i].iov_len < left ? placed[i].iov_len : left, done = n;
        if (placed[i].iov_base != wanted[i].iov_base)
            done = deliver((uintptr_t)wanted[i].iov_base, placed[i].iov_base, n, &origin, call);
        delivered += done;
        left = done < n ? 0 : left - n;
    }
    unmask_signals(kept);
    if (unlikely(mw_thread.hits)) conditions_settle(&context);
    return delivered;
}
