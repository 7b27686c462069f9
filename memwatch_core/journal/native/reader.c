/* reader.c - memwatch_core.journal._reader: runs of STORE records -> events, and events -> lines of JSON.
 *
 * Stores is PythonStores of memwatch_core/journal/stores.py, which says what each method means; a differential test
 * holds the two together. It knows nothing of the core: the bytes come from a file that nobody vouches for, so every
 * number read from them is checked before it is used. Calls need the GIL; a serializer's decode may run any Python
 * code, and finds this object busy. */
#include "reader.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <structmember.h>

#include "journal/journal_format.h"
#include "reader_sieve.h"
#include "reader_table.h"
#include "reader_variable.h"

#define FIRST_PAYLOAD (MWJ_SLOT_SIZE - offsetof(struct mwj_slot, store.payload))
#define NEXT_PAYLOAD (MWJ_SLOT_SIZE - offsetof(struct mwj_continuation, payload))
#define PAYLOAD_MAX (FIRST_PAYLOAD + NEXT_PAYLOAD * (MWJ_RECORD_SLOTS_MAX - 1))

enum stop { STOP_END, STOP_OTHER, STOP_UNKNOWN, STOP_UNANNOUNCED, STOP_GAP, STOP_FULL };

/* ---- Stores ---- */

#define RECENT_THREADS 16
#define LARGE_VALUES 8

struct thread {
    PyObject *number, *name; /* NULL: not seen yet */
    uint32_t tid;
};

typedef struct stores {
    PyObject ob_base;
    Table variables, sites, contexts, threads; /* State *, then objects */
    PyObject *make, *make_part, *pid, *runtime, *no_name, *failures, *call, *journal;
    PyObject *origins[256];
    struct thread recent[RECENT_THREADS];
    Sieve sieve;
    unsigned long long seq;
    uint32_t large[LARGE_VALUES]; /* variables whose value is large and known: the last few, until the batch ends */
    unsigned large_count;
    int busy;
} Stores;

/* Each method runs between enter and leave: decode, and whatever its values do when they are freed, is Python code. */
static int stores_enter(Stores *self) {
    if (self->make == NULL || self->busy) {
        PyErr_SetString(PyExc_RuntimeError, self->busy ? "Stores is in use: a serializer's decode must not call it"
                                                       : "Stores was not initialised");
        return -1;
    }
    self->busy = 1;
    return 0;
}

static PyObject *stores_leave(Stores *self, PyObject *result) {
    self->busy = 0;
    return result;
}

static void stores_forget_threads(Stores *self) {
    for (size_t i = 0; i < RECENT_THREADS; i++) {
        Py_CLEAR(self->recent[i].number);
        Py_CLEAR(self->recent[i].name);
    }
}

static void table_clear(Table *table, int objects) {
    for (size_t i = 0; table->rows != NULL && i < (size_t)1 << table->bits; i++) {
        if (objects)
            Py_XDECREF((PyObject *)table->rows[i].value);
        else
            state_free(table->rows[i].value);
    }
    free(table->rows);
    *table = (Table){0};
}

static void stores_dealloc(Stores *self) {
    PyTypeObject *type = Py_TYPE(self);
    table_clear(&self->variables, 0);
    table_clear(&self->sites, 1);
    table_clear(&self->contexts, 1);
    table_clear(&self->threads, 1);
    for (size_t i = 0; i < 256; i++) Py_CLEAR(self->origins[i]);
    Py_CLEAR(self->make);
    Py_CLEAR(self->make_part);
    Py_CLEAR(self->pid);
    Py_CLEAR(self->runtime);
    Py_CLEAR(self->no_name);
    Py_CLEAR(self->failures);
    Py_CLEAR(self->call);
    Py_CLEAR(self->journal);
    stores_forget_threads(self);
    sieve_clear(&self->sieve);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static int stores_init(Stores *self, PyObject *args, PyObject *keywords) {
    static char *names[] = {"event", "part", "pid", "runtime", "origins", "call", "journal", NULL};
    PyObject *make, *part, *pid, *runtime, *origins, *call, *journal;
    if (self->make != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Stores is initialised already");
        return -1;
    }
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOO!UO!OU", names, &make, &part, &PyLong_Type, &pid, &runtime,
                                     &PyDict_Type, &origins, &call, &journal))
        return -1;
    for (long i = 0; i < 256; i++) {
        PyObject *number = PyLong_FromLong(i);
        PyObject *name = number == NULL ? NULL : PyDict_GetItemWithError(origins, number);
        Py_XDECREF(number);
        if (name == NULL && PyErr_Occurred()) return -1;
        Py_XSETREF(self->origins[i], name != NULL ? Py_NewRef(name) : PyUnicode_InternFromString("store"));
        if (self->origins[i] == NULL) return -1;
    }
    if ((self->failures = PyList_New(0)) == NULL || (self->no_name = PyUnicode_FromString("")) == NULL) return -1;
    self->make_part = Py_NewRef(part);
    self->pid = Py_NewRef(pid);
    self->runtime = Py_NewRef(runtime);
    self->call = Py_NewRef(call);
    self->journal = Py_NewRef(journal);
    self->make = Py_NewRef(make);
    return 0;
}

