/* shared_memory.h - memory that is mapped at several addresses. */
#ifndef MEMWATCH_SHARED_MEMORY_H
#define MEMWATCH_SHARED_MEMORY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"

struct shared {
    uint8_t *base;
    uint64_t size;
};

/* Over `at`, or, if that is NULL, anywhere. */
MW_HIDDEN int shared_open(struct shared *s, void *at, uint64_t size, bool memfd);
MW_HIDDEN int shared_use(const struct shared *s, uint64_t from, size_t size); /* before, it can't even be read */
/* Maps bytes [from, from + size), which are in use, over `at`, or anywhere. NULL if it is refused. */
MW_HIDDEN void *shared_view(const struct shared *s, void *at, uint64_t from, size_t size, int protection);
MW_HIDDEN int shared_move(struct shared *s, void *at);
MW_HIDDEN void shared_close(struct shared *s); /* views stay */
#endif
