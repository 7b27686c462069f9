/* registry.c - variables on pages: registering, announced writes, and which variables a write touches. */
#include "core.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { ROWS = MW_PAGE_SIZE / sizeof(struct variable), SWEEP = 1 << 16 };
static_assert(MW_PAGE_SIZE % sizeof(struct variable) == 0, "whole rows on a page");

static struct variable *variable_of(mw_variable_id id) {
    return id && id <= mw.variable_last && mw.variables[id].live ? &mw.variables[id] : NULL;
}

static uint32_t pages_of(const struct variable *v) {
    return (uint32_t)(((v->address & PAGE_MASK) + v->size + PAGE_MASK) >> PAGE_SHIFT);
}

static bool in_arena(uintptr_t address) { return address - mw.watched < mw.reserved; }

MW_SIGNAL_SAFE static bool overlaps(const struct variable *v, uint64_t start, uint64_t size) {
    return start < v->address + v->size && v->address < start + size;
}

/* Puts a variable on its pages, under their locks, so that a store sees it on all of them or on none that it locks. */
static void link_pages(uint32_t id, struct variable *v) {
    for (uint32_t i = 0, n = pages_of(v); i < n; i++) {
        struct page *page = &mw.pages[v->page + i];
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
        struct page *page = &mw.pages[v->page + i];
        lock_take(&page->lock, thread_id());
        if (kernel_writes()) kernel_settle(v->page + i);
        told |= atomic_exchange(&v->live, ENDED) == LIVE;
        for (uint32_t *link = &page->head; *link; link = &mw.variables[*link].next)
            if (*link == id) {
                *link = v->next;
                break;
            }
        lock_release(&page->lock);
    }
    return told;
}

MW_SIGNAL_SAFE static int record_content(uint32_t id, const struct variable *v, bool whole) {
    int error = MW_OK;
    const uint8_t *bytes = arena_writable(v->page) + (v->address & PAGE_MASK);
    static const uint8_t zeros[64];
    for (uint64_t at = 0; at < v->size && !error; at += MW_EVENT_MAX) {
        uint64_t n = v->size - at < MW_EVENT_MAX ? v->size - at : MW_EVENT_MAX;
        while (!whole && n >= 64 && !memcmp(bytes + at + n - 64, zeros, 64)) n -= 64; /* without a record, they are 0 */
        while (!whole && n && !bytes[at + n - 1]) n--;
        if (n) error = journal_blob(MWJ_CONTENT, 0, thread_id(), id, &at, 8, bytes + at, n);
    }
    return error;
}

/* Ids aren't used twice, but the rows of those that have ended need no memory. Of a journal with a limit, a row says
 * where the end was recorded until that place is given back (room.c). A row that reads as zeros has ended. */
static void give_back_rows(uint32_t id) {
    uint32_t first = id / ROWS * ROWS;
    if (first + ROWS > mw.variable_last) return; /* the next ones go there */
    for (uint32_t i = first; i < first + ROWS; i++) {
        const struct variable *v = &mw.variables[i];
        if (v->live || (mw.journal.segments_max && v->size && v->ended - 1u >= mw.journal.first)) return;
    }
    madvise(&mw.variables[first], ROWS * sizeof *mw.variables, MADV_DONTNEED);
}

static int64_t add(uintptr_t start, size_t size, uint32_t first, uint32_t flags, mw_depth depth) {
    if (mw.variable_last + 1 >= mw.variables_most) return MW_ERR_LIMIT;
    uint32_t id = mw.variable_last + 1;
    struct variable *v = &mw.variables[id];
    *v = (struct variable){.address = start, .size = size, .flags = flags, .page = first};
    v->depth_start = depth.start;
    v->depth_stop = depth.stop < size ? depth.stop : size;
    int error = journal_variable(id, v);
    if (!error) error = record_content(id, v, false);
    if (error) return error;
    v->metadata = NULL;
    mw.variable_last = id;
    mw.variables_live++;
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
    if (flags & ~(uint32_t)MW_FLAGS_ALL || depth.start >= depth.stop || depth.start >= size) return MW_ERR_FLAGS;
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
        else if (page != NO_PAGE && mw.pages[page].head)
            result = MW_ERR_REGISTERED;
    }
    bool adopted = !result && !in_arena(start);
    if (adopted) result = arena_adopt(start, n, &first);
    if (!result) {
        result = add(start, size, first, flags, depth);
        if (result < 0 && adopted) arena_give_back(start, n, first);
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
    for (uint32_t id = result ? 0 : mw.pages[page].head; id; id = mw.variables[id].next)
        if (overlaps(&mw.variables[id], at, size)) result = MW_ERR_REGISTERED;
    if (!result) result = add(at, size, page, flags, depth);
    core_release(taken);
    return result;
}

