/* variables.c - memwatch.h: variables are registered on pages, described, and their watch ends. */
#include "api/variables.h"

#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "base/thread.h"
#include "calls/import_tables.h"
#include "journal/journal.h"
#include "journal/journal_format.h"
#include "journal/registry.h"
#include "memory/adoption.h"
#include "memory/arena.h"
#include "memory/fork_copy.h"
#include "memory/userfaultfd.h"
#include "memwatch.h"
#include "process/fork.h"
#include "state.h"
#include "stores/endings.h"
#include "stores/kernel_writes.h"

enum { SWEEP = 1 << 16, STEP = 64 };

/* Puts a variable on its pages, under their locks, so that a store sees it on all of them or on none that it locks. It
 * is the first of its first page, and the last of the others: see variable_next(). */
static void link_pages(uint32_t id, struct variable *v) {
    for (uint32_t i = 0, n = watch_pages(v); i < n; i++) {
        struct page *page = &mw.arena.pages[v->page + i];
        lock_take(&page->lock, thread_id());
        page->told &= !(v->flags & MW_LATER);
        if (kernel_writes()) kernel_settle(v->page + i);
        uint32_t *link = &page->head;
        if (!i)
            v->next = *link;
        else
            while (*link) link = &mw.registry.variables[*link].next;
        *link = id;
        if (!i && v->flags & MW_LATER)
            registry_tell_page(v->page, arena_writable(v->page)); /* shown as its beginning */
        lock_release(&page->lock);
    }
}

static int64_t add(uintptr_t start, size_t size, uint32_t first, uint32_t flags, mw_depth depth) {
    if (mw.registry.last + 1 >= mw.registry.most) return MW_ERR_LIMIT;
    uint32_t id = mw.registry.last + 1;
    struct variable *v = &mw.registry.variables[id];
    *v = (struct variable){.address = start, .size = size, .flags = flags, .page = first};
    v->depth_start = depth.start;
    v->depth_stop = depth.stop < size ? depth.stop : size;
    if (size > LATER_MIN && !(flags & MW_MASKS)) v->flags |= MW_LATER;
    int error = journal_variable(id, v);
    if (!error) error = registry_record_content(id, v, false);
    if (error) return error;
    v->metadata = NULL;
    mw.registry.last = id;
    mw.registry.live++;
    v->live = LIVE;
    link_pages(id, v);
    if (!(id % STEP)) watch_give_back_rows(id - 1); /* if all of them have ended by now, nobody else will look */
    for (uint32_t i = 0; mw.journal.segments_max && !(id % SWEEP) && i < id; i += STEP) watch_give_back_rows(i);
    return id;
}

static int check(const void *start, size_t size, uint32_t flags, mw_depth depth) {
    if (!mw.started) return MW_ERR_NOT_STARTED;
    if (!atomic_load(&mw.journal.open)) return MW_ERR_NO_JOURNAL;
    if (!size || (uintptr_t)start + size < (uintptr_t)start) return MW_ERR_ALIGNMENT;
    if (size > UINT32_MAX) return MW_ERR_LIMIT; /* offsets of events have 32 bits */
    if (flags & ~(uint32_t)(MW_FLAGS_ALL | MW_FLAGS_SECRET) || depth.start >= depth.stop || depth.start >= size)
        return MW_ERR_FLAGS;
    if (flags & MW_MASK_WHOLE && (size != 8 || flags & MW_MASK_BYTES)) return MW_ERR_FLAGS;
    int error = fork_settle();
    return error ? error
                 : interpose_modules(
                       CALLS_THAT_WRITE); /* from the first watch on: without one, nothing of ours is in their way */
}

/* Whether a page isn't watched. What was adopted here before may have become another's memory meanwhile. */
static bool is_free(uintptr_t address) {
    uint32_t page = arena_page_at(address);
    mw_thread.looked_at = 0;
    if (page != NO_PAGE && !in_arena(address) && !watch_holds(page, false)) {
        watch_clear_gone();
        page = arena_page_at(address);
    }
    return page == NO_PAGE || (in_arena(address) && !mw.arena.pages[page].head);
}

int64_t mw_register_page(void *page_base, size_t size, uint32_t flags, mw_depth depth) {
    struct adoption adoption = {.start = (uintptr_t)page_base, .n = size >> PAGE_SHIFT};
    int64_t result = check(page_base, size, flags, depth);
    if (result) return result;
    if ((adoption.start | size) & PAGE_MASK) return MW_ERR_ALIGNMENT;
    bool adopted = !in_arena(adoption.start);
    if (adopted && (result = interpose_modules(CALLS_ON_MEMORY))) return result;
    bool taken = core_take();
    uffd_look();
    watch_clear_gone();
    for (uintptr_t at = adoption.start; at < adoption.start + size && !result; at += MW_PAGE_SIZE)
        if (!adopted && arena_page_at(at) == NO_PAGE)
            result = MW_ERR_NOT_ARENA;
        else if (!is_free(at))
            result = MW_ERR_REGISTERED;
    if (!result && adopted) result = adoption_take(&adoption);
    if (!result) {
        uint32_t first = adopted ? adoption.first : arena_page_at(adoption.start);
        result = add(adoption.start, size, first, flags, depth);
        if (result < 0 && adopted) adoption_give_back(&adoption, false);
    }
    core_release(taken);
    return result;
}

static bool is_taken(uint32_t page, uintptr_t at, size_t size) {
    for (uint32_t id = mw.arena.pages[page].head; id; id = variable_next(&mw.registry.variables[id], page))
        if (variable_overlaps(&mw.registry.variables[id], at, size)) return true;
    return false;
}

int64_t mw_register_range(void *start, size_t size, uint32_t flags, mw_depth depth) {
    uintptr_t at = (uintptr_t)start, end = at + size;
    int64_t result = check(start, size, flags, depth);
    if (result) return result;
    bool taken = core_take();
    uffd_look();
    for (uintptr_t page_at = at & ~PAGE_MASK; page_at < end && !result; page_at += MW_PAGE_SIZE) {
        uint32_t page = in_arena(page_at) ? arena_page_at(page_at) : NO_PAGE;
        if (page == NO_PAGE)
            result = MW_ERR_NOT_ARENA;
        else if (is_taken(page, at, size))
            result = MW_ERR_REGISTERED;
    }
    if (!result) result = add(at, size, arena_page_at(at), flags, depth);
    core_release(taken);
    return result;
}

static int unregister(mw_variable_id id, const mw_ending *ending) {
    struct variable *v = registry_find(id);
    mw_thread.looked_at = 0;
    if (!v || (!in_arena(v->address) && !watch_holds(v->page, false))) {
        watch_clear_gone();
        return v ? MW_OK : MW_ERR_NO_VARIABLE;
    }
    return watch_end(id, v, ending) ? watch_clear(id, v) : MW_ERR_NO_VARIABLE;
}

int mw_end_watch(mw_variable_id id, const mw_ending *ending) {
    static const mw_ending unknown;
    if (!mw.started || !process_is_whole()) return MW_ERR_NO_VARIABLE;
    bool taken = core_take();
    uffd_look();
    watch_clear_gone();
    int error = unregister(id, ending ? ending : &unknown);
    core_release(taken);
    return error;
}

int mw_unregister_page(mw_variable_id id) { return mw_end_watch(id, NULL); }

void variables_end_all(void) {
    static const mw_ending closed = {.why = MW_END_CLOSED};
    for (uint32_t id = 1; id <= mw.registry.last && mw.registry.live; id++)
        if (mw.registry.variables[id].live) unregister(id, &closed);
    watch_clear_gone();
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
