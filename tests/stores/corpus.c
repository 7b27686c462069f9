/* corpus.c - ordinary C whose every write goes to the memory it is given; compiled at several optimisation levels.
 *
 * LEVEL is the name under which this object's table is found (corpus_O2 ...). A function gets 16 KiB and a seed. */
#include <complex.h>
#include <setjmp.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "corpus.h"

#define F(name) static void name(uint8_t *m, uint32_t seed)
#define ROOM 4096u

static uint32_t next(uint32_t *s) {
    *s ^= *s << 13, *s ^= *s >> 17, *s ^= *s << 5;
    return *s;
}

struct small {
    uint8_t a;
    uint16_t b;
};
struct twelve {
    uint32_t a, b, c;
};
struct big {
    uint64_t a[9];
    uint32_t b;
    uint8_t c[7];
};
struct bits {
    uint32_t a : 3, b : 11, c : 18;
    uint64_t d : 40, e : 24;
    uint8_t f : 1, g : 7;
    int64_t h : 33;
};
struct node {
    uint32_t key, left, right;
    int8_t balance;
};
struct __attribute__((packed)) packed {
    uint8_t a;
    uint64_t b;
    uint16_t c;
    double d;
    float e;
    uint32_t f;
};
union mixed {
    uint8_t b[16];
    uint64_t q[2];
    double d[2];
    float f[4];
};

F(struct_copies) {
    struct big *b = (struct big *)m;
    struct twelve *t = (struct twelve *)(m + 2048);
    struct small *s = (struct small *)(m + 3000);
    for (int i = 1; i < 6; i++) b[i] = b[i - 1], t[i] = t[0], s[i] = s[seed & 1];
    t[7] = (struct twelve){seed, 2, 3};
    b[8] = (struct big){{1, seed}, 5, {1}};
}
F(packed_fields) {
    struct packed *p = (struct packed *)(m + 1);
    for (uint32_t i = 0; i < 40; i++) {
        p[i].a = (uint8_t)i, p[i].b = (uint64_t)seed << i, p[i].c += 7, p[i].d = seed * 0.5, p[i].e = (float)i,
        p[i].f ^= seed;
    }
}
F(bitfields) {
    struct bits *b = (struct bits *)m;
    for (uint32_t i = 0; i < 30; i++) {
        b[i].a = i, b[i].b += seed, b[i].c ^= i, b[i].d = ~(uint64_t)seed, b[i].e |= 0x55, b[i].f = !b[i].f,
        b[i].g -= 3;
        b[i].h = -(int64_t)seed;
    }
}
#define LOOPS(name, T)                                                                                                 \
    F(name##_fill) {                                                                                                   \
        T *p = (T *)m;                                                                                                 \
        for (unsigned i = 0; i < ROOM / sizeof(T); i++) p[i] = (T)(i * 3 + seed);                                      \
    }                                                                                                                  \
    F(name##_update) {                                                                                                 \
        T *p = (T *)(m + 3 * sizeof(T));                                                                               \
        for (unsigned i = 0; i < 500; i++) p[i] = (T)(p[i] + (T)seed);                                                 \
    }                                                                                                                  \
    F(name##_if) {                                                                                                     \
        T *p = (T *)m;                                                                                                 \
        for (unsigned i = 0; i < 300; i++)                                                                             \
            if (p[i] > (T)(seed & 63)) p[i] = (T)(p[i] - (T)9);                                                        \
    }                                                                                                                  \
    F(name##_stride) {                                                                                                 \
        T *p = (T *)m;                                                                                                 \
        for (unsigned i = 0; i < 300; i += 3) p[i] = (T)i, p[i + 1] = (T)seed;                                         \
    }                                                                                                                  \
    F(name##_reverse) {                                                                                                \
        T *p = (T *)m;                                                                                                 \
        for (unsigned i = 0, j = 255; i < j; i++, j--) {                                                               \
            T t = p[i];                                                                                                \
            p[i] = p[j];                                                                                               \
            p[j] = t;                                                                                                  \
        }                                                                                                              \
    }                                                                                                                  \
    F(name##_scatter) {                                                                                                \
        T *p = (T *)m;                                                                                                 \
        const uint32_t *x = (const uint32_t *)(m + 12288);                                                             \
        for (unsigned i = 0; i < 256; i++) p[x[i] & 511] = (T)i;                                                       \
    }                                                                                                                  \
    F(name##_prefix) {                                                                                                 \
        T *p = (T *)m;                                                                                                 \
        for (unsigned i = 1; i < 300; i++) p[i] = (T)(p[i] + p[i - 1]);                                                \
    }
