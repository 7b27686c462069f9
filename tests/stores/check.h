/* check.h - what ends a test program: a call of the core that failed, or something that isn't so. */
#ifndef CHECK_H
#define CHECK_H
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "memwatch.h"

static inline void check(int64_t result, const char *what) {
    if (result >= 0) return;
    fprintf(stderr, "%s: %s\n", what, mw_strerror((int)result));
    exit(2);
}

#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not so: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno);                  \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)
#endif
