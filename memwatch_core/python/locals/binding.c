/* binding.c - see binding.h. `site[value]` is the value, and says that the name is about to be bound to it; `-site`
 * says that it is about to be deleted. Of a sum, which must be stored by the next instruction, `~site` and `-site`
 * stand around both. Both run within the frame's own instruction, so it is the running frame. */
#define Py_BUILD_CORE_MODULE 1
#include "locals/binding.h"

#include "base/compiler.h"
#include "breaks/breaks.h"
#include "locals/function.h"
#include "places/node.h"
#include "places/types.h"

typedef struct mwpy_binding {
    PyObject_HEAD mwpy_function *function; /* strong */
    PyObject *name;                        /* strong */
    uint8_t kind;
    bool own; /* the frame is an activation of the function */
    unsigned slot, local;
} mwpy_binding;

/* ---- what a name holds ------------------------------------------------------------------------------------------- */

/* Whether a dict watch tells it already: then it isn't told twice. */
static bool is_told_otherwise(PyObject *dict, PyObject *name) {
    for (mwpy_node *node = mwpy_node_behind(dict, NULL); node; node = mwpy_node_behind(dict, node))
        if (mwpy_node_wants(node, name)) return true;
    return false;
}

static __attribute__((noinline)) void tell_in_dict(mwpy_binding *b, const mwpy_frame *frame, PyObject *now) {
    bool global = b->kind == MWPY_BINDS_GLOBAL;
    PyObject *dict = global ? frame->f_globals : frame->f_locals;
    if (!dict || !PyDict_Check(dict) || (global && is_told_otherwise(dict, b->name))) return;
    uint32_t activation = global ? 0 : mwpy_function_activation(b->function, frame);
    mwpy_function_tells(b->function, b->local, activation, mwpy_entry(dict, b->name), now);
}

/* A cell may be of another function's frame. */
static uint32_t activation_of(const mwpy_binding *b, const mwpy_frame *frame) {
    mwpy_function *f = b->function;
    if (likely(b->own)) return mwpy_function_activation(f, frame);
    return mwpy_function_activation_of_cell(f, mwpy_in_slot(frame, b->slot));
}

static void tell(mwpy_binding *b, PyObject *now) {
    const mwpy_frame *frame = mwpy_top_frame(mwpy_current_thread());
    if (unlikely(b->kind >= MWPY_BINDS_NAME)) {
        tell_in_dict(b, frame, now);
        return;
    }
    PyObject *held = mwpy_in_slot(frame, b->slot);
    if (b->kind == MWPY_BINDS_CELL) held = mwpy_in_cell(held);
    if (held != now) mwpy_function_tells(b->function, b->local, activation_of(b, frame), held, now);
}

/* A sum: `~site` before the addition, `-site` behind the store. */
static void tell_sum(mwpy_binding *b, bool done) {
    const mwpy_frame *frame = mwpy_top_frame(mwpy_current_thread());
    PyObject *held = mwpy_in_slot(frame, b->slot);
    uint32_t activation = mwpy_function_activation(b->function, frame);
    if (done)
        mwpy_function_tells_sum(b->function, b->local, activation, held);
    else
        mwpy_function_looks(b->function, b->local, activation, held);
}

/* ---- what meets a condition -------------------------------------------------------------------------------------- */

/* In a dict of the interpreter's own type: any other one runs code of the program's when it is stored to, and must see
 * that once. 0, or -1 with an exception. */
static int bind_in_dict(const mwpy_binding *b, const mwpy_frame *frame, PyObject *value) {
    PyObject *dict = b->kind == MWPY_BINDS_GLOBAL ? frame->f_globals : frame->f_locals;
    return dict && PyDict_CheckExact(dict) ? PyDict_SetItem(dict, b->name, value) : 0;
}

/* Binds the name before the instruction that does, which then changes nothing: whoever acts finds it bound. */
static int bind_first(const mwpy_binding *b, PyObject *value) {
    mwpy_frame *frame = (mwpy_frame *)mwpy_top_frame(mwpy_current_thread());
    if (b->kind >= MWPY_BINDS_NAME && b->kind != MWPY_BINDS_SUM) return bind_in_dict(b, frame, value);
    if (b->kind != MWPY_BINDS_CELL)
        mwpy_store_in_slot(frame, b->slot, value);
    else if (mwpy_in_slot(frame, b->slot) && PyCell_Check(mwpy_in_slot(frame, b->slot)))
        return PyCell_Set(mwpy_in_slot(frame, b->slot), value);
    return 0;
}

/* ---- the type ---------------------------------------------------------------------------------------------------- */

static PyObject *binding_binds(PyObject *self, PyObject *value) {
    mwpy_binding *b = (mwpy_binding *)self;
    if (mwpy_function_records(b->function)) tell(b, value);
    if (unlikely(mwpy_own_hits.waiting && !mwpy_own_hits.acting) && (bind_first(b, value) || mwpy_act())) return NULL;
    return Py_NewRef(value);
}

static PyObject *binding_deletes(PyObject *self) {
    mwpy_binding *b = (mwpy_binding *)self;
    if (mwpy_function_records(b->function)) {
        if (b->kind == MWPY_BINDS_SUM)
            tell_sum(b, true);
        else
            tell(b, NULL);
    }
    if (mwpy_act()) return NULL;
    Py_RETURN_NONE;
}

static PyObject *binding_looks(PyObject *self) {
    mwpy_binding *b = (mwpy_binding *)self;
    if (mwpy_function_records(b->function)) tell_sum(b, false);
    if (mwpy_act()) return NULL;
    Py_RETURN_NONE;
}

static void binding_dealloc(PyObject *self) {
    mwpy_binding *b = (mwpy_binding *)self;
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF((PyObject *)b->function);
    Py_XDECREF(b->name);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *binding_repr(PyObject *self) {
    return PyUnicode_FromFormat("<memwatch: %U>", ((mwpy_binding *)self)->name);
}

PyDoc_STRVAR(binding_doc, "What announces a binding; a constant of a function's code, made by local_site().");
static PyType_Slot binding_slots[] = {
    {Py_mp_subscript, binding_binds},
    {Py_nb_negative, binding_deletes},
    {Py_nb_invert, binding_looks},
    {Py_tp_dealloc, binding_dealloc},
    {Py_tp_repr, binding_repr},
    {Py_tp_doc, (void *)binding_doc},
    {0, NULL},
};
static PyType_Spec binding_spec = {
    .name = "memwatch_core.native.proxy.LocalSite",
    .basicsize = sizeof(mwpy_binding),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = binding_slots,
};

PyTypeObject *mwpy_binding_type(void) {
    static PyTypeObject *type;
    if (!type) type = (PyTypeObject *)PyType_FromSpec(&binding_spec);
    return type;
}

PyObject *mwpy_binding_new(PyObject *function, unsigned kind, unsigned slot, PyObject *name, bool own) {
    PyTypeObject *type = mwpy_binding_type();
    if (!type) return NULL;
    int local = mwpy_function_local((mwpy_function *)function, name);
    mwpy_binding *b = local < 0 ? NULL : (mwpy_binding *)type->tp_alloc(type, 0);
    if (!b) return NULL;
    b->function = (mwpy_function *)Py_NewRef(function);
    b->name = Py_NewRef(name);
    b->kind = (uint8_t)kind;
    b->own = own;
    b->slot = slot;
    b->local = (unsigned)local;
    return (PyObject *)b;
}
