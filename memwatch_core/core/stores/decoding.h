/* decoding.h - from the bytes of an instruction to what the executor must know of it. */
#ifndef MEMWATCH_DECODING_H
#define MEMWATCH_DECODING_H
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"
#include "stores/instruction.h"

struct relocated { /* an instruction as it is run elsewhere, behind a GS prefix */
    uint8_t bytes[INSTRUCTION_LONGEST + 1];
    unsigned length; /* 0: it isn't run */
};

/* Of `bytes`, of which so many can be read. Its block is the caller's to make, of `copy`. False: it isn't one. */
MW_HIDDEN bool decode(struct instruction *out, const uint8_t *bytes, unsigned available, struct relocated *copy);
#endif
