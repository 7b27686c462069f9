/* interrupting.c - a signal handler in C that stores to watched memory, at an instruction of one's choice.
 *
 * A piece of the program is stepped through once: which instructions of a range does it run? Then a breakpoint is put
 * on each of them, one after the other, and where it is met, the handler stores. So what hits one instruction in
 * millions by chance is tried in a second. */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { TRAP_FLAG = 0x100, INT3 = 0xCC, SYSCALL = 0x050F, NEVER = 255 };
enum mode { OFF, BEGIN, STEPPING, ARMED, BEHIND };

static volatile long *target;
static uintptr_t first, end;
static uint8_t *visits;  /* of each address */
static uint32_t *chosen; /* the addresses that were visited, from `first` on */
static long count;
static volatile int mode; /* enum mode */
static uint64_t masked;   /* the signals that wait, while stepping */
static uintptr_t at;
static uint8_t covered;
static unsigned passes; /* before the handler stores */
static int memory = -1;

static uint8_t put(uint8_t byte) {
    uint8_t before = *(volatile uint8_t *)at;
    if (pwrite(memory, &byte, 1, (off_t)at) != 1) abort();
    return before;
}

/* What runs while no signal can come isn't interrupted, nor anywhere else: a breakpoint there would end the process. */
static void visit(uint8_t *times, bool never) {
    if (never)
        *times = NEVER;
    else if (*times < NEVER - 1)
        ++*times;
}

/* Left out, so that the steps go on. */
static void mask(greg_t *registers) {
    const uint64_t *set = (const uint64_t *)registers[REG_RSI];
    if (registers[REG_RDI] != SIG_SETMASK || !set) return;
    uint64_t before = masked;
    masked = *set;
    if (registers[REG_RDX]) *(uint64_t *)registers[REG_RDX] = before;
    registers[REG_RAX] = 0;
    registers[REG_RIP] += 2;
}

static void handle(int signal, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    uintptr_t here = (uintptr_t)registers[REG_RIP];
    bool masks;
    (void)signal, (void)info;
    switch (mode) {
    case BEGIN:
        mode = STEPPING;
        registers[REG_EFL] |= TRAP_FLAG;
        break;
    case STEPPING:
        masks = *(const uint16_t *)here == SYSCALL && registers[REG_RAX] == SYS_rt_sigprocmask;
        if (here >= first && here < end) visit(&visits[here - first], masked || masks);
        if (masks) mask(registers);
        break;
    case OFF: registers[REG_EFL] &= ~TRAP_FLAG; break;
    case ARMED:
        registers[REG_RIP] = (greg_t)at;
        put(covered);
        mode = OFF;
        if (!passes) {
            ++*target;
        } else {
            passes--;
            mode = BEHIND;
            registers[REG_EFL] |= TRAP_FLAG;
        }
        break;
    case BEHIND:
        put(INT3);
        mode = ARMED;
        registers[REG_EFL] &= ~TRAP_FLAG;
        break;
    }
}

void prepare(long *where, uintptr_t from, uintptr_t to) {
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO};
    target = where, first = from, end = to;
    visits = calloc(end - first, 1);
    chosen = calloc(end - first, sizeof *chosen);
    memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
    if (!visits || !chosen || memory < 0 || sigaction(SIGTRAP, &action, 0)) abort();
}

void forget(void) { memset(visits, 0, end - first); }

void step(void) {
    mode = BEGIN;
    raise(SIGTRAP);
}

void stop(void) { mode = OFF; }

/* How many instructions of the range have run between step() and stop(). */
long stepped(void) {
    count = 0;
    for (uintptr_t i = 0; i < end - first; i++)
        if (visits[i] && visits[i] != NEVER) chosen[count++] = (uint32_t)i;
    return count;
}

long visited(long which) { return visits[chosen[which]]; }

/* The next time that this instruction is met, after so many others, the handler stores. */
void arm(long which, unsigned after) {
    at = first + chosen[which];
    passes = after;
    mode = ARMED;
    covered = put(INT3);
}

/* Whether it was met. */
long disarm(void) {
    if (mode == OFF) return 1;
    mode = OFF;
    put(covered);
    return 0;
}
