/* kernel_writes.c - what the kernel writes to watched pages by itself: in system calls that aren't redirected, for
 * other processes, by io_uring. Under uffd-queue only; elsewhere it fails with EFAULT.
 *
 * The kernel can't be made to write elsewhere. So its page is opened for a moment, under the page's lock, protected
 * again, and compared with what it held: what differs is the event, its extent is not certain, and a store of another
 * thread to the same page in that moment is in it. If the kernel hadn't come to write yet, it asks again, and the next
 * moment is longer.
 *
 * It may also have pinned the page, and write later and unasked (direct I/O, io_uring's registered buffers). So the
 * page goes on being compared: before anybody else writes to it, and from time to time; until the system call is over,
 * or, of those that outlive their call, as long as it is in use. proc_pid_syscall(5). */
#include "stores/kernel_writes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/thread.h"
#include "journal/journal_format.h"
#include "journal/registry.h"
#include "memory/arena.h"
#include "memory/userfaultfd.h"
#include "memwatch.h"
#include "state.h"

#define MICROSECOND 1000u
#define MILLISECOND 1000000u
#define MOMENT_MIN (200 * MICROSECOND)
#define MOMENT_MAX (8 * MILLISECOND)
#define UNKNOWN_CALL (MWJ_CALL_KERNEL + 0xffffu)

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

MW_SIGNAL_SAFE static uint8_t *known(uint32_t page) { return mw.kernel_writes.known + ((uint64_t)page << PAGE_SHIFT); }

/* ---- who asks ---- */

static bool has_descriptor(long call) { /* as its first argument */
    switch (call) {
    case SYS_read:
    case SYS_pread64:
    case SYS_readv:
    case SYS_preadv:
    case SYS_preadv2:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_recvmmsg:
    case SYS_ioctl:
    case SYS_getdents64:
    case SYS_fstat:
    case SYS_getsockopt:
    case SYS_readlinkat:
    case SYS_io_uring_enter: return true;
    default: return false;
    }
}

/* Whether it does what it is about to do, and returns, though a signal is pending. Others would be cut short by one:
 * those that wait once more after they have written (MSG_WAITALL), or look for signals in between. */
static bool is_holdable(long call, const unsigned long arguments[6]) {
    switch (call) {
    case SYS_recvfrom: return !(arguments[3] & MSG_WAITALL);
    case SYS_recvmsg: return !(arguments[2] & MSG_WAITALL);
    case SYS_read:
    case SYS_pread64:
    case SYS_readv:
    case SYS_preadv:
    case SYS_preadv2:
    case SYS_getdents64:
    case SYS_fstat:
    case SYS_stat:
    case SYS_lstat:
    case SYS_newfstatat:
    case SYS_statx:
    case SYS_getsockopt:
    case SYS_readlink:
    case SYS_readlinkat:
    case SYS_getcwd:
    case SYS_uname:
    case SYS_process_vm_readv:
    case SYS_process_vm_writev: return true;
    default: return false;
    }
}

/* Whether memory may stay pinned, or be written to, when the call has returned. */
static bool outlives(uint32_t name) {
    switch (name - MWJ_CALL_KERNEL) {
    case SYS_io_submit:
    case SYS_vmsplice:
    case SYS_io_uring_enter:
    case SYS_io_uring_register: return true;
    default: return name == UNKNOWN_CALL;
    }
}

/* What /proc/self/task/<tid>/<name> says; its length, or less than 1: -errno if it can't be opened. */
static ssize_t ask(uint32_t tid, const char *name, char *text, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%u/%s", tid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    ssize_t n = read(fd, text, size - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    return n;
}

enum whereabouts kernel_where(struct kernel_caller *caller, uintptr_t *instruction) {
    char text[256], path[32];
    caller->call = (struct mwj_call){.name = UNKNOWN_CALL, .fd = -1};
    caller->holdable = false;
    ssize_t length = ask(caller->tid, "syscall", text, sizeof text);
    if (length == -EMFILE || length == -ENFILE) return NOT_TOLD;
    if (length <= 0) {
        snprintf(path, sizeof path, "/proc/%u", caller->tid);
        return !caller->tid || !access(path, F_OK) ? IN_OTHER_PROCESS : GONE;
    }
    long call;
    unsigned long n[6];
    int found =
        sscanf(text, "%ld 0x%lx 0x%lx 0x%lx 0x%lx 0x%lx 0x%lx", &call, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5]);
    if (found < 3) return ON_ITS_WAY; /* "running" */
    if (call == -1 && n[1]) {         /* behind the stack pointer */
        *instruction = n[1];
        return IN_USER_CODE;
    }
    if (call == -1 || found < 7) return IN_SYSTEM_CALL; /* a worker of io_uring */
    caller->call.name = MWJ_CALL_KERNEL + ((uint32_t)call & 0xffff);
    caller->holdable = is_holdable(call, n);
    if (has_descriptor(call)) caller->call.fd = (int)n[0];
    return IN_SYSTEM_CALL;
}

