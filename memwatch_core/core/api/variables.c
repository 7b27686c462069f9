/* variables.c - memwatch.h: variables are registered on pages, described, and their watch ends. */
#include "api/variables.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/lock.h"
#include "base/thread.h"
#include "calls/import_tables.h"
#include "journal/conditions.h"
#include "journal/journal.h"
#include "journal/journal_format.h"
#include "journal/registry.h"
#include "memory/arena.h"
#include "memory/fork_copy.h"
#include "memory/userfaultfd.h"
#include "memwatch.h"
#include "process/fork.h"
#include "state.h"
#include "stores/kernel_writes.h"

enum { ROWS = MW_PAGE_SIZE / sizeof(struct variable), SWEEP = 1 << 16 };
static_assert(MW_PAGE_SIZE % sizeof(struct variable) == 0, "whole rows on a page");

static uint32_t pages_of(const struct variable *v) {
    return (uint32_t)(((v->address & PAGE_MASK) + v->size + PAGE_MASK) >> PAGE_SHIFT);
}

/* An adopted page becomes ordinary memory again. */
static int give_back(uintptr_t start, size_t n, uint32_t first) {
    kernel_forget(first, n);
    return arena_give_back(start, n, first);
}

/* Puts a variable on its pages, under their locks, so that a store sees it on all of them or on none that it locks. */
static void link_pages(uint32_t id, struct variable *v) {
    for (uint32_t i = 0, n = pages_of(v); i < n; i++) {
        struct page *page = &mw.arena.pages[v->page + i];
        lock_take(&page->lock, thread_id());
        if (kernel_writes()) kernel_settle(v->page + i);
        if (!i) v->next = page->head;
        page->head = id;
        lock_release(&page->lock);
    }
}

/* Returns whether the journal describes it, or is about to. */
static bool unlink_pages(uint32_t id, struct variable *v) {
    bool told = false;
    for (uint32_t i = 0, n = pages_of(v); i < n; i++) {
        struct page *page = &mw.arena.pages[v->page + i];
        lock_take(&page->lock, thread_id());
        if (kernel_writes()) kernel_settle(v->page + i);
        told |= atomic_exchange(&v->live, ENDED) == LIVE;
        for (uint32_t *link = &page->head; *link; link = &mw.registry.variables[*link].next)
            if (*link == id) {
                *link = v->next;
                break;
            }
        lock_release(&page->lock);
    }
    return told;
}

/* Ids aren't used twice, but the rows of those that have ended need no memory. Of a journal with a limit, a row says
 * where the end was recorded until that place is given back (segments.c). A row that reads as zeros has ended. */
static void give_back_rows(uint32_t id) {
    uint32_t first = id / ROWS * ROWS;
    if (first + ROWS > mw.registry.last) return; /* the next ones go there */
    for (uint32_t i = first; i < first + ROWS; i++) {
        const struct variable *v = &mw.registry.variables[i];
        if (v->live || (mw.journal.segments_max && v->size && v->ended - 1u >= mw.journal.first)) return;
    }
    madvise(&mw.registry.variables[first], ROWS * sizeof *mw.registry.variables, MADV_DONTNEED);
}

static int64_t add(uintptr_t start, size_t size, uint32_t first, uint32_t flags, mw_depth depth) {
    if (mw.registry.last + 1 >= mw.registry.most) return MW_ERR_LIMIT;
    uint32_t id = mw.registry.last + 1;
    struct variable *v = &mw.registry.variables[id];
    *v = (struct variable){.address = start, .size = size, .flags = flags, .page = first};
    v->depth_start = depth.start;
    v->depth_stop = depth.stop < size ? depth.stop : size;
    int error = journal_variable(id, v);
    if (!error) error = registry_record_content(id, v, false);
    if (error) return error;
    v->metadata = NULL;
    mw.registry.last = id;
    mw.registry.live++;
    v->live = LIVE;
    link_pages(id, v);
    if (!(id % ROWS)) give_back_rows(id - 1); /* if all of them have ended by now, nobody else will look */
    for (uint32_t i = 0; mw.journal.segments_max && !(id % SWEEP) && i < id; i += ROWS) give_back_rows(i);
    return id;
}

static int check(const void *start, size_t size, uint32_t flags, mw_depth depth) {
    if (!mw.started) return MW_ERR_NOT_STARTED;
    if (!atomic_load(&mw.journal.open)) return MW_ERR_NO_JOURNAL;
    if (!size || (uintptr_t)start + size < (uintptr_t)start) return MW_ERR_ALIGNMENT;
    if (flags & ~(uint32_t)(MW_FLAGS_ALL | MW_FLAGS_SECRET) || depth.start >= depth.stop || depth.start >= size)
        return MW_ERR_FLAGS;
    if (flags & MW_MASK_WHOLE && (size != 8 || flags & MW_MASK_BYTES)) return MW_ERR_FLAGS;
    int error = fork_settle();
    return error ? error
                 : interpose_modules(true); /* from the first watch on: without one, nothing of ours is in their way */
}

