/* descriptors.c - the few descriptors that stay open: userfaultfd (closing it would end the protection), the journal
 * (to grow it), the file that its reader holds locked; and what an adapter asks to be kept.
 *
 * A program may close what it has never opened: daemons do, with everything. Its own files then get those numbers. So
 * that none of ours is ever used for what isn't ours,
 *   - each is moved to a high number, out of the way of closerange(3, 256) and of dup2;
 *   - calls of libc that would close it spare it, and report what they would without us: there is no such descriptor;
 *     those that put another file in its place have it moved away first (interpose.c leads them here, all the time);
 *   - before each use, device and inode are compared. The program has other ways to close it: raw system calls. What we
 *     have mapped, or what protects our pages, can't have its inode used again meanwhile;
 *   - where ours is gone, it is opened again by its path, if the same file is there; if not, the journal counts what is
 *     lost, and in place of userfaultfd pages are protected by mprotect (uffd.c).
 * A thread with a table of its own could hold them where no program gets at them. None is made for this: Python warns
 * of threads at each fork, unshare(2) and setns(2) are refused to a process that has any, and setuid would leave one
 * that libc doesn't know behind with its rights. An io_uring that is mapped could hold userfaultfd without any
 * descriptor; sandboxes refuse it, and watchers of machines take it for an attack.
 *
 * A child of vfork runs in our memory, with descriptors of its own: whatever it does to them is let through, and
 * nothing is written down. close_range(2), dup(2), vfork(2). */
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE (1U << 1)
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif
#define HIGH 1024u /* not higher: the kernel's table of descriptors is as long as the highest, and copied by fork */

/* ---- ours ---- */

MW_SIGNAL_SAFE static int number_of(const struct own *own) {
    return atomic_load_explicit(&own->number, memory_order_acquire);
}

MW_SIGNAL_SAFE static bool is_it(const struct own *own, int number) {
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

MW_SIGNAL_SAFE static void move_high(struct own *own, int number) {
    int copy = copy_high(number);
    atomic_store(&own->number, copy > number ? copy : number);
    if (copy >= 0 && is_it(own, copy > number ? number : copy))
        raw_syscall4(SYS_close, copy > number ? number : copy, 0, 0, 0);
    mw.own_pid = (int)raw_syscall4(SYS_getpid, 0, 0, 0, 0);
}

MW_SIGNAL_SAFE static uint64_t lock_own(void) {
    uint64_t all = ~0ull, mask; /* a handler of the program's could ask for the same */
    raw_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&mask, 8);
    lock_take(&mw.own_lock, thread_id());
    return mask;
}

MW_SIGNAL_SAFE static void unlock_own(uint64_t mask) {
    lock_release(&mw.own_lock);
    raw_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, 0, 8);
}

/* The program has closed it. */
MW_SIGNAL_SAFE static int open_again(struct own *own) {
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

bool own_sound(enum own_kind kind) { return is_it(&mw.own[kind], number_of(&mw.own[kind])); }

MW_SIGNAL_SAFE int own_hold(enum own_kind kind) {
    struct own *own = &mw.own[kind];
    lock_take(&mw.own_lock, thread_id());
    int number = number_of(own);
    return number < 0 || likely(is_it(own, number)) ? number : open_again(own);
}

MW_SIGNAL_SAFE void own_let_go(void) { lock_release(&mw.own_lock); }

struct own_turn own_enter(enum own_kind kind) {
    uint64_t all = ~0ull;
    struct own_turn turn;
    raw_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&turn.mask, 8);
    turn.number = own_hold(kind);
    return turn;
}

void own_leave(const struct own_turn *turn) { unlock_own(turn->mask); }

