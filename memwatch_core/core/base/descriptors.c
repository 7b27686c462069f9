/* descriptors.c - the few descriptors that stay open: userfaultfd (closing it would end the protection), the journal
 * (to grow it), the file that its reader holds locked; and what an adapter asks to be kept.
 *
 * A program may close what it has never opened: daemons do, with everything. Its own files then get those numbers. So
 * that none of ours is ever used for what isn't ours,
 *   - each is moved to a high number, out of the way of closerange(3, 256) and of dup2;
 *   - calls of libc that would close it spare it, and report what they would without us: there is no such descriptor;
 *     those that put another file in its place have it moved away first (calls/descriptor_calls.c);
 *   - before each use, device and inode are compared. The program has other ways to close it: raw system calls. What we
 *     have mapped, or what protects our pages, can't have its inode used again meanwhile;
 *   - where ours is gone, it is opened again by its path, if the same file is there; if not, the journal counts what is
 *     lost, and in place of userfaultfd pages are protected by mprotect (memory/userfaultfd.c).
 * A thread with a table of its own could hold them where no program gets at them. None is made for this: Python warns
 * of threads at each fork, unshare(2) and setns(2) are refused to a process that has any, and setuid would leave one
 * that libc doesn't know behind with its rights. An io_uring that is mapped could hold userfaultfd without any
 * descriptor; sandboxes refuse it, and watchers of machines take it for an attack.
 *
 * A child of vfork runs in our memory, with descriptors of its own: whatever it does to them is let through, and
 * nothing is written down. close_range(2), dup(2), vfork(2). */
#include "base/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/syscalls.h"
#include "base/thread.h"
#include "memwatch.h"
#include "state.h"

#define HIGH 1024u /* not higher: the kernel's table of descriptors is as long as the highest, and copied by fork */

/* ---- ours ---- */

MW_SIGNAL_SAFE static int number_of(const struct descriptor *own) {
    return atomic_load_explicit(&own->number, memory_order_acquire);
}

MW_SIGNAL_SAFE static bool is_it(const struct descriptor *own, int number) {
    struct stat found;
    return number >= 0 && !raw_syscall4(SYS_fstat, number, (long)&found, 0, 0) && found.st_dev == own->device &&
           found.st_ino == own->inode;
}

/* A copy of the descriptor at a high number, or as high as there is room; -1: there is none. */
MW_SIGNAL_SAFE static int copy_high(int number) {
    struct rlimit limit = {HIGH, HIGH};
    raw_syscall4(SYS_getrlimit, RLIMIT_NOFILE, (long)&limit, 0, 0);
    unsigned most = limit.rlim_cur < HIGH ? (unsigned)limit.rlim_cur : HIGH;
    for (unsigned from = most - most / 64 - 1; from && from < most; from /= 2) {
        long copy = raw_syscall4(SYS_fcntl, number, F_DUPFD_CLOEXEC, from, 0);
        if (copy >= 0) return (int)copy;
    }
    return -1;
}

MW_SIGNAL_SAFE static void move_high(struct descriptor *own, int number) {
    int copy = copy_high(number);
    atomic_store(&own->number, copy > number ? copy : number);
    if (copy >= 0 && is_it(own, copy > number ? number : copy))
        raw_syscall4(SYS_close, copy > number ? number : copy, 0, 0, 0);
    mw.descriptors.pid = (int)raw_syscall4(SYS_getpid, 0, 0, 0, 0);
}

MW_SIGNAL_SAFE uint64_t descriptor_lock(void) {
    uint64_t mask = mask_signals(); /* a handler of the program's could ask for the same */
    lock_take(&mw.descriptors.lock, thread_id());
    return mask;
}

MW_SIGNAL_SAFE void descriptor_unlock(uint64_t mask) {
    lock_release(&mw.descriptors.lock);
    unmask_signals(mask);
}

/* The program has closed it. */
MW_SIGNAL_SAFE static int open_again(struct descriptor *own) {
    if (!own->path[0]) return -1;
    long number = raw_syscall4(SYS_openat, AT_FDCWD, (long)own->path, own->flags | O_CLOEXEC | O_NOFOLLOW, 0);
    if (number < 0) return -1;
    if (is_it(own, (int)number)) {
        move_high(own, (int)number);
        return number_of(own);
    }
    raw_syscall4(SYS_close, number, 0, 0, 0);
    return -1;
}

bool descriptor_sound(enum descriptor_kind kind) {
    return is_it(&mw.descriptors.own[kind], number_of(&mw.descriptors.own[kind]));
}

MW_SIGNAL_SAFE int descriptor_hold(enum descriptor_kind kind) {
    struct descriptor *own = &mw.descriptors.own[kind];
    lock_take(&mw.descriptors.lock, thread_id());
    int number = number_of(own);
    return number < 0 || likely(is_it(own, number)) ? number : open_again(own);
}

MW_SIGNAL_SAFE void descriptor_let_go(void) { lock_release(&mw.descriptors.lock); }

struct descriptor_turn descriptor_enter(enum descriptor_kind kind) {
    struct descriptor_turn turn = {.mask = mask_signals()};
    turn.number = descriptor_hold(kind);
    return turn;
}

