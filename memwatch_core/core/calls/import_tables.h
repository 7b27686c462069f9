/* import_tables.h - what calls of libc that loaded modules make are led to. */
#ifndef MEMWATCH_IMPORT_TABLES_H
#define MEMWATCH_IMPORT_TABLES_H
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"
#include "base/lock.h"

struct modules { /* what of the loaded modules has been patched: the first `patched` of the list, as it was then */
    mw_lock lock;
    unsigned patched;
    unsigned long long loads, unloads;
    uint32_t turn;         /* the number of the one that holds the lock, or held it last */
    bool calls_redirected; /* those that have memory written; the others are from the start */
};

/* Redirects what has been loaded since the last time; `calls`: those of reading_calls.c too. MW_OK or MW_ERR_INTERPOSE.
 * Takes the loader's locks: not async-signal-safe. */
MW_HIDDEN int interpose_modules(bool calls);
#endif