int64_t mw_register_page(void *page_base, size_t size, uint32_t flags, mw_depth depth) {
    uintptr_t start = (uintptr_t)page_base;
    int64_t result = check(page_base, size, flags, depth);
    if (result) return result;
    if ((start | size) & PAGE_MASK) return MW_ERR_ALIGNMENT;
    size_t n = size >> PAGE_SHIFT;
    bool taken = core_take();
    uffd_look();
    uint32_t first = arena_page_at(start);
    for (size_t i = 0; i < n && !result; i++) {
        uint32_t page = arena_page_at(start + (i << PAGE_SHIFT));
        if (in_arena(start) ? page == NO_PAGE : page != NO_PAGE)
            result = in_arena(start) ? MW_ERR_NOT_ARENA : MW_ERR_REGISTERED;
        else if (page != NO_PAGE && mw.arena.pages[page].head)
            result = MW_ERR_REGISTERED;
    }
    bool adopted = !result && !in_arena(start);
    if (adopted) result = arena_adopt(start, n, &first);
    if (!result) {
        result = add(start, size, first, flags, depth);
        if (result < 0 && adopted) give_back(start, n, first);
    }
    core_release(taken);
    return result;
}

int64_t mw_register_range(void *start, size_t size, uint32_t flags, mw_depth depth) {
    uintptr_t at = (uintptr_t)start;
    int64_t result = check(start, size, flags, depth);
    if (result) return result;
    bool taken = core_take();
    uffd_look();
    uint32_t page = in_arena(at) ? arena_page_at(at) : NO_PAGE;
    if (page == NO_PAGE || (at & PAGE_MASK) + size > MW_PAGE_SIZE) result = MW_ERR_NOT_ARENA;
    for (uint32_t id = result ? 0 : mw.arena.pages[page].head; id; id = mw.registry.variables[id].next)
        if (variable_overlaps(&mw.registry.variables[id], at, size)) result = MW_ERR_REGISTERED;
    if (!result) result = add(at, size, page, flags, depth);
    core_release(taken);
    return result;
}

static int unregister(mw_variable_id id, const mw_ending *ending) {
    struct variable *v = registry_find(id);
    if (!v) return MW_ERR_NO_VARIABLE;
    bool told = unlink_pages(id, v);
    mw.registry.live--;
    if (told && atomic_load(&mw.journal.open))
        journal_unregistered(id, v, ending); /* waits for who is describing it */
    else
        v->ended = 1;
    conditions_forget(id, v);
    free(v->metadata);
    v->metadata = NULL;
    int error = in_arena(v->address) ? MW_OK : give_back(v->address, pages_of(v), v->page);
    give_back_rows(id);
    return error;
}

int mw_end_watch(mw_variable_id id, const mw_ending *ending) {
    static const mw_ending unknown;
    if (!mw.started || !process_is_whole()) return MW_ERR_NO_VARIABLE;
    bool taken = core_take();
    uffd_look();
    int error = unregister(id, ending ? ending : &unknown);
    core_release(taken);
    return error;
}

int mw_unregister_page(mw_variable_id id) { return mw_end_watch(id, NULL); }

void variables_end_all(void) {
    static const mw_ending closed = {.why = MW_END_CLOSED};
    for (uint32_t id = 1; id <= mw.registry.last && mw.registry.live; id++)
        if (mw.registry.variables[id].live) unregister(id, &closed);
}

static int place_blob(unsigned kind, mw_variable_id id, uint64_t offset, const void *bytes, size_t length) {
    if (length > MW_PLACE_MAX || offset > UINT32_MAX) return MW_ERR_TOO_LONG;
    if (!mw.started || !process_is_whole() || !registry_find(id)) return MW_ERR_NO_VARIABLE;
    uint32_t at = (uint32_t)offset;
    return journal_blob(kind, 0, thread_id(), id, &at, sizeof at, bytes, length);
}

int mw_place_record(mw_variable_id id, uint64_t offset, const char *path, size_t length) {
    return place_blob(MWJ_PLACE, id, offset, path, length);
}

int mw_alias_record(mw_variable_id id, uint64_t offset, const void *names, size_t length) {
    static_assert(MW_ALIASES_MAX == MW_PLACE_MAX, "one limit");
    return place_blob(MWJ_ALIAS, id, offset, names, length);
}

int mw_not_followed_record(mw_variable_id id, const void *what, size_t length) {
    if (length > MW_PLACE_MAX) return MW_ERR_TOO_LONG;
    if (!mw.started || !process_is_whole() || !registry_find(id)) return MW_ERR_NO_VARIABLE;
    return journal_blob(MWJ_NOT_FOLLOWED, 0, thread_id(), id, NULL, 0, what, length);
}

int mw_update_metadata(mw_variable_id id, const void *meta, size_t length) {
    if (length > MW_METADATA_MAX) return MW_ERR_TOO_LONG;
    if (!mw.started || !process_is_whole()) return MW_ERR_NO_VARIABLE;
    void *copy = malloc(length ? length : 1); /* a forked child writes it to its own journal */
    if (!copy) return MW_ERR_NO_MEMORY;
    memcpy(copy, meta, length);
    bool taken = core_take();
    struct variable *v = registry_find(id);
    int error = v ? journal_blob(MWJ_METADATA, 0, thread_id(), id, NULL, 0, meta, length) : MW_ERR_NO_VARIABLE;
    if (!error) {
        void *before = v->metadata;
        v->metadata = copy;
        v->metadata_length = (uint32_t)length;
        copy = before;
    }
    core_release(taken);
    free(copy);
    return error;
}
