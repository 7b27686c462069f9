/* memory_calls.h - calls that change memory's protection, as the program's modules see them. */
#ifndef MEMWATCH_MEMORY_CALLS_H
#define MEMWATCH_MEMORY_CALLS_H
#include <stddef.h>

#include "base/compiler.h"

MW_HIDDEN int replaced_mprotect(void *start, size_t size, int protection);
#endif
