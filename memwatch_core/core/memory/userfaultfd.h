/* userfaultfd.h - pages that userfaultfd protects; mprotect does where the program has closed its descriptor. */
#ifndef MEMWATCH_USERFAULTFD_H
#define MEMWATCH_USERFAULTFD_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"

struct queued_store {          /* under uffd-queue: the store that a thread was last told to run, by a signal */
    _Atomic uint32_t tid, met; /* met: how many signals found their thread at the store */
    _Atomic uintptr_t instruction, address;
};

struct userfaultfd {
    bool without;                  /* pages are protected by mprotect from now on, whatever the tracker */
    void (*lost)(const char *why); /* called when stores may have gone unseen */
};

MW_HIDDEN int uffd_open(uint64_t features, bool kernel_too); /* 0, or -1 with errno */
MW_HIDDEN int uffd_arm(void *start, size_t size);
MW_HIDDEN int uffd_protect(uintptr_t start, size_t size, bool on); /* off: threads that wait at a store there go on */
MW_HIDDEN void uffd_close(void);
MW_HIDDEN void uffd_look(void);       /* whether its descriptor is still open; caller holds mw.lock */
MW_HIDDEN bool uffd_do_without(void); /* pages are protected by mprotect from now on; false: not now */
MW_HIDDEN void uffd_give_up(void);    /* the same, and closes it, at the start; keeps errno */
/* Codes of the signals that uffd-queue sends: run your store to address si_value, with the low half of the
 * instruction's in si_errno; don't go on before the page at si_value is protected again. */
#define STORE_QUEUED (-77)
#define THREAD_HELD (-78)
#define NUMBER_MOVED (-79) /* to the tracker's own thread: userfaultfd has another number now */
MW_HIDDEN bool uffd_signal(uint32_t tid, int code, uintptr_t address, uintptr_t instruction);
#endif
