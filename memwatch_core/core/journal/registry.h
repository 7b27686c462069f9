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
    void *metadata;        /* kept for a forked child's journal */
    uint32_t metadata_length;
    _Atomic uint32_t ended; /* segment of the UNREGISTERED record, + 1; 1: there is none, the journal was full */
};
enum life { ENDED = 0, LIVE = 1, LIVE_UNTOLD = 2 /* in a forked child, whose journal doesn't describe it yet */ };
/* Flags of ours. */
#define MW_JUDGED (1u << 31) /* it has conditions */
#define MW_LATER (1u << 30)  /* its contents are recorded page by page, each before its first store: */
#define LATER_MIN 131072u    /* of variables with more bytes than this, if they aren't masked */
#define MW_GONE (1u << 29)   /* it has ended, and isn't cleared away: endings.h */
#define MW_ASTRAY (1u << 28) /* its memory wasn't where it was adopted */
#define MW_OWN_FLAGS (15u << 28)
#define VARIABLES_MOST ((uint64_t)1 << 24) /* RLIMIT_AS may allow less: registry.most */

struct registry {
    struct variable *variables;
    uint64_t most;
    _Atomic uint32_t last;
    _Atomic uint64_t live;
};

struct kernel_caller {    /* a thread that has the kernel write, and its system call */
    uint32_t tid;         /* 0: not known */
    bool holdable;        /* a pending signal doesn't cut this call short */
    struct mwj_call call; /* call.name is MWJ_CALL_KERNEL + the number of the system call */
};

MW_SIGNAL_SAFE static inline bool variable_overlaps(const struct variable *v, uint64_t start, uint64_t size) {
    return start < v->address + v->size && v->address < start + size;
}

/* The next variable on a page, of which this one is one. A variable that comes from the page before is the last. */
MW_SIGNAL_SAFE static inline uint32_t variable_next(const struct variable *v, uint32_t page) {
    return likely(v->page == page) ? v->next : 0;
}

MW_HIDDEN int registry_open(void);
/* Writes CONTENT records of the variable's bytes as they are now, if they aren't to be recorded later; `whole`: of
 * zeros at their end too, and of pages that were recorded. */
MW_HIDDEN int registry_record_content(uint32_t id, const struct variable *variable, bool whole);
/* Records what a page held before a store to it, of the variables whose contents are recorded then; once. The caller
 * holds the page's lock. */
MW_HIDDEN void registry_tell_page(uint32_t page, const uint8_t *bytes);
/* The same for the pages of a store to [offset, offset + length) of a variable, which isn't published yet. */
MW_HIDDEN void registry_tell_pages(const struct variable *variable, uint64_t offset, uint64_t length);
struct page_piece {  /* the part of a write that lies on one page */
    uint32_t page;   /* NO_PAGE: it is other memory */
    uint32_t offset; /* in the page */
    uint32_t length;
    uint32_t nested; /* the page's lock is held by the code that this thread interrupted */
    uint8_t *target; /* in the writable view; NULL: it is other memory */
};
/* Records what a write at watched address `at` does to each variable that it touches. `written`: of a masked store, bit
 * i says whether byte i was written; ALL_WRITTEN of any other. The caller holds the page locks. Returns 0 or
 * MW_ERR_JOURNAL_FULL. */
#define ALL_WRITTEN UINT64_MAX
MW_HIDDEN int registry_record(uintptr_t at, const struct page_piece *pieces, unsigned count, const uint8_t *before,
                              const uint8_t *after, uint64_t written, const mw_origin *origin,
                              const struct mwj_call *call); /* NULL: an instruction's store */
/* Records what the kernel did to each variable on a page: the bytes that differ, and the byte at offset `asked`, where
 * the kernel asked to write (-1: nowhere; 0 is the beginning of a pinned page, and counts only if no byte differs). The
 * caller holds the page's lock. */
MW_HIDDEN void registry_record_kernel(uint32_t page, const uint8_t *before, const uint8_t *after, int asked,
                                      const struct kernel_caller *caller);
MW_HIDDEN void registry_record_unseen(const char *why); /* stores may have gone unseen: records all bytes as they are */
MW_HIDDEN void registry_untell(void);                   /* a journal begins, which describes no variable yet */
MW_HIDDEN int registry_tell(void);                      /* writes the records that describe them */
MW_HIDDEN void registry_lose(void);                     /* all variables have ended: their pages are gone */
#endif
