/* strip.c - memwatch_core.journal._reader: takes the values out of a journal's slots, in place.
 *
 *     find(slots, kinds) -> list of the first slots of whole records of these kinds, a bit for each
 *     strip(slots, variables, key) -> the same of records whose payload is text
 *
 * slots: writable, of one segment. variables: a byte for each id: PLAIN, SLAB, LEFT. key: 16 bytes. Bytes become other
 * bytes as in the journal of a secret (masks.h), values in cells become secrets' hashes, as far as there is room; what
 * is no record becomes zeros. Nothing else changes, so that slots and events keep their numbers. */
#include "reader.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "journal/journal_format.h"
#include "journal/masks.h"

enum { PLAIN, SLAB, LEFT }; /* of a variable: bytes; cells; masked already */
enum { CELL = 64, HEAD = 4, CUT = 1, HOW = 14, TAG_SHIFT = 4 };
enum { ABSENT = 0, OTHER = 8, SECRET = 9, SECRET_OTHER = 10 };
enum { SECRET_FLAG = 16, UNTOLD_FLAG = 128 }; /* of a VARIABLE: see layout.py */
enum { MASKS = 4096 };

typedef struct strip {
    unsigned char *slots;
    size_t count;
    const unsigned char *variables;
    size_t variables_n;
    uint64_t key[2];
    struct known_mask {
        uint64_t offset;
        uint32_t variable; /* + 1; 0: none */
        struct mask mask;
    } *masks;
} Strip;

static uint32_t u32_at(const unsigned char *at) {
    uint32_t number;
    memcpy(&number, at, sizeof number);
    return number;
}

/* How many slots a whole record takes; 0: there is none. */
static size_t whole(const Strip *s, size_t at) {
    uint32_t word = u32_at(s->slots + at * MWJ_SLOT_SIZE);
    size_t n = MWJ_SLOTS_OF(word), kind = MWJ_KIND_OF(word);
    if (kind == MWJ_FREE || kind == MWJ_CONTINUATION || kind > MWJ_NOT_FOLLOWED || !n || n > s->count - at) return 0;
    for (size_t i = 1; i < n; i++)
        if (MWJ_KIND_OF(u32_at(s->slots + (at + i) * MWJ_SLOT_SIZE)) != MWJ_CONTINUATION) return 0;
    return n;
}

/* The byte of a record's payload at a position, of which `first` lie in its first slot, behind `start`. */
static unsigned char *byte_at(unsigned char *record, size_t start, size_t position) {
    size_t first = MWJ_SLOT_SIZE - start, room = MWJ_SLOT_SIZE - 4;
    if (position < first) return record + start + position;
    position -= first;
    return record + (1 + position / room) * MWJ_SLOT_SIZE + 4 + position % room;
}

static const struct mask *mask_at(Strip *s, uint32_t variable, uint64_t offset) {
    struct known_mask *known = &s->masks[(offset + variable * 131u) % MASKS];
    if (known->offset != offset || known->variable != variable + 1)
        *known = (struct known_mask){offset, variable + 1, mask_of(s->key, variable, offset)};
    return &known->mask;
}

static void hide_cell(const Strip *s, uint32_t variable, unsigned char cell[CELL], size_t length) {
    size_t used = length < HEAD || cell[1] > length - HEAD ? 0 : cell[1];
    unsigned kind = cell[0];
    if (length < HEAD || (kind == ABSENT && !used)) {
        memset(cell, 0, length);
        return;
    }
    if (kind == SECRET || kind == SECRET_OTHER) return;
    unsigned flags = cell[2] & HOW;
    cell[2] &= CUT;
    cell[3] = 0;
    uint64_t hash = mask_hash(s->key, variable, cell, HEAD + used);
    if (!used) hash = mask_hash(s->key, variable, "", 0) + ((uint64_t)kind * 257 << 52); /* no two kinds look alike */
    size_t kept = used < sizeof hash ? used : sizeof hash;
    flags |= (unsigned)(hash >> 52) << TAG_SHIFT;
    cell[0] = kind == OTHER ? SECRET_OTHER : SECRET;
    cell[1] = (unsigned char)kept;
    cell[2] = (unsigned char)flags;
    cell[3] = (unsigned char)(flags >> 8);
    memset(cell + HEAD, 0, length - HEAD);
    memcpy(cell + HEAD, &hash, kept);
}

static void strip_cells(Strip *s, unsigned char *record, uint32_t variable, size_t ahead, size_t length) {
    for (size_t side = 0; side < 2; side++) {
        unsigned char cell[CELL] = {0};
        for (size_t i = 0; i < length && i < CELL; i++) cell[i] = *byte_at(record, 36, ahead + side * length + i);
        hide_cell(s, variable, cell, length < CELL ? length : CELL);
        for (size_t i = 0; i < length; i++) *byte_at(record, 36, ahead + side * length + i) = i < CELL ? cell[i] : 0;
    }
}

static void strip_store(Strip *s, unsigned char *record, size_t slots) {
    uint32_t word = u32_at(record), variable = u32_at(record + 16), offset = u32_at(record + 20);
    size_t length = u32_at(record + 24), ahead = MWJ_HAS_CALL(word >> 16 & 0xff) ? sizeof(struct mwj_call) : 0;
    size_t room = MWJ_SLOT_SIZE - 36 + (slots - 1) * (MWJ_SLOT_SIZE - 4);
    unsigned what = variable < s->variables_n ? s->variables[variable] : PLAIN;
    if (ahead + 2 * length > room) { /* readers won't take it */
        for (size_t i = 0; i < room; i++) *byte_at(record, 36, i) = 0;
    } else if (what == SLAB) {
        strip_cells(s, record, variable, ahead, length);
    } else if (what == PLAIN) {
        for (size_t i = 0; i < length; i++) {
            const struct mask *mask = mask_at(s, variable, (uint64_t)offset + i);
            unsigned char *before = byte_at(record, 36, ahead + i), *after = byte_at(record, 36, ahead + length + i);
            *before = mask_byte(mask, *before);
            *after = mask_byte(mask, *after);
        }
    }
}

