/* harness.c - runs single instructions from a complete machine state, on plain memory and on watched memory.
 *
 *   harness TRACKER CASES RESULTS JOURNAL
 *   harness --probe TRACKER               does it work here?
 *
 * CASES is a struct batch and its struct case_in's, RESULTS is filled with one struct case_out each (both as cases.py
 * writes and reads them; sizes are asserted on both sides). Each case is run in up to three phases:
 *
 *   plain    on ordinary memory at batch.base: this is what the CPU does
 *   adopted  on the same addresses, after mw_register_page took the pages in place: all registers are literally the
 * same arena    on pages from mw_page_alloc: the registers in case_in.pointers are moved by the distance
 *
 * and everything that an instruction can leave behind is compared with the plain run: general registers, flags, GS
 * base, x87/MMX/SSE/AVX/AVX-512 state, memory, and the signal if it faulted. The journal's events of that one run are
 * replayed over the memory as it was before: their `before` must match, and the outcome must be the memory as it is
 * after.
 *
 * Memory of a case: 8 pages. Pages 0 to 3 hold what is written; 4 is a source to read from; 5 to 7 are a stack. */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

#include "journal/journal_format.h"
#include "memwatch.h"
#include "tracker.h"

#define PAGE 4096u
#define PAGES 8u
#define COMPARED (5u * PAGE) /* the stack below RSP belongs to nobody */
#define X_SIZE 4096u
#define X_COMPONENTS 0xe7u /* x87, SSE, AVX, opmask, ZMM_Hi256, Hi16_ZMM */
#define EVENTS_MAX 16u
#define STACK_DISTANCE 0x1000000u
#define STACK_SIZE 0x100000u
#define CODE_DISTANCE 0x100000u /* the code lies this far below the memory: RIP-relative reaches it */

enum { PLAIN, ADOPTED, ARENA, PHASES };
enum { CASE_AT_END = 1, CASE_NO_ARENA = 2 };
enum {
    BAD_X87 = 1,
    BAD_SSE = 2,
    BAD_AVX = 4,
    BAD_MASK = 32,
    BAD_ZMM = 64,
    BAD_HI16 = 128,
    BAD_MXCSR = 1 << 24,
    BAD_FOP = 1 << 29,
    BAD_FIP = 1 << 30,
    BAD_FDP = (int)(1u << 31)
};
enum {
    REPLAY_BEFORE = 1,
    REPLAY_AFTER = 2,
    REPLAY_RANGE = 4,
    REPLAY_FORMAT = 8,
    REPLAY_MANY = 16,
    REPLAY_ORIGIN = 32,
    REPLAY_TID = 64
};

struct variable_in {
    uint32_t at, size;
    uint64_t depth_start, depth_stop;
};
struct batch {
    char magic[8];
    uint64_t base;
    uint32_t cases, phases, variables, hole; /* hole: 1 + the page that is PROT_NONE, 0 for none */
    struct variable_in variable[8];
};
struct patch {
    uint32_t at, length;
    uint8_t bytes[64];
};
struct case_in {
    uint8_t code[32];
    uint32_t length, flags;
    uint64_t gpr[16]; /* rax rcx rdx rbx rsp rbp rsi rdi r8..r15 */
    uint64_t rflags, gs;
    uint32_t pointers, fs_minus; /* bit per register: moves with the arena; the FS base is taken off it */
    uint64_t seed, x_init;
    uint16_t fcw, fsw;
    uint8_t ftw, unused0[3];
    uint32_t mxcsr, unused1;
    uint8_t st[8][16];
    uint64_t k[8];
    uint8_t zmm[32][64];
    struct patch patch[2];
};
struct registers {
    uint64_t gpr[16], flags, gs;
};
struct event_out {
    uint32_t variable, offset, length, flags;
};
struct phase_out {
    uint32_t ran;
    int32_t signo, code;
    uint32_t gpr_bad;
    uint64_t rip, address, flags_xor;
    uint32_t gs_bad, x_bad, replay_bad, events;
    int32_t mem_bad_first, mem_bad_last;
    uint64_t lost, stores;
    uint32_t x_at, unused;
    uint8_t want[16], got[16];
    struct registers out;
    struct event_out event[EVENTS_MAX];
};
struct case_out {
    int32_t changed_first, changed_last;
    uint32_t changed, unused;
    struct phase_out phase[PHASES];
};
struct results {
    uint32_t current_case, current_phase, done;
    char error[244];
    struct case_out out[];
};
static_assert(sizeof(struct batch) == 224, "cases.py");
static_assert(sizeof(struct case_in) == 2608, "cases.py");
static_assert(sizeof(struct phase_out) == 520, "cases.py");
static_assert(sizeof(struct case_out) == 16 + 3 * 520, "cases.py");

