/* handlers.c - see handlers.h. The interpreter looks for a handler in a table of the code object, right after it was
 * told of the exception. For that moment, the code has a table with one entry, the one of the instruction that stored.
 */
#define Py_BUILD_CORE_MODULE 1
#include "breaks/handlers.h"

#if PY_VERSION_HEX >= 0x030C0000
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#include "internal/pycore_instruments.h"
#include "internal/pycore_interp.h"
#pragma GCC diagnostic pop
#endif

struct entry {
    int start, size, target, depth; /* in code units; depth: with its lowest bit, as the table has it */
};

MWPY_THREAD struct {
    const mwpy_frame *frame; /* NULL: nothing is noted */
    PyObject *code;          /* only compared */
    int unit;
} noted;

static PyCodeObject *changed; /* strong; whose table is ours */
static PyObject *its_table;   /* its own */

/* ---- the table (Objects/exception_handling_notes.txt of CPython 3.11 and later) ---- */

enum { MORE = 0x40, FIRST = 0x80, BITS = 6, VALUE = 0x3f };

static const uint8_t *parse(const uint8_t *at, const uint8_t *end, int *value) {
    int n = 0;
    bool more = true;
    while (more && at < end) {
        n = n << BITS | (*at & VALUE);
        more = *at++ & MORE;
    }
    *value = n;
    return at;
}

static bool find(PyCodeObject *code, int unit, struct entry *found) {
    const uint8_t *at = (const uint8_t *)PyBytes_AS_STRING(code->co_exceptiontable);
    const uint8_t *end = at + PyBytes_GET_SIZE(code->co_exceptiontable);
    while (at < end) {
        struct entry e;
        at = parse(parse(parse(parse(at, end, &e.start), end, &e.size), end, &e.target), end, &e.depth);
        if (e.start > unit) return false;
        if (unit < e.start + e.size) {
            *found = e;
            return true;
        }
    }
    return false;
}

static uint8_t *put(uint8_t *to, int value, uint8_t flag) {
    int shift = 0;
    while (value >> (shift + BITS)) shift += BITS;
    for (; shift >= 0; shift -= BITS, flag = 0) *to++ = (uint8_t)((value >> shift & VALUE) | (shift ? MORE : 0) | flag);
    return to;
}

static PyObject *table_of(const struct entry *e, int size) {
    uint8_t bytes[32], *end = bytes;
    end = put(end, 0, FIRST);
    end = put(end, size, 0);
    end = put(end, e->target, 0);
    end = put(end, e->depth, 0);
    return PyBytes_FromStringAndSize((const char *)bytes, end - bytes);
}

/* ---- ---- */

void mwpy_handlers_note(const mwpy_frame *frame) {
    if (noted.frame) return;
    noted.frame = frame;
    noted.code = mwpy_frame_executable(frame);
    noted.unit = mwpy_frame_unit(frame);
}

void mwpy_handlers_forget(void) { noted.frame = NULL; }

/* Whether somebody is told of exceptions before the handler is looked for: then code of theirs runs in between. */
static bool others_are_told(void) {
#if PY_VERSION_HEX >= 0x030C0000
    return PyThreadState_Get()->interp->monitors.tools[PY_MONITORING_EVENT_RAISE] != 0;
#else
    return false; /* whose tracing was replaced by ours, for now */
#endif
}

bool mwpy_handlers_redirect(const mwpy_frame *frame, int unit) {
    struct entry stored = {0}, here = {0};
    const mwpy_frame *noted_frame = noted.frame;
    noted.frame = NULL;
    if (noted_frame != frame || noted.code != mwpy_frame_executable(frame) || changed || others_are_told())
        return false;
    PyCodeObject *code = mwpy_frame_code(frame);
    if (!find(code, noted.unit, &stored)) return false;
    if (find(code, unit, &here) && here.target == stored.target) return false;
    mwpy_aside aside = mwpy_set_aside();
    PyObject *table = table_of(&stored, (int)Py_SIZE(code));
    if (!table) PyErr_Clear();
    mwpy_put_back(aside);
    if (!table) return false;
    changed = (PyCodeObject *)Py_NewRef((PyObject *)code);
    its_table = code->co_exceptiontable;
    code->co_exceptiontable = table;
    return true;
}

bool mwpy_handlers_restore(void) {
    if (!changed) return false;
    PyCodeObject *code = changed;
    PyObject *ours = code->co_exceptiontable;
    code->co_exceptiontable = its_table;
    changed = NULL;
    its_table = NULL;
    Py_DECREF(ours);
    Py_DECREF((PyObject *)code);
    return true;
}