LOOPS(u8, uint8_t)
LOOPS(i16, int16_t)
LOOPS(u32, uint32_t)
LOOPS(i64, int64_t)
LOOPS(f32, float)
LOOPS(f64, double)
#define CONVERT(name, A, B)                                                                                            \
    F(name) {                                                                                                          \
        A *a = (A *)m;                                                                                                 \
        const B *b = (const B *)(m + 8192);                                                                            \
        (void)seed;                                                                                                    \
        for (unsigned i = 0; i < 400; i++) a[i] = (A)b[i];                                                             \
    }
CONVERT(narrow_64_32, uint32_t, uint64_t)
CONVERT(narrow_64_16, uint16_t, uint64_t)
CONVERT(narrow_64_8, uint8_t, uint64_t)
CONVERT(narrow_32_16, uint16_t, uint32_t)
CONVERT(narrow_32_8, uint8_t, uint32_t)
CONVERT(narrow_16_8, uint8_t, uint16_t)
CONVERT(widen_8_64, int64_t, int8_t)
CONVERT(widen_16_32, int32_t, int16_t)
CONVERT(float_of_int, float, int32_t)
CONVERT(int_of_float, int32_t, float)
CONVERT(double_of_float, double, float)
CONVERT(float_of_double, float, double)
F(long_doubles) {
    long double *p = (long double *)m;
    for (unsigned i = 0; i < 60; i++) p[i] = (long double)seed / (long double)(i + 1), p[i] *= p[i ? i - 1 : 0];
    int64_t *q = (int64_t *)(m + 4096);
    int16_t *h = (int16_t *)(m + 5000);
    float *f = (float *)(m + 6000);
    double *d = (double *)(m + 7000);
    for (unsigned i = 0; i < 20; i++)
        q[i] = (int64_t)p[i], h[i] = (int16_t)(i * p[1]), f[i] = (float)p[i], d[i] = (double)p[i];
}
F(complexes) {
    double complex *p = (double complex *)m;
    float complex *q = (float complex *)(m + 4096);
    for (int i = 0; i < 50; i++) p[i] = i + seed * I, p[i] *= p[i], q[i] = (float complex)p[i] + 1.0f;
}
#ifdef __FLT16_MAX__
F(halves) {
    _Float16 *p = (_Float16 *)m;
    const float *f = (const float *)(m + 8192);
    for (unsigned i = 0; i < 200; i++) p[i] = (_Float16)(float)(seed % 1000 + i);
    for (unsigned i = 0; i < 200; i++) p[i + 300] = p[i] * (_Float16)2.5f;
    for (unsigned i = 0; i < 128; i++) p[i + 600] = (_Float16)f[i];
    p[900] = p[seed & 127];
}
#endif
F(atomics) {
    _Atomic uint64_t *q = (_Atomic uint64_t *)m;
    _Atomic uint32_t *d = (_Atomic uint32_t *)(m + 1024);
    _Atomic uint16_t *w = (_Atomic uint16_t *)(m + 2048);
    _Atomic uint8_t *b = (_Atomic uint8_t *)(m + 3072);
    for (int i = 0; i < 8; i++) {
        uint64_t eq = i & 1 ? q[i] : seed;
        uint32_t ed = i & 1 ? d[i] : seed;
        atomic_fetch_add(q + i, seed), atomic_fetch_sub(d + i, seed), atomic_fetch_or(w + i, 3),
            atomic_fetch_and(b + i, 5);
        atomic_fetch_xor(q + i + 8, seed), atomic_store(d + i + 8, seed), atomic_exchange(w + i + 8, 9);
        uint8_t old = atomic_exchange(b + i + 8, 77);
        d[100 + i] = (uint32_t)atomic_fetch_add(q + i + 20, 1);
        d[120 + i] = (uint32_t)atomic_fetch_or(q + i + 20, 4) + old;
        atomic_compare_exchange_strong(q + i, &eq, seed * 5ull);
        atomic_compare_exchange_weak(d + i, &ed, 17);
        b[40 + i] = (uint8_t)atomic_flag_test_and_set((atomic_flag *)(m + 3800 + i));
        atomic_store_explicit(q + i + 30, seed, memory_order_release);
        __atomic_fetch_nand((uint32_t *)(m + 1500) + i, seed, __ATOMIC_SEQ_CST);
        __atomic_add_fetch((int16_t *)(m + 2500) + i, -1, __ATOMIC_ACQ_REL);
        __atomic_fetch_or((uint64_t *)(m + 4096) + i, 1ull << (seed & 63), __ATOMIC_SEQ_CST);
        b[60 + i] = __atomic_fetch_or((uint64_t *)(m + 4096) + i, 1ull << i, __ATOMIC_SEQ_CST) >> i & 1;
        b[70 + i] = __atomic_fetch_and((uint64_t *)(m + 4096) + i, ~(1ull << i), __ATOMIC_SEQ_CST) >> i & 1;
        b[80 + i] = __atomic_fetch_xor((uint64_t *)(m + 4096) + i, 1ull << i, __ATOMIC_SEQ_CST) >> i & 1;
        b[90 + i] = __atomic_sub_fetch((int32_t *)(m + 1700) + i, 1, __ATOMIC_SEQ_CST) == 0;
    }
}
#ifdef __GCC_HAVE_SYNC_COMPARE_AND_SWAP_16
F(atomic_pairs) {
    __int128 *p = (__int128 *)m, wanted = p[0];
    for (int i = 0; i < 6; i++) {
        p[i + 8] = __sync_val_compare_and_swap(p + i, wanted, (__int128)seed << 70 | (unsigned)i);
        __sync_bool_compare_and_swap(p + i, p[i], ~p[i]);
    }
}
#endif
F(integer_updates) {
    uint64_t *q = (uint64_t *)m;
    uint32_t *d = (uint32_t *)(m + 512);
    uint16_t *w = (uint16_t *)(m + 1024);
    uint8_t *b = m + 1536;
    for (unsigned i = 0; i < 12; i++) {
        q[i] += seed, d[i] -= 7, w[i] |= 0x1234, b[i] &= 0x3f, q[i] ^= 0x7fffffffffull, d[i]++, w[i]--,
            b[i] = (uint8_t)~b[i];
        q[i] = -q[i], d[i] <<= 3, w[i] >>= 1, b[i] = (uint8_t)(b[i] << 1 | b[i] >> 7), q[i] >>= seed & 31,
        d[i] <<= i & 31;
        d[i + 20] = d[i] << 5 | d[i] >> 27, w[i + 20] = (uint16_t)(w[i] << 3 | w[i] >> 13),
              q[i + 20] = (int64_t)q[i] >> 9;
        q[i + 30] |= 1ull << (seed & 63), q[i + 31] &= ~(1ull << (i & 63)), q[i + 32] ^= 1ull << 40;
        b[i + 100] = q[i] < d[i], b[i + 120] = (int32_t)d[i] > 5, b[i + 140] = w[i] == 3;
        *(uint64_t *)(m + 2051 + 16 * i) = __builtin_bswap64(q[i]),
                                      *(uint32_t *)(m + 2561 + 4 * i) = __builtin_bswap32(d[i]);
        *(uint16_t *)(m + 3001 + 2 * i) = __builtin_bswap16(w[i]), q[i + 50] = 0, d[i + 99] = 0xffffffff,
                                     q[i + 60] = seed * 3;
    }
}
F(wide_integers) {
    unsigned __int128 *p = (unsigned __int128 *)m;
    for (int i = 0; i < 20; i++)
        p[i] += (unsigned __int128)seed << 64 | seed, p[i + 30] = p[i] * seed, p[i + 50] -= p[i] >> 3;
}
F(memory_calls) {
    static const unsigned sizes[] = {1,  2,  3,  4,  7,   8,   9,   15,  16,  17,   31,  32,
                                     33, 63, 64, 65, 100, 128, 200, 256, 511, 1000, 2000};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        memcpy(m + i, m + 8192 + i, sizes[i]);
        memset(m + 5 * i, (int)seed, sizes[i]);
        memmove(m + 300 + i, m + 290, sizes[i]);
    }
    memset(m + 4000, 0, 300);
    memcpy(m + 4097, m + 9000, 3500);
    memset(m + 1, 1, 3), memset(m + 10, 2, 13), memset(m + 40, 3, 48), memset(m + 100, 4, 64), memset(m + 200, 0, 129);
    memcpy(m + 3, m + 500, 5), memcpy(m + 13, m + 501, 24), memcpy(m + 61, m + 503, 72), memcpy(m + 150, m + 700, 200);
    memset(m, 0, 8192);
}
F(strings) {
    char *p = (char *)m;
    strcpy(p, "watched"), strcat(p, " and told"), strncpy(p + 100, "padded", 40), p[200] = 0;
    for (unsigned i = 0; i < 20; i++) p[300 + i] = (char)('a' + (seed + i) % 26);
    snprintf(p + 400, 100, "%u %s %x %.9f", seed, "text", seed, seed / 7.0);
    for (char *c = p + 400; *c; c++)
        if (*c >= 'a' && *c <= 'z') *c = (char)(*c - 32);
    memccpy(p + 600, "stop here!", '!', 40), strcpy(p + 700, p + 400);
}
static int by_value(const void *a, const void *b) {
    return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
}
F(sorting) {
    int *p = (int *)m;
    for (int i = 0; i < 200; i++) p[i] = (int)next(&seed);
    qsort(p, 100, sizeof *p, by_value);
    for (int i = 101; i < 200; i++) {
        int v = p[i], j = i - 1;
        while (j >= 100 && p[j] > v) p[j + 1] = p[j], j--;
        p[j + 1] = v;
    }
}
F(matrix) {
    double (*a)[12] = (void *)m, (*b)[12] = (void *)(m + 2048), (*c)[12] = (void *)(m + 4096);
    for (int i = 0; i < 12; i++)
        for (int j = 0; j < 12; j++) a[i][j] = i + j * 0.5 + seed, b[i][j] = i - j, c[i][j] = 0;
    for (int i = 0; i < 12; i++)
        for (int k = 0; k < 12; k++)
            for (int j = 0; j < 12; j++) c[i][j] += a[i][k] * b[k][j];
    for (int i = 0; i < 12; i++)
        for (int j = 0; j < i; j++) {
            double t = c[i][j];
            c[i][j] = c[j][i];
            c[j][i] = t;
        }
}
F(jumps) {
    void **b = (void **)(m + 64);
    volatile uint32_t *v = (volatile uint32_t *)m;
    *v = seed;
    if (!__builtin_setjmp(b)) {
        v[1]++;
        if (v[1] & 1)
            v[2] = 5;
        else
            v[3] = 6;
    } else
        v[4] = 1;
    memset(b, 0, 64); /* stack addresses are of no use afterwards */
}
F(tree) {
    struct node *n = (struct node *)m;
    uint32_t used = 1;
    n[0] = (struct node){seed, 0, 0, 0};
    for (int i = 0; i < 100; i++) {
        uint32_t key = next(&seed), at = 0;
        for (;;) {
            uint32_t *way = key < n[at].key ? &n[at].left : &n[at].right;
            n[at].balance = (int8_t)(n[at].balance + (key < n[at].key ? -1 : 1));
            if (!*way) {
                n[used] = (struct node){key, 0, 0, 0};
                *way = used++;
                break;
            }
            at = *way;
        }
    }
}
F(unions) {
    union mixed *u = (union mixed *)m;
    for (int i = 0; i < 20; i++) u[i].d[0] = seed, u[i].f[3] = 2.5f, u[i].b[9] ^= 255, u[i].q[0] += 1;
}
F(volatile_words) {
    volatile uint64_t *q = (volatile uint64_t *)m;
    volatile double *d = (volatile double *)(m + 800);
    volatile float *f = (volatile float *)(m + 1600);
    for (int i = 0; i < 30; i++) q[i] = seed, q[i]++, d[i] = i, d[i] += 0.5, f[i] *= 3;
}
F(histogram) {
    uint32_t *h = (uint32_t *)m;
    for (int i = 0; i < 400; i++) h[next(&seed) & 255]++;
}
F(compress) {
    int32_t *p = (int32_t *)m;
    unsigned k = 0;
    for (unsigned i = 0; i < 500; i++)
        if (p[i] > (int32_t)seed) p[k++] = p[i];
}
F(crossing) {
    for (unsigned i = 0; i < 16; i++)
        *(volatile uint64_t *)(m + 4089 + i) = seed * 0x100000001ull + i, *(volatile uint32_t *)(m + 8190 + i) += 3;
}
F(vectors) {
    typedef uint32_t v8 __attribute__((vector_size(32), aligned(4)));
    typedef double v4 __attribute__((vector_size(32), aligned(8)));
    typedef uint8_t v64 __attribute__((vector_size(64), aligned(1)));
    for (int i = 0; i < 10; i++)
        *(v8 *)(m + 36 * i) += seed, *(v4 *)(m + 2048 + 40 * i) = *(v4 *)(m + 2048) * 2.0,
                                                             *(v64 *)(m + 4000 + 33 * i) ^= (uint8_t)i;
}
F(streaming) {
#ifdef __SSE2__
    for (int i = 0; i < 8; i++)
        __builtin_ia32_movnti((int *)m + i, (int)seed), __builtin_ia32_movnti64((long long *)(m + 512) + i, seed);
    typedef double v2 __attribute__((vector_size(16)));
    for (int i = 0; i < 8; i++) __builtin_ia32_movntpd((double *)(m + 1024) + 2 * i, (v2){seed, i});
#endif
}