bool kernel_waits(uint32_t tid) {
    char text[128];
    return ask(tid, "wchan", text, sizeof text) > 0 && strstr(text, "userfault");
}

static uint64_t signals_in(const char *status, const char *which) {
    const char *at = strstr(status, which);
    return at ? strtoull(at + strlen(which), NULL, 16) : 0;
}

bool kernel_interrupted(uint32_t tid) {
    char text[4096];
    if (ask(tid, "status", text, sizeof text) <= 0) return false;
    return (signals_in(text, "SigPnd:") | signals_in(text, "ShdPnd:")) & ~signals_in(text, "SigBlk:");
}

/* Whether it is known to have returned from the call in which it asked. */
static bool has_returned(const struct kernel_caller *caller) {
    struct kernel_caller present = {.tid = caller->tid};
    uintptr_t instruction;
    switch (kernel_where(&present, &instruction)) {
    case IN_SYSTEM_CALL: return present.call.name != caller->call.name;
    case ON_ITS_WAY: return false;
    default: return true;
    }
}

/* ---- what it did ---- */

MW_SIGNAL_SAFE bool kernel_settle(uint32_t page) {
    struct admitted_page *a = &mw.kernel_writes.pages[page];
    uint8_t *before = known(page), *after = mw.kernel_writes.fresh + ((uint64_t)page << PAGE_SHIFT);
    if (!a->compared || !memcmp(before, arena_writable(page), MW_PAGE_SIZE)) return false;
    memcpy(after, arena_writable(page), MW_PAGE_SIZE);
    registry_record_kernel(page, before, after, a->unseen ? a->offset : -1, &a->caller);
    memcpy(before, after, MW_PAGE_SIZE);
    a->unseen = false;
    return true;
}

MW_SIGNAL_SAFE void kernel_except(uint32_t page, uint32_t offset, const uint8_t *bytes, uint32_t length) {
    if (mw.kernel_writes.pages[page].compared) memcpy(known(page) + offset, bytes, length);
}

static void compare_no_more(struct admitted_page *a) {
    if (a->compared) atomic_fetch_sub(&mw.kernel_writes.compared, 1);
    a->compared = a->unseen = false;
}

void kernel_forget(uint32_t first, size_t n) {
    for (uint32_t page = first; kernel_writes() && page < first + n; page++) {
        lock_take(&mw.arena.pages[page].lock, thread_id());
        compare_no_more(&mw.kernel_writes.pages[page]);
        lock_release(&mw.arena.pages[page].lock);
    }
}

static void begin_comparing(uint32_t page, struct admitted_page *a) {
    if (!a->compared) {
        memcpy(known(page), arena_writable(page), MW_PAGE_SIZE);
        atomic_fetch_add(&mw.kernel_writes.compared, 1);
        a->compared = true;
    }
    if (!a->listed) mw.kernel_writes.list[mw.kernel_writes.count++] = page;
    a->listed = true;
}

/* What it asked for is done, and has changed nothing. */
static void record_unseen(uint32_t page, struct admitted_page *a) {
    registry_record_kernel(page, known(page), known(page), a->offset, &a->caller);
    a->unseen = false;
}

/* Notes who asks; returns for how many ns the page is to be open: longer each time that it was too short. */
static uint64_t note(uint32_t page, struct admitted_page *a, uintptr_t address, const struct kernel_caller *caller) {
    uint16_t offset = (uint16_t)(address & PAGE_MASK);
    begin_comparing(page, a);
    kernel_settle(page);
    if (a->unseen && (a->caller.tid != caller->tid || a->offset != offset)) record_unseen(page, a);
    if (!a->unseen) a->moment = MOMENT_MIN / 2;
    a->moment = 2 * a->moment < MOMENT_MAX ? 2 * a->moment : MOMENT_MAX;
    a->caller = *caller;
    a->offset = offset;
    a->since = now();
    a->unseen = true;
    return a->moment;
}

