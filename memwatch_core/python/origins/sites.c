/* sites.c - the source position of an instruction: file, line, column and function, interned.
 *
 * A store may arrive in a signal handler, with or without the GIL: another thread may hold it, or the interrupted
 * code may be inside malloc. But the thread is stopped in the handler, so its frames and their code objects don't
 * change: they are read in place, without taking references. Addresses of code objects are reused (at once by exec in a
 * loop), so the cache compares the content of everything that determines the result. Each entry has a sequence lock; a
 * thread that fails to take it does without the cache.
 *
 * The location table is parsed here, because PyCode_Addr2Line builds an array when tracing (3.11) and has no
 * columns. */
#include <string.h>

#define Py_BUILD_CORE_MODULE 1
#include "origins/sites.h"
#include "origins/utf8.h"

/* ---- location table (the format of CPython 3.11 and later) ------------------------------------------------------- */

typedef struct cursor {
    const uint8_t *at, *end;
} cursor;

static unsigned next_byte(cursor *c) { return c->at < c->end ? *c->at++ : 0; }

static unsigned next_varint(cursor *c) {
    unsigned byte = next_byte(c), value = byte & 63;
    for (unsigned shift = 6; byte & 64 && shift < 32; shift += 6) {
        byte = next_byte(c);
        value |= (byte & 63) << shift;
    }
    return value;
}

static int next_signed(cursor *c) {
    unsigned value = next_varint(c);
    return value & 1 ? -(int)(value >> 1) : (int)(value >> 1);
}

enum { FORM_ONE_LINE = 10, FORM_NO_COLUMN = 13, FORM_LONG = 14, FORM_NONE = 15 };

/* What stands behind the one that begins a function, and has no position, is what says the parameters (locals/): it
 * belongs to the line where the function begins. */
static bool says_parameters(const mwpy_place *at) {
    enum { MOST = 6 };
    int behind = at->unit - at->code->_co_firsttraceable;
    return behind > 0 && behind <= MOST;
}

