/* reader_variable.h - part of reader.c: a variable's bytes, and numbers decoded from them. */
#ifndef MEMWATCH_READER_VARIABLE_H
#define MEMWATCH_READER_VARIABLE_H
#include "reader.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "reader_bounds.h"
#include "reader_recorder.h"
#include "reader_table.h"

/* With many variables, a store to a number needs only the first cache line. Its value isn't kept then, but decoded
 * again: kept objects would be scattered in memory, and cost more to touch and free than to create. */
#define FEW_VARIABLES 1024
#define DECODED 16 /* this and the next three as in memwatch_core/journal/followed.py */
#define LARGE (1u << 14)
#define MAPPED (1u << 16)
#define HEAD 64
typedef struct state {
    unsigned char *shadow; /* its bytes; NULL: not followed */
    PyObject *name, *path;
    uint64_t size, checked_start, checked_stop;
    unsigned char small[8];           /* the shadow of a variable that fits */
    char letter;                      /* struct letter of a single number; 0: call decode */
    char provisional, failed, parted; /* parted: its serializer has parts */
    char slab;                        /* its bytes are cells, each the value of a place */
    char stored;                      /* a store was made to it */
    _Alignas(64) PyObject *value;     /* decoded from the shadow; NULL: not yet, or not kept */
    PyObject *last;                   /* bytes after the last store, likely those before the next; or NULL */
    PyObject *decode, *options;
    PyObject *part;   /* finds the extent; or None */
    PyObject *extent; /* cached, for [extent_at, extent_at + extent_length); None: no part; NULL: unknown */
    uint64_t extent_at, extent_length;
    unsigned char *heads;       /* first bytes passed for that extent: `head` before the store, and as many after it */
    uint32_t head, extent_head; /* number of first bytes that part takes; that it got */
    uint32_t ident, told;       /* told: the id that its events carry */
    uint64_t version;           /* changes with each definition; no other variable ever has the same */
    uint32_t judged;            /* by which sieve `wanted` was found that goes by the variable alone; 0: by none */
    int wanted;
    Table places;      /* of a slab: offset of a cell -> Place */
    Previous previous; /* the last store, if stores are recorded */
    PyObject *about;   /* what the lines of its merged stores are told with; NULL: its stores aren't merged */
    const Item *item;  /* what its items are; NULL: not known */
    uint64_t base;     /* where the first one is */
} State;

#define CELL_SIZE 64u
enum cell_kind {
    CELL_ABSENT,
    CELL_NONE,
    CELL_FALSE,
    CELL_TRUE,
    CELL_INT,
    CELL_FLOAT,
    CELL_STR,
    CELL_BYTES,
    CELL_OTHER,
    CELL_SECRET,
    CELL_SECRET_OTHER,
};
#define CELL_BEGINS 0x80u /* added to a kind: as in layout.py */
#define CELL_TURNS 0x40u
#define CELL_KIND 0x3Fu
static int is_other(int kind) { return kind == CELL_OTHER || kind == CELL_SECRET_OTHER; }
static int is_secret(int kind) { return kind == CELL_SECRET || kind == CELL_SECRET_OTHER; }
/* As is_explained() of layout.py. */
static int is_explained(int last, int before) {
    return (is_other(last) && is_other(before)) || (is_secret(before) && !is_secret(last));
}
typedef struct place {
    PyObject *path;
    PyObject *aliases; /* tuple; NULL: it has no other name */
    int aliases_cut;   /* there are more */
    uint32_t length;   /* of `last`; 0: no store since its PLACE */
    unsigned char last[CELL_SIZE];
} Place;

static State *state_new(uint32_t ident) {
    State *state = aligned_alloc(_Alignof(State), sizeof *state);
    if (state != NULL) *state = (State){.ident = ident};
    return state;
}

/* A shadow of more than MAPPED bytes takes memory only where written, and is resized without copying: the size that a
 * journal claims for a variable costs nothing. */
static void shadow_free(State *state) {
    if (state->shadow == NULL || state->shadow == state->small) return;
    if (state->size > MAPPED)
        munmap(state->shadow, state->size);
    else
        free(state->shadow);
}

static unsigned char *shadow_new(uint64_t size) {
    if (size <= MAPPED) return calloc(size + 8, 1);
    void *made = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return made == MAP_FAILED ? NULL : made;
}

/* Resizes a mapped shadow. Zeroes the rest of the last page kept, as pages behind it are zero. */
static unsigned char *shadow_remap(const State *state, uint64_t size) {
    void *moved = mremap(state->shadow, state->size, size, MREMAP_MAYMOVE);
    if (moved == MAP_FAILED) return NULL;
    if (size < state->size && size % 4096 != 0) memset((unsigned char *)moved + size, 0, 4096 - size % 4096);
    return moved;
}

