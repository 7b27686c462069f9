/* process_calls.c - calls that change what a process is, as the program's modules see them (import_tables.c): forks
 * that pthread_atfork(3) isn't told of, and changes of its user.
 *
 * _Fork(), clone() with memory of its own, and both system calls by syscall(): the child gets what a child of fork()
 * gets. One that shares its parent's memory, or runs on a stack of its own after a bare system call, is none of ours.
 * A process that gives up its user, or changes its root, may no longer make a file in the session's folder: it is made
 * before. */
#include "calls/process_calls.h"

#include <sched.h>
#include <stdarg.h>
#include <unistd.h>

#include "journal/journal_file.h"
#include "process/fork.h"

pid_t (*process_Fork)(void); /* glibc 2.34 */
pid_t replaced__Fork(void) {
    fork_begins();
    return fork_ended(process_Fork(), false);
}

/* A bare system call, from descriptors.c: what it is told goes through as it is, but for a fork. */
MW_HIDDEN long process_forks(long number, unsigned long flags, void *stack, void *parent, void *child, void *tls);
__asm__(".text\n"
        ".globl process_system_call\n"
        ".hidden process_system_call\n"
        ".type process_system_call, @function\n"
        "process_system_call:\n"
        "    .cfi_startproc\n"
        "    endbr64\n"
        "    cmp $57, %rdi\n" /* SYS_fork */
        "    je process_forks\n"
        "    cmp $56, %rdi\n" /* SYS_clone */
        "    jne 1f\n"
        "    test $0x100, %rsi\n" /* CLONE_VM */
        "    jnz 1f\n"
        "    test %rdx, %rdx\n" /* a stack: it wouldn't find its way back through ours */
        "    jz process_forks\n"
        "1:  jmp *syscall@GOTPCREL(%rip)\n"
        "    .cfi_endproc\n"
        ".size process_system_call, . - process_system_call\n");
static_assert(SYS_fork == 57 && SYS_clone == 56 && CLONE_VM == 0x100, "as in the code above");

long process_forks(long number, unsigned long flags, void *stack, void *parent, void *child, void *tls) {
    fork_begins();
    pid_t result = (pid_t)syscall(number, flags, stack, parent, child, tls);
    return fork_ended(result, number == SYS_clone && flags & CLONE_FILES);
}

struct start {
    int (*function)(void *);
    void *argument;
    bool shares_files;
};

static int run_child(void *data) {
    struct start *start = data; /* on the parent's stack, of which this is a copy */
    fork_ended(0, start->shares_files);
    return start->function(start->argument);
}

int replaced_clone(int (*function)(void *), void *stack, int flags, void *argument, ...) {
    struct start start = {function, argument, flags & CLONE_FILES};
    va_list more;
    va_start(more, argument);
    pid_t *parent = va_arg(more, pid_t *);
    void *tls = va_arg(more, void *);
    pid_t *child = va_arg(more, pid_t *);
    va_end(more);
    if (flags & CLONE_VM || !function || !stack) return clone(function, stack, flags, argument, parent, tls, child);
    fork_begins();
    return fork_ended(clone(run_child, stack, flags, &start, parent, tls, child), false);
}

#define LEAVES_THE_FOLDER(name, parameters, arguments)                                                                 \
    int replaced_##name parameters {                                                                                   \
        journal_file_reserve();                                                                                        \
        return name arguments;                                                                                         \
    }
LEAVES_THE_FOLDER(setuid, (uid_t user), (user))
LEAVES_THE_FOLDER(seteuid, (uid_t user), (user))
LEAVES_THE_FOLDER(setreuid, (uid_t real, uid_t effective), (real, effective))
LEAVES_THE_FOLDER(setresuid, (uid_t real, uid_t effective, uid_t saved), (real, effective, saved))
LEAVES_THE_FOLDER(chroot, (const char *path), (path))
