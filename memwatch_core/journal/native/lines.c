/* lines.c - memwatch_core.journal._reader.Lines: records as lines of JSON.
 *
 *     Lines(event, site, context, call, part, shown, alias, request, record, value).encode(records) -> bytes
 *
 * event to request are the types of memwatch_core/records.py; their fields are read by offset.
 * Events and plain values are written here; record(r) -> bytes writes any other record, value(v, depth) -> bytes any
 * other value. Both are Python functions of memwatch_core/rendering/jsonlines.py, with which this file must agree to
 * the byte. */
#include "reader.h"

#include <math.h>
#include <stdint.h>
#include <string.h>
#include <structmember.h>

#define DEPTH_MAX 32 /* of nested tuples and lists; deeper ones go to value() */

/* A field's key in a line, with the comma before it. */
#define KEY(name) {",\"" name "\":", sizeof(name) + 3}
typedef struct key {
    const char *text;
    size_t length;
} Key;

static const Key event_keys[] = {
    KEY("seq"),         KEY("pid"),       KEY("runtime"),       KEY("tid"),     KEY("thread"),      KEY("variable"),
    KEY("variable_id"), KEY("path"),      KEY("origin"),        KEY("offset"),  KEY("before"),      KEY("after"),
    KEY("old"),         KEY("new"),       KEY("changed"),       KEY("exact"),   KEY("journal"),     KEY("site"),
    KEY("context"),     KEY("time_ns"),   KEY("call"),          KEY("part"),    KEY("operation"),   KEY("own"),
    KEY("stack"),       KEY("stack_cut"), KEY("stack_inexact"), KEY("aliases"), KEY("aliases_cut"), KEY("request"),
    KEY("native"),
};
static const Key site_keys[] = {KEY("file"), KEY("line"), KEY("column"), KEY("function")};
static const Key call_keys[] = {KEY("name"), KEY("fd"), KEY("bytes")};
static const Key shown_keys[] = {KEY("text")};
static const Key alias_keys[] = {KEY("variable"), KEY("variable_id"), KEY("name")};
static const Key request_keys[] = {KEY("label"), KEY("outer"), KEY("task"), KEY("trace_id"), KEY("span_id")};
static const Key part_keys[] = {KEY("name"), KEY("old"), KEY("new"), KEY("activation")};
static const Key context_keys[] = {
    KEY("id"),         KEY("driver"),      KEY("database"), KEY("server"), KEY("statement"), KEY("statement_hash"),
    KEY("parameters"), KEY("transaction"), KEY("outcome"),
};
enum { EVENT_PLAIN = 17, EVENT_SITE = 17, EVENT_CONTEXT = 18, EVENT_TIME = 19, EVENT_CALL = 20, EVENT_PART = 21 };
enum { EVENT_OPERATION = 22, EVENT_OWN = 23, EVENT_STACK = 24, EVENT_CUT = 25, EVENT_ALIASES = 27, EVENT_REQUEST = 29 };
enum { EVENT_NATIVE = 30, EVENT_FIELDS = 31 };
enum { RECENT_CONTEXTS = 8, RECENT_STACKS = 32 };
enum { SITE_FIELDS = 4, CONTEXT_FIELDS = 9, CALL_FIELDS = 3, PART_FIELDS = 4, SHOWN_FIELDS = 1, ALIAS_FIELDS = 3 };
enum { REQUEST_FIELDS = 5 };

typedef struct lines {
    PyObject ob_base;
    PyTypeObject *event, *site, *context, *call, *part, *shown, *alias, *request;
    PyObject *record, *value;
    Py_ssize_t event_at[EVENT_FIELDS], site_at[SITE_FIELDS], context_at[CONTEXT_FIELDS], call_at[CALL_FIELDS],
        part_at[PART_FIELDS], shown_at[SHOWN_FIELDS], alias_at[ALIAS_FIELDS], request_at[REQUEST_FIELDS];
    struct {
        PyObject *context, *text;
    } recent[RECENT_CONTEXTS]; /* with their JSON; NULL: free */
    struct {
        PyObject *frames, *text;
    } stacks[RECENT_STACKS]; /* the same of stacks */
    char second[24];         /* "2026-11-23T15:04:05" of the second below */
    uint64_t second_of;
} Lines;