MW_SIGNAL_SAFE bool own_take(enum own_kind kind, int number, const char *path, int flags) {
    struct own *own = &mw.own[kind];
    struct stat file, named;
    size_t length = path ? strlen(path) : 0;
    if (raw_syscall4(SYS_fstat, number, (long)&file, 0, 0)) return false;
    /* Between its opening and now, another thread may have closed it, and opened something else. */
    bool taken = !path || (!raw_syscall4(SYS_lstat, (long)path, (long)&named, 0, 0) && named.st_dev == file.st_dev &&
                           named.st_ino == file.st_ino);
    taken &= length < sizeof own->path;
    if (!taken) {
        errno = EBADF;
        return false;
    }
    uint64_t mask = lock_own();
    own->device = file.st_dev;
    own->inode = file.st_ino;
    own->flags = flags;
    memcpy(own->path, path ? path : "", length + 1);
    move_high(own, number);
    unlock_own(mask);
    return true;
}

MW_SIGNAL_SAFE void own_close(enum own_kind kind) {
    struct own *own = &mw.own[kind];
    uint64_t mask = lock_own();
    int number = atomic_exchange(&own->number, -1);
    if (is_it(own, number)) raw_syscall4(SYS_close, number, 0, 0, 0);
    unlock_own(mask);
}

MW_SIGNAL_SAFE void own_forget(enum own_kind kind) { atomic_store(&mw.own[kind].number, -1); }

void own_rename(enum own_kind from, enum own_kind to) {
    uint64_t mask = lock_own();
    mw.own[to] = mw.own[from];
    atomic_store(&mw.own[from].number, -1);
    unlock_own(mask);
}

MW_SIGNAL_SAFE void own_forked(void) {
    lock_release(&mw.own_lock); /* the parent's */
    mw.own_pid = (int)raw_syscall4(SYS_getpid, 0, 0, 0, 0);
}

/* ---- what an adapter asks to be kept ---- */

int mw_descriptor_keep(int number) {
    struct stat file;
    if (fstat(number, &file)) return MW_ERR_DESCRIPTOR;
    uint64_t mask = lock_own();
    int kept = MW_ERR_LIMIT;
    for (int i = OWN_KEPT; i < OWNS && kept < 0; i++) {
        struct own *own = &mw.own[i];
        if (number_of(own) >= 0 && is_it(own, number_of(own))) continue;
        own->device = file.st_dev;
        own->inode = file.st_ino;
        own->path[0] = 0;
        move_high(own, number);
        kept = number_of(own);
    }
    unlock_own(mask);
    return kept;
}

int mw_descriptor_close(int number) {
    for (int i = OWN_KEPT; i < OWNS; i++)
        if (number >= 0 && number_of(&mw.own[i]) == number) {
            own_close(i);
            return MW_OK;
        }
    return MW_ERR_DESCRIPTOR;
}

/* ---- calls of the program ---- */

/* Which of ours it is; -1: none. */
MW_SIGNAL_SAFE static int find(int number) {
    for (int i = 0; i < OWNS; i++)
        if (unlikely(number_of(&mw.own[i]) == number))
            return number >= 0 && raw_syscall4(SYS_getpid, 0, 0, 0, 0) == mw.own_pid && is_it(&mw.own[i], number) ? i
                                                                                                                  : -1;
    return -1;
}

int replaced_close(int number) {
    if (likely(find(number) < 0)) return close(number);
    errno = EBADF;
    return -1;
}

FILE *replaced_fdopen(int number, const char *mode) { /* and fclose() would close it */
    if (likely(find(number) < 0)) return fdopen(number, mode);
    errno = EBADF;
    return NULL;
}

/* Puts ours elsewhere. False: there is no other number, and it can't be done without. */
static bool move_away(int which, int number) {
    struct own *own = &mw.own[which];
    uint64_t mask = lock_own();
    bool there = number_of(own) == number;
    int copy = there && which < OWN_KEPT ? copy_high(number) : -1;
    if (there && (copy >= 0 || which >= OWN_KEPT)) atomic_store(&own->number, copy); /* an adapter opens it again */
    unlock_own(mask);
    return !there || copy >= 0 || which != OWN_UFFD || uffd_do_without();
}

