/* mapping.h - what is mapped at an address, as the kernel tells it. Async-signal-safe. */
#ifndef MEMWATCH_MAPPING_H
#define MEMWATCH_MAPPING_H
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"

struct mapping {
    uintptr_t start, end;
    uint64_t offset, inode, device; /* of the file, or of the shared memory; zeros: private memory without a file */
    bool readable, writable, shared;
};
enum mapped { MAPPED, NOT_MAPPED, MAPPED_UNKNOWN /* /proc isn't there, or no descriptor is left */ };

MW_HIDDEN int mapping_open(void); /* what mapping_at() asks; negative: it can't be asked */
MW_HIDDEN void mapping_close(int fd);
/* The mapping at an address, or the next one above it: what it says of NOT_MAPPED is that there is none. */
MW_HIDDEN enum mapped mapping_from(int fd, uintptr_t address, struct mapping *found);
MW_HIDDEN enum mapped mapping_at(int fd, uintptr_t address, struct mapping *found);
#endif
