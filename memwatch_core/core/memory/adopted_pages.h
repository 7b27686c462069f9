/* adopted_pages.h - memory of an adapter's own, by its address: which page of the arena has taken its place. */
#ifndef MEMWATCH_ADOPTED_PAGES_H
#define MEMWATCH_ADOPTED_PAGES_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"

#define ADOPTED_BITS 12u /* of a page's number, at each of three levels: addresses below 2^48 */
#define ADOPTED_FAN (1u << ADOPTED_BITS)

struct adopted_leaf {                    /* 16 MiB of addresses */
    _Atomic uint32_t entry[ADOPTED_FAN]; /* 1 + the page in the arena; 0: not adopted */
};
struct adopted_branch {
    _Atomic(struct adopted_leaf *) leaf[ADOPTED_FAN];
};
struct adopted_pages { /* searched without a lock; changed under mw.lock, entries also given up without it */
    _Atomic(struct adopted_branch *) *branch;
    _Atomic uint64_t count;
    _Atomic uintptr_t lowest, highest; /* addresses: all adopted pages lie in [lowest, highest) */
};

/* A page's number is its address >> PAGE_SHIFT. */
MW_HIDDEN int adopted_open(void);
MW_HIDDEN uint32_t adopted_find(uint64_t number);               /* its page in the arena, or NO_PAGE */
MW_HIDDEN uint64_t adopted_next(uint64_t number, uint64_t end); /* the first adopted page in [number, end), or end */
MW_HIDDEN int adopted_add(uintptr_t start, size_t n, uint32_t first); /* n pages; MW_ERR_NO_MEMORY, MW_ERR_LIMIT */
/* Those of n pages that are adopted, by pages from `first` on; others stay. */
MW_HIDDEN void adopted_forget(uintptr_t start, size_t n, uint32_t first);
MW_HIDDEN void adopted_forget_all(void);
#endif
