/* stacks.h - call stacks: sequences of sites, each with one id. */
#ifndef MEMWATCH_STACKS_H
#define MEMWATCH_STACKS_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"
#include "base/lock.h"

#define STACKS_BITS 18
#define STACKS_MOST (1u << STACKS_BITS)
#define STACK_WORDS_MOST (1u << 23)

struct stack {
    uint32_t at;           /* its beginning in `words` */
    _Atomic uint64_t told; /* where its record is: in which journal and, if that has a limit, in which segment */
};

struct stacks {
    mw_lock lock;
    struct stack *rows;      /* by id */
    uint32_t *words;         /* of each stack: how many sites; then what its record carries: the flags; the sites */
    _Atomic uint64_t *index; /* a table with open addressing: the upper half of a hash, and the id */
    uint32_t words_used, words_most;
    _Atomic uint32_t count;
    _Atomic uint32_t full_reported;
};
#endif
