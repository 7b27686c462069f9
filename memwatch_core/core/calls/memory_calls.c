/* memory_calls.c - libc calls by which a program does away with memory, as its modules see them (import_tables.c).
 *
 * Memory that was adopted is ended here before the call, with a record that names it and its line, and is ordinary
 * memory by the time that the call is made. Only if all of it will be unmapped, its contents aren't copied for that: it
 * becomes ordinary memory afterwards, should it still be there. What doesn't come by here (calls inside libc, bare
 * system calls) is found later: stores/endings.c. For other memory, two comparisons. */
#include "calls/memory_calls.h"

#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/thread.h"
#include "calls/call_origins.h"
#include "memory/adopted_pages.h"
#include "memory/arena.h"
#include "memory/fork_copy.h"
#include "memwatch.h"
#include "state.h"
#include "stores/endings.h"

#define SLOW __attribute__((noinline, cold))
#define CALLER ((uintptr_t)__builtin_return_address(0))
#define BLOCK_MAPPED 2u /* in the size before a block of glibc's: it has a mapping of its own */

/* How a call is under way. */
struct release {
    bool held;  /* this thread holds mw.lock: until release_end() */
    bool taken; /* what core_take() returned */
};

static inline bool concerns(uintptr_t start, uintptr_t end) {
    return unlikely(atomic_load_explicit(&mw.adopted_pages.count, memory_order_relaxed)) &&
           start < atomic_load_explicit(&mw.adopted_pages.highest, memory_order_relaxed) &&
           end > atomic_load_explicit(&mw.adopted_pages.lowest, memory_order_relaxed);
}

/* drops: the call unmaps all of [start, end). */
static SLOW struct release release_begin(const char *call, uintptr_t start, uintptr_t end, bool drops,
                                         uintptr_t caller) {
    struct release r = {false, false};
    uint64_t stop = (end + PAGE_MASK) >> PAGE_SHIFT;
    int kept = errno;
    if (!process_is_whole() || adopted_next(start >> PAGE_SHIFT, stop) == stop) return r;
    if (lock_held_by(&mw.lock, thread_id()) && !core_prepared()) return r; /* a signal handler: found later */
    mw_ending ending = {.why = MW_END_RELEASED, .length = (uint8_t)strlen(call)};
    memcpy(ending.target, call, ending.length);
    ucontext_t context;
    uint64_t mask = mask_signals();
    mw_origin origin = call_origin(caller, mask, &context);
    unmask_signals(mask);
    ending.site = origin.site ? origin.site : origin.native;
    r = (struct release){true, core_take()};
    watch_release(start, end, &ending, drops);
    errno = kept;
    return r;
}

static SLOW void release_end(struct release r) {
    int kept = errno;
    if (!r.held) return;
    watch_clear_gone();
    core_release(r.taken);
    errno = kept;
}

/* The same, of a call before which its memory must be ordinary memory. */
static SLOW void release(const char *call, uintptr_t start, uintptr_t end, uintptr_t caller) {
    release_end(release_begin(call, start, end, false, caller));
}

/* ---- blocks ---- */

/* Its end, as far as anything is known of it; 0: it is no concern of ours. */
static inline uintptr_t concerned_end(void *block) {
    if (likely(!atomic_load_explicit(&mw.adopted_pages.count, memory_order_relaxed)) || !block) return 0;
    if ((uintptr_t)block >= atomic_load_explicit(&mw.adopted_pages.highest, memory_order_relaxed)) return 0;
    uintptr_t end = (uintptr_t)block + malloc_usable_size(block);
    return end > atomic_load_explicit(&mw.adopted_pages.lowest, memory_order_relaxed) ? end : 0;
}

static SLOW void free_concerned(void *block, uintptr_t end, uintptr_t caller) {
    uintptr_t start = (uintptr_t)block;
    const size_t *head =
        (const size_t *)block - 2; /* of glibc's allocator: the bytes before it in its mapping, its size */
    bool mapped = mw.modules.libc_frees && head[1] & BLOCK_MAPPED;
    if (mapped) start = (uintptr_t)head - head[0], end = (uintptr_t)head + (head[1] & ~(size_t)7);
    struct release r = release_begin("free", start, end, mapped, caller);
    free(block);
    release_end(r);
}

void replaced_free(void *block) {
    uintptr_t end = concerned_end(block);
    if (likely(!end))
        free(block);
    else
        free_concerned(block, end, CALLER);
}

void *replaced_realloc(void *block, size_t size) {
    uintptr_t end = concerned_end(block);
    if (unlikely(end)) release("realloc", (uintptr_t)block, end, CALLER);
    return realloc(block, size);
}

