/* spans.c - see spans.h.
 *
 * OpenTelemetry keeps its context in a ContextVar: a dict that is never changed once it is there, with the span under a
 * key. A span, the SDK's or any other, has its SpanContext as `_context`: a tuple, in which trace id and span id come
 * first. All of it is looked at as the program leaves it, none of it is called. */
#define Py_BUILD_CORE_MODULE 1
#include "origins/spans.h"

#include "origins/context.h"
#include "origins/imported.h"
#include "origins/peek.h"

static PyObject *attribute_name; /* strong */

int mwpy_prepare_spans(void) {
    if (!attribute_name) attribute_name = PyUnicode_InternFromString("_context");
    return attribute_name ? 0 : -1;
}

/* An int from 1 to 2^128 - 1; false: it is anything else. */
static MWPY_PEEK bool read_id(bool held, const PyObject *number, uint64_t id[2]) {
    digit digits[(128 + PyLong_SHIFT - 1) / PyLong_SHIFT];
    size_t n = number ? mwpy_digits_of(held, number, digits, Py_ARRAY_LENGTH(digits)) : 0;
    if (!n) return false;
    unsigned __int128 value = 0;
    for (size_t i = n; i-- > 0;) {
        if (value >> (128 - PyLong_SHIFT)) return false;
        value = value << PyLong_SHIFT | digits[i];
    }
    id[0] = (uint64_t)(value >> 64);
    id[1] = (uint64_t)value;
    return true;
}

static MWPY_PEEK bool is_tuple(bool held, PyObject *object) {
    PyTypeObject *type = object ? mwpy_word(held, &object->ob_type) : NULL;
    unsigned long flags;
    return type && mwpy_get(held, &flags, &type->tp_flags, sizeof flags) && flags & Py_TPFLAGS_TUPLE_SUBCLASS;
}

static MWPY_PEEK mwpy_span look(PyThreadState *thread, bool held) {
    static size_t key_hint, attribute_hint; /* whatever they are, what is found is right */
    mwpy_span none = {{0, 0}, 0}, found;
    PyObject *context = mwpy_value_in(thread, mwpy_found.span_variable), *ids[2];
    if (!context || !PyDict_Check(context)) return none;
    size_t hint = __atomic_load_n(&key_hint, __ATOMIC_RELAXED);
    PyObject *span = mwpy_find(held, context, mwpy_found.span_key, &hint);
    __atomic_store_n(&key_hint, hint, __ATOMIC_RELAXED);
    if (!span) return none;
    hint = __atomic_load_n(&attribute_hint, __ATOMIC_RELAXED);
    PyObject *ours = mwpy_attribute(held, span, attribute_name, &hint);
    __atomic_store_n(&attribute_hint, hint, __ATOMIC_RELAXED);
    if (!is_tuple(held, ours)) return none;
    Py_ssize_t n;
    uint64_t id[2];
    if (!mwpy_get(held, &n, &((PyVarObject *)ours)->ob_size, sizeof n) || n < 2 ||
        !mwpy_get(held, ids, ((PyTupleObject *)ours)->ob_item, sizeof ids))
        return none;
    if (!read_id(held, ids[0], found.trace) || !read_id(held, ids[1], id) || id[0]) return none;
    found.span = id[1];
    return found;
}

mwpy_span mwpy_span_of(PyThreadState *thread, bool held) {
    if (__builtin_expect(held, 1)) return look(thread, true);
    mwpy_span found = {{0, 0}, 0};
    for (int i = 0; !found.span && i < MWPY_TRIES; i++) found = look(thread, false);
    return found;
}