/* ---- the machine state: at a fixed low address, so that no register is needed to reach it ------------------------ */

#define CONTROL 0x10000000
struct control {
    struct registers in, out;                          /* 0, 144 */
    uint64_t host_rsp, code, x_mask, unused;           /* 288, 296, 304 */
    alignas(64) uint8_t in_x[X_SIZE];                  /* 320 */
    alignas(64) uint8_t out_x[X_SIZE], host_x[X_SIZE]; /* 4416, 8512 */
};
static_assert(offsetof(struct control, out) == 144 && offsetof(struct control, in_x) == 320, "asm below");
static_assert(offsetof(struct control, out_x) == 4416 && offsetof(struct control, host_x) == 8512, "asm below");
static struct control *const control = (struct control *)CONTROL;

int harness_run(void);
void harness_exit(void);
void harness_abort(void);
#define LOAD(n, r) "mov 0x10000000+8*" #n ",%" r "\n"
#define SAVE(n, r) "mov %" r ",0x10000000+144+8*" #n "\n"
__asm__(".text\n.globl harness_run,harness_exit,harness_abort\n"
        "harness_run:\n"
        "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "mov %rsp,0x10000000+288\n"
        "mov 0x10000000+136,%rax; wrgsbase %rax\n"
        "mov 0x10000000+304,%eax; xor %edx,%edx\n"
        "mov $0x10000000+320,%ecx; xrstor64 (%rcx)\n"
        "pushq 0x10000000+128; popfq\n" LOAD(0, "rax") LOAD(1, "rcx") LOAD(2, "rdx") LOAD(3, "rbx") LOAD(5, "rbp")
            LOAD(6, "rsi") LOAD(7, "rdi") LOAD(8, "r8") LOAD(9, "r9") LOAD(10, "r10") LOAD(11, "r11") LOAD(12, "r12")
                LOAD(13, "r13") LOAD(14, "r14") LOAD(15, "r15")
                    LOAD(4,
                         "rsp") "jmp *0x10000000+296\n"
                                "harness_exit:\n" SAVE(0, "rax") SAVE(1, "rcx") SAVE(2, "rdx") SAVE(3, "rbx")
                                    SAVE(4, "rsp") SAVE(5, "rbp") SAVE(6, "rsi") SAVE(7, "rdi") SAVE(8, "r8") SAVE(9,
                                                                                                                   "r9")
                                        SAVE(10, "r10") SAVE(11, "r11") SAVE(12, "r12") SAVE(13, "r13") SAVE(14, "r14")
                                            SAVE(15,
                                                 "r15") "mov 0x10000000+288,%rsp\n"
                                                        "pushfq; popq 0x10000000+144+128\n"
                                                        "rdgsbase %rax; mov %rax,0x10000000+144+136\n"
                                                        "mov 0x10000000+304,%eax; xor %edx,%edx\n"
                                                        "mov $0x10000000+4416,%ecx; xsave64 (%rcx)\n"
                                                        "xor %ebx,%ebx; jmp 1f\n"
                                                        "harness_abort:\n"
                                                        "mov 0x10000000+288,%rsp\n"
                                                        "mov $1,%ebx\n"
                                                        "1: pushq $0x202; popfq\n"
                                                        "xor %eax,%eax; wrgsbase %rax\n"
                                                        "mov 0x10000000+304,%eax; xor %edx,%edx\n"
                                                        "mov $0x10000000+8512,%ecx; xrstor64 (%rcx)\n"
                                                        "mov %ebx,%eax\n"
                                                        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
                                                        "ret\n");

