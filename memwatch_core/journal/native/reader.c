/* reader.c - memwatch_core.journal._reader: turns STORE records into events, and events into lines of JSON.
 *
 * Stores is PythonStores of memwatch_core/journal/stores.py, where each method is documented; a differential test
 * compares the two. It doesn't depend on the core: the bytes come from an untrusted file, so every number in them is
 * checked before use. Calls need the GIL. A serializer's decode may run any Python code, and gets an error if it calls
 * this object. */
#include "reader.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <structmember.h>

#include "reader_held.h"
#include "reader_loop.h"
#include "reader_parts.h"
#include "reader_stores.h"

static void stores_forget_threads(Stores *self) {
    for (size_t i = 0; i < RECENT_THREADS; i++) {
        Py_CLEAR(self->recent[i].number);
        Py_CLEAR(self->recent[i].name);
    }
}

static void states_free(Table *table) {
    for (size_t i = 0; table->rows != NULL && i < (size_t)1 << table->bits; i++) state_free(table->rows[i].value);
    free(table->rows);
    *table = (Table){0};
}

static void stores_dealloc(Stores *self) {
    PyTypeObject *type = Py_TYPE(self);
    states_free(&self->variables);
    objects_free(&self->sites);
    objects_free(&self->own);
    objects_free(&self->stacks);
    objects_free(&self->requests);
    objects_free(&self->contexts);
    objects_free(&self->threads);
    for (size_t i = 0; i < 256; i++) Py_CLEAR(self->origins[i]);
    Py_CLEAR(self->make);
    Py_CLEAR(self->make_part);
    Py_CLEAR(self->pid);
    Py_CLEAR(self->runtime);
    Py_CLEAR(self->no_name);
    Py_CLEAR(self->failures);
    Py_CLEAR(self->call);
    Py_CLEAR(self->shown);
    Py_CLEAR(self->cell);
    Py_CLEAR(self->journal);
    Py_CLEAR(self->absent);
    Py_CLEAR(self->unnamed);
    Py_CLEAR(self->no_aliases);
    for (size_t i = 0; i < PLACE_OPERATIONS; i++) Py_CLEAR(self->operations[i]);
    stores_forget_threads(self);
    sieve_clear(&self->sieve);
    recorder_clear(&self->recorder);
    merging_clear(&self->merging);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static int stores_init_places(Stores *self, PyObject *shown, PyObject *cell) {
    static const char *const operations[PLACE_OPERATIONS] = {"add", "set", "delete", "clear", "replace", "move"};
    for (size_t i = 0; i < PLACE_OPERATIONS; i++)
        if ((self->operations[i] = PyUnicode_InternFromString(operations[i])) == NULL) return -1;
    self->shown = Py_NewRef(shown);
    self->cell = Py_NewRef(cell);
    self->unnamed = PyUnicode_InternFromString(UNNAMED);
    self->absent = PyObject_CallFunction(cell, "y", "");
    self->no_aliases = PyTuple_New(0);
    return self->unnamed == NULL || self->absent == NULL || self->no_aliases == NULL ? -1 : 0;
}

static int stores_init(Stores *self, PyObject *args, PyObject *keywords) {
    static char *names[] = {"event", "part", "pid", "runtime", "origins", "call", "shown", "cell", "journal", NULL};
    PyObject *make, *part, *pid, *runtime, *origins, *call, *shown, *cell, *journal;
    if (self->make != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Stores is initialised already");
        return -1;
    }
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOO!UO!OOOU", names, &make, &part, &PyLong_Type, &pid, &runtime,
                                     &PyDict_Type, &origins, &call, &shown, &cell, &journal))
        return -1;
    for (long i = 0; i < 256; i++) {
        PyObject *number = PyLong_FromLong(i);
        PyObject *name = number == NULL ? NULL : PyDict_GetItemWithError(origins, number);
        Py_XDECREF(number);
        if (name == NULL && PyErr_Occurred()) return -1;
        Py_XSETREF(self->origins[i], name != NULL ? Py_NewRef(name) : PyUnicode_InternFromString("store"));
        if (self->origins[i] == NULL) return -1;
    }
    if (stores_init_places(self, shown, cell) < 0) return -1;
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
    PyObject *variable, *path, *decode, *part, *told = Py_None, *done = NULL;
    const char *letter;
    int follow, provisional, head = 0;
    unsigned long long ident, other;
    if (!PyArg_ParseTuple(args, "OOOsOpp|iO", &variable, &path, &decode, &letter, &part, &follow, &provisional, &head,
                          &told) ||
        number_attribute(variable, "id", &ident) < 0)
        return NULL;
    other = told == Py_None ? ident : PyLong_AsUnsignedLongLong(told);
    if (PyErr_Occurred() || stores_enter(self) < 0) return NULL;
    State *state = stores_new_state(self, (uint32_t)ident);
    if (state != NULL && state_define(state, variable, path, decode, letter, part, follow, provisional, head) == 0) {
        state->version = ++self->versions;
        state->judged = 0;
        state->slab = told != Py_None;
        state->told = (uint32_t)other;
        done = Py_NewRef(Py_None);
    } else if (state != NULL && state->options == NULL) /* never defined: run couldn't use it */
        state_free(table_take(&self->variables, (uint32_t)ident));
    return stores_leave(self, done);
}

