/* instruction.h - what the executor must know of an instruction, and where that is found. */
#ifndef MEMWATCH_INSTRUCTION_H
#define MEMWATCH_INSTRUCTION_H
#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"
#include "base/lock.h"

#define INSTRUCTIONS_MAX 16384u
#define INSTRUCTION_CACHE_BITS 13u
#define INSTRUCTION_LONGEST 15u
#define STORE_MAX 64u       /* bytes that an instruction of the ordinary kind writes */
#define WIDE_MAX (1u << 16) /* bytes that xsave and its kind may write */

enum instruction_kind {
    KIND_REFUSED = 0, /* can't be run safely: loud */
    KIND_RUN,         /* run on a scratch copy of its destination */
    KIND_WIDE,        /* likewise, but longer than STORE_MAX: state saves */
    KIND_STRING,      /* movs, stos */
    KIND_SCATTER,     /* several destinations: vpscatter* */
    KIND_MOVDIR64B,   /* destination in a register, without a segment */
    KIND_CLZERO,      /* destination is the cache line of RAX */
    KIND_PUSH,        /* destination is the stack */
    KIND_CALL,
};
enum { RAX = 0, RCX = 1, RSP = 4, RSI = 6, RDI = 7, REG_NONE = 16 }; /* registers, by the numbers that encodings use */
enum segment { SEGMENT_NONE, SEGMENT_FS, SEGMENT_GS };
enum condition {
    ALWAYS,
    IF_EQUAL,  /* cmpxchg: stores nothing if ZF is clear afterwards */
    IF_NUMERIC /* x87: stores nothing if it has noted an exception that the program has unmasked */
};
enum masking {
    NOT_MASKED,
    MASKED,       /* a mask says which bytes are stored; the others aren't even looked at */
    MASKED_FAULTS /* the others aren't stored, but fault like them */
};
enum push_source { PUSH_REGISTER, PUSH_IMMEDIATE, PUSH_MEMORY, PUSH_FLAGS };

struct memory_operand {
    int64_t displacement;
    uint8_t base, index;      /* REG_NONE: there is none */
    uint8_t scale;            /* 0, 1, 2, 4, 8 */
    uint8_t segment;          /* enum segment */
    uint8_t address_bytes;    /* 8 or 4 */
    bool relative;            /* to the next RIP: the block finds that in `base`, which it doesn't use otherwise */
    uint8_t bit_offset_bytes; /* bts and its kind: 2, 4 or 8 if a register says how many bits further; 0: none does */
    uint8_t bit_offset_register; /* which */
};

struct instruction {
    uint8_t length, bytes[INSTRUCTION_LONGEST];
    uint8_t kind;                 /* enum instruction_kind: says which part of the union counts */
    uint16_t size;                /* bytes stored, by one element of several; 0: known at run time (xsave) */
    uint32_t next;                /* row + 1 of the next one with this hash */
    struct memory_operand memory; /* the destination; of a push, a call and movdir64b, the source. Of string operations
                                     and clzero, only its segment and address_bytes */
    union {
        struct {               /* KIND_RUN, KIND_WIDE */
            void *block;       /* executable copy, GS-prefixed, ending in a jump to the leave thunk */
            uint32_t restore;  /* xsave components that it reads */
            uint8_t condition; /* enum condition */
            uint8_t masking;   /* enum masking */
            bool raises;       /* may change MXCSR, or raise an exception that the program has unmasked */
            bool changes_x87;  /* the x87 state is the program's afterwards */
            bool compacted;    /* xsavec */
        } run;
        struct {
            bool moves, repeats; /* movs, not stos; has a rep prefix */
        } string;
        struct {
            uint8_t elements, index_bytes; /* how many; 4 or 8 */
            uint8_t data, indexes, mask;   /* numbers of vector registers, and of the mask register */
        } scatter;
        struct {
            int64_t immediate;
            uint8_t source, source_register; /* enum push_source */
        } push;                              /* KIND_PUSH, KIND_CALL */
        struct {
            uint8_t destination_register;
        } movdir64b;
    };
};
static_assert(sizeof(struct instruction) == 64, "one cache line a row");

struct instructions {
    mw_lock lock, overflow_lock;
    struct instruction *rows;
    _Atomic uint32_t count;
    _Atomic uint32_t *buckets;            /* hash of the bytes -> row + 1 */
    _Atomic(struct instruction *) *cache; /* hash of the address -> row, which may be another's: bytes are compared */
    struct instruction overflow;
};

MW_HIDDEN int instructions_open(void);
/* The instruction at ip; NULL if there is none. *overflow: the table is full, and instruction_overflow_done() must be
 * called when it has been run. */
MW_HIDDEN struct instruction *instruction_at(uintptr_t ip, bool *overflow);
MW_HIDDEN void instruction_overflow_done(void);
#endif
