/* connection.c - the state of a connection: statements without an outcome, transaction, savepoints. */
#include "sql/connection.h"
#include "sql/statement.h"
#include "sql/swallowed_errors.h"
#include "sql/text.h"
#include "sql/tracer.h"

enum { MOST_UNREFERABLE = 1024 };

PyTypeObject *mwpy_connection_type;

/* ---- known connections ------------------------------------------------------------------------------------------- */

mwpy_connection *mwpy_connection_new(mwpy_tracer *tracer, uint32_t number) {
    mwpy_connection *c = PyObject_New(mwpy_connection, mwpy_connection_type);
    if (!c) return NULL;
    memset((char *)c + sizeof(PyObject), 0, sizeof *c - sizeof(PyObject));
    c->tracer = tracer;
    c->number = number;
    return c;
}

static bool stands_for(const mwpy_connection *c, PyObject *object) {
    return !c->ref || ((PyWeakReference *)c->ref)->wr_object == object;
}

mwpy_connection *mwpy_find_connection(mwpy_tracer *tracer, PyObject *object) {
    if (!object || object == Py_None) return tracer->nowhere;
    mwpy_connection *latest = tracer->latest;
    if (latest && latest->ref && ((PyWeakReference *)latest->ref)->wr_object == object) return latest;
    PyObject *address = PyLong_FromVoidPtr(object);
    if (!address) return NULL;
    mwpy_connection *c = (mwpy_connection *)PyDict_GetItemWithError(tracer->connections, address);
    Py_DECREF(address);
    if (!c || !stands_for(c, object)) return NULL;
    Py_XSETREF(tracer->latest, (mwpy_connection *)Py_NewRef((PyObject *)c));
    return c;
}

/* A connection was collected, which rolls back. But its last statement stays in force, because its rows live on. */
static int collected(mwpy_connection *c) {
    mwpy_tracer *tracer = c->tracer;
    PyObject *list = mwpy_settle_text(c, MWPY_UNREAD, -1) ? NULL : mwpy_unfinished(c);
    for (Py_ssize_t i = 0; list && i < PyList_GET_SIZE(list); i++) {
        mwpy_statement *s = (mwpy_statement *)PyList_GET_ITEM(list, i);
        if (c->transaction && s->transaction == c->transaction) continue;
        mwpy_unlink(s);
        Py_SETREF(s->where, (mwpy_connection *)Py_NewRef((PyObject *)tracer->nowhere));
        mwpy_link(s);
    }
    Py_XDECREF(list);
    return list ? mwpy_over(c, MWPY_ROLLED_BACK, true, NULL) : -1;
}

static PyObject *gone(PyObject *object, PyObject *ref) {
    mwpy_connection *c = (mwpy_connection *)object;
    mwpy_tracer *tracer = c->tracer;
    if (!tracer || c->ref != ref) Py_RETURN_NONE;
    Py_INCREF(object), Py_INCREF(tracer);
    int error = PyDict_GetItemWithError(tracer->connections, c->address) == object
                    ? PyDict_DelItem(tracer->connections, c->address)
                    : 0;
    if (!error && !tracer->closed) error = collected(c);
    if (error) mwpy_swallow_error(tracer);
    mwpy_disconnect(c);
    Py_DECREF(tracer), Py_DECREF(object);
    Py_RETURN_NONE;
}

static PyMethodDef gone_method = {"gone", gone, METH_O, NULL};

/* Objects without weak references accumulate, because nobody tells when they die: the oldest one is dropped. */
static int make_room(mwpy_tracer *tracer) {
    PyObject *address, *c;
    Py_ssize_t at = 0;
    if (PyDict_GET_SIZE(tracer->connections) < MOST_UNREFERABLE) return 0;
    while (PyDict_Next(tracer->connections, &at, &address, &c))
        if (!((mwpy_connection *)c)->ref) {
            Py_INCREF(address);
            Py_CLEAR(((mwpy_connection *)c)->text);
            int error = PyDict_DelItem(tracer->connections, address);
            Py_DECREF(address);
            return error;
        }
    return 0;
}

