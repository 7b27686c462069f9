/* endings.c - see endings.h.
 *
 * A finalizer runs in the midst of the instruction that drops the last reference: a store, a deletion, the return from
 * a function. What that instruction does is read from the code. It may have dropped something that held the object;
 * then it is still this name that was rebound at this line, and that is what is said.
 *
 * A function that ends has its frame unlinked before its variables are dropped: the frame then lies behind the running
 * one on the thread's data stack, and only there. */
#include <string.h>

#define Py_BUILD_CORE_MODULE 1
#include "interpreter.h"
#include "origins/bytecode.h"
#include "origins/endings.h"
#include "origins/frames.h"
#include "origins/utf8.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#include "internal/pycore_runtime.h"
#pragma GCC diagnostic pop

/* Whether a garbage collection runs in this interpreter, perhaps in another thread that waits for the GIL. */
static bool is_collecting(PyThreadState *thread) {
#if PY_VERSION_HEX >= 0x030D0000
    const char *gc = (const char *)thread->interp + _PyRuntime.debug_offsets.interpreter_state.gc;
    return *(const int *)(gc + _PyRuntime.debug_offsets.gc.collecting) == 1;
#else
    return thread->interp->gc.collecting == 1;
#endif
}

/* ---- frames ------------------------------------------------------------------------------------------------------ */

static size_t words_of(PyCodeObject *code) {
#if PY_VERSION_HEX >= 0x030C0000
    return (size_t)code->co_framesize;
#else
    return (size_t)(code->co_nlocalsplus + code->co_stacksize) + FRAME_SPECIALS_SIZE;
#endif
}

/* Whether an address of the data stack is the beginning of a frame that takes no more than is there. */
static bool is_frame(PyObject **at, PyObject **end) {
    if ((size_t)(end - at) < FRAME_SPECIALS_SIZE) return false;
    const mwpy_frame *f = (const mwpy_frame *)at;
    PyObject *code = mwpy_frame_executable(f);
    return code && PyCode_Check(code) && f->owner == FRAME_OWNED_BY_THREAD &&
           words_of((PyCodeObject *)code) <= (size_t)(end - at);
}

/* The frame at the end of the data stack, if it isn't one of the thread's frames any more. */
static const mwpy_frame *unlinked_frame(PyThreadState *thread, const mwpy_frame *f) {
    _PyStackChunk *chunk = thread->datastack_chunk;
    PyObject **at = NULL, **end = thread->datastack_top;
    if (!chunk) return NULL;
    while (f && (mwpy_frame_is_entry(f) || f->owner != FRAME_OWNED_BY_THREAD)) f = f->previous;
    if (f) at = (PyObject **)f + words_of(mwpy_frame_code(f));
    PyObject **begin = &chunk->data[chunk->previous == NULL];
    if (at < begin || at > end) at = begin; /* the last frame that is linked lies in an older chunk */
    const mwpy_frame *last = NULL;
    while (at < end) {
        if (!is_frame(at, end)) return NULL;
        last = (const mwpy_frame *)at;
        at += words_of(mwpy_frame_code(last));
    }
    return last && !mwpy_frame_is_incomplete(last) ? last : NULL;
}

static const mwpy_frame *complete(const mwpy_frame *f) {
    while (f && mwpy_frame_is_incomplete(f)) f = f->previous;
    return f;
}

/* CPython 3.11 keeps a frame linked while its function ends: the depth of its stack is known then, as it isn't while it
 * runs. */
static bool is_being_left(const mwpy_frame *f) {
#if PY_VERSION_HEX < 0x030C0000
    return f->owner == FRAME_OWNED_BY_THREAD && f->stacktop >= 0;
#else
    (void)f;
    return false;
#endif
}

/* ---- what was rebound -------------------------------------------------------------------------------------------- */

static PyObject *local_now(const mwpy_frame *f, int index) {
    if (index < 0) return NULL;
#if PY_VERSION_HEX >= 0x030E0000
    PyObject *value =
        PyStackRef_IsNull(f->localsplus[index]) ? NULL : PyStackRef_AsPyObjectBorrow(f->localsplus[index]);
#else
    PyObject *value = f->localsplus[index];
#endif
    return value && PyCell_Check(value) ? PyCell_GET(value) : value;
}