static int put(int from, int to, int flags, bool with_flags) {
    int which = from == to ? -1 : find(to);
    if (unlikely(which >= 0) && !move_away(which, to)) {
        errno = EBUSY;
        return -1;
    }
    int result = with_flags ? dup3(from, to, flags) : dup2(from, to);
    if (which == OWN_UFFD) queue_look_again();
    if (unlikely(to == 2) && from != 2 && result == 2 && raw_syscall4(SYS_getpid, 0, 0, 0, 0) == mw.own_pid)
        tell_redirected();
    if (unlikely(which >= 0) && result < 0 && number_of(&mw.own[which]) != to && is_it(&mw.own[which], to)) {
        int why = errno;
        close(to); /* where ours was: without us, there would be nothing either */
        errno = why;
    }
    return result;
}

int replaced_dup2(int from, int to) { return put(from, to, 0, false); }
int replaced_dup3(int from, int to, int flags) { return put(from, to, flags, true); }

/* Those of ours within the range, in order. */
MW_SIGNAL_SAFE static int within(unsigned first, unsigned last, unsigned *spared) {
    int count = 0;
    for (int i = 0; i < OWNS; i++) {
        int number = number_of(&mw.own[i]), at = count;
        if (number < 0 || (unsigned)number < first || (unsigned)number > last || find(number) < 0) continue;
        for (; at && spared[at - 1] > (unsigned)number; at--) spared[at] = spared[at - 1];
        spared[at] = (unsigned)number;
        count++;
    }
    return count;
}

static int close_numbers(unsigned first, unsigned last, unsigned flags) {
    long failed = raw_syscall4(SYS_close_range, first, last, flags, 0);
    if (failed) errno = (int)-failed;
    return failed ? -1 : 0;
}

int replaced_close_range(unsigned first, unsigned last, int flags) {
    unsigned spared[OWNS], from = first;
    if (flags & (int)CLOSE_RANGE_CLOEXEC || !within(first, last, spared)) /* ours have that flag */
        return close_numbers(first, last, (unsigned)flags);
    uint64_t mask = lock_own();
    int count = within(first, last, spared), failed = 0;
    for (int i = 0; i < count && !failed; from = spared[i++] + 1) {
        if (spared[i] == from) continue;
        failed = close_numbers(from, spared[i] - 1, (unsigned)flags);
        flags = 0; /* the table is this thread's own now, if that was asked for */
    }
    if (!failed && from <= last) failed = close_numbers(from, last, (unsigned)flags);
    unlock_own(mask);
    return failed;
}

void replaced_closefrom(int first) {
    struct rlimit limit;
    if (first < 0) first = 0;
    if (!replaced_close_range((unsigned)first, UINT_MAX, 0) || getrlimit(RLIMIT_NOFILE, &limit)) return;
    for (rlim_t number = (rlim_t)first; number < limit.rlim_cur; number++) replaced_close((int)number); /* a sandbox */
}

/* syscall(2) with one of these numbers is redirected by the code below, which leaves no frame behind: other calls may
 * return twice. */
MW_HIDDEN void process_system_call(void); /* process.c */
MW_HIDDEN long own_system_call(long number, long a, long b, long c);
long own_system_call(long number, long a, long b, long c) {
    switch (number) {
    case SYS_close: return replaced_close((int)a);
    case SYS_dup2: return replaced_dup2((int)a, (int)b);
    case SYS_dup3: return replaced_dup3((int)a, (int)b, (int)c);
    default: return replaced_close_range((unsigned)a, (unsigned)b, (int)c);
    }
}

__asm__(".text\n"
        ".hidden replaced_syscall\n"
        ".globl replaced_syscall\n"
        ".type replaced_syscall, @function\n"
        "replaced_syscall:\n"
        "    .cfi_startproc\n"
        "    endbr64\n"
        "    cmp $3, %rdi\n" /* SYS_close */
        "    je 1f\n"
        "    cmp $33, %rdi\n" /* SYS_dup2 */
        "    je 1f\n"
        "    cmp $292, %rdi\n" /* SYS_dup3 */
        "    je 1f\n"
        "    cmp $436, %rdi\n" /* SYS_close_range */
        "    je 1f\n"
        "    jmp process_system_call\n"
        "1:  jmp own_system_call\n"
        "    .cfi_endproc\n"
        ".size replaced_syscall, . - replaced_syscall\n");
static_assert(SYS_close == 3 && SYS_dup2 == 33 && SYS_dup3 == 292 && SYS_close_range == 436, "as in the code above");
