/* codes.h - the code map: all code that V8 has told of, by address. */
#ifndef MEMWATCH_CODES_H
#define MEMWATCH_CODES_H
#include "isolate.h"

namespace memwatch {

/* What lies at an address; NULL: V8 hasn't told of it. Async-signal-safe. */
code *code_at(state *s, uintptr_t pc);

/* What V8 calls of each code that it makes, moves or describes. */
void on_code(const v8::JitCodeEvent *event);

} // namespace memwatch
#endif