/* Whether a range can join those on its page: variables on several pages have theirs to themselves. */
static bool can_join(uint32_t page, uintptr_t start, size_t size) {
    for (uint32_t id = mw.pages[page].head; id; id = mw.variables[id].next)
        if (pages_of(&mw.variables[id]) > 1 || overlaps(&mw.variables[id], start, size)) return false;
    return true;
}

int64_t mw_register_within(void *start, size_t size, uint32_t flags, mw_depth depth) {
    uintptr_t at = (uintptr_t)start, base = at & ~(uintptr_t)PAGE_MASK;
    int64_t result = check(start, size, flags, depth);
    if (result) return result;
    size_t n = ((at & PAGE_MASK) + size + PAGE_MASK) >> PAGE_SHIFT;
    bool taken = core_take();
    uffd_look();
    uint32_t first = arena_page_at(base);
    bool adopted = first == NO_PAGE;
    if (in_arena(base) || (!adopted && (n > 1 || !can_join(first, at, size)))) result = MW_ERR_REGISTERED;
    for (size_t i = 1; i < n && !result; i++)
        if (arena_page_at(base + (i << PAGE_SHIFT)) != NO_PAGE) result = MW_ERR_REGISTERED;
    if (!result && adopted) result = arena_adopt(base, n, &first);
    if (!result) {
        result = add(at, size, first, flags, depth);
        if (result < 0 && adopted) arena_give_back(base, n, first);
    }
    core_release(taken);
    return result;
}

static int unregister(mw_variable_id id) {
    struct variable *v = variable_of(id);
    if (!v) return MW_ERR_NO_VARIABLE;
    bool told = unlink_pages(id, v);
    mw.variables_live--;
    if (told && atomic_load(&mw.journal.open))
        journal_unregistered(id, v); /* waits for who is describing it */
    else
        v->ended = 1;
    free(v->metadata);
    v->metadata = NULL;
    bool adopted = !in_arena(v->address) && !mw.pages[v->page].head;
    int error = adopted ? arena_give_back(v->address & ~(uintptr_t)PAGE_MASK, pages_of(v), v->page) : MW_OK;
    give_back_rows(id);
    return error;
}

int mw_unregister_page(mw_variable_id id) {
    if (!mw.started || !process_is_whole()) return MW_ERR_NO_VARIABLE;
    bool taken = core_take();
    uffd_look();
    int error = unregister(id);
    core_release(taken);
    return error;
}

void registry_end_all(void) {
    for (uint32_t id = 1; id <= mw.variable_last && mw.variables_live; id++)
        if (mw.variables[id].live) unregister(id);
}

