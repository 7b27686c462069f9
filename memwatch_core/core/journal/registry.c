/* registry.c - the table of variables: what the journal is told of them, and which of them a write touches. */
#include "journal/registry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/thread.h"
#include "journal/conditions.h"
#include "journal/journal.h"
#include "journal/journal_format.h"
#include "memory/arena.h"
#include "memwatch.h"
#include "state.h"

int registry_open(void) {
    mw.registry.most = arena_fit(VARIABLES_MOST, sizeof *mw.registry.variables);
    mw.registry.variables = arena_table(mw.registry.most * sizeof *mw.registry.variables);
    return mw.registry.variables ? MW_OK : MW_ERR_NO_MEMORY;
}

/* Of a secret, zeros at its end too: without a record they would be known. */
MW_SIGNAL_SAFE static int record_masked(uint32_t id, const struct variable *v, const uint8_t *bytes) {
    int error = MW_OK;
    uint8_t masked[512];
    for (uint64_t at = 0, n; at < v->size && !error; at += n) {
        n = v->size - at < sizeof masked ? v->size - at : sizeof masked;
        memcpy(masked, bytes + at, n);
        journal_mask(id, v->flags & MW_MASKS, at, masked, n);
        error = journal_blob(MWJ_CONTENT, 0, thread_id(), id, &at, 8, masked, n);
    }
    return error;
}

MW_SIGNAL_SAFE static uint64_t without_zeros(const uint8_t *bytes, uint64_t n) {
    static const uint8_t zeros[64];
    while (n >= 64 && !memcmp(bytes + n - 64, zeros, 64)) n -= 64;
    while (n && !bytes[n - 1]) n--;
    return n;
}

/* Of a page as far as the variable lies on it; zeros at its end needn't be said. */
MW_SIGNAL_SAFE static int record_page(uint32_t id, const struct variable *v, uint32_t page, const uint8_t *bytes) {
    uint64_t base = (v->address & ~(uint64_t)PAGE_MASK) + ((uint64_t)(page - v->page) << PAGE_SHIFT);
    uint64_t start = v->address > base ? v->address : base, end = v->address + v->size, offset = start - v->address;
    if (end > base + MW_PAGE_SIZE) end = base + MW_PAGE_SIZE;
    uint64_t n = without_zeros(bytes + (start - base), end - start);
    return journal_blob(MWJ_CONTENT, 0, thread_id(), id, &offset, 8, bytes + (start - base), n);
}

MW_SIGNAL_SAFE void registry_tell_page(uint32_t page, const uint8_t *bytes) {
    int error = MW_OK;
    const struct variable *v;
    if (mw.arena.pages[page].told) return;
    for (uint32_t id = mw.arena.pages[page].head; id && !error; id = variable_next(v, page)) {
        v = &mw.registry.variables[id];
        if (v->flags & MW_LATER) error = record_page(id, v, page, bytes);
    }
    mw.arena.pages[page].told = !error;
}

MW_SIGNAL_SAFE void registry_tell_pages(const struct variable *v, uint64_t offset, uint64_t length) {
    uint64_t start = (v->address & PAGE_MASK) + offset, last = (start + length - 1) >> PAGE_SHIFT;
    for (uint64_t i = start >> PAGE_SHIFT; i <= last; i++)
        registry_tell_page(v->page + (uint32_t)i, arena_writable(v->page + (uint32_t)i));
}

/* Of the pages that have been recorded, once more. */
MW_SIGNAL_SAFE static int record_again(uint32_t id, const struct variable *v) {
    int error = MW_OK;
    uint32_t last = v->page + (uint32_t)(((v->address & PAGE_MASK) + v->size - 1) >> PAGE_SHIFT);
    for (uint32_t page = v->page; page <= last && !error; page++)
        if (mw.arena.pages[page].told) error = record_page(id, v, page, arena_writable(page));
    return error;
}

MW_SIGNAL_SAFE int registry_record_content(uint32_t id, const struct variable *v, bool whole) {
    int error = MW_OK;
    const uint8_t *bytes = arena_writable(v->page) + (v->address & PAGE_MASK);
    if (v->flags & MW_MASKS) return record_masked(id, v, bytes);
    if (v->flags & MW_LATER) return whole ? record_again(id, v) : MW_OK;
    for (uint64_t at = 0; at < v->size && !error; at += MW_EVENT_MAX) {
        uint64_t n = v->size - at < MW_EVENT_MAX ? v->size - at : MW_EVENT_MAX;
        if (!whole) n = without_zeros(bytes + at, n); /* without a record, they are 0 */
        if (n) error = journal_blob(MWJ_CONTENT, 0, thread_id(), id, &at, 8, bytes + at, n);
    }
    return error;
}

/* ---- in a forked child ---- */

