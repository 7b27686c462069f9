/* userfaultfd.c - userfaultfd: a descriptor, write-protection of watched views by it, and what takes over if it is
 * lost.
 *
 * Documentation/admin-guide/mm/userfaultfd.rst, ioctl_userfaultfd(2). Needs kernel 5.19: write-protected shared
 * memory. */
#include "memory/userfaultfd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/descriptors.h"
#include "base/lock.h"
#include "base/messages.h"
#include "base/syscalls.h"
#include "base/thread.h"
#include "memory/adoption.h"
#include "memory/arena.h"
#include "memwatch.h"
#include "state.h"

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
    mw.userfaultfd.without = !descriptor_take(DESCRIPTOR_UFFD, fd, NULL, 0);
    return -mw.userfaultfd.without;
}

static int control(unsigned long request, void *argument) {
    struct descriptor_turn turn = descriptor_enter(DESCRIPTOR_UFFD);
    int result = turn.number < 0 ? -1 : ioctl(turn.number, request, argument), why = turn.number < 0 ? EBADF : errno;
    descriptor_leave(&turn);
    errno = why;
    return result;
}

int uffd_protect(uintptr_t start, size_t size, bool on) {
    struct uffdio_writeprotect protect = {.range = {start, size}, .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0};
    int failed;
    do failed = control(UFFDIO_WRITEPROTECT, &protect);
    while (failed && errno == EAGAIN); /* the address space is just changing */
    if (failed && !on) control(UFFDIO_WAKE, &protect.range); /* no longer armed: it goes on in what is there now */
    return failed;
}

int uffd_arm(void *start, size_t size) {
    struct uffdio_register reg = {.range = {(uintptr_t)start, size}, .mode = UFFDIO_REGISTER_MODE_WP};
    /* Only when the pages are protected may the mapping become writable: there is no moment in between. */
    if (!mw.userfaultfd.without && (control(UFFDIO_REGISTER, &reg) || uffd_protect((uintptr_t)start, size, true) ||
                                    mprotect(start, size, PROT_READ | PROT_WRITE))) {
        if (errno == EBADF) uffd_look();
        if (!mw.userfaultfd.without) return -1;
    }
    return 0; /* without it: mapped PROT_READ, as for the tracker `readonly` */
}

void uffd_close(void) { descriptor_close(DESCRIPTOR_UFFD); }

/* ---- without it ---- */

static void protect_all(void) {
    mw.userfaultfd.without = true;
    mprotect((void *)mw.arena.watched, mw.arena.committed, PROT_READ);
    adoption_protect_all();
}

void uffd_look(void) {
    static const char unseen[] = "memwatch: the program has closed MemWatch's userfaultfd: stores since then went "
                                 "unseen; from now on they are seen again\n";
    if (!process_is_whole() || mw.userfaultfd.without || mw.tracker->id == MW_TRACKER_READONLY) return;
    if (likely(descriptor_sound(DESCRIPTOR_UFFD))) return;
    struct descriptor_turn turn = descriptor_enter(DESCRIPTOR_UFFD);
    descriptor_leave(&turn);
    if (turn.number >= 0) return;
    protect_all();
    tell(unseen, sizeof unseen - 1);
    mw.userfaultfd.lost("the program closed MemWatch's userfaultfd: stores went unseen until that was found");
}

bool uffd_do_without(void) {
    if (lock_held_by(&mw.lock, thread_id())) return false; /* a signal handler of the program's */
    lock_take(&mw.lock, thread_id());
    if (mw.tracker && !mw.userfaultfd.without) protect_all();
    lock_release(&mw.lock);
    return true;
}

void uffd_give_up(void) {
    int why = errno;
    protect_all();
    descriptor_close(DESCRIPTOR_UFFD);
    errno = why;
}

/* False if it can't be: a sandbox. Where no more signals may be queued (RLIMIT_SIGPENDING), it arrives without what is
 * sent with it, which is therefore kept. */
bool uffd_signal(uint32_t tid, int code, uintptr_t address, uintptr_t instruction) {
    siginfo_t info = {.si_signo = SIGBUS, .si_code = code, .si_errno = (int)(uint32_t)instruction};
    info.si_pid = getpid();
    info.si_ptr = (void *)address;
    atomic_store(&mw.queued_store.tid, 0);
    atomic_store(&mw.queued_store.instruction, instruction);
    atomic_store(&mw.queued_store.address, address);
    atomic_store(&mw.queued_store.tid, tid);
    long failed = raw_syscall4(SYS_rt_tgsigqueueinfo, info.si_pid, tid, SIGBUS, (long)&info);
    return !failed || failed == -ESRCH; /* it has ended */
}