static volatile sig_atomic_t running;
static uint64_t end_of_code; /* where the next instruction would be, if nothing is mapped there */
static struct {
    int signo, code;
    uint64_t rip, address;
} fault;

static void on_fault(int signo, siginfo_t *info, void *context) {
    greg_t *gregs = ((ucontext_t *)context)->uc_mcontext.gregs;
    if (!running) {
        signal(signo, SIG_DFL);
        return;
    }
    if (end_of_code && (uint64_t)gregs[REG_RIP] == end_of_code) {
        gregs[REG_RIP] = (greg_t)harness_exit;
        return;
    }
    fault.signo = signo;
    fault.code = info->si_code;
    fault.rip = (uint64_t)gregs[REG_RIP];
    fault.address = (uint64_t)info->si_addr;
    gregs[REG_RIP] = (greg_t)harness_abort;
}

/* ---- vector state ------------------------------------------------------------------------------------------------ */

static uint32_t x_size[8], x_offset[8]; /* of components in the standard format, from CPUID leaf 0Dh */

static void find_components(void) {
    uint32_t a, b, c, d;
    __cpuid_count(0xd, 0, a, b, c, d);
    control->x_mask = a & X_COMPONENTS;
    for (uint32_t i = 2; i < 8; i++)
        if (control->x_mask >> i & 1) {
            __cpuid_count(0xd, i, a, b, c, d);
            x_size[i] = a;
            x_offset[i] = b;
        }
}

static void load_x(uint8_t *x, const struct case_in *in) {
    memset(x, 0, X_SIZE);
    memcpy(x, &in->fcw, 2);
    memcpy(x + 2, &in->fsw, 2);
    x[4] = in->ftw;
    memcpy(x + 24, &in->mxcsr, 4);
    memcpy(x + 32, in->st, sizeof in->st);
    for (int i = 0; i < 32; i++) {
        const uint8_t *z = in->zmm[i];
        if (i < 16) {
            memcpy(x + 160 + 16 * i, z, 16);
            if (x_size[2]) memcpy(x + x_offset[2] + 16 * i, z + 16, 16);
            if (x_size[6]) memcpy(x + x_offset[6] + 32 * i, z + 32, 32);
        } else if (x_size[7]) {
            memcpy(x + x_offset[7] + 64 * (i - 16), z, 64);
        }
    }
    if (x_size[5]) memcpy(x + x_offset[5], in->k, 64);
    uint64_t bits = control->x_mask & ~in->x_init;
    memcpy(x + 512, &bits, 8);
}

/* Writes the initial values where the header says that a component holds them, so that two areas can be compared. */
static void normalise_x(uint8_t *x) {
    uint64_t bits;
    memcpy(&bits, x + 512, 8);
    if (!(bits & 1)) {
        memset(x, 0, 24);
        x[0] = 0x7f;
        x[1] = 0x03;
        memset(x + 32, 0, 128);
    }
    if (!(bits & 2)) memset(x + 160, 0, 256);
    for (int i = 2; i < 8; i++)
        if (x_size[i] && !(bits >> i & 1)) memset(x + x_offset[i], 0, x_size[i]);
}

static void differ(struct phase_out *out, uint32_t bit, const uint8_t *want, const uint8_t *got, size_t at, size_t n) {
    for (size_t i = at; i < at + n; i++)
        if (want[i] != got[i]) {
            if (!out->x_bad) {
                out->x_at = (uint32_t)i;
                memcpy(out->want, want + i, 16);
                memcpy(out->got, got + i, 16);
            }
            out->x_bad |= bit;
            return;
        }
}

