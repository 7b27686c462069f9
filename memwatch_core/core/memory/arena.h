/* arena.h - pages and their two views. */
#ifndef MEMWATCH_ARENA_H
#define MEMWATCH_ARENA_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include "memwatch.h"
#include "base/compiler.h"
#include "base/lock.h"
#include "memory/shared_memory.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23 /* kernel 5.14; where it is refused, pages come on first touch */
#endif

#define PAGE_SHIFT 12
#define PAGE_MASK ((uintptr_t)MW_PAGE_SIZE - 1)
#define NO_PAGE UINT32_MAX
#define ARENA_ORDERS 9
#define ORDER_LARGE ARENA_ORDERS /* of blocks that are no power of two */

enum page_state {
    PAGE_FREE = 0,
    PAGE_USED = 1,
    PAGE_RETURNED = 2, /* free, and without memory */
    PAGE_GONE = 3      /* was in use in the parent of this process, and didn't come along: fork.c */
};
struct page {
    mw_lock lock;
    uint32_t head; /* first variable on this page, 0 for none */
    uint8_t state; /* enum page_state */
    uint8_t order; /* of the block that it belongs to: 2^order pages, or ORDER_LARGE */
    bool guarded;  /* the adapter is told of stores: mw_page_guard() */
    bool told;     /* its contents are in the journal, or needn't be: registry_tell_page() */
    union {
        uint32_t length;    /* in use: pages of the block that it is the first of; 0 of the others */
        uint32_t next_free; /* free list of its order; of an extent, whose length is in `head` */
    };
};

/* The program sees [watched, watched + reserved); the core writes at + distance (modulo 2^64). */
struct arena {
    uintptr_t watched;
    uint64_t distance, reserved;
    _Atomic uint64_t committed;
    struct shared memory;
    uint64_t address_space; /* bytes that RLIMIT_AS left to this process when the core started */
    struct page *pages;
    uint32_t bump;
    uint32_t free_head[ARENA_ORDERS];
    uint32_t extents;      /* the first of the free ones that belong to no order */
    _Atomic uint64_t used; /* pages */
    uint64_t idle;         /* pages that are free, and still have memory */
    uint64_t idle_refused; /* how many there were when the kernel refused to take any back */
    uint64_t idle_again;   /* pages that were given back, and asked for again since */
    uint64_t idle_extra;   /* how many more are kept, for that reason */
    uint32_t idle_hand;    /* the page after the last one that was given back */
};

MW_HIDDEN int arena_open(void);
MW_HIDDEN void *arena_table(size_t size); /* zeroed memory, never freed, that takes none until it is touched; or NULL */
/* Reserves address space, at a random place if one is free. alignment: a power of two. NULL: there is none. */
MW_HIDDEN void *arena_place(uint64_t size, uint64_t alignment);
MW_HIDDEN void arena_take_down(void);
MW_HIDDEN uint64_t arena_fit(uint64_t most, size_t size); /* entries of a table: fewer if RLIMIT_AS leaves little */
MW_HIDDEN int arena_copy(struct shared *copy);            /* of all pages in use; caller holds every page lock */
/* In a child: maps and arms the copy in place of the parent's memory; what is adopted is left to adoption_map_all(). */
MW_HIDDEN int arena_replace(struct shared *copy);
MW_HIDDEN uint32_t arena_lose(void); /* in a child without a copy: pages in use are gone; how many */
MW_HIDDEN int arena_allocate(size_t n, uint32_t *first); /* caller holds mw.lock */
MW_HIDDEN bool arena_is_block(uint32_t first, size_t n); /* n pages were allocated there at once */
MW_HIDDEN void arena_release(uint32_t first);
/* The page that an address of a watched view belongs to, NO_PAGE if none is in use there. */
MW_HIDDEN uint32_t arena_page_at(uintptr_t address);
#endif
