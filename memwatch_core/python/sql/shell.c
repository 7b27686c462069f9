/* shell.c - runs a trace around a call of the library's function.
 *
 * The trace is a Running, a Fetching (steps.h), or a function that gets the same arguments and returns a generator. The
 * generator's code up to its `yield` runs before the call; the yield returns the call's result, or raises what it
 * raised. Around a library's generator, each yield returns a row, and the last one None.
 *
 * An Exception of ours is counted and contained; the program's own continues unchanged. Any other exception while our
 * code runs came from outside (KeyboardInterrupt), and so did any exception of a signal handler: the program gets it,
 * and the statement ends. Two reasons for C: no signal handler can run between the beginning of a statement and the
 * storing of its token, and the program's trace and profile functions aren't called for our code (one that raises, as a
 * debugger's does to quit, would raise into us). */
#include "sql/shell.h"
#include "sql/fetching.h"
#include "sql/generator.h"
#include "sql/running.h"
#include "sql/statement_end.h"
#include <frameobject.h>
#include <stddef.h>
#include <structmember.h>

PyTypeObject *mwpy_shell_type;

static PyObject *name_tracer, *name_trouble;

typedef struct mwpy_shell {
    PyObject_HEAD PyObject *host; /* a driver: `tracer`, `trouble(error)` */
    PyObject *trace;              /* a Running, a Fetching, or a function that returns a generator */
    const mwpy_steps *steps;
} mwpy_shell;

/* ---- errors ------------------------------------------------------------------------------------------------------ */

/* Whether `what`, a function's variable, is `frame`, or a tuple (of *args) that contains it. */
static bool holds(PyObject *what, PyObject *frame) {
    if (!PyTuple_CheckExact(what)) return what == frame;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(what); i++)
        if (PyTuple_GET_ITEM(what, i) == frame) return true;
    return false;
}

/* Whether the frame is a signal handler's: only those are called with the interrupted frame, which is the one below. */
static bool handles_signal(PyFrameObject *frame) {
    PyCodeObject *code = PyFrame_GetCode(frame);
    bool is_function = code->co_flags & CO_OPTIMIZED; /* elsewhere, the variables may be an object of the program's */
    Py_DECREF(code);
    if (!is_function) return false;
    PyObject *below = (PyObject *)PyFrame_GetBack(frame);
    PyObject *locals = below ? PyFrame_GetLocals(frame) : NULL;
    PyObject *values = locals ? PyMapping_Values(locals) : NULL;
    bool found = false;
    for (Py_ssize_t i = 0; values && !found && i < PyList_GET_SIZE(values); i++)
        found = holds(PyList_GET_ITEM(values, i), below);
    PyErr_Clear();
    Py_XDECREF(values);
    Py_XDECREF(locals);
    Py_XDECREF(below);
    return found;
}

bool mwpy_is_ours(void) {
    if (!PyErr_ExceptionMatches(PyExc_Exception)) return false;
    mwpy_raised r = mwpy_take();
    bool ours = true;
    for (PyTracebackObject *at = (PyTracebackObject *)r.traceback; at && ours; at = at->tb_next)
        ours = !handles_signal(at->tb_frame);
    PyErr_Restore(r.kind, r.error, r.traceback);
    return ours;
}

PyObject *mwpy_raise_unless_ours(PyObject *module, PyObject *error) {
    (void)module;
    if (!PyExceptionInstance_Check(error)) return PyErr_Format(PyExc_TypeError, "an exception is wanted");
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(error)), Py_NewRef(error), PyException_GetTraceback(error));
    if (!mwpy_is_ours()) return NULL;
    PyErr_Clear();
    Py_RETURN_NONE;
}

/* Clears and counts the exception, if it is ours. Returns -1 if it stays set. */
static int contain(const mwpy_shell *self) {
    if (!PyErr_Occurred()) return 0;
    if (!mwpy_is_ours()) return -1;
    mwpy_raised r = mwpy_take();
    PyObject *result = PyObject_CallMethodOneArg(self->host, name_trouble, r.error ? r.error : Py_None);
    mwpy_drop(r);
    if (!result && mwpy_is_ours()) PyErr_Clear();
    Py_XDECREF(result);
    return PyErr_Occurred() ? -1 : 0;
}