static void compare_x(struct phase_out *out, const uint8_t *want, const uint8_t *got, int moved) {
    differ(out, BAD_X87, want, got, 0, 5);
    for (size_t i = 0; i < 8; i++) differ(out, BAD_X87, want, got, 32 + 16 * i, 10);
    differ(out, BAD_MXCSR, want, got, 24, 4);
    differ(out, BAD_SSE, want, got, 160, 256);
    for (uint32_t i = 2; i < 8; i++)
        if (x_size[i]) differ(out, 1u << i, want, got, x_offset[i], x_size[i]);
    differ(out, BAD_FOP, want, got, 6, 2);
    differ(out, BAD_FIP, want, got, 8, 8);
    if (!moved) differ(out, BAD_FDP, want, got, 16, 8); /* the address of the last operand, which did move */
}

/* ---- memory and code --------------------------------------------------------------------------------------------- */

static struct batch *batch;
static struct case_in *cases;
static struct results *results;
static struct snapshot {
    uint8_t memory[COMPARED], x[X_SIZE];
} *plain;
static uint8_t *base, *code, initial[PAGES * PAGE];
static uint64_t fs_base;
static const char *journal_path = "";
static int journal = -1;
static mw_variable_id ids[8];

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
    va_list arguments;
    __builtin_va_start(arguments, format);
    vsnprintf(results ? results->error : (char[244]){0}, 244, format, arguments);
    __builtin_va_end(arguments);
    if (results) fprintf(stderr, "harness: %s\n", results->error);
    exit(2);
}

static void *map_at(uint64_t at, size_t size, int protection) {
    void *p = mmap((void *)at, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (p != (void *)at) fail("address %#llx is taken: %s", (unsigned long long)at, strerror(errno));
    return p;
}

static void *map_file(const char *path, size_t *size, int writable) {
    struct stat st;
    int fd = open(path, writable ? O_RDWR : O_RDONLY);
    if (fd < 0 || fstat(fd, &st)) {
        perror(path);
        exit(2);
    }
    *size = (size_t)st.st_size;
    void *p = mmap(0, *size, PROT_READ | (writable ? PROT_WRITE : 0), writable ? MAP_SHARED : MAP_PRIVATE, fd, 0);
    close(fd);
    return p == MAP_FAILED ? NULL : p;
}

/* Puts the memory as the case wants it, through the writable view where a page is watched. */
static void set_memory(const struct case_in *in, uint8_t *pages) {
    uint64_t x = in->seed * 0x9e3779b97f4a7c15u | 1;
    for (size_t i = 0; i < sizeof initial; i += 8) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        memcpy(initial + i, &x, 8);
    }
    for (int i = 0; i < 2; i++) {
        if (in->patch[i].length > 64 || in->patch[i].at > sizeof initial - 64) fail("a patch outside the memory");
        memcpy(initial + in->patch[i].at, in->patch[i].bytes, in->patch[i].length);
    }
    for (uint32_t page = 0; page < PAGES; page++) {
        if (batch->hole == page + 1) continue;
        uint8_t *watched = page < 4 ? pages + page * PAGE : base + page * PAGE, *view = mw_write_view(watched);
        memcpy(view ? view : watched, initial + page * PAGE, PAGE);
    }
}

static void set_code(const struct case_in *in) {
    static const uint8_t jump[6] = {0xff, 0x25};
    uint64_t back = (uint64_t)harness_exit;
    uint8_t *at = in->flags & CASE_AT_END ? code + PAGE - in->length : code;
    memcpy(at, in->code, in->length);
    end_of_code = 0;
    if (in->flags & CASE_AT_END) {
        end_of_code = (uint64_t)at + in->length;
    } else {
        memcpy(at + in->length, jump, 6);
        memcpy(at + in->length + 6, &back, 8);
    }
    control->code = (uint64_t)at;
}

/* ---- the journal ------------------------------------------------------------------------------------------------- */