/* The output: a bytes object that grows. */
typedef struct text {
    PyObject *bytes;
    char *at, *end;
} Text;

static int text_grow(Text *text, size_t more) {
    Py_ssize_t used = text->at - PyBytes_AS_STRING(text->bytes), size = PyBytes_GET_SIZE(text->bytes);
    if (more > (size_t)(PY_SSIZE_T_MAX / 4) || size > PY_SSIZE_T_MAX / 4) {
        PyErr_NoMemory();
        return -1;
    }
    size = size * 2 + (Py_ssize_t)more;
    if (_PyBytes_Resize(&text->bytes, size) < 0) return -1; /* text->bytes is NULL now */
    text->at = PyBytes_AS_STRING(text->bytes) + used;
    text->end = PyBytes_AS_STRING(text->bytes) + size;
    return 0;
}

static inline int text_room(Text *text, size_t more) {
    return (size_t)(text->end - text->at) >= more ? 0 : text_grow(text, more);
}

static int text_put(Text *text, const char *chars, size_t count) {
    if (text_room(text, count) < 0) return -1;
    memcpy(text->at, chars, count);
    text->at += count;
    return 0;
}

#define PUT(text, literal) text_put(text, literal, sizeof(literal) - 1)

static int text_put_u64(Text *text, uint64_t number) {
    char digits[20], *at = digits + sizeof digits;
    do *--at = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    return text_put(text, at, (size_t)(digits + sizeof digits - at));
}

static int text_put_hex(Text *text, const unsigned char *bytes, Py_ssize_t count) {
    static const char digits[] = "0123456789abcdef";
    if ((size_t)count > (SIZE_MAX >> 2) || text_room(text, 2 * (size_t)count + 2) < 0) return -1;
    char *at = text->at;
    *at++ = '"';
    for (Py_ssize_t i = 0; i < count; i++) {
        *at++ = digits[bytes[i] >> 4];
        *at++ = digits[bytes[i] & 15];
    }
    *at++ = '"';
    text->at = at;
    return 0;
}

