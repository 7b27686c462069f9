/* page_span.c - see page_span.h. The pages of a destination are locked in the order of their numbers, so the events of
 * a page are in the order in which its bytes changed. Memory beside them is read and written by the kernel, which
 * returns EFAULT where there is none. */
#include "stores/page_span.h"

#include <string.h>
#include <sys/uio.h>

#include "base/lock.h"
#include "base/syscalls.h"
#include "base/thread.h"
#include "journal/journal_format.h"
#include "journal/registry.h"
#include "memory/arena.h"
#include "memwatch.h"
#include "state.h"
#include "stores/endings.h"
#include "stores/instruction.h"
#include "stores/kernel_writes.h"

static_assert(STORE_MAX <= 8 * sizeof(uint64_t), "`written` has a bit for each byte of a store");

/* ---- memory that may not be there ---- */

MW_SIGNAL_SAFE static bool copy_checked(long call, uintptr_t ours, uintptr_t theirs, size_t n) {
    struct iovec local = {(void *)ours, n}, remote = {(void *)theirs, n};
    long pid = raw_syscall4(SYS_getpid, 0, 0, 0, 0);
    long done = raw_syscall6(call, pid, (long)&local, 1, (long)&remote, 1, 0);
    if (done == -38 || done == -1) { /* ENOSYS, EPERM: a sandbox; then without the net */
        if (call == SYS_process_vm_readv)
            memcpy((void *)ours, (void *)theirs, n);
        else
            memcpy((void *)theirs, (void *)ours, n);
        return true;
    }
    return done == (long)n;
}

MW_SIGNAL_SAFE bool safe_read(void *to, uintptr_t from, size_t n) {
    return copy_checked(SYS_process_vm_readv, (uintptr_t)to, from, n);
}
MW_SIGNAL_SAFE bool safe_write(uintptr_t to, const void *from, size_t n) {
    if (in_arena(to)) return false; /* a free page: under uffd-queue the kernel would write to it */
    return copy_checked(SYS_process_vm_writev, (uintptr_t)from, to, n);
}

/* ---- the destination, page by page ---- */

MW_SIGNAL_SAFE void page_span_unlock(struct page_span *span) {
    for (unsigned i = span->count; i--;)
        if (span->piece[i].page != NO_PAGE && !span->piece[i].nested) page_release(span->piece[i].page);
}

/* Of an adopted page: whether it still is one. At the one that has faulted, that was asked already. */
MW_SIGNAL_SAFE static bool is_there(uint32_t page) {
    return page == NO_PAGE || page + 1 == mw_thread.faulted || watch_holds(page, false);
}

MW_SIGNAL_SAFE bool page_span_lock(struct page_span *span, uintptr_t at, unsigned size) {
    uint32_t self = thread_id();
    unsigned room = MW_PAGE_SIZE - (unsigned)(at & PAGE_MASK), done = 0;
    span->count = 0;
    while (done < size) {
        unsigned n = span->count ? size - done : size < room ? size : room;
        struct page_piece *piece = &span->piece[span->count++];
        uintptr_t here = at + done;
        *piece = (struct page_piece){.page = arena_page_at(here), .offset = (uint32_t)(here & PAGE_MASK), .length = n};
        if (unlikely(!in_arena(here)) && !is_there(piece->page)) piece->page = NO_PAGE;
        if (piece->page != NO_PAGE) piece->target = arena_writable(piece->page) + piece->offset;
        done += n;
    }
    bool swapped = span->count == 2 && span->piece[1].page < span->piece[0].page;
    for (unsigned i = 0; i < span->count; i++) {
        struct page_piece *piece = &span->piece[swapped ? 1 - i : i];
        if (piece->page == NO_PAGE) continue;
        piece->nested = lock_held_by(&mw.arena.pages[piece->page].lock, self);
        if (!piece->nested) lock_take(&mw.arena.pages[piece->page].lock, self);
    }
    uintptr_t here = at;
    for (unsigned i = 0; i < span->count; here += span->piece[i++].length)
        if (span->piece[i].page != arena_page_at(here)) {
            page_span_unlock(span);
            return false;
        }
    for (unsigned i = 0; kernel_writes() && i < span->count; i++)
        if (span->piece[i].target && !span->piece[i].nested) kernel_settle(span->piece[i].page);
    return true;
}

