/* kernel_writes.h - what the kernel writes to watched pages by itself: under uffd-queue. */
#ifndef MEMWATCH_KERNEL_WRITES_H
#define MEMWATCH_KERNEL_WRITES_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"
#include "journal/registry.h"

#define HOLDS 64u
struct admitted_page { /* a page that the kernel has been let write to; guarded by the page's lock */
    struct kernel_caller caller;
    uint64_t moment; /* ns that the page was writable for, the last time */
    uint64_t since;  /* ns: when the kernel last asked, or was last seen to have written */
    uint16_t offset; /* in the page: where the kernel asked to write */
    bool compared;   /* with the known bytes: from time to time, and before anybody else writes */
    bool listed;     /* in kernel_writes.list; used by the tracker's thread alone */
    bool unseen;     /* the kernel was admitted, and no byte has differed yet */
};

struct kernel_writes {
    _Atomic uint32_t thread;      /* tid of the tracker's thread, which takes userfaultfd's messages; 0: none */
    _Atomic uint32_t compared;    /* how many pages are compared: 0 almost always */
    struct admitted_page *pages;  /* by number */
    uint8_t *known, *fresh;       /* all pages' bytes as recorded; and as they are, while they are compared */
    uint32_t *list, count;        /* of compared pages; used by the tracker's thread alone */
    uint32_t not_told;            /* generation of the journal in which it was recorded that writers can't be told */
    _Atomic uint32_t held[HOLDS]; /* by tid % HOLDS: threads that get a signal at the end of their system call, */
    struct kernel_caller holders[HOLDS]; /* and those calls */
};

enum whereabouts {
    IN_USER_CODE,
    IN_SYSTEM_CALL,
    ON_ITS_WAY, /* the thread runs */
    IN_OTHER_PROCESS,
    NOT_TOLD, /* /proc can't be read: no descriptor is free */
    GONE,
};
/* Where caller->tid is. Fills in caller->call if that is a system call, *instruction if it is user code. */
MW_HIDDEN enum whereabouts kernel_where(struct kernel_caller *caller, uintptr_t *instruction);
MW_HIDDEN bool kernel_waits(uint32_t tid);       /* the thread waits for a fault to be served, at this moment */
MW_HIDDEN bool kernel_interrupted(uint32_t tid); /* a signal is pending that the thread doesn't block */
MW_HIDDEN int kernel_open(void);
/* Lets the kernel write to the page of this watched address, protects the page again, and records what has changed. */
MW_HIDDEN void kernel_admit(uintptr_t address, const struct kernel_caller *caller);
MW_HIDDEN int kernel_compare(void); /* all listed pages; returns in how many ms to do it again, -1: there are none */
/* Both under a page's lock. kernel_settle, before anybody else writes to the page: records what the kernel has written
 * meanwhile. kernel_except, afterwards: these bytes weren't changed by the kernel. */
MW_HIDDEN bool kernel_settle(uint32_t page); /* whether it has written anything */
MW_HIDDEN void kernel_except(uint32_t page, uint32_t offset, const uint8_t *bytes, uint32_t length);
MW_HIDDEN void kernel_forget(uint32_t first, size_t n); /* pages that are about to be released: takes their locks */
#endif
