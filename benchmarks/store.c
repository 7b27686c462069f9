/* store.c - the loops that benchmarks/store.py times: a bare fault, a watched store, registering, unwatched work. */
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* ns for each of n stores `mov %rax, (%rbx)` to p: three bytes long. */
double stores(uint64_t *p, uint64_t n) {
    double start = now();
    for (uint64_t i = 0; i < n; i++) __asm__ volatile("mov %1, (%0)" : : "b"(p), "a"(i) : "memory");
    return (now() - start) / (double)n;
}

struct kernel_sigaction {
    void (*handler)(int, siginfo_t *, void *);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};
void restorer(void);
__asm__("restorer: mov $15, %eax\n syscall\n");

static void step_over(int number, siginfo_t *info, void *context) {
    (void)number, (void)info;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 3;
}

/* The rival: the same stores to a read-only page, with a handler that does nothing but step over. By raw system calls,
 * so that nobody's view of the signal changes but for this loop. */
double bare_faults(uint64_t n) {
    struct kernel_sigaction mine = {step_over, SA_SIGINFO | 0x04000000 /* SA_RESTORER */, restorer, ~0ull}, before;
    uint64_t *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)*(volatile uint64_t *)p;
    syscall(SYS_rt_sigaction, SIGSEGV, &mine, &before, 8);
    double each = stores(p, n);
    syscall(SYS_rt_sigaction, SIGSEGV, &before, NULL, 8);
    munmap(p, 4096);
    return each;
}

/* ns for each registration of n pages that are there already. */
double registrations(int64_t (*reg)(void *, size_t, uint32_t, uint64_t, uint64_t), void **pages, uint64_t n) {
    double start = now();
    for (uint64_t i = 0; i < n; i++)
        if (reg(pages[i], 4096, 3, 0, UINT64_MAX) < 0) return -1;
    return (now() - start) / (double)n;
}
