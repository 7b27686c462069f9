/* hash.h - which of 2^bits places of a table a number belongs to. */
#ifndef MEMWATCH_HASH_H
#define MEMWATCH_HASH_H
#include <stdint.h>
#include "base/compiler.h"

/* Multiplicative hashing, by 2^64 over the golden ratio: every bit of the number has a say in the upper bits of the
 * product. Knuth, The Art of Computer Programming, 6.4. */
#define HASH_FACTOR 0x9E3779B97F4A7C15u

MW_SIGNAL_SAFE static inline uint64_t hash_to_bits(uint64_t number, unsigned bits) {
    return number * HASH_FACTOR >> (64 - bits);
}
#endif
