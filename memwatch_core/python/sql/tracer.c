/* tracer.c - the type that drivers publish to: memwatch_core.records.SqlTracer documents its methods.
 * adapter/contexts.py derives from it, and does the work of each new statement, connection or thread. */
#include "origins/context.h"
#include "sql/arguments.h"
#include "sql/connection.h"
#include "sql/running.h"
#include "sql/flow.h"
#include "sql/introspection.h"
#include "sql/parameters.h"
#include "sql/shell.h"
#include "sql/statement.h"
#include "sql/statement_begin.h"
#include "sql/statement_read.h"
#include "sql/swallowed_errors.h"
#include "sql/tokens.h"
#include "sql/tracer.h"
#include "sql/fetching.h"
#include "sql/reader.h"
#include "sql/statement_end.h"
#include <stddef.h>
#include <structmember.h>

PyTypeObject *mwpy_tracer_type;

/* ---- errors ------------------------------------------------------------------------------------------------------ */

/* Reports the first error. 0, or -1 with an exception that isn't ours. */
static int report(mwpy_tracer *self) {
    PyObject *error = self->unreported;
    if (!error) return 0;
    self->unreported = NULL;
    mwpy_hush();
    PyObject *result = PyObject_CallMethod((PyObject *)self, "_report", "O", error);
    mwpy_unhush();
    Py_DECREF(error);
    Py_XDECREF(result);
    if (!result && mwpy_is_ours()) PyErr_Clear(); /* from a logging handler of the program's */
    return PyErr_Occurred() ? -1 : 0;
}

/* Swallows the exception, unless it isn't ours (raised by a signal handler meanwhile). Returns the method's result. */
static PyObject *swallow(mwpy_tracer *self) {
    if (!mwpy_is_ours()) return NULL;
    mwpy_swallow_error(self);
    if (report(self)) return NULL;
    Py_RETURN_NONE;
}

static PyObject *done(mwpy_tracer *self, int error) {
    if (error) return swallow(self);
    if (self->unreported && report(self)) return NULL;
    Py_RETURN_NONE;
}

/* ---- a statement begins, ends, its rows are fetched, its cursor is closed ---------------------------------------- */

static mwpy_signature begins = {
    "statement_begins",
    2,
    {"driver", "statement", "parameters", "connection", "database", "dialect", "many", "previous", NULL},
    {NULL}};

static PyObject *statement_begins(PyObject *object, PyObject *const *args, Py_ssize_t n, PyObject *keywords) {
    mwpy_tracer *self = (mwpy_tracer *)object;
    PyObject *argument[MWPY_ARGUMENTS], *result = NULL;
    mwpy_statement *current = mwpy_in_force();
    if ((current || !PyErr_Occurred()) && !mwpy_bind(&begins, args, n, keywords, argument))
        result = mwpy_statement_begin(self, current, argument);
    Py_XDECREF((PyObject *)current);
    if (result) return result;
    PyObject *kind, *error, *traceback;
    PyErr_Fetch(&kind, &error, &traceback);
    if (mwpy_clear_flow()) PyErr_Clear(); /* better no statement than the previous one */
    PyErr_Restore(kind, error, traceback);
    return swallow(self);
}

static mwpy_signature ends = {
    "statement_ends", 1, {"token", "rows", "error", "fetchable", "in_transaction", "rolled_back", NULL}, {NULL}};

static PyObject *statement_ends(PyObject *object, PyObject *const *args, Py_ssize_t n, PyObject *keywords) {
    mwpy_tracer *self = (mwpy_tracer *)object;
    PyObject *argument[MWPY_ARGUMENTS];
    if (mwpy_bind(&ends, args, n, keywords, argument)) return swallow(self);
    PyObject *token = argument[0], *error = mwpy_is_given(argument[2]) ? argument[2] : NULL;
    int64_t rows = mwpy_row_count(argument[1]);
    int fetchable = mwpy_truth(argument[3], 1), known = mwpy_truth(argument[4], -1),
        rolled_back = mwpy_truth(argument[5], 0);
    if (fetchable == -2 || known == -2 || rolled_back == -2) return swallow(self);
    if (Py_IS_TYPE(token, mwpy_statement_type))
        return done(self, mwpy_statement_end((mwpy_statement *)token, rows, error, fetchable, known, rolled_back));
    if (token == Py_None && error && !PyObject_TypeCheck(error, (PyTypeObject *)PyExc_Exception))
        return done(self, mwpy_statement_interrupted(error));
    if (Py_IS_TYPE(token, mwpy_part_type)) {
        mwpy_statement *whole = ((mwpy_part *)token)->whole;
        whole->in_transaction = (int8_t)known;
        whole->rolled_back = rolled_back;
        if (rows >= 0) whole->changed = rows;
        if (!whole->running && whole->where->text == whole)
            return done(self, mwpy_statement_end(whole, rows, error, fetchable, known, rolled_back));
    }
    Py_RETURN_NONE;
}

