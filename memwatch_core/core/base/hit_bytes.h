/* hit_bytes.h - what adapters keep of an event that met a condition. */
#ifndef MEMWATCH_HIT_BYTES_H
#define MEMWATCH_HIT_BYTES_H
#include <stdint.h>
#include "memwatch.h"

/* How many bytes of `before` and of `after` there are to keep. */
static inline uint32_t mw_hit_bytes(const mw_hit *hit) {
    uint32_t stored = hit->length < MW_HIT_MAX ? hit->length : MW_HIT_MAX;
    return hit->size <= MW_HIT_MAX ? hit->size : stored;
}
#endif