static void objects_free(Table *table) {
    for (size_t i = 0; table->rows != NULL && i < (size_t)1 << table->bits; i++) Py_XDECREF(table->rows[i].value);
    free(table->rows);
    *table = (Table){0};
}

static void place_free(Place *place) {
    if (place != NULL) Py_DECREF(place->path);
    if (place != NULL) Py_XDECREF(place->aliases);
    free(place);
}

static void places_free(Table *table) {
    for (size_t i = 0; table->rows != NULL && i < (size_t)1 << table->bits; i++) place_free(table->rows[i].value);
    free(table->rows);
}

static void state_free(State *state) {
    if (state == NULL) return;
    shadow_free(state);
    Py_XDECREF(state->value);
    Py_XDECREF(state->last);
    Py_XDECREF(state->name);
    Py_XDECREF(state->path);
    Py_XDECREF(state->decode);
    Py_XDECREF(state->options);
    Py_XDECREF(state->part);
    Py_XDECREF(state->extent);
    Py_XDECREF(state->about);
    places_free(&state->places);
    free(state->heads);
    free(state);
}

static int state_resize(State *state, uint64_t size, int follow) {
    unsigned char *grown = NULL;
    int mapped = state->shadow != NULL && state->size > MAPPED && size > MAPPED;
    if (follow && (grown = mapped ? shadow_remap(state, size) : shadow_new(size)) == NULL) return -1;
    if (!follow || !mapped) {
        if (follow && state->shadow != NULL) memcpy(grown, state->shadow, size < state->size ? size : state->size);
        shadow_free(state);
    }
    state->shadow = grown;
    if (follow && size <= sizeof state->small) {
        memcpy(state->small, grown, sizeof state->small);
        free(grown);
        state->shadow = state->small;
    }
    state->size = size;
    Py_CLEAR(state->value);
    return 0;
}

/* The number's letter; 0 if there is no such number, or its size differs: then the serializer decodes. */
static char number_letter(const char *letter, uint64_t size) {
    static const char letters[] = "?bBhHiIqQfd";
    static const unsigned char sizes[] = {1, 1, 1, 2, 2, 4, 4, 8, 8, 4, 8};
    const char *found = letter[0] != 0 && letter[1] == 0 ? strchr(letters, letter[0]) : NULL;
    return found != NULL && sizes[found - letters] == size ? *found : 0;
}

#define NUMBER(type, make)                                                                                             \
    {                                                                                                                  \
        type number;                                                                                                   \
        memcpy(&number, bytes, sizeof number);                                                                         \
        return make(number);                                                                                           \
    }

static PyObject *number_from(char letter, const unsigned char *bytes) {
    switch (letter) {
    case 'q': NUMBER(int64_t, PyLong_FromLongLong)
    case 'd': NUMBER(double, PyFloat_FromDouble)
    case 'Q': NUMBER(uint64_t, PyLong_FromUnsignedLongLong)
    case 'i': NUMBER(int32_t, PyLong_FromLong)
    case 'I': NUMBER(uint32_t, PyLong_FromUnsignedLong)
    case 'h': NUMBER(int16_t, PyLong_FromLong)
    case 'H': NUMBER(uint16_t, PyLong_FromLong)
    case 'b': NUMBER(int8_t, PyLong_FromLong)
    case '?': return PyBool_FromLong(*bytes != 0);
    case 'B': NUMBER(uint8_t, PyLong_FromLong)
    default: NUMBER(float, PyFloat_FromDouble)
    }
}

static int number_attribute(PyObject *object, const char *name, unsigned long long *out) {
    PyObject *number = PyObject_GetAttrString(object, name);
    if (number == NULL) return -1;
    *out = PyLong_AsUnsignedLongLong(number);
    Py_DECREF(number);
    return PyErr_Occurred() ? -1 : 0;
}

static int object_attribute(PyObject *object, const char *name, PyObject **out) {
    PyObject *value = PyObject_GetAttrString(object, name);
    if (value == NULL) return -1;
    Py_XSETREF(*out, value);
    return 0;
}