static int fetch(mwpy_tracer *self, mwpy_statement *s, int64_t count, bool exhausted) {
    if (self->window == MWPY_STATEMENT) return 0;
    mwpy_statement *current = mwpy_in_force();
    if (!current && PyErr_Occurred()) return -1;
    int error = 0;
    if (count > 0) {
        s->fetched = s->fetched < 0 ? count : s->fetched + count;
        if (current != s && !self->closed) error = mwpy_again(s, current);
    }
    Py_XDECREF((PyObject *)current);
    if (error || !exhausted || s->running) return error;
    s->fetchable = false;
    if (s->finished) return 0;
    current = mwpy_in_force();
    bool here = current == s;
    Py_XDECREF((PyObject *)current);
    if (self->window != MWPY_FETCH && (here || mwpy_is_somewhere(s))) return 0;
    if (mwpy_finish(s, "ended", NULL)) return -1;
    return here ? mwpy_leave(s) : 0;
}

static mwpy_signature fetched = {"rows_fetched", 2, {"token", "count", "exhausted", NULL}, {NULL}};

static PyObject *rows_fetched(PyObject *object, PyObject *const *args, Py_ssize_t n, PyObject *keywords) {
    mwpy_tracer *self = (mwpy_tracer *)object;
    PyObject *argument[MWPY_ARGUMENTS];
    if (mwpy_bind(&fetched, args, n, keywords, argument)) return swallow(self);
    mwpy_statement *s = (mwpy_statement *)argument[0];
    if (!Py_IS_TYPE(argument[0], mwpy_statement_type)) {
        if (!Py_IS_TYPE(argument[0], mwpy_part_type)) Py_RETURN_NONE;
        s = ((mwpy_part *)argument[0])->whole;
    }
    int exhausted = mwpy_truth(argument[2], 0);
    return done(self, exhausted == -2 ? -1 : fetch(self, s, mwpy_row_count(argument[1]), exhausted));
}

static mwpy_signature closes = {"cursor_closed", 1, {"token", "all_fetched", NULL}, {NULL}};

/* ORMs fetch all rows, close the cursor at once, and use the rows afterwards: then the statement stays in force. */
static PyObject *cursor_closed(PyObject *object, PyObject *const *args, Py_ssize_t n, PyObject *keywords) {
    mwpy_tracer *self = (mwpy_tracer *)object;
    PyObject *argument[MWPY_ARGUMENTS];
    if (mwpy_bind(&closes, args, n, keywords, argument)) return swallow(self);
    mwpy_statement *s = (mwpy_statement *)argument[0];
    if (!Py_IS_TYPE(argument[0], mwpy_statement_type)) Py_RETURN_NONE; /* a part of a statement, which goes on */
    int all = mwpy_truth(argument[1], 0);
    if (all == -2) return swallow(self);
    all |= !s->fetchable;
    s->fetchable = false;
    if (s->finished || s->running) Py_RETURN_NONE;
    bool is_open = s->transaction && s->transaction == s->where->transaction;
    if ((self->window == MWPY_TRANSACTION && is_open) ||
        (self->window >= MWPY_UNTIL_NEXT && all && mwpy_is_somewhere(s)))
        Py_RETURN_NONE;
    return done(self, mwpy_finish(s, "closed", NULL) || mwpy_leave(s));
}

/* ---- transactions ------------------------------------------------------------------------------------------------ */

