/* registry.h - variables on pages, and which of them a write touches. */
#ifndef MEMWATCH_REGISTRY_H
#define MEMWATCH_REGISTRY_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "memwatch.h"
#include "base/compiler.h"
#include "journal/journal.h"

struct variable {
    uint64_t address; /* in the watched view */
    uint64_t size;
    uint64_t depth_start, depth_stop;
    uint32_t page; /* first page */
    uint32_t next; /* next variable on a shared page */
    uint32_t flags;
    _Atomic uint32_t live; /* enum life */
    void *metadata;        /* for a forked child's journal */
    uint32_t metadata_length;
    _Atomic uint32_t ended; /* segment of the journal that says so, + 1; 1 if it couldn't */
};
enum life { ENDED = 0, LIVE = 1, LIVE_UNTOLD = 2 /* in a forked child, whose journal doesn't describe it yet */ };
#define VARIABLES_MOST ((uint64_t)1 << 24) /* RLIMIT_AS may allow less: registry.most */

struct registry {
    struct variable *variables;
    uint64_t most;
    _Atomic uint32_t last;
    _Atomic uint64_t live;
};

struct kernel_caller {    /* who has the kernel write, and in which system call */
    uint32_t tid;         /* 0: not known */
    bool holdable;        /* a signal that is pending doesn't cut this call short */
    struct mwj_call call; /* its name is MWJ_CALL_KERNEL + the number of the system call */
};

MW_SIGNAL_SAFE static inline bool variable_overlaps(const struct variable *v, uint64_t start, uint64_t size) {
    return start < v->address + v->size && v->address < start + size;
}

MW_HIDDEN int registry_open(void);
MW_HIDDEN struct variable *registry_find(mw_variable_id id); /* NULL if it isn't watched */
/* What is there now, as a record; `whole`: zeros too. */
MW_HIDDEN int registry_record_content(uint32_t id, const struct variable *variable, bool whole);
struct page_piece { /* the part of a write that lies on one page, or on none of ours */
    uint32_t page;
    uint32_t offset; /* in the page */
    uint32_t length;
    uint32_t nested; /* the page's lock is held by the code that this thread interrupted */
    uint8_t *target;
};
/* Records what a write at watched address `at` does to each variable it touches. written: bit i is byte i, of a store
 * that leaves bytes out; ALL_WRITTEN otherwise. The caller holds the page locks. Returns 0 or MW_ERR_JOURNAL_FULL. */
#define ALL_WRITTEN UINT64_MAX
MW_HIDDEN int registry_record(uintptr_t at, const struct page_piece *pieces, unsigned count, const uint8_t *before,
                              const uint8_t *after, uint64_t written, const mw_origin *origin,
                              const struct mwj_call *call); /* NULL: an instruction's store */
/* Records by which bytes of the page differ what the kernel did to each variable, and, if `asked` is an offset in the
 * page and not -1, that it wrote there (0 says little if anything differs: what is pinned is asked for from there on).
 * The caller holds the page's lock. */
MW_HIDDEN void registry_record_kernel(uint32_t page, const uint8_t *before, const uint8_t *after, int asked,
                                      const struct kernel_caller *caller);
MW_HIDDEN void registry_record_unseen(const char *why); /* stores may have gone unseen: what there is now */
MW_HIDDEN void registry_untell(void);                   /* the journal doesn't describe any variable */
MW_HIDDEN int registry_tell(void);                      /* it does now */
MW_HIDDEN void registry_lose(void);                     /* they went with their pages */
#endif
