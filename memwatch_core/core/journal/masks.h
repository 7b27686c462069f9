/* masks.h - what stands in the journal for the bytes of a secret. docs/decisions/secrets.md says what it tells.
 *
 * A byte is replaced by another one, by a permutation of its own for each place of each variable: a Feistel network of
 * two halves of 4 bits, each of whose rounds is a table of 16 of them, the 64 bits of one SipHash. So bytes are equal
 * there if they were equal, and whoever reads can compare, follow and blame them as if they were plain. */
#ifndef MEMWATCH_MASKS_H
#define MEMWATCH_MASKS_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "base/compiler.h"
#include "text/siphash.h"

enum { MASK_ROUNDS = 8 };

struct mask { /* of one place */
    uint64_t round[MASK_ROUNDS];
};

MW_SIGNAL_SAFE static inline struct mask mask_of(const uint64_t key[2], uint32_t variable, uint64_t offset) {
    struct mask mask;
    for (uint64_t i = 0; i < MASK_ROUNDS; i++) {
        uint64_t where[2] = {offset, i << 32 | variable};
        mask.round[i] = siphash(key, (const unsigned char *)where, sizeof where);
    }
    return mask;
}

MW_SIGNAL_SAFE static inline uint8_t mask_byte(const struct mask *mask, uint8_t byte) {
    unsigned left = byte >> 4, right = byte & 15;
    for (unsigned i = 0; i < MASK_ROUNDS; i++) {
        unsigned swapped = left ^ (unsigned)(mask->round[i] >> 4 * right & 15);
        left = right;
        right = swapped;
    }
    return (uint8_t)(right << 4 | left);
}

/* A hash of bytes, another one for each variable. */
MW_SIGNAL_SAFE static inline uint64_t mask_hash(const uint64_t key[2], uint32_t variable, const void *bytes, size_t n) {
    uint64_t own[2] = {key[0] ^ variable, ~key[1]};
    return siphash(own, bytes, n);
}
#endif
