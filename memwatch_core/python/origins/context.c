/* context.c - what is in force at a store, the SQL context above all, read from the writing thread's contextvars.
 *
 * asyncio switches contexts without notification, so nothing is mirrored: the value is looked up at the moment of the
 * store. PyContextVar_Get takes references and needs the GIL; this is the same lookup without either. It is safe
 * because only the thread itself changes its current context and that context's HAMT. The variable's own cache
 * (var_cached) isn't used: other threads write to it. */
#define Py_BUILD_CORE_MODULE 1
#include "interpreter.h"
#include "origins/context.h"
#include "origins/freed.h"

/* HAMT nodes, private to CPython; the same in 3.11 to 3.15. */
typedef struct bitmap_node {
    PyObject_VAR_HEAD uint32_t bitmap;
    PyObject *pairs[1]; /* key, value; or NULL, node */
} bitmap_node;
typedef struct array_node {
    PyObject_HEAD PyObject *nodes[32];
    Py_ssize_t count;
} array_node;
typedef struct collision_node {
    PyObject_VAR_HEAD int32_t hash;
    PyObject *pairs[1];
} collision_node;

bool (*mwpy_statement_id)(PyObject *value, uint32_t *id);
static PyObject *context_variable; /* strong */

static uint32_t reduced_hash(Py_hash_t hash) {
    int32_t folded = (int32_t)(hash & 0xFFFFFFFF) ^ (int32_t)(hash >> 32);
    return (uint32_t)(folded == -1 ? -2 : folded);
}

/* The kind of a node, from the sixth letter of "hamt_bitmap_node", "hamt_array_node", "hamt_collision_node". */
static char node_kind(PyObject *node) { return Py_TYPE(node)->tp_name[5]; }

/* The core asks for a CPU with FSGSBASE, and all of those have this instruction. */
#define WITH_POPCNT __attribute__((target("popcnt")))

WITH_POPCNT static inline PyObject *find(PyObject *node, PyObject *key, uint32_t hash) {
    for (unsigned shift = 0; node; shift += 5) {
        char kind = node_kind(node);
        if (kind == 'c') {
            collision_node *c = (collision_node *)node;
            for (Py_ssize_t i = 0; i + 1 < Py_SIZE(c); i += 2)
                if (c->pairs[i] == key) return c->pairs[i + 1];
            return NULL;
        }
        if (shift >= 35) return NULL;
        uint32_t part = hash >> shift & 31;
        if (kind == 'a') {
            node = ((array_node *)node)->nodes[part];
            continue;
        }
        bitmap_node *b = (bitmap_node *)node;
        uint32_t bit = 1u << part;
        if (!(b->bitmap & bit)) return NULL;
        int at = 2 * __builtin_popcount(b->bitmap & (bit - 1));
        if (b->pairs[at]) return b->pairs[at] == key ? b->pairs[at + 1] : NULL;
        node = b->pairs[at + 1];
    }
    return NULL;
}

/* The id of an unfinished statement, or an int in [0, 2**32); otherwise 0. Sets no exception: a signal handler
 * can't. */
static uint32_t id_of(PyObject *value) {
    uint32_t id;
    if (mwpy_statement_id && mwpy_statement_id(value, &id)) return id;
    if (!PyLong_CheckExact(value)) return 0;
#if PY_VERSION_HEX >= 0x030C0000
    const _PyLongValue *v = &((PyLongObject *)value)->long_value;
    Py_ssize_t n = v->lv_tag & 2 ? -1 : (Py_ssize_t)(v->lv_tag >> 3);
    const digit *digits = v->ob_digit;
#else
    Py_ssize_t n = Py_SIZE(value);
    const digit *digits = ((PyLongObject *)value)->ob_digit;
#endif
    if (n == 1) return digits[0];
    if (n == 2 && digits[1] < 1u << (32 - PyLong_SHIFT)) return digits[1] << PyLong_SHIFT | digits[0];
    return 0;
}

