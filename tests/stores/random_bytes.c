/* random_bytes.c - the executor against bytes that nobody meant as an instruction: any bytes, any registers, a fault in
 * the middle of three watched pages. Whatever it makes of them, the pages change by what the events say and by nothing
 * else; what it refuses changes nothing.
 *
 *   random_bytes <seed> <count> <journal>
 *
 * Children run them, so that a crash is one line with the bytes. Instructions that the CPU would have refused before
 * any page fault (#UD, or #GP of a privileged one) can't get to the executor in a program; here they can, and don't
 * count. */
#include <Zydis/Zydis.h>
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "state.h"
#include "stores/operands.h"

enum { PAGES = 3, SIZE = PAGES * 4096, RUNS_MAX = 1 << 28 };

static struct common { /* with the children */
    uint8_t bytes[16];
    uint64_t next, done[5], events, trap, refused_at_once;
    int64_t displacement;
    char problem[256];
} *shared;
static uint64_t seed;
static uint8_t *pages, before[SIZE], *code;
static ZydisDecoder decoder;

#define CHECK(x)                                                                                                       \
    if (!(x)) {                                                                                                        \
        fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #x, strerror(errno));                                   \
        exit(1);                                                                                                       \
    }

static uint64_t draw(void) { /* splitmix64 */
    uint64_t z = seed += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* Noise; or, more often, prefixes, an opcode of any map, and a memory operand. */
static void make_bytes(uint8_t *to) {
    static const uint8_t prefixes[] = {0x66, 0xf2, 0xf3, 0xf0, 0x64, 0x65, 0x67, 0x48, 0x4c, 0x41, 0x4f, 0x40};
    uint8_t *at = to;
    for (int i = 0; i < 15; i++) to[i] = (uint8_t)draw();
    uint64_t kind = draw() % 8;
    if (!kind) return;
    while (at < to + 3 && draw() % 2) *at++ = prefixes[draw() % sizeof prefixes];
    if (kind < 4) {
        *at++ = 0x0f;
        if (kind == 3) *at++ = draw() % 2 ? 0x38 : 0x3a;
    } else if (kind == 4) {
        *at++ = draw() % 2 ? 0xc5 : 0xc4;
        at++;
    }
    at++;                                     /* opcode */
    *at &= 0x3f | (uint8_t)(draw() % 3 << 6); /* ModRM: memory */
    if (draw() % 2) {                         /* a small displacement */
        for (uint8_t *byte = at + 3; byte < at + 6 && byte < to + 15; byte++) *byte = (uint8_t)-(to[14] & 1);
    }
}

/* What the CPU itself would have ended before it looked at the page. */
static bool is_privileged(const ZydisDecodedInstruction *in) {
    switch (in->mnemonic) {
    case ZYDIS_MNEMONIC_INSB:
    case ZYDIS_MNEMONIC_INSW:
    case ZYDIS_MNEMONIC_INSD: /* in the tables of the CPU, #GP */
    case ZYDIS_MNEMONIC_SGDT:
    case ZYDIS_MNEMONIC_SIDT:
    case ZYDIS_MNEMONIC_SLDT:
    case ZYDIS_MNEMONIC_STR:
    case ZYDIS_MNEMONIC_SMSW: return true;
    default: return in->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED;
    }
}

static void problem(const char *what, unsigned at) {
    snprintf(shared->problem, sizeof shared->problem, "%s, byte %u of the pages", what, at);
    _exit(3);
}

/* Applies the events that were recorded since slot `from` to `before`, and compares. */
static void judge(uint64_t from, enum run_result result) {
    struct journal *j = &mw.journal;
    uint64_t to = j->header->reserved;
    for (uint64_t s = from; s < to;) {
        struct mwj_slot *slot = j->segments[s / MWJ_SEGMENT_SLOTS] + s % MWJ_SEGMENT_SLOTS;
        unsigned n = MWJ_SLOTS_OF(slot->word), length = slot->store.length;
        uint8_t payload[256 * 60];
        CHECK(slot->word && n);
        if (MWJ_KIND_OF(slot->word) == MWJ_STORE) {
            memcpy(payload, slot->store.payload, 28);
            for (unsigned i = 1; i < n; i++) memcpy(payload + 28 + 60 * (i - 1), (uint8_t *)(slot + i) + 4, 60);
            unsigned at = (slot->id - 1) * 4096 + slot->store.offset;
            CHECK(at + length <= SIZE);
            if (memcmp(before + at, payload, length))
                problem("an event's bytes before aren't those that were there", at);
            memcpy(before + at, payload + length, length);
            shared->events++;
            if (result != RUN_DONE) problem("an event of a store that wasn't done", at);
        }
        s += n;
    }
    const uint8_t *here = mw_write_view(pages);
    for (unsigned i = 0; i < SIZE; i++)
        if (here[i] != before[i]) problem("changed without an event", i);
}

/* Whether the CPU could have come to this fault. Of an instruction that the executor runs on a copy of its destination,
 * it finds out by itself; the others may write where they like, as the program meant it, if it isn't our page that they
 * fault on. */
static bool could_fault_there(ucontext_t *context, uintptr_t fault) {
    bool overflow;
    const struct instruction *instruction = instruction_at((uintptr_t)code, &overflow);
    uintptr_t offset, at = fault;
    if (instruction && instruction->kind == KIND_STRING) at = register_read(context, 7);
    if (instruction && (instruction->kind == KIND_WIDE || instruction->kind == KIND_SCATTER ||
                        instruction->kind == KIND_PUSH || instruction->kind == KIND_CALL))
        at = operand_address(instruction, context, &offset);
    if (instruction && instruction->kind == KIND_MOVDIR64B) at = register_read(context, instruction->memory.base);
    if (instruction && instruction->kind == KIND_CLZERO) at = register_read(context, 0);
    if (overflow) instruction_overflow_done();
    return at - (uintptr_t)pages < SIZE - 1024;
}

static void run_one(ucontext_t *context) {
    greg_t *g = context->uc_mcontext.gregs;
    uintptr_t fault = (uintptr_t)pages + 4096 + draw() % 4096;
    uint64_t from = mw.journal.header->reserved;
    make_bytes(code);
    memcpy(shared->bytes, code, 15);
    ZydisDecodedInstruction in;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, 15, &in, operands)) || is_privileged(&in)) {
        shared->refused_at_once++; /* and yet the executor is asked, if it can't do harm */
        if (ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, 15, &in, operands))) return;
    }
    for (int r = REG_R8; r <= REG_RCX; r++)
        if (r != REG_RSP) g[r] = (greg_t)(draw() % 4 ? fault + draw() % 512 - 256 : draw() % 2 ? draw() % 64 : draw());
    g[REG_RIP] = (greg_t)(uintptr_t)code;
    g[REG_EFL] = (greg_t)((draw() & 0x8d5) | 0x202 | (draw() % 8 ? 0 : 0x400));
    if (!could_fault_there(context, fault)) return;
    memcpy(before, mw_write_view(pages), SIZE);
    enum run_result result = executor_run(context, fault);
    shared->done[result]++;
    judge(from, result);
}

