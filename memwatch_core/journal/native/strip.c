/* strip.c - memwatch_core.journal._reader: takes the values out of a journal's slots, in place.
 *
 *     find(slots, kinds) -> list of the first slots of whole records of these kinds, a bit for each
 *     strip(slots, variables, numbers, runs, held, key) -> the same of records whose payload is text
 *
 * slots: writable, of one segment. variables: a u32 for each id: PLAIN, SLAB, LEFT, plus 4 * its row in numbers.
 * numbers: where a variable has numbers of several bytes (struct row; the first row is of those that have none). runs:
 * struct run, of all rows, in order. held: writable, for what the variables of the rows hold. key: 16 bytes.
 *
 * Bytes become other bytes as in the journal of a secret (masks.h), numbers are masked as one, values in cells become
 * secrets' hashes, as far as there is room; what is no record becomes zeros. Nothing else changes, so that slots and
 * events keep their numbers. */
#include "reader.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "journal/journal_format.h"
#include "journal/masks.h"

enum { PLAIN, SLAB, LEFT }; /* of a variable: bytes; cells; masked already */
enum { CELL = 64, HEAD = 4, CUT = 1, HOW = 14, TAG_SHIFT = 4, KIND = 0x3F };
enum { ABSENT = 0, OTHER = 8, SECRET = 9, SECRET_OTHER = 10 };
enum { SECRET_FLAG = 16, UNTOLD_FLAG = 128, LATER_FLAG = 256 }; /* of a VARIABLE: see layout.py */
enum { MASKS = 4096, REASON_MAX = 200 };

struct row {              /* of a variable with numbers of several bytes */
    uint64_t held, size;  /* where in `held`: what it holds, what the copy says of that, SAID and KNOWN of each byte */
    uint64_t first, stop; /* its runs */
};
struct run { /* numbers that follow each other */
    uint64_t start, stop, width;
};
enum { KNOWN = 1, SAID = 2, WIDEST = 8 };
#define NOT_HELD UINT64_MAX /* there is no room to know what it holds */

