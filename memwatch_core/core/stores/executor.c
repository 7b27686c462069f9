/* executor.c - runs the very instruction that faulted, on a copy of its destination, and records what it did as an
 * event.
 *
 * The bytes at its destination are copied to a scratch area, the instruction runs there (its GS base is the distance
 * from the destination to the scratch), and the result is recorded first and published second: by the time that another
 * thread can see a new value, its event is committed. All under the page's lock, which announced writes take too, so
 * the events of a page are in the order in which its bytes changed, and a locked instruction stays atomic.
 *
 * Everything here runs in the signal handler, with all signals masked. */
#include "stores/executor.h"

#include <cpuid.h>
#include <string.h>
#include <sys/mman.h>

#include "base/lock.h"
#include "base/thread.h"
#include "journal/conditions.h"
#include "journal/registry.h"
#include "memory/arena.h"
#include "memwatch.h"
#include "state.h"
#include "stores/emulation.h"
#include "stores/fpu_exceptions.h"
#include "stores/instruction.h"
#include "stores/native_sites.h"
#include "stores/operands.h"
#include "stores/run_result.h"
#include "stores/page_span.h"
#include "stores/xstate.h"

#define FLAGS_MASK 0xcd5u /* CF PF AF ZF SF DF OF: the flags that instructions read and write */
#define FLAG_ZERO 0x40u
#define CACHE_LINE 64u
#define HANDLER_STACK 65536u /* what the handler may take of a stack, and a signal frame */

int executor_open(void) {
    const int protection = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
    void *p = mmap(NULL, WIDE_MAX, protection, flags | MAP_32BIT, -1, 0); /* low: see gs_base_valid() */
    if (p == MAP_FAILED) p = mmap(NULL, WIDE_MAX, protection, flags, -1, 0);
    if (p == MAP_FAILED) return MW_ERR_NO_MEMORY;
    mw.executor.wide = p;
    uint32_t a, b, c, d;
    __asm__("xgetbv" : "=a"(mw.executor.xstate_enabled), "=d"(d) : "c"(0));
    for (unsigned i = XSTATE_YMM; i < XSTATE_COMPONENTS; i++) { /* here, because CPUID is slow on a virtual machine */
        if (!(mw.executor.xstate_enabled & 1u << i)) continue;
        __cpuid_count(13, i, a, b, c, d);
        mw.executor.xstate[i].size = a;
        mw.executor.xstate[i].offset = b;
        mw.executor.xstate[i].aligned = c & 2;
    }
    return MW_OK;
}

/* Copies the x87 state into the signal frame. Its pointers to the last instruction and operand lead to the block and
 * the scratch area: they are replaced by the program's own addresses. */
MW_SIGNAL_SAFE static void keep_x87(ucontext_t *context, const struct instruction *instruction, uintptr_t scratch,
                                    uintptr_t offset) {
    uint8_t area[FXSAVE_SIZE] __attribute__((aligned(16)));
    uint64_t ip, data;
    __asm__ volatile("fxsave64 %0" : "=m"(area));
    memcpy(&ip, area + FXSAVE_IP, sizeof ip);
    memcpy(&data, area + FXSAVE_DATA, sizeof data);
    if (ip - (uintptr_t)instruction->run.block <= INSTRUCTION_LONGEST)
        ip = (uint64_t)context->uc_mcontext.gregs[REG_RIP];
    if (data - scratch < FXSAVE_SIZE) data = data - scratch + offset;
    memcpy(area + FXSAVE_IP, &ip, sizeof ip);
    memcpy(area + FXSAVE_DATA, &data, sizeof data);
    uint8_t *frame = (uint8_t *)context->uc_mcontext.fpregs;
    memcpy(frame, area, FXSAVE_MXCSR);
    memcpy(frame + FXSAVE_X87, area + FXSAVE_X87, FXSAVE_SSE - FXSAVE_X87); /* not the bytes between: MXCSR */
    frame[FXSAVE_SIZE] |= XSTATE_BIT(XSTATE_X87);
}

