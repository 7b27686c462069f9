/* frames.h - the frames of the thread that stands still at a store. Async-signal-safe. */
#ifndef MEMWATCH_FRAMES_H
#define MEMWATCH_FRAMES_H
#include <ucontext.h>

#include "places.h"

namespace memwatch {

struct finding {
    place *best;     /* the innermost place in the program's own source */
    place *internal; /* the innermost in Node's, or in this package's */
    bool unknown;    /* before these came a function that isn't in the map */
    unsigned most;   /* callers asked for */
    unsigned count;
    bool cut, inexact; /* there are more; one of them isn't certain, or isn't there */
    bool copied;       /* one of them runs from a copy of its bytecode, which V8 moves without telling */
    uint32_t sites[CALLERS_MOST];

    /* True: nothing more is asked for. */
    bool take(place *p) {
        if (p->internal) {
            if (!best && !internal) internal = p;
            return false;
        }
        if (!best) {
            best = p;
            return !most;
        }
        if (count == most) return cut = true;
        inexact |= !p->exact || !p->site;
        sites[count++] = p->site;
        return false;
    }
    void miss() { (best ? inexact : unknown) = true; }
};

/* Up the chain of frame pointers. False if it broke before all was found that is asked for. `kept`: filled for the
 * next time, if it isn't NULL. */
bool walk(state *s, const ucontext_t *context, finding *found, struct stack *kept);

/* Where C++ used the frame pointer for something else: V8's own sampler knows where the last JavaScript frame is. */
void sample(state *s, const ucontext_t *context, finding *found);

/* Whether the chain of frame pointers leads from C++ to a frame in which JavaScript is left. Else C++ may use them for
 * something else. */
bool leads_out(state *s, uintptr_t frame, uintptr_t sp);

/* The sites of those who called the place that has just stored, the innermost first. */
unsigned callers_of_store(state *s, const ucontext_t *after, uint32_t *sites, unsigned most, bool *cut);

bool is_on_stack(const state *s, uintptr_t frame, uintptr_t sp);

/* V8's builtins: in its own place of node's code, or copied to where optimised code is. */
bool is_builtin(const state *s, uintptr_t pc);

} // namespace memwatch
#endif
