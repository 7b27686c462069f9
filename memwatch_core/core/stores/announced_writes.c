/* announced_writes.c - memwatch.h: writes that an adapter makes through the core, without a fault. */
#include <string.h>

#include "base/lock.h"
#include "base/thread.h"
#include "journal/brief.h"
#include "journal/conditions.h"
#include "journal/journal.h"
#include "journal/journal_format.h"
#include "journal/registry.h"
#include "memory/arena.h"
#include "memory/userfaultfd.h"
#include "memwatch.h"
#include "state.h"
#include "stores/endings.h"
#include "stores/kernel_writes.h"

/* ---- whether it is watched --------------------------------------------------------------------------------------- */

static __attribute__((noinline)) bool is_there(const struct variable *v) {
    mw_thread.looked_at = 0;
    return watch_holds(v->page, true);
}

/* NULL: it isn't watched, or not any more. */
static inline struct variable *find(mw_variable_id id) {
    struct variable *v = registry_find(id);
    return likely(!v || in_arena(v->address)) || is_there(v) ? v : NULL;
}

/* ---- few bytes of one page --------------------------------------------------------------------------------------- */

static inline uint32_t tid_of(const struct variable *v) { return v->flags & MW_TRACK_THREADS ? thread_id() : 0; }
static inline uint32_t context_of(const struct variable *v, const mw_origin *origin) {
    return v->flags & MW_TRACK_SQL ? origin->context : 0;
}
static inline unsigned flags_of(const mw_origin *origin, unsigned how) {
    return (how == MWJ_FOUND ? MWJ_INEXACT : 0) | (origin->inexact ? MWJ_SITE_INEXACT : 0);
}

/* As journal_store() has it. */
static __attribute__((noinline)) struct store store_of(uint32_t id, const struct variable *v, uint64_t offset,
                                                       uint32_t length, const mw_origin *origin, unsigned how) {
    return (struct store){
        .variable = id,
        .tid = tid_of(v),
        .offset = (uint32_t)offset,
        .length = length,
        .site = origin->site,
        .stack = origin->stack,
        .request = origin->request,
        .activation = origin->activation,
        .request_serial = origin->request_serial,
        .context = context_of(v, origin),
        .how = how,
        .mask = v->flags & MW_MASKS,
        .flags = flags_of(origin, how),
    };
}

static __attribute__((noinline)) void judge(uint32_t id, const struct variable *v, uint64_t offset,
                                            const uint8_t *before, const uint8_t *bytes, uint32_t length,
                                            const mw_origin *origin, unsigned how) {
    struct judged j;
    j.variable = id;
    j.tid = thread_id();
    j.site = origin->site;
    j.stack = origin->stack;
    j.context = context_of(v, origin);
    j.how = how;
    j.before = before;
    j.after = bytes;
    j.announced = true;
    conditions_judge(&j, (uint32_t)offset, length);
}

/* Records what is announced, under the page's lock. */
static inline int record(uint32_t id, struct variable *v, uint64_t offset, const uint8_t *before, const uint8_t *bytes,
                         uint32_t length, const mw_origin *origin, unsigned how, bool refusable) {
    int error = MW_OK;
    if (unlikely(v->flags & MW_MASKS) ||
        unlikely(!journal_brief(id, tid_of(v), context_of(v, origin), (uint32_t)offset, before, bytes, length, origin,
                                how, flags_of(origin, how)))) {
        struct store store = store_of(id, v, offset, length, origin, how);
        store.refusable = refusable;
        error = journal_store(&store, before, bytes);
    }
    if (unlikely(v->flags & MW_JUDGED) && !error) judge(id, v, offset, before, bytes, length, origin, how);
    return error;
}

/* A reader never sees half of a number. */
static inline void publish(uint8_t *target, const uint8_t *bytes, uint32_t length) {
    MW_STEP("publish", 0);
    if (length == 8 && !((uintptr_t)target & 7))
        __atomic_store_n((uint64_t *)target, *(const uint64_t __attribute__((aligned(1), may_alias)) *)bytes,
                         __ATOMIC_RELAXED);
    else if (length <= BRIEF_ROOM / 2)
        copy_brief(target, bytes, length);
    else
        memcpy(target, bytes, length);
}

