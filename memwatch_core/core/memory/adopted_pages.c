/* adopted_pages.c - see adopted_pages.h. Linear probing: an entry lies at its slot, or behind it without a free one in
 * between. The fault path searches while an entry is deleted: so that is marked first, and freed where no search needs
 * to go on over it. */
#include "memory/adopted_pages.h"

#include "memory/arena.h"
#include "memwatch.h"
#include "state.h"

MW_SIGNAL_SAFE static inline unsigned next_of(unsigned at) { return (at + 1) & (ADOPTED_MAX - 1); }
MW_SIGNAL_SAFE static inline unsigned previous_of(unsigned at) { return (at - 1) & (ADOPTED_MAX - 1); }

MW_SIGNAL_SAFE static struct adopted_page *entry_of(uint64_t number) {
    for (unsigned i = 0, at = adopted_slot(number); i < ADOPTED_MAX; i++, at = next_of(at)) {
        struct adopted_page *entry = &mw.adopted_pages.rows[at];
        uint64_t seen = atomic_load_explicit(&entry->number, memory_order_acquire);
        if (seen == number) return entry;
        if (seen == ADOPTED_FREE) return NULL;
    }
    return NULL;
}

MW_SIGNAL_SAFE uint32_t adopted_find(uint64_t number) {
    const struct adopted_page *entry = entry_of(number);
    return entry ? entry->page : NO_PAGE;
}

bool adopted_add(uint64_t number, uint32_t page) {
    if (mw.adopted_pages.count >= ADOPTED_MAX / 2) return false;
    unsigned at = adopted_slot(number);
    while (mw.adopted_pages.rows[at].number > ADOPTED_DELETED) at = next_of(at);
    mw.adopted_pages.rows[at].page = page;
    atomic_store_explicit(&mw.adopted_pages.rows[at].number, number, memory_order_release);
    mw.adopted_pages.count++;
    return true;
}

/* Deleted entries before a free one are free: else searches would get longer with all that was ever adopted. */
static void free_deleted(unsigned at) {
    if (mw.adopted_pages.rows[next_of(at)].number != ADOPTED_FREE) return;
    for (; mw.adopted_pages.rows[at].number == ADOPTED_DELETED; at = previous_of(at))
        atomic_store_explicit(&mw.adopted_pages.rows[at].number, ADOPTED_FREE, memory_order_release);
}

void adopted_forget(uintptr_t start, size_t n) {
    for (size_t i = 0; i < n; i++) {
        struct adopted_page *entry = entry_of((start >> PAGE_SHIFT) + i);
        if (!entry) continue;
        atomic_store_explicit(&entry->number, ADOPTED_DELETED, memory_order_release);
        mw.adopted_pages.count--;
        free_deleted((unsigned)(entry - mw.adopted_pages.rows));
    }
}

MW_SIGNAL_SAFE void adopted_forget_all(void) {
    for (unsigned i = 0; mw.adopted_pages.count && i < ADOPTED_MAX; i++) mw.adopted_pages.rows[i].number = ADOPTED_FREE;
    mw.adopted_pages.count = 0;
}
