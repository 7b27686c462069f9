/* errors.c - the core's errors as Python exceptions. */
#include <errno.h>
#include <string.h>

#include "errors.h"

static PyObject *core_error, *journal_full_error, *session_error;

static int get_error(PyObject *errors, const char *name, PyObject **out) {
    *out = PyObject_GetAttrString(errors, name);
    return *out ? 0 : -1;
}

int mwpy_take_errors(void) {
    PyObject *errors = PyImport_ImportModule("memwatch_core.errors");
    if (!errors) return -1;
    int failed = get_error(errors, "CoreError", &core_error) ||
                 get_error(errors, "JournalFullError", &journal_full_error) ||
                 get_error(errors, "SessionError", &session_error);
    Py_DECREF(errors);
    return failed ? -1 : 0;
}

static PyObject *no_journal(void) {
    const char *why = strerror(errno);
    char path[2048] = "";
    mw_journal_path(path, sizeof path);
    return PyUnicode_FromFormat("%s: %s (%s)", path, mw_strerror(MW_ERR_JOURNAL_OPEN), why);
}

int mwpy_raise(int error, PyObject *name) {
    if (name && (error == MW_ERR_NO_VARIABLE || error == MW_ERR_NO_JOURNAL)) {
        PyErr_Format(session_error,
                     "'%U' is no longer watched: unwatch() or the end of its session ended the watch. Its value is "
                     "unchanged; take p.value, or watch it again in a new session",
                     name);
        return -1;
    }
    PyObject *type = error == MW_ERR_JOURNAL_FULL ? journal_full_error : core_error;
    PyObject *text = error == MW_ERR_JOURNAL_OPEN ? no_journal() : PyUnicode_FromString(mw_strerror(error));
    if (text && name) Py_SETREF(text, PyUnicode_FromFormat("'%U': %U", name, text));
    PyObject *args = text ? Py_BuildValue("(iN)", error, text) : NULL;
    if (args) {
        PyErr_SetObject(type, args);
        Py_DECREF(args);
    }
    return -1;
}
