/* tracker_uffd_sigbus.c - userfaultfd write-protect, delivered as SIGBUS in the writing thread.
 *
 * Needs kernel 5.19 (write-protected shared memory) and no privilege: UFFD_USER_MODE_ONLY.
 * Documentation/admin-guide/mm/userfaultfd.rst, ioctl_userfaultfd(2). */
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12)
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00) /* on /dev/userfaultfd, kernel 6.1 */
#endif

static int uffd_new(void) {
    const int flags = O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY;
    int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), fd = -1;
    if (device >= 0) {
        fd = ioctl(device, USERFAULTFD_IOC_NEW, flags);
        close(device);
    }
    return fd >= 0 ? fd : (int)syscall(SYS_userfaultfd, flags);
}

static int uffd_open(void) {
    int fd = uffd_new();
    if (fd < 0) return -1;
    struct uffdio_api api = {
        .api = UFFD_API,
        .features = UFFD_FEATURE_SIGBUS | UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
    };
    if (ioctl(fd, UFFDIO_API, &api)) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    mw.uffd = fd;
    return 0;
}

static int uffd_arm(void *start, size_t size) {
    struct uffdio_register reg = {.range = {(uintptr_t)start, size}, .mode = UFFDIO_REGISTER_MODE_WP};
    struct uffdio_writeprotect protect = {.range = reg.range, .mode = UFFDIO_WRITEPROTECT_MODE_WP};
    /* Only when the pages are protected may the mapping become writable: there is no moment in between. */
    if (ioctl(mw.uffd, UFFDIO_REGISTER, &reg) || ioctl(mw.uffd, UFFDIO_WRITEPROTECT, &protect) ||
        mprotect(start, size, PROT_READ | PROT_WRITE))
        return -1;
    return 0;
}

static void uffd_close(void) {
    if (mw.uffd >= 0) close(mw.uffd);
    mw.uffd = -1;
}

const struct tracker tracker_uffd_sigbus = {
    .name = "uffd-sigbus",
    .id = MW_TRACKER_UFFD_SIGBUS,
    .protection = PROT_READ | PROT_WRITE,
    .open = uffd_open,
    .arm = uffd_arm,
    .close = uffd_close,
};
