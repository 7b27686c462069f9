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
    _Atomic unsigned long long loads;
    unsigned long long unloads;
    uint32_t turn;          /* counts the holders of the lock */
    _Atomic unsigned group; /* enum call_group: calls of the groups up to this one are redirected */
    bool learned;           /* what the program's stubs stand for */
    bool libc_frees;        /* free() is libc's own, not that of a library before it */
};
enum call_group {
    CALLS_ON_PROCESS, /* that could take from us what we hold, or make another process: from the start on */
    CALLS_THAT_WRITE, /* that have memory written: reading_calls.h, from the first watch on */
    CALLS_ON_MEMORY,  /* that do away with memory: memory_calls.h, from the first adoption on */
};

/* Redirects calls of the groups up to `group` in the modules that were loaded since the last time, or in all if the
 * group is the first of its kind. MW_OK or MW_ERR_INTERPOSE. Takes the loader's locks: not async-signal-safe. */
MW_HIDDEN int interpose_modules(enum call_group group);
#endif
