/* syscalls.h - system calls without libc: no errno, no cancellation point, no interposed wrapper. Async-signal-safe. */
#ifndef MEMWATCH_SYSCALLS_H
#define MEMWATCH_SYSCALLS_H
#include <sys/syscall.h>

static inline long raw_syscall6(long number, long a, long b, long c, long d, long e, long f) {
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static inline long raw_syscall4(long number, long a, long b, long c, long d) {
    return raw_syscall6(number, a, b, c, d, 0, 0);
}
#endif
