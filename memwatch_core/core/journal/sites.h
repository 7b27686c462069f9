/* sites.h - places in source code, each with one id. */
#ifndef MEMWATCH_SITES_H
#define MEMWATCH_SITES_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"
#include "base/lock.h"

#define SITES_MAX (1u << 20)
struct site {
    _Atomic uint64_t hash;
    _Atomic uint32_t id;
    uint32_t line, column;
    uint16_t file_length, function_length;
    const char *text; /* file, then function */
};

struct sites {
    mw_lock lock;
    struct site *rows;
    char *text;
    size_t text_used, text_most;
    _Atomic uint32_t count;
    uint32_t *order; /* id -> row */
    bool *adds_call; /* id -> whether mw_site_adds_call() said so */
};

MW_HIDDEN int sites_open(void);
MW_HIDDEN int sites_record_all(void);
/* The id of an instruction in a loaded file: what it is goes by a text (docs/journal-format.md, "Native code"). 0: as
 * mw_intern_site. Async-signal-safe. */
MW_HIDDEN uint32_t sites_native(const char *file, size_t file_length, const char *text, size_t text_length);
#endif
