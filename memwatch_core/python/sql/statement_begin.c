/* statement_begin.c - the beginning of a statement: looks up its head, writes its CONTEXT record, puts it in force.
 *
 * A statement that begins while another one runs in the same flow is part of it (an ORM and its driver), unless it is
 * known to run on another connection of the same driver. */
#include <string.h>

#include "breaks/breaks.h"
#include "sql/arguments.h"
#include "sql/connection.h"
#include "sql/parameters.h"
#include "sql/statement.h"
#include "sql/statement_begin.h"
#include "sql/shell.h"
#include "sql/text.h"
#include "sql/tracer.h"

enum { MOST_HEADS = 512, MOST_DRIVERS = 64, MOST_CHARACTERS = SQL_CHARACTERS_MAX + 1 };

static uint64_t last_id; /* per process: an id left over in a flow must never mean a context of a later session */

uint32_t mwpy_next_statement_id(void) { return (uint32_t)last_id + 1; }

static PyObject *quoted_thread(mwpy_tracer *self) {
    static PyObject *key;
    PyObject *of_thread = PyThreadState_GetDict();
    if (!key && !(key = PyUnicode_InternFromString("memwatch.thread"))) return NULL;
    if (!of_thread) {
        PyErr_SetString(PyExc_RuntimeError, "the thread has no state");
        return NULL;
    }
    PyObject *name = PyDict_GetItemWithError(of_thread, key);
    if (name || PyErr_Occurred()) return name;
    mwpy_hush();
    name = PyObject_CallMethod((PyObject *)self, "_thread", NULL);
    mwpy_unhush();
    if (name && (!PyBytes_Check(name) || PyDict_SetItem(of_thread, key, name))) Py_CLEAR(name);
    if (!name && !PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "_thread() returns bytes");
    Py_XDECREF(name); /* the dict holds it */
    return name;
}

/* Drivers share a dict of heads only if they read statements in the same way. */
static int choose_heads(mwpy_tracer *self, mwpy_connection *c, PyObject *driver, PyObject *dialect) {
    PyObject *key = PyTuple_Pack(2, driver, dialect), *heads = NULL;
    if (key && !(heads = Py_XNewRef(PyDict_GetItemWithError(self->heads, key))) && !PyErr_Occurred()) {
        if (PyDict_GET_SIZE(self->heads) >= MOST_DRIVERS) PyDict_Clear(self->heads);
        heads = PyDict_New();
        if (heads && PyDict_SetItem(self->heads, key, heads)) Py_CLEAR(heads);
    }
    Py_XDECREF(key);
    if (!heads) return -1;
    Py_XSETREF(c->heads, heads);
    Py_XSETREF(c->driver, Py_NewRef(driver));
    Py_XSETREF(c->dialect, Py_NewRef(dialect));
    return 0;
}

/* The part of a statement's record that is known before it runs, cached for the last few hundred statements. A new
 * reference. */
static PyObject *head_of(mwpy_tracer *self, mwpy_connection *c, PyObject *driver, PyObject *statement,
                         PyObject *dialect) {
    if ((c->driver != driver || c->dialect != dialect || !c->heads) && choose_heads(self, c, driver, dialect))
        return NULL;
    PyObject *heads = Py_NewRef(c->heads); /* called code may replace c->heads */
    PyObject *text;
    mwpy_hush();
    if (PyUnicode_Check(statement)) /* the plain str, without calling a subclass of the program's */
        text = PyUnicode_GET_LENGTH(statement) > MOST_CHARACTERS ? PyUnicode_Substring(statement, 0, MOST_CHARACTERS)
                                                                 : PyUnicode_FromObject(statement);
    else
        text = PyObject_CallMethod((PyObject *)self, "_text", "OO", statement, dialect);
    PyObject *head = text ? Py_XNewRef(PyDict_GetItemWithError(heads, text)) : NULL;
    if (head || !text || PyErr_Occurred()) goto finished;
    head = PyObject_CallMethod((PyObject *)self, "_head", "OOO", driver, text, dialect);
    if (!head) goto finished;
    if (!PyTuple_Check(head) || PyTuple_GET_SIZE(head) != 3 || !PyBytes_Check(PyTuple_GET_ITEM(head, 0)) ||
        !PyLong_Check(PyTuple_GET_ITEM(head, 1)) || !PyUnicode_Check(PyTuple_GET_ITEM(head, 2))) {
        PyErr_SetString(PyExc_TypeError, "_head() returns (bytes, int, str)");
        Py_CLEAR(head);
        goto finished;
    }
    if (PyDict_GET_SIZE(heads) >= MOST_HEADS) PyDict_Clear(heads);
    if (PyDict_SetItem(heads, text, head)) Py_CLEAR(head);
finished:
    mwpy_unhush();
    Py_DECREF(heads);
    Py_XDECREF(text);
    return head;
}

mwpy_connection *mwpy_connection_of(mwpy_tracer *self, PyObject *object) {
    mwpy_connection *c = mwpy_find_connection(self, object);
    return c || PyErr_Occurred() ? c : mwpy_connect(self, object);
}

static int describe(mwpy_tracer *self, mwpy_connection *c, PyObject *connection, PyObject *database) {
    mwpy_hush();
    PyObject *json = PyObject_CallMethod((PyObject *)self, "_connection", "OOI", connection ? connection : Py_None,
                                         database ? database : Py_None, c->number);
    mwpy_unhush();
    if (json && !PyBytes_Check(json)) {
        PyErr_SetString(PyExc_TypeError, "_connection() returns bytes");
        Py_CLEAR(json);
    }
    Py_XSETREF(c->json, json);
    return json ? 0 : -1;
}

