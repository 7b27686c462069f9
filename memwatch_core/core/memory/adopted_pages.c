/* adopted_pages.c - see adopted_pages.h. A tree of three levels. Its tables stay once they are made: a search may be in
 * them at any time. */
#include "memory/adopted_pages.h"

#include <sys/mman.h>

#include "memory/arena.h"
#include "memwatch.h"
#include "state.h"

#define NUMBERS ((uint64_t)1 << 3 * ADOPTED_BITS)

static void *table(size_t size) {
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

int adopted_open(void) {
    mw.adopted_pages.branch = table(ADOPTED_FAN * sizeof *mw.adopted_pages.branch);
    return mw.adopted_pages.branch ? MW_OK : MW_ERR_NO_MEMORY;
}

MW_SIGNAL_SAFE static struct adopted_branch *branch_of(uint64_t number) {
    return number >= NUMBERS
               ? NULL
               : atomic_load_explicit(&mw.adopted_pages.branch[number >> 2 * ADOPTED_BITS], memory_order_acquire);
}

MW_SIGNAL_SAFE static struct adopted_leaf *leaf_of(uint64_t number) {
    struct adopted_branch *branch = branch_of(number);
    if (!branch) return NULL;
    return atomic_load_explicit(&branch->leaf[number >> ADOPTED_BITS & (ADOPTED_FAN - 1)], memory_order_acquire);
}

MW_SIGNAL_SAFE uint32_t adopted_find(uint64_t number) {
    struct adopted_leaf *leaf = leaf_of(number);
    static_assert(NO_PAGE == 0u - 1u, "an entry of 0 stands for it");
    return leaf ? atomic_load_explicit(&leaf->entry[number & (ADOPTED_FAN - 1)], memory_order_acquire) - 1 : NO_PAGE;
}

MW_SIGNAL_SAFE static uint64_t round_up(uint64_t number, unsigned bits) { return ((number >> bits) + 1) << bits; }

MW_SIGNAL_SAFE uint64_t adopted_next(uint64_t number, uint64_t end) {
    uint64_t lowest = mw.adopted_pages.lowest >> PAGE_SHIFT, highest = mw.adopted_pages.highest >> PAGE_SHIFT;
    if (number < lowest) number = lowest;
    for (uint64_t stop = end < highest ? end : highest; number < stop;) {
        if (!branch_of(number))
            number = round_up(number, 2 * ADOPTED_BITS);
        else if (!leaf_of(number))
            number = round_up(number, ADOPTED_BITS);
        else if (adopted_find(number) != NO_PAGE)
            return number;
        else
            number++;
    }
    return end;
}

/* Makes the tables on the way to a page. */
static bool grow(uint64_t number) {
    if (!branch_of(number)) {
        struct adopted_branch *branch = table(sizeof *branch);
        if (!branch) return false;
        atomic_store_explicit(&mw.adopted_pages.branch[number >> 2 * ADOPTED_BITS], branch, memory_order_release);
    }
    if (!leaf_of(number)) {
        struct adopted_leaf *leaf = table(sizeof *leaf);
        if (!leaf) return false;
        atomic_store_explicit(&branch_of(number)->leaf[number >> ADOPTED_BITS & (ADOPTED_FAN - 1)], leaf,
                              memory_order_release);
    }
    return true;
}

int adopted_add(uintptr_t start, size_t n, uint32_t first) {
    uint64_t number = start >> PAGE_SHIFT;
    if (number + n > NUMBERS) return MW_ERR_LIMIT;
    for (size_t i = 0; i < n; i = (size_t)(round_up(number + i, ADOPTED_BITS) - number))
        if (!grow(number + i)) return MW_ERR_NO_MEMORY;
    bool any = mw.adopted_pages.count;
    uintptr_t end = start + (n << PAGE_SHIFT);
    if (!any || start < mw.adopted_pages.lowest) mw.adopted_pages.lowest = start;
    if (!any || end > mw.adopted_pages.highest) mw.adopted_pages.highest = end;
    for (size_t i = 0; i < n; i++)
        atomic_store_explicit(&leaf_of(number + i)->entry[(number + i) & (ADOPTED_FAN - 1)], first + (uint32_t)i + 1,
                              memory_order_release);
    atomic_fetch_add(&mw.adopted_pages.count, n);
    return MW_OK;
}

MW_SIGNAL_SAFE void adopted_forget(uintptr_t start, size_t n, uint32_t first) {
    uint64_t number = start >> PAGE_SHIFT, forgotten = 0;
    for (size_t i = 0; i < n; i++) {
        struct adopted_leaf *leaf = leaf_of(number + i);
        uint32_t entry = first + (uint32_t)i + 1;
        forgotten += leaf && atomic_compare_exchange_strong(&leaf->entry[(number + i) & (ADOPTED_FAN - 1)], &entry, 0);
    }
    atomic_fetch_sub(&mw.adopted_pages.count, forgotten);
}

MW_SIGNAL_SAFE void adopted_forget_all(void) {
    uint64_t end = mw.adopted_pages.highest >> PAGE_SHIFT;
    for (uint64_t at = 0; mw.adopted_pages.count && (at = adopted_next(at, end)) < end; at++)
        adopted_forget(at << PAGE_SHIFT, 1, adopted_find(at));
}