/* Characters that could control a terminal: as escape_json of memwatch_core/printed.py. */
static int steers(Py_UCS4 c) {
    return c < 0xa0 ? c >= 0x7f
                    : c == 0x61c || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
                          (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

/* One character of a string, at most 7 bytes. A lone surrogate, which UTF-8 can't carry, becomes the text \udc80. */
static char *put_character(char *at, Py_UCS4 c) {
    static const char escapes[] = "btn\0fr"; /* for 8 to 13 */
    static const char hex[] = "0123456789abcdef";
    if (c == '"' || c == '\\') {
        *at++ = '\\';
        *at++ = (char)c;
    } else if (c < 0x20) {
        *at++ = '\\';
        if (c >= 8 && c <= 13 && c != 11) {
            *at++ = escapes[c - 8];
        } else {
            *at++ = 'u';
            *at++ = '0';
            *at++ = '0';
            *at++ = hex[c >> 4];
            *at++ = hex[c & 15];
        }
    } else if (c < 0x7f) {
        *at++ = (char)c;
    } else if (steers(c)) {
        *at++ = '\\';
        *at++ = 'u';
        for (int shift = 12; shift >= 0; shift -= 4) *at++ = hex[c >> shift & 15];
    } else if (c < 0x800) {
        *at++ = (char)(0xc0 | c >> 6);
        *at++ = (char)(0x80 | (c & 63));
    } else if (c >= 0xd800 && c < 0xe000) {
        *at++ = '\\';
        *at++ = '\\';
        *at++ = 'u';
        for (int shift = 12; shift >= 0; shift -= 4) *at++ = hex[c >> shift & 15];
    } else if (c < 0x10000) {
        *at++ = (char)(0xe0 | c >> 12);
        *at++ = (char)(0x80 | (c >> 6 & 63));
        *at++ = (char)(0x80 | (c & 63));
    } else {
        *at++ = (char)(0xf0 | c >> 18);
        *at++ = (char)(0x80 | (c >> 12 & 63));
        *at++ = (char)(0x80 | (c >> 6 & 63));
        *at++ = (char)(0x80 | (c & 63));
    }
    return at;
}

/* Length of the prefix that can be copied unchanged. Tests 8 bytes at a time for bytes below n, in the classical
 * way. */
static size_t plain_prefix(const unsigned char *data, size_t length) {
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    size_t at = 0;
    for (; length - at >= 8; at += 8) {
        uint64_t word, quotes, slashes, deletes;
        memcpy(&word, data + at, 8);
        quotes = word ^ ones * '"';
        slashes = word ^ ones * '\\';
        deletes = word ^ ones * 0x7f;
        if (((word - ones * 0x20) | (quotes - ones) | (slashes - ones) | (deletes - ones) | word) &
            tops) /* over-cautious, never wrong */
            break;
    }
    while (at < length && data[at] >= 0x20 && data[at] < 0x7f && data[at] != '"' && data[at] != '\\') at++;
    return at;
}

static int text_put_string(Text *text, PyObject *string) {
    size_t length = (size_t)PyUnicode_GET_LENGTH(string), i = 0;
    int kind = PyUnicode_KIND(string);
    const void *data = PyUnicode_DATA(string);
    if (length > (SIZE_MAX >> 4) || text_room(text, 7 * length + 2) < 0) return -1;
    char *at = text->at;
    *at++ = '"';
    if (kind == PyUnicode_1BYTE_KIND) {
        i = plain_prefix(data, length);
        memcpy(at, data, i);
        at += i;
    }
    for (; i < length; i++) at = put_character(at, PyUnicode_READ(kind, data, (Py_ssize_t)i));
    *at++ = '"';
    text->at = at;
    return 0;
}

static int text_put_float(Text *text, double number) {
    if (isnan(number)) return PUT(text, "\"NaN\"");
    if (isinf(number)) return number < 0 ? PUT(text, "\"-Infinity\"") : PUT(text, "\"Infinity\"");
    char *digits = PyOS_double_to_string(number, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (digits == NULL) return -1;
    int done = text_put(text, digits, strlen(digits));
    PyMem_Free(digits);
    return done;
}

/* Writes the result of a Python function: record(r), or value(v, depth) if depth isn't negative. */
static int text_put_other(Text *text, PyObject *function, PyObject *object, int depth) {
    PyObject *number = depth < 0 ? NULL : PyLong_FromLong(depth);
    PyObject *arguments[] = {object, number};
    PyObject *written =
        depth >= 0 && number == NULL ? NULL : PyObject_Vectorcall(function, arguments, number == NULL ? 1 : 2, NULL);
    Py_XDECREF(number);
    if (written == NULL) return -1;
    int done = -1;
    if (PyBytes_Check(written))
        done = text_put(text, PyBytes_AS_STRING(written), (size_t)PyBytes_GET_SIZE(written));
    else
        PyErr_SetString(PyExc_TypeError, "bytes expected");
    Py_DECREF(written);
    return done;
}

/* The field of a record at an offset; None if it was never set. */
static PyObject *field(PyObject *record, Py_ssize_t offset) {
    PyObject *value = *(PyObject **)((char *)record + offset);
    return value != NULL ? value : Py_None;
}

static int lines_put_value(Lines *self, Text *text, PyObject *value, int depth);

static int lines_put_items(Lines *self, Text *text, PyObject *items, int depth) {
    int list = PyList_CheckExact(items);
    if (PUT(text, "[") < 0) return -1;
    for (Py_ssize_t i = 0; i < (list ? PyList_GET_SIZE(items) : PyTuple_GET_SIZE(items)); i++) {
        PyObject *item = Py_NewRef(list ? PyList_GET_ITEM(items, i) : PyTuple_GET_ITEM(items, i));
        int done = i > 0 && PUT(text, ",") < 0 ? -1 : lines_put_value(self, text, item, depth + 1);
        Py_DECREF(item);
        if (done < 0) return -1;
    }
    return PUT(text, "]");
}

/* A value of which only a text is known. */
static int lines_put_shown(Lines *self, Text *text, PyObject *value) {
    return PUT(text, "{\"shown\":") < 0 || lines_put_value(self, text, field(value, self->shown_at[0]), 0) < 0
               ? -1
               : PUT(text, "}");
}

static int lines_put_value(Lines *self, Text *text, PyObject *value, int depth) {
    if (value == Py_None) return PUT(text, "null");
    if (value == Py_True) return PUT(text, "true");
    if (value == Py_False) return PUT(text, "false");
    if (PyLong_CheckExact(value)) {
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (overflow != 0) return text_put_other(text, self->value, value, depth);
        if (number < 0 && PUT(text, "-") < 0) return -1;
        return text_put_u64(text, number < 0 ? -(uint64_t)number : (uint64_t)number);
    }
    if (PyUnicode_CheckExact(value)) return text_put_string(text, value);
    if (Py_TYPE(value) == self->shown) return lines_put_shown(self, text, value);
    if (PyBytes_CheckExact(value))
        return text_put_hex(text, (const unsigned char *)PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value));
    if (PyFloat_CheckExact(value)) return text_put_float(text, PyFloat_AS_DOUBLE(value));
    if ((PyTuple_CheckExact(value) || PyList_CheckExact(value)) && depth < DEPTH_MAX)
        return lines_put_items(self, text, value, depth);
    return text_put_other(text, self->value, value, depth);
}

static int lines_put_fields(Lines *self, Text *text, PyObject *record, const Key *keys, const Py_ssize_t *at,
                            int count) {
    for (int i = 0; i < count; i++)
        if (text_put(text, keys[i].text, keys[i].length) < 0 ||
            lines_put_value(self, text, field(record, at[i]), 0) < 0)
            return -1;
    return 0;
}

/* An object of a known type, or null. The comma before the first field becomes the opening brace. */
static int lines_put_object(Lines *self, Text *text, PyObject *object, const Key *keys, const Py_ssize_t *at,
                            int count) {
    if (object == Py_None) return PUT(text, "null");
    Py_ssize_t start = text->at - PyBytes_AS_STRING(text->bytes);
    if (lines_put_fields(self, text, object, keys, at, count) < 0) return -1;
    PyBytes_AS_STRING(text->bytes)[start] = '{';
    return PUT(text, "}");
}

/* Consecutive events usually carry the same context, and a context never changes: cache its JSON. */
static int lines_put_context(Lines *self, Text *text, PyObject *context) {
    size_t at = ((uintptr_t)context >> 5) % RECENT_CONTEXTS;
    PyObject *known = self->recent[at].context == context ? self->recent[at].text : NULL;
    if (known != NULL) return text_put(text, PyBytes_AS_STRING(known), (size_t)PyBytes_GET_SIZE(known));
    Py_ssize_t start = text->at - PyBytes_AS_STRING(text->bytes);
    if (lines_put_object(self, text, context, context_keys, self->context_at, CONTEXT_FIELDS) < 0) return -1;
    const char *written = PyBytes_AS_STRING(text->bytes) + start;
    if ((known = PyBytes_FromStringAndSize(written, text->at - written)) == NULL) return -1;
    Py_XSETREF(self->recent[at].text, known);
    Py_XSETREF(self->recent[at].context, Py_NewRef(context));
    return 0;
}

static int lines_put_site(Lines *self, Text *text, PyObject *site) {
    return lines_put_object(self, text, site, site_keys, self->site_at, SITE_FIELDS);
}

static int lines_put_frames(Lines *self, Text *text, PyObject *frames) {
    if (PUT(text, "[") < 0) return -1;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(frames); i++)
        if ((i > 0 && PUT(text, ",") < 0) || lines_put_site(self, text, PyTuple_GET_ITEM(frames, i)) < 0) return -1;
    return PUT(text, "]");
}

/* Consecutive events often come from the same callers: cached, as contexts are. */
static int lines_put_stack(Lines *self, Text *text, PyObject *frames) {
    if (frames == Py_None) return PUT(text, "null");
    size_t at = ((uintptr_t)frames >> 5) % RECENT_STACKS;
    PyObject *known = self->stacks[at].frames == frames ? self->stacks[at].text : NULL;
    if (known != NULL) return text_put(text, PyBytes_AS_STRING(known), (size_t)PyBytes_GET_SIZE(known));
    Py_ssize_t start = text->at - PyBytes_AS_STRING(text->bytes);
    if (lines_put_frames(self, text, frames) < 0) return -1;
    const char *written = PyBytes_AS_STRING(text->bytes) + start;
    if ((known = PyBytes_FromStringAndSize(written, text->at - written)) == NULL) return -1;
    Py_XSETREF(self->stacks[at].text, known);
    Py_XSETREF(self->stacks[at].frames, Py_NewRef(frames));
    return 0;
}

static int is_tuple_of(const PyTypeObject *type, PyObject *items) {
    if (!PyTuple_CheckExact(items)) return 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items); i++)
        if (Py_TYPE(PyTuple_GET_ITEM(items, i)) != type) return 0;
    return 1;
}

