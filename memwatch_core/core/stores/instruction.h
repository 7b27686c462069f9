/* instruction.h - what the executor must know of an instruction. */
#ifndef MEMWATCH_INSTRUCTION_H
#define MEMWATCH_INSTRUCTION_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"
#include "base/lock.h"

#define INSTRUCTIONS_MAX 16384u
#define INSTRUCTION_CACHE 8192u
#define STORE_MAX 64u       /* bytes that an instruction of the ordinary kind writes */
#define WIDE_MAX (1u << 16) /* bytes that xsave and its kind may write */

enum form_kind {
    FORM_REFUSED = 0, /* can't be run safely: loud */
    FORM_RUN,         /* run on a scratch copy of its destination */
    FORM_WIDE,        /* likewise, size known at run time: xsave and its kind */
    FORM_STRING,      /* movs, stos */
    FORM_SCATTER,     /* several destinations: vpscatter* */
    FORM_MOVDIR64B,   /* destination in a register, without a segment */
    FORM_CLZERO,      /* destination is the cache line of RAX */
    FORM_PUSH,        /* destination is the stack */
    FORM_CALL,
};
enum { REG_NONE = 16 };
struct form {
    uint8_t length, bytes[15];
    uint8_t kind;
    uint16_t size;         /* bytes written, 0: known at run time; of one element for FORM_STRING and FORM_SCATTER */
    uint8_t base, index;   /* 0..15 in encoding order (rax rcx rdx rbx rsp rbp rsi rdi r8..), or REG_NONE */
    uint8_t scale;         /* 0, 1, 2, 4, 8 */
    uint8_t segment;       /* 0 none, 1 fs, 2 gs */
    uint8_t address_bytes; /* 8 or 4 */
    uint8_t relative;      /* RIP-relative: `base` is a register the instruction doesn't use, holding the next RIP */
    uint8_t bit_offset;    /* bts and its kind: operand bytes of the bit offset register, else 0 */
    uint8_t source;        /* register operand: bit offset, element mask, value pushed, source of a string operation */
    uint8_t conditional;   /* enum condition: may store nothing */
    uint8_t masked;        /* a mask says which bytes it stores; 2: the others can fault as well */
    uint8_t repeat;        /* rep prefix */
    uint8_t moves;         /* FORM_STRING: movs, not stos */
    uint8_t source_kind;   /* FORM_PUSH, FORM_CALL: enum operand_kind */
    uint8_t mxcsr_back;    /* may change MXCSR, or raise an exception that it unmasks */
    uint8_t x87_back;      /* changes the x87 state */
    uint8_t elements;      /* FORM_SCATTER: how many */
    uint8_t index_bytes;   /* FORM_SCATTER: 4 or 8 */
    uint8_t vector, vector_index; /* FORM_SCATTER: numbers of the data and the index register */
    uint32_t restore;             /* xsave components that it reads */
    uint32_t next;                /* chain of the content hash */
    int64_t displacement;
    int64_t immediate;
    void *block; /* executable copy, GS-prefixed, ending in a jump to the leave thunk */
};
enum condition {
    ALWAYS,
    IF_EQUAL,  /* cmpxchg: not if ZF is clear afterwards */
    IF_NUMERIC /* x87: not if it has noted an exception that the program has unmasked */
};
enum operand_kind { OPERAND_REGISTER, OPERAND_IMMEDIATE, OPERAND_MEMORY, OPERAND_FLAGS, OPERAND_SEGMENT };

struct instructions {
    mw_lock lock, overflow_lock;
    struct form *rows;
    _Atomic uint32_t count;
    _Atomic uint32_t *buckets;     /* content hash -> row + 1 */
    _Atomic(struct form *) *cache; /* address -> row, verified by content */
    struct form overflow;
};

MW_HIDDEN int form_open(void);
/* The form of the instruction at ip; NULL if it can't be read as one. overflow: the table is full, the caller must call
 * form_overflow_done() when it has run the form. */
MW_HIDDEN struct form *form_at(uintptr_t ip, bool *overflow);
MW_HIDDEN void form_overflow_done(void);
#endif