mwpy_connection *mwpy_connect(mwpy_tracer *tracer, PyObject *object) {
    mwpy_connection *c = mwpy_connection_new(tracer, ++tracer->numbers);
    PyObject *callback = c ? PyCFunction_New(&gone_method, (PyObject *)c) : NULL;
    if (!callback) goto failed;
    c->address = PyLong_FromVoidPtr(object);
    if (PyType_SUPPORTS_WEAKREFS(Py_TYPE(object))) {
        c->ref = PyWeakref_NewRef(object, callback);
        if (!c->ref) goto failed;
    } else if (make_room(tracer)) {
        goto failed;
    }
    mwpy_connection *meanwhile = mwpy_find_connection(tracer, object); /* a finalizer has used it */
    if (meanwhile || PyErr_Occurred()) {
        Py_DECREF(callback);
        mwpy_disconnect(c);
        Py_DECREF((PyObject *)c);
        return meanwhile;
    }
    if (!c->address || PyDict_SetItem(tracer->connections, c->address, (PyObject *)c)) goto failed;
    Py_DECREF(callback);
    Py_DECREF((PyObject *)c); /* the dict holds it */
    return c;
failed:
    Py_XDECREF(callback);
    if (c) mwpy_disconnect(c);
    Py_XDECREF((PyObject *)c);
    return NULL;
}

void mwpy_disconnect(mwpy_connection *c) {
    PyObject *ref = c->ref;
    c->tracer = NULL;
    Py_CLEAR(c->text);
    if (!ref) return;
    c->ref = Py_NewRef(Py_None); /* refers to nothing any more */
    Py_DECREF(ref);
}

/* ---- unfinished statements --------------------------------------------------------------------------------------- */

PyObject *mwpy_unfinished(mwpy_connection *c) {
    PyObject *list = PyList_New(0);
    for (mwpy_statement *s = c->first; list && s; s = s->next)
        if (PyList_Append(list, (PyObject *)s)) Py_CLEAR(list);
    return list;
}

/* ---- transactions ------------------------------------------------------------------------------------------------ */

static void forget_savepoints(mwpy_connection *c, Py_ssize_t from) {
    while (c->depth > from) Py_DECREF(c->savepoints[--c->depth].name);
}

static int write_scope(mwpy_connection *c, mwpy_word word, uint32_t transaction, const char *scope, uint32_t since) {
    if (!c->tracer) return 0; /* closed */
    mwpy_text t;
    mwpy_text_open(&t);
    if (word == MWPY_COMMITTED)
        MWPY_PUT(&t, "{\"outcome\":\"committed\",\"scope\":\"");
    else
        MWPY_PUT(&t, "{\"outcome\":\"rolled back\",\"scope\":\"");
    mwpy_put(&t, scope, strlen(scope));
    MWPY_PUT(&t, "\"");
    if (since) {
        MWPY_PUT(&t, ",\"since\":");
        mwpy_put_number(&t, since);
    }
    MWPY_PUT(&t, "}");
    int error = mwpy_write_record(c->tracer->outcome, mw_outcome_record, transaction, &t);
    mwpy_text_close(&t);
    return error;
}

int mwpy_over(mwpy_connection *c, mwpy_word word, bool closed, mwpy_statement *but) {
    uint32_t transaction = c->transaction;
    bool told = c->told;
    c->transaction = 0;
    c->told = c->failed = false;
    forget_savepoints(c, 0);
    PyObject *list = mwpy_unfinished(c);
    int error = list ? 0 : -1;
    for (Py_ssize_t i = 0; !error && i < PyList_GET_SIZE(list); i++) {
        mwpy_statement *s = (mwpy_statement *)PyList_GET_ITEM(list, i);
        if (s->running || s->finished || s == but) continue;
        if (transaction && s->transaction == transaction && !s->word) s->word = (uint8_t)word;
        error = mwpy_finish(s, closed ? "closed" : "ended", NULL) || mwpy_leave(s) ? -1 : 0;
    }
    Py_XDECREF(list);
    if (!error && told && word) error = write_scope(c, word, transaction, "transaction", 0);
    return error;
}

static bool speaks(const mwpy_connection *c, const char *dialect) {
    return c->dialect && PyUnicode_Check(c->dialect) && !PyUnicode_CompareWithASCIIString(c->dialect, dialect);
}

static bool ends_transaction(enum sql_action action) {
    return action == SQL_COMMITS || action == SQL_ROLLS_BACK || action == SQL_PREPARES;
}

static bool commits_before(enum sql_action action) {
    return action == SQL_COMMITS_BEFORE || action == SQL_COMMITS_AND_BEGINS;
}

/* The effect of a successful SAVEPOINT, RELEASE or ROLLBACK TO, in a transaction. */
static int settle_savepoint(mwpy_statement *s, enum sql_action action, int known, bool begins) {
    mwpy_connection *c = s->where;
    PyObject *name = PyTuple_GET_ITEM(s->head, 2);
    if (action == SQL_SETS_SAVEPOINT) return mwpy_set_savepoint(c, name, s->id + 1, begins);
    if (action == SQL_ROLLS_BACK_TO) {
        int error = mwpy_roll_back_to(c, name, s->id + 1, s);
        return error ? error : mwpy_finish(s, "ended", NULL) ? -1 : 1;
    }
    int over = mwpy_release_savepoint(c, name);
    if (over <= 0 || known > 0) return over < 0 ? -1 : 0;
    return mwpy_over(c, MWPY_COMMITTED, false, NULL) ? -1 : 1;
}

