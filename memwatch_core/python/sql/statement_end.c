/* statement_end.c - the end of a statement's run: its effect on the transaction, and whether it stays in force. */
#include "sql/statement_end.h"
#include "sql/connection.h"
#include "sql/statement.h"
#include "sql/tracer.h"

/* MySQL: the first one is there; what comes behind it may have failed. */
static bool gives_results_one_by_one(const mwpy_statement *s) {
    PyObject *dialect = s->where->dialect;
    return s->where->number && mwpy_does(s) & SQL_MORE && dialect && PyUnicode_Check(dialect) &&
           !PyUnicode_CompareWithASCIIString(dialect, "mysql");
}

/* Another statement has been run since: all results of the text before it were read. */
static int settle_text_before(const mwpy_statement *s, int known, PyObject *error) {
    mwpy_connection *c = s->where;
    if (!c->text || c->text == s) return 0;
    enum sql_action action = mwpy_action_of(s);
    mwpy_reading reading = error ? MWPY_UNREAD
                           : action == SQL_COMMITS || action == SQL_COMMITS_AND_BEGINS || action == SQL_COMMITS_BEFORE
                               ? MWPY_COMMITS
                               : MWPY_READ;
    return mwpy_settle_text(c, reading, action == SQL_NOTHING && !error ? known : -1);
}

/* It stays in force, as long as the window says. */
static int stay(mwpy_statement *s, bool fetchable) {
    s->fetchable |= fetchable;
    if (s->tracer->window == MWPY_STATEMENT || (s->tracer->window == MWPY_FETCH && !fetchable))
        return mwpy_finish(s, "ended", NULL) ? -1 : mwpy_leave(s);
    mwpy_statement *current = mwpy_in_force();
    if (!current && PyErr_Occurred()) return -1;
    int failed = current == s ? 0 : mwpy_enter_after(s, current);
    Py_XDECREF((PyObject *)current);
    return failed;
}

int mwpy_statement_end(mwpy_statement *s, int64_t rows, PyObject *error, bool fetchable, int known, bool rolled_back) {
    mwpy_connection *c = s->where;
    bool first = s->running;
    if (known < 0) known = s->in_transaction;
    if (!first && !error && c->text != s && !(known == 0 && s->transaction && s->transaction == c->transaction))
        return 0; /* its last result says nothing new */
    if (settle_text_before(s, known, error)) return -1;
    s->running = false;
    if (first || !s->ended) s->ended = mwpy_now();
    if (rows >= 0) s->changed = rows;
    int out = 0;
    if (first && !error && gives_results_one_by_one(s)) {
        s->first_known = (int8_t)known;
        c->text = (mwpy_statement *)Py_NewRef((PyObject *)s);
    } else {
        if (c->text == s) {
            c->text = NULL;
            Py_DECREF((PyObject *)s); /* who calls holds it */
        }
        out = mwpy_settle(s, known, error, rolled_back || s->rolled_back);
    }
    if (out < 0) return -1;
    if (error) {
        s->word = MWPY_FAILED;
        if (mwpy_finish(s, "failed: ", error)) return -1;
    }
    return error || out || s->finished ? mwpy_leave(s) : stay(s, fetchable);
}

int mwpy_statement_interrupted(PyObject *error) {
    mwpy_statement *s = mwpy_in_force();
    int failed = s && s->running && mwpy_is_here(s) ? mwpy_statement_end(s, -1, error, false, -1, false) : 0;
    Py_XDECREF((PyObject *)s);
    return failed;
}
