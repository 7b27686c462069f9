/* places.h - from an instruction to the place in the source that it comes from. Async-signal-safe. */
#ifndef MEMWATCH_PLACES_H
#define MEMWATCH_PLACES_H
#include "codes.h"

namespace memwatch {

/* The last place before `pc`; &c->whole if there is none. */
place *place_in(code *c, uintptr_t pc);

/* What is known of the place of `pc` in code of a script. */
place *resolve(state *s, code *c, uintptr_t pc);

/* Of the function as a whole. */
place *resolve_whole(code *c);

/* A place of which V8's tables say whose it is. */
void resolve_inlined(const code *c, const code *function, place *p);

/* Whether a store can come from this place: not each instruction has a row of its own, but calls have. */
bool can_store(const state *s, const code *function, const place *p);

} // namespace memwatch
#endif
