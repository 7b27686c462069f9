/* endings.h - the watch of a variable ends: because its adapter says so, or because its memory is no longer there.
 *
 * First it ends, wherever that is noticed: no store is recorded any more, and the journal says so. Then, under mw.lock,
 * what it held is cleared away. */
#ifndef MEMWATCH_ENDINGS_H
#define MEMWATCH_ENDINGS_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "memwatch.h"
#include "base/compiler.h"
#include "journal/registry.h"

#define LOOKS_KEPT 64u
struct endings {
    _Atomic uint32_t gone; /* the first variable that has ended and isn't cleared away; then by its `next` */
    struct {               /* when a variable's memory is to be looked at again, by the time stamp counter */
        _Atomic uint32_t id;
        _Atomic uint64_t due;
    } looks[LOOKS_KEPT];
};

/* False: it has ended already. */
MW_HIDDEN bool watch_end(uint32_t id, struct variable *variable, const mw_ending *ending);
/* Of one that watch_end() has ended. What was adopted becomes ordinary memory again, where it is still ours. Caller
 * holds mw.lock. */
MW_HIDDEN int watch_clear(uint32_t id, struct variable *variable);
MW_HIDDEN void watch_clear_gone(void); /* of all that have ended elsewhere; caller holds mw.lock */
/* Whether the memory that a page of the arena was put in place of is still ours: else its watch ends. `lately`: it may
 * have been so a moment ago, which costs next to nothing. */
MW_HIDDEN bool watch_holds(uint32_t page, bool lately);
/* The owner of [start, end) is about to do away with it. `drops`: its contents as well; what of it is still there when
 * watch_clear_gone() is called becomes ordinary memory then, otherwise now. Caller holds mw.lock. */
MW_HIDDEN void watch_release(uintptr_t start, uintptr_t end, const mw_ending *ending, bool drops);
MW_HIDDEN void watch_look_at_all(void);                          /* at all that is adopted; caller holds mw.lock */
MW_HIDDEN uint32_t watch_pages(const struct variable *variable); /* how many it lies on */
/* Memory of the rows about this variable's, if all of them have ended. Caller holds mw.lock. */
MW_HIDDEN void watch_give_back_rows(uint32_t id);
#endif
