/* running.c - the trace around a cursor method that runs a statement: the part of memwatch_plugins/sql/dbapi.py that
 * every statement goes through. It is in C because the caches are cold: the program waits for its server in between,
 * and a Python call then costs three times as much as in a loop. */
#include "sql/running.h"
#include "sql/generator.h"
#include "sql/reader.h"
#include "sql/tokens.h"
#include <stddef.h>
#include <structmember.h>

PyTypeObject *mwpy_running_type;

static struct {
    PyObject *tracer, *statement_begins, *statement_ends, *text, *rolled_back, *failed;
} names;

typedef struct mwpy_running {
    PyObject_HEAD PyObject *driver;      /* a DbapiDriverBase */
    mwpy_tokens *tokens;                 /* of its cursors */
    PyObject *name, *dialect, *database; /* arguments of statement_begins */
    PyObject *statement, *parameters;    /* keywords of the method; NULL: call `tell` */
    PyObject *tell;                      /* (cursor, *args, **kwargs) -> (statement, perhaps parameters), or None */
    PyObject *connection;                /* function of a cursor: a Reader, or another callable; so are the next four */
    PyObject *identity;                  /* of a connection: the object that identifies it; NULL: itself */
    PyObject *after;                     /* of a cursor: (rows, in_transaction), or None; NULL: use the next three */
    PyObject *description, *rowcount;    /* of a cursor */
    PyObject *status;                    /* of a connection: whether a transaction is open */
    PyObject *many;                      /* True or False */
    bool answers;                        /* whether the driver has a hook that reads the server's answer */
} mwpy_running;

static PyObject *identity_of(const mwpy_running *self, PyObject *cursor) {
    PyObject *connection = mwpy_read(self->connection, cursor);
    if (!connection || !self->identity) return connection;
    PyObject *identity = PyObject_CallOneArg(self->identity, connection);
    Py_DECREF(connection);
    return identity;
}

/* An argument, by position or name; a new reference. NULL without an exception: not given. */
static PyObject *argument(PyObject *args, PyObject *keywords, Py_ssize_t place, PyObject *name) {
    if (place < PyTuple_GET_SIZE(args)) return Py_NewRef(PyTuple_GET_ITEM(args, place));
    PyObject *key, *value; /* by the str itself: a key of a class of the program's may have an __eq__ */
    for (Py_ssize_t at = 0; PyDict_Next(keywords, &at, &key, &value);)
        if (key == name || (PyUnicode_Check(key) && !PyUnicode_Compare(key, name))) return Py_NewRef(value);
    return NULL;
}

static PyObject *text_of(const mwpy_running *self, PyObject *cursor, PyObject *statement) {
    if (!statement || PyUnicode_CheckExact(statement)) return statement;
    PyObject *args[] = {self->driver, cursor, statement};
    PyObject *text = PyObject_VectorcallMethod(names.text, args, 3, NULL);
    Py_DECREF(statement);
    return text;
}

/* The statement that the method runs: new references, `parameters` may be NULL. 0; 1: the call lacks a statement, or
 * has wrong arguments, which the library will report; -1: an exception. */
static int told(const mwpy_running *self, PyObject *cursor, PyObject *args, PyObject *keywords, PyObject **statement,
                PyObject **parameters) {
    *parameters = NULL;
    if (!self->tell) {
        if (!(*statement = argument(args, keywords, 0, self->statement))) return 1;
        *parameters = argument(args, keywords, 1, self->parameters);
        return 0;
    }
    PyObject *both = mwpy_call_ours(self->tell, cursor, args, keywords);
    if (!both) return PyErr_Occurred() ? -1 : 1;
    Py_ssize_t n = PyTuple_Check(both) ? PyTuple_GET_SIZE(both) : 0;
    int none = both == Py_None;
    if (n == 1 || n == 2) {
        *statement = Py_NewRef(PyTuple_GET_ITEM(both, 0));
        if (n == 2) *parameters = Py_NewRef(PyTuple_GET_ITEM(both, 1));
    } else if (!none) {
        PyErr_SetString(PyExc_TypeError,
                        "what tells a statement returns (statement, parameters), (statement,) or None");
    }
    Py_DECREF(both);
    return n == 1 || n == 2 ? 0 : none ? 1 : -1;
}

