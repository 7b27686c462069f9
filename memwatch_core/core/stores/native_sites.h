/* native_sites.h - the native code that stores, as a site: which instruction of which file. Its name is looked up by
 * readers. */
#ifndef MEMWATCH_NATIVE_SITES_H
#define MEMWATCH_NATIVE_SITES_H
#include <stdatomic.h>
#include <stdint.h>
#include <ucontext.h>
#include "base/compiler.h"
#include "base/lock.h"
#include "memwatch.h"

#define NATIVE_BITS 16

struct native_row {
    _Atomic uint64_t place; /* the instruction, or where a call returns to; 0: a free row */
    uint32_t file, caller;  /* row of loaded_files, site of a caller */
    uint32_t site;
};

struct native_sites {
    mw_lock lock;
    struct native_row *rows; /* by a hash of the place; never changed, never removed */
    uint32_t count;
};

MW_HIDDEN int native_sites_open(void);
/* Adds the interrupted instruction to what a provider has said of a store: as the site where that knows none. */
MW_HIDDEN void native_site_of_store(const ucontext_t *context, mw_origin *origin);
/* The same of a call of libc that returns to `caller`. */
MW_HIDDEN void native_site_of_call(uintptr_t caller, mw_origin *origin);
#endif
