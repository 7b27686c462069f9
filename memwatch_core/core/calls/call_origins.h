/* call_origins.h - which line of the program, and which native code, makes a call of libc that leads to the core. */
#ifndef MEMWATCH_CALL_ORIGINS_H
#define MEMWATCH_CALL_ORIGINS_H
#include <stdint.h>
#include <ucontext.h>
#include "memwatch.h"
#include "base/compiler.h"

/* caller: where the call returns to. mask: the signals that it was made with. Fills in the context as far as an origin
 * provider looks at it. Async-signal-safe; signals are masked meanwhile. */
MW_HIDDEN mw_origin call_origin(uintptr_t caller, uint64_t mask, ucontext_t *context);
#endif
