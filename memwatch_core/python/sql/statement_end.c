/* statement_end.c - a statement has been run, or has failed: what that means for its transaction, and whether it stays
 * in force. */
#include "sql/statement_end.h"
#include "sql/connection.h"
#include "sql/statement.h"
#include "sql/tracer.h"

/* MySQL: the first one is there; what comes behind it may have failed. */
static bool gives_results_one_by_one(const mwpy_statement *s) {
    int does = mwpy_does(s);
    return (does & 0xff) == SQL_SEVERAL && does & SQL_ENDS && s->where->dialect && PyUnicode_Check(s->where->dialect) &&
           !PyUnicode_CompareWithASCIIString(s->where->dialect, "mysql");
}

int mwpy_statement_end(mwpy_statement *s, int64_t rows, PyObject *error, bool fetchable, int known, bool rolled_back) {
    mwpy_connection *c = s->where;
    bool first = s->running;
    s->running = false;
    if (first || !s->ended) s->ended = mwpy_now();
    if (rows >= 0) s->changed = rows;
    if (known < 0) known = s->in_transaction;
    int out = 0;
    if (first && !error && gives_results_one_by_one(s)) {
        if (mwpy_settle_text(c, true)) return -1;
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
    } else if (!out && !s->finished) {
        s->fetchable |= fetchable;
        if (s->tracer->window == MWPY_STATEMENT || (s->tracer->window == MWPY_FETCH && !fetchable)) {
            if (mwpy_finish(s, "ended", NULL)) return -1;
        } else {
            mwpy_statement *current = mwpy_in_force();
            if (!current && PyErr_Occurred()) return -1;
            int failed = current == s ? 0 : mwpy_enter_after(s, current);
            Py_XDECREF((PyObject *)current);
            return failed;
        }
    }
    return mwpy_leave(s);
}

int mwpy_statement_interrupted(PyObject *error) {
    mwpy_statement *s = mwpy_in_force();
    int failed = s && s->running && mwpy_is_here(s) ? mwpy_statement_end(s, -1, error, false, -1, false) : 0;
    Py_XDECREF((PyObject *)s);
    return failed;
}