/* ---- several statements in one text ------------------------------------------------------------------------------ */

enum { GO_ON = 2 };

/* What a text does to savepoints, before it ends the transaction for the first time, or after it has for the last. */
static int settle_savepoints(mwpy_statement *s, bool behind) {
    Py_ssize_t n;
    const char *at = PyUnicode_AsUTF8AndSize(PyTuple_GET_ITEM(s->head, 2), &n), *stop = at + n;
    if (!at) return -1;
    bool passed = !(mwpy_does(s) & SQL_ENDS);
    for (const char *next; at < stop; at = next) {
        next = at + strlen(at) + 1;
        if (*at == '|') passed = true;
        if (*at == '|' || passed != behind) continue;
        if (*at == 'w') {
            for (Py_ssize_t i = 0; i < s->where->depth; i++) /* what the text did goes, too */
                if (s->where->savepoints[i].since == s->id + 1) s->where->savepoints[i].since = s->id;
            continue;
        }
        PyObject *name = PyUnicode_FromString(at + 1);
        if (!name) return -1;
        int error = *at == '+'   ? mwpy_set_savepoint(s->where, name, s->id + 1, false)
                    : *at == '-' ? mwpy_release_savepoint(s->where, name)
                                 : mwpy_roll_back_to(s->where, name, s->id, s);
        Py_DECREF(name);
        if (error < 0) return -1;
    }
    return 0;
}

static bool rolls_back_to(const mwpy_statement *s) {
    return PyUnicode_FindChar(PyTuple_GET_ITEM(s->head, 2), '<', 0, PyUnicode_GET_LENGTH(PyTuple_GET_ITEM(s->head, 2)),
                              1) >= 0;
}

/* How the transaction ended that was open before. What can't be known stays untold. */
static mwpy_word first_end(const mwpy_statement *s, int known, PyObject *error, bool rolled_back) {
    int does = mwpy_does(s), first = sql_bits(does, SQL_FIRST);
    if (error && known != 0) return MWPY_NO_WORD; /* perhaps it goes on, perhaps it is another one */
    if (!first) return error || rolled_back ? MWPY_ROLLED_BACK : MWPY_COMMITTED;
    if (first == SQL_ROLLED_BACK) return MWPY_ROLLED_BACK;
    bool doubtful = error || (does & SQL_BEGINS_BY_END && (rolled_back || s->where->failed));
    return first == SQL_COMMITTED && !doubtful ? MWPY_COMMITTED : MWPY_NO_WORD;
}

/* Tells what became of it, also if it is out of force already. */
static int tell(mwpy_statement *s, mwpy_word word, uint32_t transaction) {
    s->word = (uint8_t)word;
    s->transaction = transaction;
    if (!s->finished) return 0;
    s->finished = false;
    mwpy_link(s);
    return mwpy_finish(s, "ended", NULL);
}

static bool ends_before(const mwpy_statement *s, int known, PyObject *error) {
    return s->where->transaction && (mwpy_does(s) & SQL_ENDS || known == 0 || (error && rolls_back_to(s)));
}

/* The transaction that was open before is over. *word: how it ended. */
static int end_before(mwpy_statement *s, int known, PyObject *error, bool rolled_back, mwpy_word *word) {
    *word = first_end(s, known, error, rolled_back);
    if (error) {
        s->word = MWPY_FAILED;
        s->transaction = *word ? s->where->transaction : 0;
        if (mwpy_finish(s, "failed: ", error)) return -1;
    }
    return mwpy_over(s->where, *word, false, s);
}

/* Bits: what becomes of what the text has done. */
static int own_fates(const mwpy_statement *s, uint32_t before) {
    int does = mwpy_does(s);
    bool inside = before || (does & SQL_BEGINS_BY_WORK && s->first_known > 0);
    return sql_bits(does, inside ? SQL_INSIDE : SQL_ALONE);
}

static mwpy_word only(int fates, mwpy_word word) {
    return fates == 0                 ? word
           : fates == SQL_COMMITTED   ? MWPY_COMMITTED
           : fates == SQL_ROLLED_BACK ? MWPY_ROLLED_BACK
                                      : MWPY_NO_WORD;
}

