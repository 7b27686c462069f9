/* operands.c - see operands.h. */
#include "stores/operands.h"

#include "stores/instruction.h"

const int greg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                         REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

MW_SIGNAL_SAFE uint64_t register_read(const ucontext_t *context, unsigned reg) {
    return reg < 16 ? (uint64_t)context->uc_mcontext.gregs[greg_of[reg]] : 0;
}

MW_SIGNAL_SAFE void register_write(ucontext_t *context, unsigned reg, uint64_t value) {
    context->uc_mcontext.gregs[greg_of[reg]] = (greg_t)value;
}

MW_SIGNAL_SAFE uintptr_t form_address(const struct form *form, const ucontext_t *context, uintptr_t *offset) {
    uint64_t base = form->relative ? (uint64_t)context->uc_mcontext.gregs[REG_RIP] + form->length
                                   : register_read(context, form->base);
    uint64_t at = base + register_read(context, form->index) * form->scale + (uint64_t)form->displacement;
    if (form->bit_offset) {
        uint64_t raw = register_read(context, form->source);
        int64_t bits = form->bit_offset == 8 ? (int64_t)raw : form->bit_offset == 4 ? (int32_t)raw : (int16_t)raw;
        unsigned shift = form->bit_offset == 8 ? 6 : form->bit_offset == 4 ? 5 : 4;
        at += (uint64_t)((bits >> shift) * form->bit_offset);
    }
    if (form->address_bytes == 4) at = (uint32_t)at;
    *offset = at;
    return form->segment == 1 ? at + read_fs_base() : form->segment == 2 ? at + read_gs_base() : at;
}
