/* flow.c - the statement in force: the value of one ContextVar, mwpy_flow, in the current context. */
#define Py_BUILD_CORE_MODULE 1
#include "interpreter.h"
#include "origins/context.h"
#include "sql/flow.h"

PyObject *mwpy_flow;

int mwpy_make_flow(void) {
    if (!mwpy_flow) mwpy_flow = PyContextVar_New("memwatch.statement", Py_None);
    return mwpy_flow ? 0 : -1;
}

PyObject *mwpy_flow_value(void) { return mwpy_value_in(mwpy_current_thread(), mwpy_flow); }

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

static void keep_map(PyObject *map) {
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

static PyObject *set_uncollected(PyObject *value) {
    PyContext *context = (PyContext *)mwpy_current_thread()->context;
    if (context && is_collecting()) keep_map(Py_XNewRef((PyObject *)context->ctx_vars));
    int enabled = PyGC_Disable();
    PyObject *token = PyContextVar_Set(mwpy_flow, value);
    if (enabled) PyGC_Enable();
    return token;
}

#else
static void let_go(void) {}
static PyObject *set_uncollected(PyObject *value) { return PyContextVar_Set(mwpy_flow, value); }
#endif

int mwpy_set_flow(PyObject *value) {
    PyObject *token = set_uncollected(value);
    /* The interpreter's own cache holds no reference, and would outlive a map that the interrupted code replaces. */
    ((PyContextVar *)mwpy_flow)->var_cached = NULL;
    Py_XDECREF(token); /* releases the old value: may end a statement */
    let_go();
    return token ? 0 : -1;
}