static bool is_text(PyObject *object, const char *text) {
    return PyUnicode_Check(object) && !PyUnicode_CompareWithASCIIString(object, text);
}

static mwpy_signature transaction = {"transaction_ends", 2, {"connection", "outcome", NULL}, {NULL}};

static PyObject *transaction_ends(PyObject *object, PyObject *const *args, Py_ssize_t n, PyObject *keywords) {
    mwpy_tracer *self = (mwpy_tracer *)object;
    PyObject *argument[MWPY_ARGUMENTS];
    if (mwpy_bind(&transaction, args, n, keywords, argument)) return swallow(self);
    mwpy_connection *c = mwpy_is_given(argument[0]) ? mwpy_find_connection(self, argument[0]) : NULL;
    if (!c) return done(self, PyErr_Occurred() ? -1 : 0);
    bool closed = is_text(argument[1], "closed"), committed = is_text(argument[1], "committed");
    if (!closed && !committed && !is_text(argument[1], "rolled back")) {
        PyErr_SetString(PyExc_ValueError, "a transaction ends 'committed', 'rolled back' or 'closed'");
        return swallow(self);
    }
    Py_INCREF((PyObject *)c);
    int error = mwpy_settle_text(c, committed ? MWPY_COMMITS : MWPY_UNREAD, -1);
    if (!error) error = mwpy_over(c, committed ? MWPY_COMMITTED : MWPY_ROLLED_BACK, closed, NULL);
    Py_DECREF((PyObject *)c);
    return done(self, error);
}

static int savepoint_is(mwpy_tracer *self, PyObject *connection, PyObject *name, PyObject *what) {
    mwpy_connection *c = mwpy_connection_of(self, connection);
    if (!c) return -1;
    Py_INCREF((PyObject *)c); /* called code may drop the connection */
    int error = -1;
    mwpy_hush();
    PyObject *folded =
        PyObject_CallMethod((PyObject *)self, "_savepoint", "OO", name, c->dialect ? c->dialect : Py_None);
    mwpy_unhush();
    if (folded && !PyUnicode_Check(folded)) {
        PyErr_SetString(PyExc_TypeError, "a savepoint's name is a str");
        Py_CLEAR(folded);
    }
    if (!folded) goto finished;
    uint32_t next = mwpy_next_statement_id();
    if (mwpy_settle_text(c, MWPY_READ, -1))
        error = -1;
    else if (is_text(what, "set"))
        error = mwpy_set_savepoint(c, folded, next, false);
    else if (is_text(what, "released"))
        error = mwpy_release_savepoint(c, folded) < 0 ? -1 : 0;
    else if (is_text(what, "rolled back"))
        error = mwpy_roll_back_to(c, folded, next, NULL);
    else
        PyErr_SetString(PyExc_ValueError, "a savepoint is 'set', 'released' or 'rolled back'");
finished:
    Py_DECREF((PyObject *)c);
    Py_XDECREF(folded);
    return error;
}

static mwpy_signature savepoint_signature = {"savepoint", 3, {"connection", "name", "what", NULL}, {NULL}};

static PyObject *savepoint(PyObject *object, PyObject *const *args, Py_ssize_t n, PyObject *keywords) {
    mwpy_tracer *self = (mwpy_tracer *)object;
    PyObject *argument[MWPY_ARGUMENTS];
    if (mwpy_bind(&savepoint_signature, args, n, keywords, argument)) return swallow(self);
    if (self->closed || !mwpy_is_given(argument[0])) Py_RETURN_NONE;
    return done(self, savepoint_is(self, argument[0], argument[1], argument[2]));
}

/* ---- session ----------------------------------------------------------------------------------------------------- */

static int finish_all(mwpy_connection *c) {
    PyObject *list = mwpy_unfinished(c);
    int error = list ? 0 : -1;
    for (Py_ssize_t i = 0; !error && i < PyList_GET_SIZE(list); i++)
        error = mwpy_finish((mwpy_statement *)PyList_GET_ITEM(list, i), "ended", NULL);
    Py_XDECREF(list);
    return error;
}

