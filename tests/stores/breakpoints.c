/* breakpoints.c - watched stores that somebody has a breakpoint on, or steps over.
 *
 *   breakpoints TRACKER JOURNAL SCENARIO COUNT
 *
 *   stores      each kind of store COUNT times, for a debugger to stop at: store_plain, store_relative, ...
 *   trap-flag   the program single-steps itself
 *   hardware    hardware breakpoints on a store and behind it (perf_event_open)
 *   uprobes     one on most kinds (perf_event_open): the kernel takes none with a lock, and counts a repeated one anew
 *               for each repetition
 *   stepped     a parent single-steps all of it (ptrace)
 *
 * Exit status 0: every value is right, and every store an event. 77: it can't be tried here. */
#include <fcntl.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "check.h"
#include "events.h"
#include "tracker.h"

enum { PAGE = 4096, KINDS = 6, CANNOT = 77 };
static uint8_t relative[PAGE] __attribute__((aligned(PAGE), used)); /* adopted: near enough for a RIP-relative store */
static uint8_t *page;
static const char *journal;
static unsigned long count;
extern const char store_plain[], store_relative[], store_locked[], store_string[], store_vector[], store_push[],
    behind_plain[], trapped_0[], trapped_1[], trapped_2[], trapped_3[];
static const char *const kinds[KINDS] = {store_plain,  store_relative, store_locked,
                                         store_string, store_vector,   store_push};

__attribute__((noinline)) static void plain(uint64_t i) {
    __asm__ volatile(".globl store_plain, behind_plain\n"
                     "store_plain: movq %0, (%1)\n"
                     "behind_plain: nop" ::"r"(i),
                     "r"(page)
                     : "memory");
}

__attribute__((noinline)) static void others(uint64_t i) {
    uint64_t one = 1, n = 24;
    uint8_t *to = page + 64, *stack = page + 160;
    __asm__ volatile(".globl store_relative\n"
                     "store_relative: movq %0, relative+8(%%rip)" ::"r"(i)
                     : "memory");
    __asm__ volatile(".globl store_locked\n"
                     "store_locked: lock xaddq %0, (%1)"
                     : "+r"(one)
                     : "r"(page + 8)
                     : "memory", "cc");
    REQUIRE(one == i - 1);
    __asm__ volatile(".globl store_string\n"
                     "store_string: rep stosb"
                     : "+D"(to), "+c"(n)
                     : "a"(i)
                     : "memory");
    REQUIRE(!n && to == page + 88);
    __asm__ volatile("movq %0, %%xmm1\n"
                     ".globl store_vector\n"
                     "store_vector: movups %%xmm1, (%1)" ::"r"(i),
                     "r"(page + 96)
                     : "memory", "xmm1");
    __asm__ volatile("xchgq %%rsp, %0\n"
                     ".globl store_push\n"
                     "store_push: pushq %1\n"
                     "xchgq %%rsp, %0"
                     : "+r"(stack)
                     : "r"(i)
                     : "memory");
    REQUIRE(stack == page + 152);
}

static void store_all(void) {
    for (uint64_t i = 1; i <= count; i++) {
        plain(i);
        others(i);
    }
}

static void check_values(void) {
    uint8_t string[24];
    memset(string, (int)(uint8_t)count, sizeof string);
    REQUIRE(*(uint64_t *)page == count && *(uint64_t *)(relative + 8) == count);
    REQUIRE(*(uint64_t *)(page + 8) == count && !memcmp(page + 64, string, sizeof string));
    REQUIRE(*(uint64_t *)(page + 96) == count && *(uint64_t *)(page + 152) == count);
}

/* `kernel`: stores that are recorded as the kernel's, of which several may be one event. */
static void check_events(uint64_t wanted, bool kernel) {
    struct events reader;
    struct event event;
    uint64_t stores = 0, others_ = 0;
    events_open(&reader, journal, 0);
    while (events_next(&reader, &event))
        if (event.origin == MWJ_BY_STORE && !event.flags)
            stores++;
        else
            others_++;
    events_close(&reader);
    if (kernel) {
        REQUIRE(stores + others_ && stores + others_ <= wanted);
        return;
    }
    REQUIRE(stores == wanted && !others_);
}

/* ---- the program's own trap flag ---- */

static unsigned traps, at[4];

static void on_trap(int signal, siginfo_t *info, void *ucontext) {
    const char *ip = (const char *)((ucontext_t *)ucontext)->uc_mcontext.gregs[REG_RIP];
    REQUIRE(signal == SIGTRAP && info->si_code == TRAP_TRACE);
    traps++;
    at[0] += ip == trapped_0;
    at[1] += ip == trapped_1;
    at[2] += ip == trapped_2;
    at[3] += ip == trapped_3;
}

static void step_itself(uint8_t *to) {
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    uint64_t i = 5;
    sigaction(SIGTRAP, &action, NULL);
    traps = 0;
    memset(at, 0, sizeof at);
    __asm__ volatile("subq $128, %%rsp\n pushfq\n orq $0x100, (%%rsp)\n popfq\n"
                     ".globl trapped_0, trapped_1, trapped_2, trapped_3\n"
                     "trapped_0: movq %0, (%1)\n"
                     "trapped_1: incq %0\n"
                     "trapped_2: movq %0, 8(%1)\n"
                     "trapped_3: pushfq\n andq $~0x100, (%%rsp)\n popfq\n addq $128, %%rsp"
                     : "+r"(i)
                     : "r"(to)
                     : "memory", "cc");
    REQUIRE(((uint64_t *)to)[0] == 5 && ((uint64_t *)to)[1] == 6);
}