/* Publishes the beginning. Consumes `statement`. Returns the token, a new reference. */
static PyObject *begin(const mwpy_running *self, PyObject *cursor, PyObject *statement, PyObject *parameters) {
    statement = text_of(self, cursor, statement);
    PyObject *connection = NULL, *held = NULL, *tracer = NULL, *token = NULL;
    if (!statement || !(connection = identity_of(self, cursor)) || !(held = mwpy_held(self->tokens, cursor, true)) ||
        !(tracer = PyObject_GetAttr(self->driver, names.tracer)))
        goto out;
    PyObject *previous = mwpy_token_in(held);
    PyObject *call[] = {tracer,     self->name,     statement,     parameters ? parameters : Py_None,
                        connection, self->database, self->dialect, self->many,
                        previous};
    token = tracer == Py_None ? Py_NewRef(Py_None) : PyObject_VectorcallMethod(names.statement_begins, call, 9, NULL);
    Py_DECREF(previous);
    if (token && PyList_SetItem(held, MWPY_TOKEN, Py_NewRef(token))) Py_CLEAR(token);
out:
    Py_XDECREF(tracer);
    Py_XDECREF(held);
    Py_XDECREF(connection);
    Py_XDECREF(statement);
    return token;
}

static PyObject *before(PyObject *trace, PyObject *cursor, PyObject *args, PyObject *keywords) {
    mwpy_running *self = (mwpy_running *)trace;
    PyObject *statement, *parameters;
    int missing = told(self, cursor, args, keywords, &statement, &parameters);
    if (missing) return missing < 0 ? NULL : Py_NewRef(Py_None);
    PyObject *token = begin(self, cursor, statement, parameters);
    Py_XDECREF(parameters);
    return token;
}

/* A new reference to (rows, in_transaction), or None: the statement hasn't run yet. */
static PyObject *asked(const mwpy_running *self, PyObject *cursor) {
    PyObject *both = PyObject_CallOneArg(self->after, cursor);
    if (both && both != Py_None && (!PyTuple_Check(both) || PyTuple_GET_SIZE(both) != 2)) {
        PyErr_SetString(PyExc_TypeError, "after() returns how many rows, and whether a transaction is open; or None");
        Py_CLEAR(both);
    }
    return both;
}

static PyObject *read_both(const mwpy_running *self, PyObject *cursor) {
    PyObject *rows = NULL, *open = NULL, *both = NULL, *description = mwpy_read(self->description, cursor);
    if (description) rows = description == Py_None ? mwpy_read(self->rowcount, cursor) : Py_NewRef(Py_None);
    Py_XDECREF(description);
    PyObject *connection = rows ? mwpy_read(self->connection, cursor) : NULL;
    if (connection)
        open = Py_IS_TYPE(self->status, mwpy_status_type) ? mwpy_status_of(self->status, connection)
                                                          : PyObject_CallOneArg(self->status, connection);
    Py_XDECREF(connection);
    if (open) both = PyTuple_Pack(2, rows, open);
    Py_XDECREF(rows);
    Py_XDECREF(open);
    return both;
}

