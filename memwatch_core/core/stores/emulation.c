/* emulation.c - the stores that can't be run elsewhere, because a segment prefix doesn't move their destination: string
 * instructions (ES:RDI), pushes (SS:RSP), movdir64b (ES:reg), clzero (whole lines), and scatters, which have several
 * destinations. Intel SDM volume 2 is the source for each, AMD APM volume 3 for clzero. Runs in the signal handler. */
#include "stores/emulation.h"

#include <string.h>

#include "base/lock.h"
#include "base/thread.h"
#include "memory/arena.h"
#include "memwatch.h"
#include "state.h"
#include "stores/instruction.h"
#include "stores/operands.h"
#include "stores/run_result.h"
#include "stores/page_span.h"
#include "stores/xstate.h"

#define FLAG_DIRECTION 0x400u
#define FLAGS_PUSHED 0xfcffffu /* RF and VM read as 0 */

MW_SIGNAL_SAFE static uint64_t narrowed(const struct instruction *instruction, uint64_t value) {
    return instruction->memory.address_bytes == 4 ? (uint32_t)value : value;
}

/* Whether any byte of [at, at + size) is on a page of ours; size <= 4096. */
MW_SIGNAL_SAFE static bool touches_ours(uintptr_t at, unsigned size) {
    return arena_page_at(at) != NO_PAGE || arena_page_at(at + size - 1) != NO_PAGE;
}

/* ---- movs, stos ---- */

/* How many elements may be copied at once: all on one page, and none read after this batch has written it. */
MW_SIGNAL_SAFE static uint64_t batch(const struct instruction *instruction, uint64_t count, uint64_t to, uint64_t from,
                                     bool down) {
    unsigned size = instruction->size;
    uint64_t low = to & PAGE_MASK, most;
    if (low + size > MW_PAGE_SIZE) return 1; /* an element across two pages */
    most = down ? low / size + 1 : (MW_PAGE_SIZE - low) / size;
    if (most > count) most = count;
    if (instruction->string.moves) {
        uint64_t apart = down ? from - to : to - from; /* small if the destination runs ahead into the source */
        if (apart && apart < most * size) most = apart / size ? apart / size : 1;
        if (down && apart < most * size) most = 1;
    }
    return most ? most : 1;
}

MW_SIGNAL_SAFE static bool fill_batch(const struct instruction *instruction, uint8_t *buffer, uint64_t n,
                                      uintptr_t from, uint64_t value) {
    if (instruction->string.moves) return safe_read(buffer, from, n * instruction->size);
    for (uint64_t i = 0; i < n; i++) memcpy(buffer + i * instruction->size, &value, instruction->size);
    return true;
}

MW_SIGNAL_SAFE static enum run_result string(const struct instruction *instruction, ucontext_t *context,
                                             const mw_origin *origin) {
    unsigned size = instruction->size;
    bool down = (uint64_t)context->uc_mcontext.gregs[REG_EFL] & FLAG_DIRECTION, progress = false;
    uint64_t to = narrowed(instruction, register_read(context, RDI)),
             from = narrowed(instruction, register_read(context, RSI));
    uint64_t count = instruction->string.repeats ? narrowed(instruction, register_read(context, RCX)) : 1,
             source = segment_base(&instruction->memory);
    lock_take(&mw.executor.wide_lock, thread_id());
    while (count && touches_ours(to, size)) {
        uint64_t n = batch(instruction, count, to, from, down), bytes = n * size;
        uint64_t back = down ? bytes - size : 0;
        if (!fill_batch(instruction, mw.executor.wide, n, source + from - back, register_read(context, RAX)) ||
            !page_span_apply(to - back, mw.executor.wide, (unsigned)bytes, origin, NULL))
            break;
        to = narrowed(instruction, down ? to - bytes : to + bytes);
        if (instruction->string.moves) from = narrowed(instruction, down ? from - bytes : from + bytes);
        count -= n;
        progress = true;
    }
    lock_release(&mw.executor.wide_lock);
    if (!progress) return RUN_NOT_OURS;
    register_write(context, RDI, to);
    if (instruction->string.moves) register_write(context, RSI, from);
    if (instruction->string.repeats) register_write(context, RCX, count);
    if (!count)
        context->uc_mcontext.gregs[REG_RIP] +=
            instruction->length; /* else the CPU goes on with the rest, on other memory */
    return RUN_DONE;
}

/* ---- pushes ---- */

MW_SIGNAL_SAFE static bool operand(const struct instruction *instruction, ucontext_t *context, uint64_t *value) {
    uintptr_t offset;
    *value = 0;
    switch (instruction->push.source) {
    case PUSH_REGISTER: *value = register_read(context, instruction->push.source_register); return true;
    case PUSH_IMMEDIATE: *value = (uint64_t)instruction->push.immediate; return true;
    case PUSH_FLAGS: *value = (uint64_t)context->uc_mcontext.gregs[REG_EFL] & FLAGS_PUSHED; return true;
    default: return safe_read(value, operand_address(instruction, context, &offset), instruction->size);
    }
}

MW_SIGNAL_SAFE static enum run_result push(const struct instruction *instruction, ucontext_t *context,
                                           const mw_origin *origin) {
    uint64_t value, next = (uint64_t)context->uc_mcontext.gregs[REG_RIP] + instruction->length;
    uint64_t stack = register_read(context, RSP) - instruction->size;
    if (!touches_ours(stack, instruction->size) || !operand(instruction, context, &value)) return RUN_NOT_OURS;
    uint64_t pushed = instruction->kind == KIND_CALL ? next : value;
    if (!page_span_apply(stack, (const uint8_t *)&pushed, instruction->size, origin, NULL)) return RUN_NOT_OURS;
    register_write(context, RSP, stack);
    if (instruction->kind == KIND_CALL) next = instruction->push.source == PUSH_IMMEDIATE ? next + value : value;
    context->uc_mcontext.gregs[REG_RIP] = (greg_t)next;
    return RUN_DONE;
}

