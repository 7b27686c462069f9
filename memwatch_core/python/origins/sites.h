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

/* Frames without a line of the program: entry frames, and frames that are still being set up. */
static inline bool mwpy_is_incomplete(const mwpy_frame *f) {
    if (mwpy_frame_is_entry(f)) return true;
    PyObject *code = mwpy_frame_executable(f);
    if (!code || !PyCode_Check(code)) return true;
    return f->owner != FRAME_OWNED_BY_GENERATOR && mwpy_frame_instruction(f) < mwpy_first_traceable(code);
}

static inline mwpy_place mwpy_place_in(const mwpy_frame *f) {
    PyCodeObject *code = (PyCodeObject *)mwpy_frame_executable(f);
    return (mwpy_place){code, (int)(mwpy_frame_instruction(f) - _PyCode_CODE(code))};
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