/* The file comes with the first record. */
static uint64_t slots_used(void) {
    uint64_t n = 0;
    if (journal < 0) journal = open(journal_path, O_RDONLY);
    if (journal < 0 && errno != ENOENT) fail("%s: %s", journal_path, strerror(errno));
    if (journal >= 0 && pread(journal, &n, 8, offsetof(struct mwj_header, reserved)) != 8) fail("journal header");
    return n;
}

static int is_hole(uint32_t at) { return batch->hole == at / PAGE + 1; }

/* Replays the events of slots [from, to) over `initial`; the outcome must be what the variables hold now. */
static void replay(struct phase_out *out, uint64_t from, uint64_t to, uint8_t *pages) {
    static uint8_t slots[256 * MWJ_SLOT_SIZE], payload[256 * MWJ_SLOT_SIZE];
    for (uint64_t slot = from; slot < to;) {
        uint32_t word;
        off_t at = (off_t)(MWJ_HEADER_SIZE + slot * MWJ_SLOT_SIZE);
        if (pread(journal, slots, sizeof slots, at) < (ssize_t)MWJ_SLOT_SIZE)
            fail("journal slot %llu is not in the file", (unsigned long long)slot);
        memcpy(&word, slots, 4);
        uint32_t kind = word & 255, count = word >> 8 & 255, origin = word >> 16 & 255, flags = word >> 24;
        if (!kind || !count) {
            out->replay_bad |= REPLAY_FORMAT;
            return;
        }
        slot += count;
        if (kind != MWJ_STORE) continue;
        uint32_t field[8]; /* variable, offset, length, site, context */
        uint32_t tid;
        memcpy(&tid, slots + 4, 4);
        memcpy(field, slots + 16, 20);
        uint32_t offset = field[1], length = field[2], index = 0;
        memcpy(payload, slots + 36, 28);
        for (uint32_t i = 1; i < count; i++) {
            memcpy(&word, slots + 64 * i, 4);
            if ((word & 255) != MWJ_CONTINUATION) out->replay_bad |= REPLAY_FORMAT;
            memcpy(payload + 28 + 60 * (i - 1), slots + 64 * i + 4, 60);
        }
        if (flags & MWJ_MORE || 2 * (size_t)length > 28 + 60 * (count - 1u) || !length) {
            out->replay_bad |= REPLAY_FORMAT;
            return;
        }
        if (origin != MWJ_BY_STORE) out->replay_bad |= REPLAY_ORIGIN;
        if (tid != (uint32_t)gettid()) out->replay_bad |= REPLAY_TID;
        while (index < batch->variables && ids[index] != field[0]) index++;
        if (index == batch->variables || (uint64_t)offset + length > batch->variable[index].size) {
            out->replay_bad |= REPLAY_RANGE;
            return;
        }
        uint8_t *there = initial + batch->variable[index].at + offset;
        if (memcmp(there, payload, length)) out->replay_bad |= REPLAY_BEFORE;
        memcpy(there, payload + length, length);
        if (out->events < EVENTS_MAX)
            out->event[out->events] = (struct event_out){index, offset, length, flags};
        else
            out->replay_bad |= REPLAY_MANY;
        out->events++;
    }
    for (uint32_t i = 0; i < batch->variables; i++) {
        struct variable_in *v = &batch->variable[i];
        if (v->depth_start == 0 && v->depth_stop >= v->size && memcmp(initial + v->at, pages + v->at, v->size))
            out->replay_bad |= REPLAY_AFTER;
    }
}

/* ---- one run ----------------------------------------------------------------------------------------------------- */