static int lines_put_aliases(Lines *self, Text *text, PyObject *event, PyObject *aliases) {
    const Key *key = &event_keys[EVENT_ALIASES];
    if (text_put(text, key->text, key->length) < 0 || PUT(text, "[") < 0) return -1;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(aliases); i++)
        if ((i > 0 && PUT(text, ",") < 0) ||
            lines_put_object(self, text, PyTuple_GET_ITEM(aliases, i), alias_keys, self->alias_at, ALIAS_FIELDS) < 0)
            return -1;
    if (PUT(text, "]") < 0) return -1;
    return lines_put_fields(self, text, event, key + 1, &self->event_at[EVENT_ALIASES + 1], 1);
}

static void put_digits(char *at, unsigned number, int count) {
    for (; count > 0; number /= 10) at[--count] = (char)('0' + number % 10);
}

/* The date by the proleptic Gregorian calendar, computed with years that begin in March. */
static void lines_find_second(Lines *self, uint64_t second) {
    uint64_t day = second / 86400 + 719468, of_day = second % 86400;
    unsigned era = (unsigned)(day / 146097), of_era = (unsigned)(day % 146097);
    unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * year + year / 4 - year / 100), march = (5 * of_year + 2) / 153;
    unsigned month = march < 10 ? march + 3 : march - 9;
    year += era * 400 + (month <= 2);
    memcpy(self->second, "0000-00-00T00:00:00", 20);
    put_digits(self->second, year, 4);
    put_digits(self->second + 5, month, 2);
    put_digits(self->second + 8, of_year - (153 * march + 2) / 5 + 1, 2);
    put_digits(self->second + 11, (unsigned)(of_day / 3600), 2);
    put_digits(self->second + 14, (unsigned)(of_day / 60 % 60), 2);
    put_digits(self->second + 17, (unsigned)(of_day % 60), 2);
    self->second_of = second;
}