static State *stores_new_state(Stores *self, uint32_t ident) {
    void *old;
    State *state = table_get(&self->variables, ident);
    if (state == NULL && ((state = state_new(ident)) == NULL || table_put(&self->variables, ident, state, &old) < 0)) {
        free(state);
        PyErr_NoMemory();
        return NULL;
    }
    return state;
}

static PyObject *stores_define(Stores *self, PyObject *args) {
    PyObject *variable, *path, *decode, *part, *done = NULL;
    const char *format;
    int follow, provisional, head = 0;
    unsigned long long ident;
    if (!PyArg_ParseTuple(args, "OOOzOpp|i", &variable, &path, &decode, &format, &part, &follow, &provisional, &head) ||
        number_attribute(variable, "id", &ident) < 0 || stores_enter(self) < 0)
        return NULL;
    self->sieve.round++;
    State *state = stores_new_state(self, (uint32_t)ident);
    if (state != NULL && state_define(state, variable, path, decode, format, part, follow, provisional, head) == 0)
        done = Py_NewRef(Py_None);
    else if (state != NULL && state->options == NULL) /* never defined: it has nothing that run could use */
        state_free(table_take(&self->variables, (uint32_t)ident));
    return stores_leave(self, done);
}

static PyObject *stores_forget(Stores *self, PyObject *args) {
    unsigned int ident;
    if (!PyArg_ParseTuple(args, "I", &ident) || stores_enter(self) < 0) return NULL;
    self->sieve.round++;
    state_free(table_take(&self->variables, ident));
    return stores_leave(self, Py_NewRef(Py_None));
}

static PyObject *stores_fill(Stores *self, PyObject *args) {
    unsigned int ident;
    unsigned long long offset;
    Py_buffer data;
    if (!PyArg_ParseTuple(args, "IKy*", &ident, &offset, &data)) return NULL;
    PyObject *done = NULL;
    if (stores_enter(self) == 0) {
        State *state = table_get(&self->variables, ident);
        int agrees = 1;
        if (state != NULL && state->shadow != NULL && offset < state->size) {
            agrees = state_agrees(state, offset, data.buf, (uint64_t)data.len);
            state_put(state, offset, data.buf, (uint64_t)data.len);
        }
        done = stores_leave(self, PyBool_FromLong(agrees));
    }
    PyBuffer_Release(&data);
    return done;
}

static int stores_note_failure(Stores *self, uint32_t ident) {
    PyObject *number = PyLong_FromUnsignedLong(ident);
    int done = number == NULL ? -1 : PyList_Append(self->failures, number);
    Py_XDECREF(number);
    return done;
}

/* After an exception of a serializer's: it is told once. -1: it is none that a serializer may raise. */
static int stores_take_failure(Stores *self, State *state) {
    if (!PyErr_ExceptionMatches(PyExc_Exception)) return -1;
    PyErr_Clear();
    if (!state->failed && stores_note_failure(self, state->ident) < 0) return -1;
    state->failed = 1;
    return 0;
}

static void stores_drop_value(Stores *self, uint32_t ident) {
    State *state = table_get(&self->variables, ident);
    if (state != NULL) Py_CLEAR(state->value);
}

static void stores_drop_large(Stores *self) {
    for (unsigned i = 0; i < LARGE_VALUES && i < self->large_count; i++) stores_drop_value(self, self->large[i]);
    self->large_count = 0;
}

/* Keeps the value that was made for a variable, a large one only for a while: there may be many such variables. */
static void stores_keep_value(Stores *self, State *state, PyObject *value) {
    Py_XSETREF(state->value, Py_NewRef(value));
    if (state->size * DECODED <= LARGE) return;
    uint32_t *place = &self->large[self->large_count % LARGE_VALUES];
    if (self->large_count >= LARGE_VALUES && *place != state->ident) stores_drop_value(self, *place);
    *place = state->ident;
    self->large_count++;
}