/* Runs the instruction's block with the interrupted state; its memory operand is at `scratch` instead of at `offset`.
 */
MW_SIGNAL_SAFE static void run_block(const struct instruction *instruction, ucontext_t *context, uintptr_t scratch,
                                     uintptr_t offset) {
    struct thread *t = &mw_thread;
    greg_t *g = context->uc_mcontext.gregs;
    for (unsigned r = 0; r < 16; r++) t->regs[r] = (uint64_t)g[greg_of[r]];
    if (instruction->memory.relative) t->regs[instruction->memory.base] = (uint64_t)g[REG_RIP] + instruction->length;
    t->flags = (uint64_t)g[REG_EFL] & FLAGS_MASK;
    t->block = instruction->run.block;
    t->leave = mw.code_blocks.leave;
    uint64_t gs = read_gs_base();
    uint32_t mxcsr = instruction->run.raises ? fpu_simd_mask(context) : 0;
    write_gs_base(scratch - offset);
    mw.code_blocks.enter(instruction->run.restore ? context->uc_mcontext.fpregs : NULL, instruction->run.restore);
    write_gs_base(gs);
    for (unsigned r = 0; r < 16; r++)
        if (!(instruction->memory.relative && r == instruction->memory.base)) g[greg_of[r]] = (greg_t)t->regs[r];
    if (instruction->run.changes_x87) keep_x87(context, instruction, scratch, offset);
    if (instruction->run.raises) fpu_simd_unmask(context, mxcsr);
}

MW_SIGNAL_SAFE static void step_over(const struct instruction *instruction, ucontext_t *context) {
    greg_t *g = context->uc_mcontext.gregs;
    g[REG_EFL] = (greg_t)(((uint64_t)g[REG_EFL] & ~(uint64_t)FLAGS_MASK) | (mw_thread.flags & FLAGS_MASK));
    g[REG_RIP] += instruction->length;
}

MW_SIGNAL_SAFE static bool has_stored(const struct instruction *instruction, const ucontext_t *context) {
    return instruction->run.condition == IF_EQUAL     ? mw_thread.flags & FLAG_ZERO
           : instruction->run.condition == IF_NUMERIC ? fpu_x87_stored(context)
                                                      : true;
}

/* Whether the address is canonical, as wrgsbase demands. It isn't if an FS- or GS-relative operand is far from its
 * segment and the scratch area lies high, as stacks do; mw.executor.wide lies low, where that hardly ever happens. */
MW_SIGNAL_SAFE static bool gs_base_valid(uint64_t base) { return (uint64_t)((int64_t)(base << 16) >> 16) == base; }

/* Runs a masked store, and finds out which bytes it wrote, whatever kind of mask it has: it is run over the complement
 * of the old bytes, then over the old bytes; bytes that it wrote are the same after both runs. Registers are the same
 * after one run or two. */
MW_SIGNAL_SAFE static uint64_t written_bytes(const struct instruction *instruction, ucontext_t *context,
                                             uint8_t *scratch, uintptr_t offset, const uint8_t *before) {
    uint8_t other[STORE_MAX];
    uint64_t written = 0;
    for (unsigned i = 0; i < instruction->size; i++) scratch[i] = (uint8_t)~before[i];
    run_block(instruction, context, (uintptr_t)scratch, offset);
    memcpy(other, scratch, instruction->size);
    memcpy(scratch, before, instruction->size);
    run_block(instruction, context, (uintptr_t)scratch, offset);
    for (unsigned i = 0; i < instruction->size; i++) written |= (uint64_t)(scratch[i] == other[i]) << i;
    return written;
}