static PyObject *stores_forget(Stores *self, PyObject *args) {
    unsigned int ident;
    if (!PyArg_ParseTuple(args, "I", &ident) || stores_enter(self) < 0) return NULL;
    state_free(table_take(&self->variables, ident));
    return stores_leave(self, Py_NewRef(Py_None));
}

static Place *state_new_place(State *state, uint32_t offset) {
    void *old;
    Place *place = calloc(1, sizeof *place);
    if (place != NULL && table_put(&state->places, offset, place, &old) == 0) return place;
    free(place);
    PyErr_NoMemory();
    return NULL;
}

static PyObject *stores_place(Stores *self, PyObject *args) {
    unsigned int ident, offset;
    PyObject *path, *before = NULL;
    if (!PyArg_ParseTuple(args, "IIO", &ident, &offset, &path) || stores_enter(self) < 0) return NULL;
    State *state = table_get(&self->variables, ident);
    Place *place = state == NULL ? NULL : table_get(&state->places, offset);
    if (place != NULL) before = Py_NewRef(place->path);
    if (state != NULL && path == Py_None) {
        place_free(table_take(&state->places, offset));
    } else if (state != NULL) {
        if (place == NULL && (place = state_new_place(state, offset)) == NULL) return stores_leave(self, NULL);
        Py_XSETREF(place->path, Py_NewRef(path));
        Py_CLEAR(place->aliases);
        place->aliases_cut = 0;
        place->length = 0;
    }
    return stores_leave(self, before != NULL ? before : Py_NewRef(Py_None));
}

static PyObject *stores_alias(Stores *self, PyObject *args) {
    unsigned int ident, offset;
    PyObject *aliases;
    int cut;
    if (!PyArg_ParseTuple(args, "IIO!p", &ident, &offset, &PyTuple_Type, &aliases, &cut) || stores_enter(self) < 0)
        return NULL;
    State *state = table_get(&self->variables, ident);
    Place *place = state == NULL ? NULL : table_get(&state->places, offset);
    if (place != NULL) {
        Py_XSETREF(place->aliases, PyTuple_GET_SIZE(aliases) > 0 ? Py_NewRef(aliases) : NULL);
        place->aliases_cut = cut;
    }
    return stores_leave(self, PyBool_FromLong(place != NULL));
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
            self->recorder.compared |= state->stored;
            agrees = state_agrees(state, offset, data.buf, (uint64_t)data.len);
            state_put(state, offset, data.buf, (uint64_t)data.len);
        }
        done = stores_leave(self, PyBool_FromLong(agrees));
    }
    PyBuffer_Release(&data);
    return done;
}

static PyObject *stores_value(Stores *self, PyObject *args) {
    unsigned int ident;
    if (!PyArg_ParseTuple(args, "I", &ident) || stores_enter(self) < 0) return NULL;
    State *state = table_get(&self->variables, ident);
    if (state != NULL) self->recorder.valued |= state->stored;
    PyObject *value = state == NULL ? Py_NewRef(Py_None) : stores_value_of(self, state);
    stores_drop_large(self);
    return stores_leave(self, value);
}

