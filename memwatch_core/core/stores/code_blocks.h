/* code_blocks.h - executable memory: two thunks, and a block for each instruction. */
#ifndef MEMWATCH_CODE_BLOCKS_H
#define MEMWATCH_CODE_BLOCKS_H
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"

struct code_blocks { /* two views of the same memory */
    uint8_t *write, *run;
    size_t used;
    void (*enter)(void *xstate, uint64_t mask);
    void *leave;
};

MW_HIDDEN int code_blocks_open(void);
MW_HIDDEN int code_blocks_replace(void); /* in a forked child, which shares them with its parent */
MW_HIDDEN void *code_block_make(const uint8_t *instruction, unsigned length); /* caller holds mw.instructions.lock */
MW_HIDDEN void *code_block_overflow(const uint8_t *instruction, unsigned length); /* caller holds overflow_lock */
#endif