/* The variable's value, a new reference; NULL with an exception that is none of decode's (KeyboardInterrupt, ...). */
static PyObject *stores_value_of(Stores *self, State *state) {
    if (state->value != NULL) return Py_NewRef(state->value);
    if (state->shadow == NULL || state->decode == Py_None) return Py_NewRef(Py_None);
    if (state->letter != 0) {
        PyObject *number = number_from(state->letter, state->shadow);
        if (number != NULL && self->variables.count < FEW_VARIABLES) state->value = Py_NewRef(number);
        return number;
    }
    PyObject *bytes = PyBytes_FromStringAndSize((const char *)state->shadow, (Py_ssize_t)state->size);
    if (bytes == NULL) return NULL;
    PyObject *arguments[] = {bytes, state->options};
    PyObject *value = PyObject_Vectorcall(state->decode, arguments, 2, NULL);
    Py_DECREF(bytes);
    if (value == NULL && stores_take_failure(self, state) == 0) value = Py_NewRef(Py_None);
    if (value != NULL) stores_keep_value(self, state, value);
    return value;
}

static PyObject *stores_value(Stores *self, PyObject *args) {
    unsigned int ident;
    if (!PyArg_ParseTuple(args, "I", &ident) || stores_enter(self) < 0) return NULL;
    State *state = table_get(&self->variables, ident);
    PyObject *value = state == NULL ? Py_NewRef(Py_None) : stores_value_of(self, state);
    stores_drop_large(self);
    return stores_leave(self, value);
}

/* ---- parts ---- */

/* A part of a variable: what the serializer's Extent says, checked. name is borrowed from the state. */
typedef struct part {
    PyObject *name, *decode; /* NULL: none */
    PyObject *decode_old;    /* NULL: decode */
    uint64_t start, stop;
} Part;

static int part_from(const State *state, uint64_t offset, uint64_t stop, Part *part) {
    long long start, end;
    if (!PyTuple_Check(state->extent) ||
        !PyArg_ParseTuple(state->extent, "ULLO|O", &part->name, &start, &end, &part->decode, &part->decode_old) ||
        start < 0 || (uint64_t)start > offset || end < 0 || (uint64_t)end < stop || (uint64_t)end > state->size)
        return -1;
    if (part->decode_old == Py_None) part->decode_old = NULL;
    part->start = (uint64_t)start;
    part->stop = (uint64_t)end;
    return 0;
}

/* Finds the part that the bytes [offset, offset + length) lie in, which a store changed from before to after (NULL:
 * none did): the last one is remembered. -1 with an exception. */
static int stores_find_part(Stores *self, State *state, uint64_t offset, uint64_t length, const unsigned char *before,
                            const unsigned char *after, Part *part) {
    *part = (Part){0};
    if (!state->parted || offset >= state->size || length == 0) return 0;
    uint64_t stop = length < state->size - offset ? offset + length : state->size;
    unsigned char heads[2 * HEAD];
    uint32_t head = state->head == 0 ? 0 : state_head(state, offset, before, length, heads);
    if (state->head != 0) state_head(state, offset, after, length, heads + head);
    if (state->extent == NULL || state->extent_at != offset || state->extent_length != length ||
        state->extent_head != head || (head != 0 && memcmp(state->heads, heads, 2 * head) != 0)) {
        PyObject *extent = state->head == 0
                               ? PyObject_CallFunction(state->part, "KKO", offset, stop, state->options)
                               : PyObject_CallFunction(state->part, "KKOy#y#", offset, stop, state->options, heads,
                                                       (Py_ssize_t)head, heads + head, (Py_ssize_t)head);
        if (extent == NULL) {
            if (stores_take_failure(self, state) < 0) return -1;
            extent = Py_NewRef(Py_None);
        }
        Py_XSETREF(state->extent, extent);
        state->extent_at = offset;
        state->extent_length = length;
        state->extent_head = head;
        if (head != 0) memcpy(state->heads, heads, 2 * head);
    }
    if (state->extent == Py_None || part_from(state, offset, stop, part) == 0) return 0;
    *part = (Part){0};
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "not an Extent that the bytes lie in");
    Py_XSETREF(state->extent, Py_NewRef(Py_None));
    return stores_take_failure(self, state);
}