/* Returns what mwpy_settle does, or GO_ON: it is like any one statement, in the transaction that is open then. */
static int settle_several(mwpy_statement *s, int known, PyObject *error, bool rolled_back) {
    uint32_t before = s->where->transaction;
    if (!s->where->number) return GO_ON;
    bool ends = ends_before(s, known, error), seen = !ends || mwpy_does(s) & SQL_ENDS;
    mwpy_word word = MWPY_NO_WORD;
    if (before && !error && settle_savepoints(s, false)) return -1;
    if (ends && end_before(s, known, error, rolled_back, &word)) return -1;
    if (error) return ends ? 1 : GO_ON;

    int own = seen ? own_fates(s, before) : 0;
    bool goes_on = own & SQL_GOES_ON, open = goes_on && known != 0;
    if (own == SQL_GOES_ON || (!own && !ends)) return GO_ON;
    if (goes_on && !open) own = (own & ~SQL_GOES_ON) | SQL_COMMITTED; /* committed by itself */
    mwpy_word mine = only(own, word);
    if (tell(s, mine, !mine ? 0 : ends && mine == word ? before : s->id)) return -1;
    if (open && settle_savepoints(s, true)) return -1;
    if (goes_on) return 0;
    return mwpy_finish(s, "ended", NULL) ? -1 : 1;
}

/* Whether what the text did last is committed by itself or in a transaction that is open: that depends on a setting. */
static bool may_be_alone(const mwpy_statement *s) {
    int does = mwpy_does(s);
    bool inside = s->where->transaction || s->first_known > 0;
    if (!(sql_bits(does, inside ? SQL_INSIDE : SQL_ALONE) & SQL_GOES_ON) || does & SQL_LEAVES_OPEN) return false;
    return does & SQL_ENDS || !inside;
}

int mwpy_settle_text(mwpy_connection *c, mwpy_reading reading, int known) {
    mwpy_statement *s = c->text;
    if (!s) return 0;
    c->text = NULL;
    int error = 0, does = mwpy_does(s);
    bool commits = (does >> SQL_FIRST | does >> SQL_INSIDE | does >> SQL_ALONE) & SQL_COMMITTED;
    bool doubtful = known < 0 && reading != MWPY_COMMITS && may_be_alone(s);
    if (reading == MWPY_UNREAD && (commits || doubtful)) {
        if (c->transaction) error = mwpy_over(c, MWPY_NO_WORD, false, s);
        if (!error) error = tell(s, MWPY_NO_WORD, 0);
    } else if (doubtful) {
        if (c->transaction && does & SQL_ENDS) error = mwpy_over(c, first_end(s, known, NULL, false), false, s);
        if (!error) error = tell(s, MWPY_NO_WORD, 0);
    } else {
        error = mwpy_settle(s, known, NULL, false) < 0 ? -1 : 0;
    }
    Py_DECREF((PyObject *)s);
    return error;
}

int mwpy_settle(mwpy_statement *s, int known, PyObject *error, bool rolled_back) {
    /* #lizard forgives: one branch a case of transactions */
    mwpy_connection *c = s->where;
    enum sql_action action = mwpy_action_of(s);
    bool several = action == SQL_SEVERAL;
    s->autocommit = false;
    if (several) {
        int out = settle_several(s, known, error, rolled_back);
        if (out != GO_ON) return out;
        action = SQL_NOTHING;
    }
    if (error && known > 0 && speaks(c, "postgresql")) c->failed = true;
    if (error && !(known == 0 && commits_before(action))) action = SQL_NOTHING; /* it did nothing, as far as we know */
    bool begins = !c->transaction;
    if (c->transaction && commits_before(action)) {
        if (mwpy_over(c, MWPY_COMMITTED, false, s)) return -1;
    } else if (c->transaction && (known == 0 || ends_transaction(action))) {
        /* COMMIT or ROLLBACK as text, a script, a conflict that rolls back. */
        s->transaction = c->transaction;
        if (error) {
            s->word = MWPY_FAILED;
            if (mwpy_finish(s, "failed: ", error)) return -1;
        }
        bool back = error || rolled_back || action == SQL_ROLLS_BACK;
        mwpy_word word = action == SQL_PREPARES ? MWPY_NO_WORD : back ? MWPY_ROLLED_BACK : MWPY_COMMITTED;
        return mwpy_over(c, word, false, NULL) ? -1 : 1;
    }
    if (known == 0) {
        s->autocommit = !error;
        forget_savepoints(c, 0);
        return error ? 0 : tell(s, s->word, 0);
    }
    /* An unknown status counts as open, as in PEP 249, unless the text says otherwise. */
    if (!c->number || ends_transaction(action) || action == SQL_COMMITS_BEFORE) return 0;
    if (known < 0 && !c->transaction && error) return 0;
    if (!c->transaction) c->transaction = s->id;
    if (several && !error && settle_savepoints(s, true)) return -1;
    if (error)
        s->transaction = c->transaction;
    else if (tell(s, s->word, c->transaction))
        return -1;
    if (action == SQL_SETS_SAVEPOINT || action == SQL_RELEASES || action == SQL_ROLLS_BACK_TO)
        return settle_savepoint(s, action, known, begins);
    return 0;
}

