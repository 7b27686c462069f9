/* function.c - see function.h. */
#define Py_BUILD_CORE_MODULE 1
#include "locals/function.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/compiler.h"
#include "breaks/breaks.h"
#include "locals/activations.h"
#include "origins/frames.h"
#include "places/cell.h"
#include "places/node_secrets.h"
#include "places/slab.h"

enum { PATH = 512, CALLED = 2048 };
static const uint32_t NEVER = UINT32_MAX;

uint64_t mwpy_locals_epoch;
static uint64_t epochs; /* so far */
static uint32_t flags_now;
static mwpy_function *open_ones;

/* ---- its variable ------------------------------------------------------------------------------------------------ */

/* In the midst of a binding of the program's. */
static void refuse(mwpy_function *f) {
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyObject *why = error ? PyObject_Str(error) : NULL; /* ours: a sentence */
    const char *name = PyUnicode_AsUTF8(f->name), *text = why ? PyUnicode_AsUTF8(why) : NULL;
    char line[512];
    int n = snprintf(line, sizeof line, "memwatch: locals aren't followed: %.120s: %.300s\n", name ? name : "?",
                     text ? text : "no memory");
    if (write(STDERR_FILENO, line, (size_t)n) < 0) PyErr_Clear();
    PyErr_Clear();
    Py_XDECREF(why);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
}

/* Its conditions stay: those of the next journal's are judged by them. */
static void close_cells(mwpy_function *f) {
    PyObject *judged = f->cells.judged;
    f->cells.judged = NULL;
    mwpy_cells_close(&f->cells);
    f->cells.judged = judged;
}

static __attribute__((noinline)) bool open_cells(mwpy_function *f) {
    if (f->failed == mwpy_locals_epoch) return false;
    mwpy_aside aside = mwpy_set_aside();
    f->cells = (mwpy_cells){.name = Py_NewRef(f->name),
                            .metadata = Py_NewRef(f->metadata),
                            .flags = f->flags | flags_now,
                            .judged = f->cells.judged,
                            .acts_itself = true};
    bool opened = !mwpy_cells_open(&f->cells, f->count);
    if (opened) {
        f->epoch = mwpy_locals_epoch;
        f->activations = f->number = 0;
        f->frame = NULL;
        for (unsigned i = 0; i < f->count; i++)
            f->locals[i] =
                (mwpy_local){.name = f->locals[i].name, .number = MWPY_NO_CELL, .activation = NEVER, .held = NULL};
        f->next = open_ones;
        f->link = &open_ones;
        if (open_ones) open_ones->link = &f->next;
        open_ones = f;
    } else {
        f->failed = mwpy_locals_epoch;
        refuse(f);
        close_cells(f);
    }
    mwpy_put_back(aside);
    return opened;
}

static inline bool is_open(mwpy_function *f) { return likely(f->epoch == mwpy_locals_epoch) || open_cells(f); }

void mwpy_function_ends(mwpy_function *f, mw_ending ending) {
    f->off = true;
    if (!f->epoch) return;
    f->cells.ending = ending;
    close_cells(f);
    f->epoch = 0;
    *f->link = f->next;
    if (f->next) f->next->link = f->link;
}

void mwpy_functions_begin(uint32_t flags) {
    flags_now = flags;
    mwpy_activations_forget();
    mwpy_locals_epoch = ++epochs;
}