static int put_parameters(mwpy_tracer *self, mwpy_text *t, PyObject *parameters, bool many) {
    if (!self->parameters || !mwpy_is_given(parameters)) return 0;
    if (Py_IS_TYPE(self->parameters, mwpy_hasher_type)) return mwpy_put_hashes(t, self->parameters, parameters, many);
    PyObject *kept = PyObject_CallFunctionObjArgs(self->parameters, parameters, many ? Py_True : Py_False, NULL);
    Py_ssize_t n;
    const char *utf8 = kept && PyUnicode_Check(kept) ? PyUnicode_AsUTF8AndSize(kept, &n) : NULL;
    if (utf8) mwpy_put(t, utf8, (size_t)n);
    if (!utf8 && !PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "what keeps parameters returns a str");
    Py_XDECREF(kept);
    return utf8 ? 0 : -1;
}

/* What a condition compares: the text in the head's JSON. */
static void tell_text(uint32_t id, PyObject *head) {
    static const char before[] = "\"statement\":\"", behind[] = "\",\"statement_hash\"";
    char text[1024];
    size_t n = 0;
    const char *at = strstr(PyBytes_AS_STRING(head), before);
    const char *end = at ? strstr(at, behind) : NULL;
    if (!end) return;
    for (at += sizeof before - 1; at < end && n < sizeof text; at++) {
        if (*at == '\\' && (at[1] == '"' || at[1] == '\\')) at++;
        text[n++] = *at;
    }
    mw_context_says(id, text, n);
}

static int record(mwpy_tracer *self, mwpy_connection *c, PyObject *head, uint32_t id, PyObject *parameters, bool many) {
    PyObject *thread = quoted_thread(self);
    if (!thread) return -1;
    mwpy_text t;
    mwpy_text_open(&t);
    mwpy_put_bytes(&t, PyTuple_GET_ITEM(head, 0));
    mwpy_put_bytes(&t, c->json);
    mwpy_put_bytes(&t, thread);
    MWPY_PUT(&t, ",\"id\":");
    mwpy_put_number(&t, id);
    MWPY_PUT(&t, ",\"started\":");
    mwpy_put_number(&t, mwpy_now());
    mwpy_hush();
    int error = put_parameters(self, &t, parameters, many);
    mwpy_unhush();
    MWPY_PUT(&t, "}");
    if (mwpy_statements_asked) tell_text(id, PyTuple_GET_ITEM(head, 0));
    if (!error) error = mwpy_write_record(self->context, mw_context_record, id, &t);
    mwpy_text_close(&t);
    return error;
}

static bool is_part(mwpy_tracer *self, mwpy_statement *outer, PyObject *driver, PyObject *connection) {
    mwpy_connection *c = outer->where;
    if (!mwpy_is_given(connection) || !c->number || !c->driver) return true;
    if (c->driver != driver) {
        int differs = PyUnicode_Check(driver) && PyUnicode_Check(c->driver) ? PyUnicode_Compare(c->driver, driver) : 1;
        if (differs) return true;
    }
    return mwpy_find_connection(self, connection) == c;
}

/* The cursor of this statement runs another one: no more rows will come from it. */
static int replaced(PyObject *token, mwpy_statement *current) {
    mwpy_statement *s = (mwpy_statement *)token;
    if (Py_IS_TYPE(token, mwpy_part_type))
        s = ((mwpy_part *)token)->whole;
    else if (!Py_IS_TYPE(token, mwpy_statement_type))
        return 0;
    if (s->running) return 0;
    s->fetchable = false;
    if (s == current || s->finished || mwpy_is_somewhere(s)) return 0;
    return mwpy_finish(s, "ended", NULL);
}

PyObject *mwpy_statement_begin(mwpy_tracer *self, mwpy_statement *current, PyObject *const *argument) {
    PyObject *driver = argument[0], *parameters = argument[2], *connection = argument[3], *previous = argument[7];
    mwpy_statement *outer = NULL;
    if (current && current->running && mwpy_is_here(current)) {
        if (is_part(self, current, driver, connection)) return mwpy_part_new(current);
        if (PyErr_Occurred()) return NULL;
        outer = current;
    }
    if (self->closed) Py_RETURN_NONE;
    static PyObject *unknown; /* dialect */
    if (!unknown && !(unknown = PyUnicode_InternFromString(""))) return NULL;
    int many = mwpy_truth(argument[6], 0);
    mwpy_connection *c = many < 0 ? NULL : mwpy_connection_of(self, connection);
    if (!c) return NULL;
    Py_INCREF((PyObject *)c); /* called code may drop the connection */
    PyObject *head = NULL;
    mwpy_statement *s = NULL;
    if (!c->json && describe(self, c, connection, argument[4])) goto finished;
    head = head_of(self, c, driver, argument[1], mwpy_is_given(argument[5]) ? argument[5] : unknown);
    if (!head) goto finished;
    if (last_id == UINT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "there are no more ids for statements");
        goto finished;
    }
    uint32_t id = (uint32_t)++last_id;
    if (record(self, c, head, id, parameters, many)) goto finished;
    s = mwpy_statement_new(self, id, head, c);
    if (!s) goto finished;
    s->outer = (mwpy_statement *)Py_XNewRef((PyObject *)outer);
    mwpy_statement *now = mwpy_in_force(); /* not `current`: a finalizer may have run another one meanwhile */
    if ((previous && replaced(previous, now)) || mwpy_enter_after(s, now)) Py_CLEAR(s);
    Py_XDECREF((PyObject *)now);
finished:
    Py_XDECREF(head);
    Py_DECREF((PyObject *)c);
    return (PyObject *)s;
}
