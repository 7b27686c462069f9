/* guarded_copy.h - memory of the program that may not be there, read and written without a system call. */
#ifndef MEMWATCH_GUARDED_COPY_H
#define MEMWATCH_GUARDED_COPY_H
#include <stdbool.h>
#include <stddef.h>
#include <ucontext.h>
#include "base/compiler.h"

/* Copies `size` bytes, a multiple of 8; false if a part of them can't be read, or written. Async-signal-safe, but not
 * for the fault path. */
MW_HIDDEN bool guarded_copy(void *to, const void *from, size_t size);
MW_HIDDEN bool guarded_copy_returns(ucontext_t *context); /* a fault in guarded_copy(): it returns false */
#endif