void mwpy_functions_end(void) {
    mwpy_locals_epoch = 0;
    while (open_ones) {
        mwpy_function *f = open_ones;
        bool off = f->off;
        mwpy_function_ends(f, (mw_ending){.why = MW_END_CLOSED});
        f->off = off;
    }
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

int mwpy_function_local(mwpy_function *f, PyObject *name) {
    for (unsigned i = 0; i < f->count; i++)
        if (!PyUnicode_Compare(f->locals[i].name, name)) return (int)i;
    mwpy_local *grown = PyMem_Realloc(f->locals, (f->count + 1) * sizeof *grown);
    if (!grown) {
        PyErr_NoMemory();
        return -1;
    }
    f->locals = grown;
    grown[f->count] = (mwpy_local){.name = Py_NewRef(name), .number = MWPY_NO_CELL, .activation = NEVER};
    return (int)f->count++;
}

static size_t path_of(const mwpy_local *local, char out[PATH]) { return mwpy_key_text(out, PATH, local->name, true); }

/* `orders:add_order().total`: what conditions call it. */
static size_t called(const mwpy_function *f, const mwpy_local *local, char out[CALLED]) {
    Py_ssize_t n = 0;
    const char *name = PyUnicode_AsUTF8AndSize(f->name, &n);
    if (!name) PyErr_Clear();
    size_t at = name && n < CALLED - PATH ? (size_t)n : 0;
    memcpy(out, name ? name : "", at);
    return at + path_of(local, out + at);
}

static void says_path(const mwpy_function *f, const mwpy_local *local) {
    static char path[CALLED]; /* until the write is done */
    mw_set_subject(path, called(f, local, path));
}

/* Whether a pattern names it: by itself, or behind its function. */
static bool is_secret(mwpy_function *f, mwpy_local *local) {
    if (likely(local->judged)) return local->secret;
    char whole[CALLED], alone[PATH];
    size_t n = called(f, local, whole), own = path_of(local, alone);
    local->judged = true;
    local->secret = f->flags & MW_SECRET || mwpy_is_secret_name(whole, n) || mwpy_is_secret_name(alone + 1, own - 1);
    return local->secret;
}

/* ---- what is written --------------------------------------------------------------------------------------------- */

/* begins: in this activation, the name held nothing until then. */
static void write_local(mwpy_function *f, mwpy_local *local, uint32_t activation, PyObject *value, mw_shadow why,
                        bool begins) {
    mwpy_cell cell;
    mwpy_cell_describe_growing(&cell, value);
    if (unlikely(mwpy_secrets.on) && is_secret(f, local)) mwpy_cell_hide(&f->cells, &cell);
    if (begins) cell.kind |= MWPY_CELL_BEGINS;
    if (local->turned) cell.kind |= MWPY_CELL_TURNS;
    local->turned = why == MW_SHADOW_SILENT;
    if (why != MW_SHADOW_SILENT && unlikely(!mwpy_cell_has_path(&f->cells, local->number))) {
        char path[PATH];
        mwpy_cell_tell(&f->cells, local->number, path, path_of(local, path));
    }
    bool judged = unlikely(f->cells.judged != NULL) && why != MW_SHADOW_SILENT;
    if (judged) says_path(f, local);
    mwpy_announce_activation(activation);
    mwpy_cell_write(&f->cells, local->number, &cell, why);
    if (judged) mw_set_subject(NULL, 0);
    local->activation = activation;
    local->held = value;
}

/* Whether a text isn't the one any more that its cell tells of. */
static bool has_grown(mwpy_function *f, mwpy_local *local, PyObject *text) {
    if (!PyUnicode_CheckExact(text)) return false;
    mwpy_cell cell;
    mwpy_cell_describe_growing(&cell, text);
    if (unlikely(mwpy_secrets.on) && is_secret(f, local)) mwpy_cell_hide(&f->cells, &cell);
    const mwpy_cell *said = mwpy_cell_at(&f->cells, local->number);
    return cell.used != said->used || cell.flags != said->flags || memcmp(cell.payload, said->payload, cell.used);
}

/* Its name, whose cell says what it holds now; NULL: there is no room. *begins: as write_local() wants it for the next
 * value. */
static mwpy_local *look(mwpy_function *f, unsigned number, uint32_t activation, PyObject *held, bool *begins) {
    if (unlikely(!is_open(f))) return NULL;
    mwpy_local *local = &f->locals[number];
    if (unlikely(local->number == MWPY_NO_CELL) && (local->number = mwpy_cell_take(&f->cells)) == MWPY_NO_CELL)
        return NULL;
    if (likely(local->activation == activation && local->held == held)) return local;
    bool unseen = activation && local->activation == activation; /* by a debugger, for instance */
    *begins = !unseen && !held;
    if (unseen || held) write_local(f, local, activation, held, unseen ? MW_SHADOW_FOUND : MW_SHADOW_SILENT, false);
    return local;
}

void mwpy_function_tells(mwpy_function *f, unsigned number, uint32_t activation, PyObject *held, PyObject *now) {
    bool begins = false;
    if (held == now) return;
    mwpy_local *local = look(f, number, activation, held, &begins);
    if (local) write_local(f, local, activation, now, MW_SHADOW_NOW, begins);
}

void mwpy_function_looks(mwpy_function *f, unsigned number, uint32_t activation, PyObject *held) {
    bool begins;
    if (held) look(f, number, activation, held, &begins);
}

void mwpy_function_tells_sum(mwpy_function *f, unsigned number, uint32_t activation, PyObject *sum) {
    if (!is_open(f)) return;
    mwpy_local *local = &f->locals[number];
    if (local->number == MWPY_NO_CELL || local->activation != activation) return;
    if (local->held == sum && !has_grown(f, local, sum)) return;
    write_local(f, local, activation, sum, MW_SHADOW_NOW, false);
}

/* ---- activations ------------------------------------------------------------------------------------------------- */

static uint32_t begin_activation(mwpy_function *f, const mwpy_frame *frame) {
    f->frame = frame;
    f->number = ++f->activations;
    mwpy_activation_begins(frame, f, f->number);
    return f->number;
}

uint32_t mwpy_function_activation(mwpy_function *f, const mwpy_frame *frame) {
    if (!is_open(f)) return 0;
    if (likely(f->frame == frame)) return f->number;
    uint32_t number = mwpy_activation_at(frame, f);
    if (!number) return begin_activation(f, frame); /* it began before the journal was open */
    f->frame = frame;
    return f->number = number;
}

uint32_t mwpy_function_activation_of_cell(mwpy_function *f, const PyObject *cell) {
    return mwpy_activation_at(cell, f);
}

static void begin(mwpy_function *f, const mwpy_frame *frame) {
    uint32_t number = begin_activation(f, frame);
    for (unsigned i = 0; i < f->shared_n; i++) mwpy_activation_begins(mwpy_in_slot(frame, f->shared[i]), f, number);
    for (unsigned i = 0; i < f->parameters_n; i++) {
        const mwpy_parameter *p = &f->parameters[i];
        PyObject *value = mwpy_in_slot(frame, p->slot);
        mwpy_function_tells(f, p->local, number, NULL, p->cell ? mwpy_in_cell(value) : value);
    }
}

/* ---- the type ---------------------------------------------------------------------------------------------------- */

static PyObject *function_begins(PyObject *self) {
    mwpy_function *f = (mwpy_function *)self;
    if (mwpy_function_records(f) && is_open(f)) begin(f, mwpy_top_frame(mwpy_current_thread()));
    if (mwpy_act()) return NULL;
    Py_RETURN_NONE;
}

static void function_dealloc(PyObject *self) {
    mwpy_function *f = (mwpy_function *)self;
    PyTypeObject *type = Py_TYPE(self);
    mwpy_function_ends(f, (mw_ending){.why = mwpy_is_finalizing() ? MW_END_EXIT : MW_END_DROPPED});
    for (unsigned i = 0; i < f->count; i++) Py_DECREF(f->locals[i].name);
    PyMem_Free(f->locals);
    PyMem_Free(f->parameters);
    PyMem_Free(f->shared);
    Py_XDECREF(f->name);
    Py_XDECREF(f->metadata);
    Py_XDECREF(f->info);
    Py_XDECREF(f->cells.judged);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *function_repr(PyObject *self) {
    return PyUnicode_FromFormat("<memwatch: locals of %U>", ((mwpy_function *)self)->name);
}

PyDoc_STRVAR(function_doc, "A function whose names are watched; a constant of its code, made by open_function().");
static PyType_Slot function_slots[] = {
    {Py_nb_invert, function_begins},
    {Py_tp_dealloc, function_dealloc},
    {Py_tp_repr, function_repr},
    {Py_tp_doc, (void *)function_doc},
    {0, NULL},
};
static PyType_Spec function_spec = {
    .name = "memwatch_core.native.proxy.Function",
    .basicsize = sizeof(mwpy_function),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = function_slots,
};
static PyTypeObject *function_type;

PyTypeObject *mwpy_function_type(void) {
    if (!function_type) function_type = (PyTypeObject *)PyType_FromSpec(&function_spec);
    return function_type;
}

bool mwpy_function_check(PyObject *object) { return Py_IS_TYPE(object, function_type); }