WITH_POPCNT PyObject *mwpy_value_in(PyThreadState *thread, PyObject *variable) {
    PyContext *context = (PyContext *)thread->context;
    if (!variable || !context || !context->ctx_vars) return NULL;
    uint32_t hash = reduced_hash(((PyContextVar *)variable)->var_hash);
    return find((PyObject *)context->ctx_vars->h_root, variable, hash);
}

/* ---- kept maps --------------------------------------------------------------------------------------------------- */

mwpy_freed mwpy_maps;
static destructor free_map;

static void forget_map(PyObject *map) {
    mwpy_forget(&mwpy_maps, map);
    free_map(map);
}

void mwpy_keep_map(PyObject *map) {
    if (unlikely(!free_map)) {
        free_map = Py_TYPE(map)->tp_dealloc;
        Py_TYPE(map)->tp_dealloc = forget_map;
    }
    mwpy_keep(&mwpy_maps, map, mwpy_generation(&mwpy_maps));
}

/* ---- the statement ------------------------------------------------------------------------------------------------
 */

uint32_t mwpy_context_of(PyThreadState *thread) {
    PyObject *value = mwpy_value_in(thread, context_variable);
    return value ? id_of(value) : 0;
}

int mwpy_set_context_variable(PyObject *variable) {
    if (variable != Py_None && !PyContextVar_CheckExact(variable)) {
        PyErr_Format(PyExc_TypeError, "set_context_variable() takes a contextvars.ContextVar or None, not %.100s",
                     Py_TYPE(variable)->tp_name);
        return -1;
    }
    /* The old variable stays alive: a handler in another thread may be comparing with it. There are few. */
    context_variable = variable == Py_None ? NULL : Py_NewRef(variable);
    return 0;
}

/* ---- set --------------------------------------------------------------------------------------------------------- */

/* Before Python 3.12, an allocation may collect garbage, and a collection runs the program's code, even inside
 * PyContextVar_Set, which then reads a map that a nested PyContextVar_Set has freed. Both cases occur. If our call is
 * the outer one, collection is disabled during it. If it is the inner one (a finalizer runs SQL while the interpreter
 * sets a variable of the program's, or copies the context for a task), the map is kept until the collection is over.
 * Since 3.12, collections run only between Python instructions. */
#if PY_VERSION_HEX < 0x030C0000

static struct {
    PyObject **maps;
    size_t n, room;
} kept; /* the interrupted code may be reading these */

static bool is_collecting(void) { return PyInterpreterState_Get()->gc.collecting; }

static void keep_until_collected(PyObject *map) {
    if (kept.n == kept.room) {
        size_t room = kept.room ? 2 * kept.room : 8;
        PyObject **more = PyMem_Realloc(kept.maps, room * sizeof *more);
        if (!more) return; /* better leaked than freed too early */
        kept.maps = more;
        kept.room = room;
    }
    kept.maps[kept.n++] = map;
}

static void let_go(void) {
    while (kept.n && !is_collecting()) {
        PyObject *map = kept.maps[--kept.n];
        Py_XDECREF(map); /* may run the program's code */
    }
}

static PyObject *set_uncollected(PyObject *variable, PyObject *value) {
    PyContext *context = (PyContext *)mwpy_current_thread()->context;
    if (context && is_collecting()) keep_until_collected(Py_XNewRef((PyObject *)context->ctx_vars));
    int enabled = PyGC_Disable();
    PyObject *token = PyContextVar_Set(variable, value);
    if (enabled) PyGC_Enable();
    return token;
}

#else
static void let_go(void) {}
static PyObject *set_uncollected(PyObject *variable, PyObject *value) { return PyContextVar_Set(variable, value); }
#endif

int mwpy_set_in_context(PyObject *variable, PyObject *value) {
    PyObject *token = set_uncollected(variable, value);
    /* The interpreter's own cache holds no reference, and would outlive a map that the interrupted code replaces. */
    ((PyContextVar *)variable)->var_cached = NULL;
    Py_XDECREF(token); /* releases the old value: may run any code */
    let_go();
    return token ? 0 : -1;
}