/* The bytes of a part: known, or those that a store at offset touched; a new reference, None: neither. */
static PyObject *part_bytes(const State *state, const Part *part, uint64_t offset, const unsigned char *data,
                            uint64_t length) {
    Py_ssize_t count = (Py_ssize_t)(part->stop - part->start);
    if (state->shadow != NULL) return PyBytes_FromStringAndSize((const char *)state->shadow + part->start, count);
    if (part->start < offset || part->stop > offset + length) return Py_NewRef(Py_None);
    return PyBytes_FromStringAndSize((const char *)data + (part->start - offset), count);
}

/* What the program sees in those bytes, a new reference; takes theirs. */
static PyObject *stores_decode_part(Stores *self, State *state, PyObject *decode, PyObject *bytes) {
    if (bytes == NULL || bytes == Py_None) return bytes;
    PyObject *value = PyObject_CallOneArg(decode, bytes);
    Py_DECREF(bytes);
    return value != NULL || stores_take_failure(self, state) < 0 ? value : Py_NewRef(Py_None);
}

static PyObject *stores_make_part(Stores *self, const Part *part, PyObject *old, PyObject *new) {
    return PyObject_CallFunctionObjArgs(self->make_part, part->name, old, new, NULL);
}

/* What a store came to, as a part; a new reference. Takes old, the decoded bytes before it, which may be NULL. */
static PyObject *stores_changed_part(Stores *self, State *state, const Part *part, PyObject *old, int changed,
                                     uint64_t offset, const unsigned char *after, uint64_t length) {
    if (part->name == NULL || old == NULL) return old;
    PyObject *new = !changed && part->decode_old == NULL
                        ? Py_NewRef(old)
                        : stores_decode_part(self, state, part->decode, part_bytes(state, part, offset, after, length));
    PyObject *made = new == NULL ? NULL : stores_make_part(self, part, old, new);
    Py_DECREF(old);
    Py_XDECREF(new);
    return made;
}

static PyObject *stores_part(Stores *self, PyObject *args) {
    unsigned int ident;
    unsigned long long start, stop;
    if (!PyArg_ParseTuple(args, "IKK", &ident, &start, &stop) || stores_enter(self) < 0) return NULL;
    State *state = table_get(&self->variables, ident);
    PyObject *made = Py_NewRef(Py_None);
    Part part;
    if (state == NULL || state->shadow == NULL || stop < start) return stores_leave(self, made);
    int found = stores_find_part(self, state, start, stop - start, NULL, NULL, &part);
    if (found == 0 && part.name != NULL) {
        PyObject *none = made;
        PyObject *value = stores_decode_part(self, state, part.decode, part_bytes(state, &part, 0, NULL, 0));
        made = value == NULL ? NULL : stores_make_part(self, &part, none, value);
        Py_XDECREF(value);
        Py_DECREF(none);
    } else if (found < 0) {
        Py_CLEAR(made);
    }
    return stores_leave(self, made);
}

/* Gives an id its object, or none; returns how often the old one was used, NULL with an exception. */
static PyObject *stores_name_object(Stores *self, Table *table, PyObject *args) {
    unsigned int ident;
    PyObject *object;
    void *old;
    if (!PyArg_ParseTuple(args, "IO", &ident, &object) || stores_enter(self) < 0) return NULL;
    stores_forget_threads(self); /* so that names are looked up again */
    uint32_t uses = table_take_uses(table, ident);
    if (object == Py_None) {
        old = table_take(table, ident);
    } else if (table_put(table, ident, Py_NewRef(object), &old) < 0) {
        Py_DECREF(object);
        return stores_leave(self, PyErr_NoMemory());
    }
    Py_XDECREF((PyObject *)old);
    return stores_leave(self, PyLong_FromUnsignedLong(uses));
}

static PyObject *stores_name_only(Stores *self, Table *table, PyObject *args) {
    PyObject *uses = stores_name_object(self, table, args);
    Py_XDECREF(uses);
    return uses == NULL ? NULL : Py_NewRef(Py_None);
}

static PyObject *stores_site(Stores *self, PyObject *args) { return stores_name_only(self, &self->sites, args); }

static PyObject *stores_context(Stores *self, PyObject *args) {
    return stores_name_object(self, &self->contexts, args);
}

static PyObject *stores_thread(Stores *self, PyObject *args) { return stores_name_only(self, &self->threads, args); }

static PyObject *stores_failures(Stores *self, PyObject *unused) {
    (void)unused;
    PyObject *failures = NULL, *list = PyList_New(0);
    if (list != NULL && stores_enter(self) == 0) {
        failures = self->failures;
        self->failures = list;
        return stores_leave(self, failures);
    }
    Py_XDECREF(list);
    return NULL;
}

