/* told.h - what is printed of a write that met a condition. */
#ifndef MEMWATCH_NODE_TOLD_H
#define MEMWATCH_NODE_TOLD_H
#include "hits.h"
#include "isolate.h"

namespace memwatch {

/* What the bytes of a variable mean. */
struct shape {
    std::string name, when;
    bool has_when;
    char letter;   /* of Python's struct module, of each number; 0: none is known */
    uint32_t size; /* bytes of one */
};

/* What of a variable was written. */
struct written {
    int64_t index;              /* of the number, the first of several; -1: bytes that mean none that is known */
    const uint8_t *old, *after; /* NULL: a secret, or not known */
    uint32_t offset, bytes;     /* where in the variable they lie */
};
written written_of(const shape &shape, const hit &hit);

/* "memwatch: total[0] 5 → -1 at orders.js:41 add (when new < 0)". here: whether JavaScript runs in this thread: then
 * the line to which it has come is said. */
std::string told_line(state *s, const shape &shape, const hit &hit, bool here);
/* The stack as it was at the store. */
std::string told_stack(const hit &hit, const std::string &thread);
/* One line that says something else. */
std::string told(const std::string &text);
/* To standard error. */
void print(const std::string &lines);

} // namespace memwatch
#endif
