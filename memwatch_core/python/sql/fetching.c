/* fetching.c - the trace around a cursor method that returns rows; runs for every row that the program gets. */
#include "sql/fetching.h"
#include "sql/tokens.h"
#include <stddef.h>
#include <structmember.h>

PyTypeObject *mwpy_fetching_type;

static PyObject *name_tracer, *name_rows_fetched, *name_fetch_failed, *only_exhausted;

typedef enum counting { ONE, SOME, REST, TOLD } counting;
static const char *const countings[] = {"one", "some", "rest"};

typedef struct mwpy_fetching {
    PyObject_HEAD PyObject *driver; /* a DbapiDriverBase */
    mwpy_tokens *tokens;            /* of its cursors */
    PyObject *count;                /* TOLD: function of the result: (number of rows, whether they were the last) */
    counting how;
} mwpy_fetching;

static int set_busy(PyObject *held, PyObject *busy) { return PyList_SetItem(held, MWPY_FETCHING, Py_NewRef(busy)); }

/* The list that holds the cursor's token. None: it ran nothing, or another traced method calls this one, as fetchall()
 * may call fetchone(): then rows are counted there. */
static PyObject *before(PyObject *trace, PyObject *cursor, PyObject *args, PyObject *keywords) {
    (void)args, (void)keywords;
    PyObject *held = mwpy_held(((mwpy_fetching *)trace)->tokens, cursor, false);
    if (!held || held == Py_None) return held;
    bool is_list = PyList_Check(held) && PyList_GET_SIZE(held) == MWPY_ITEMS; /* a slot may hold something else */
    if (!is_list || PyList_GET_ITEM(held, MWPY_TOKEN) == Py_None || PyList_GET_ITEM(held, MWPY_FETCHING) == Py_True)
        Py_SETREF(held, Py_NewRef(Py_None));
    else if (set_busy(held, Py_True))
        Py_CLEAR(held);
    return held;
}