MW_SIGNAL_SAFE void registry_untell(void) {
    for (uint32_t page = 0; page < mw.arena.bump; page++) {
        if (page_state_of(page) != PAGE_USED) continue;
        mw.arena.pages[page].told = false;
        for (uint32_t id = mw.arena.pages[page].head; id; id = variable_next(&mw.registry.variables[id], page)) {
            uint32_t live = LIVE;
            atomic_compare_exchange_strong(&mw.registry.variables[id].live, &live, LIVE_UNTOLD);
        }
    }
}

/* To a journal that was just made. */
MW_SIGNAL_SAFE int registry_tell(void) {
    int error = MW_OK;
    for (uint32_t id = 1; id <= mw.registry.last && !error; id++) {
        struct variable *v = &mw.registry.variables[id];
        uint32_t live = LIVE_UNTOLD;
        if (!atomic_compare_exchange_strong(&v->live, &live, LIVE)) continue;
        error = journal_variable(id, v);
        if (!error) error = registry_record_content(id, v, false);
        if (!error && v->flags & MW_LATER) error = record_page(id, v, v->page, arena_writable(v->page));
        if (!error && v->metadata)
            error = journal_blob(MWJ_METADATA, 0, thread_id(), id, NULL, 0, v->metadata, v->metadata_length);
    }
    return error;
}

MW_SIGNAL_SAFE void registry_lose(void) {
    for (uint32_t page = 0; page < mw.arena.bump; page++) {
        if (page_state_of(page) != PAGE_USED) continue;
        for (uint32_t id = mw.arena.pages[page].head; id; id = variable_next(&mw.registry.variables[id], page))
            mw.registry.variables[id].live = ENDED;
        mw.arena.pages[page].head = 0;
    }
    mw.registry.live = 0;
}

void registry_record_unseen(const char *why) {
    uint64_t some = 1;
    if (!atomic_load(&mw.journal.open)) return;
    journal_blob(MWJ_LOST, 0, thread_id(), 0, &some, 8, why, strlen(why));
    for (uint32_t id = 1; id <= mw.registry.last; id++)
        if (mw.registry.variables[id].live) registry_record_content(id, &mw.registry.variables[id], true);
}

/* ---- what a write touches ---- */

MW_SIGNAL_SAFE int registry_record(uintptr_t at, const struct page_piece *pieces, unsigned count, const uint8_t *before,
                                   const uint8_t *after, uint64_t written, const mw_origin *origin,
                                   const struct mwj_call *call) {
    uint64_t length = 0;
    for (unsigned i = 0; i < count; i++) length += pieces[i].length;
    uintptr_t piece_at = at;
    for (unsigned i = 0; i < count; piece_at += pieces[i++].length) {
        if (pieces[i].page == NO_PAGE) continue;
        const struct variable *v;
        for (uint32_t id = mw.arena.pages[pieces[i].page].head; id; id = variable_next(v, pieces[i].page)) {
            v = &mw.registry.variables[id];
            if (!variable_overlaps(v, piece_at, pieces[i].length)) continue;
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
                .stack = origin->stack,
                .native = origin->native,
                .request = origin->request,
                .request_serial = origin->request_serial,
                .context = v->flags & MW_TRACK_SQL ? origin->context : 0,
                .how = call ? MWJ_SYSCALL : MWJ_BY_STORE,
                .flags = (pieces[i].nested ? MWJ_INEXACT : 0) | (origin->inexact ? MWJ_SITE_INEXACT : 0),
                .call = call,
                .mask = v->flags & MW_MASKS,
            };
            int error = conditions_store(v, &store, before + (start - at), after + (start - at));
            if (error) return error;
        }
    }
    return MW_OK;
}

MW_SIGNAL_SAFE void registry_record_kernel(uint32_t page, const uint8_t *before, const uint8_t *after, int asked,
                                           const struct kernel_caller *caller) {
    const struct variable *v;
    for (uint32_t id = mw.arena.pages[page].head; id; id = variable_next(v, page)) {
        v = &mw.registry.variables[id];
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
        struct store store = {
            .variable = id,
            .tid = v->flags & MW_TRACK_THREADS ? caller->tid : 0,
            .offset = (uint32_t)offset,
            .length = (uint32_t)(stop - start),
            .how = MWJ_KERNEL,
            .flags = MWJ_INEXACT | MWJ_SITE_INEXACT,
            .call = &caller->call,
            .mask = v->flags & MW_MASKS,
        };
        if (unlikely(v->flags & MW_LATER)) registry_tell_page(page, before);
        if (!journal_store(&store, before + start, after + start) && unlikely(v->flags & MW_JUDGED))
            conditions_judge_for(caller->tid, &store, before + start, after + start);
    }
}