static int lines_put_time(Lines *self, Text *text, uint64_t ns) {
    char micro[8] = "000000Z";
    if (ns / 1000000000 != self->second_of) lines_find_second(self, ns / 1000000000);
    put_digits(micro, (unsigned)(ns % 1000000000 / 1000), 6);
    return PUT(text, ",\"time\":\"") < 0 || text_put(text, self->second, 19) < 0 || PUT(text, ".") < 0 ||
                   text_put(text, micro, 7) < 0 || PUT(text, "\"") < 0
               ? -1
               : 0;
}

/* Who made the store. */
static int lines_put_callers(Lines *self, Text *text, PyObject *event, PyObject *own, PyObject *stack) {
    if (PUT(text, ",\"own\":") < 0 || lines_put_site(self, text, own) < 0 || PUT(text, ",\"stack\":") < 0 ||
        lines_put_stack(self, text, stack) < 0)
        return -1;
    return lines_put_fields(self, text, event, event_keys + EVENT_CUT, self->event_at + EVENT_CUT, 2);
}

/* On whose behalf. */
static int lines_put_request(Lines *self, Text *text, PyObject *request) {
    if (PUT(text, ",\"request\":") < 0) return -1;
    return lines_put_object(self, text, request, request_keys, self->request_at, REQUEST_FIELDS);
}

static int is_of(PyObject *object, const PyTypeObject *type) { return object == Py_None || Py_TYPE(object) == type; }