/* ---- run ---- */

static uint32_t u32_at(const unsigned char *bytes, size_t offset) {
    uint32_t number;
    memcpy(&number, bytes + offset, sizeof number);
    return number;
}

#define FIELD(slot, name) u32_at(slot, offsetof(struct mwj_slot, name))

/* How much of a record's payload is about the call that it came from. */
static uint32_t call_size(const unsigned char *slot) {
    return MWJ_HAS_CALL(FIELD(slot, word) >> 16 & 255) ? (uint32_t)sizeof(struct mwj_call) : 0;
}

/* The payload of a record whose slots have been counted, in one piece: in its head or in room[PAYLOAD_MAX]. NULL: its
 * other slots are no CONTINUATION. */
static const unsigned char *record_payload(const unsigned char *slot, const unsigned char *head, uint32_t slots,
                                           unsigned char *room) {
    const unsigned char *payload = head + offsetof(struct mwj_slot, store.payload);
    if (slots == 1) return payload;
    memcpy(room, payload, FIRST_PAYLOAD);
    for (uint32_t i = 1; i < slots; i++) {
        const unsigned char *next = slot + (size_t)i * MWJ_SLOT_SIZE;
        if (next[0] != MWJ_CONTINUATION) return NULL;
        memcpy(room + FIRST_PAYLOAD + (i - 1) * NEXT_PAYLOAD, next + offsetof(struct mwj_continuation, payload),
               NEXT_PAYLOAD);
    }
    return room;
}

static struct thread *stores_find_thread(Stores *self, uint32_t tid) {
    struct thread *thread = &self->recent[tid % RECENT_THREADS];
    if (thread->number != NULL && thread->tid == tid) return thread;
    PyObject *name = tid == 0 ? NULL : table_get(&self->threads, tid);
    Py_XSETREF(thread->name, Py_NewRef(name != NULL ? name : self->no_name));
    Py_XSETREF(thread->number, PyLong_FromUnsignedLong(tid));
    thread->tid = tid;
    return thread->number == NULL ? NULL : thread;
}

/* The bytes before a store: as a rule the very object that the store before it left. */
static PyObject *state_before(const State *state, const unsigned char *before, uint32_t length) {
    if (state->last != NULL && PyBytes_GET_SIZE(state->last) == (Py_ssize_t)length &&
        memcmp(PyBytes_AS_STRING(state->last), before, length) == 0)
        return Py_NewRef(state->last);
    return PyBytes_FromStringAndSize((const char *)before, (Py_ssize_t)length);
}

static PyObject *found_or_none(const Table *table, uint32_t ident) {
    PyObject *found = ident == 0 ? NULL : table_get(table, ident);
    return found != NULL ? found : Py_None;
}

static PyObject *used_or_none(Table *table, uint32_t ident) {
    PyObject *found = ident == 0 ? NULL : table_use(table, ident);
    return found != NULL ? found : Py_None;
}

/* The call before the bytes of a record, if it has one; a new reference. */
static PyObject *stores_call(Stores *self, const unsigned char *slot, const unsigned char *payload) {
    struct mwj_call call;
    if (!call_size(slot)) return Py_NewRef(Py_None);
    memcpy(&call, payload, sizeof call);
    return PyObject_CallFunction(self->call, "IiI", call.name, call.fd, call.bytes);
}

