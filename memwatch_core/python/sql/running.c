/* running.c - what is done around a cursor's method that runs a statement: the part of memwatch_plugins/sql/dbapi.py
 * that every statement goes through. In between the program waits for its server, which leaves the caches cold: there a
 * call of a Python function costs three times what it costs in a loop.
 *
 * Its methods raise what they meet; the shell around them (memwatch_plugins/sql/around.py) contains that. */
#include "sql/running.h"
#include "sql/tokens.h"
#include <stddef.h>
#include <structmember.h>

PyTypeObject *mwpy_running_type;

static struct {
    PyObject *tracer, *statement_begins, *statement_ends, *text, *identity, *connection_of, *after, *rolled_back;
} names;

typedef struct mwpy_running {
    PyObject_HEAD PyObject *driver;      /* a DbapiDriverBase */
    mwpy_tokens *tokens;                 /* of its cursors */
    PyObject *name, *dialect, *database; /* as statement_begins has them */
    PyObject *statement, *parameters;    /* keywords of the method */
    PyObject *connection; /* attribute of cursors, or its descriptor; NULL: the driver's hooks are asked */
    PyObject *many;       /* True or False */
    bool answers;         /* the driver has a hook that reads the server's answer */
} mwpy_running;

static PyObject *connection_of(const mwpy_running *self, PyObject *cursor) {
    if (self->connection) {
        descrgetfunc read = Py_TYPE(self->connection)->tp_descr_get;
        return read ? read(self->connection, cursor, (PyObject *)Py_TYPE(cursor))
                    : PyObject_GetAttr(cursor, self->connection);
    }
    PyObject *connection = PyObject_CallMethodOneArg(self->driver, names.connection_of, cursor);
    if (!connection) return NULL;
    PyObject *identity = PyObject_CallMethodOneArg(self->driver, names.identity, connection);
    Py_DECREF(connection);
    return identity;
}