int mw_update_metadata(mw_variable_id id, const void *meta, size_t length) {
    if (length > MW_METADATA_MAX) return MW_ERR_TOO_LONG;
    if (!mw.started || !process_is_whole()) return MW_ERR_NO_VARIABLE;
    void *copy = malloc(length ? length : 1); /* a forked child writes it to its own journal */
    if (!copy) return MW_ERR_NO_MEMORY;
    memcpy(copy, meta, length);
    bool taken = core_take();
    struct variable *v = variable_of(id);
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

/* ---- in a forked child ---- */

MW_SIGNAL_SAFE void registry_untell(void) {
    for (uint32_t page = 0; page < mw.bump; page++)
        for (uint32_t id = mw.pages[page].head; id; id = mw.variables[id].next) {
            uint32_t live = LIVE;
            atomic_compare_exchange_strong(&mw.variables[id].live, &live, LIVE_UNTOLD);
        }
}

/* To a journal that was just made. */
MW_SIGNAL_SAFE int registry_tell(void) {
    int error = MW_OK;
    for (uint32_t id = 1; id <= mw.variable_last && !error; id++) {
        struct variable *v = &mw.variables[id];
        uint32_t live = LIVE_UNTOLD;
        if (!atomic_compare_exchange_strong(&v->live, &live, LIVE)) continue;
        error = journal_variable(id, v);
        if (!error) error = record_content(id, v, false);
        if (!error && v->metadata)
            error = journal_blob(MWJ_METADATA, 0, thread_id(), id, NULL, 0, v->metadata, v->metadata_length);
    }
    return error;
}

MW_SIGNAL_SAFE void registry_lose(void) {
    for (uint32_t page = 0; page < mw.bump; page++) {
        for (uint32_t id = mw.pages[page].head; id; id = mw.variables[id].next) mw.variables[id].live = ENDED;
        mw.pages[page].head = 0;
    }
    mw.variables_live = 0;
}

void registry_record_unseen(const char *why) {
    uint64_t some = 1;
    if (!atomic_load(&mw.journal.open)) return;
    journal_blob(MWJ_LOST, 0, thread_id(), 0, &some, 8, why, strlen(why));
    for (uint32_t id = 1; id <= mw.variable_last; id++)
        if (mw.variables[id].live) record_content(id, &mw.variables[id], true);
}

/* ---- what a write touches ---- */

MW_SIGNAL_SAFE int registry_record(uintptr_t at, const struct piece *pieces, unsigned count, const uint8_t *before,
                                   const uint8_t *after, uint64_t written, const mw_origin *origin,
                                   const struct mwj_call *call) {
    uint64_t length = 0;
    for (unsigned i = 0; i < count; i++) length += pieces[i].length;
    uintptr_t piece_at = at;
    for (unsigned i = 0; i < count; piece_at += pieces[i++].length) {
        if (pieces[i].page == NO_PAGE) continue;
        for (uint32_t id = mw.pages[pieces[i].page].head; id; id = mw.variables[id].next) {
            const struct variable *v = &mw.variables[id];
            if (!overlaps(v, piece_at, pieces[i].length)) continue;
            uint64_t start = at > v->address ? at : v->address;
            if (start < piece_at) continue; /* seen on the page before */
            uint64_t stop = at + length < v->address + v->size ? at + length : v->address + v->size;
            if (unlikely(written != ALL_WRITTEN)) { /* then length <= 64: from the first to the last byte of its own */
                uint64_t own = written & ~0ull << (start - at) & ~0ull >> (64 - (stop - at));
                if (!own) continue;
                start = at + (unsigned)__builtin_ctzll(own);
                stop = at + 64 - (unsigned)__builtin_clzll(own);
            }
            if (stop - v->address <= v->depth_start || start - v->address >= v->depth_stop) continue;
            struct store store = {
                .variable = id,
                .tid = v->flags & MW_TRACK_THREADS ? thread_id() : 0,
                .offset = (uint32_t)(start - v->address),
                .length = (uint32_t)(stop - start),
                .site = origin->site,
                .context = v->flags & MW_TRACK_SQL ? origin->context : 0,
                .how = call ? MWJ_SYSCALL : MWJ_BY_STORE,
                .flags = (pieces[i].nested ? MWJ_INEXACT : 0) | (origin->inexact ? MWJ_SITE_INEXACT : 0),
                .call = call,
            };
            int error = journal_store(&store, before + (start - at), after + (start - at));
            if (error) return error;
        }
    }
    return MW_OK;
}

MW_SIGNAL_SAFE void registry_record_kernel(uint32_t page, const uint8_t *before, const uint8_t *after, int asked,
                                           const struct asker *asker) {
    for (uint32_t id = mw.pages[page].head; id; id = mw.variables[id].next) {
        const struct variable *v = &mw.variables[id];
        uint64_t base = (v->address & ~(uint64_t)PAGE_MASK) + ((uint64_t)(page - v->page) << PAGE_SHIFT);
        uint64_t first = v->address > base ? v->address - base : 0, end = v->address + v->size - base;
        if (end > MW_PAGE_SIZE) end = MW_PAGE_SIZE;
        uint64_t start = first, stop = end;
        while (start < stop && before[start] == after[start]) start++;
        while (start < stop && before[stop - 1] == after[stop - 1]) stop--;
        if (asked >= (start < stop) && (uint64_t)asked >= first && (uint64_t)asked < end) {
            if (start == stop) start = stop = (uint64_t)asked;
            if (start > (uint64_t)asked) start = (uint64_t)asked;
            if (stop < (uint64_t)asked + 1) stop = (uint64_t)asked + 1;
        }
        uint64_t offset = base + start - v->address;
        if (start == stop || offset + (stop - start) <= v->depth_start || offset >= v->depth_stop) continue;
        journal_store(
            &(struct store){
                .variable = id,
                .tid = v->flags & MW_TRACK_THREADS ? asker->tid : 0,
                .offset = (uint32_t)offset,
                .length = (uint32_t)(stop - start),
                .how = MWJ_KERNEL,
                .flags = MWJ_INEXACT | MWJ_SITE_INEXACT,
                .call = &asker->call,
            },
            before + start, after + start);
    }
}

/* ---- announced writes ---- */

static int announce(uint32_t id, struct variable *v, uint64_t offset, const uint8_t *bytes, uint32_t length,
                    const mw_origin *origin) {
    uint64_t in_pages = (v->address & PAGE_MASK) + offset;
    uint32_t first = v->page + (uint32_t)(in_pages >> PAGE_SHIFT),
             room = MW_PAGE_SIZE - (uint32_t)(in_pages & PAGE_MASK);
    uint32_t self = thread_id(), count = length > room ? 2 : 1;
    bool nested[2] = {false};
    for (uint32_t i = 0; i < count; i++) {
        mw_lock *lock = &mw.pages[first + i].lock;
        nested[i] = lock_held_by(lock, self);
        if (likely(!nested[i])) lock_take(lock, self);
    }
    uint8_t *target = arena_writable(first) + (in_pages & PAGE_MASK);
    int error = MW_OK;
    for (uint32_t i = 0; kernel_writes() && i < count; i++)
        if (!nested[i]) kernel_settle(first + i);
    if (unlikely(!v->live)) {
        error = MW_ERR_NO_VARIABLE;
    } else if (likely(offset + length > v->depth_start && offset < v->depth_stop)) {
        struct store store = {
            .variable = id,
            .tid = v->flags & MW_TRACK_THREADS ? self : 0,
            .offset = (uint32_t)offset,
            .length = length,
            .site = origin->site,
            .context = v->flags & MW_TRACK_SQL ? origin->context : 0,
            .how = MWJ_ANNOUNCED,
            .flags = (nested[0] || nested[1] ? MWJ_INEXACT : 0) | (origin->inexact ? MWJ_SITE_INEXACT : 0),
        };
        error = journal_store(&store, target, bytes);
    }
    if (likely(!error)) {
        MW_STEP("publish", 0);
        if (length == 8 && !((uintptr_t)target & 7)) /* a reader never sees half of a number */
            __atomic_store_n((uint64_t *)target, *(const uint64_t __attribute__((aligned(1), may_alias)) *)bytes,
                             __ATOMIC_RELAXED);
        else
            memcpy(target, bytes, length);
        if (kernel_writes()) {
            uint32_t here = length < room ? length : room;
            kernel_except(first, (uint32_t)(in_pages & PAGE_MASK), bytes, here);
            if (count == 2) kernel_except(first + 1, 0, bytes + here, length - here);
        }
    }
    for (uint32_t i = count; i--;)
        if (likely(!nested[i])) page_release(first + i);
    return error;
}

/* A program that only stores needs nothing of us until the end: one that also announces comes by here. */
static __attribute__((noinline)) void look_now_and_then(void) {
    if (mw.tracker->id == MW_TRACKER_READONLY || mw.without_uffd) return;
    if (!process_is_whole() || !lock_try(&mw.lock, thread_id())) return; /* not now: a fork may wait for this thread */
    uffd_look();
    lock_release(&mw.lock);
}

int mw_write_pieces(mw_variable_id id, const mw_piece *pieces, size_t count) {
    struct variable *v = variable_of(id);
    if (unlikely(!v)) return MW_ERR_NO_VARIABLE;
    if (unlikely(!(++mw_thread.written % 256))) look_now_and_then();
    uint64_t slots = 0;
    for (size_t i = 0; i < count; i++) {
        if (unlikely(pieces[i].offset > v->size || pieces[i].length > v->size - pieces[i].offset)) return MW_ERR_RANGE;
        if (count > 1 || pieces[i].length > MW_EVENT_MAX) slots += journal_slots_for(pieces[i].length);
    }
    mw_origin origin = {.context = mw_thread.context};
    mw_origin_provider provider = __atomic_load_n(&mw.provider, __ATOMIC_ACQUIRE);
    if (likely(provider)) provider(NULL, &origin);
    int error = unlikely(slots) ? journal_promise(&slots) : MW_OK; /* several records: all of them, or none */
    for (size_t i = 0; i < count && !error; i++) {
        uint64_t offset = pieces[i].offset, length = pieces[i].length;
        const uint8_t *from = pieces[i].bytes;
        while (length && !error) {
            uint32_t n = length < MW_EVENT_MAX ? (uint32_t)length : MW_EVENT_MAX;
            error = announce(id, v, offset, from, n, &origin);
            offset += n, from += n, length -= n;
        }
    }
    if (unlikely(slots)) journal_release(slots);
    return error;
}

int mw_write(mw_variable_id id, uint64_t offset, const void *bytes, size_t length) {
    return mw_write_pieces(id, &(mw_piece){offset, bytes, length}, 1);
}
