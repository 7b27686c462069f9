/* descriptor_calls.c - calls that close descriptors, or put another file in their place, as the program's modules see
 * them (import_tables.c): ours are spared, or moved away first. close_range(2), dup(2). */
#include "calls/descriptor_calls.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/descriptors.h"
#include "base/messages.h"
#include "base/syscalls.h"
#include "calls/memory_calls.h"
#include "calls/process_calls.h"
#include "memory/userfaultfd.h"
#include "state.h"
#include "stores/tracker_uffd_queue.h"

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE (1U << 1)
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

int replaced_close(int number) {
    if (likely(descriptor_find(number) < 0)) return close(number);
    errno = EBADF;
    return -1;
}

FILE *replaced_fdopen(int number, const char *mode) { /* and fclose() would close it */
    if (likely(descriptor_find(number) < 0)) return fdopen(number, mode);
    errno = EBADF;
    return NULL;
}

/* Puts ours elsewhere. False: there is no other number, and it can't be done without. */
static bool move_away(int which, int number) {
    return descriptor_move(which, number) || which != DESCRIPTOR_UFFD || uffd_do_without();
}

static int put(int from, int to, int flags, bool with_flags) {
    int which = from == to ? -1 : descriptor_find(to);
    if (unlikely(which >= 0) && !move_away(which, to)) {
        errno = EBUSY;
        return -1;
    }
    int result = with_flags ? dup3(from, to, flags) : dup2(from, to);
    if (which == DESCRIPTOR_UFFD) queue_look_again();
    if (unlikely(to == 2) && from != 2 && result == 2 && raw_syscall4(SYS_getpid, 0, 0, 0, 0) == mw.descriptors.pid)
        tell_redirected();
    if (unlikely(which >= 0) && result < 0 && descriptor_was_at(which, to)) {
        int why = errno;
        close(to); /* where ours was: without us, there would be nothing either */
        errno = why;
    }
    return result;
}

int replaced_dup2(int from, int to) { return put(from, to, 0, false); }
int replaced_dup3(int from, int to, int flags) { return put(from, to, flags, true); }

static int close_numbers(unsigned first, unsigned last, unsigned flags) {
    long failed = raw_syscall4(SYS_close_range, first, last, flags, 0);
    if (failed) errno = (int)-failed;
    return failed ? -1 : 0;
}

int replaced_close_range(unsigned first, unsigned last, int flags) {
    unsigned spared[DESCRIPTORS], from = first;
    if (flags & (int)CLOSE_RANGE_CLOEXEC || !descriptor_within(first, last, spared)) /* ours have that flag */
        return close_numbers(first, last, (unsigned)flags);
    uint64_t mask = descriptor_lock();
    int count = descriptor_within(first, last, spared), failed = 0;
    for (int i = 0; i < count && !failed; from = spared[i++] + 1) {
        if (spared[i] == from) continue;
        failed = close_numbers(from, spared[i] - 1, (unsigned)flags);
        flags = 0; /* the table is this thread's own now, if that was asked for */
    }
    if (!failed && from <= last) failed = close_numbers(from, last, (unsigned)flags);
    descriptor_unlock(mask);
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
        "    cmp $28, %rdi\n" /* the highest of mmap, mprotect, munmap, brk, mremap, madvise: memory_calls.c */
        "    jbe 2f\n"
        "    cmp $216, %rdi\n" /* SYS_remap_file_pages */
        "    je 2f\n"
        "    cmp $329, %rdi\n" /* SYS_pkey_mprotect */
        "    je 2f\n"
        "    jmp process_system_call\n"
        "1:  jmp own_system_call\n"
        "2:  cmp $9, %rdi\n"
        "    jb process_system_call\n"
        "    push %rdi\n"
        "    push %rsi\n"
        "    push %rdx\n"
        "    push %rcx\n"
        "    push %r8\n"
        "    push %r9\n"
        "    push 48(%rsp)\n" /* where syscall() returns to */
        "    .cfi_adjust_cfa_offset 56\n"
        "    call memory_system_call\n"
        "    pop %r9\n"
        "    pop %r9\n"
        "    pop %r8\n"
        "    pop %rcx\n"
        "    pop %rdx\n"
        "    pop %rsi\n"
        "    pop %rdi\n"
        "    .cfi_adjust_cfa_offset -56\n"
        "    jmp process_system_call\n"
        "    .cfi_endproc\n"
        ".size replaced_syscall, . - replaced_syscall\n");
static_assert(SYS_close == 3 && SYS_dup2 == 33 && SYS_dup3 == 292 && SYS_close_range == 436, "as in the code above");
static_assert(SYS_mmap == 9 && SYS_madvise == 28 && SYS_remap_file_pages == 216 && SYS_pkey_mprotect == 329,
              "as in the code above");