/* Makes one event and appends it. */
static int stores_emit(Stores *self, State *state, const unsigned char *slot, const unsigned char *payload,
                       PyObject *old, PyObject *new, PyObject *part, PyObject *out) {
    uint32_t word = FIELD(slot, word), length = FIELD(slot, store.length);
    const unsigned char *before = payload + call_size(slot), *after = before + length;
    uint64_t time;
    memcpy(&time, slot + offsetof(struct mwj_slot, time), sizeof time);
    const struct thread *thread = stores_find_thread(self, FIELD(slot, tid));
    if (thread == NULL) return -1;
    PyObject *made[7] = {
        PyLong_FromUnsignedLongLong(self->seq + 1),
        PyLong_FromUnsignedLongLong(time),
        PyLong_FromUnsignedLong(FIELD(slot, store.offset)),
        state_before(state, before, length),
        PyBytes_FromStringAndSize((const char *)after, (Py_ssize_t)length),
        PyLong_FromUnsignedLong(state->ident),
        stores_call(self, slot, payload),
    };
    PyObject *event = NULL;
    int changed = memcmp(before, after, length) != 0, exact = (word >> 24 & (MWJ_INEXACT | MWJ_SITE_INEXACT)) == 0;
    if (made[0] != NULL && made[1] != NULL && made[2] != NULL && made[3] != NULL && made[4] != NULL &&
        made[5] != NULL && made[6] != NULL) {
        PyObject *fields[] = {
            made[0],
            made[1],
            self->pid,
            self->runtime,
            thread->number,
            thread->name,
            state->name,
            made[5],
            state->path,
            self->origins[word >> 16 & 255],
            made[2],
            made[3],
            made[4],
            old,
            new,
            changed ? Py_True : Py_False,
            exact ? Py_True : Py_False,
            found_or_none(&self->sites, FIELD(slot, store.site)),
            used_or_none(&self->contexts, FIELD(slot, store.context)),
            made[6],
            self->journal,
            part,
        };
        event = PyObject_Vectorcall(self->make, fields, sizeof fields / sizeof fields[0], NULL);
        if (event != NULL && self->variables.count < FEW_VARIABLES) Py_XSETREF(state->last, Py_NewRef(made[4]));
    }
    for (size_t i = 0; i < 7; i++) Py_XDECREF(made[i]);
    int failed = event == NULL || PyList_Append(out, event) < 0;
    Py_XDECREF(event);
    self->seq += !failed;
    return failed ? -1 : 0;
}

static uint64_t time_of(const unsigned char *slot) {
    uint64_t time;
    memcpy(&time, slot + offsetof(struct mwj_slot, time), sizeof time);
    return time;
}

/* What decides whether a store is wanted: all that its event would carry but bytes, values and time. -1: no memory. */
static int stores_key(Stores *self, const State *state, const unsigned char *head, Verdict *key) {
    if (self->sieve.wanted == Py_None) return 0;
    const struct thread *thread = stores_find_thread(self, FIELD(head, tid));
    if (thread == NULL) return -1;
    *key = (Verdict){.thread = thread->name,
                     .site = found_or_none(&self->sites, FIELD(head, store.site)),
                     .context = found_or_none(&self->contexts, FIELD(head, store.context)),
                     .round = self->sieve.round,
                     .variable = state->ident,
                     .tid = FIELD(head, tid)};
    return 0;
}

/* A store that becomes no event: all that follows is as if it had. */
static int stores_skip(Stores *self, State *state, const unsigned char *head, const unsigned char *before, int resync,
                       int wanted) {
    uint64_t offset = FIELD(head, store.offset), length = FIELD(head, store.length);
    if (state->shadow != NULL && !resync && !state_agrees(state, offset, before, (uint32_t)length)) return STOP_GAP;
    state_put(state, offset, before, length);
    state_put(state, offset, before + length, length);
    used_or_none(&self->contexts, FIELD(head, store.context));
    self->seq++;
    sieve_skip(&self->sieve, wanted, time_of(head));
    return STOP_END;
}

/* The event that was appended last stays, with its floor, or is taken off again; -1 with an exception. */
static int stores_settle(Stores *self, const Verdict *key, int wanted, const unsigned char *head, uint64_t number,
                         PyObject *out) {
    Py_ssize_t last = PyList_GET_SIZE(out) - 1;
    uint64_t time = time_of(head);
    if (wanted < 0 && (wanted = sieve_ask(&self->sieve, key, PyList_GET_ITEM(out, last))) < 0) return -1;
    if (!wanted || !sieve_shows(&self->sieve, number, time)) {
        sieve_skip(&self->sieve, wanted, time);
        return PyList_SetSlice(out, last, last + 1, NULL);
    }
    self->sieve.time = time;
    PyObject *floor = PyLong_FromUnsignedLongLong(self->sieve.high);
    int failed = floor == NULL || PyList_Append(self->sieve.floors, floor) < 0;
    Py_XDECREF(floor);
    return failed ? -1 : 0;
}

/* One record: an enum stop (STOP_END: taken), or -1 with an exception. head: a copy of its first slot, so that what was
 * checked is what is used, whoever else can write to the buffer. number: of its slot in the journal. */
