/* statement.c - the life of a statement: in force, out of force, its OUTCOME record.
 *
 * A statement comes into force when it begins, and again whenever its rows are fetched: a write after a fetch is
 * attributed to the statement whose rows were fetched, even with nested cursors. It goes out of force with the next
 * statement or fetch in its flow, with commit or rollback of its connection, when its cursor or connection is closed,
 * when it fails, or earlier, depending on the window.
 *
 * A task started while a statement is in force inherits it, like every context variable, and so does asyncio.to_thread;
 * a plain threading.Thread doesn't. The inherited statement ends with the original: a finished statement counts as none
 * (origins/context.c), and the OUTCOME record tells the reader. */
#include "errors.h"
#include "sql/connection.h"
#include "sql/flow.h"
#include "sql/statement.h"
#include "sql/swallowed_errors.h"
#include "sql/text.h"
#include "sql/tracer.h"
#include <stddef.h>
#include <time.h>

PyTypeObject *mwpy_statement_type, *mwpy_part_type;

uint64_t mwpy_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Called on the fault path: takes no reference. */
bool mwpy_id_of(PyObject *value, uint32_t *id) {
    if (!Py_IS_TYPE(value, mwpy_statement_type)) return false;
    const mwpy_statement *s = (mwpy_statement *)value;
    *id = s->finished ? 0 : s->id;
    return true;
}

/* ---- without an OUTCOME record ----------------------------------------------------------------------------------- */

void mwpy_link(mwpy_statement *s) {
    mwpy_connection *c = s->where;
    s->previous = c->last;
    s->next = NULL;
    *(c->last ? &c->last->next : &c->first) = s;
    c->last = s;
    s->tracer->unfinished++;
}