MW_SIGNAL_SAFE static enum run_result run_store_at(const struct instruction *instruction, ucontext_t *context,
                                                   uintptr_t at, uintptr_t offset, uint8_t *scratch,
                                                   const mw_origin *origin) {
    uint8_t before[STORE_MAX];
    struct page_span span;
    if (!page_span_lock(&span, at, instruction->size))
        return RUN_DONE; /* the watch has just ended: let it run as it is */
    page_span_read(&span, at, before);
    /* Before anything has changed: can the part on other memory be written? */
    bool done = instruction->run.masking == MASKED || page_span_write_beyond(&span, at, before, ALL_WRITTEN);
    if (done) {
        uint64_t written =
            instruction->run.masking ? written_bytes(instruction, context, scratch, offset, before) : ALL_WRITTEN;
        if (instruction->run.masking == NOT_MASKED) {
            memcpy(scratch, before, instruction->size);
            run_block(instruction, context, (uintptr_t)scratch, offset);
        }
        if (instruction->run.raises && fpu_simd_raised(context, scratch, instruction->size, written)) {
            page_span_unlock(&span);
            return RUN_RAISED;
        }
        if (written && has_stored(instruction, context)) {
            done = page_span_write_beyond(&span, at, scratch, written);
            if (done) {
                registry_record(at, span.piece, span.count, before, scratch, written, origin, NULL);
                page_span_publish(&span, scratch);
            }
        }
    }
    page_span_unlock(&span);
    if (!done) return RUN_NOT_OURS;
    step_over(instruction, context);
    return RUN_DONE;
}

MW_SIGNAL_SAFE static enum run_result run_store(const struct instruction *instruction, ucontext_t *context,
                                                uintptr_t address, const mw_origin *origin) {
    uint8_t area[CACHE_LINE + STORE_MAX] __attribute__((aligned(CACHE_LINE)));
    uintptr_t offset, at = operand_address(instruction, context, &offset);
    if (address - (at & ~PAGE_MASK) >= 2 * MW_PAGE_SIZE) return RUN_NOT_OURS; /* the fault was some other operand's */
    /* Vector stores insist on an alignment; locked ones would stop the whole machine across two cache lines. */
    unsigned aligned = instruction->run.restore ? at & (CACHE_LINE - 1) : 0;
    bool far = unlikely(!gs_base_valid((uintptr_t)area + aligned - offset));
    uint8_t *scratch = (far ? mw.executor.wide : area) + aligned;
    if (far && !gs_base_valid((uintptr_t)scratch - offset)) return RUN_REFUSED;
    if (far) lock_take(&mw.executor.wide_lock, thread_id());
    enum run_result result = run_store_at(instruction, context, at, offset, scratch, origin);
    if (far) lock_release(&mw.executor.wide_lock);
    return result;
}

/* ---- state saves: larger than a vector, and some of them know their size only now ---- */

MW_SIGNAL_SAFE static unsigned wide_size(const struct instruction *instruction, const ucontext_t *context) {
    if (instruction->size) return instruction->size;
    uint32_t wanted =
        (uint32_t)register_read(context, 0) & mw.executor.xstate_enabled; /* EDX:EAX, nothing above bit 31 here */
    unsigned size = FXSAVE_SIZE + XSTATE_HEADER_SIZE;
    for (unsigned i = XSTATE_YMM; i < XSTATE_COMPONENTS; i++) {
        if (!(wanted & 1u << i)) continue;
        if (instruction->run.compacted) { /* compacted */
            if (mw.executor.xstate[i].aligned) size = (size + CACHE_LINE - 1) & ~(CACHE_LINE - 1);
            size += mw.executor.xstate[i].size;
        } else if (mw.executor.xstate[i].offset + mw.executor.xstate[i].size > size) {
            size = mw.executor.xstate[i].offset + mw.executor.xstate[i].size;
        }
    }
    return size;
}

