/* hashes.c - BLAKE2b in plain C: it is used once for each text of a statement and for long parameters. */
#include "hashes.h"

#include <string.h>

static const uint64_t initial[8] = {0x6a09e667f3bcc908u, 0xbb67ae8584caa73bu, 0x3c6ef372fe94f82bu, 0xa54ff53a5f1d36f1u,
                                    0x510e527fade682d1u, 0x9b05688c2b3e6c1fu, 0x1f83d9abfb41bd6bu, 0x5be0cd19137e2179u};
static const uint8_t order[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static uint64_t rotate(uint64_t x, int by) { return x >> by | x << (64 - by); }

static void mix(uint64_t v[16], int a, int b, int c, int d, uint64_t x, uint64_t y) {
    v[a] += v[b] + x, v[d] = rotate(v[d] ^ v[a], 32);
    v[c] += v[d], v[b] = rotate(v[b] ^ v[c], 24);
    v[a] += v[b] + y, v[d] = rotate(v[d] ^ v[a], 16);
    v[c] += v[d], v[b] = rotate(v[b] ^ v[c], 63);
}

static void compress(uint64_t h[8], const uint8_t block[128], uint64_t total, int last) {
    uint64_t v[16], m[16];
    memcpy(m, block, sizeof m); /* little-endian, as all of MemWatch */
    memcpy(v, h, 8 * sizeof *h);
    memcpy(v + 8, initial, sizeof initial);
    v[12] ^= total;
    if (last) v[14] = ~v[14];
    for (int round = 0; round < 12; round++) {
        const uint8_t *s = order[round % 10];
        for (int i = 0; i < 4; i++) mix(v, i, 4 + i, 8 + i, 12 + i, m[s[2 * i]], m[s[2 * i + 1]]);
        for (int i = 0; i < 4; i++)
            mix(v, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, m[s[8 + 2 * i]], m[s[9 + 2 * i]]);
    }
    for (int i = 0; i < 8; i++) h[i] ^= v[i] ^ v[8 + i];
}

void blake2b(uint8_t *digest, size_t size, const void *data, size_t n, const void *key, size_t key_size,
             const uint8_t person[16]) {
    uint8_t parameters[64] = {(uint8_t)size, (uint8_t)key_size, 1, 1}, block[128] = {0};
    uint64_t h[8], total = 0;
    memcpy(parameters + 48, person, 16);
    memcpy(h, parameters, sizeof h);
    for (int i = 0; i < 8; i++) h[i] ^= initial[i];
    if (key_size) {
        memcpy(block, key, key_size);
        total = sizeof block;
        compress(h, block, total, !n);
    }
    const uint8_t *at = data;
    for (; n > sizeof block; at += sizeof block, n -= sizeof block) {
        total += sizeof block;
        compress(h, at, total, 0);
    }
    if (n || !key_size) {
        memset(block, 0, sizeof block);
        if (n) memcpy(block, at, n);
        compress(h, block, total + n, 1);
    }
    memcpy(digest, h, size);
}
