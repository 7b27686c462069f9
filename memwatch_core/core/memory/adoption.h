/* adoption.h - memory of an adapter's own is adopted: arena pages take over its contents and are mapped at its address.
 *
 * Its owner may free, move, unmap or map it anew without asking anybody. So before anything is written there, the
 * kernel is asked whether what is mapped there is still ours. */
#ifndef MEMWATCH_ADOPTION_H
#define MEMWATCH_ADOPTION_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"

/* n pages from `start` on, which were adopted as those of the arena from `first` on. */
struct adoption {
    uintptr_t start;
    size_t n;
    uint32_t first;
};

MW_HIDDEN int adoption_take(struct adoption *adoption); /* sets `first`; caller holds mw.lock, as of the next */
/* Makes what is still ours of it ordinary memory, with the same contents, and gives its pages back: in place, and, if
 * it is `astray`, where it was moved to. Other memory stays as it is. */
MW_HIDDEN int adoption_give_back(const struct adoption *adoption, bool astray);
/* Copies memory to pages that are zeros, but those of its pages that were never touched, if they are zeros too. */
MW_HIDDEN void adoption_copy(uint8_t *to, uintptr_t from, size_t size);
MW_HIDDEN bool adoption_is_there(const struct adoption *adoption);      /* all of it is still ours */
MW_HIDDEN void adoption_forget_others(const struct adoption *adoption); /* what of it isn't */
/* Those of its first pages that have the same answer; *ours: which. */
MW_HIDDEN size_t adoption_run(int maps, const struct adoption *adoption, bool *ours);
/* In a forked child: maps and arms all of it that has no other memory in its place, and forgets the rest. */
MW_HIDDEN int adoption_map_all(void);
MW_HIDDEN void adoption_protect_all(void); /* maps what is still ours read-only */
#endif
