/* sites.h - places in Python code, and the sites that they are interned as. For files that define Py_BUILD_CORE_MODULE.
 */
#ifndef MEMWATCH_PYTHON_SITES_H
#define MEMWATCH_PYTHON_SITES_H
#include "base/hash.h"
#include "interpreter.h"

typedef struct mwpy_place {
    PyCodeObject *code; /* borrowed */
    int unit;           /* instruction, in code units */
} mwpy_place;

static inline mwpy_place mwpy_place_in(const mwpy_frame *f) {
    return (mwpy_place){mwpy_frame_code(f), mwpy_frame_unit(f)};
}

static inline size_t mwpy_hash_place(const mwpy_place *at) {
    uint64_t h = ((uintptr_t)at->code >> 4) + (uint64_t)at->unit * HASH_FACTOR;
    return (size_t)((h ^ h >> 29) * 0xBF58476D1CE4E5B9u >> 32);
}

/* The site of a place of the calling thread's; 0: there is no room for it. Async-signal-safe. The second one doesn't
 * look into the cache. */
uint32_t mwpy_site_of(const mwpy_place *at);
uint32_t mwpy_site_anew(const mwpy_place *at);
#endif
