/* dispatch.h - V8's interpreter, led to where it looks for interrupts before its next bytecode.
 *
 * It comes to each bytecode by a table of its handlers. The one that a debugger's breakpoints use (DebugBreak) asks for
 * breakpoints and interrupts, and then goes on with the bytecode that stands there: so for one bytecode, all entries
 * lead to it. */
#ifndef MEMWATCH_NODE_DISPATCH_H
#define MEMWATCH_NODE_DISPATCH_H
#include <stddef.h>
#include <stdint.h>

#include <atomic>
#include <vector>

namespace memwatch {

class dispatch {
  public:
    /* A handler of a bytecode; stops: that of a breakpoint. */
    void learn(uintptr_t handler, bool stops);
    /* Looks for the table of an isolate. False: it isn't where it is expected, so nothing is diverted. */
    bool find(const void *isolate);
    /* Async-signal-safe; in the isolate's thread. */
    void divert();
    /* Any thread. */
    void restore();
    bool diverted() const { return now; }

  private:
    enum { BYTECODES = 256 };
    std::vector<uintptr_t> handlers;
    uintptr_t stop = 0, kept[BYTECODES];
    uintptr_t *table = nullptr;
    size_t count = 0; /* of its entries */
    std::atomic<bool> now{false};
};

} // namespace memwatch
#endif