/* Most writes are these; false: this one is another, or somebody is at the page, and nothing was done. */
static inline bool announce_brief(uint32_t id, struct variable *v, uint64_t offset, const uint8_t *bytes,
                                  uint32_t length, const mw_origin *origin, unsigned how, bool refusable, int *error) {
    uint64_t in_pages = (v->address & PAGE_MASK) + offset;
    uint32_t page = v->page + (uint32_t)(in_pages >> PAGE_SHIFT), at = (uint32_t)(in_pages & PAGE_MASK);
    mw_lock *lock = &mw.arena.pages[page].lock;
    if (unlikely(length > BRIEF_ROOM / 2 || length > MW_PAGE_SIZE - at)) return false;
    MW_STEP("take", (uintptr_t)lock);
    if (unlikely(!lock_try(lock, thread_id()))) return false;
    if (unlikely(kernel_writes() || !v->live || v->flags & MW_LATER)) {
        lock_release(lock);
        return false;
    }
    uint8_t *target = arena_writable(page) + at;
    *error = likely(how && offset + length > v->depth_start && offset < v->depth_stop)
                 ? record(id, v, offset, target, bytes, length, origin, how, refusable)
                 : MW_OK;
    if (likely(!*error)) publish(target, bytes, length);
    page_release(page);
    return true;
}

/* ---- any write --------------------------------------------------------------------------------------------------- */

