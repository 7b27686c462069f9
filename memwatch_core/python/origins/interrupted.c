/* interrupted.c - see interrupted.h.
 *
 * Between two instructions of the interpreter, its running frame may be whatever was on the C stack before, one that
 * has not begun, or one whose code was freed a moment ago. So each is read by a system call, which fails where memory
 * is gone, and looked at like something that may be anything. What is right can be told: frames of functions lie on the
 * thread's data stack one behind the other, without gaps, up to its top, and their code objects are alive. */
#define Py_BUILD_CORE_MODULE 1
#include "origins/interrupted.h"

#include "origins/peek.h"

enum { FRAMES_MOST = 1024 }; /* what is no chain of frames may have no end */
enum { FRAME_HEAD = offsetof(mwpy_frame, localsplus), CODE_HEAD = offsetof(PyCodeObject, co_code_adaptive) };

union frame {
    mwpy_frame frame;
    char head[FRAME_HEAD];
};

union code {
    PyCodeObject code;
    char head[CODE_HEAD];
};

/* A code object that is in use: freed memory has other counts, or another type. */
static bool read_code(union code *copy, const PyObject *code) {
    uint64_t count;
    if (!code || (uintptr_t)code & (sizeof(void *) - 1) || !mwpy_get_unheld(copy->head, code, CODE_HEAD)) return false;
    memcpy(&count, copy->head, sizeof count);
    return Py_IS_TYPE((PyObject *)&copy->code, &PyCode_Type) && (uint32_t)count && !(count >> 32 & 0xFFFF);
}

static size_t words_of(const PyCodeObject *code) {
#if PY_VERSION_HEX >= 0x030C0000
    return (size_t)code->co_framesize;
#else
    return (size_t)(code->co_nlocalsplus + code->co_stacksize) + FRAME_SPECIALS_SIZE;
#endif
}

static _PyStackChunk *chunk_of(const PyThreadState *thread, PyObject **at) {
    _PyStackChunk *chunk = thread->datastack_chunk;
    while (chunk && (at < chunk->data || (char *)at >= (char *)chunk + chunk->size)) chunk = chunk->previous;
    return chunk;
}

/* The thread's data stack is there. */
static bool read_frame(const PyThreadState *thread, union frame *copy, const mwpy_frame *f) {
    if ((uintptr_t)f & (sizeof(void *) - 1)) return false;
    const _PyStackChunk *chunk = chunk_of(thread, (PyObject **)(uintptr_t)f);
    return mwpy_get(chunk && (size_t)((char *)chunk + chunk->size - (char *)f) >= FRAME_HEAD, copy->head, f,
                    FRAME_HEAD);
}

/* Whether a single frame lies between the innermost one and the top: it hasn't begun yet, or has just ended. */
static bool is_one_frame(const PyThreadState *thread, PyObject **from, PyObject **to) {
    union frame f;
    union code code;
    return from < to && read_frame(thread, &f, (const mwpy_frame *)from) &&
           read_code(&code, mwpy_frame_executable(&f.frame)) && from + words_of(&code.code) == to;
}

/* Whether a frame on the data stack may be the one before that which begins at `above`. */
static bool is_next(mwpy_walk *walk, PyObject **begin, PyObject **end) {
    _PyStackChunk *chunk = chunk_of(walk->thread, begin);
    if (!chunk) return false;
    if (walk->above)
        return end == walk->above || (chunk_of(walk->thread, walk->above) != chunk && end == chunk->data + chunk->top);
    PyObject **top = walk->thread->datastack_top;
    if (chunk != walk->thread->datastack_chunk || end > top) return false;
    walk->inexact = end != top && !is_one_frame(walk->thread, end, top);
    return true;
}

bool mwpy_walk_on(mwpy_walk *walk, mwpy_place *at) {
    union frame copy;
    union code read;
    while (walk->next) {
        const mwpy_frame *f = walk->next;
        walk->unsure = true;
        if (walk->seen++ == FRAMES_MOST || !read_frame(walk->thread, &copy, f)) return false;
        walk->next = copy.frame.previous;
        if (mwpy_frame_is_entry(&copy.frame)) {
            walk->unsure = false;
            continue;
        }
        const _Py_CODEUNIT *instruction = mwpy_frame_instruction(&copy.frame);
        PyCodeObject *code = (PyCodeObject *)mwpy_frame_executable(&copy.frame), *head = code;
        if (!walk->known || !walk->is_known(walk->known, (PyObject *)code, instruction)) {
            if (!read_code(&read, (PyObject *)code)) return false;
            head = &read.code;
        }
        if (copy.frame.owner == FRAME_OWNED_BY_THREAD) {
            PyObject **begin = (PyObject **)(uintptr_t)f;
            if (!is_next(walk, begin, begin + words_of(head))) return false;
            walk->above = begin;
        } else if (copy.frame.owner != FRAME_OWNED_BY_GENERATOR) {
            return false;
        }
        walk->unsure = false;
        *at = (mwpy_place){code, (int)(instruction - _PyCode_CODE(code))};
        bool begun = copy.frame.owner == FRAME_OWNED_BY_GENERATOR || at->unit >= head->_co_firsttraceable;
        if (begun && at->unit >= 0 && at->unit < Py_SIZE(head)) return true;
    }
    return false;
}