static int publish(const mwpy_fetching *self, PyObject *held, PyObject *count, PyObject *exhausted) {
    PyObject *tracer = PyObject_GetAttr(self->driver, name_tracer);
    if (!tracer) return -1;
    PyObject *token = mwpy_token_in(held);
    PyObject *call[] = {tracer, token, count, exhausted};
    PyObject *done =
        tracer == Py_None ? Py_NewRef(Py_None) : PyObject_VectorcallMethod(name_rows_fetched, call, 3, only_exhausted);
    Py_DECREF(token);
    Py_DECREF(tracer);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static int publish_count(const mwpy_fetching *self, PyObject *held, Py_ssize_t n, bool exhausted) {
    PyObject *count = PyLong_FromSsize_t(n);
    int error = count ? publish(self, held, count, exhausted ? Py_True : Py_False) : -1;
    Py_XDECREF(count);
    return error;
}

/* The length; 1 for a class of the program's, whose len() isn't called. */
static Py_ssize_t length(PyObject *rows) {
    return PyList_CheckExact(rows) ? PyList_GET_SIZE(rows) : PyTuple_CheckExact(rows) ? PyTuple_GET_SIZE(rows) : 1;
}

static int as_told(const mwpy_fetching *self, PyObject *held, PyObject *result) {
    PyObject *told = PyObject_CallOneArg(self->count, result);
    if (told && (!PyTuple_Check(told) || PyTuple_GET_SIZE(told) != 2)) {
        PyErr_SetString(PyExc_TypeError, "what counts rows returns how many, and whether they were the last");
        Py_CLEAR(told);
    }
    int error = told ? publish(self, held, PyTuple_GET_ITEM(told, 0), PyTuple_GET_ITEM(told, 1)) : -1;
    Py_XDECREF(told);
    return error;
}

static int after(PyObject *trace, PyObject *cursor, PyObject *held, PyObject *result) {
    (void)cursor;
    const mwpy_fetching *self = (mwpy_fetching *)trace;
    if (held == Py_None) return 0;
    if (set_busy(held, Py_False)) return -1;
    switch (self->how) {
    case ONE: return publish_count(self, held, result != Py_None, result == Py_None);
    case SOME: return publish_count(self, held, length(result), !length(result));
    case REST: return publish_count(self, held, length(result), true);
    case TOLD: break;
    }
    return as_told(self, held, result);
}

static int each(PyObject *trace, PyObject *cursor, PyObject *held, PyObject *row) {
    (void)cursor, (void)row;
    if (held == Py_None) return 0;
    return set_busy(held, Py_False) ? -1 : publish_count((mwpy_fetching *)trace, held, 1, false);
}

static int failed(PyObject *trace, PyObject *cursor, PyObject *held, PyObject *error) {
    const mwpy_fetching *self = (mwpy_fetching *)trace;
    PyTypeObject *kind = Py_TYPE(error);
    if (held == Py_None) return 0;
    if (set_busy(held, Py_False)) return -1;
    if (PyType_IsSubtype(kind, (PyTypeObject *)PyExc_GeneratorExit)) return 0;
    if (PyType_IsSubtype(kind, (PyTypeObject *)PyExc_StopIteration) ||
        PyType_IsSubtype(kind, (PyTypeObject *)PyExc_StopAsyncIteration))
        return publish_count(self, held, 0, true);
    PyObject *token = mwpy_token_in(held);
    PyObject *call[] = {self->driver, cursor, token, error};
    PyObject *done = PyObject_VectorcallMethod(name_fetch_failed, call, 4, NULL);
    Py_DECREF(token);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

const mwpy_steps mwpy_fetching_steps = {before, after, each, failed};

/* ---- the type ---------------------------------------------------------------------------------------------------- */

static int intern(void) {
    if (only_exhausted) return 0;
    if (!(name_tracer = PyUnicode_InternFromString("tracer")) ||
        !(name_rows_fetched = PyUnicode_InternFromString("rows_fetched")) ||
        !(name_fetch_failed = PyUnicode_InternFromString("fetch_failed")))
        return -1;
    return (only_exhausted = Py_BuildValue("(N)", PyUnicode_InternFromString("exhausted"))) ? 0 : -1;
}

static PyObject *make(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    static char *known[] = {"driver", "tokens", "count", NULL};
    PyObject *driver, *tokens, *count;
    if (intern() ||
        !PyArg_ParseTupleAndKeywords(args, keywords, "OO!O", known, &driver, mwpy_tokens_type, &tokens, &count))
        return NULL;
    int how = 0;
    while (how < TOLD && !(PyUnicode_Check(count) && !PyUnicode_CompareWithASCIIString(count, countings[how]))) how++;
    if (how == TOLD && !PyCallable_Check(count))
        return PyErr_Format(PyExc_TypeError, "rows are counted as 'one', 'some', 'rest', or by a function, not %R",
                            count);
    mwpy_fetching *self = (mwpy_fetching *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->driver = Py_NewRef(driver);
    self->tokens = (mwpy_tokens *)Py_NewRef(tokens);
    self->count = Py_NewRef(count);
    self->how = (counting)how;
    return (PyObject *)self;
}

static int traverse(PyObject *object, visitproc visit, void *arg) {
    mwpy_fetching *self = (mwpy_fetching *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->driver);
    Py_VISIT((PyObject *)self->tokens);
    Py_VISIT(self->count);
    return 0;
}

static int clear(PyObject *object) {
    mwpy_fetching *self = (mwpy_fetching *)object;
    Py_CLEAR(self->driver);
    Py_CLEAR(self->tokens);
    Py_CLEAR(self->count);
    return 0;
}

static PyType_Slot slots[] = {
    {Py_tp_doc, "A trace around a cursor method that returns rows."},
    {Py_tp_new, make},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_dealloc, mwpy_plain_dealloc},
    {0, NULL},
};

PyType_Spec mwpy_fetching_spec = {"memwatch_core.native.tracing.Fetching", sizeof(mwpy_fetching), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, slots};
