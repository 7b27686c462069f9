/* siphash.h - SipHash-2-4 (Aumasson, Bernstein 2012): a keyed pseudorandom function for short inputs, 64 bits out. */
#ifndef MEMWATCH_SIPHASH_H
#define MEMWATCH_SIPHASH_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "base/compiler.h"

MW_SIGNAL_SAFE static inline uint64_t sip_rotate(uint64_t x, int by) { return x << by | x >> (64 - by); }

MW_SIGNAL_SAFE static inline void sip_round(uint64_t v[4]) {
    v[0] += v[1], v[1] = sip_rotate(v[1], 13), v[1] ^= v[0], v[0] = sip_rotate(v[0], 32);
    v[2] += v[3], v[3] = sip_rotate(v[3], 16), v[3] ^= v[2];
    v[0] += v[3], v[3] = sip_rotate(v[3], 21), v[3] ^= v[0];
    v[2] += v[1], v[1] = sip_rotate(v[1], 17), v[1] ^= v[2], v[2] = sip_rotate(v[2], 32);
}

MW_SIGNAL_SAFE static inline uint64_t siphash(const uint64_t key[2], const unsigned char *bytes, size_t n) {
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du, key[0] ^ 0x6c7967656e657261u,
                     key[1] ^ 0x7465646279746573u};
    uint64_t last = (uint64_t)n << 56, word;
    for (; n >= 8; bytes += 8, n -= 8) {
        memcpy(&word, bytes, 8);
        v[3] ^= word, sip_round(v), sip_round(v), v[0] ^= word;
    }
    for (size_t i = 0; i < n; i++) last |= (uint64_t)bytes[i] << 8 * i;
    v[3] ^= last, sip_round(v), sip_round(v), v[0] ^= last;
    v[2] ^= 0xff, sip_round(v), sip_round(v), sip_round(v), sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
