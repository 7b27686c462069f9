/* births.c - tells of each instance of chosen classes, as soon as there is one and once more when its class's call has
 * returned it: whoever makes it, and without a class being changed in a way that a program sees.
 *
 * A class that is made is chosen or not (`type.__new__` is led here), and an instance of a chosen one is allocated
 * here (tp_alloc, which a class statement sets to PyType_GenericAlloc). */
#include <Python.h>
#include <stdbool.h>

static PyObject *choose, *born;
static newfunc plain_new;
static ternaryfunc plain_call;
static size_t untold;
static _Thread_local bool telling;

static PyObject *ask(PyObject *whom, PyObject *of, PyObject *more) {
    if (telling || !whom || PyInterpreterState_Get() != PyInterpreterState_Main()) return NULL;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    telling = true;
    PyObject *answer = PyObject_CallFunctionObjArgs(whom, of, more, NULL);
    telling = false;
    if (!answer) { /* at the limit of recursion */
        PyErr_Clear();
        untold++;
    }
    PyErr_Restore(type, value, trace);
    return answer;
}

static PyObject *allocate(PyTypeObject *type, Py_ssize_t items) {
    PyObject *object = PyType_GenericAlloc(type, items);
    if (object) Py_XDECREF(ask(born, object, Py_False));
    return object;
}

/* Of a class whose instances aren't whole until what is built in has filled them. */
static PyObject *allocate_silently(PyTypeObject *type, Py_ssize_t items) { return PyType_GenericAlloc(type, items); }

static bool is_chosen(const PyTypeObject *type) {
    return type->tp_alloc == allocate || type->tp_alloc == allocate_silently;
}

static PyObject *new_class(PyTypeObject *meta, PyObject *args, PyObject *keywords) {
    PyObject *made = plain_new(meta, args, keywords);
    if (!made || !PyType_Check(made)) return made;
    PyTypeObject *type = (PyTypeObject *)made, *base = type;
    PyObject *answer = ask(choose, made, NULL);
    if (answer == Py_True && (type->tp_alloc == PyType_GenericAlloc || is_chosen(type))) {
        while (base->tp_flags & Py_TPFLAGS_HEAPTYPE && base->tp_base) base = base->tp_base;
        type->tp_alloc = base == &PyBaseObject_Type ? allocate : allocate_silently;
    } else if (is_chosen(type)) {
        type->tp_alloc = PyType_GenericAlloc;
    }
    Py_XDECREF(answer);
    return made;
}

static PyObject *call(PyObject *class, PyObject *args, PyObject *keywords) {
    PyObject *made = plain_call(class, args, keywords);
    if (made && is_chosen(Py_TYPE(made))) Py_XDECREF(ask(born, made, Py_True));
    return made;
}

/* A class of classes that took both functions over from `type` when it was made. */
static PyObject *lead(PyObject *module, PyObject *meta) {
    (void)module;
    PyTypeObject *type = (PyTypeObject *)meta;
    if (type->tp_new == plain_new) type->tp_new = new_class;
    if (type->tp_call == plain_call) type->tp_call = call;
    Py_RETURN_NONE;
}

static PyObject *tell(PyObject *module, PyObject *args) {
    (void)module;
    if (born || !PyArg_ParseTuple(args, "OO", &choose, &born)) return NULL;
    Py_INCREF(choose);
    Py_INCREF(born);
    plain_new = PyType_Type.tp_new;
    plain_call = PyType_Type.tp_call;
    PyObject *names = PyObject_GetAttrString((PyObject *)&PyType_Type, "__dict__");
    PyObject *wrapper = names ? PyMapping_GetItemString(names, "__call__") : NULL;
    Py_XDECREF(names);
    if (!wrapper) return NULL;
    ((PyWrapperDescrObject *)wrapper)->d_wrapped = (void *)call; /* for who calls it by super() */
    Py_DECREF(wrapper);
    return lead(module, (PyObject *)&PyType_Type);
}

static PyObject *times_untold(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyLong_FromSize_t(untold);
}

static PyMethodDef functions[] = {
    {"tell", tell, METH_VARARGS, "tell(choose, born): choose(class) and born(instance, whole) are called."},
    {"lead", lead, METH_O, "lead(metaclass): also of the classes that this one makes."},
    {"untold", times_untold, METH_NOARGS, "How many instances there was no room on the stack to tell of."},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "births", NULL, -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_births(void) { return PyModule_Create(&definition); }
