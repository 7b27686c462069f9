/* reader_loop.h - part of reader.c: the loop that turns STORE records into events. */
#ifndef MEMWATCH_READER_LOOP_H
#define MEMWATCH_READER_LOOP_H
#include "reader_stores.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "journal/journal_format.h"
#include "reader_parts.h"
#include "reader_places.h"

#define FIRST_PAYLOAD (MWJ_SLOT_SIZE - offsetof(struct mwj_slot, store.payload))
#define NEXT_PAYLOAD (MWJ_SLOT_SIZE - offsetof(struct mwj_continuation, payload))
#define PAYLOAD_MAX (FIRST_PAYLOAD + NEXT_PAYLOAD * (MWJ_RECORD_SLOTS_MAX - 1))

enum stop { STOP_END, STOP_OTHER, STOP_UNKNOWN, STOP_UNANNOUNCED, STOP_GAP, STOP_FULL };

static uint32_t u32_at(const unsigned char *bytes, size_t offset) {
    uint32_t number;
    memcpy(&number, bytes + offset, sizeof number);
    return number;
}

#define FIELD(slot, name) u32_at(slot, offsetof(struct mwj_slot, name))

/* Size of the CALL at the beginning of a record's payload; 0 if there is none. */
static uint32_t call_size(const unsigned char *slot) {
    return MWJ_HAS_CALL(FIELD(slot, word) >> 16 & 255) ? (uint32_t)sizeof(struct mwj_call) : 0;
}

/* Size of the stack's id at the end of a record's payload; 0 if there is none. */
static uint32_t stack_size(const unsigned char *slot) {
    return FIELD(slot, word) >> 24 & MWJ_HAS_STACK ? (uint32_t)sizeof(uint32_t) : 0;
}

/* The same of the request's id, which is behind that. */
static uint32_t request_size(const unsigned char *slot) {
    return FIELD(slot, word) >> 24 & MWJ_HAS_REQUEST ? (uint32_t)sizeof(uint32_t) : 0;
}

/* The same of the native site's id, which is behind that. */
static uint32_t native_size(const unsigned char *slot) {
    return FIELD(slot, word) >> 24 & MWJ_NATIVE ? (uint32_t)sizeof(uint32_t) : 0;
}

/* The same of the number of an activation, which is behind that. */
static uint32_t activation_size(const unsigned char *slot) {
    return FIELD(slot, word) >> 24 & MWJ_OF_ACTIVATION ? (uint32_t)sizeof(uint32_t) : 0;
}

static size_t behind_bytes(const unsigned char *slot) {
    return call_size(slot) + 2 * (size_t)FIELD(slot, store.length);
}

static uint32_t stack_id(const unsigned char *slot, const unsigned char *payload) {
    return stack_size(slot) ? u32_at(payload, behind_bytes(slot)) : 0;
}

static uint32_t request_id(const unsigned char *slot, const unsigned char *payload) {
    return request_size(slot) ? u32_at(payload, behind_bytes(slot) + stack_size(slot)) : 0;
}

static uint32_t native_id(const unsigned char *slot, const unsigned char *payload) {
    return native_size(slot) ? u32_at(payload, behind_bytes(slot) + stack_size(slot) + request_size(slot)) : 0;
}

static uint32_t activation_of(const unsigned char *slot, const unsigned char *payload) {
    size_t at = behind_bytes(slot) + stack_size(slot) + request_size(slot) + native_size(slot);
    return activation_size(slot) ? u32_at(payload, at) : 0;
}

/* The payload of a record in one piece: in its first slot, or assembled in room[PAYLOAD_MAX]. NULL if its further slots
 * aren't CONTINUATION. `slots` was checked before. */
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

/* The bytes before a store: usually the same object that the previous store left. */
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

/* The callers of a record's site; None if they aren't known. */
static PyObject *stores_callers(const Stores *self, const unsigned char *slot, const unsigned char *payload) {
    return found_or_none(&self->stacks, stack_id(slot, payload));
}

