/* import_tables.h - the import tables of loaded modules: calls of libc in them are redirected to the core. */
#ifndef MEMWATCH_IMPORT_TABLES_H
#define MEMWATCH_IMPORT_TABLES_H
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"
#include "base/lock.h"

struct modules { /* the first `patched` modules of the loader's list, as it was after so many loads and unloads, are
                    done */
    mw_lock lock;
    unsigned patched;
    unsigned long long loads, unloads;
    uint32_t turn;         /* counts the holders of the lock */
    bool calls_redirected; /* reading calls too: from the first watch on */
};

/* Redirects calls in the modules that were loaded since the last time; `calls`: reading calls too (reading_calls.h).
 * MW_OK or MW_ERR_INTERPOSE. Takes the loader's locks: not async-signal-safe. */
MW_HIDDEN int interpose_modules(bool calls);
#endif
