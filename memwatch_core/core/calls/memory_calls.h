/* memory_calls.h - what stands in for libc's calls that free, move, unmap or protect memory: import_tables.c. */
#ifndef MEMWATCH_MEMORY_CALLS_H
#define MEMWATCH_MEMORY_CALLS_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/compiler.h"

MW_HIDDEN void replaced_free(void *block);
MW_HIDDEN void *replaced_realloc(void *block, size_t size);
MW_HIDDEN void *replaced_reallocarray(void *block, size_t count, size_t size);
MW_HIDDEN int replaced_munmap(void *start, size_t size);
MW_HIDDEN void *replaced_mmap(void *start, size_t size, int protection, int flags, int fd, off_t offset);
MW_HIDDEN void *replaced_mremap(void *start, size_t size, size_t wanted, int flags, ...);
MW_HIDDEN int replaced_madvise(void *start, size_t size, int advice);
MW_HIDDEN int replaced_mprotect(void *start, size_t size, int protection);
MW_HIDDEN int replaced_pkey_mprotect(void *start, size_t size, int protection, int key);
MW_HIDDEN int replaced_brk(void *end);
MW_HIDDEN void *replaced_sbrk(intptr_t increment);
/* syscall(2) with such a number is about to be made: from descriptor_calls.c. */
MW_HIDDEN void memory_system_call(long number, long a, long b, long c, long d, long e, uintptr_t caller);
#endif