void descriptor_leave(const struct descriptor_turn *turn) { descriptor_unlock(turn->mask); }

MW_SIGNAL_SAFE bool descriptor_take(enum descriptor_kind kind, int number, const char *path, int flags) {
    struct descriptor *own = &mw.descriptors.own[kind];
    struct stat file, named;
    size_t length = path ? strlen(path) : 0;
    if (raw_syscall4(SYS_fstat, number, (long)&file, 0, 0)) return false;
    /* Since it was opened, another thread may have closed it, and opened another file at its number. */
    bool taken = !path || (!raw_syscall4(SYS_lstat, (long)path, (long)&named, 0, 0) && named.st_dev == file.st_dev &&
                           named.st_ino == file.st_ino);
    taken &= length < sizeof own->path;
    if (!taken) {
        errno = EBADF;
        return false;
    }
    uint64_t mask = descriptor_lock();
    own->device = file.st_dev;
    own->inode = file.st_ino;
    own->flags = flags;
    memcpy(own->path, path ? path : "", length + 1);
    move_high(own, number);
    descriptor_unlock(mask);
    return true;
}

MW_SIGNAL_SAFE void descriptor_close(enum descriptor_kind kind) {
    struct descriptor *own = &mw.descriptors.own[kind];
    uint64_t mask = descriptor_lock();
    int number = atomic_exchange(&own->number, -1);
    if (is_it(own, number)) raw_syscall4(SYS_close, number, 0, 0, 0);
    descriptor_unlock(mask);
}

MW_SIGNAL_SAFE void descriptor_forget(enum descriptor_kind kind) { atomic_store(&mw.descriptors.own[kind].number, -1); }

void descriptor_rename(enum descriptor_kind from, enum descriptor_kind to) {
    uint64_t mask = descriptor_lock();
    mw.descriptors.own[to] = mw.descriptors.own[from];
    atomic_store(&mw.descriptors.own[from].number, -1);
    descriptor_unlock(mask);
}

MW_SIGNAL_SAFE void descriptor_forked(void) {
    lock_release(&mw.descriptors.lock); /* the parent's */
    mw.descriptors.pid = (int)raw_syscall4(SYS_getpid, 0, 0, 0, 0);
}

/* ---- what an adapter asks to be kept ---- */

int mw_descriptor_keep(int number) {
    struct stat file;
    if (fstat(number, &file)) return MW_ERR_DESCRIPTOR;
    uint64_t mask = descriptor_lock();
    int kept = MW_ERR_LIMIT;
    for (int i = DESCRIPTOR_KEPT; i < DESCRIPTORS && kept < 0; i++) {
        struct descriptor *own = &mw.descriptors.own[i];
        if (number_of(own) >= 0 && is_it(own, number_of(own))) continue;
        own->device = file.st_dev;
        own->inode = file.st_ino;
        own->path[0] = 0;
        move_high(own, number);
        kept = number_of(own);
    }
    descriptor_unlock(mask);
    return kept;
}

int mw_descriptor_close(int number) {
    for (int i = DESCRIPTOR_KEPT; i < DESCRIPTORS; i++)
        if (number >= 0 && number_of(&mw.descriptors.own[i]) == number) {
            descriptor_close(i);
            return MW_OK;
        }
    return MW_ERR_DESCRIPTOR;
}

/* ---- for calls of the program ---- */

MW_SIGNAL_SAFE int descriptor_find(int number) {
    for (int i = 0; i < DESCRIPTORS; i++)
        if (unlikely(number_of(&mw.descriptors.own[i]) == number))
            return number >= 0 && raw_syscall4(SYS_getpid, 0, 0, 0, 0) == mw.descriptors.pid &&
                           is_it(&mw.descriptors.own[i], number)
                       ? i
                       : -1;
    return -1;
}

MW_SIGNAL_SAFE int descriptor_within(unsigned first, unsigned last, unsigned *spared) {
    int count = 0;
    for (int i = 0; i < DESCRIPTORS; i++) {
        int number = number_of(&mw.descriptors.own[i]), at = count;
        if (number < 0 || (unsigned)number < first || (unsigned)number > last || descriptor_find(number) < 0) continue;
        for (; at && spared[at - 1] > (unsigned)number; at--) spared[at] = spared[at - 1];
        spared[at] = (unsigned)number;
        count++;
    }
    return count;
}

bool descriptor_move(int which, int number) {
    struct descriptor *own = &mw.descriptors.own[which];
    uint64_t mask = descriptor_lock();
    bool there = number_of(own) == number;
    int copy = there && which < DESCRIPTOR_KEPT ? copy_high(number) : -1;
    if (there && (copy >= 0 || which >= DESCRIPTOR_KEPT))
        atomic_store(&own->number, copy); /* an adapter opens it again */
    descriptor_unlock(mask);
    return !there || copy >= 0;
}

bool descriptor_was_at(int which, int number) {
    return number_of(&mw.descriptors.own[which]) != number && is_it(&mw.descriptors.own[which], number);
}