static int lines_put_event(Lines *self, Text *text, PyObject *event) {
    PyObject *site = field(event, self->event_at[EVENT_SITE]), *context = field(event, self->event_at[EVENT_CONTEXT]);
    PyObject *time = field(event, self->event_at[EVENT_TIME]), *call = field(event, self->event_at[EVENT_CALL]);
    PyObject *part = field(event, self->event_at[EVENT_PART]), *own = field(event, self->event_at[EVENT_OWN]);
    PyObject *stack = field(event, self->event_at[EVENT_STACK]);
    PyObject *aliases = field(event, self->event_at[EVENT_ALIASES]);
    PyObject *request = field(event, self->event_at[EVENT_REQUEST]);
    PyObject *native = field(event, self->event_at[EVENT_NATIVE]);
    uint64_t ns = PyLong_CheckExact(time) ? PyLong_AsUnsignedLongLong(time) : UINT64_MAX;
    int known = is_of(site, self->site) & is_of(context, self->context) & is_of(call, self->call) &
                is_of(part, self->part) & is_of(own, self->site) & is_of(request, self->request) &
                is_of(native, self->site);
    if (ns == UINT64_MAX || !known || (stack != Py_None && !is_tuple_of(self->site, stack)) ||
        !is_tuple_of(self->alias, aliases)) {
        PyErr_Clear();
        return text_put_other(text, self->record, event, -1);
    }
    Py_ssize_t start = text->at - PyBytes_AS_STRING(text->bytes);
    if (lines_put_fields(self, text, event, event_keys, self->event_at, 1) < 0 || lines_put_time(self, text, ns) < 0 ||
        lines_put_fields(self, text, event, event_keys + 1, self->event_at + 1, EVENT_PLAIN - 1) < 0 ||
        PUT(text, ",\"site\":") < 0 || lines_put_site(self, text, site) < 0 || PUT(text, ",\"context\":") < 0 ||
        lines_put_context(self, text, context) < 0 || PUT(text, ",\"call\":") < 0 ||
        lines_put_object(self, text, call, call_keys, self->call_at, CALL_FIELDS) < 0 || PUT(text, ",\"part\":") < 0 ||
        lines_put_object(self, text, part, part_keys, self->part_at, PART_FIELDS) < 0 ||
        lines_put_fields(self, text, event, event_keys + EVENT_OPERATION, self->event_at + EVENT_OPERATION, 1) < 0 ||
        lines_put_callers(self, text, event, own, stack) < 0 || lines_put_aliases(self, text, event, aliases) < 0 ||
        lines_put_request(self, text, request) < 0 || PUT(text, ",\"native\":") < 0 ||
        lines_put_site(self, text, native) < 0)
        return -1;
    PyBytes_AS_STRING(text->bytes)[start] = '{';
    return PUT(text, "}");
}

static PyObject *lines_encode(Lines *self, PyObject *records) {
    if (self->value == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Lines was not initialised");
        return NULL;
    }
    PyObject *items = PySequence_Tuple(records); /* our own copy: no callback can modify it */
    if (items == NULL) return NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(items), size = 1024 + (count < 65536 ? count : 65536) * 384;
    Text text = {.bytes = PyBytes_FromStringAndSize(NULL, size)};
    if (text.bytes != NULL) {
        text.at = PyBytes_AS_STRING(text.bytes);
        text.end = text.at + size;
    }
    int failed = text.bytes == NULL;
    for (Py_ssize_t i = 0; i < count && !failed; i++) {
        PyObject *record = PyTuple_GET_ITEM(items, i);
        failed = (Py_TYPE(record) == self->event ? lines_put_event(self, &text, record)
                                                 : text_put_other(&text, self->record, record, -1)) < 0 ||
                 PUT(&text, "\n") < 0;
    }
    Py_DECREF(items);
    if (failed)
        Py_CLEAR(text.bytes);
    else
        _PyBytes_Resize(&text.bytes, text.at - PyBytes_AS_STRING(text.bytes));
    return text.bytes;
}

/* Finds the offsets of a type's fields, which are plain members as in a class with __slots__. */
static int find_fields(PyTypeObject *type, const Key *keys, Py_ssize_t *at, int count) {
    for (int i = 0; i < count; i++) {
        PyObject *name = PyUnicode_FromStringAndSize(keys[i].text + 2, (Py_ssize_t)keys[i].length - 4);
        PyObject *found = name == NULL ? NULL : PyObject_GetAttr((PyObject *)type, name);
        Py_XDECREF(name);
        if (found == NULL) return -1;
        int member = Py_IS_TYPE(found, &PyMemberDescr_Type) && PyDescr_TYPE(found) == type &&
                     ((PyMemberDescrObject *)found)->d_member->type == T_OBJECT_EX;
        if (member)
            at[i] = ((PyMemberDescrObject *)found)->d_member->offset;
        else
            PyErr_Format(PyExc_TypeError, "%s: the field for %s is not a member", type->tp_name, keys[i].text);
        Py_DECREF(found);
        if (!member) return -1;
    }
    return 0;
}