static int stores_take(Stores *self, const unsigned char *slot, const unsigned char *head, uint64_t number,
                       uint64_t slots_left, int resync, PyObject *out, uint64_t *made) {
    /* #lizard forgives: one branch a kind of record */
    unsigned char room[PAYLOAD_MAX];
    uint32_t word = FIELD(head, word), slots = word >> 8 & 255, length = FIELD(head, store.length);
    if ((word & 255) != MWJ_STORE || slots == 0 || slots > slots_left ||
        call_size(head) + 2 * (uint64_t)length > FIRST_PAYLOAD + NEXT_PAYLOAD * (slots - 1))
        return STOP_OTHER;
    const unsigned char *payload = record_payload(slot, head, slots, room);
    if (payload == NULL) return STOP_OTHER;
    const unsigned char *before = payload + call_size(head);
    State *state = table_get(&self->variables, FIELD(head, id));
    if (state == NULL) return STOP_UNKNOWN;
    if (state->provisional) return STOP_UNANNOUNCED;
    Verdict key = {0};
    int wanted = 1;
    if (self->sieve.wanted != NULL) {
        if (stores_key(self, state, head, &key) < 0) return -1;
        wanted = sieve_knows(&self->sieve, &key);
        if (wanted == 0 || (wanted > 0 && !sieve_shows(&self->sieve, number, time_of(head))))
            return stores_skip(self, state, head, before, resync, wanted);
    }
    const unsigned char *after = before + length;
    uint64_t offset = FIELD(head, store.offset);
    PyObject *old = NULL, *new = NULL, *part = NULL;
    Part where;
    if (state->shadow != NULL && !resync && !state_agrees(state, offset, before, length)) return STOP_GAP;
    if (stores_find_part(self, state, offset, length, before, after, &where) < 0) return -1;
    state_put(state, offset, before, length);
    if ((old = stores_value_of(self, state)) == NULL) return -1;
    PyObject *decode = where.decode_old != NULL ? where.decode_old : where.decode;
    PyObject *was = where.name == NULL
                        ? Py_NewRef(Py_None)
                        : stores_decode_part(self, state, decode, part_bytes(state, &where, offset, before, length));
    state_put(state, offset, after, length);
    part = stores_changed_part(self, state, &where, was, memcmp(before, after, length) != 0, offset, after, length);
    if (part != NULL) new = stores_value_of(self, state);
    if (state->shadow != NULL && state->decode != Py_None) /* the size of what is decoded as a whole is small */
        *made += state->letter != 0 ? state->size : state->size * DECODED;
    *made += 2 * ((uint64_t)length + DECODED * (where.stop - where.start));
    int failed = new == NULL || stores_emit(self, state, head, payload, old, new, part, out) < 0;
    if (!failed && self->sieve.wanted != NULL) failed = stores_settle(self, &key, wanted, head, number, out) < 0;
    Py_DECREF(old);
    Py_XDECREF(new);
    Py_XDECREF(part);
    return failed ? -1 : STOP_END;
}

/* With 100,000 variables each step on the way to one misses the cache, and the ids of the next records are known: asks
 * for the row of the one 12 ahead, the variable of the one 8 ahead, its name 4 ahead. Only hints: any bytes will do. */
__attribute__((
    always_inline)) /* gcc takes a function that only prefetches for one without effect, and drops the call */
static inline void
stores_look_ahead(const Table *table, const unsigned char *slot, uint64_t left) {
    enum { ROW = 12, STATE = 8, NAME = 4 };
    if (left <= ROW || table->count < 256) return;
    __builtin_prefetch(&table->rows[table_slot(table, FIELD(slot + ROW * MWJ_SLOT_SIZE, id))]);
    __builtin_prefetch(table->rows[table_slot(table, FIELD(slot + STATE * MWJ_SLOT_SIZE, id))].value, 1);
    const State *state = table->rows[table_slot(table, FIELD(slot + NAME * MWJ_SLOT_SIZE, id))].value;
    if (state != NULL) __builtin_prefetch(state->name, 1);
}

static int stores_loop(Stores *self, const unsigned char *bytes, Py_ssize_t *index, Py_ssize_t stop, uint64_t first,
                       PyObject *out, uint64_t limit, int resync) {
    uint64_t made = 0;
    while (*index < stop) {
        const unsigned char *slot = bytes + *index * (Py_ssize_t)MWJ_SLOT_SIZE;
        uint64_t left = (uint64_t)(stop - *index);
        uint64_t room = MWJ_SEGMENT_SLOTS - (first + (uint64_t)*index) % MWJ_SEGMENT_SLOTS;
        unsigned char head[MWJ_SLOT_SIZE];
        memcpy(head, slot, sizeof head);
        stores_look_ahead(&self->variables, slot, left);
        uint64_t number = first + (uint64_t)*index;
        int why = stores_take(self, slot, head, number, left < room ? left : room, resync, out, &made);
        if (why != STOP_END) return why;
        resync = 0;
        *index += head[1];
        if (made >= limit) return STOP_FULL;
    }
    return STOP_END;
}