MW_SIGNAL_SAFE static enum run_result run_wide(const struct instruction *instruction, ucontext_t *context,
                                               const mw_origin *origin) {
    uintptr_t offset, at = operand_address(instruction, context, &offset);
    unsigned size = wide_size(instruction, context);
    if (size + CACHE_LINE > WIDE_MAX) return RUN_REFUSED;
    lock_take(&mw.executor.wide_lock, thread_id());
    uint8_t *scratch = mw.executor.wide + (at & (CACHE_LINE - 1));
    if (!gs_base_valid((uintptr_t)scratch - offset)) {
        lock_release(&mw.executor.wide_lock);
        return RUN_REFUSED;
    }
    bool done = true;
    for (unsigned from = 0;
         from < size && done;) { /* before anything has changed: can the parts on other memory be written? */
        unsigned room = MW_PAGE_SIZE - (unsigned)((at + from) & PAGE_MASK), n = size - from < room ? size - from : room;
        done = safe_read(scratch + from, at + from, n) &&
               (arena_page_at(at + from) != NO_PAGE || safe_write(at + from, scratch + from, n));
        if (!done) mw_thread.fault = at + from;
        from += n;
    }
    if (done) {
        run_block(instruction, context, (uintptr_t)scratch, offset);
        for (unsigned from = 0; from < size && done;) {
            unsigned room = MW_PAGE_SIZE - (unsigned)((at + from) & PAGE_MASK),
                     n = size - from < room ? size - from : room;
            done = arena_page_at(at + from) == NO_PAGE ? safe_write(at + from, scratch + from, n)
                                                       : page_span_apply(at + from, scratch + from, n, origin, NULL);
            from += n;
        }
    }
    lock_release(&mw.executor.wide_lock);
    if (!done) return RUN_NOT_OURS;
    step_over(instruction, context);
    return RUN_DONE;
}

/* What the adapter does may need more room than a stack for signals has. The one that the program was on goes on below
 * what a leaf function may keep there (System V ABI, 3.2.2: 128 bytes). */
MW_SIGNAL_SAFE static void call_on_its_stack(const ucontext_t *context, mw_guard_hook hook, uintptr_t at,
                                             uintptr_t length) {
    uintptr_t below = ((uintptr_t)context->uc_mcontext.gregs[REG_RSP] - 128) & ~(uintptr_t)63;
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    if (here < below && below - here < HANDLER_STACK) { /* no other stack */
        hook((const void *)at, length);
        return;
    }
    __asm__ volatile("movq %%rsp, %%rbx\n\t"
                     "movq %[below], %%rsp\n\t"
                     "call *%[hook]\n\t"
                     "movq %%rbx, %%rsp"
                     : "+D"(at), "+S"(length)
                     : [below] "r"(below), [hook] "r"(hook)
                     : "rbx", "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2",
                       "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
                       "xmm14", "xmm15");
}

MW_SIGNAL_SAFE static void tell_guarded(const ucontext_t *context) {
    mw_guard_hook hook = __atomic_load_n(&mw.guard_hook, __ATOMIC_ACQUIRE);
    uintptr_t at = mw_thread.guarded;
    if (hook) call_on_its_stack(context, hook, at, mw_thread.guarded_end - at);
}

MW_SIGNAL_SAFE static void settle(const void *ucontext, size_t unused) {
    (void)unused;
    conditions_settle(ucontext);
}

MW_SIGNAL_SAFE enum run_result executor_run(ucontext_t *context, uintptr_t address) {
    bool overflow;
    struct instruction *instruction = instruction_at((uintptr_t)context->uc_mcontext.gregs[REG_RIP], &overflow);
    if (!instruction) return RUN_REFUSED;
    mw_origin origin = {.context = mw_thread.context};
    mw_origin_provider provider = __atomic_load_n(&mw.origin_provider, __ATOMIC_ACQUIRE);
    if (provider) provider(context, &origin);
    native_site_of_store(context, &origin);
    enum run_result result;
    mw_thread.fault = mw_thread.guarded = mw_thread.guarded_end = 0;
    switch (instruction->kind) {
    case KIND_RUN: result = run_store(instruction, context, address, &origin); break;
    case KIND_WIDE: result = run_wide(instruction, context, &origin); break;
    case KIND_REFUSED: result = RUN_REFUSED; break;
    default: result = emulate(instruction, context, &origin);
    }
    if (overflow) instruction_overflow_done();
    if (unlikely(mw_thread.guarded && result == RUN_DONE)) tell_guarded(context);
    if (unlikely(mw_thread.hits)) call_on_its_stack(context, settle, (uintptr_t)context, 0);
    return result == RUN_NOT_OURS && mw_thread.fault ? RUN_FAULT : result;
}