/* ---- the pieces, each contained ---------------------------------------------------------------------------------- */

enum { MOST_TRIES = 8 };

/* Ends the statement after a failure, and sets the exception that the program gets: `r`, or one that a signal raises
 * meanwhile. If our code changes an error by raising it again, the change is undone. `foreign`: `r` came from a
 * signal. */
static void end_failed(const mwpy_shell *self, PyObject *object, PyObject *token, mwpy_raised r, bool foreign) {
    for (int tries = 0; tries < MOST_TRIES; tries++) {
        PyObject *error = r.error ? r.error : Py_None, *context = r.error ? PyException_GetContext(r.error) : NULL;
        bool is_generator = self->steps == &mwpy_generator_steps;
        /* A generator that a signal interrupted is finished, and the token of the running statement lost with it. */
        int result = foreign && is_generator ? mwpy_statement_interrupted(error)
                                             : self->steps->failed(self->trace, object, token, error);
        if (r.error) PyException_SetContext(r.error, context);
        if (!result || !contain(self)) break;
        mwpy_drop(r);
        r = mwpy_take();
        foreign = true;
    }
    if (r.error) PyException_SetTraceback(r.error, r.traceback ? r.traceback : Py_None);
    PyErr_Restore(r.kind, r.error, r.traceback);
}

/* Runs the trace up to the call. A new reference to the token; None if the trace raised. NULL: the program gets the
 * exception. */
static PyObject *begin(const mwpy_shell *self, PyObject *object, PyObject *args, PyObject *keywords) {
    mwpy_hush();
    PyObject *token = self->steps->before(self->trace, object, args, keywords);
    if (!token && !contain(self)) token = Py_NewRef(Py_None);
    if (!token) end_failed(self, object, Py_None, mwpy_take(), true);
    mwpy_unhush();
    return token;
}

typedef int (*mwpy_go_on)(PyObject *trace, PyObject *object, PyObject *token, PyObject *result);

/* Runs `step`: after, or each. 0; -1: the program gets the exception. */
static int go_on(const mwpy_shell *self, mwpy_go_on step, PyObject *object, PyObject *token, PyObject *result) {
    mwpy_hush();
    int error = step(self->trace, object, token, result) ? contain(self) : 0;
    if (error) end_failed(self, object, token, mwpy_take(), true);
    mwpy_unhush();
    return error;
}

static int is_traced(const mwpy_shell *self) {
    PyObject *tracer = PyObject_GetAttr(self->host, name_tracer);
    if (!tracer) PyErr_Clear();
    Py_XDECREF(tracer);
    return tracer && tracer != Py_None;
}

/* ---- methods ----------------------------------------------------------------------------------------------------- */

static bool are_call(PyObject *args, PyObject *keywords) {
    if (PyTuple_Check(args) && PyDict_Check(keywords)) return true;
    PyErr_SetString(PyExc_TypeError, "a shell takes the arguments of a call as a tuple and a dict");
    return false;
}

static PyObject *wrong(const char *what) { return PyErr_Format(PyExc_TypeError, "%s takes other arguments", what); }

static PyObject *call_traced(const mwpy_shell *self, PyObject *function, PyObject *object, PyObject *args,
                             PyObject *keywords) {
    if (!is_traced(self)) return mwpy_call_with(function, object, args, keywords);
    PyObject *token = begin(self, object, args, keywords);
    if (!token) return NULL;
    PyObject *result = mwpy_call_with(function, object, args, keywords);
    if (!result) {
        mwpy_hush();
        end_failed(self, object, token, mwpy_take(), false);
        mwpy_unhush();
    } else if (go_on(self, self->steps->after, object, token, result)) {
        Py_CLEAR(result);
    }
    Py_DECREF(token);
    return result;
}

/* call(function, object, args, kwargs): function(object, *args, **kwargs), traced. */
static PyObject *call(PyObject *shell, PyObject *const *argument, Py_ssize_t n) {
    if (n != 4) return wrong("call()");
    if (!are_call(argument[2], argument[3])) return NULL;
    return call_traced((mwpy_shell *)shell, argument[0], argument[1], argument[2], argument[3]);
}