#define E(name) {#name, name},
#define LOOP_TABLE(n) E(n##_fill) E(n##_update) E(n##_if) E(n##_stride) E(n##_reverse) E(n##_scatter) E(n##_prefix)
const struct corpus_entry LEVEL[] = {
    E(struct_copies) E(packed_fields) E(bitfields) LOOP_TABLE(u8) LOOP_TABLE(i16) LOOP_TABLE(u32) LOOP_TABLE(i64)
        LOOP_TABLE(f32) LOOP_TABLE(f64) E(narrow_64_32) E(narrow_64_16) E(narrow_64_8) E(narrow_32_16) E(narrow_32_8)
            E(narrow_16_8) E(widen_8_64) E(widen_16_32) E(float_of_int) E(int_of_float) E(double_of_float)
                E(float_of_double) E(long_doubles) E(complexes) E(atomics) E(integer_updates) E(wide_integers)
                    E(memory_calls) E(strings) E(sorting) E(matrix) E(jumps) E(tree) E(unions) E(volatile_words)
                        E(histogram) E(compress) E(crossing) E(vectors) E(streaming)
#ifdef __FLT16_MAX__
                            E(halves)
#endif
#ifdef __GCC_HAVE_SYNC_COMPARE_AND_SWAP_16
                                E(atomic_pairs)
#endif
                                    {0, 0}};
