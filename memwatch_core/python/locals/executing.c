/* executing.c - see executing.h.
 *
 * A function of Python's would be seen on the stack, for as long as the module's body runs. */
#define Py_BUILD_CORE_MODULE 1
#include "locals/executing.h"

#include "interpreter.h"

PyDoc_STRVAR(executor_doc, "executor(exchange)\n--\n\nA function like exec(), that executes exchange(code, globals)\n"
                           "where it is given code and its globals. exchange mustn't raise.");

static PyObject *plain; /* the interpreter's exec() */

/* The same arguments, with the code that is to be executed. */
static PyObject *exchanged(PyObject *exchange, PyObject *args) {
    Py_ssize_t n = PyTuple_GET_SIZE(args);
    if (n < 2 || !PyCode_Check(PyTuple_GET_ITEM(args, 0))) return Py_NewRef(args);
    PyObject *code = PyObject_CallFunctionObjArgs(exchange, PyTuple_GET_ITEM(args, 0), PyTuple_GET_ITEM(args, 1), NULL);
    PyObject *made = code ? PyTuple_New(n) : NULL;
    for (Py_ssize_t i = 0; made && i < n; i++)
        PyTuple_SET_ITEM(made, i, Py_NewRef(i ? PyTuple_GET_ITEM(args, i) : code));
    Py_XDECREF(code);
    return made;
}

static PyObject *execute(PyObject *exchange, PyObject *args, PyObject *kwds) {
    PyObject *others = exchanged(exchange, args);
    PyThreadState *thread = PyThreadState_Get();
    mwpy_count_calls(thread, -1); /* ours: recursion goes as deep as without */
    PyObject *result = others ? PyObject_Call(plain, others, kwds) : NULL;
    mwpy_count_calls(thread, 1);
    Py_XDECREF(others);
    return result;
}

static PyMethodDef exec_def = {"exec", (PyCFunction)(void (*)(void))execute, METH_VARARGS | METH_KEYWORDS, NULL};

static PyObject *executor(PyObject *module, PyObject *exchange) {
    (void)module;
    if (!plain) plain = Py_XNewRef(PyDict_GetItemString(PyEval_GetBuiltins(), "exec"));
    if (!plain) return PyErr_Format(PyExc_RuntimeError, "builtins has no exec()");
    return PyCFunction_New(&exec_def, exchange);
}

PyMethodDef mwpy_executing_functions[] = {
    {"executor", executor, METH_O, executor_doc},
    {NULL, NULL, 0, NULL},
};
