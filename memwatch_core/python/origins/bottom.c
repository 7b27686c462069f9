/* bottom.c - see bottom.h. The frames that run now stay where they are; the thread just doesn't know of them meanwhile.
 * What would find them by other ways than its chain of frames (tracebacks, counts of calls) is put right as well. */
#define Py_BUILD_CORE_MODULE 1
#include "origins/bottom.h"

#include "interpreter.h"

typedef struct below {
    mwpy_frame *top;
    int calls, calls_of_c; /* how many deep */
} below;

static void put_top(PyThreadState *thread, mwpy_frame *frame) {
#if PY_VERSION_HEX >= 0x030D0000
    thread->current_frame = frame;
#else
    thread->cframe->current_frame = frame;
#endif
}

/* What the interpreter has there before it runs anything. */
static mwpy_frame *first_frame(PyThreadState *thread) {
#if PY_VERSION_HEX >= 0x030F0000
    return thread->base_frame;
#else
    (void)thread;
    return NULL;
#endif
}

/* How many calls deep the thread is from now on. Returns how many it was: the limit may be changed meanwhile. */
static int count_from(PyThreadState *thread, int calls) {
#if PY_VERSION_HEX >= 0x030C0000
    int before = thread->py_recursion_limit - thread->py_recursion_remaining;
    thread->py_recursion_remaining = thread->py_recursion_limit - calls;
#else
    int before = thread->recursion_limit - thread->recursion_remaining;
    thread->recursion_remaining = thread->recursion_limit - calls;
#endif
    return before;
}

#if PY_VERSION_HEX >= 0x030D0000
#define MOST_CALLS_OF_C Py_C_RECURSION_LIMIT
#elif PY_VERSION_HEX >= 0x030C0000
#define MOST_CALLS_OF_C C_RECURSION_LIMIT
#endif

static int count_c_from(PyThreadState *thread, int calls) {
#if PY_VERSION_HEX >= 0x030C0000 && PY_VERSION_HEX < 0x030E0000
    int before = MOST_CALLS_OF_C - thread->c_recursion_remaining;
    thread->c_recursion_remaining = MOST_CALLS_OF_C - calls;
    return before;
#else
    (void)thread, (void)calls;
    return 0;
#endif
}

static below leave(PyThreadState *thread) {
    below b = {(mwpy_frame *)mwpy_top_frame(thread), count_from(thread, 0), count_c_from(thread, 0)};
    put_top(thread, first_frame(thread));
    return b;
}

static void come_back(PyThreadState *thread, below b) {
    put_top(thread, b.top);
    count_from(thread, b.calls);
    count_c_from(thread, b.calls_of_c);
}

PyDoc_STRVAR(run_doc, "run_at_bottom(code, globals)\n--\n\nExecutes code as a program: no function is below it.");
static PyObject *run_at_bottom(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *code, *globals;
    if (!PyArg_ParseTuple(args, "O!O!", &PyCode_Type, &code, &PyDict_Type, &globals)) return NULL;
    PyThreadState *thread = PyThreadState_Get();
    below b = leave(thread);
    PyObject *result = PyEval_EvalCode(code, globals, globals);
    come_back(thread, b);
    return result;
}

PyDoc_STRVAR(call_doc, "call_at_bottom(function, *arguments)\n--\n\nCalls a function: no other is below it.");
static PyObject *call_at_bottom(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    (void)module;
    if (n < 1) return PyErr_Format(PyExc_TypeError, "call_at_bottom() takes a function, and its arguments");
    PyThreadState *thread = PyThreadState_Get();
    below b = leave(thread);
    PyObject *result = PyObject_Vectorcall(args[0], args + 1, (size_t)(n - 1), NULL);
    come_back(thread, b);
    return result;
}

PyMethodDef mwpy_bottom_functions[] = {
    {"run_at_bottom", run_at_bottom, METH_VARARGS, run_doc},
    {"call_at_bottom", (PyCFunction)(void (*)(void))call_at_bottom, METH_FASTCALL, call_doc},
    {NULL, NULL, 0, NULL},
};