static PyObject *stores_part(Stores *self, PyObject *args) {
    unsigned int ident;
    unsigned long long start, stop;
    if (!PyArg_ParseTuple(args, "IKK", &ident, &start, &stop) || stores_enter(self) < 0) return NULL;
    State *state = table_get(&self->variables, ident);
    PyObject *made = Py_NewRef(Py_None);
    Part part;
    if (state == NULL || state->shadow == NULL || stop < start) return stores_leave(self, made);
    self->recorder.valued |= state->stored;
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

/* Sets or removes the object for an id. Returns how often the old one was used; NULL with an exception. */
static PyObject *stores_set_object(Stores *self, Table *table, uint32_t ident, PyObject *object) {
    void *old;
    if (stores_enter(self) < 0) return NULL;
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

static PyObject *stores_name_object(Stores *self, Table *table, PyObject *args) {
    unsigned int ident;
    PyObject *object;
    return PyArg_ParseTuple(args, "IO", &ident, &object) ? stores_set_object(self, table, ident, object) : NULL;
}

static PyObject *stores_name_only(Stores *self, Table *table, PyObject *args) {
    PyObject *uses = stores_name_object(self, table, args);
    Py_XDECREF(uses);
    return uses == NULL ? NULL : Py_NewRef(Py_None);
}

static PyObject *stores_site(Stores *self, PyObject *args) {
    unsigned int ident;
    PyObject *site;
    int own;
    if (!PyArg_ParseTuple(args, "IOp", &ident, &site, &own)) return NULL;
    PyObject *uses = stores_set_object(self, &self->sites, ident, site);
    if (uses != NULL) Py_SETREF(uses, stores_set_object(self, &self->own, ident, own ? site : Py_None));
    Py_XDECREF(uses);
    return uses == NULL ? NULL : Py_NewRef(Py_None);
}

static PyObject *stores_stack(Stores *self, PyObject *args) {
    unsigned int ident;
    PyObject *callers;
    if (!PyArg_ParseTuple(args, "IO!", &ident, &PyTuple_Type, &callers)) return NULL;
    if (PyTuple_GET_SIZE(callers) != CALLERS_FIELDS) {
        PyErr_SetString(PyExc_TypeError, "callers: (frames, cut, inexact, own)");
        return NULL;
    }
    PyObject *uses = stores_set_object(self, &self->stacks, ident, callers);
    Py_XDECREF(uses);
    return uses == NULL ? NULL : Py_NewRef(Py_None);
}

static PyObject *stores_request(Stores *self, PyObject *args) { return stores_name_only(self, &self->requests, args); }

static PyObject *stores_context(Stores *self, PyObject *args) {
    return stores_name_object(self, &self->contexts, args);
}

static PyObject *stores_use(Stores *self, PyObject *args) {
    unsigned int ident, count;
    if (!PyArg_ParseTuple(args, "II", &ident, &count) || stores_enter(self) < 0) return NULL;
    table_add_uses(&self->contexts, ident, count);
    return stores_leave(self, Py_NewRef(Py_None));
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
    unsigned int by = BY_ALL;
    if (!PyArg_ParseTuple(args, "KKKOO!|I", &until, &since, &now, &wanted, &PyList_Type, &floors, &by) ||
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
                          .by = by,
                          .number = ++self->sieves};
    return stores_leave(self, Py_NewRef(Py_None));
}

/* From now on only the stores in these slots, u64 in ascending order, become events. */
static PyObject *stores_pick(Stores *self, PyObject *args) {
    Py_buffer slots;
    if (!PyArg_ParseTuple(args, "y*", &slots)) return NULL;
    size_t size = (size_t)slots.len - (size_t)slots.len % sizeof *self->sieve.picks;
    uint64_t *picks = malloc(size + 1);
    if (picks != NULL) {
        memcpy(picks, slots.buf, size);
        free(self->sieve.picks);
        self->sieve.picks = picks;
        self->sieve.pick_count = size / sizeof *picks;
        self->sieve.picked = 0;
    }
    PyBuffer_Release(&slots);
    return picks == NULL ? PyErr_NoMemory() : Py_NewRef(Py_None);
}

/* From now on, stores that one statement made become one line: make(about, first, facts). */
static PyObject *stores_merge_runs(Stores *self, PyObject *args) {
    PyObject *make, *tell, *keep;
    unsigned long long gap;
    if (!PyArg_ParseTuple(args, "OKOO", &make, &gap, &tell, &keep) || stores_enter(self) < 0) return NULL;
    Merging merging = {.runs = calloc(OPEN_RUNS, sizeof *merging.runs), .scratch = PyList_New(0), .gap = gap};
    if (merging.runs == NULL || merging.scratch == NULL) {
        free(merging.runs);
        Py_XDECREF(merging.scratch);
        return stores_leave(self, PyErr_NoMemory());
    }
    merging.make = Py_NewRef(make);
    merging.tell = Py_NewRef(tell);
    merging.keep = Py_NewRef(keep);
    merging_clear(&self->merging);
    self->merging = merging;
    return stores_leave(self, Py_NewRef(Py_None));
}

/* Which variable's stores may be merged, and which items it has: of a letter of the struct module ("": unknown), from a
 * byte on. None for `about`: they aren't merged. */
static PyObject *stores_mergeable(Stores *self, PyObject *args) {
    unsigned int ident;
    unsigned long long base;
    const char *letter;
    PyObject *about;
    if (!PyArg_ParseTuple(args, "IKsO", &ident, &base, &letter, &about) || stores_enter(self) < 0) return NULL;
    State *state = table_get(&self->variables, ident);
    if (state != NULL) {
        Py_XSETREF(state->about, about == Py_None ? NULL : Py_NewRef(about));
        state->item = item_of(letter[0]);
        state->base = base;
    }
    return stores_leave(self, Py_NewRef(Py_None));
}

/* Ends the runs whose last store was before a time. Appends the lines that wait for no other. */
static PyObject *stores_end_runs(Stores *self, PyObject *args) {
    unsigned long long time;
    PyObject *out;
    if (!PyArg_ParseTuple(args, "KO!", &time, &PyList_Type, &out) || stores_enter(self) < 0) return NULL;
    int failed = merging_end_before(&self->merging, time, &self->sieve, out) < 0;
    return stores_leave(self, failed ? NULL : Py_NewRef(Py_None));
}

/* Begins a part of the journal that is recorded. */
static PyObject *stores_record(Stores *self, PyObject *unused) {
    (void)unused;
    return recorder_begin(&self->recorder) < 0 ? PyErr_NoMemory() : Py_NewRef(Py_None);
}

/* What was recorded since: stores, the earliest time, the latest, the last; the rows, None if there were too many;
 * whether a store was to a slab, whether bytes were decoded, and whether they were compared. */
static PyObject *stores_recorded(Stores *self, PyObject *unused) {
    (void)unused;
    const Recorder *recorder = &self->recorder;
    if (recorder->failed) return PyErr_NoMemory();
    const char *rows = recorder->many ? NULL : (const char *)recorder->rows;
    return Py_BuildValue("KKKKy#NNN", recorder->stores, recorder->earliest, recorder->latest, recorder->newest, rows,
                         (Py_ssize_t)(recorder->count * sizeof(Row)), PyBool_FromLong(recorder->slabs),
                         PyBool_FromLong(recorder->valued), PyBool_FromLong(recorder->compared));
}

static PyObject *groups_bytes(const Groups *groups) {
    if (groups->many) return Py_NewRef(Py_None);
    return PyBytes_FromStringAndSize((const char *)groups->all, (Py_ssize_t)(groups->count * sizeof(Group)));
}

/* The groups of the part; None if there were too many. Adds them to those of the parts before. */
static PyObject *stores_grouped(Stores *self, PyObject *unused) {
    (void)unused;
    groups_widen(&self->recorder.wide, &self->recorder.part);
    return groups_bytes(&self->recorder.part);
}

/* The groups of all parts since the last call; None if there were too many. */
static PyObject *stores_widened(Stores *self, PyObject *unused) {
    (void)unused;
    PyObject *groups = groups_bytes(&self->recorder.wide);
    return groups_begin(&self->recorder.wide, WIDE) < 0 ? PyErr_NoMemory() : groups;
}

/* What a thread is called; a site, and whether it is the program's own; and callers. None: it isn't known. */
static PyObject *stores_names(Stores *self, PyObject *args) {
    unsigned int tid, site, stack;
    if (!PyArg_ParseTuple(args, "III", &tid, &site, &stack) || stores_enter(self) < 0) return NULL;
    PyObject *own = found_or_none(&self->own, site);
    return stores_leave(self,
                        Py_BuildValue("OOOO", found_or_none(&self->threads, tid), found_or_none(&self->sites, site),
                                      own != Py_None ? Py_True : Py_False, found_or_none(&self->stacks, stack)));
}

/* The contexts of the stores recorded since the last call: u32 context, u32 count for each. */
static PyObject *stores_uses(Stores *self, PyObject *unused) {
    (void)unused;
    Recorder *recorder = &self->recorder;
    Py_ssize_t size = (Py_ssize_t)(recorder->used * sizeof(Use));
    recorder->used = 0;
    return PyBytes_FromStringAndSize((const char *)recorder->uses, size);
}

static PyMethodDef stores_methods[] = {
    {"define", (PyCFunction)stores_define, METH_VARARGS, NULL},
    {"forget", (PyCFunction)stores_forget, METH_VARARGS, NULL},
    {"place", (PyCFunction)stores_place, METH_VARARGS, NULL},
    {"alias", (PyCFunction)stores_alias, METH_VARARGS, NULL},
    {"fill", (PyCFunction)stores_fill, METH_VARARGS, NULL},
    {"value", (PyCFunction)stores_value, METH_VARARGS, NULL},
    {"part", (PyCFunction)stores_part, METH_VARARGS, NULL},
    {"site", (PyCFunction)stores_site, METH_VARARGS, NULL},
    {"stack", (PyCFunction)stores_stack, METH_VARARGS, NULL},
    {"request", (PyCFunction)stores_request, METH_VARARGS, NULL},
    {"context", (PyCFunction)stores_context, METH_VARARGS, NULL},
    {"thread", (PyCFunction)stores_thread, METH_VARARGS, NULL},
    {"failures", (PyCFunction)stores_failures, METH_NOARGS, NULL},
    {"run", (PyCFunction)stores_run, METH_VARARGS, NULL},
    {"sieve", (PyCFunction)stores_sieve, METH_VARARGS, NULL},
    {"wanted", (PyCFunction)stores_wanted, METH_VARARGS, NULL},
    {"use", (PyCFunction)stores_use, METH_VARARGS, NULL},
    {"pick", (PyCFunction)stores_pick, METH_VARARGS, NULL},
    {"record", (PyCFunction)stores_record, METH_NOARGS, NULL},
    {"recorded", (PyCFunction)stores_recorded, METH_NOARGS, NULL},
    {"uses", (PyCFunction)stores_uses, METH_NOARGS, NULL},
    {"grouped", (PyCFunction)stores_grouped, METH_NOARGS, NULL},
    {"widened", (PyCFunction)stores_widened, METH_NOARGS, NULL},
    {"names", (PyCFunction)stores_names, METH_VARARGS, NULL},
    {"merge_runs", (PyCFunction)stores_merge_runs, METH_VARARGS, NULL},
    {"mergeable", (PyCFunction)stores_mergeable, METH_VARARGS, NULL},
    {"end_runs", (PyCFunction)stores_end_runs, METH_VARARGS, NULL},
    {"hold", (PyCFunction)stores_hold, METH_VARARGS, NULL},
    {"restore", (PyCFunction)stores_restore, METH_VARARGS, NULL},
    {"contents", (PyCFunction)stores_contents, METH_VARARGS, NULL},
    {"cells", (PyCFunction)stores_cells, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef stores_members[] = {
    {"seq", T_ULONGLONG, offsetof(Stores, seq), 0, NULL},
    {"skipped", T_ULONGLONG, offsetof(Stores, sieve.skipped), 0, NULL},
    {"matched", T_ULONGLONG, offsetof(Stores, sieve.matched), 0, NULL},
    {"high", T_ULONGLONG, offsetof(Stores, sieve.high), 0, NULL},
    {"time", T_ULONGLONG, offsetof(Stores, sieve.time), 0, NULL},
    {"latest", T_ULONGLONG, offsetof(Stores, recorder.latest), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot stores_slots[] = {
    {Py_tp_init, stores_init},       {Py_tp_dealloc, stores_dealloc}, {Py_tp_methods, stores_methods},
    {Py_tp_members, stores_members}, {Py_tp_new, PyType_GenericNew},  {0, NULL},
};

/* Not tracked by the garbage collector: it holds only leaves, and visiting them would slow down each collection. */
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
    return failed || lines_add(module) < 0 || strip_add(module) < 0 ? -1 : 0;
}

static PyModuleDef_Slot reader_slots[] = {{Py_mod_exec, reader_exec}, {0, NULL}};

static PyModuleDef reader_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "memwatch_core.journal._reader",
    .m_slots = reader_slots,
};

PyMODINIT_FUNC PyInit__reader(void);
PyMODINIT_FUNC PyInit__reader(void) { return PyModuleDef_Init(&reader_module); }