/* Line and column (from 1; 0: unknown) of an instruction. Returns the number of bytes of the table that were needed. */
static size_t locate(const mwpy_place *at, const uint8_t *table, size_t n, uint32_t *line, uint32_t *column) {
    cursor c = {table, table + n};
    int current = at->code->co_firstlineno;
    *line = *column = 0;
    for (int unit = 0; c.at < c.end;) {
        unsigned head = next_byte(&c), form = head >> 3 & 15, start = 0;
        unit += (int)(head & 7) + 1;
        if (form == FORM_LONG) {
            current += next_signed(&c);
            next_varint(&c);
            start = next_varint(&c);
            next_varint(&c);
        } else if (form == FORM_NO_COLUMN) {
            current += next_signed(&c);
        } else if (form >= FORM_ONE_LINE && form < FORM_NO_COLUMN) {
            current += (int)form - FORM_ONE_LINE;
            start = next_byte(&c) + 1;
            next_byte(&c);
        } else if (form != FORM_NONE) {
            start = (form << 3 | next_byte(&c) >> 4) + 1;
        }
        if (unit > at->unit) {
            if (form != FORM_NONE) {
                *line = current > 0 ? (uint32_t)current : 0;
                *column = start;
            } else if (says_parameters(at)) {
                *line = (uint32_t)at->code->co_firstlineno;
            }
            break;
        }
    }
    return (size_t)(c.at - table);
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

enum { FILE_BYTES = 1024, FUNCTION_BYTES = 256, ASCII_FILE_BYTES = 4096, ASCII_FUNCTION_BYTES = 1024 };

typedef struct text {
    const char *at;
    size_t n;
} text;

/* UTF-8 of a str, without allocating. A name that is too long loses its beginning: the end of a path says more. Lone
 * surrogates (undecodable file names) become "?". */
static text utf8_of(PyObject *s, char *room, size_t capacity, size_t ascii_capacity) {
    size_t n = (size_t)PyUnicode_GET_LENGTH(s);
    const char *data = PyUnicode_DATA(s);
    if (PyUnicode_IS_ASCII(s)) {
        size_t skip = n > ascii_capacity ? n - ascii_capacity : 0;
        return (text){data + skip, n - skip};
    }
    int kind = PyUnicode_KIND(s);
    size_t from = n, bytes = 0;
    while (from > 0) {
        Py_UCS4 c = PyUnicode_READ(kind, data, (Py_ssize_t)from - 1);
        size_t more = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        if (bytes + more > capacity) break;
        bytes += more;
        from--;
    }
    size_t out = 0;
    for (; from < n; from++) {
        Py_UCS4 c = PyUnicode_READ(kind, data, (Py_ssize_t)from);
        out += mwpy_put_utf8(room + out, c >= 0xD800 && c < 0xE000 ? '?' : c);
    }
    return (text){room, out};
}

static uint32_t intern(const mwpy_place *at, uint32_t line, uint32_t column) {
    char file_room[FILE_BYTES], function_room[FUNCTION_BYTES];
    text file = utf8_of(at->code->co_filename, file_room, sizeof file_room, ASCII_FILE_BYTES);
    text function = utf8_of(at->code->co_name, function_room, sizeof function_room, ASCII_FUNCTION_BYTES);
    return mw_intern_site(file.at, file.n, function.at, function.n, line, column);
}

uint32_t mwpy_site_anew(const mwpy_place *at) {
    uint32_t line, column;
    PyObject *table = at->code->co_linetable;
    locate(at, (const uint8_t *)PyBytes_AS_STRING(table), (size_t)PyBytes_GET_SIZE(table), &line, &column);
    return intern(at, line, column);
}

/* ---- the cache --------------------------------------------------------------------------------------------------- */

/* Two sizes: nearly all sites fit into the small one; a long function needs its location table up to the store. */
enum { SMALL = 2048, SMALL_BYTES = 440, LARGE = 128, LARGE_BYTES = 32768 };

struct known {
    uint32_t lock; /* even: valid; odd: being written */
    uint32_t site;
    int unit, first_line;
    uint32_t table, file, function; /* lengths in `content` */
    uint8_t file_kind, function_kind;
};
static struct small {
    struct known known;
    uint8_t content[SMALL_BYTES];
} small[SMALL];
static struct large {
    struct known known;
    uint8_t content[LARGE_BYTES];
} large[LARGE];

static size_t text_bytes(PyObject *s) { return (size_t)PyUnicode_GET_LENGTH(s) * (size_t)PyUnicode_KIND(s); }

/* The cached site if the entry is about exactly this place, otherwise 0. */
static uint32_t recall(struct known *known, const uint8_t *content, size_t room, const mwpy_place *at) {
    uint32_t lock = __atomic_load_n(&known->lock, __ATOMIC_ACQUIRE);
    PyCodeObject *code = at->code;
    PyObject *table = code->co_linetable, *file = code->co_filename, *function = code->co_name;
    size_t table_n = known->table, file_n = text_bytes(file), function_n = text_bytes(function);
    if (lock & 1 || !known->site || known->unit != at->unit || known->first_line != code->co_firstlineno ||
        known->file != file_n || known->function != function_n || known->file_kind != PyUnicode_KIND(file) ||
        known->function_kind != PyUnicode_KIND(function) || table_n > (size_t)PyBytes_GET_SIZE(table) ||
        table_n + file_n + function_n > room)
        return 0;
    if (memcmp(content, PyBytes_AS_STRING(table), table_n) || memcmp(content + table_n, PyUnicode_DATA(file), file_n) ||
        memcmp(content + table_n + file_n, PyUnicode_DATA(function), function_n))
        return 0;
    uint32_t site = known->site;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(&known->lock, __ATOMIC_RELAXED) == lock ? site : 0;
}

static void learn(struct known *known, uint8_t *content, const mwpy_place *at, size_t table_n, uint32_t site) {
    uint32_t lock = __atomic_load_n(&known->lock, __ATOMIC_RELAXED);
    if (lock & 1 ||
        !__atomic_compare_exchange_n(&known->lock, &lock, lock + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    __atomic_thread_fence(__ATOMIC_RELEASE);
    PyCodeObject *code = at->code;
    PyObject *file = code->co_filename, *function = code->co_name;
    known->site = site;
    known->unit = at->unit;
    known->first_line = code->co_firstlineno;
    known->table = (uint32_t)table_n;
    known->file = (uint32_t)text_bytes(file);
    known->function = (uint32_t)text_bytes(function);
    known->file_kind = (uint8_t)PyUnicode_KIND(file);
    known->function_kind = (uint8_t)PyUnicode_KIND(function);
    memcpy(content, PyBytes_AS_STRING(code->co_linetable), table_n);
    memcpy(content + table_n, PyUnicode_DATA(file), known->file);
    memcpy(content + table_n + known->file, PyUnicode_DATA(function), known->function);
    __atomic_store_n(&known->lock, lock + 2, __ATOMIC_RELEASE);
}

uint32_t mwpy_site_of(const mwpy_place *at) {
    uint32_t line, column;
    size_t hash = mwpy_hash_place(at);
    struct small *s = &small[hash % SMALL];
    uint32_t site = recall(&s->known, s->content, SMALL_BYTES, at);
    if (site) return site;
    struct large *l = &large[hash % LARGE];
    site = recall(&l->known, l->content, LARGE_BYTES, at);
    if (site) return site;
    PyObject *table = at->code->co_linetable;
    size_t n = locate(at, (const uint8_t *)PyBytes_AS_STRING(table), (size_t)PyBytes_GET_SIZE(table), &line, &column);
    site = intern(at, line, column);
    size_t total = n + text_bytes(at->code->co_filename) + text_bytes(at->code->co_name);
    if (site && total <= SMALL_BYTES)
        learn(&s->known, s->content, at, n, site);
    else if (site && total <= LARGE_BYTES)
        learn(&l->known, l->content, at, n, site);
    return site;
}
