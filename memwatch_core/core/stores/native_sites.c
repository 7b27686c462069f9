/* native_sites.c - see native_sites.h.
 *
 * What a site says of an instruction (docs/journal-format.md, "Native code") is enough to find its name later, in the
 * very file that it ran from, even if the process has been killed. What most native code stores, libc stores for it
 * (memcpy and its like, which leave the stack alone): there, the word on top of the stack is noted as well. Whether it
 * is the place of the caller, the unwinding tables of libc tell readers. */
#include "stores/native_sites.h"

#include <stdbool.h>
#include <string.h>

#include "base/digits.h"
#include "base/hash.h"
#include "base/lock.h"
#include "base/thread.h"
#include "journal/sites.h"
#include "memory/arena.h"
#include "state.h"
#include "stores/loaded_files.h"

#define ROWS (1u << NATIVE_BITS)
#define RETURNS (1ull << 63) /* of a place: a call returns to it */

int native_sites_open(void) {
    mw.native_sites.rows = arena_table(ROWS * sizeof *mw.native_sites.rows);
    return mw.native_sites.rows ? MW_OK : MW_ERR_NO_MEMORY;
}

MW_SIGNAL_SAFE static char *put(char *at, const char *string) {
    size_t n = strlen(string);
    memcpy(at, string, n);
    return at + n;
}

MW_SIGNAL_SAFE static char *put_hex(char *at, uint64_t number) {
    unsigned digits = 1;
    while (digits < 16 && number >> 4 * digits) digits++;
    return put_hexadecimal(at, number, digits);
}

MW_SIGNAL_SAFE static uint32_t make(const struct loaded_file *file, uint64_t place, uint32_t caller) {
    char text[IDENTITY_MOST + 80], *at = put(text, "+0x");
    at = put_hex(at, (place & ~RETURNS) - file->bias);
    if (place & RETURNS) at = put(at, " return");
    if (caller) at = put_hex(put(at, " caller=0x"), caller);
    memcpy(at, file->identity, file->identity_length);
    at += file->identity_length;
    return sites_native(file->path, file->path_length, text, (size_t)(at - text));
}

/* The row of this place, or a free one where it would go; NULL: there is none. */
MW_SIGNAL_SAFE static struct native_row *find(uint64_t place, uint32_t file, uint32_t caller) {
    uint32_t at = (uint32_t)hash_to_bits(place ^ (uint64_t)caller << 40, NATIVE_BITS);
    for (uint32_t i = 0; i < ROWS; i++, at = (at + 1) & (ROWS - 1)) {
        struct native_row *row = &mw.native_sites.rows[at];
        uint64_t known = atomic_load_explicit(&row->place, memory_order_acquire);
        if (!known || (known == place && row->file == file && row->caller == caller)) return row;
    }
    return NULL;
}

MW_SIGNAL_SAFE static __attribute__((noinline)) uint32_t learn(const struct loaded_file *file, uint32_t number,
                                                               uint64_t place, uint32_t caller) {
    uint32_t site = 0;
    lock_take(&mw.native_sites.lock, thread_id());
    struct native_row *row = mw.native_sites.count < ROWS / 4 * 3 ? find(place, number, caller) : NULL;
    if (row && atomic_load(&row->place)) {
        site = row->site;
    } else if (row && (site = make(file, place, caller))) { /* 0 isn't kept: the journal may have room later */
        row->file = number;
        row->caller = caller;
        row->site = site;
        mw.native_sites.count++;
        atomic_store_explicit(&row->place, place, memory_order_release);
    }
    lock_release(&mw.native_sites.lock);
    return site;
}

MW_SIGNAL_SAFE static uint32_t site_of(const struct loaded_file *file, uint64_t place, uint32_t caller) {
    uint32_t number = (uint32_t)(file - mw.loaded_files.rows);
    const struct native_row *row = find(place, number, caller);
    if (likely(row && atomic_load_explicit(&row->place, memory_order_relaxed))) return row->site;
    return learn(file, number, place, caller);
}

MW_SIGNAL_SAFE static uint32_t site_of_return(uintptr_t place) {
    bool loaded;
    const struct loaded_file *file = loaded_file_at(place - 1, &loaded);
    if (!file || file->start == mw.loaded_files.ours) return 0;
    return site_of(file, place | RETURNS, 0);
}

MW_SIGNAL_SAFE static void say(mw_origin *origin, uint32_t site) {
    if (origin->site || origin->inexact)
        origin->native = site;
    else
        origin->site = site;
}

MW_SIGNAL_SAFE void native_site_of_store(const ucontext_t *context, mw_origin *origin) {
    static const char made[] = "[jit]";
    uintptr_t ip = (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
    bool loaded;
    const struct loaded_file *file = loaded_file_at(ip, &loaded);
    if (!file) {
        if (!loaded && mw.loaded_files.find && !origin->site && !origin->inexact)
            origin->site = sites_native(made, sizeof made - 1, "", 0);
        return;
    }
    uint32_t caller = 0;
    if (file->start == mw.loaded_files.libc)
        caller = site_of_return(*(const uintptr_t *)context->uc_mcontext.gregs[REG_RSP]);
    say(origin, site_of(file, ip, caller));
}

MW_SIGNAL_SAFE void native_site_of_call(uintptr_t caller, mw_origin *origin) { say(origin, site_of_return(caller)); }
