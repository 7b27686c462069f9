/* predicate.h - a small program of bytes that says of an event whether it meets a condition.
 *
 * It is compiled by the adapter from what a user has written, for the layout of one variable. Three-valued: what can't
 * be known is neither true nor false. No memory is taken, no lock, nothing runs but this; bounded by its length. */
#ifndef MEMWATCH_PREDICATE_H
#define MEMWATCH_PREDICATE_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"

#define PREDICATE_MAX 4096u /* bytes of a program */
#define PREDICATE_DEPTH 16u /* values that it has in hand */

/* The instructions: memwatch_core/conditions.py writes them. Numbers behind them are little-endian. */
enum predicate_op {
    P_INT = 1,   /* i64 */
    P_FLOAT = 2, /* f64 */
    P_TEXT = 3,  /* u16 length, UTF-8 */
    P_BYTES = 4, /* u16 length, bytes */
    P_NONE = 5,
    P_TRUE = 6,
    P_FALSE = 7,
    P_ABSENT = 8,
    P_NUMBER = 16,   /* u8 side, u8 letter of the struct module, u8 little-endian, u32 offset */
    P_BLOCK = 17,    /* u8 side, u32 offset, u32 length: bytes of fixed length, without zeros at the end */
    P_MEASURED = 18, /* u8 side: u64 length, then bytes */
    P_CELL = 19,     /* u8 side */
    P_CHANGED = 20,
    P_PATH = 24,
    P_SITE = 25,
    P_FILE = 26,
    P_LINE = 27,
    P_FUNCTION = 28,
    P_THREAD = 29,
    P_THREAD_ID = 30,
    P_STATEMENT = 31,
    P_LESS = 32,
    P_LESS_EQUAL = 33,
    P_EQUAL = 34,
    P_NOT_EQUAL = 35,
    P_GREATER = 36,
    P_GREATER_EQUAL = 37,
    P_IN = 38,   /* a text in another one */
    P_LIKE = 39, /* a text, a pattern */
    P_NOT = 40,
    P_AND = 41,
    P_OR = 42,
    P_ADD = 48,
    P_SUBTRACT = 49,
    P_MULTIPLY = 50,
    P_DIVIDE = 51,
    P_FLOOR_DIVIDE = 52,
    P_MODULO = 53,
    P_NEGATE = 54,
    P_ABS = 55,
    P_LENGTH = 56,
    P_TEST = 64, /* u8 side, u8 one of the six comparisons, u32 offset, i64: a signed number of 8 bytes with another */
    P_TEST_CELL = 65, /* the same of a cell, without the offset */
    P_DECIDED = 66,   /* u8 P_AND or P_OR, u16 bytes: what follows is left out where it can't change the result */
    /* The core's own: remembered.h. */
    P_RECALL_SITE = 128, /* u8 which, u16 bytes: what follows is left out where it is known for this site */
    P_RECALL_THREAD = 129,
    P_RECALL_PATH = 130,
    P_KEEP = 131, /* u8 which: the value in hand is kept for the next time */
};

enum verdict { NOT_MET = 0, MET = 1, NOT_KNOWN = 2 };

/* What is judged. The bytes of the store are `before` and `after`; what lies around them is in `whole`, as it was
 * before the store. */
struct judged {
    uint32_t variable, tid, site, context, stack, how;
    const uint8_t *whole; /* of the variable, or of the cell */
    uint32_t size, at, length;
    const uint8_t *before, *after;
    bool hidden;    /* a secret: its value isn't judged */
    bool begins;    /* a cell that held nothing before, whatever is left in it of an earlier call */
    bool announced; /* by this thread, which may have said the path */
};

/* What parts of a program were for a site, a thread or a path: number << 2 | verdict, in rows of which each number has
 * one. 0: nothing. */
#define PREDICATE_ROWS 128u
struct remembered {
    _Atomic uint64_t row[PREDICATE_ROWS];
};

enum { PLACE_CELL = 64, CELL_BEGINS = 0x80 }; /* memwatch_core/python/places/cell.h */

/* Whether it is a program that can be judged. */
MW_HIDDEN bool predicate_is_valid(const uint8_t *program, size_t length);
/* Bytes of the instruction, 0 if there is none like this that a program may have, and how many values it takes. */
MW_HIDDEN size_t predicate_measure(const uint8_t *at, size_t left, unsigned *takes);
/* remembered: as many as the program names. */
MW_HIDDEN enum verdict predicate_judge(const uint8_t *program, size_t length, const struct judged *judged,
                                       struct remembered *remembered);
#endif
