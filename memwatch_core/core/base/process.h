/* process.h - whether the core's memory and files are this process's, or its parent's: a forked child must notice. */
#ifndef MEMWATCH_PROCESS_H
#define MEMWATCH_PROCESS_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"
#include "base/lock.h"

/* On a page that reads as zeros in every forked child, whoever forked it and how: MADV_WIPEONFORK. */
struct process {
    _Atomic uint32_t state; /* enum process_state */
    _Atomic uint32_t made;  /* the journal of this very process has a file, and describes what is watched */
    mw_lock lock;           /* held while `state` changes */
};
enum process_state {
    PROCESS_UNNOTICED = 0, /* a forked child, which has not noticed yet: all that the core holds is the parent's */
    PROCESS_BARE = 1,      /* the parent's is let go; what is the child's own is made when it is needed */
    PROCESS_WHOLE = 2,
};

struct fork_hooks {
    void (*arrive)(void); /* makes ready a child whose handlers of pthread_atfork haven't run yet */
    void (*notice)(void); /* lets go of what is the parent's */
    int unwatched;        /* why pthread_atfork refused */
};

/* In a child that another library's handler of pthread_atfork uses before ours has run: true if it is ready now. */
MW_HIDDEN bool process_arrives(void);
MW_HIDDEN void process_notice(void); /* lets go of what is the parent's, if that hasn't been done */
#endif
