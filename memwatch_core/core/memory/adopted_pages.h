/* adopted_pages.h - memory of an adapter's own, by its address: which page of the arena has taken its place. */
#ifndef MEMWATCH_ADOPTED_PAGES_H
#define MEMWATCH_ADOPTED_PAGES_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"
#include "base/hash.h"

#define ADOPTED_BITS 16u
#define ADOPTED_MAX (1u << ADOPTED_BITS)

enum { ADOPTED_FREE = 0, ADOPTED_DELETED = 1 }; /* in place of a number */
struct adopted_page {                           /* an entry of an open-addressed hash, searched without a lock */
    _Atomic uint64_t number;                    /* address >> PAGE_SHIFT */
    uint32_t page;                              /* its page in the arena */
};
struct adopted_pages { /* changed under mw.lock */
    struct adopted_page *rows;
    _Atomic uint32_t count;
};

MW_SIGNAL_SAFE static inline unsigned adopted_slot(uint64_t number) {
    return (unsigned)hash_to_bits(number, ADOPTED_BITS);
}

MW_HIDDEN uint32_t adopted_find(uint64_t number);           /* its page in the arena, or NO_PAGE */
MW_HIDDEN bool adopted_add(uint64_t number, uint32_t page); /* false: there are too many */
MW_HIDDEN void adopted_forget(uintptr_t start, size_t n);   /* those of n pages that are adopted */
MW_HIDDEN void adopted_forget_all(void);
#endif
