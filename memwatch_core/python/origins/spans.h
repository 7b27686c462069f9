/* spans.h - OpenTelemetry's current span, where the program uses OpenTelemetry. */
#ifndef MEMWATCH_PYTHON_SPANS_H
#define MEMWATCH_PYTHON_SPANS_H
#include "adapter.h"

typedef struct mwpy_span {
    uint64_t trace[2], span; /* the upper half first; all 0: there is none */
} mwpy_span;

/* Of the calling thread, whose state this is; held: it holds the GIL. Async-signal-safe. */
mwpy_span mwpy_span_of(PyThreadState *thread, bool held);

/* Once, before the other. 0, or -1 with an exception. Wants the GIL. */
int mwpy_prepare_spans(void);
#endif
