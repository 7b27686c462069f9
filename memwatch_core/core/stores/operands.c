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

MW_SIGNAL_SAFE uint64_t segment_base(const struct memory_operand *operand) {
    return operand->segment == SEGMENT_FS ? read_fs_base() : operand->segment == SEGMENT_GS ? read_gs_base() : 0;
}

/* Bytes that a register leads on to, in whole operands: signed, of the operand's own width. */
MW_SIGNAL_SAFE static uint64_t bit_offset(const struct memory_operand *operand, const ucontext_t *context) {
    uint64_t value = register_read(context, operand->bit_offset_register);
    switch (operand->bit_offset_bytes) {
    case 8: return (uint64_t)(((int64_t)value >> 6) * 8);
    case 4: return (uint64_t)((int64_t)((int32_t)value >> 5) * 4);
    default: return (uint64_t)((int64_t)((int16_t)value >> 4) * 2);
    }
}

MW_SIGNAL_SAFE uintptr_t operand_address(const struct instruction *instruction, const ucontext_t *context,
                                         uintptr_t *offset) {
    const struct memory_operand *operand = &instruction->memory;
    uint64_t base = operand->relative ? (uint64_t)context->uc_mcontext.gregs[REG_RIP] + instruction->length
                                      : register_read(context, operand->base);
    uint64_t at = base + register_read(context, operand->index) * operand->scale + (uint64_t)operand->displacement;
    if (operand->bit_offset_bytes) at += bit_offset(operand, context);
    if (operand->address_bytes == 4) at = (uint32_t)at;
    *offset = at;
    return at + segment_base(operand);
}