static void trap_flag(void) {
    static uint8_t unwatched[16];
    unsigned plain_traps, plain_at[4];
    step_itself(unwatched);
    plain_traps = traps;
    memcpy(plain_at, at, sizeof at);
    REQUIRE(plain_at[1] == 1 && plain_at[3] == 1);
    step_itself(page);
    REQUIRE(traps == plain_traps && !memcmp(at, plain_at, sizeof at));
    check_events(2, false);
}

/* ---- counters of the kernel ---- */

static int counter(struct perf_event_attr *attribute) {
    attribute->size = sizeof *attribute;
    int fd = (int)syscall(SYS_perf_event_open, attribute, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0) {
        printf("perf_event_open: %s\n", strerror(errno));
        exit(CANNOT);
    }
    return fd;
}

static uint64_t counted(int fd) {
    uint64_t value;
    REQUIRE(read(fd, &value, sizeof value) == sizeof value);
    return value;
}

static int hardware_breakpoint(const char *address) {
    return counter(&(struct perf_event_attr){
        .type = PERF_TYPE_BREAKPOINT,
        .bp_type = HW_BREAKPOINT_X,
        .bp_addr = (uintptr_t)address,
        .bp_len = sizeof(long),
        .exclude_kernel = 1,
        .exclude_hv = 1,
    });
}

static void hardware(void) {
    int on = hardware_breakpoint(store_plain), behind = hardware_breakpoint(behind_plain);
    for (uint64_t i = 1; i <= count; i++) plain(i);
    REQUIRE(counted(on) == count);
    REQUIRE(counted(behind) == count);
    check_events(count, false);
}

static uint64_t offset_in_file(const char *address) {
    char line[512];
    unsigned long from, to, offset;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx r-xp %lx", &from, &to, &offset) == 3 && (uintptr_t)address - from < to - from) {
            fclose(maps);
            return (uintptr_t)address - from + offset;
        }
    exit(CANNOT);
}

static void uprobes(const char *program, bool kernel) {
    int fds[KINDS];
    unsigned type = 0;
    FILE *file = fopen("/sys/bus/event_source/devices/uprobe/type", "re");
    if (!file || fscanf(file, "%u", &type) != 1) {
        puts("this kernel has no uprobes");
        exit(CANNOT);
    }
    for (int i = 0; i < KINDS; i++) {
        bool taken = kinds[i] != store_locked && kinds[i] != store_string;
        struct perf_event_attr attribute = {.type = type, .uprobe_path = (uintptr_t)program};
        attribute.probe_offset = offset_in_file(kinds[i]);
        fds[i] = taken ? counter(&attribute) : -1;
    }
    store_all();
    for (int i = 0; i < KINDS; i++) REQUIRE(fds[i] < 0 || counted(fds[i]) == count);
    for (int i = 0; i < KINDS; i++) close(fds[i]);
    check_values();
    check_events(KINDS * count, kernel);
}

/* ---- a supervisor ---- */

static void step_child(void) {
    pid_t child = fork();
    if (child) {
        int status, steps = 0, signals = 0;
        waitpid(child, &status, 0);
        if (WIFEXITED(status)) exit(WEXITSTATUS(status));
        for (int signal = 0; waitpid(child, &status, WNOHANG) >= 0 && !WIFEXITED(status); steps++) {
            REQUIRE(!ptrace(PTRACE_SINGLESTEP, child, 0, (long)signal));
            REQUIRE(waitpid(child, &status, __WALL) == child);
            if (WIFEXITED(status)) break;
            REQUIRE(WIFSTOPPED(status));
            signal = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
            signals += signal != 0;
        }
        REQUIRE(WIFEXITED(status) && steps > 100 && (unsigned)signals >= count);
        exit(WEXITSTATUS(status));
    }
}

int main(int argc, char **argv) {
    static const uint8_t session[16] = {3};
    static uint8_t handler_stack[64 << 10]; /* for store_push: no signal frame can be put on a watched stack */
    if (argc != 5) return 2;
    const char *scenario = argv[3];
    journal = argv[2];
    count = strtoul(argv[4], NULL, 10);
    mw_tracker tracker = tracker_named(argv[1]);
    sigaltstack(&(stack_t){.ss_sp = handler_stack, .ss_size = sizeof handler_stack}, NULL);
    bool stepped = !strcmp(scenario, "stepped");
    if (stepped) step_child();
    check(mw_start(tracker), "mw_start");
    check(mw_journal_open(journal, "test", session), "mw_journal_open");
    page = mw_page_alloc(1);
    memset(relative, 0, sizeof relative);
    check(mw_register_page(page, PAGE, MW_TRACK_THREADS, MW_DEPTH_FULL), "mw_register_page");
    check(mw_register_page(relative, PAGE, MW_TRACK_THREADS, MW_DEPTH_FULL), "mw_register_page");
    if (stepped) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0)) _exit(CANNOT);
        raise(SIGSTOP);
    }
    if (!strcmp(scenario, "trap-flag")) {
        trap_flag();
    } else if (!strcmp(scenario, "hardware")) {
        hardware();
    } else if (!strcmp(scenario, "uprobes")) {
        uprobes(argv[0], tracker == MW_TRACKER_UFFD_QUEUE);
    } else {
        store_all();
        check_values();
        check_events(KINDS * count, false);
    }
    printf("every store is an event\n");
    fflush(stdout);
    return 0;
}
