/* requests.h - the unit of work on whose behalf a thread stores: the label in force, the asyncio task, OpenTelemetry's
 * trace and span. */
#ifndef MEMWATCH_PYTHON_REQUESTS_H
#define MEMWATCH_PYTHON_REQUESTS_H
#include "origins/tasks.h"

typedef struct mwpy_request {
    mw_request *request; /* NULL: none */
    uint64_t serial;
} mwpy_request;

/* Once, before the others. 0, or -1 with an exception. Wants the GIL. */
int mwpy_prepare_requests(void);

/* Async-signal-safe, for the calling thread, whose state this is; held: it holds the GIL. */
mwpy_request mwpy_find_request(PyThreadState *thread, bool held);

/* The same, at no cost for a thread that has no context variable and no loop. */
static inline mwpy_request mwpy_request_of(PyThreadState *thread, bool held) {
    mwpy_named_task = NULL;
    if (__builtin_expect(!thread->context && !mwpy_may_have_task(thread, held), 1)) return (mwpy_request){NULL, 0};
    return mwpy_find_request(thread, held);
}
#endif
