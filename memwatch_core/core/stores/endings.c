/* endings.c - see endings.h. docs/decisions/adopted-memory.md. */
#include "stores/endings.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/lock.h"
#include "base/thread.h"
#include "journal/conditions.h"
#include "journal/journal.h"
#include "memory/adopted_pages.h"
#include "memory/adoption.h"
#include "memory/arena.h"
#include "memwatch.h"
#include "state.h"
#include "stores/kernel_writes.h"

enum { ROWS = MW_PAGE_SIZE / sizeof(struct variable) };
static_assert(MW_PAGE_SIZE % sizeof(struct variable) == 0, "whole rows on a page");
#define LOOK_AGAIN ((uint64_t)1 << 21) /* time stamps: about a millisecond */
#define LOOK_PART 64u                  /* and at least so many times as long as a look takes, up to */
#define LOOK_LATEST ((uint64_t)1 << 26)

MW_SIGNAL_SAFE uint32_t watch_pages(const struct variable *v) {
    return (uint32_t)(((v->address & PAGE_MASK) + v->size + PAGE_MASK) >> PAGE_SHIFT);
}

/* ---- it ends ---- */

MW_SIGNAL_SAFE static void unlink_from(uint32_t number, uint32_t id, const struct variable *v) {
    struct page *page = &mw.arena.pages[number];
    bool nested = lock_held_by(&page->lock, thread_id());
    if (!nested) lock_take(&page->lock, thread_id());
    if (kernel_writes()) kernel_settle(number);
    for (uint32_t *link = &page->head; *link;) {
        struct variable *at = &mw.registry.variables[*link];
        if (*link == id) *link = variable_next(v, number);
        if (at == v || at->page != number) break;
        link = &at->next;
    }
    if (!nested) lock_release(&page->lock);
}

MW_SIGNAL_SAFE bool watch_end(uint32_t id, struct variable *v, const mw_ending *ending) {
    uint32_t life = atomic_exchange(&v->live, ENDED);
    if (life == ENDED) return false;
    for (uint32_t i = 0, n = watch_pages(v); i < n; i++) unlink_from(v->page + i, id, v);
    atomic_fetch_sub(&mw.registry.live, 1);
    if (life == LIVE && atomic_load(&mw.journal.open))
        journal_unregistered(id, v, ending); /* waits for who is describing it */
    else
        atomic_store(&v->ended, 1);
    return true;
}

/* ---- it is cleared away ---- */

/* Ids aren't used twice, but the rows of those that have ended need no memory. Of a journal with a limit, a row says
 * where the end was recorded until that place is given back (segments.c). A row that reads as zeros has ended. */
void watch_give_back_rows(uint32_t id) {
    uint32_t first = id / ROWS * ROWS;
    if (first + ROWS > mw.registry.last) return; /* the next ones go there */
    for (uint32_t i = first; i < first + ROWS; i++) {
        const struct variable *v = &mw.registry.variables[i];
        if (v->live || v->flags & MW_GONE || (mw.journal.segments_max && v->size && v->ended - 1u >= mw.journal.first))
            return;
    }
    madvise(&mw.registry.variables[first], ROWS * sizeof *mw.registry.variables, MADV_DONTNEED);
}

int watch_clear(uint32_t id, struct variable *v) {
    struct adoption adoption = {v->address, watch_pages(v), v->page};
    int error = MW_OK;
    conditions_forget(id, v);
    free(v->metadata);
    v->metadata = NULL;
    if (!in_arena(v->address)) {
        kernel_forget(adoption.first, adoption.n);
        error = adoption_give_back(&adoption, v->flags & MW_ASTRAY);
    }
    v->flags &= ~(MW_GONE | MW_ASTRAY);
    watch_give_back_rows(id);
    return error;
}

MW_SIGNAL_SAFE static void leave(uint32_t id, struct variable *v, uint32_t flags) {
    v->flags |= flags;
    v->next = atomic_load(&mw.endings.gone);
    while (!atomic_compare_exchange_weak(&mw.endings.gone, &v->next, id)) continue;
}

void watch_clear_gone(void) {
    for (uint32_t next, id = atomic_exchange(&mw.endings.gone, 0); id; id = next) {
        next = mw.registry.variables[id].next;
        watch_clear(id, &mw.registry.variables[id]);
    }
}

/* ---- the memory isn't there any more ---- */

MW_SIGNAL_SAFE static bool is_due(uint32_t id) {
    return atomic_load_explicit(&mw.endings.looks[id % LOOKS_KEPT].id, memory_order_relaxed) != id ||
           (int64_t)(__builtin_ia32_rdtsc() -
                     atomic_load_explicit(&mw.endings.looks[id % LOOKS_KEPT].due, memory_order_relaxed)) >= 0;
}

MW_SIGNAL_SAFE bool watch_holds(uint32_t page, bool lately) {
    static const mw_ending taken = {.why = MW_END_TAKEN};
    uint32_t id = mw.arena.pages[page].head;
    if (!id || (lately ? !is_due(id) : mw_thread.looked_at == id)) return true;
    struct variable *v = &mw.registry.variables[id];
    struct adoption adoption = {v->address, watch_pages(v), v->page};
    uint64_t before = __builtin_ia32_rdtsc();
    if (adoption_is_there(&adoption)) {
        uint64_t now = __builtin_ia32_rdtsc(), pause = (now - before) * LOOK_PART;
        if (pause < LOOK_AGAIN) pause = LOOK_AGAIN;
        if (pause > LOOK_LATEST) pause = LOOK_LATEST; /* this thread may have waited for a CPU meanwhile */
        atomic_store(&mw.endings.looks[id % LOOKS_KEPT].id, id);
        atomic_store(&mw.endings.looks[id % LOOKS_KEPT].due, now + pause);
        mw_thread.looked_at = id;
        return true;
    }
    if (watch_end(id, v, &taken)) {
        adoption_forget_others(&adoption); /* stores to what is left of it go on, without events, until it is cleared */
        leave(id, v, MW_GONE | MW_ASTRAY);
    }
    return false;
}

/* ---- its owner does away with it ---- */

void watch_release(uintptr_t start, uintptr_t end, const mw_ending *ending, bool drops) {
    uint64_t stop = (end + PAGE_MASK) >> PAGE_SHIFT;
    for (uint64_t at = start >> PAGE_SHIFT; (at = adopted_next(at, stop)) < stop;) {
        uint32_t id = mw.arena.pages[adopted_find(at)].head;
        struct variable *v = &mw.registry.variables[id];
        at = id ? (v->address >> PAGE_SHIFT) + watch_pages(v) : at + 1;
        if (!id || !watch_end(id, v, ending)) continue;
        if (drops && v->address >= start && v->address + v->size <= end) {
            adopted_forget(v->address, watch_pages(v), v->page);
            leave(id, v, MW_GONE);
        } else {
            watch_clear(id, v);
        }
    }
}

void watch_look_at_all(void) {
    uint64_t stop = mw.adopted_pages.highest >> PAGE_SHIFT;
    for (uint64_t at = 0; mw.adopted_pages.count && (at = adopted_next(at, stop)) < stop;) {
        uint32_t page = adopted_find(at), id = mw.arena.pages[page].head;
        const struct variable *v = &mw.registry.variables[id];
        at = id ? (v->address >> PAGE_SHIFT) + watch_pages(v) : at + 1;
        mw_thread.looked_at = 0;
        watch_holds(page, false);
    }
    watch_clear_gone();
}
