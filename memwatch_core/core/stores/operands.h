/* operands.h - an instruction's operands in the interrupted state: registers, addresses. */
#ifndef MEMWATCH_OPERANDS_H
#define MEMWATCH_OPERANDS_H
#include <stdint.h>
#include <ucontext.h>
#include "base/compiler.h"
#include "stores/instruction.h"

extern MW_HIDDEN const int greg_of[16];                                    /* index into gregs, by encoding order */
MW_HIDDEN uint64_t register_read(const ucontext_t *context, unsigned reg); /* in encoding order; 0 for REG_NONE */
MW_HIDDEN void register_write(ucontext_t *context, unsigned reg, uint64_t value);
MW_HIDDEN uint64_t segment_base(const struct memory_operand *operand);
/* Linear address of the instruction's memory operand; *offset: the same before the segment base. */
MW_HIDDEN uintptr_t operand_address(const struct instruction *instruction, const ucontext_t *context,
                                    uintptr_t *offset);

static inline uint64_t read_fs_base(void) {
    uint64_t base;
    __asm__ volatile("rdfsbase %0" : "=r"(base));
    return base;
}
static inline uint64_t read_gs_base(void) {
    uint64_t base;
    __asm__ volatile("rdgsbase %0" : "=r"(base));
    return base;
}
static inline void write_gs_base(uint64_t base) { __asm__ volatile("wrgsbase %0" ::"r"(base)); }
#endif
