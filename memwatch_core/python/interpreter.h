/* interpreter.h - internals that differ between versions of CPython: frames, contexts, the thread state.
 *
 * Everything is read in place, without taking references, allocating or locking. So it is async-signal-safe, for the
 * calling thread's own frames. Only for files that define Py_BUILD_CORE_MODULE before Python.h. */
#ifndef MEMWATCH_PYTHON_INTERPRETER_H
#define MEMWATCH_PYTHON_INTERPRETER_H
#include "adapter.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#if PY_VERSION_HEX >= 0x030E0000
#include "internal/pycore_interpframe.h"
#else
#include "internal/pycore_frame.h"
#endif
#include "internal/pycore_context.h"
#if PY_VERSION_HEX < 0x030C0000
#include "internal/pycore_interp.h"
#endif
#pragma GCC diagnostic pop

typedef struct _PyInterpreterFrame mwpy_frame;

/* The running Python frame, or an entry frame from C above it; NULL if the thread runs no Python. */
static inline mwpy_frame *mwpy_top_frame(PyThreadState *thread) {
#if PY_VERSION_HEX >= 0x030D0000
    return thread->current_frame;
#else
    return thread->cframe ? thread->cframe->current_frame : NULL;
#endif
}

/* A code object, or a placeholder in a frame that runs none. Borrowed. */
static inline PyObject *mwpy_frame_executable(const mwpy_frame *f) {
#if PY_VERSION_HEX >= 0x030E0000
    return PyStackRef_AsPyObjectBorrow(f->f_executable); /* a tagged reference */
#elif PY_VERSION_HEX >= 0x030D0000
    return f->f_executable;
#else
    return (PyObject *)f->f_code;
#endif
}

/* The instruction that is being executed. */
static inline const _Py_CODEUNIT *mwpy_frame_instruction(const mwpy_frame *f) {
#if PY_VERSION_HEX >= 0x030D0000
    return f->instr_ptr;
#else
    return f->prev_instr;
#endif
}

/* The same for a running frame. The interpreter reads it where it tells of the frame's line, not to go on. */
static inline void mwpy_frame_goes_to(mwpy_frame *f, const _Py_CODEUNIT *instruction) {
#if PY_VERSION_HEX >= 0x030D0000
    f->instr_ptr = (_Py_CODEUNIT *)instruction;
#else
    f->prev_instr = (_Py_CODEUNIT *)instruction;
#endif
}

/* The instruction from which on a frame of this code object has a line: what is before sets the frame up. */
static inline const _Py_CODEUNIT *mwpy_first_traceable(PyObject *code) {
    return _PyCode_CODE((PyCodeObject *)code) + ((PyCodeObject *)code)->_co_firsttraceable;
}

/* Whether it is an entry frame, which the interpreter makes where C calls Python. */
static inline bool mwpy_frame_is_entry(const mwpy_frame *f) {
#if PY_VERSION_HEX >= 0x030E0000
    return f->owner >= FRAME_OWNED_BY_INTERPRETER;
#elif PY_VERSION_HEX >= 0x030C0000
    return f->owner == FRAME_OWNED_BY_CSTACK;
#else
    (void)f;
    return false;
#endif
}

/* Whether it has no line of the program: an entry frame, or one that is still being set up. */
static inline bool mwpy_frame_is_incomplete(const mwpy_frame *f) {
    if (mwpy_frame_is_entry(f)) return true;
    PyObject *code = mwpy_frame_executable(f);
    if (!code || !PyCode_Check(code)) return true;
    return f->owner != FRAME_OWNED_BY_GENERATOR && mwpy_frame_instruction(f) < mwpy_first_traceable(code);
}

/* The code of a frame that is complete, and which of its code units is being executed. */
static inline PyCodeObject *mwpy_frame_code(const mwpy_frame *f) { return (PyCodeObject *)mwpy_frame_executable(f); }
static inline int mwpy_frame_unit(const mwpy_frame *f) {
    return (int)(mwpy_frame_instruction(f) - _PyCode_CODE(mwpy_frame_code(f)));
}

/* Counts so many calls of C functions more. CPython 3.14 and later count none: they look at the stack's address. */
static inline void mwpy_count_calls(PyThreadState *thread, int more) {
#if PY_VERSION_HEX >= 0x030E0000
    (void)thread, (void)more;
#elif PY_VERSION_HEX >= 0x030C0000
    thread->c_recursion_remaining -= more;
#else
    thread->recursion_remaining -= more;
#endif
}

static inline bool mwpy_is_finalizing(void) {
#if PY_VERSION_HEX >= 0x030D0000
    return Py_IsFinalizing();
#else
    return _Py_IsFinalizing();
#endif
}

#endif