static void in_handler(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    ucontext_t kept = *(ucontext_t *)context;
    while (shared->next < shared->trap) {
        shared->next++;
        *(ucontext_t *)context = kept;
        run_one(context);
    }
    *(ucontext_t *)context = kept;
}

static void crashed(int signal, siginfo_t *info, void *context) {
    int trap = (int)((ucontext_t *)context)->uc_mcontext.gregs[REG_TRAPNO];
    if (trap == 6 || trap == 13) _exit(0); /* #UD: this CPU doesn't have it; #GP: not aligned as it must be */
    snprintf(shared->problem, sizeof shared->problem, "signal %d, trap %d, at %p, ip %llx", signal, trap, info->si_addr,
             ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP]);
    _exit(3);
}

static void child(const char *journal, uint64_t number) {
    char path[4096], stack[1 << 16];
    uint8_t session[16] = {0};
    snprintf(path, sizeof path, "%s.%llu", journal, (unsigned long long)number);
    CHECK(!mw_start(MW_TRACKER_READONLY) && !mw_journal_open(path, "test", session));
    unlink(path);
    pages = mw_page_alloc(PAGES);
    for (unsigned i = 0; i < SIZE; i++) ((uint8_t *)mw_write_view(pages))[i] = (uint8_t)draw();
    for (int i = 0; i < PAGES; i++)
        CHECK(mw_register_page(pages + i * 4096, 4096, MW_TRACK_THREADS, MW_DEPTH_FULL) > 0);
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_sigaction = crashed, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    struct sigaction run = {.sa_sigaction = in_handler, .sa_flags = SA_SIGINFO};
    CHECK(!sigaltstack(&alternate, NULL) && !sigaction(SIGUSR1, &run, NULL));
    for (int signal = 1; signal < 32; signal++) /* past our own handlers: the executor is called by hand */
        if (signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE || signal == SIGTRAP) {
            struct {
                void *handler;
                unsigned long flags;
                void *restorer;
                uint64_t mask;
            } raw = {(void *)action.sa_sigaction, SA_SIGINFO | SA_ONSTACK | SA_NODEFER | 0x04000000, NULL, 0};
            struct {
                void *handler;
                unsigned long flags;
                void *restorer;
                uint64_t mask;
            } old;
            raw_syscall4(SYS_rt_sigaction, SIGUSR1, 0, (long)&old, 8);
            raw.restorer = old.restorer;
            CHECK(!raw_syscall4(SYS_rt_sigaction, signal, (long)&raw, 0, 8));
        }
    raise(SIGUSR1);
    _exit(0);
}

int main(int argc, char **argv) {
    CHECK(argc == 4);
    uint64_t first = strtoull(argv[1], NULL, 0), count = strtoull(argv[2], NULL, 0);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED && code != MAP_FAILED && count < RUNS_MAX);
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    shared->trap = count;
    for (uint64_t number = 0; shared->next < count; number++) {
        seed = first + number * 1000003;
        fflush(stdout);
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (!pid) child(argv[3], number);
        int status;
        CHECK(waitpid(pid, &status, 0) == pid);
        if (status) {
            printf("seed %llu: status %x: %s; bytes ", (unsigned long long)first, status, shared->problem);
            for (int i = 0; i < 15; i++) printf("%02x", shared->bytes[i]);
            printf("\n");
            return 1;
        }
    }
    printf("done %llu refused %llu notours %llu fault %llu raised %llu undecodable %llu events %llu\n",
           (unsigned long long)shared->done[RUN_DONE], (unsigned long long)shared->done[RUN_REFUSED],
           (unsigned long long)shared->done[RUN_NOT_OURS], (unsigned long long)shared->done[RUN_FAULT],
           (unsigned long long)shared->done[RUN_RAISED], (unsigned long long)shared->refused_at_once,
           (unsigned long long)shared->events);
    return 0;
}
