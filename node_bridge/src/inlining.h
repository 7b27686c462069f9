/* inlining.h - what V8 has inlined in a piece of optimised code, read from its own tables. */
#ifndef MEMWATCH_INLINING_H
#define MEMWATCH_INLINING_H
#include <stdint.h>

#include <vector>

struct inlined_call {
    int32_t position; /* of the call, in the source of its caller */
    int caller;       /* the call by which that one came here; -1: it is the code's own function */
    int function;     /* who is called: a number of `functions` below */
};

struct inlining {
    std::vector<int> rows;            /* for each row of the code's table of positions: a number of `calls`, or -1 */
    std::vector<inlined_call> calls;  /* a caller comes before those that it calls */
    std::vector<uintptr_t> functions; /* addresses of bytecode arrays, as V8 has them: the code's own is the first */
};

struct position_row {
    uint32_t offset;
    int32_t position;
};

/* False if what lies there isn't what this version of V8 puts there: nothing is known of the code then. To be asked
 * when V8 tells of the code, with the positions that it told. */
bool read_inlining(uintptr_t code, const std::vector<position_row> &positions, inlining *found);
#endif
