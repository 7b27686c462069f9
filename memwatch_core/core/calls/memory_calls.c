/* memory_calls.c - calls that change memory's protection, as the program's modules see them (import_tables.c). */
#include "calls/memory_calls.h"

#include <stdint.h>
#include <sys/mman.h>

#include "calls/bounce_buffers.h"
#include "memory/arena.h"
#include "memwatch.h"
#include "state.h"

/* Of a large range of the program's (V8 opens the whole memory of WebAssembly anew when it grows), watched pages stay
 * as they are. */
static int mprotect_between(uintptr_t start, size_t size, int protection) {
    uintptr_t end = start + ((size + PAGE_MASK) & ~(uintptr_t)PAGE_MASK), from = start;
    for (uintptr_t at = start; at <= end; at += MW_PAGE_SIZE) {
        if (at < end && arena_page_at(at) == NO_PAGE) continue;
        if (from < at && mprotect((void *)from, at - from, protection)) return -1;
        from = at + MW_PAGE_SIZE;
    }
    return 0;
}

int replaced_mprotect(void *start, size_t size, int protection) {
    bool between = unlikely(atomic_load_explicit(&mw.arena.adopted_count, memory_order_relaxed)) &&
                   !((uintptr_t)start & PAGE_MASK) && size <= UINTPTR_MAX - MW_PAGE_SIZE - (uintptr_t)start &&
                   adopted_within((uintptr_t)start, size);
    return between ? mprotect_between((uintptr_t)start, size, protection) : mprotect(start, size, protection);
}