/* call_function(function, args, kwargs): the same for a function that isn't a method. */
static PyObject *call_function(PyObject *shell, PyObject *const *argument, Py_ssize_t n) {
    if (n != 3) return wrong("call_function()");
    if (!are_call(argument[1], argument[2])) return NULL;
    return call_traced((mwpy_shell *)shell, argument[0], NULL, argument[1], argument[2]);
}

static PyObject *before(PyObject *shell, PyObject *const *argument, Py_ssize_t n) {
    if (n != 3 || !are_call(argument[1], argument[2])) return n == 3 ? NULL : wrong("before()");
    return begin((mwpy_shell *)shell, argument[0], argument[1], argument[2]);
}

static PyObject *told(int error) {
    if (error) return NULL;
    Py_RETURN_NONE;
}

static PyObject *after(PyObject *shell, PyObject *const *argument, Py_ssize_t n) {
    const mwpy_shell *self = (mwpy_shell *)shell;
    return n == 3 ? told(go_on(self, self->steps->after, argument[0], argument[1], argument[2])) : wrong("after()");
}

static PyObject *each(PyObject *shell, PyObject *const *argument, Py_ssize_t n) {
    const mwpy_shell *self = (mwpy_shell *)shell;
    if (n != 3) return wrong("each()");
    if (!self->steps->each || !is_traced(self)) Py_RETURN_NONE;
    return told(go_on(self, self->steps->each, argument[0], argument[1], argument[2]));
}

static PyObject *failed(PyObject *shell, PyObject *const *argument, Py_ssize_t n) {
    const mwpy_shell *self = (mwpy_shell *)shell;
    if (n != 3 || !PyExceptionInstance_Check(argument[2])) return wrong("failed()");
    PyObject *error = argument[2];
    mwpy_raised r = {Py_NewRef((PyObject *)Py_TYPE(error)), Py_NewRef(error), PyException_GetTraceback(error)};
    mwpy_hush();
    end_failed(self, argument[0], argument[1], r, false);
    mwpy_unhush();
    r = mwpy_take();
    if (r.error != error) {
        PyErr_Restore(r.kind, r.error, r.traceback);
        return NULL;
    }
    mwpy_drop(r);
    Py_RETURN_NONE;
}

/* ---- the type ---------------------------------------------------------------------------------------------------- */

static int intern(void) {
    if (!name_tracer) name_tracer = PyUnicode_InternFromString("tracer");
    if (!name_trouble) name_trouble = PyUnicode_InternFromString("trouble");
    return name_tracer && name_trouble ? 0 : -1;
}

static const mwpy_steps *steps_of(PyObject *trace) {
    if (Py_IS_TYPE(trace, mwpy_running_type)) return &mwpy_running_steps;
    return Py_IS_TYPE(trace, mwpy_fetching_type) ? &mwpy_fetching_steps : &mwpy_generator_steps;
}

static PyObject *make(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    static char *known[] = {"host", "trace", NULL};
    PyObject *host, *trace;
    if (intern() || !PyArg_ParseTupleAndKeywords(args, keywords, "OO", known, &host, &trace)) return NULL;
    mwpy_shell *self = (mwpy_shell *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->host = Py_NewRef(host);
    self->trace = Py_NewRef(trace);
    self->steps = steps_of(trace);
    return (PyObject *)self;
}

static int traverse(PyObject *object, visitproc visit, void *arg) {
    mwpy_shell *self = (mwpy_shell *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->host);
    Py_VISIT(self->trace);
    return 0;
}

static int clear(PyObject *object) {
    mwpy_shell *self = (mwpy_shell *)object;
    Py_CLEAR(self->host);
    Py_CLEAR(self->trace);
    return 0;
}

#define FAST(name) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, NULL}
static PyMethodDef methods[] = {FAST(call), FAST(call_function), FAST(before),         FAST(after),
                                FAST(each), FAST(failed),        {NULL, NULL, 0, NULL}};

static PyMemberDef members[] = {
    {"host", T_OBJECT, offsetof(mwpy_shell, host), READONLY, "A driver."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "Runs a trace around a library's function, and contains its errors."},
    {Py_tp_new, make},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_dealloc, mwpy_plain_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {0, NULL},
};

PyType_Spec mwpy_shell_spec = {"memwatch_core.native.tracing.Shell", sizeof(mwpy_shell), 0,
                               Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, slots};
