/* tracker_readonly.c - the watched view is mapped PROT_READ: a store raises SIGSEGV in the writing thread. Needs
 * nothing. */
#include <sys/mman.h>

#include "memory/tracker.h"

static int readonly_open(void) { return 0; }

static int readonly_arm(void *start, size_t size) {
    (void)start, (void)size; /* mapped PROT_READ by the arena already */
    return 0;
}

static void readonly_close(void) {}

const struct tracker tracker_readonly = {
    .name = "readonly",
    .id = MW_TRACKER_READONLY,
    .protection = PROT_READ,
    .open = readonly_open,
    .arm = readonly_arm,
    .close = readonly_close,
};
