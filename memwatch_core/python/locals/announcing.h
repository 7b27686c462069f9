/* announcing.h - a constant of ours whose truth the code asks for: whether it is its turn, and what it is elsewhere.
 *
 * `LOAD_CONST constant; TO_BOOL; POP_TOP`. Everything that marshal and pickle can write has a truth; so code that was
 * written with them runs, and announces nothing. Everything here wants the interpreter lock. Only for files that define
 * Py_BUILD_CORE_MODULE before Python.h. */
#ifndef MEMWATCH_PYTHON_ANNOUNCING_H
#define MEMWATCH_PYTHON_ANNOUNCING_H
#include <opcode.h>

#include "interpreter.h"

/* Where a constant is loaded. */
typedef struct mwpy_loaded {
    unsigned constant; /* which one of the code's */
    unsigned depth;    /* how many values are below it on the frame's stack */
} mwpy_loaded;

typedef enum mwpy_turn {
    MWPY_NOT_ASKED, /* by the code that it is a constant of, in this frame: somebody else asks */
    MWPY_ASKED,
    MWPY_ELSEWHERE, /* somebody has changed the code: it isn't where it was put on the stack */
} mwpy_turn;

/* What is in a slot of a frame, or behind the slots on its stack. Borrowed, NULL: nothing. */
static inline PyObject *mwpy_in_slot(const mwpy_frame *frame, unsigned slot) {
#if PY_VERSION_HEX >= 0x030E0000
    _PyStackRef held = frame->localsplus[slot];
    return PyStackRef_IsNull(held) ? NULL : PyStackRef_AsPyObjectBorrow(held);
#else
    return frame->localsplus[slot];
#endif
}

/* Whether it is in the place of another instruction, that somebody is told of. */
static inline bool mwpy_is_instrumented(uint8_t op) {
#if PY_VERSION_HEX >= 0x030C0000
    return op >= MIN_INSTRUMENTED_OPCODE;
#else
    (void)op;
    return false;
#endif
}

static inline bool mwpy_asks_for_truth(uint8_t op) {
#if PY_VERSION_HEX >= 0x030D0000
    return op == TO_BOOL || mwpy_is_instrumented(op);
#else
    return op == UNARY_NOT || mwpy_is_instrumented(op);
#endif
}

static inline bool mwpy_loads_constant(uint8_t op) {
#if PY_VERSION_HEX >= 0x030E0000 && PY_VERSION_HEX < 0x030F0000
    if (op == LOAD_CONST_IMMORTAL || op == LOAD_CONST_MORTAL) return true;
#endif
    return op == LOAD_CONST || mwpy_is_instrumented(op);
}

/* Which constant of a code it is; negative: none. `guess`: probably this one. */
static inline Py_ssize_t mwpy_constant_number(const PyCodeObject *code, const PyObject *object, Py_ssize_t guess) {
    Py_ssize_t count = PyTuple_GET_SIZE(code->co_consts);
    if (guess < count && PyTuple_GET_ITEM(code->co_consts, guess) == object) return guess;
    while (count-- > 0 && PyTuple_GET_ITEM(code->co_consts, count) != object) {
    }
    return count;
}

/* Whether the running instruction of a code asks for the truth of a constant that the one before has loaded. */
static inline bool mwpy_is_asking(const PyCodeObject *code, const _Py_CODEUNIT *instruction, Py_ssize_t constant) {
    if (instruction <= _PyCode_CODE((PyCodeObject *)code)) return false;
    const uint8_t *before = (const uint8_t *)(instruction - 1), *now = (const uint8_t *)instruction;
    return mwpy_asks_for_truth(now[0]) && mwpy_loads_constant(before[0]) && before[1] == (constant & 255);
}

/* Whether it is the turn of a constant, in the running frame. Where it is, the frame has its slots and the values below
 * it on the stack. */
static inline mwpy_turn mwpy_turn_of(const mwpy_frame *frame, const PyObject *constant, mwpy_loaded where) {
    PyObject *executable = frame ? mwpy_frame_executable(frame) : NULL;
    if (!executable || !PyCode_Check(executable)) return MWPY_NOT_ASKED;
    const PyCodeObject *code = (const PyCodeObject *)executable;
    Py_ssize_t number = mwpy_constant_number(code, constant, where.constant);
    if (number < 0 || !mwpy_is_asking(code, mwpy_frame_instruction(frame), number)) return MWPY_NOT_ASKED;
    if (where.depth >= (unsigned)code->co_stacksize) return MWPY_ELSEWHERE;
    unsigned slot = (unsigned)code->co_nlocalsplus + where.depth;
    return mwpy_in_slot(frame, slot) == constant ? MWPY_ASKED : MWPY_ELSEWHERE;
}

/* The value below it. Borrowed. */
static inline PyObject *mwpy_below(const mwpy_frame *frame, mwpy_loaded where) {
    return mwpy_in_slot(frame, (unsigned)mwpy_frame_code(frame)->co_nlocalsplus + where.depth - 1);
}

/* What marshal and pickle write instead of it: bytes that say what it was, such as `memwatch: total`. 0 with a view, or
 * -1 with an exception; and what __reduce__() returns. */
int mwpy_announcing_buffer(PyObject *self, Py_buffer *view, int flags);
extern PyMethodDef mwpy_announcing_methods[];
#endif