/* ---- movdir64b ---- */

MW_SIGNAL_SAFE static enum run_result movdir64b(const struct instruction *instruction, ucontext_t *context,
                                                const mw_origin *origin) {
    uint8_t bytes[64];
    uintptr_t offset, from = operand_address(instruction, context, &offset),
                      to = narrowed(instruction, register_read(context, instruction->movdir64b.destination_register));
    if (!touches_ours(to, 64) || !safe_read(bytes, from, 64) || !page_span_apply(to, bytes, 64, origin, NULL))
        return RUN_NOT_OURS;
    context->uc_mcontext.gregs[REG_RIP] += instruction->length;
    return RUN_DONE;
}

/* ---- clzero ---- */

MW_SIGNAL_SAFE static enum run_result clzero(const struct instruction *instruction, ucontext_t *context,
                                             const mw_origin *origin) {
    enum { LINE = 64 };
    static const uint8_t zeros[LINE];
    uintptr_t at = (segment_base(&instruction->memory) + narrowed(instruction, register_read(context, RAX))) &
                   ~(uintptr_t)(LINE - 1);
    if (!touches_ours(at, LINE) || !page_span_apply(at, zeros, LINE, origin, NULL)) return RUN_NOT_OURS;
    context->uc_mcontext.gregs[REG_RIP] += instruction->length;
    return RUN_DONE;
}

/* ---- scatters ---- */

enum { XMM_SIZE = 16, YMM_SIZE = 32, ZMM_SIZE = 64 };

/* Where byte `at` of a vector register lies in the signal frame; NULL: it is 0, as its component is in its initial
 * state. */
MW_SIGNAL_SAFE static const uint8_t *vector_byte(const uint8_t *frame, unsigned reg, unsigned at) {
    uint64_t present;
    enum xstate_component component = reg >= 16        ? XSTATE_ZMM_16_31
                                      : at >= YMM_SIZE ? XSTATE_ZMM_HIGH
                                      : at >= XMM_SIZE ? XSTATE_YMM
                                                       : XSTATE_SSE;
    memcpy(&present, frame + FXSAVE_SIZE, sizeof present);
    if (!(present & XSTATE_BIT(component))) return NULL;
    const uint8_t *area = frame + mw.executor.xstate[component].offset;
    switch (component) {
    case XSTATE_ZMM_16_31: return area + (reg - 16) * ZMM_SIZE + at;
    case XSTATE_ZMM_HIGH: return area + reg * (ZMM_SIZE - YMM_SIZE) + (at - YMM_SIZE);
    case XSTATE_YMM: return area + reg * (YMM_SIZE - XMM_SIZE) + (at - XMM_SIZE);
    default: return frame + FXSAVE_SSE + reg * XMM_SIZE + at;
    }
}

MW_SIGNAL_SAFE static uint64_t vector_element(const uint8_t *frame, unsigned reg, unsigned i, unsigned size) {
    uint64_t value = 0;
    const uint8_t *bytes = vector_byte(frame, reg, i * size);
    if (bytes) memcpy(&value, bytes, size);
    return value;
}

MW_SIGNAL_SAFE static enum run_result scatter(const struct instruction *instruction, ucontext_t *context,
                                              const mw_origin *origin) {
    uint8_t *frame = (uint8_t *)context->uc_mcontext.fpregs;
    uint8_t *mask_bytes = frame + mw.executor.xstate[XSTATE_OPMASK].offset + 8 * instruction->scatter.mask;
    uint64_t mask;
    uintptr_t offset, base = operand_address(instruction, context, &offset);
    memcpy(&mask, mask_bytes, 8);
    for (unsigned i = 0; i < instruction->scatter.elements; i++) {
        if (!(mask >> i & 1)) continue;
        uint64_t raw = vector_element(frame, instruction->scatter.indexes, i, instruction->scatter.index_bytes);
        int64_t index = instruction->scatter.index_bytes == 4 ? (int32_t)raw : (int64_t)raw;
        uintptr_t at = base + (uint64_t)index * instruction->memory.scale;
        if (instruction->memory.address_bytes == 4)
            at = base - offset + (uint32_t)(offset + (uint64_t)index * instruction->memory.scale);
        uint64_t value = vector_element(frame, instruction->scatter.data, i, instruction->size);
        bool done = touches_ours(at, instruction->size)
                        ? page_span_apply(at, (const uint8_t *)&value, instruction->size, origin, NULL)
                        : safe_write(at, &value, instruction->size);
        if (!done && !mw_thread.fault) mw_thread.fault = at;
        if (!done) return RUN_NOT_OURS; /* elements before this one are done, and their mask bits clear */
        mask &= ~(1ull << i);
        memcpy(mask_bytes, &mask, 8);
    }
    mask = 0;
    memcpy(mask_bytes, &mask, 8);
    context->uc_mcontext.gregs[REG_RIP] += instruction->length;
    return RUN_DONE;
}

MW_SIGNAL_SAFE enum run_result emulate(const struct instruction *instruction, ucontext_t *context,
                                       const mw_origin *origin) {
    switch (instruction->kind) {
    case KIND_STRING: return string(instruction, context, origin);
    case KIND_PUSH:
    case KIND_CALL: return push(instruction, context, origin);
    case KIND_MOVDIR64B: return movdir64b(instruction, context, origin);
    case KIND_CLZERO: return clzero(instruction, context, origin);
    case KIND_SCATTER: return scatter(instruction, context, origin);
    default: return RUN_REFUSED;
    }
}
