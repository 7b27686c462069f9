/* contexts.h - whose async flow runs. */
#ifndef MEMWATCH_CONTEXTS_H
#define MEMWATCH_CONTEXTS_H
#include "isolate.h"

namespace memwatch {

/* Where V8 has the address of what is continued with; NULL: it hasn't. Async-signal-safe. */
inline uintptr_t *frame_of(v8::Isolate *isolate) {
#if V8_MAJOR_VERSION >= 12
    return (uintptr_t *)((uintptr_t)isolate + v8::internal::Internals::kContinuationPreservedEmbedderDataOffset);
#else
    (void)isolate;
    return nullptr;
#endif
}

/* That. Empty if it is nothing that JavaScript could have. */
v8::Local<v8::Value> current_frame(v8::Isolate *isolate);

/* The id of the statement in force in this thread, 0: none. Async-signal-safe. */
uint32_t context_of(const state *s);

} // namespace memwatch
#endif