void *replaced_reallocarray(void *block, size_t count, size_t size) {
    uintptr_t end = concerned_end(block);
    if (unlikely(end)) release("reallocarray", (uintptr_t)block, end, CALLER);
    return reallocarray(block, count, size);
}

/* ---- mappings ---- */

static SLOW int munmap_concerned(void *start, size_t size, uintptr_t caller) {
    struct release r = release_begin("munmap", (uintptr_t)start, (uintptr_t)start + size, true, caller);
    int result = munmap(start, size);
    release_end(r);
    return result;
}

int replaced_munmap(void *start, size_t size) {
    if (unlikely(concerns((uintptr_t)start, (uintptr_t)start + size))) return munmap_concerned(start, size, CALLER);
    return munmap(start, size);
}

void *replaced_mmap(void *start, size_t size, int protection, int flags, int fd, off_t offset) {
    if (unlikely(flags & MAP_FIXED && concerns((uintptr_t)start, (uintptr_t)start + size)))
        release("mmap", (uintptr_t)start, (uintptr_t)start + size, CALLER);
    return mmap(start, size, protection, flags, fd, offset);
}

void *replaced_mremap(void *start, size_t size, size_t wanted, int flags, ...) {
    va_list more;
    va_start(more, flags);
    void *to = flags & MREMAP_FIXED ? va_arg(more, void *) : NULL;
    va_end(more);
    uintptr_t from = (uintptr_t)start, there = (uintptr_t)to;
    if (unlikely(concerns(from, from + size))) release("mremap", from, from + size, CALLER);
    if (unlikely(to && concerns(there, there + wanted))) release("mremap", there, there + wanted, CALLER);
    return mremap(start, size, wanted, flags, to);
}

/* What says how memory will be used, and changes nothing of it, goes through. */
static bool is_a_hint(int advice) {
    switch (advice) {
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_WILLNEED:
    case MADV_COLD:
    case MADV_PAGEOUT:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
    case MADV_POPULATE_READ: return true;
    default: return false;
    }
}

int replaced_madvise(void *start, size_t size, int advice) {
    if (unlikely(concerns((uintptr_t)start, (uintptr_t)start + size) && !is_a_hint(advice)))
        release("madvise", (uintptr_t)start, (uintptr_t)start + size, CALLER);
    return madvise(start, size, advice);
}

int replaced_mprotect(void *start, size_t size, int protection) {
    if (unlikely(concerns((uintptr_t)start, (uintptr_t)start + size)))
        release("mprotect", (uintptr_t)start, (uintptr_t)start + size, CALLER);
    return mprotect(start, size, protection);
}

int replaced_pkey_mprotect(void *start, size_t size, int protection, int key) {
    if (unlikely(concerns((uintptr_t)start, (uintptr_t)start + size)))
        release("pkey_mprotect", (uintptr_t)start, (uintptr_t)start + size, CALLER);
    return pkey_mprotect(start, size, protection, key);
}

/* ---- the program break ---- */

static SLOW void shrink(const char *call, uintptr_t end, uintptr_t caller) {
    uintptr_t now = (uintptr_t)sbrk(0);
    if (end < now) release(call, (end + PAGE_MASK) & ~PAGE_MASK, (now + PAGE_MASK) & ~PAGE_MASK, caller);
}

int replaced_brk(void *end) {
    if (unlikely(concerns((uintptr_t)end, UINTPTR_MAX))) shrink("brk", (uintptr_t)end, CALLER);
    return brk(end);
}

void *replaced_sbrk(intptr_t increment) {
    if (unlikely(increment < 0 && concerns(0, UINTPTR_MAX)))
        shrink("sbrk", (uintptr_t)sbrk(0) + (uintptr_t)increment, CALLER);
    return sbrk(increment);
}

/* ---- bare system calls ---- */

void memory_system_call(long number, long a, long b, long c, long d, long e, uintptr_t caller) {
    uintptr_t start = (uintptr_t)a, end = start + (size_t)b;
    bool ends = number != SYS_brk && concerns(start, end);
    switch (number) {
    case SYS_munmap:
    case SYS_mprotect:
    case SYS_pkey_mprotect:
    case SYS_remap_file_pages: break;
    case SYS_mmap: ends &= (d & MAP_FIXED) != 0; break;
    case SYS_madvise: ends &= !is_a_hint((int)c); break;
    case SYS_mremap:
        if (d & MREMAP_FIXED && concerns((uintptr_t)e, (uintptr_t)e + (size_t)c))
            release("syscall", (uintptr_t)e, (uintptr_t)e + (size_t)c, caller);
        break;
    case SYS_brk:
        if (a && concerns(start, UINTPTR_MAX)) shrink("syscall", start, caller);
        return;
    default: return;
    }
    if (ends) release("syscall", start, end, caller);
}
