/* breakpoint.h - what an instruction is beneath a breakpoint. */
#ifndef MEMWATCH_BREAKPOINT_H
#define MEMWATCH_BREAKPOINT_H
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"

#define INT3 0xccu
/* The first byte of the instruction at ip, where INT3 stands over it. False if it can't be known: the text is no
 * file's, or isn't as it is there, or the file can't be read. */
MW_HIDDEN bool breakpoint_lift(uintptr_t ip, uint8_t *first);
#endif
