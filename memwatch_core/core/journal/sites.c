/* sites.c - places in source code, each with one id. An open-addressed table, read without a lock. */
#include "journal/sites.h"

#include <string.h>

#include "base/hash.h"
#include "base/lock.h"
#include "base/thread.h"
#include "journal/journal.h"
#include "journal/journal_format.h"
#include "memory/arena.h"
#include "memwatch.h"
#include "state.h"

#define TEXT_MAX ((size_t)256 << 20)
#define NAME_MAX_BYTES 4096u
#define PROBES_MAX 256u
#define LINE_NATIVE UINT32_MAX /* in the table: a site of native code */
#define HASH_SHIFT 40          /* the upper bits of a hash, of which the first place is made */
static_assert(SITES_MAX <= 1u << (64 - HASH_SHIFT), "a hash has bits enough for a place");

int sites_open(void) {
    mw.sites.rows = arena_table(SITES_MAX * sizeof *mw.sites.rows);
    mw.sites.text_most = arena_fit(TEXT_MAX, 1);
    mw.sites.text = arena_table(mw.sites.text_most);
    mw.sites.order = arena_table(SITES_MAX * sizeof *mw.sites.order);
    mw.sites.adds_call = arena_table(SITES_MAX * sizeof *mw.sites.adds_call);
    return mw.sites.rows && mw.sites.text && mw.sites.order && mw.sites.adds_call ? MW_OK : MW_ERR_NO_MEMORY;
}

MW_SIGNAL_SAFE static int record(const struct site *site, uint32_t id) {
    struct {
        uint32_t line, column;
        uint16_t file_length, function_length;
    } head = {site->line, site->column, site->file_length, site->function_length};
    unsigned flags = mw.sites.adds_call[id] ? MWJ_ADDS_CALL : 0;
    if (site->line == LINE_NATIVE) {
        head.line = 0;
        flags |= MWJ_NATIVE;
    }
    return journal_blob(MWJ_SITE, flags, thread_id(), id, &head, sizeof head, site->text,
                        (size_t)site->file_length + site->function_length);
}

/* A journal is complete in itself: it begins with the places known so far. */
MW_SIGNAL_SAFE int sites_record_all(void) {
    int error = MW_OK;
    for (uint32_t id = 1; id <= mw.sites.count && !error; id++) error = record(&mw.sites.rows[mw.sites.order[id]], id);
    return error;
}

MW_SIGNAL_SAFE static uint64_t mix(uint64_t hash, const char *bytes, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        hash = (hash ^ word) * HASH_FACTOR;
        hash ^= hash >> 32;
    }
    for (; i < n; i++) hash = (hash ^ (uint8_t)bytes[i]) * 0x100000001B3ULL;
    return hash ^ hash >> 29;
}

MW_SIGNAL_SAFE static uint32_t insert(struct site *site, uint64_t hash, const char *file, size_t file_length,
                                      const char *function, size_t function_length, uint32_t line, uint32_t column) {
    uint32_t id = mw.sites.count + 1;
    size_t text = file_length + function_length;
    if (id >= SITES_MAX / 4 * 3 || mw.sites.text_used + text > mw.sites.text_most) return 0;
    char *at = mw.sites.text + mw.sites.text_used;
    memcpy(at, file, file_length);
    memcpy(at + file_length, function, function_length);
    site->line = line;
    site->column = column;
    site->file_length = (uint16_t)file_length;
    site->function_length = (uint16_t)function_length;
    site->text = at;
    if (atomic_load(&mw.journal.open) && record(site, id)) return 0; /* before any store can name it */
    mw.sites.text_used += text;
    mw.sites.order[id] = (uint32_t)(site - mw.sites.rows);
    mw.sites.count = id;
    atomic_store_explicit(&site->hash, hash, memory_order_relaxed);
    atomic_store_explicit(&site->id, id, memory_order_release);
    return id;
}

/* The entry of this site, or the free one where it would go; NULL: there is no place for it. */
MW_SIGNAL_SAFE static struct site *find(uint64_t hash, const char *file, size_t file_length, const char *function,
                                        size_t function_length, uint32_t line, uint32_t column) {
    for (uint32_t i = 0, at = (uint32_t)(hash >> HASH_SHIFT) & (SITES_MAX - 1); i < PROBES_MAX;
         i++, at = (at + 1) & (SITES_MAX - 1)) {
        struct site *site = &mw.sites.rows[at];
        if (!atomic_load_explicit(&site->id, memory_order_acquire)) return site;
        if (site->hash == hash && site->line == line && site->column == column && site->file_length == file_length &&
            site->function_length == function_length && !memcmp(site->text, file, file_length) &&
            !memcmp(site->text + file_length, function, function_length))
            return site;
    }
    return NULL;
}

MW_SIGNAL_SAFE static uint32_t intern(const char *file, size_t file_length, const char *function,
                                      size_t function_length, uint32_t line, uint32_t column) {
    if (!atomic_load_explicit(&mw.started, memory_order_acquire)) return 0;
    if (file_length > NAME_MAX_BYTES) file += file_length - NAME_MAX_BYTES, file_length = NAME_MAX_BYTES;
    if (function_length > NAME_MAX_BYTES) function_length = NAME_MAX_BYTES;
    uint64_t hash = mix(mix((uint64_t)line << 32 | column, file, file_length), function, function_length);
    struct site *site = find(hash, file, file_length, function, function_length, line, column);
    if (!site) return 0;
    uint32_t id = atomic_load_explicit(&site->id, memory_order_acquire);
    if (id) return id;
    uint64_t kept = mask_signals(); /* a handler that interrupts us here could want this lock */
    lock_take(&mw.sites.lock, thread_id());
    site = find(hash, file, file_length, function, function_length, line, column);
    id = !site      ? 0
         : site->id ? site->id
                    : insert(site, hash, file, file_length, function, function_length, line, column);
    lock_release(&mw.sites.lock);
    unmask_signals(kept);
    return id;
}

MW_SIGNAL_SAFE uint32_t mw_intern_site(const char *file, size_t file_length, const char *function,
                                       size_t function_length, uint32_t line, uint32_t column) {
    if (line == LINE_NATIVE) line = 0;
    return intern(file, file_length, function, function_length, line, column);
}

MW_SIGNAL_SAFE uint32_t sites_native(const char *file, size_t file_length, const char *text, size_t text_length) {
    return intern(file, file_length, text, text_length, LINE_NATIVE, 0);
}

int mw_site_of(uint32_t id, mw_site *out) {
    if (!atomic_load_explicit(&mw.started, memory_order_acquire) || !id || id > mw.sites.count) return MW_ERR_RANGE;
    const struct site *site = &mw.sites.rows[mw.sites.order[id]];
    *out = (mw_site){.file = site->text,
                     .function = site->text + site->file_length,
                     .file_length = site->file_length,
                     .function_length = site->function_length,
                     .line = site->line == LINE_NATIVE ? 0 : site->line};
    return MW_OK;
}

int mw_site_adds_call(uint32_t id) {
    if (!atomic_load_explicit(&mw.started, memory_order_acquire) || !id || id > mw.sites.count) return MW_ERR_RANGE;
    if (mw.sites.adds_call[id]) return MW_OK;
    uint64_t kept = mask_signals();
    lock_take(&mw.sites.lock, thread_id());
    mw.sites.adds_call[id] = true; /* of several records for a site, the last one counts */
    int error = atomic_load(&mw.journal.open) ? record(&mw.sites.rows[mw.sites.order[id]], id) : MW_OK;
    lock_release(&mw.sites.lock);
    unmask_signals(kept);
    return error;
}
