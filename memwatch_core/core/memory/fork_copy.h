/* fork_copy.h - the copy of all pages that a forked child is given, and the lock under which pages come and go. */
#ifndef MEMWATCH_FORK_COPY_H
#define MEMWATCH_FORK_COPY_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "memory/shared_memory.h"

struct fork_copy {      /* between the handlers of pthread_atfork, under mw.lock */
    struct shared copy; /* of the arena; only if `copied` */
    bool copied;
    int error;                 /* why they aren't */
    uint8_t *later;            /* pages that were written to since */
    bool stale;                /* some were, and couldn't be kept */
    _Atomic uint32_t prepared; /* forks of the thread that holds mw.lock, one in a handler of the other */
};

MW_HIDDEN void fork_copy(void); /* caller holds mw.lock */
MW_HIDDEN void fork_copy_drop(void);
/* In the child: the copy is as the pages were when it was made. False: it can't be known. */
MW_HIDDEN bool fork_copy_complete(void);
MW_HIDDEN void pages_release(void); /* the locks of all that are in use */
/* The lock of a page that may have been written to. */
MW_HIDDEN void page_release(uint32_t page);

/* Whether this thread holds mw.lock because it is about to fork: in handlers of others, it may go on as if it didn't.
 */
MW_HIDDEN bool core_prepared(void);
MW_HIDDEN bool core_take(void); /* mw.lock; returns what core_release() takes */
MW_HIDDEN void core_release(bool taken);
#endif