static __attribute__((noinline)) int announce_any(uint32_t id, struct variable *v, uint64_t offset,
                                                  const uint8_t *bytes, uint32_t length, const mw_origin *origin,
                                                  unsigned how, bool refusable) {
    uint64_t in_pages = (v->address & PAGE_MASK) + offset;
    uint32_t first = v->page + (uint32_t)(in_pages >> PAGE_SHIFT),
             room = MW_PAGE_SIZE - (uint32_t)(in_pages & PAGE_MASK);
    uint32_t self = thread_id(), count = length > room ? 2 : 1;
    bool nested[2] = {false};
    for (uint32_t i = 0; i < count; i++) {
        mw_lock *lock = &mw.arena.pages[first + i].lock;
        nested[i] = lock_held_by(lock, self);
        if (likely(!nested[i])) lock_take(lock, self);
    }
    uint8_t *target = arena_writable(first) + (in_pages & PAGE_MASK);
    int error = MW_OK;
    for (uint32_t i = 0; kernel_writes() && i < count; i++)
        if (!nested[i]) kernel_settle(first + i);
    if (unlikely(!v->live)) {
        error = MW_ERR_NO_VARIABLE;
    } else if (likely(how && offset + length > v->depth_start && offset < v->depth_stop)) {
        struct store store = store_of(id, v, offset, length, origin, how);
        store.refusable = refusable;
        if (nested[0] || nested[1]) store.flags |= MWJ_INEXACT;
        if (unlikely(v->flags & MW_LATER)) registry_tell_pages(v, offset, length);
        error = journal_store(&store, target, bytes);
        if (unlikely(v->flags & MW_JUDGED) && !error) judge(id, v, offset, target, bytes, length, origin, how);
    }
    if (likely(!error)) {
        publish(target, bytes, length);
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

/* how: enum mwj_origin, or 0: makes no event. */
static inline int announce(uint32_t id, struct variable *v, uint64_t offset, const uint8_t *bytes, uint32_t length,
                           const mw_origin *origin, unsigned how, bool refusable) {
    int error;
    return likely(announce_brief(id, v, offset, bytes, length, origin, how, refusable, &error))
               ? error
               : announce_any(id, v, offset, bytes, length, origin, how, refusable);
}

/* A program that only stores needs nothing of us until the end: one that also announces comes by here. */
static __attribute__((noinline)) void look_now_and_then(void) {
    if (mw.tracker->id == MW_TRACKER_READONLY || mw.userfaultfd.without) return;
    if (!process_is_whole() || !lock_try(&mw.lock, thread_id())) return; /* not now: a fork may wait for this thread */
    uffd_look();
    lock_release(&mw.lock);
}

int mw_write_pieces(mw_variable_id id, const mw_piece *pieces, size_t count) {
    struct variable *v = find(id);
    if (unlikely(!v)) return MW_ERR_NO_VARIABLE;
    if (unlikely(!(++mw_thread.written % 256))) look_now_and_then();
    uint64_t slots = 0;
    for (size_t i = 0; i < count; i++) {
        if (unlikely(pieces[i].offset > v->size || pieces[i].length > v->size - pieces[i].offset)) return MW_ERR_RANGE;
        if (count > 1 || pieces[i].length > MW_EVENT_MAX) slots += journal_slots_for(pieces[i].length);
    }
    mw_origin origin = {.context = mw_thread.context};
    mw_origin_provider provider = __atomic_load_n(&mw.origin_provider, __ATOMIC_ACQUIRE);
    if (likely(provider)) provider(NULL, &origin);
    int error = unlikely(slots) ? journal_promise(&slots) : MW_OK; /* several records: all of them, or none */
    for (size_t i = 0; i < count && !error; i++) {
        uint64_t offset = pieces[i].offset, length = pieces[i].length;
        const uint8_t *from = pieces[i].bytes;
        while (length && !error) {
            uint32_t n = length < MW_EVENT_MAX ? (uint32_t)length : MW_EVENT_MAX;
            error = announce(id, v, offset, from, n, &origin, MWJ_ANNOUNCED, true);
            offset += n, from += n, length -= n;
        }
    }
    if (unlikely(slots)) journal_release(slots);
    if (unlikely(mw_thread.hits)) conditions_settle(NULL);
    return error;
}

int mw_write(mw_variable_id id, uint64_t offset, const void *bytes, size_t length) {
    return mw_write_pieces(id, &(mw_piece){offset, bytes, length}, 1);
}

/* NULL: there is no such variable, or it has no such bytes; *error says it. */
static inline struct variable *find_shadow(mw_variable_id id, uint64_t offset, size_t length, int *error) {
    struct variable *v = find(id);
    *error = unlikely(!v) ? MW_ERR_NO_VARIABLE : MW_OK;
    if (unlikely(!v)) return NULL;
    if (unlikely(!length || length > MW_EVENT_MAX || offset > v->size || length > v->size - offset)) {
        *error = MW_ERR_RANGE;
        return NULL;
    }
    if (unlikely(!(++mw_thread.written % 256))) look_now_and_then();
    return v;
}

int mw_write_shadow(mw_variable_id id, uint64_t offset, const void *bytes, size_t length, mw_shadow why) {
    static const uint8_t how[] = {[MW_SHADOW_NOW] = MWJ_ANNOUNCED, [MW_SHADOW_FOUND] = MWJ_FOUND};
    int error;
    struct variable *v = find_shadow(id, offset, length, &error);
    if (unlikely(!v)) return error;
    mw_origin origin = {.context = mw_thread.context};
    mw_origin_provider provider = __atomic_load_n(&mw.origin_provider, __ATOMIC_ACQUIRE);
    if (why != MW_SHADOW_NOW)
        origin = (mw_origin){.inexact = 1};
    else if (likely(provider))
        provider(NULL, &origin);
    error = announce_any(id, v, offset, bytes, (uint32_t)length, &origin, why < sizeof how ? how[why] : 0, false);
    if (unlikely(mw_thread.hits)) conditions_settle(NULL);
    return error;
}

int mw_write_shadow_from(mw_variable_id id, uint64_t offset, const void *bytes, size_t length,
                         const mw_origin *origin) {
    int error;
    struct variable *v = find_shadow(id, offset, length, &error);
    if (unlikely(!v)) return error;
    error = announce(id, v, offset, bytes, (uint32_t)length, origin, MWJ_ANNOUNCED, false);
    if (unlikely(mw_thread.hits)) conditions_settle(NULL);
    return error;
}