/* ---- savepoints -------------------------------------------------------------------------------------------------- */

/* The latest savepoint of that name; -1: none, -2: an exception. */
static Py_ssize_t find_savepoint(const mwpy_connection *c, PyObject *name) {
    for (Py_ssize_t i = c->depth - 1; i >= 0; i--) {
        int order = PyUnicode_Compare(c->savepoints[i].name, name);
        if (!order) return i;
        if (order < 0 && PyErr_Occurred()) return -2;
    }
    return -1;
}

int mwpy_set_savepoint(mwpy_connection *c, PyObject *name, uint32_t since, bool begins) {
    Py_ssize_t before = speaks(c, "mysql") ? find_savepoint(c, name) : -1;
    if (before < -1) return -1;
    if (before >= 0) { /* MySQL drops an older one of that name; others hide it until the new one is released */
        Py_DECREF(c->savepoints[before].name);
        c->depth--;
        memmove(c->savepoints + before, c->savepoints + before + 1,
                (size_t)(c->depth - before) * sizeof *c->savepoints);
    }
    if (c->depth == c->room) {
        Py_ssize_t room = c->room ? 2 * c->room : 4;
        mwpy_savepoint *more = PyMem_Realloc(c->savepoints, (size_t)room * sizeof *more);
        if (!more) {
            PyErr_NoMemory();
            return -1;
        }
        c->savepoints = more;
        c->room = room;
    }
    c->savepoints[c->depth++] = (mwpy_savepoint){Py_NewRef(name), since, begins && speaks(c, "sqlite")};
    return 0;
}

int mwpy_release_savepoint(mwpy_connection *c, PyObject *name) {
    Py_ssize_t at = find_savepoint(c, name);
    if (at < 0) return at < -1 ? -1 : 0;
    bool begins = c->savepoints[at].begins;
    forget_savepoints(c, at);
    return begins;
}

int mwpy_roll_back_to(mwpy_connection *c, PyObject *name, uint32_t next, mwpy_statement *but) {
    Py_ssize_t at = find_savepoint(c, name);
    c->failed = false;
    if (at < 0) return at < -1 ? -1 : 0; /* set where nobody told us: what came after it isn't known */
    forget_savepoints(c, at + 1);        /* itself, it stays */
    uint32_t since = c->savepoints[at].since, transaction = c->transaction;
    c->savepoints[at].since = next;
    if (!transaction) return 0; /* nothing has run in it yet */
    PyObject *list = mwpy_unfinished(c);
    int error = list ? 0 : -1;
    for (Py_ssize_t i = 0; !error && i < PyList_GET_SIZE(list); i++) {
        mwpy_statement *s = (mwpy_statement *)PyList_GET_ITEM(list, i);
        if (s->transaction != transaction || s->id < since || s->running || s->finished || s == but) continue;
        if (!s->word) s->word = MWPY_ROLLED_BACK;
        error = mwpy_finish(s, "ended", NULL) || mwpy_leave(s) ? -1 : 0;
    }
    Py_XDECREF(list);
    return error ? error : write_scope(c, MWPY_ROLLED_BACK, transaction, "savepoint", since);
}

/* ---- the type ---------------------------------------------------------------------------------------------------- */

static void dealloc(PyObject *object) {
    mwpy_connection *c = (mwpy_connection *)object;
    PyTypeObject *type = Py_TYPE(object);
    forget_savepoints(c, 0);
    PyMem_Free(c->savepoints);
    Py_XDECREF(c->ref);
    Py_XDECREF(c->address);
    Py_XDECREF(c->json);
    Py_XDECREF(c->driver);
    Py_XDECREF(c->dialect);
    Py_XDECREF(c->heads);
    PyObject_Free(object);
    Py_DECREF(type);
}

static PyType_Slot slots[] = {{Py_tp_dealloc, dealloc}, {0, NULL}};

PyType_Spec mwpy_connection_spec = {"memwatch_core.native.tracing.Connection", sizeof(mwpy_connection), 0,
                                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
                                    slots};