MW_SIGNAL_SAFE void page_span_read(struct page_span *span, uintptr_t at, uint8_t *to) {
    for (unsigned i = 0; i < span->count; i++) {
        const struct page_piece *piece = &span->piece[i];
        span->missing[i] = false;
        if (piece->target)
            memcpy(to, piece->target, piece->length);
        else if (!safe_read(to, at, piece->length)) {
            memset(to, 0, piece->length);
            span->missing[i] = true;
        }
        to += piece->length, at += piece->length;
    }
}

/* Whole words are stored whole, so that a reader without a lock never sees half of one. */
MW_SIGNAL_SAFE static void publish(uint8_t *to, const uint8_t *from, unsigned n) {
    typedef uint64_t __attribute__((aligned(1), may_alias)) u64;
    typedef uint32_t __attribute__((aligned(1), may_alias)) u32;
    typedef uint16_t __attribute__((aligned(1), may_alias)) u16;
    typedef long long __attribute__((vector_size(16), may_alias)) v16;
    typedef long long __attribute__((vector_size(16), aligned(1), may_alias)) u128;
    switch (n) {
    case 1: *(volatile uint8_t *)to = *from; return;
    case 2: *(volatile u16 *)to = *(const u16 *)from; return;
    case 4: *(volatile u32 *)to = *(const u32 *)from; return;
    case 8: *(volatile u64 *)to = *(const u64 *)from; return;
    case 16:
        if (!((uintptr_t)to & 15)) {
            *(volatile v16 *)to = *(const u128 *)from;
            return;
        }
    }
    for (; n && (uintptr_t)to & 7; n--) *(volatile uint8_t *)to++ = *from++;
    for (; n >= 8; n -= 8, to += 8, from += 8) *(volatile u64 *)to = *(const u64 *)from;
    for (; n; n--) *(volatile uint8_t *)to++ = *from++;
}

/* The pieces of one store are neighbours, in the order of their addresses or in the reverse. */
MW_SIGNAL_SAFE static void remember_guarded(const struct page_piece *piece) {
    struct thread *t = &mw_thread;
    uintptr_t at = (uintptr_t)piece->target - mw.arena.distance;
    if (!t->guarded || at < t->guarded) t->guarded = at;
    if (at + piece->length > t->guarded_end) t->guarded_end = at + piece->length;
}

MW_SIGNAL_SAFE void page_span_publish(const struct page_span *span, const uint8_t *after) {
    MW_STEP("publish", 0);
    for (unsigned i = 0; i < span->count; after += span->piece[i++].length) {
        const struct page_piece *piece = &span->piece[i];
        if (!piece->target) continue;
        publish(piece->target, after, piece->length);
        if (unlikely(mw.arena.pages[piece->page].guarded)) remember_guarded(piece);
        if (kernel_writes()) kernel_except(piece->page, piece->offset, after, piece->length);
    }
}

MW_SIGNAL_SAFE bool page_span_write_beyond(const struct page_span *span, uintptr_t at, const uint8_t *bytes,
                                           uint64_t written) {
    unsigned from = 0;
    for (unsigned i = 0; i < span->count; from += span->piece[i++].length) {
        unsigned start = from, n = span->piece[i].length;
        if (span->piece[i].target) continue;
        if (written != ALL_WRITTEN) {
            uint64_t own = written & ~0ull << from & ~0ull >> (64 - (from + n));
            if (!own) continue;
            start = (unsigned)__builtin_ctzll(own);
            n = 64 - (unsigned)__builtin_clzll(own) - start;
        }
        if (span->missing[i] || !safe_write(at + start, bytes + start, n)) {
            mw_thread.fault = at + start;
            return false;
        }
    }
    return true;
}

MW_SIGNAL_SAFE bool page_span_apply(uintptr_t at, const uint8_t *after, unsigned size, const mw_origin *origin,
                                    const struct mwj_call *call) {
    uint8_t copy[STORE_MAX];
    struct page_span span;
    if (!page_span_lock(&span, at, size)) return false;
    const uint8_t *before = span.piece[0].target;
    span.missing[0] = span.missing[1] = false;
    if (size <= STORE_MAX) {
        page_span_read(&span, at, copy);
        before = copy;
    }
    bool done = before && page_span_write_beyond(&span, at, after, ALL_WRITTEN);
    if (done) {
        registry_record(at, span.piece, span.count, before, after, ALL_WRITTEN, origin, call);
        page_span_publish(&span, after);
    }
    page_span_unlock(&span);
    return done;
}