static int lines_init(Lines *self, PyObject *args, PyObject *keywords) {
    PyObject *event, *site, *context, *call, *part, *shown, *alias, *request, *record, *value;
    (void)keywords;
    if (self->event != NULL ||
        !PyArg_ParseTuple(args, "O!O!O!O!O!O!O!O!OO", &PyType_Type, &event, &PyType_Type, &site, &PyType_Type, &context,
                          &PyType_Type, &call, &PyType_Type, &part, &PyType_Type, &shown, &PyType_Type, &alias,
                          &PyType_Type, &request, &record, &value))
        return -1;
    if (find_fields((PyTypeObject *)event, event_keys, self->event_at, EVENT_FIELDS) < 0 ||
        find_fields((PyTypeObject *)site, site_keys, self->site_at, SITE_FIELDS) < 0 ||
        find_fields((PyTypeObject *)context, context_keys, self->context_at, CONTEXT_FIELDS) < 0 ||
        find_fields((PyTypeObject *)call, call_keys, self->call_at, CALL_FIELDS) < 0 ||
        find_fields((PyTypeObject *)part, part_keys, self->part_at, PART_FIELDS) < 0 ||
        find_fields((PyTypeObject *)shown, shown_keys, self->shown_at, SHOWN_FIELDS) < 0 ||
        find_fields((PyTypeObject *)alias, alias_keys, self->alias_at, ALIAS_FIELDS) < 0 ||
        find_fields((PyTypeObject *)request, request_keys, self->request_at, REQUEST_FIELDS) < 0)
        return -1;
    self->event = (PyTypeObject *)Py_NewRef(event);
    self->site = (PyTypeObject *)Py_NewRef(site);
    self->context = (PyTypeObject *)Py_NewRef(context);
    self->call = (PyTypeObject *)Py_NewRef(call);
    self->part = (PyTypeObject *)Py_NewRef(part);
    self->shown = (PyTypeObject *)Py_NewRef(shown);
    self->alias = (PyTypeObject *)Py_NewRef(alias);
    self->request = (PyTypeObject *)Py_NewRef(request);
    self->record = Py_NewRef(record);
    self->value = Py_NewRef(value);
    lines_find_second(self, 0);
    return 0;
}

static void lines_dealloc(Lines *self) {
    PyTypeObject *type = Py_TYPE(self);
    Py_CLEAR(self->event);
    Py_CLEAR(self->site);
    Py_CLEAR(self->context);
    Py_CLEAR(self->call);
    Py_CLEAR(self->part);
    Py_CLEAR(self->shown);
    Py_CLEAR(self->alias);
    Py_CLEAR(self->request);
    Py_CLEAR(self->record);
    Py_CLEAR(self->value);
    for (int i = 0; i < RECENT_CONTEXTS; i++) {
        Py_CLEAR(self->recent[i].context);
        Py_CLEAR(self->recent[i].text);
    }
    for (int i = 0; i < RECENT_STACKS; i++) {
        Py_CLEAR(self->stacks[i].frames);
        Py_CLEAR(self->stacks[i].text);
    }
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyMethodDef lines_methods[] = {
    {"encode", (PyCFunction)lines_encode, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot lines_slots[] = {
    {Py_tp_init, lines_init},
    {Py_tp_dealloc, lines_dealloc},
    {Py_tp_methods, lines_methods},
    {Py_tp_new, PyType_GenericNew},
    {0, NULL},
};

static PyType_Spec lines_spec = {
    .name = "memwatch_core.journal._reader.Lines",
    .basicsize = sizeof(Lines),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = lines_slots,
};

int lines_add(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &lines_spec, NULL);
    int failed = type == NULL || PyModule_AddObjectRef(module, "Lines", type) < 0;
    Py_XDECREF(type);
    return failed ? -1 : 0;
}