/* Of a slab, readers don't need it. */
static void strip_content(Strip *s, unsigned char *record, size_t slots) {
    uint32_t variable = u32_at(record + 16);
    size_t length = u32_at(record + 20), room = MWJ_SLOT_SIZE - 24 + (slots - 1) * (MWJ_SLOT_SIZE - 4);
    unsigned what = variable < s->variables_n ? s->variables[variable] : PLAIN;
    uint64_t offset;
    if (what == LEFT) return;
    if (length > room) length = room;
    memcpy(&offset, record + 24, sizeof offset);
    for (size_t i = sizeof offset; i < length; i++) {
        unsigned char *byte = byte_at(record, 24, i);
        *byte = what == SLAB ? 0 : mask_byte(mask_at(s, variable, offset + i - sizeof offset), *byte);
    }
}

static void strip_variable(const Strip *s, unsigned char *record) {
    uint32_t variable = u32_at(record + 16), flags = u32_at(record + 20) | SECRET_FLAG;
    unsigned what = variable < s->variables_n ? s->variables[variable] : PLAIN;
    if (what == PLAIN) flags |= UNTOLD_FLAG; /* zeros that no CONTENT tells can't be masked */
    memcpy(record + 20, &flags, sizeof flags);
    memset(record + 48, 0, 16); /* its address, and what is behind it */
}

/* Not committed, or of a kind that isn't known. */
static void erase(unsigned char *slot) {
    unsigned kind = MWJ_KIND_OF(u32_at(slot));
    uint32_t word = kind == MWJ_CONTINUATION ? MWJ_WORD(kind, 1, 0, 0) : kind ? MWJ_WORD(MWJ_PAD, 1, 0, 0) : 0;
    memset(slot, 0, MWJ_SLOT_SIZE);
    memcpy(slot, &word, sizeof word);
}

static int append(PyObject *list, size_t number) {
    PyObject *item = PyLong_FromSize_t(number);
    int failed = item == NULL || PyList_Append(list, item) < 0;
    Py_XDECREF(item);
    return failed ? -1 : 0;
}

static PyObject *find(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer slots;
    unsigned int kinds;
    if (!PyArg_ParseTuple(args, "y*I", &slots, &kinds)) return NULL;
    Strip s = {.slots = slots.buf, .count = (size_t)slots.len / MWJ_SLOT_SIZE};
    PyObject *found = PyList_New(0);
    for (size_t at = 0, n; found != NULL && at < s.count; at += n ? n : 1) {
        n = whole(&s, at);
        if (n && kinds >> MWJ_KIND_OF(u32_at(s.slots + at * MWJ_SLOT_SIZE)) & 1 && append(found, at) < 0)
            Py_CLEAR(found);
    }
    PyBuffer_Release(&slots);
    return found;
}

static PyObject *strip(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer slots, variables, key;
    if (!PyArg_ParseTuple(args, "w*y*y*", &slots, &variables, &key)) return NULL;
    Strip s = {.slots = slots.buf,
               .count = (size_t)slots.len / MWJ_SLOT_SIZE,
               .variables = variables.buf,
               .variables_n = (size_t)variables.len};
    PyObject *texts = NULL;
    if (key.len != sizeof s.key)
        PyErr_SetString(PyExc_ValueError, "a key has 16 bytes");
    else if ((s.masks = calloc(MASKS, sizeof *s.masks)) == NULL)
        PyErr_NoMemory();
    else
        texts = PyList_New(0);
    if (texts != NULL) memcpy(s.key, key.buf, sizeof s.key);
    for (size_t at = 0, n; texts != NULL && at < s.count; at += n ? n : 1) {
        unsigned char *record = s.slots + at * MWJ_SLOT_SIZE;
        n = whole(&s, at);
        if (!n) {
            erase(record);
            continue;
        }
        switch (MWJ_KIND_OF(u32_at(record))) {
        case MWJ_STORE: strip_store(&s, record, n); break;
        case MWJ_CONTENT: strip_content(&s, record, n); break;
        case MWJ_VARIABLE: strip_variable(&s, record); break;
        case MWJ_PAD:
            memset(record + 4, 0, MWJ_SLOT_SIZE - 4);
            for (size_t i = 1; i < n; i++) memset(record + i * MWJ_SLOT_SIZE + 4, 0, MWJ_SLOT_SIZE - 4);
            break;
        case MWJ_METADATA:
        case MWJ_CONTEXT:
        case MWJ_OUTCOME:
        case MWJ_PLACE:
        case MWJ_ALIAS:
        case MWJ_REQUEST:
        case MWJ_NOT_FOLLOWED:
            if (append(texts, at) < 0) Py_CLEAR(texts);
            break;
        default: break;
        }
    }
    free(s.masks);
    PyBuffer_Release(&slots);
    PyBuffer_Release(&variables);
    PyBuffer_Release(&key);
    return texts;
}

static PyMethodDef strip_functions[] = {
    {"find", find, METH_VARARGS, NULL},
    {"strip", strip, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

int strip_add(PyObject *module) { return PyModule_AddFunctions(module, strip_functions); }
