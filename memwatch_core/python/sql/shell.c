/* shell.c - what stands between the program and a library's function: tracing before it, after it, or when it failed.
 *
 * An Exception of ours is counted and goes no further; the program's own goes on as it was. Whatever else is raised
 * while our code runs came from outside, a signal's KeyboardInterrupt, and so did whatever a signal's handler raised:
 * the program gets it, and the statement ends. In C no signal can come between a statement's beginning and the token's
 * being kept, and the program's trace and profile functions aren't called for what is ours (one that raises, as a
 * debugger's does to quit, would raise into us). */
#include "sql/shell.h"
#include <frameobject.h>
#include <stddef.h>
#include <structmember.h>

PyTypeObject *mwpy_shell_type;

static PyObject *name_tracer, *name_trouble;

typedef struct mwpy_shell {
    PyObject_HEAD PyObject *host;             /* a driver: `tracer`, `trouble(error)` */
    PyObject *before, *after, *failed, *each; /* around.py: Around */
} mwpy_shell;

/* ---- errors ------------------------------------------------------------------------------------------------------ */

typedef struct raised {
    PyObject *kind, *error, *traceback;
} raised;

static raised take(void) {
    raised r;
    PyErr_Fetch(&r.kind, &r.error, &r.traceback);
    PyErr_NormalizeException(&r.kind, &r.error, &r.traceback);
    if (r.traceback && r.error) PyException_SetTraceback(r.error, r.traceback);
    return r;
}

static void drop(raised r) {
    Py_XDECREF(r.kind);
    Py_XDECREF(r.error);
    Py_XDECREF(r.traceback);
}

/* Whether `what`, a variable of a function, is `frame`, or a tuple (of *args) that has it. */
static bool holds(PyObject *what, PyObject *frame) {
    if (!PyTuple_CheckExact(what)) return what == frame;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(what); i++)
        if (PyTuple_GET_ITEM(what, i) == frame) return true;
    return false;
}

