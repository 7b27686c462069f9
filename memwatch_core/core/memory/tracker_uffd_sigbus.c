/* tracker_uffd_sigbus.c - userfaultfd write-protect, delivered as SIGBUS in the writing thread. Needs no privilege:
 * UFFD_USER_MODE_ONLY. */
#include <linux/userfaultfd.h>
#include <sys/mman.h>

#include "memory/tracker.h"
#include "memory/userfaultfd.h"

static int uffd_sigbus_open(void) { return uffd_open(UFFD_FEATURE_SIGBUS, false); }

const struct tracker tracker_uffd_sigbus = {
    .name = "uffd-sigbus",
    .id = MW_TRACKER_UFFD_SIGBUS,
    .protection = PROT_READ | PROT_WRITE,
    .open = uffd_sigbus_open,
    .arm = uffd_arm,
    .close = uffd_close,
};
