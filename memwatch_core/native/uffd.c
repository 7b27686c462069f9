/* uffd.c - userfaultfd: a descriptor, and write-protection of watched views by it.
 *
 * Documentation/admin-guide/mm/userfaultfd.rst, ioctl_userfaultfd(2). Needs kernel 5.19: write-protected shared
 * memory. */
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

/* For faults in the kernel: CAP_SYS_PTRACE, vm.unprivileged_userfaultfd = 1, or access to the device. */
static int descriptor(bool kernel_too) {
    const int flags = O_CLOEXEC | O_NONBLOCK | (kernel_too ? 0 : UFFD_USER_MODE_ONLY);
    int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), fd = -1;
    if (device >= 0) {
        fd = ioctl(device, USERFAULTFD_IOC_NEW, flags);
        close(device);
    }
    return fd >= 0 ? fd : (int)syscall(SYS_userfaultfd, flags);
}

int uffd_open(uint64_t features, bool kernel_too) {
    int fd = descriptor(kernel_too);
    if (fd < 0) return -1;
    struct uffdio_api api = {
        .api = UFFD_API,
        .features = features | UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
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

int uffd_protect(uintptr_t start, size_t size, bool on) {
    struct uffdio_writeprotect protect = {.range = {start, size}, .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0};
    int failed;
    do failed = ioctl(mw.uffd, UFFDIO_WRITEPROTECT, &protect);
    while (failed && errno == EAGAIN); /* the address space is just changing */
    if (failed && !on)
        ioctl(mw.uffd, UFFDIO_WAKE, &protect.range); /* no longer armed: it goes on in what is there now */
    return failed;
}

int uffd_arm(void *start, size_t size) {
    struct uffdio_register reg = {.range = {(uintptr_t)start, size}, .mode = UFFDIO_REGISTER_MODE_WP};
    /* Only when the pages are protected may the mapping become writable: there is no moment in between. */
    return ioctl(mw.uffd, UFFDIO_REGISTER, &reg) || uffd_protect((uintptr_t)start, size, true) ||
                   mprotect(start, size, PROT_READ | PROT_WRITE)
               ? -1
               : 0;
}

void uffd_close(void) {
    if (mw.uffd >= 0) close(mw.uffd);
    mw.uffd = -1;
}
