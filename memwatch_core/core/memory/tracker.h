/* tracker.h - how a store to a watched view becomes a signal in the thread that makes it. One file a tracker. */
#ifndef MEMWATCH_TRACKER_H
#define MEMWATCH_TRACKER_H
#include <stddef.h>
#include "memwatch.h"
#include "base/compiler.h"

struct tracker {
    const char *name;
    mw_tracker id;
    int protection; /* of the armed watched view */
    int (*open)(void);
    int (*arm)(void *start, size_t size); /* start..size is mapped PROT_READ; afterwards stores to it make signals */
    void (*close)(void);
    int (*serve)(void); /* once pages can be armed, and again in a forked child; NULL: there is nothing to do */
};

extern MW_HIDDEN const struct tracker tracker_uffd_sigbus, tracker_uffd_queue, tracker_readonly;
#endif
