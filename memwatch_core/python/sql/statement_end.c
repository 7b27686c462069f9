/* statement_end.c - the end of a statement's run: its effect on the transaction, and whether it stays in force. */
#include "sql/statement_end.h"
#include "sql/connection.h"
#include "sql/statement.h"
#include "sql/tracer.h"

int mwpy_statement_end(mwpy_statement *s, int64_t rows, PyObject *error, bool fetchable, int known, bool rolled_back) {
    s->running = false;
    s->ended = mwpy_now();
    if (rows >= 0) s->changed = rows;
    int out = mwpy_settle(s, known < 0 ? s->in_transaction : known, error, rolled_back || s->rolled_back);
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