typedef struct strip {
    unsigned char *slots;
    size_t count;
    const uint32_t *variables;
    size_t variables_n;
    const struct row *rows;
    const struct run *runs;
    unsigned char *held;
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

static unsigned kind_of(const Strip *s, uint32_t variable) {
    return variable < s->variables_n ? s->variables[variable] & 3 : PLAIN;
}

/* Not committed, or of a kind that isn't known. */
static void erase(unsigned char *slot) {
    unsigned kind = MWJ_KIND_OF(u32_at(slot));
    uint32_t word = kind == MWJ_CONTINUATION ? MWJ_WORD(kind, 1, 0, 0) : kind ? MWJ_WORD(MWJ_PAD, 1, 0, 0) : 0;
    memset(slot, 0, MWJ_SLOT_SIZE);
    memcpy(slot, &word, sizeof word);
}

static void erase_all(unsigned char *record, size_t slots) {
    for (size_t i = 0; i < slots; i++) erase(record + i * MWJ_SLOT_SIZE);
}

static const struct row *row_of(const Strip *s, uint32_t variable) {
    return &s->rows[variable < s->variables_n ? s->variables[variable] >> 2 : 0];
}

/* A permutation of numbers of 2, 4 or 8 bytes, another one for each place and `salt`: a Feistel network of two halves,
 * so that equality stays, and nothing else. */
static void mask_number(const Strip *s, uint32_t variable, uint64_t offset, uint64_t salt, unsigned char *bytes,
                        size_t width) {
    size_t half = width / 2;
    for (uint64_t i = 0; i < MASK_ROUNDS; i++) {
        uint64_t round[4] = {offset, i << 32 | variable, salt, 0}, hash;
        unsigned char next[WIDEST];
        memcpy(&round[3], bytes + half, half);
        hash = siphash(s->key, (const unsigned char *)round, sizeof round);
        memcpy(next, bytes + half, half);
        for (size_t k = 0; k < half; k++) next[half + k] = bytes[k] ^ (unsigned char)(hash >> 8 * k);
        memcpy(bytes, next, width);
    }
}

/* Where bytes of a record lie, before and after a store; only after, of a CONTENT. */
struct bytes {
    unsigned char *record;
    size_t start, before, after;
    bool is_store;
};

/* A number of which bytes [from, to) stand in a record. They become bytes of what stands for the whole number, or, if
 * it is what the record before has left, of what was said then. */
static void hide_number(Strip *s, const struct row *row, uint32_t variable, uint64_t offset, size_t width, size_t from,
                        size_t to, const struct bytes *in) {
    unsigned char none[3][WIDEST] = {{0}}, *now = none[0], *said = none[1], *known = none[2];
    if (row->held != NOT_HELD) {
        now = s->held + row->held + offset;
        said = now + row->size;
        known = said + row->size;
    }
    for (unsigned side = in->is_store ? 0 : 1; side < 2; side++) {
        unsigned char masked[WIDEST];
        uint64_t salt = 0;
        bool changed = false, unsaid = false;
        size_t at = side ? in->after : in->before;
        for (size_t i = from; i < to; i++) {
            unsigned char byte = *byte_at(in->record, in->start, at + i - from);
            changed |= now[i] != byte && known[i] & KNOWN;
            unsaid |= !(known[i] & SAID);
            now[i] = byte;
            known[i] |= KNOWN;
        }
        for (size_t i = 0; i < width; i++) salt |= (uint64_t)!(known[i] & KNOWN) << i;
        for (bool alike = changed || unsaid; alike && salt < 1u << 2 * WIDEST; salt += 1u << WIDEST) {
            memcpy(masked, now, width);
            mask_number(s, variable, offset, salt, masked, width);
            alike = changed && !memcmp(masked + from, said + from, to - from); /* what has changed looks changed */
        }
        for (size_t i = from; i < to; i++) {
            if (changed || !(known[i] & SAID)) said[i] = masked[i];
            known[i] |= SAID;
            *byte_at(in->record, in->start, at + i - from) = said[i];
        }
    }
}

static void hide_byte(Strip *s, uint32_t variable, uint64_t offset, unsigned char *byte) {
    *byte = mask_byte(mask_at(s, variable, offset), *byte);
}

/* Bytes of a variable from `offset` on: each by itself, or the numbers that they belong to. */
static void hide_bytes(Strip *s, uint32_t variable, uint64_t offset, size_t length, struct bytes in) {
    const struct row *row = row_of(s, variable);
    uint64_t first = row->first, last = row->stop;
    while (first < last) { /* the first run that ends behind offset */
        uint64_t middle = first + (last - first) / 2;
        if (s->runs[middle].stop <= offset)
            first = middle + 1;
        else
            last = middle;
    }
    for (size_t i = 0; i < length;) {
        uint64_t at = offset + i;
        while (first < row->stop && s->runs[first].stop <= at) first++;
        struct bytes here = in;
        here.before += i;
        here.after += i;
        if (first == row->stop || at < s->runs[first].start) {
            if (in.is_store) hide_byte(s, variable, at, byte_at(in.record, in.start, here.before));
            hide_byte(s, variable, at, byte_at(in.record, in.start, here.after));
            i++;
            continue;
        }
        size_t width = (size_t)s->runs[first].width, from = (size_t)((at - s->runs[first].start) % width);
        size_t to = width - from < length - i ? width : from + length - i;
        hide_number(s, row, variable, at - from, width, from, to, &here);
        i += to - from;
    }
}

static void hide_cell(const Strip *s, uint32_t variable, unsigned char cell[CELL], size_t length) {
    size_t used = length < HEAD || cell[1] > length - HEAD ? 0 : cell[1];
    unsigned kind = cell[0] & KIND, call = cell[0] & ~KIND; /* which call of a function it is of */
    unsigned flags = length < HEAD ? 0 : cell[2] & HOW;
    if (length < HEAD || (kind == ABSENT && !used)) {
        memset(cell, 0, length);
        if (length >= HEAD) cell[0] = (unsigned char)call;
        cell[2] = (unsigned char)flags; /* how it went */
        return;
    }
    bool is_secret = kind == SECRET || kind == SECRET_OTHER; /* hashed again: it may be a damaged one */
    cell[2] &= is_secret ? (unsigned char)~HOW : CUT;
    if (!is_secret) cell[3] = 0;
    cell[0] = (unsigned char)kind;
    uint64_t hash = mask_hash(s->key, variable, cell, HEAD + used);
    if (!used) hash = mask_hash(s->key, variable, "", 0) + ((uint64_t)kind * 257 << 52); /* no two kinds look alike */
    size_t kept = used < sizeof hash ? used : sizeof hash;
    flags |= (unsigned)(hash >> 52) << TAG_SHIFT;
    cell[0] = (unsigned char)(call | (kind == OTHER || kind == SECRET_OTHER ? SECRET_OTHER : SECRET));
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
    size_t room = MWJ_SLOT_SIZE - 36 + (slots - 1) * (MWJ_SLOT_SIZE - 4), flags = MWJ_FLAGS_OF(word);
    size_t ids = !!(flags & MWJ_HAS_STACK) + !!(flags & MWJ_HAS_REQUEST) + !!(flags & MWJ_NATIVE) +
                 !!(flags & MWJ_OF_ACTIVATION);
    size_t size = ahead + 2 * length + ids * sizeof(uint32_t);
    if (!length || size > room || (slots > 1 && size + MWJ_SLOT_SIZE - 4 <= room)) { /* damaged: it has no such size */
        erase_all(record, slots);
        return;
    }
    for (size_t i = size; i < room; i++) *byte_at(record, 36, i) = 0;
    if (kind_of(s, variable) == SLAB) {
        strip_cells(s, record, variable, ahead, length);
    } else { /* secret or not: what is masked already may be damaged */
        hide_bytes(s, variable, offset, length, (struct bytes){record, 36, ahead, ahead + length, true});
    }
}

/* Of a slab, readers don't need it. */
static void strip_content(Strip *s, unsigned char *record, size_t slots) {
    uint32_t variable = u32_at(record + 16);
    size_t length = u32_at(record + 20), room = MWJ_SLOT_SIZE - 24 + (slots - 1) * (MWJ_SLOT_SIZE - 4);
    uint64_t offset;
    if (length > room) length = room;
    for (size_t i = length; i < room; i++) *byte_at(record, 24, i) = 0;
    memcpy(&offset, record + 24, sizeof offset);
    if (kind_of(s, variable) == SLAB) {
        for (size_t i = sizeof offset; i < length; i++) *byte_at(record, 24, i) = 0;
    } else if (length > sizeof offset) {
        hide_bytes(s, variable, offset, length - sizeof offset,
                   (struct bytes){record, 24, sizeof offset, sizeof offset, false});
    }
}

static void strip_variable(Strip *s, unsigned char *record) {
    uint32_t variable = u32_at(record + 16), flags = u32_at(record + 20) | SECRET_FLAG;
    const struct row *row = row_of(s, variable);
    if (kind_of(s, variable) == PLAIN && !(flags & UNTOLD_FLAG) && row->held != NOT_HELD &&
        !(MWJ_FLAGS_OF(u32_at(record)) & MWJ_REPEATED))
        memset(s->held + row->held + 2 * row->size, KNOWN, row->size); /* zeros, of which no CONTENT tells */
    if (kind_of(s, variable) == PLAIN) flags |= UNTOLD_FLAG;           /* zeros that no CONTENT tells can't be masked */
    flags &= ~(uint32_t)LATER_FLAG;                                    /* nor those that it leaves out */
    memcpy(record + 20, &flags, sizeof flags);
    memset(record + 48, 0, 16); /* its address, and what is behind it */
}

/* Whether bytes of a payload have no zero: of a text. The rest of its room becomes zeros. */
static bool is_text(unsigned char *record, size_t from, size_t stop, size_t room) {
    for (size_t i = from; i < stop; i++)
        if (!*byte_at(record, 24, i)) return false;
    for (size_t i = stop; i < room; i++) *byte_at(record, 24, i) = 0;
    return true;
}

static uint64_t number_at(unsigned char *record, size_t position, size_t bytes) {
    uint64_t number = 0;
    for (size_t i = 0; i < bytes; i++) number |= (uint64_t)*byte_at(record, 24, position + i) << 8 * i;
    return number;
}

static bool end_is_sound(unsigned char *record, size_t slots) {
    size_t length = record[26];
    if (slots != 1 || record[24] > 11 || length > 36) return false;
    memset(record + 27 + length, 0, MWJ_SLOT_SIZE - 27 - length);
    return true;
}

static bool stack_is_sound(unsigned char *record, size_t length, size_t room) {
    if (length < 4 || length % 4 || number_at(record, 0, 4) > 3) return false;
    for (size_t i = 4; i < length; i += 4)
        if (!number_at(record, i, 4)) return false;
    return is_text(record, length, length, room);
}

/* Whether a record without values can be what it says: of another kind that was damaged, it would have some. What lies
 * behind its payload becomes zeros. */
static bool is_sound(unsigned char *record, size_t slots) {
    uint32_t word = u32_at(record), id = u32_at(record + 16);
    size_t length = u32_at(record + 20), room = MWJ_SLOT_SIZE - 24 + (slots - 1) * (MWJ_SLOT_SIZE - 4);
    uint64_t part[4];
    switch (MWJ_KIND_OF(word)) {
    case MWJ_VARIABLE:
        memcpy(part, record + 24, sizeof part); /* size, start, stop */
        return slots == 1 && u32_at(record + 20) < 2 * LATER_FLAG && part[0] && part[1] < part[0] && part[1] < part[2];
    case MWJ_UNREGISTERED: return end_is_sound(record, slots);
    default: break;
    }
    if (length > room) return false;
    switch (MWJ_KIND_OF(word)) {
    case MWJ_SITE:
        return length >= 12 && 12 + number_at(record, 8, 2) + number_at(record, 10, 2) == length &&
               is_text(record, 12, length, room);
    case MWJ_THREAD: return id == 0 && is_text(record, 0, length, room);
    case MWJ_LOST:
        return length >= 8 && length <= 8 + REASON_MAX && number_at(record, 0, 8) && !number_at(record, 4, 4) &&
               is_text(record, 8, length, room);
    case MWJ_STACK: return stack_is_sound(record, length, room);
    default: return false;
    }
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

/* Whether it has a text that the caller has to look at. */
static bool strip_record(Strip *s, unsigned char *record, size_t slots) {
    switch (MWJ_KIND_OF(u32_at(record))) {
    case MWJ_STORE: strip_store(s, record, slots); return false;
    case MWJ_CONTENT: strip_content(s, record, slots); return false;
    case MWJ_PAD:
        memset(record + 4, 0, MWJ_SLOT_SIZE - 4);
        for (size_t i = 1; i < slots; i++) memset(record + i * MWJ_SLOT_SIZE + 4, 0, MWJ_SLOT_SIZE - 4);
        return false;
    case MWJ_METADATA:
    case MWJ_CONTEXT:
    case MWJ_OUTCOME:
    case MWJ_PLACE:
    case MWJ_ALIAS:
    case MWJ_REQUEST:
    case MWJ_NOT_FOLLOWED: return true;
    default: break;
    }
    if (!is_sound(record, slots)) {
        erase_all(record, slots);
        return false;
    }
    if (MWJ_KIND_OF(u32_at(record)) == MWJ_VARIABLE) strip_variable(s, record);
    return MWJ_KIND_OF(u32_at(record)) == MWJ_UNREGISTERED;
}

static PyObject *strip(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer slots, variables, rows, runs, held, key;
    if (!PyArg_ParseTuple(args, "w*y*y*y*w*y*", &slots, &variables, &rows, &runs, &held, &key)) return NULL;
    Strip s = {.slots = slots.buf,
               .count = (size_t)slots.len / MWJ_SLOT_SIZE,
               .variables = variables.buf,
               .variables_n = (size_t)variables.len / sizeof(uint32_t),
               .rows = rows.buf,
               .runs = runs.buf,
               .held = held.buf};
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
        if (strip_record(&s, record, n) && append(texts, at) < 0) Py_CLEAR(texts);
    }
    free(s.masks);
    PyBuffer_Release(&slots);
    PyBuffer_Release(&variables);
    PyBuffer_Release(&rows);
    PyBuffer_Release(&runs);
    PyBuffer_Release(&held);
    PyBuffer_Release(&key);
    return texts;
}

static PyMethodDef strip_functions[] = {
    {"find", find, METH_VARARGS, NULL},
    {"strip", strip, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

int strip_add(PyObject *module) { return PyModule_AddFunctions(module, strip_functions); }
