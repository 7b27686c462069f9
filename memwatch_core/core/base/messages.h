/* messages.h - sentences of ours on standard error, as long as that is what it was. */
#ifndef MEMWATCH_MESSAGES_H
#define MEMWATCH_MESSAGES_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"

struct standard_error {
    _Atomic uint64_t device, inode;
};

MW_HIDDEN void tell_open(void);
MW_HIDDEN void tell_redirected(void);                  /* the program has put a file of its choice there */
MW_HIDDEN void tell(const char *text, size_t length);  /* to standard error; nothing if that isn't there any more */
MW_HIDDEN void tell_formatted(const char *format, ...) /* at most 511 bytes; not async-signal-safe */
    __attribute__((format(printf, 1, 2)));
#endif