static PyObject *stores_run(Stores *self, PyObject *args) {
    Py_buffer view;
    Py_ssize_t index, stop;
    unsigned long long first, limit;
    PyObject *out;
    int resync;
    if (!PyArg_ParseTuple(args, "y*nnKO!Kp", &view, &index, &stop, &first, &PyList_Type, &out, &limit, &resync))
        return NULL;
    int why = -1;
    if (index < 0 || stop > view.len / (Py_ssize_t)MWJ_SLOT_SIZE)
        PyErr_SetString(PyExc_ValueError, "slots outside of the view");
    else if (stores_enter(self) == 0) {
        why = stores_loop(self, view.buf, &index, stop, first, out, limit, resync);
        stores_drop_large(self);
        stores_leave(self, NULL);
    }
    PyBuffer_Release(&view);
    return why < 0 ? NULL : Py_BuildValue("ni", index, why);
}

static PyObject *stores_sieve(Stores *self, PyObject *args) {
    PyObject *wanted, *floors;
    unsigned long long until, since, now;
    if (!PyArg_ParseTuple(args, "KKKOO!", &until, &since, &now, &wanted, &PyList_Type, &floors) ||
        stores_enter(self) < 0)
        return NULL;
    Verdict *verdicts = calloc(VERDICTS, sizeof *verdicts);
    if (verdicts == NULL) return stores_leave(self, PyErr_NoMemory());
    sieve_clear(&self->sieve);
    self->sieve = (Sieve){.wanted = Py_NewRef(wanted),
                          .floors = Py_NewRef(floors),
                          .verdicts = verdicts,
                          .until = until,
                          .since = since,
                          .now = now,
                          .round = 1};
    return stores_leave(self, Py_NewRef(Py_None));
}

static PyMethodDef stores_methods[] = {
    {"define", (PyCFunction)stores_define, METH_VARARGS, NULL},
    {"forget", (PyCFunction)stores_forget, METH_VARARGS, NULL},
    {"fill", (PyCFunction)stores_fill, METH_VARARGS, NULL},
    {"value", (PyCFunction)stores_value, METH_VARARGS, NULL},
    {"part", (PyCFunction)stores_part, METH_VARARGS, NULL},
    {"site", (PyCFunction)stores_site, METH_VARARGS, NULL},
    {"context", (PyCFunction)stores_context, METH_VARARGS, NULL},
    {"thread", (PyCFunction)stores_thread, METH_VARARGS, NULL},
    {"failures", (PyCFunction)stores_failures, METH_NOARGS, NULL},
    {"run", (PyCFunction)stores_run, METH_VARARGS, NULL},
    {"sieve", (PyCFunction)stores_sieve, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef stores_members[] = {
    {"seq", T_ULONGLONG, offsetof(Stores, seq), 0, NULL},
    {"skipped", T_ULONGLONG, offsetof(Stores, sieve.skipped), READONLY, NULL},
    {"matched", T_ULONGLONG, offsetof(Stores, sieve.matched), READONLY, NULL},
    {"high", T_ULONGLONG, offsetof(Stores, sieve.high), 0, NULL},
    {"time", T_ULONGLONG, offsetof(Stores, sieve.time), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot stores_slots[] = {
    {Py_tp_init, stores_init},       {Py_tp_dealloc, stores_dealloc}, {Py_tp_methods, stores_methods},
    {Py_tp_members, stores_members}, {Py_tp_new, PyType_GenericNew},  {0, NULL},
};

/* Not tracked by the garbage collector: what it holds are leaves, and walking them would cost each collection. */
static PyType_Spec stores_spec = {
    .name = "memwatch_core.journal._reader.Stores",
    .basicsize = sizeof(Stores),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = stores_slots,
};

static int reader_exec(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &stores_spec, NULL);
    int failed = type == NULL || PyModule_AddObjectRef(module, "Stores", type) < 0;
    Py_XDECREF(type);
    return failed || lines_add(module) < 0 ? -1 : 0;
}

static PyModuleDef_Slot reader_slots[] = {{Py_mod_exec, reader_exec}, {0, NULL}};

static PyModuleDef reader_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "memwatch_core.journal._reader",
    .m_slots = reader_slots,
};

PyMODINIT_FUNC PyInit__reader(void);
PyMODINIT_FUNC PyInit__reader(void) { return PyModuleDef_Init(&reader_module); }