static void run(uint32_t i, int phase, uint8_t *pages) {
    const struct case_in *in = &cases[i];
    struct case_out *result = &results->out[i];
    struct phase_out *out = &result->phase[phase], *want = &result->phase[PLAIN];
    uint64_t distance = (uint64_t)(pages - base);
    mw_stats before, after;
    results->current_case = i;
    results->current_phase = (uint32_t)phase;
    if (phase == ARENA && in->flags & CASE_NO_ARENA) return;
    set_memory(in, pages);
    set_code(in);
    for (int r = 0; r < 16; r++) {
        control->in.gpr[r] = in->gpr[r] + (in->pointers >> r & 1 ? distance : 0);
        if (in->fs_minus >> r & 1) control->in.gpr[r] -= fs_base;
    }
    control->in.flags = in->rflags;
    control->in.gs = in->gs;
    load_x(control->in_x, in);
    memset(control->out_x, 0, X_SIZE);
    memset(&control->out, 0, sizeof control->out);
    memset(&fault, 0, sizeof fault);
    mw_get_stats(&before);
    uint64_t from = phase ? slots_used() : 0;
    running = 1;
    int aborted = harness_run();
    running = 0;
    uint64_t to = phase ? slots_used() : 0;
    mw_get_stats(&after);
    out->signo = fault.signo;
    out->code = fault.code;
    out->rip = fault.signo ? fault.rip - control->code : 0;
    out->address = fault.signo ? fault.address : 0;
    out->stores = after.stores - before.stores;
    out->lost = after.lost - before.lost;
    out->mem_bad_first = out->mem_bad_last = -1;
    out->out = control->out;
    for (int r = 0; r < 16; r++) {
        if (in->fs_minus >> r & 1) out->out.gpr[r] += fs_base;
        if (in->pointers >> r & 1) out->out.gpr[r] -= distance;
    }
    normalise_x(control->out_x);
    if (phase == PLAIN) {
        result->changed_first = result->changed_last = -1;
        for (uint32_t b = 0; b < COMPARED; b++) {
            if (is_hole(b)) continue;
            plain[i].memory[b] = pages[b];
            if (pages[b] != initial[b]) {
                if (result->changed_first < 0) result->changed_first = (int32_t)b;
                result->changed_last = (int32_t)b;
                result->changed++;
            }
        }
        memcpy(plain[i].x, control->out_x, X_SIZE);
    } else {
        if (!aborted && !want->signo) {
            for (int r = 0; r < 16; r++)
                if (out->out.gpr[r] != want->out.gpr[r]) out->gpr_bad |= 1u << r;
            out->flags_xor = out->out.flags ^ want->out.flags;
            out->gs_bad = out->out.gs != want->out.gs;
            compare_x(out, plain[i].x, control->out_x, phase == ARENA);
        }
        for (uint32_t b = 0; b < COMPARED; b++) {
            uint8_t now = 0;
            if (is_hole(b)) continue;
            now = b < 4 * PAGE ? pages[b] : base[b];
            if (now != plain[i].memory[b]) {
                if (out->mem_bad_first < 0) {
                    out->mem_bad_first = (int32_t)b;
                    memcpy(out->want, plain[i].memory + b, b + 16 <= COMPARED ? 16 : COMPARED - b);
                    memcpy(out->got, (b < 4 * PAGE ? pages : base) + b, b % PAGE + 16 <= PAGE ? 16 : PAGE - b % PAGE);
                }
                out->mem_bad_last = (int32_t)b;
            }
        }
        replay(out, from, to, pages);
    }
    out->ran = 1;
}

static void check(int64_t code_, const char *what) {
    if (code_ < 0) fail("%s: %s", what, mw_strerror((int)code_));
}

static void watch(uint8_t *pages) {
    for (uint32_t i = 0; i < batch->variables; i++) {
        struct variable_in *v = &batch->variable[i];
        mw_depth depth = {v->depth_start, v->depth_stop};
        int whole = (v->at | v->size) % PAGE == 0;
        int64_t id = whole ? mw_register_page(pages + v->at, v->size, MW_FLAGS_ALL, depth)
                           : mw_register_range(pages + v->at, v->size, MW_FLAGS_ALL, depth);
        check(id, whole ? "mw_register_page" : "mw_register_range");
        ids[i] = (mw_variable_id)id;
    }
}