static PyObject *callers_field(PyObject *callers, Py_ssize_t at, PyObject *missing) {
    return callers == Py_None ? missing : PyTuple_GET_ITEM(callers, at);
}

/* The CALL of a record; None if it has none. A new reference. */
static PyObject *stores_call(Stores *self, const unsigned char *slot, const unsigned char *payload) {
    struct mwj_call call;
    if (!call_size(slot)) return Py_NewRef(Py_None);
    memcpy(&call, payload, sizeof call);
    return PyObject_CallFunction(self->call, "IiI", call.name, call.fd, call.bytes);
}

/* The variable whose name an event carries: for a later slab, the first one. */
static const State *stores_teller(const Stores *self, const State *state) {
    const State *first = state->told == state->ident ? NULL : table_get(&self->variables, state->told);
    return first != NULL ? first : state;
}

/* Makes one event and appends it. */
static int stores_emit(Stores *self, State *state, const unsigned char *slot, const unsigned char *payload,
                       const Values *values, PyObject *out) {
    uint32_t word = FIELD(slot, word), length = FIELD(slot, store.length);
    const unsigned char *before = payload + call_size(slot), *after = before + length;
    uint64_t time;
    memcpy(&time, slot + offsetof(struct mwj_slot, time), sizeof time);
    const struct thread *thread = stores_find_thread(self, FIELD(slot, tid));
    if (thread == NULL) return -1;
    PyObject *callers = stores_callers(self, slot, payload);
    PyObject *own = found_or_none(&self->own, FIELD(slot, store.site));
    PyObject *made[7] = {
        PyLong_FromUnsignedLongLong(self->seq + 1),
        PyLong_FromUnsignedLongLong(time),
        PyLong_FromUnsignedLong(FIELD(slot, store.offset)),
        state_before(state, before, length),
        PyBytes_FromStringAndSize((const char *)after, (Py_ssize_t)length),
        PyLong_FromUnsignedLong(state->told),
        stores_call(self, slot, payload),
    };
    PyObject *event = NULL;
    int changed = state_changes(state, before, after, length),
        exact = (word >> 24 & (MWJ_INEXACT | MWJ_SITE_INEXACT)) == 0;
    if (made[0] != NULL && made[1] != NULL && made[2] != NULL && made[3] != NULL && made[4] != NULL &&
        made[5] != NULL && made[6] != NULL) {
        PyObject *fields[] = {
            made[0],
            made[1],
            self->pid,
            self->runtime,
            thread->number,
            thread->name,
            stores_teller(self, state)->name,
            made[5],
            state->path,
            self->origins[word >> 16 & 255],
            made[2],
            made[3],
            made[4],
            values->old,
            values->new,
            changed ? Py_True : Py_False,
            exact ? Py_True : Py_False,
            found_or_none(&self->sites, FIELD(slot, store.site)),
            used_or_none(&self->contexts, FIELD(slot, store.context)),
            made[6],
            self->journal,
            values->part,
            values->operation != NULL ? values->operation : Py_None,
            own != Py_None ? own : callers_field(callers, CALLERS_OWN, Py_None),
            callers_field(callers, CALLERS_FRAMES, Py_None),
            callers_field(callers, CALLERS_CUT, Py_False),
            callers_field(callers, CALLERS_INEXACT, Py_False),
            values->aliases != NULL ? values->aliases : self->no_aliases,
            values->aliases_cut ? Py_True : Py_False,
            found_or_none(&self->requests, request_id(slot, payload)),
            found_or_none(&self->sites, native_id(slot, payload)),
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

/* Everything that decides whether a store is wanted: its event without bytes, values and time. -1: no memory. */
static int stores_key(Stores *self, const State *state, const Row *row, Verdict *key) {
    unsigned by = self->sieve.by;
    if (self->sieve.wanted == Py_None) return 0;
    const struct thread *thread = by & BY_THREAD ? stores_find_thread(self, row->tid) : NULL;
    if (thread == NULL && by & BY_THREAD) return -1;
    *key = (Verdict){.thread = thread != NULL ? thread->name : Py_None,
                     .aliases = Py_None,
                     .site = by & BY_SITE ? found_or_none(&self->sites, row->site) : Py_None,
                     .callers = by & BY_STACK ? found_or_none(&self->stacks, row->stack) : Py_None,
                     .context = by & BY_CONTEXT ? found_or_none(&self->contexts, row->context) : Py_None,
                     .request = by & BY_REQUEST ? found_or_none(&self->requests, row->request) : Py_None,
                     .tid = by & BY_THREAD ? row->tid : 0};
    if (by & BY_VARIABLE) {
        const Place *place = row->place != 0 ? table_get(&state->places, row->place - 1) : NULL;
        const State *teller = stores_teller(self, state);
        key->variable = state->ident;
        if (place != NULL && place->aliases != NULL) key->aliases = place->aliases;
        key->version = teller == state ? state->version : state->version ^ verdict_mix(teller->version);
    }
    return 0;
}

/* Whether the variable alone says if a store is wanted: there may be more variables than cached verdicts. */
static int stores_judges_variable(const Stores *self, const State *state) {
    return self->sieve.by == BY_VARIABLE && !state->slab;
}

/* The verdict on a store, as far as it is known: 1 wanted, 0 not, -1 unknown. -2: no memory. */
static int stores_knows(Stores *self, const State *state, const Row *row, Verdict *key) {
    if (self->sieve.wanted == Py_None) return 1;
    if (stores_judges_variable(self, state) && state->judged == self->sieve.number) return state->wanted;
    return stores_key(self, state, row, key) < 0 ? -2 : sieve_knows(&self->sieve, key);
}

static Row row_of(const State *state, const unsigned char *head, const unsigned char *payload) {
    const Place *place = state->slab ? state_place(state, FIELD(head, store.offset), FIELD(head, store.length)) : NULL;
    return (Row){.variable = FIELD(head, id),
                 .place = place != NULL && place->aliases != NULL ? FIELD(head, store.offset) + 1 : 0,
                 .tid = FIELD(head, tid),
                 .site = FIELD(head, store.site),
                 .stack = stack_id(head, payload),
                 .context = FIELD(head, store.context),
                 .request = request_id(head, payload)};
}

/* What a store has in common with others. */
static Group group_of(Stores *self, const unsigned char *head, const unsigned char *payload, const Row *row) {
    uint32_t word = FIELD(head, word), origin = word >> 16 & 255;
    const struct thread *thread = stores_find_thread(self, row->tid);
    int named = thread != NULL && thread->name != self->no_name;
    uint32_t how = origin | (word >> 24 & (MWJ_INEXACT | MWJ_SITE_INEXACT) ? HOW_INEXACT : 0);
    how |= found_or_none(&self->sites, row->site) != Py_None ? HOW_SITE : 0;
    how |= found_or_none(&self->stacks, row->stack) != Py_None ? HOW_STACK : 0;
    return (Group){.variable = row->variable,
                   .offset = FIELD(head, store.offset),
                   .length = FIELD(head, store.length),
                   .tid = row->tid,
                   .site = row->site,
                   .stack = row->stack,
                   .call = call_size(head) ? u32_at(payload, offsetof(struct mwj_call, name)) : 0,
                   .how = how | (named ? HOW_THREAD : 0)};
}

/* Notes a store that was taken, in slot `number`. in_force: what its context is, or None. */
static void stores_note(Stores *self, State *state, const unsigned char *head, const unsigned char *payload,
                        const Row *row, uint64_t number, const PyObject *in_force) {
    state->stored = 1;
    if (self->recorder.rows == NULL) return;
    self->recorder.slabs |= state->slab;
    recorder_note(&self->recorder, row, time_of(head), in_force != Py_None);
    Group key = group_of(self, head, payload, row);
    const unsigned char *before = payload + call_size(head);
    int changed = state_changes(state, before, before + key.length, key.length);
    groups_note(&self->recorder.part, &key, before, before + key.length, changed, number, &state->previous);
}

/* How many of the stores that some rows stand for are wanted; -1: that isn't known without looking at them. */
static PyObject *stores_wanted(Stores *self, PyObject *args) {
    Py_buffer rows;
    if (!PyArg_ParseTuple(args, "y*", &rows)) return NULL;
    long long wanted = 0;
    int entered = stores_enter(self) == 0;
    for (Py_ssize_t at = 0; entered && wanted >= 0 && at + (Py_ssize_t)sizeof(Row) <= rows.len; at += sizeof(Row)) {
        Row row;
        Verdict key;
        memcpy(&row, (const char *)rows.buf + at, sizeof row);
        const State *state = table_get(&self->variables, row.variable);
        int known = self->sieve.wanted != NULL && state != NULL && !state->provisional;
        int knows = known ? stores_knows(self, state, &row, &key) : -1;
        wanted = knows < 0 ? knows : wanted + knows * (long long)row.count;
    }
    PyBuffer_Release(&rows);
    if (!entered) return NULL;
    return stores_leave(self, wanted == -2 ? NULL : PyLong_FromLongLong(wanted));
}

/* Handles a store that becomes no event; the effect on later events is as if it had. */
static int stores_skip(Stores *self, State *state, const unsigned char *head, const unsigned char *payload,
                       const Row *row, uint64_t number, int resync, int wanted) {
    uint64_t offset = FIELD(head, store.offset), length = FIELD(head, store.length);
    const unsigned char *before = payload + call_size(head);
    if (!resync && !state_explains(state, offset, before, length)) return STOP_GAP;
    state_follow(state, offset, before, before + length, length);
    stores_note(self, state, head, payload, row, number, used_or_none(&self->contexts, row->context));
    self->seq++;
    sieve_skip(&self->sieve, wanted, time_of(head));
    return STOP_END;
}

/* Keeps the event appended last, and adds its floor, or removes it again. -1 with an exception. */
static int stores_settle(Stores *self, State *state, const Verdict *key, int wanted, const unsigned char *head,
                         uint64_t number, PyObject *out) {
    Py_ssize_t last = PyList_GET_SIZE(out) - 1;
    uint64_t time = time_of(head);
    if (wanted < 0) {
        if ((wanted = sieve_ask(&self->sieve, key, PyList_GET_ITEM(out, last))) < 0) return -1;
        if (stores_judges_variable(self, state)) {
            state->wanted = wanted;
            state->judged = self->sieve.number;
        }
    }
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

/* What a store did to the variable's value, and to the part of it. Returns 0, or -1 with an exception. */
static int stores_values(Stores *self, State *state, uint64_t offset, uint32_t length, const unsigned char *before,
                         const unsigned char *after, Values *values, uint64_t *made) {
    Part where;
    if (stores_find_part(self, state, offset, length, before, after, &where) < 0) return -1;
    state_put(state, offset, before, length);
    if ((values->old = stores_value_of(self, state)) == NULL) return -1;
    PyObject *decode = where.decode_old != NULL ? where.decode_old : where.decode;
    PyObject *was = where.name == NULL
                        ? Py_NewRef(Py_None)
                        : stores_decode_part(self, state, decode, part_bytes(state, &where, offset, before, length));
    state_put(state, offset, after, length);
    int changed = memcmp(before, after, length) != 0;
    values->part = stores_changed_part(self, state, &where, was, changed, offset, after, length);
    if (values->part != NULL) values->new = stores_value_of(self, state);
    if (state->shadow != NULL && state->decode != Py_None) /* a value decoded as a whole is small */
        *made += state->letter != 0 ? state->size : state->size * DECODED;
    *made += 2 * DECODED * (where.stop - where.start);
    return values->new == NULL ? -1 : 0;
}

/* A record in its slots. head is a copy of the first one: the checked bytes are those used, even if others can write to
 * the buffer. number is the slot's number in the journal. */
typedef struct taken {
    const unsigned char *head, *payload;
    uint64_t number;
    int resync;
} Taken;

/* Makes the event of a store, and appends it to a list, unless the sieve doesn't want it. key and wanted: the verdict,
 * as far as it is known. Returns an enum stop, or -1 with an exception. */
static int stores_make_event(Stores *self, State *state, const Taken *taken, const Verdict *key, int wanted,
                             PyObject *out, uint64_t *made) {
    const unsigned char *head = taken->head, *payload = taken->payload;
    uint32_t length = FIELD(head, store.length);
    const unsigned char *before = payload + call_size(head), *after = before + length;
    uint64_t offset = FIELD(head, store.offset);
    Values values = {0};
    int failed;
    if (!taken->resync && !state_explains(state, offset, before, length)) return STOP_GAP;
    if (state->slab) {
        failed =
            stores_place_values(self, state, offset, length, before, after, activation_of(head, payload), &values) < 0;
        state_follow(state, offset, before, after, length);
    } else {
        failed = stores_values(self, state, offset, length, before, after, &values, made) < 0;
    }
    *made += 2 * (uint64_t)length;
    state->stored = 1;
    failed = failed || stores_emit(self, state, head, payload, &values, out) < 0;
    if (!failed && self->sieve.wanted != NULL)
        failed = stores_settle(self, state, key, wanted, head, taken->number, out) < 0;
    Py_XDECREF(values.old);
    Py_XDECREF(values.new);
    Py_XDECREF(values.part);
    return failed ? -1 : STOP_END;
}

static Stored stored_of(const Stores *self, const State *state, const Taken *taken) {
    const unsigned char *head = taken->head, *payload = taken->payload;
    uint32_t word = FIELD(head, word);
    const unsigned char *before = payload + call_size(head);
    return (Stored){.author = {.variable = FIELD(head, id),
                               .tid = FIELD(head, tid),
                               .site = FIELD(head, store.site),
                               .stack = stack_id(head, payload),
                               .context = FIELD(head, store.context),
                               .request = request_id(head, payload),
                               .how = (word >> 16 & 255) | (word >> 24 & (MWJ_INEXACT | MWJ_SITE_INEXACT)) << 8},
                    .seq = self->seq + 1,
                    .time = time_of(head),
                    .offset = FIELD(head, store.offset),
                    .length = FIELD(head, store.length),
                    .before = before,
                    .after = before + FIELD(head, store.length),
                    .item = state->item,
                    .base = state->base};
}

/* Whether a store may be a part of a run: an instruction made it, to the items of a value that has several. */
static int stores_merges(const State *state, const Stored *store) {
    uint64_t stop = (uint64_t)store->offset + store->length;
    return state->about != NULL && (store->author.how & 255) == MWJ_BY_STORE && store->length != 0 &&
           store->offset >= state->base && stop <= state->size;
}

/* Adds a store to a run without making its event. */
static void stores_join(Stores *self, State *state, const Stored *store, Run *run) {
    state_follow(state, store->offset, store->before, store->after, store->length);
    state->stored = 1;
    used_or_none(&self->contexts, store->author.context);
    self->seq++;
    run_add(run, store);
}

/* Adds an event that was made to a run, or begins one with it, or makes it a line of its own. */
static int stores_merge_event(Stores *self, const State *state, const Stored *store, int merges, PyObject *event,
                              PyObject *out) {
    Merging *merging = &self->merging;
    Run *run;
    int wanted = 1;
    if (merging->keep != Py_None) {
        PyObject *answer = PyObject_CallOneArg(merging->keep, event);
        wanted = answer == NULL ? -1 : PyObject_IsTrue(answer);
        Py_XDECREF(answer);
    }
    if (wanted <= 0) return wanted;
    if (merging->tell != Py_None && PyList_Append(out, event) < 0) return -1;
    if (merging_settle(merging, store, merges, &run) < 0) return -1;
    if (run != NULL)
        run_add(run, store);
    else if (merges)
        return merging_begin(merging, store, event, state->about);
    else
        return merging_put(merging, Py_NewRef(event), store->seq);
    return 0;
}

/* Takes a store where stores are merged. As stores_make_event. */
static int stores_merge(Stores *self, State *state, const Taken *taken, const Verdict *key, int wanted, PyObject *out,
                        uint64_t *made) {
    Merging *merging = &self->merging;
    Stored store = stored_of(self, state, taken);
    self->sieve.time = store.time;
    int merges = stores_merges(state, &store), alone = merging->keep == Py_None && merging->tell == Py_None;
    if (!merges && alone && merging->open == 0 && merging->count == 0) /* nothing it could wait for */
        return stores_make_event(self, state, taken, key, wanted, out, made);
    if (merges && wanted > 0 && alone) {
        Run *run;
        if (!taken->resync && !state_explains(state, store.offset, store.before, store.length)) return STOP_GAP;
        if (merging_settle(merging, &store, merges, &run) < 0) return -1;
        if (run != NULL) {
            stores_join(self, state, &store, run);
            return merging_drain(merging, &self->sieve, out) < 0 ? -1 : STOP_END;
        }
    }
    int why = stores_make_event(self, state, taken, key, wanted, merging->scratch, made);
    if (why != STOP_END || PyList_GET_SIZE(merging->scratch) == 0) return why;
    PyObject *event = Py_NewRef(PyList_GET_ITEM(merging->scratch, 0)), *floors = self->sieve.floors;
    int failed = PyList_SetSlice(merging->scratch, 0, 1, NULL) < 0;
    if (!failed && self->sieve.wanted != NULL) /* the line will have one */
        failed = PyList_SetSlice(floors, PyList_GET_SIZE(floors) - 1, PyList_GET_SIZE(floors), NULL) < 0;
    failed = failed || stores_merge_event(self, state, &store, merges, event, out) < 0 ||
             merging_drain(merging, &self->sieve, out) < 0;
    Py_DECREF(event);
    return failed ? -1 : STOP_END;
}

/* Handles one record. Returns an enum stop (STOP_END: taken), or -1 with an exception. See Taken. */
static int stores_take(Stores *self, const unsigned char *slot, const unsigned char *head, uint64_t number,
                       uint64_t slots_left, int resync, PyObject *out, uint64_t *made) {
    /* #lizard forgives: one branch a kind of record */
    unsigned char room[PAYLOAD_MAX];
    uint32_t word = FIELD(head, word), slots = word >> 8 & 255;
    if ((word & 255) != MWJ_STORE || slots == 0 || slots > slots_left ||
        behind_bytes(head) + stack_size(head) + request_size(head) + native_size(head) + activation_size(head) >
            FIRST_PAYLOAD + NEXT_PAYLOAD * (slots - 1))
        return STOP_OTHER;
    const unsigned char *payload = record_payload(slot, head, slots, room);
    if (payload == NULL) return STOP_OTHER;
    State *state = table_get(&self->variables, FIELD(head, id));
    if (state == NULL) return STOP_UNKNOWN;
    if (state->provisional) return STOP_UNANNOUNCED;
    Taken taken = {head, payload, number, resync};
    Verdict key = {0};
    int wanted = 1;
    if (self->sieve.wanted != NULL) {
        Row row = row_of(state, head, payload);
        if ((wanted = stores_knows(self, state, &row, &key)) == -2) return -1;
        if (wanted == 0 || (wanted > 0 && !sieve_shows(&self->sieve, number, time_of(head))))
            return stores_skip(self, state, head, payload, &row, number, resync, wanted);
    }
    return self->merging.make == NULL ? stores_make_event(self, state, &taken, &key, wanted, out, made)
                                      : stores_merge(self, state, &taken, &key, wanted, out, made);
}

/* With 100,000 variables, each step to a variable misses the cache. The ids of the next records are known: so prefetch
 * the table row for the record 12 ahead, the variable for the one 8 ahead, the name for the one 4 ahead. These are only
 * hints: any bytes will do. */
__attribute__((always_inline)) /* gcc takes a function that only prefetches for pure, and drops the call */
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

#endif