static PyObject *named_now(PyObject *names, PyObject *name) {
    return names && PyDict_CheckExact(names) && PyUnicode_CheckExact(name) ? PyDict_GetItemWithError(names, name)
                                                                           : NULL;
}

static PyObject *value_now(const mwpy_frame *f, const mwpy_binding *b) {
    if (b->act != MWPY_ACT_STORE || !b->name) return NULL;
    if (b->where == MWPY_LOCAL) return local_now(f, b->index);
    if (b->where == MWPY_NAME) return named_now(f->f_locals, b->name);
    return b->where == MWPY_GLOBAL ? named_now(f->f_globals, b->name) : NULL;
}

static void name_target(mw_ending *ending, const mwpy_binding *b) {
    size_t n = 0;
    if (b->where == MWPY_ATTRIBUTE) ending->target[n++] = '.';
    for (Py_ssize_t i = 0; b->name && i < PyUnicode_GET_LENGTH(b->name); i++) {
        char room[4];
        Py_UCS4 c = PyUnicode_READ_CHAR(b->name, i);
        size_t more = mwpy_put_utf8(room, c >= 0xD800 && c < 0xE000 ? '?' : c);
        if (n + more > sizeof ending->target) break;
        memcpy(ending->target + n, room, more);
        n += more;
    }
    if (b->where == MWPY_ITEM) {
        memcpy(ending->target, "[]", 2);
        n = 2;
    }
    ending->length = (uint8_t)n;
}

static void read_instruction(mw_ending *ending, const mwpy_frame *f, PyObject *name, PyObject **now) {
    mwpy_binding b = mwpy_binding_at(mwpy_frame_code(f), mwpy_frame_unit(f), name);
    if (b.act == MWPY_ACT_OTHER) return;
    *now = value_now(f, &b);
    ending->why = b.act == MWPY_ACT_STORE ? MW_END_REBOUND : MW_END_DELETED;
    ending->flags = b.computed ? MW_END_COMPUTED : 0;
    name_target(ending, &b);
}

/* ---- endings ----------------------------------------------------------------------------------------------------- */

/* Of a forked child that has recorded nothing, the end of what its parent watched is no reason to begin a journal. */
static uint32_t site_of(const mwpy_frame *f) {
    return mw_journal_is_made() ? mwpy_site_at(mwpy_frame_code(f), mwpy_frame_unit(f)) : 0;
}

static mw_ending how_it_ends(PyObject *name, PyObject **now) {
    mw_ending ending = {.why = MW_END_DROPPED};
    PyThreadState *thread = mwpy_current_thread();
    const mwpy_frame *top = thread ? mwpy_top_frame(thread) : NULL, *f = thread ? unlinked_frame(thread, top) : NULL;
    if (f) {
        ending.why = MW_END_LEFT;
    } else {
        f = complete(top);
        if (!f) return ending;
        if (is_being_left(f))
            ending.why = MW_END_LEFT;
        else if (is_collecting(thread))
            ending.why = MW_END_COLLECTED;
        else
            read_instruction(&ending, f, name, now);
    }
    ending.site = site_of(f);
    return ending;
}

mw_ending mwpy_how_it_ends(PyObject *name, PyObject **now) {
    *now = NULL;
    if (mwpy_is_finalizing()) return (mw_ending){.why = MW_END_EXIT};
#if PY_VERSION_HEX >= 0x030C0000
    PyObject *error = PyErr_GetRaisedException();
    mw_ending ending = how_it_ends(name, now);
    PyErr_SetRaisedException(error);
#else
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    mw_ending ending = how_it_ends(name, now);
    PyErr_Restore(type, error, traceback);
#endif
    return ending;
}

mw_ending mwpy_unwatched(int above) {
    mw_ending ending = {.why = MW_END_UNWATCHED};
    PyThreadState *thread = mwpy_current_thread();
    const mwpy_frame *f = thread ? complete(mwpy_top_frame(thread)) : NULL;
    while (f && above--) f = complete(f->previous);
    if (f) ending.site = site_of(f);
    return ending;
}