void mwpy_unlink(mwpy_statement *s) {
    mwpy_connection *c = s->where;
    *(s->previous ? &s->previous->next : &c->first) = s->next;
    *(s->next ? &s->next->previous : &c->last) = s->previous;
    s->previous = s->next = NULL;
    s->tracer->unfinished--;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

mwpy_statement *mwpy_statement_new(mwpy_tracer *tracer, uint32_t id, PyObject *head, mwpy_connection *where) {
    mwpy_statement *s = PyObject_New(mwpy_statement, mwpy_statement_type);
    if (!s) return NULL;
    memset((char *)s + sizeof(PyObject), 0, sizeof *s - sizeof(PyObject));
    s->tracer = (mwpy_tracer *)Py_NewRef((PyObject *)tracer);
    s->where = (mwpy_connection *)Py_NewRef((PyObject *)where);
    s->head = Py_NewRef(head);
    s->fetched = s->changed = -1;
    s->id = id;
    s->in_transaction = s->first_known = -1;
    s->running = true;
    mwpy_link(s);
    return s;
}

/* No flow can put the statement into force any more. Runs at any place, in any thread, even with an exception set. */
static void dealloc(PyObject *object) {
    mwpy_statement *s = (mwpy_statement *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (!s->finished && !s->tracer->closed) {
        PyObject *kind, *value, *traceback;
        PyErr_Fetch(&kind, &value, &traceback);
        if (mwpy_finish(s, "ended", NULL)) mwpy_swallow_error(s->tracer);
        PyErr_Restore(kind, value, traceback);
    } else if (!s->finished) {
        mwpy_unlink(s);
    }
    Py_XDECREF((PyObject *)s->outer);
    Py_XDECREF(s->place);
    Py_DECREF(s->head);
    Py_DECREF((PyObject *)s->where);
    Py_DECREF((PyObject *)s->tracer);
    PyObject_Free(s);
    Py_DECREF(type);
}

/* ---- in force ---------------------------------------------------------------------------------------------------- */

mwpy_statement *mwpy_in_force(void) {
    PyObject *value = mwpy_flow_value();
    return value && Py_IS_TYPE(value, mwpy_statement_type) ? (mwpy_statement *)Py_NewRef(value) : NULL;
}

/* The object of a weak reference; None if it is gone. Only to be compared. */
static inline PyObject *referent(PyObject *ref) { return ((PyWeakReference *)ref)->wr_object; }

static inline PyObject *context_here(void) { return mwpy_current_thread()->context; }

bool mwpy_is_here(const mwpy_statement *s) { return s->place && referent(s->place) == context_here(); }
bool mwpy_is_somewhere(const mwpy_statement *s) { return s->place && referent(s->place) != Py_None; }

int mwpy_enter(mwpy_statement *s) {
    if (mwpy_set_flow((PyObject *)s)) return -1; /* creates the context if there is none */
    if (mwpy_is_here(s)) return 0;
    PyObject *place = PyWeakref_NewRef(context_here(), NULL); /* may collect garbage: another statement may be in force
                                                               * now */
    Py_XSETREF(s->place, place);
    return !place ? -1 : mwpy_flow_value() == (PyObject *)s ? 0 : mwpy_set_flow((PyObject *)s);
}

int mwpy_supersede(mwpy_statement *current) {
    Py_CLEAR(current->place);
    return current->fetchable || current->running ? 0 : mwpy_finish(current, "ended", NULL);
}

int mwpy_enter_after(mwpy_statement *s, mwpy_statement *current) {
    if (current && current != s && mwpy_is_here(current)) {
        if (!s->place) { /* the same flow: saves creating another reference to it */
            s->place = current->place;
            current->place = NULL;
        }
        if (mwpy_supersede(current)) return -1;
    }
    return mwpy_enter(s);
}

int mwpy_clear_flow(void) { return mwpy_set_flow(Py_None); }

int mwpy_leave(mwpy_statement *s) {
    mwpy_statement *outer = s->outer, *current = mwpy_in_force();
    s->outer = NULL;
    int error = !current && PyErr_Occurred() ? -1 : 0;
    if (current == s) error = outer && outer->running ? mwpy_enter(outer) : mwpy_clear_flow();
    Py_XDECREF((PyObject *)current);
    Py_XDECREF((PyObject *)outer);
    return error;
}

int mwpy_again(mwpy_statement *s, mwpy_statement *current) {
    if (s->finished) {
        if (s->word == MWPY_FAILED) return 0;
        mwpy_text t;
        mwpy_text_open(&t);
        MWPY_PUT(&t, "{\"outcome\":\"open\"}");
        int error = mwpy_write_record(s->tracer->outcome, mw_outcome_record, s->id, &t);
        mwpy_text_close(&t);
        if (error) return -1;
        s->finished = false;
        mwpy_link(s);
    }
    return mwpy_enter_after(s, current);
}

/* ---- ends -------------------------------------------------------------------------------------------------------- */

int mwpy_write_record(PyObject *writer, int (*core)(uint32_t, const void *, size_t), uint32_t id, const mwpy_text *t) {
    if (t->failed) {
        PyErr_NoMemory();
        return -1;
    }
    if (!writer) {
        int error = core(id, t->at, t->n);
        return error ? mwpy_raise(error, NULL) : 0;
    }
    PyObject *result = PyObject_CallFunction(writer, "Iy#", id, t->at, (Py_ssize_t)t->n);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

static const char *const words[] = {[MWPY_COMMITTED] = "committed", [MWPY_ROLLED_BACK] = "rolled back"};

int mwpy_finish(mwpy_statement *s, const char *outcome, PyObject *error) {
    if (s->finished) return 0;
    s->finished = true;
    Py_CLEAR(s->place);
    mwpy_unlink(s); /* before any code can run that walks the list */
    if (s->word == MWPY_COMMITTED || s->word == MWPY_ROLLED_BACK) outcome = words[s->word];
    if (s->transaction && s->transaction == s->where->transaction) s->where->told = true;
    mwpy_text t;
    mwpy_text_open(&t);
    MWPY_PUT(&t, "{\"outcome\":\"");
    mwpy_put(&t, outcome, strlen(outcome));
    if (error) { /* without its message, which may hold the program's data */
        PyObject *name = PyType_GetName(Py_TYPE(error));
        if (!name || mwpy_put_json(&t, name, 200)) PyErr_Clear();
        Py_XDECREF(name);
    }
    int64_t rows = s->fetched >= 0 ? s->fetched : s->changed;
    if (rows >= 0) {
        MWPY_PUT(&t, "\",\"rows\":");
        mwpy_put_number(&t, (uint64_t)rows);
        MWPY_PUT(&t, ",\"ended\":");
    } else {
        MWPY_PUT(&t, "\",\"ended\":");
    }
    if (s->ended)
        mwpy_put_number(&t, s->ended);
    else
        MWPY_PUT(&t, "null");
    MWPY_PUT(&t, ",\"transaction\":");
    mwpy_put_number(&t, s->transaction);
    if (s->autocommit) MWPY_PUT(&t, ",\"autocommit\":true");
    MWPY_PUT(&t, "}");
    int failed = mwpy_write_record(s->tracer->outcome, mw_outcome_record, s->id, &t);
    mwpy_text_close(&t);
    return failed;
}

/* ---- parts, types ------------------------------------------------------------------------------------------------ */

PyObject *mwpy_part_new(mwpy_statement *whole) {
    mwpy_part *part = PyObject_New(mwpy_part, mwpy_part_type);
    if (part) part->whole = (mwpy_statement *)Py_NewRef((PyObject *)whole);
    return (PyObject *)part;
}

static void dealloc_part(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    Py_DECREF((PyObject *)((mwpy_part *)object)->whole);
    PyObject_Free(object);
    Py_DECREF(type);
}

static PyObject *running(PyObject *object, void *unused) {
    (void)unused;
    const mwpy_statement *s =
        Py_IS_TYPE(object, mwpy_part_type) ? ((mwpy_part *)object)->whole : (mwpy_statement *)object;
    return PyBool_FromLong(s->running);
}

static PyGetSetDef getters[] = {{"running", running, NULL, "Its end has not been published yet.", NULL}, {0}};

static PyType_Slot slots[] = {
    {Py_tp_doc, "A statement: the token that a driver hands back."},
    {Py_tp_dealloc, dealloc},
    {Py_tp_getset, getters},
    {0, NULL},
};
static PyType_Slot part_slots[] = {
    {Py_tp_doc, "A statement that is a part of another one."},
    {Py_tp_dealloc, dealloc_part},
    {Py_tp_getset, getters},
    {0, NULL},
};

enum { FLAGS = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE };
PyType_Spec mwpy_statement_spec = {"memwatch_core.native.tracing.Statement", sizeof(mwpy_statement), 0, FLAGS, slots};
PyType_Spec mwpy_part_spec = {"memwatch_core.native.tracing.Part", sizeof(mwpy_part), 0, FLAGS, part_slots};