static int publish_end(const mwpy_running *self, PyObject *tracer, PyObject *cursor, PyObject *token) {
    PyObject *both = self->after ? asked(self, cursor) : read_both(self, cursor);
    if (!both || both == Py_None) {
        Py_XDECREF(both);
        return both ? 0 : -1;
    }
    PyObject *rows = PyTuple_GET_ITEM(both, 0), *in_transaction = PyTuple_GET_ITEM(both, 1);
    int back = 0;
    if (self->answers && in_transaction == Py_False) {
        PyObject *answer = PyObject_CallMethodOneArg(self->driver, names.rolled_back, cursor);
        back = answer ? PyObject_IsTrue(answer) : -1;
        Py_XDECREF(answer);
    }
    PyObject *call[] = {
        tracer, token, rows, Py_None, rows == Py_None ? Py_True : Py_False, in_transaction, back ? Py_True : Py_False};
    PyObject *result = back < 0 ? NULL : PyObject_VectorcallMethod(names.statement_ends, call, 7, NULL);
    Py_DECREF(both);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

static int after(PyObject *trace, PyObject *cursor, PyObject *token, PyObject *result) {
    (void)result;
    mwpy_running *self = (mwpy_running *)trace;
    if (token == Py_None) return 0;
    PyObject *tracer = PyObject_GetAttr(self->driver, names.tracer);
    if (!tracer) return -1;
    int error = tracer == Py_None ? 0 : publish_end(self, tracer, cursor, token);
    Py_DECREF(tracer);
    return error;
}

static int failed(PyObject *trace, PyObject *cursor, PyObject *token, PyObject *error) {
    PyObject *call[] = {((mwpy_running *)trace)->driver, cursor, token, error};
    PyObject *done = PyObject_VectorcallMethod(names.failed, call, 4, NULL);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

const mwpy_steps mwpy_running_steps = {before, after, NULL, failed};

/* ---- statements run by other means ------------------------------------------------------------------------------- */

static PyObject *begins(PyObject *object, PyObject *const *args, Py_ssize_t n) {
    if (n != 2 && n != 3) return PyErr_Format(PyExc_TypeError, "begins() takes a cursor, a statement and parameters");
    return begin((mwpy_running *)object, args[0], Py_NewRef(args[1]), n == 3 ? args[2] : NULL);
}

static PyObject *ends(PyObject *object, PyObject *const *args, Py_ssize_t n) {
    if (n != 2) return PyErr_Format(PyExc_TypeError, "ends() takes a cursor and a token");
    if (after(object, args[0], args[1], NULL)) return NULL;
    Py_RETURN_NONE;
}

/* ---- the type ---------------------------------------------------------------------------------------------------- */

static int intern(void) {
    const struct {
        PyObject **name;
        const char *text;
    } all[] = {{&names.tracer, "tracer"},
               {&names.statement_begins, "statement_begins"},
               {&names.statement_ends, "statement_ends"},
               {&names.text, "text"},
               {&names.rolled_back, "rolled_back"},
               {&names.failed, "failed"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!*all[i].name && !(*all[i].name = PyUnicode_InternFromString(all[i].text))) return -1;
    return 0;
}

static PyObject *given(PyObject *argument) { return argument == Py_None ? NULL : Py_NewRef(argument); }

static PyObject *make(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    static char *known[] = {"driver",    "tokens",     "name",     "dialect", "database",
                            "arguments", "connection", "identity", "after",   "description",
                            "rowcount",  "status",     "many",     "answers", NULL};
    PyObject *driver, *tokens, *name, *dialect, *database, *arguments, *connection, *identity, *after_hook,
        *description, *rowcount, *status, *statement = NULL, *parameters = NULL;
    int many, answers;
    if (intern() ||
        !PyArg_ParseTupleAndKeywords(args, keywords, "$OO!UUOOOOOOOOpp", known, &driver, mwpy_tokens_type, &tokens,
                                     &name, &dialect, &database, &arguments, &connection, &identity, &after_hook,
                                     &description, &rowcount, &status, &many, &answers))
        return NULL;
    if (PyTuple_Check(arguments) && !PyArg_ParseTuple(arguments, "UU", &statement, &parameters)) return NULL;
    mwpy_running *self = (mwpy_running *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->driver = Py_NewRef(driver);
    self->tokens = (mwpy_tokens *)Py_NewRef(tokens);
    self->name = Py_NewRef(name);
    self->dialect = Py_NewRef(dialect);
    self->database = Py_NewRef(database);
    self->statement = Py_XNewRef(statement);
    self->parameters = Py_XNewRef(parameters);
    self->tell = statement ? NULL : Py_NewRef(arguments);
    self->connection = Py_NewRef(connection);
    self->identity = given(identity);
    self->after = given(after_hook);
    self->description = Py_NewRef(description);
    self->rowcount = Py_NewRef(rowcount);
    self->status = Py_NewRef(status);
    self->many = many ? Py_True : Py_False;
    self->answers = answers;
    return (PyObject *)self;
}

#define HELD(do)                                                                                                       \
    do (self->driver);                                                                                                 \
    do ((self->tokens));                                                                                               \
    do (self->database);                                                                                               \
    do (self->tell);                                                                                                   \
    do (self->connection);                                                                                             \
    do (self->identity);                                                                                               \
    do (self->after);                                                                                                  \
    do (self->description);                                                                                            \
    do (self->rowcount);                                                                                               \
    do (self->status)

static int traverse(PyObject *object, visitproc visit, void *arg) {
    mwpy_running *self = (mwpy_running *)object;
    Py_VISIT(Py_TYPE(object));
    HELD(Py_VISIT);
    return 0;
}

static int clear(PyObject *object) {
    mwpy_running *self = (mwpy_running *)object;
    HELD(Py_CLEAR);
    return 0;
}

static void dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    mwpy_running *self = (mwpy_running *)object;
    PyObject_GC_UnTrack(object);
    clear(object);
    Py_XDECREF(self->name);
    Py_XDECREF(self->dialect);
    Py_XDECREF(self->statement);
    Py_XDECREF(self->parameters);
    type->tp_free(object);
    Py_DECREF(type);
}

#define FAST(name) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, NULL}
static PyMethodDef methods[] = {FAST(begins), FAST(ends), {NULL, NULL, 0, NULL}};

static PyType_Slot slots[] = {
    {Py_tp_doc, "A trace around a cursor method that runs a statement."},
    {Py_tp_new, make},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_dealloc, dealloc},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec mwpy_running_spec = {"memwatch_core.native.tracing.Running", sizeof(mwpy_running), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, slots};
