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

MW_HIDDEN void clock_open(void);
MW_HIDDEN uint64_t clock_now(void); /* ns since 1970 */
#endif