/* Until something has been written, or, better, the writer has arrived where it is held; or for so many ns. */
static void let_write(uint32_t page, const struct kernel_caller *caller, bool held, uint64_t most) {
    for (uint64_t start = now(); now() - start < most;) {
        bool done = held ? atomic_load(kernel_hold_of(caller->tid)) != caller->tid
                         : memcmp(known(page), arena_writable(page), MW_PAGE_SIZE) != 0;
        if (done) return;
        nanosleep(&(struct timespec){0, 2000}, NULL);
    }
}

/* Has the thread meet a signal when its system call is over: it might store to the page before that is protected. */
static bool hold(uintptr_t address, const struct kernel_caller *caller) {
    _Atomic uint32_t *held = kernel_hold_of(caller->tid);
    if (atomic_load(held) == caller->tid) return true;
    if (!caller->holdable) return false;
    mw.kernel_writes.holders[caller->tid % HOLDS] = *caller;
    atomic_store(held, caller->tid);
    if (uffd_signal(caller->tid, THREAD_HELD, address, 0)) return true;
    atomic_store(held, 0);
    return false;
}

void kernel_admit(uintptr_t address, const struct kernel_caller *caller) {
    uint64_t open_for = MOMENT_MIN;
    uint32_t page = arena_page_at(address);
    bool used = page != NO_PAGE;
    uintptr_t start = address & ~PAGE_MASK;
    if (!used) page = in_arena(start) ? (uint32_t)((start - mw.arena.watched) >> PAGE_SHIFT) : NO_PAGE;
    if (page == NO_PAGE) { /* was adopted, and is ordinary memory again */
        uffd_protect(start, MW_PAGE_SIZE, false);
        return;
    }
    struct admitted_page *a = &mw.kernel_writes.pages[page];
    lock_take(&mw.arena.pages[page].lock, thread_id());
    used = arena_page_at(address) == page;
    if (used) open_for = note(page, a, address, caller);
    bool held = hold(address, caller);
    uffd_protect(start, MW_PAGE_SIZE, false);
    let_write(page, caller, held, open_for);
    uffd_protect(start, MW_PAGE_SIZE, true);
    if (used)
        kernel_settle(page);
    else
        memset(arena_writable(page), 0, MW_PAGE_SIZE); /* free pages are zero */
    page_release(page);
}

/* One page of the list. False: it needs no further comparing. *age: ns since something happened to it. */
static bool compare(uint32_t page, uint64_t *age) {
    struct admitted_page *a = &mw.kernel_writes.pages[page];
    lock_take(&mw.arena.pages[page].lock, thread_id());
    bool returned = a->compared && !outlives(a->caller.call.name) && has_returned(&a->caller);
    if (kernel_settle(page)) a->since = now();
    *age = now() - a->since;
    if (a->unseen && (returned || *age > 100 * MILLISECOND)) record_unseen(page, a);
    if (returned || (!outlives(a->caller.call.name) && *age > 1000 * MILLISECOND)) compare_no_more(a);
    bool on = a->compared;
    a->listed = on;
    page_release(page);
    return on;
}

int kernel_compare(void) {
    uint64_t youngest = UINT64_MAX, age;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < mw.kernel_writes.count; i++) {
        if (!compare(mw.kernel_writes.list[i], &age)) continue;
        mw.kernel_writes.list[kept++] = mw.kernel_writes.list[i];
        if (age < youngest) youngest = age;
    }
    mw.kernel_writes.count = kept;
    return !kept ? -1 : youngest < 100 * MILLISECOND ? 1 : youngest < 10000ull * MILLISECOND ? 10 : 100;
}

int kernel_open(void) {
    size_t pages = mw.arena.reserved >> PAGE_SHIFT;
    if (mw.kernel_writes.pages) { /* a forked child: nothing is pinned here */
        for (uint32_t i = 0; i < mw.kernel_writes.count; i++)
            mw.kernel_writes.pages[mw.kernel_writes.list[i]] = (struct admitted_page){0};
        mw.kernel_writes.count = 0;
        atomic_store(&mw.kernel_writes.compared, 0);
        memset(mw.kernel_writes.held, 0, sizeof mw.kernel_writes.held);
        return MW_OK;
    }
    mw.kernel_writes.pages = arena_table(pages * sizeof *mw.kernel_writes.pages);
    mw.kernel_writes.list = arena_table(pages * sizeof *mw.kernel_writes.list);
    mw.kernel_writes.known = arena_table(mw.arena.reserved);
    mw.kernel_writes.fresh = arena_table(mw.arena.reserved);
    return mw.kernel_writes.pages && mw.kernel_writes.list && mw.kernel_writes.known && mw.kernel_writes.fresh
               ? MW_OK
               : MW_ERR_NO_MEMORY;
}