static int state_define(State *state, PyObject *variable, PyObject *path, PyObject *decode, const char *letter,
                        PyObject *part, int follow, int provisional, int head) {
    unsigned long long size, start, stop;
    PyObject *depth = NULL;
    if (number_attribute(variable, "size", &size) < 0 || object_attribute(variable, "depth", &depth) < 0) return -1;
    int ok = depth == Py_None || (PyTuple_Check(depth) && PyArg_ParseTuple(depth, "KK", &start, &stop));
    if (depth == Py_None) {
        start = 0;
        stop = size;
    }
    Py_DECREF(depth);
    if (!ok || object_attribute(variable, "name", &state->name) < 0 ||
        object_attribute(variable, "options", &state->options) < 0)
        return -1;
    if (size > PY_SSIZE_T_MAX / 2 && follow) {
        PyErr_SetString(PyExc_OverflowError, "the variable is too large to be followed");
        return -1;
    }
    if ((state->size != size || (state->shadow != NULL) != follow) && state_resize(state, size, follow) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    Py_CLEAR(state->value);
    Py_XSETREF(state->path, Py_NewRef(path));
    Py_XSETREF(state->decode, Py_NewRef(decode));
    Py_XSETREF(state->part, Py_NewRef(part));
    state->parted = part != Py_None;
    state->head = head <= 0 ? 0 : head < HEAD ? (uint32_t)head : HEAD;
    if (state->head > size) state->head = (uint32_t)size;
    if (state->head != 0 && state->heads == NULL && (state->heads = malloc(2 * HEAD)) == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    Py_CLEAR(state->extent);
    state->checked_start = start;
    state->checked_stop = stop;
    state->letter = decode != Py_None ? number_letter(letter, size) : 0;
    state->provisional = (char)provisional;
    return 0;
}

/* Writes data to the shadow, as far as it lies inside the variable. Drops the decoded value if it changed. */
static void state_put(State *state, uint64_t offset, const unsigned char *data, uint64_t length) {
    if (state->shadow == NULL || offset >= state->size) return;
    if (length > state->size - offset) length = state->size - offset;
    if (memcmp(state->shadow + offset, data, length) != 0) {
        memcpy(state->shadow + offset, data, length);
        Py_CLEAR(state->value);
    }
}

/* Copies the value's first bytes, with data at offset (NULL: none), to head. Returns their number; 0: unknown. */
static uint32_t state_head(const State *state, uint64_t offset, const unsigned char *data, uint64_t length,
                           unsigned char *head) {
    uint32_t n = state->head;
    if (state->shadow == NULL && (data == NULL || offset != 0 || length < n)) return 0;
    if (state->shadow != NULL) memcpy(head, state->shadow, n);
    if (data != NULL && offset < n) memcpy(head + offset, data, length < n - offset ? length : n - offset);
    return n;
}

static int state_is_cell(const State *state, uint64_t offset, uint64_t length) {
    return offset % CELL_SIZE == 0 && length <= CELL_SIZE && state->size >= CELL_SIZE &&
           offset <= state->size - CELL_SIZE;
}

/* The place whose cell a store touched; NULL: no PLACE is known, or the store touched no cell. */
static Place *state_place(const State *state, uint64_t offset, uint64_t length) {
    return state_is_cell(state, offset, length) ? table_get(&state->places, (uint32_t)offset) : NULL;
}

static int state_agrees(const State *state, uint64_t offset, const unsigned char *before, uint64_t length) {
    uint64_t start = offset > state->checked_start ? offset : state->checked_start, stop = offset + length;
    stop = stop < state->checked_stop ? stop : state->checked_stop;
    stop = stop < state->size ? stop : state->size;
    return start >= stop || memcmp(state->shadow + start, before + (start - offset), stop - start) == 0;
}

/* Whether a store has left something else than there was. */
static int state_changes(const State *state, const unsigned char *before, const unsigned char *after, uint64_t length) {
    return memcmp(before, after, length) != 0 || (state->slab && length != 0 && after[0] & CELL_BEGINS);
}

/* Whether the bytes before a store, which those after it follow, are those that the last event left, as far as that is
 * known. */
static int state_explains(const State *state, uint64_t offset, const unsigned char *before, uint64_t length) {
    if (!state->slab) return state->shadow == NULL || state_agrees(state, offset, before, length);
    const Place *place = state_place(state, offset, length);
    if (length != 0 && before[length] & (CELL_BEGINS | CELL_TURNS)) return 1; /* the bytes after it */
    uint64_t both = place == NULL ? 0 : place->length < length ? place->length : length;
    return both == 0 || memcmp(place->last, before, both) == 0 ||
           is_explained((int)(place->last[0] & CELL_KIND), (int)(before[0] & CELL_KIND));
}

/* Follows a store without decoding its values. */
static void state_follow(State *state, uint64_t offset, const unsigned char *before, const unsigned char *after,
                         uint64_t length) {
    if (!state->slab) {
        state_put(state, offset, before, length);
        state_put(state, offset, after, length);
        return;
    }
    Place *place = state_place(state, offset, length);
    if (place == NULL) return;
    memcpy(place->last, after, length);
    place->length = (uint32_t)length;
}

#endif