/* An argument, by place or by name; a new reference. NULL without an exception: not given. */
static PyObject *argument(PyObject *args, PyObject *keywords, Py_ssize_t place, PyObject *name) {
    if (place < PyTuple_GET_SIZE(args)) return Py_NewRef(PyTuple_GET_ITEM(args, place));
    PyObject *key, *value; /* compared by what they are: a key of a class of the program's has an __eq__ */
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

/* before(cursor, args, kwargs) */
static PyObject *before(PyObject *object, PyObject *const *args, Py_ssize_t n) {
    mwpy_running *self = (mwpy_running *)object;
    if (n != 3 || !PyTuple_Check(args[1]) || !PyDict_Check(args[2]))
        return PyErr_Format(PyExc_TypeError, "before() takes a cursor, a tuple and a dict");
    PyObject *cursor = args[0];
    PyObject *statement = argument(args[1], args[2], 0, self->statement);
    if (!statement) Py_RETURN_NONE; /* the library will say what is missing */
    statement = text_of(self, cursor, statement);
    PyObject *parameters = statement ? argument(args[1], args[2], 1, self->parameters) : NULL;
    PyObject *connection = NULL, *held = NULL, *tracer = NULL, *token = NULL;
    if (!statement || PyErr_Occurred() || !(connection = connection_of(self, cursor)) ||
        !(held = mwpy_held(self->tokens, cursor, true)) || !(tracer = PyObject_GetAttr(self->driver, names.tracer)))
        goto out;
    PyObject *previous = mwpy_token_in(held);
    PyObject *call[] = {tracer,     self->name,     statement,     parameters ? parameters : Py_None,
                        connection, self->database, self->dialect, self->many,
                        previous};
    token = PyObject_VectorcallMethod(names.statement_begins, call, 9, NULL);
    Py_DECREF(previous);
    if (token && PyList_SetItem(held, 0, Py_NewRef(token))) Py_CLEAR(token);
out:
    Py_XDECREF(tracer);
    Py_XDECREF(held);
    Py_XDECREF(connection);
    Py_XDECREF(parameters);
    Py_XDECREF(statement);
    return token;
}

/* Asks the driver: (rows, in_transaction). */
static PyObject *ask_after(const mwpy_running *self, PyObject *cursor) {
    PyObject *told = PyObject_CallMethodOneArg(self->driver, names.after, cursor);
    if (told && (!PyTuple_Check(told) || PyTuple_GET_SIZE(told) != 2)) {
        PyErr_SetString(PyExc_TypeError, "after() returns how many rows, and whether a transaction is open");
        Py_CLEAR(told);
    }
    return told;
}

static PyObject *publish_end(const mwpy_running *self, PyObject *tracer, PyObject *cursor, PyObject *token) {
    PyObject *told = ask_after(self, cursor);
    if (!told) return NULL;
    PyObject *rows = PyTuple_GET_ITEM(told, 0), *in_transaction = PyTuple_GET_ITEM(told, 1);
    int back = 0;
    if (self->answers && in_transaction == Py_False) {
        PyObject *answer = PyObject_CallMethodOneArg(self->driver, names.rolled_back, cursor);
        back = answer ? PyObject_IsTrue(answer) : -1;
        Py_XDECREF(answer);
    }
    PyObject *call[] = {
        tracer, token, rows, Py_None, rows == Py_None ? Py_True : Py_False, in_transaction, back ? Py_True : Py_False};
    PyObject *result = back < 0 ? NULL : PyObject_VectorcallMethod(names.statement_ends, call, 7, NULL);
    Py_DECREF(told);
    return result;
}

/* after(cursor, token, result) */
static PyObject *after(PyObject *object, PyObject *const *args, Py_ssize_t n) {
    mwpy_running *self = (mwpy_running *)object;
    if (n != 3) return PyErr_Format(PyExc_TypeError, "after() takes a cursor, a token and a result");
    if (args[1] == Py_None) Py_RETURN_NONE;
    PyObject *tracer = PyObject_GetAttr(self->driver, names.tracer);
    if (!tracer || tracer == Py_None) return tracer;
    PyObject *result = publish_end(self, tracer, args[0], args[1]);
    Py_DECREF(tracer);
    return result;
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
               {&names.identity, "identity"},
               {&names.connection_of, "connection_of"},
               {&names.after, "after"},
               {&names.rolled_back, "rolled_back"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!*all[i].name && !(*all[i].name = PyUnicode_InternFromString(all[i].text))) return -1;
    return 0;
}

static PyObject *make(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    static char *known[] = {"driver",     "tokens",     "name", "dialect", "database", "statement",
                            "parameters", "connection", "many", "answers", NULL};
    PyObject *driver, *tokens, *name, *dialect, *database, *statement, *parameters, *connection;
    int many, answers;
    if (intern() ||
        !PyArg_ParseTupleAndKeywords(args, keywords, "$OO!UUOUUOpp", known, &driver, mwpy_tokens_type, &tokens, &name,
                                     &dialect, &database, &statement, &parameters, &connection, &many, &answers))
        return NULL;
    mwpy_running *self = (mwpy_running *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->driver = Py_NewRef(driver);
    self->tokens = (mwpy_tokens *)Py_NewRef(tokens);
    self->name = Py_NewRef(name);
    self->dialect = Py_NewRef(dialect);
    self->database = Py_NewRef(database);
    self->statement = Py_NewRef(statement);
    self->parameters = Py_NewRef(parameters);
    self->connection = connection == Py_None ? NULL : Py_NewRef(connection);
    self->many = many ? Py_True : Py_False;
    self->answers = answers;
    return (PyObject *)self;
}

static int traverse(PyObject *object, visitproc visit, void *arg) {
    mwpy_running *self = (mwpy_running *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->driver);
    Py_VISIT((PyObject *)self->tokens);
    Py_VISIT(self->database);
    return 0;
}

static int clear(PyObject *object) {
    mwpy_running *self = (mwpy_running *)object;
    Py_CLEAR(self->driver);
    Py_CLEAR(self->tokens);
    Py_CLEAR(self->database);
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
    Py_XDECREF(self->connection);
    type->tp_free(object);
    Py_DECREF(type);
}

#define FAST(name) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, NULL}
static PyMethodDef methods[] = {FAST(before), FAST(after), {NULL, NULL, 0, NULL}};

static PyType_Slot slots[] = {
    {Py_tp_doc, "What is done around a cursor's method that runs a statement."},
    {Py_tp_new, make},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_dealloc, dealloc},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec mwpy_running_spec = {"memwatch_core.native.tracing.Running", sizeof(mwpy_running), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, slots};
