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
    uint64_t moment; /* ns that it was open for, the last time */
    uint64_t since;  /* ns: when it last asked, or was last seen to have written */
    uint16_t offset; /* in the page: where it asked to write */
    bool compared;   /* from time to time, and before anybody else writes */
    bool listed;     /* the tracker's thread alone */
    bool unseen;     /* nothing has come of it yet */
};

struct kernel_writes {
    _Atomic uint32_t thread;             /* that takes the messages; 0: there is none */
    _Atomic uint32_t compared;           /* pages that are: 0 almost always */
    struct admitted_page *pages;         /* by number */
    uint8_t *known, *fresh;              /* their bytes, as recorded, and room for as many */
    uint32_t *list, count;               /* of the tracker's thread */
    uint32_t not_told;                   /* generation of the journal that says: it couldn't learn who stores */
    _Atomic uint32_t held[HOLDS];        /* threads that will meet a signal at the end of their system call, by tid, */
    struct kernel_caller holders[HOLDS]; /* and that call */
};

enum whereabouts {
    IN_USER_CODE,
    IN_SYSTEM_CALL,
    ON_ITS_WAY, /* runs: it may be anywhere */
    IN_OTHER_PROCESS,
    NOT_TOLD, /* no descriptor is left to ask with */
    GONE,
};
/* caller->call for one in a system call, *instruction for one in user code. */
MW_HIDDEN enum whereabouts kernel_where(struct kernel_caller *caller, uintptr_t *instruction);
MW_HIDDEN bool kernel_waits(uint32_t tid);       /* for a fault to be served, at this moment */
MW_HIDDEN bool kernel_interrupted(uint32_t tid); /* a signal is pending that it would take, were it in user code */
MW_HIDDEN int kernel_open(void);
/* Lets who waits at this watched address write to its page, protects it again, and records what came of it. */
MW_HIDDEN void kernel_admit(uintptr_t address, const struct kernel_caller *caller);
MW_HIDDEN int kernel_compare(void); /* all pages; returns after how many ms to do it again, -1: there are none */
/* Under a page's lock, before and after anybody else writes to it: records what the kernel has done meanwhile; what
 * changes now isn't its doing. */
MW_HIDDEN bool kernel_settle(uint32_t page); /* whether there was anything */
MW_HIDDEN void kernel_except(uint32_t page, uint32_t offset, const uint8_t *bytes, uint32_t length);
MW_HIDDEN void kernel_forget(uint32_t first, size_t n); /* pages that are about to be released: takes their locks */
#endif
