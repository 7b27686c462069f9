/* clock.h - the time of day, cheaply. */
#ifndef MEMWATCH_CLOCK_H
#define MEMWATCH_CLOCK_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"

struct clock { /* one sample, guarded by `version`: odd while it is written */
    _Atomic uint32_t version;
    bool usable;
    _Atomic uint64_t at, ns;
    _Atomic uint64_t rate; /* ns a tick, times 2^32; 0 until it is known */
};

#define TICKS_TRUSTED (1u << 21) /* well under 1 ms: further than this we don't extrapolate */

MW_HIDDEN void clock_open(void);
/* Asks the kernel, and takes a new sample unless somebody else does; version: the one that was found. state.h has
 * clock_now(). */
MW_HIDDEN uint64_t clock_sample(uint32_t version);

MW_SIGNAL_SAFE static inline uint64_t clock_ticks(void) {
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}
#endif