static PyObject *tracer_close(PyObject *object, PyObject *unused) {
    (void)unused;
    mwpy_tracer *self = (mwpy_tracer *)object;
    self->closed = true;
    PyObject *all = PyDict_Values(self->connections);
    int error = all ? finish_all(self->nowhere) : -1;
    for (Py_ssize_t i = 0; !error && i < PyList_GET_SIZE(all); i++)
        error = finish_all((mwpy_connection *)PyList_GET_ITEM(all, i));
    for (Py_ssize_t i = 0; all && i < PyList_GET_SIZE(all); i++)
        mwpy_disconnect((mwpy_connection *)PyList_GET_ITEM(all, i));
    PyDict_Clear(self->connections);
    Py_XDECREF(all);
    if (error) return swallow(self);
    return done(self, mwpy_clear_flow());
}

/* ---- the type ---------------------------------------------------------------------------------------------------- */

static int traverse(PyObject *object, visitproc visit, void *arg) {
    mwpy_tracer *self = (mwpy_tracer *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->parameters);
    Py_VISIT(self->unreported);
    Py_VISIT(self->context);
    Py_VISIT(self->outcome);
    Py_VISIT(self->heads);
    Py_VISIT(self->connections);
    return 0;
}

static int clear(PyObject *object) {
    mwpy_tracer *self = (mwpy_tracer *)object;
    self->closed = true;
    PyObject *address, *c;
    for (Py_ssize_t at = 0; self->connections && PyDict_Next(self->connections, &at, &address, &c);)
        mwpy_disconnect((mwpy_connection *)c);
    if (self->nowhere) mwpy_disconnect(self->nowhere);
    Py_CLEAR(self->parameters);
    Py_CLEAR(self->unreported);
    Py_CLEAR(self->context);
    Py_CLEAR(self->outcome);
    Py_CLEAR(self->heads);
    Py_CLEAR(self->connections);
    Py_CLEAR(self->latest);
    return 0;
}

static void dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    clear(object);
    Py_CLEAR(((mwpy_tracer *)object)->nowhere);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyObject *make(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    (void)args, (void)keywords; /* for __init__ */
    mwpy_tracer *self = (mwpy_tracer *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->closed = true;
    self->heads = PyDict_New();
    self->connections = PyDict_New();
    self->nowhere = mwpy_connection_new(self, 0);
    if (!self->heads || !self->connections || !self->nowhere) Py_CLEAR(self);
    return (PyObject *)self;
}

static PyObject *callable_or_null(PyObject *object) { return object == Py_None ? NULL : Py_NewRef(object); }

static int init(PyObject *object, PyObject *args, PyObject *keywords) {
    mwpy_tracer *self = (mwpy_tracer *)object;
    PyObject *parameters, *context, *outcome;
    int window;
    if (keywords || !PyArg_ParseTuple(args, "iOOO", &window, &parameters, &context, &outcome)) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "Tracer.__init__() takes no keywords");
        return -1;
    }
    if (window < MWPY_STATEMENT || window > MWPY_TRANSACTION) {
        PyErr_Format(PyExc_ValueError, "there is no window %d", window);
        return -1;
    }
    Py_XSETREF(self->parameters, callable_or_null(parameters));
    Py_XSETREF(self->context, callable_or_null(context));
    Py_XSETREF(self->outcome, callable_or_null(outcome));
    self->window = (mwpy_window)window;
    self->closed = false;
    return 0;
}

static PyObject *get_variable(PyObject *object, void *unused) {
    (void)object, (void)unused;
    return Py_NewRef(mwpy_flow);
}

#define FAST(name) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL | METH_KEYWORDS, NULL}
static PyMethodDef methods[] = {
    FAST(statement_begins),
    FAST(statement_ends),
    FAST(rows_fetched),
    FAST(cursor_closed),
    FAST(transaction_ends),
    FAST(savepoint),
    {"close", tracer_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"troubles", T_PYSSIZET, offsetof(mwpy_tracer, troubles), 0, "Errors that were swallowed."},
    {"unfinished", T_PYSSIZET, offsetof(mwpy_tracer, unfinished), READONLY, "Statements without an OUTCOME record."},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef attributes[] = {
    {"variable", get_variable, NULL, "The ContextVar that tells which statement is in force.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "Base of the tracer that drivers publish to; see memwatch_core/adapter/contexts.py."},
    {Py_tp_new, make},
    {Py_tp_init, init},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_dealloc, dealloc},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, attributes},
    {0, NULL},
};