/* Nobody but the interpreter calls a function with the frame that is interrupted: the one below. */
static bool handles_signal(PyFrameObject *frame) {
    PyCodeObject *code = PyFrame_GetCode(frame);
    bool is_function = code->co_flags & CO_OPTIMIZED; /* of others the variables may be an object of the program's */
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
    raised r = take();
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

/* The exception that is set is counted, if it is ours. Returns -1 if it stays set. */
static int contain(const mwpy_shell *self) {
    if (!PyErr_Occurred()) return 0;
    if (!mwpy_is_ours()) return -1;
    raised r = take();
    PyObject *result = PyObject_CallMethodOneArg(self->host, name_trouble, r.error ? r.error : Py_None);
    drop(r);
    if (!result && mwpy_is_ours()) PyErr_Clear();
    Py_XDECREF(result);
    return PyErr_Occurred() ? -1 : 0;
}

enum { MOST_TRIES = 8 };

/* The program gets `r`, or what a signal raises on the way: then the statement hasn't been ended yet. */
static void end_failed(const mwpy_shell *self, PyObject *object, PyObject *token, raised r) {
    for (int tries = 0; tries < MOST_TRIES; tries++) {
        PyObject *args[] = {object, token, r.error ? r.error : Py_None};
        PyObject *result = PyObject_Vectorcall(self->failed, args, 3, NULL);
        Py_XDECREF(result);
        if (!contain(self)) break;
        drop(r);
        r = take();
    }
    PyErr_Restore(r.kind, r.error, r.traceback);
}

/* ---- the pieces, each contained ---------------------------------------------------------------------------------- */

/* A new reference; None if it raised. NULL: the program gets the exception. */
static PyObject *begin(const mwpy_shell *self, PyObject *object, PyObject *args, PyObject *keywords) {
    PyObject *given[] = {object, args, keywords};
    mwpy_hush();
    PyObject *token = PyObject_Vectorcall(self->before, given, 3, NULL);
    if (!token && !contain(self)) token = Py_NewRef(Py_None);
    if (!token) end_failed(self, object, Py_None, take());
    mwpy_unhush();
    return token;
}

/* `hook`: after, or each. 0; -1: the program gets the exception. */
static int go_on(const mwpy_shell *self, PyObject *hook, PyObject *object, PyObject *token, PyObject *result) {
    PyObject *given[] = {object, token, result};
    mwpy_hush();
    PyObject *done = PyObject_Vectorcall(hook, given, 3, NULL);
    int error = done ? 0 : contain(self);
    Py_XDECREF(done);
    if (error) end_failed(self, object, token, take());
    mwpy_unhush();
    return error;
}

static int is_traced(const mwpy_shell *self) {
    PyObject *tracer = PyObject_GetAttr(self->host, name_tracer);
    if (!tracer) PyErr_Clear();
    Py_XDECREF(tracer);
    return tracer && tracer != Py_None;
}

static PyObject *call_library(PyObject *function, PyObject *object, PyObject *args, PyObject *keywords) {
    enum { FEW = 8 };
    PyObject *few[FEW + 2], **all = few + 1; /* one in front: the callee may use it */
    Py_ssize_t n = PyTuple_GET_SIZE(args);
    if (n + 2 > FEW + 2) {
        PyObject **many = PyMem_Malloc((size_t)(n + 2) * sizeof *many);
        if (!many) return PyErr_NoMemory();
        all = many + 1;
    }
    all[0] = object;
    for (Py_ssize_t i = 0; i < n; i++) all[i + 1] = PyTuple_GET_ITEM(args, i);
    PyObject *result =
        PyObject_VectorcallDict(function, all, (size_t)(n + 1) | PY_VECTORCALL_ARGUMENTS_OFFSET, keywords);
    if (all != few + 1) PyMem_Free(all - 1);
    return result;
}

/* ---- methods ----------------------------------------------------------------------------------------------------- */

static bool are_call(PyObject *args, PyObject *keywords) {
    if (PyTuple_Check(args) && PyDict_Check(keywords)) return true;
    PyErr_SetString(PyExc_TypeError, "a shell takes the arguments of a call as a tuple and a dict");
    return false;
}

static PyObject *wrong(const char *what) { return PyErr_Format(PyExc_TypeError, "%s takes other arguments", what); }

/* call(function, object, args, kwargs): function(object, *args, **kwargs), traced. */
static PyObject *call(PyObject *shell, PyObject *const *argument, Py_ssize_t n) {
    const mwpy_shell *self = (mwpy_shell *)shell;
    if (n != 4) return wrong("call()");
    PyObject *function = argument[0], *object = argument[1], *args = argument[2], *keywords = argument[3];
    if (!are_call(args, keywords)) return NULL;
    if (!is_traced(self)) return call_library(function, object, args, keywords);
    PyObject *token = begin(self, object, args, keywords);
    if (!token) return NULL;
    PyObject *result = call_library(function, object, args, keywords);
    if (!result) {
        mwpy_hush();
        end_failed(self, object, token, take());
        mwpy_unhush();
    } else if (go_on(self, self->after, object, token, result)) {
        Py_CLEAR(result);
    }
    Py_DECREF(token);
    return result;
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
    return n == 3 ? told(go_on(self, self->after, argument[0], argument[1], argument[2])) : wrong("after()");
}

static PyObject *each(PyObject *shell, PyObject *const *argument, Py_ssize_t n) {
    const mwpy_shell *self = (mwpy_shell *)shell;
    if (n != 3) return wrong("each()");
    if (self->each == Py_None || !is_traced(self)) Py_RETURN_NONE;
    return told(go_on(self, self->each, argument[0], argument[1], argument[2]));
}

static PyObject *failed(PyObject *shell, PyObject *const *argument, Py_ssize_t n) {
    const mwpy_shell *self = (mwpy_shell *)shell;
    if (n != 3 || !PyExceptionInstance_Check(argument[2])) return wrong("failed()");
    PyObject *error = argument[2];
    raised r = {Py_NewRef((PyObject *)Py_TYPE(error)), Py_NewRef(error), PyException_GetTraceback(error)};
    mwpy_hush();
    end_failed(self, argument[0], argument[1], r);
    mwpy_unhush();
    r = take();
    if (r.error != error) {
        PyErr_Restore(r.kind, r.error, r.traceback);
        return NULL;
    }
    drop(r);
    Py_RETURN_NONE;
}

/* ---- the type ---------------------------------------------------------------------------------------------------- */

static PyObject *make(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    static char *known[] = {"host", "before", "after", "failed", "each", NULL};
    PyObject *host, *before_call, *after_call, *failed_call, *each_item;
    if ((!name_tracer && !(name_tracer = PyUnicode_InternFromString("tracer"))) ||
        (!name_trouble && !(name_trouble = PyUnicode_InternFromString("trouble"))) ||
        !PyArg_ParseTupleAndKeywords(args, keywords, "OOOOO", known, &host, &before_call, &after_call, &failed_call,
                                     &each_item))
        return NULL;
    mwpy_shell *self = (mwpy_shell *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->host = Py_NewRef(host);
    self->before = Py_NewRef(before_call);
    self->after = Py_NewRef(after_call);
    self->failed = Py_NewRef(failed_call);
    self->each = Py_NewRef(each_item);
    return (PyObject *)self;
}

static int traverse(PyObject *object, visitproc visit, void *arg) {
    mwpy_shell *self = (mwpy_shell *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->host);
    Py_VISIT(self->before);
    Py_VISIT(self->after);
    Py_VISIT(self->failed);
    Py_VISIT(self->each);
    return 0;
}

static int clear(PyObject *object) {
    mwpy_shell *self = (mwpy_shell *)object;
    Py_CLEAR(self->host);
    Py_CLEAR(self->before);
    Py_CLEAR(self->after);
    Py_CLEAR(self->failed);
    Py_CLEAR(self->each);
    return 0;
}

static void dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    clear(object);
    type->tp_free(object);
    Py_DECREF(type);
}

#define FAST(name) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, NULL}
static PyMethodDef methods[] = {FAST(call), FAST(before), FAST(after), FAST(each), FAST(failed), {NULL, NULL, 0, NULL}};

static PyMemberDef members[] = {
    {"host", T_OBJECT, offsetof(mwpy_shell, host), READONLY, "A driver."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "What is done around a library's function, contained."},
    {Py_tp_new, make},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_dealloc, dealloc},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {0, NULL},
};

PyType_Spec mwpy_shell_spec = {"memwatch_core.native.tracing.Shell", sizeof(mwpy_shell), 0,
                               Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, slots};
