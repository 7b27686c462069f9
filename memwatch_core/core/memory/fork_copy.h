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
    int error;                 /* why the pages aren't copied */
    uint8_t *later;            /* pages that were written to after they were copied */
    bool stale;                /* such a page couldn't be copied again */
    _Atomic uint32_t prepared; /* forks that the holder of mw.lock is in: a handler of pthread_atfork may fork too */
};

MW_HIDDEN void fork_copy(void); /* caller holds mw.lock */
MW_HIDDEN void fork_copy_drop(void);
/* In the child: the copy is as the pages were when it was made. False: it can't be known. */
MW_HIDDEN bool fork_copy_complete(void);
MW_HIDDEN void fork_copy_follow(uint32_t page); /* it may have been written to: caller holds its lock */
MW_HIDDEN void pages_release(void);             /* the locks of all pages in use */

/* Whether this thread holds mw.lock because it is about to fork. Other libraries' handlers of pthread_atfork that use
 * the core then go on as if nobody held it. */
MW_HIDDEN bool core_prepared(void);
MW_HIDDEN bool core_take(void); /* mw.lock; returns what core_release() takes */
MW_HIDDEN void core_release(bool taken);
#endif