static void unwatch(void) {
    for (uint32_t i = 0; i < batch->variables; i++) check(mw_unregister_page(ids[i]), "mw_unregister_page");
}

/* Everything runs in a thread whose stack, and so whose FS base, lies at a known distance from the memory: FS-relative
 * operands then look like those of thread-local variables. */
static void *run_all(void *arguments) {
    char **argv = arguments;
    static const uint8_t session[16] = {1};
    __asm__("rdfsbase %0" : "=r"(fs_base));

    stack_t stack = {.ss_sp = malloc(1 << 18), .ss_size = 1 << 18};
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
    if (sigaltstack(&stack, 0)) fail("sigaltstack");
    for (int i = 0; i < 5; i++) sigaction(signals[i], &action, 0);
    alarm(60); /* a form that hangs ends the batch; the parent reports it and goes on behind it */

    for (uint32_t i = 0; i < batch->cases; i++) run(i, PLAIN, base);
    if (batch->phases & ~1u) {
        check(mw_start(tracker_named(argv[1])), "mw_start");
        check(mw_journal_open(argv[4], "stores", session), "mw_journal_open");
        journal_path = argv[4];
    }
    if (batch->phases & 1u << ADOPTED) {
        watch(base);
        for (uint32_t i = 0; i < batch->cases; i++) run(i, ADOPTED, base);
        unwatch();
        for (uint32_t i = 0; i < 4 * PAGE; i++)
            if (!is_hole(i)) base[i] ^= 0x5a; /* ordinary again: a fault here has no one to catch it */
    }
    if (batch->phases & 1u << ARENA) {
        uint8_t *pages = mw_page_alloc(4);
        if (!pages) fail("mw_page_alloc: %s", strerror(errno));
        watch(pages);
        for (uint32_t i = 0; i < batch->cases; i++) run(i, ARENA, pages);
        unwatch();
        check(mw_page_free(pages, 4), "mw_page_free");
    }
    if (batch->phases & ~1u) check(mw_journal_close(), "mw_journal_close");
    results->done = 1;
    return NULL;
}

int main(int argc, char **argv) {
    size_t size, results_size;
    if (argc == 3 && !strcmp(argv[1], "--probe")) {
        mw_tracker tracker = tracker_named(argv[2]);
        if (!mw_tracker_probe(tracker)) return 0;
        puts(strerror(errno));
        return 1;
    }
    if (argc != 5) {
        fprintf(stderr, "usage: harness TRACKER CASES RESULTS JOURNAL\n");
        return 2;
    }
    batch = map_file(argv[2], &size, 0);
    results = map_file(argv[3], &results_size, 1);
    if (!batch || !results || memcmp(batch->magic, "MWCASES1", 8) ||
        size != sizeof *batch + batch->cases * sizeof *cases ||
        results_size != sizeof *results + batch->cases * sizeof results->out[0])
        fail("the files of cases and results don't fit each other");
    cases = (struct case_in *)(batch + 1);
    plain = calloc(batch->cases, sizeof *plain);
    map_at(CONTROL, (sizeof *control + PAGE - 1) & ~(PAGE - 1), PROT_READ | PROT_WRITE);
    base = map_at(batch->base, PAGES * PAGE, PROT_READ | PROT_WRITE);
    code = map_at(batch->base - CODE_DISTANCE, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
    memset(base, 1, PAGES * PAGE);
    if (batch->hole && mprotect(base + (batch->hole - 1) * PAGE, PAGE, PROT_NONE)) fail("mprotect");
    find_components();
    load_x(control->host_x, &(struct case_in){.fcw = 0x37f, .mxcsr = 0x1f80, .x_init = ~0ull});
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, map_at(batch->base + STACK_DISTANCE, STACK_SIZE, PROT_READ | PROT_WRITE),
                          STACK_SIZE);
    if ((errno = pthread_create(&thread, &attributes, run_all, argv))) fail("pthread_create: %s", strerror(errno));
    pthread_join(thread, NULL);
    return 0;
}