PyType_Spec mwpy_tracer_spec = {"memwatch_core.native.tracing.Tracer", sizeof(mwpy_tracer), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

/* ---- installation ------------------------------------------------------------------------------------------------ */

static PyObject *in_force(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    mwpy_statement *s = mwpy_in_force();
    if (!s && PyErr_Occurred()) return NULL;
    uint32_t id = s && !s->finished ? s->id : 0;
    Py_XDECREF((PyObject *)s);
    return PyLong_FromUnsignedLong(id);
}

static PyMethodDef functions[] = {
    {"in_force", in_force, METH_NOARGS, "in_force()\n--\n\nId of the statement in force here and now; 0: none."},
    {"clock_types", mwpy_clock_types, METH_NOARGS, "clock_types()\n--\n\nThe interpreter's own types of datetime."},
    {"ends_of", mwpy_ends_of, METH_VARARGS, "ends_of(buffer, most)\n--\n\nThe ends of a buffer, and its length."},
    {"read_statement", (PyCFunction)(void (*)(void))mwpy_statement_read, METH_FASTCALL,
     "read_statement(statement, dialect)\n--\n\nIts text, action and savepoint."},
    {"peek", (PyCFunction)(void (*)(void))mwpy_peek, METH_FASTCALL, "peek(object, name)\n--\n\n"},
    {"disguise", (PyCFunction)(void (*)(void))mwpy_disguise, METH_FASTCALL, "disguise(kind, base)\n--\n\n"},
    {"slot", mwpy_slot, METH_O, "slot(object)\n--\n\nWhat is in its slot; None: nothing, or no slot."},
    {"set_slot", (PyCFunction)(void (*)(void))mwpy_set_slot, METH_FASTCALL, "set_slot(object, value)\n--\n\n"},
    {"raise_unless_ours", mwpy_raise_unless_ours, METH_O,
     "raise_unless_ours(error)\n--\n\nRaises it if it isn't ours to swallow."},
    {NULL, NULL, 0, NULL},
};

static int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **type) {
    *type = (PyTypeObject *)PyType_FromSpec(spec);
    return *type ? PyModule_AddType(module, *type) : -1;
}

static int fill(PyObject *module) {
    if (mwpy_make_flow() || mwpy_intern_slot() || mwpy_intern_names(&begins) || mwpy_intern_names(&ends) ||
        mwpy_intern_names(&fetched) || mwpy_intern_names(&transaction) || mwpy_intern_names(&savepoint_signature) ||
        mwpy_intern_names(&closes) || add_type(module, &mwpy_hasher_spec, &mwpy_hasher_type) ||
        add_type(module, &mwpy_part_spec, &mwpy_part_type) ||
        add_type(module, &mwpy_connection_spec, &mwpy_connection_type) ||
        add_type(module, &mwpy_statement_spec, &mwpy_statement_type) ||
        add_type(module, &mwpy_tracer_spec, &mwpy_tracer_type) ||
        add_type(module, &mwpy_tokens_spec, &mwpy_tokens_type) ||
        add_type(module, &mwpy_running_spec, &mwpy_running_type) ||
        add_type(module, &mwpy_fetching_spec, &mwpy_fetching_type) ||
        add_type(module, &mwpy_reader_spec, &mwpy_reader_type) ||
        add_type(module, &mwpy_status_spec, &mwpy_status_type) || add_type(module, &mwpy_shell_spec, &mwpy_shell_type))
        return -1;
    mwpy_statement_id = mwpy_id_of;
    return PyModule_AddFunctions(module, functions);
}

int mwpy_install_tracer(const char *name) {
    PyGILState_STATE state = PyGILState_Ensure(); /* cffi has released the GIL */
    PyObject *module = PyImport_ImportModule(name);
    int result = module && !mwpy_tracer_type ? fill(module) : -1;
    if (PyErr_Occurred()) PyErr_Print();
    Py_XDECREF(module);
    PyGILState_Release(state);
    return result;
}
