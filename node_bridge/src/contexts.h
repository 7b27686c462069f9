/* contexts.h - whose async flow runs. */
#ifndef MEMWATCH_CONTEXTS_H
#define MEMWATCH_CONTEXTS_H
#include "isolate.h"

namespace memwatch {

/* The id of the statement in force in this thread, 0: none. Async-signal-safe. */
uint32_t context_of(const state *s);

} // namespace memwatch
#endif
