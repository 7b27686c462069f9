/* labels.c - see labels.h. */
#define Py_BUILD_CORE_MODULE 1
#include "origins/labels.h"

#include "interpreter.h"
#include "origins/context.h"

enum { INHERITED_MOST = 8 }; /* labels around one: each task may start the next under its own label, for ever */

PyObject *mwpy_label_variable; /* strong */
uint64_t mwpy_labels_left_early;
static PyTypeObject *label_type; /* strong */
static uint64_t entered;

static bool is_of(const mwpy_label *label, const PyThreadState *thread) {
    return ((PyWeakReference *)label->place)->wr_object == thread->context;
}

/* Labels may be left in another order than they were entered, by generators; what was left is in force no more. */
static const mwpy_label *in_force(const mwpy_label *label, const PyThreadState *thread) {
    while (label && label->left && is_of(label, thread)) label = label->outer;
    return label;
}

const mwpy_label *mwpy_label_of(PyThreadState *thread) {
    PyObject *value = mwpy_value_in(thread, mwpy_label_variable);
    return value && Py_IS_TYPE(value, label_type) ? in_force((mwpy_label *)value, thread) : NULL;
}

const mwpy_label *mwpy_label_around(const mwpy_label *label, PyThreadState *thread) {
    return in_force(label->outer, thread);
}

/* ---- entered and left -------------------------------------------------------------------------------------------- */

static void dealloc(PyObject *object) {
    mwpy_label *label = (mwpy_label *)object;
    PyTypeObject *type = Py_TYPE(object);
    Py_XDECREF(label->text);
    Py_XDECREF((PyObject *)label->outer);
    Py_XDECREF(label->place);
    PyObject_Free(label);
    Py_DECREF(type);
}

static mwpy_label *make(PyObject *text, const mwpy_label *outer) {
    mwpy_label *label = PyObject_New(mwpy_label, label_type);
    if (!label) return NULL;
    label->text = Py_NewRef(text);
    label->outer = (mwpy_label *)Py_XNewRef((PyObject *)outer);
    label->place = PyWeakref_NewRef(mwpy_current_thread()->context, NULL);
    label->serial = ++entered;
    label->depth = outer ? outer->depth + 1 : 0;
    label->left = false;
    if (!label->place) Py_CLEAR(label);
    return label;
}

static int prepare(void) {
    static PyType_Slot slots[] = {{Py_tp_dealloc, dealloc}, {0, NULL}};
    static PyType_Spec spec = {.name = "memwatch_core.native.proxy.Label",
                               .basicsize = sizeof(mwpy_label),
                               .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                               .slots = slots};
    if (!label_type) label_type = (PyTypeObject *)PyType_FromSpec(&spec);
    if (label_type && !mwpy_label_variable) mwpy_label_variable = PyContextVar_New("memwatch.label", NULL);
    return mwpy_label_variable ? 0 : -1;
}

PyDoc_STRVAR(enter_label_doc, "enter_label(text)\n--\n\nPuts a label in force in this flow, and returns it.");
static PyObject *enter_label(PyObject *module, PyObject *text) {
    (void)module;
    if (!PyUnicode_CheckExact(text)) return PyErr_Format(PyExc_TypeError, "a label is a str");
    if (prepare()) return NULL;
    PyThreadState *thread = mwpy_current_thread();
    if (!thread->context && mwpy_set_in_context(mwpy_label_variable, Py_None)) return NULL; /* makes the context */
    mwpy_label *outer = (mwpy_label *)Py_XNewRef((PyObject *)mwpy_label_of(thread));
    if (outer && outer->depth >= INHERITED_MOST && !is_of(outer, thread)) Py_SETREF(outer, make(outer->text, NULL));
    mwpy_label *label = make(text, outer);
    Py_XDECREF((PyObject *)outer);
    if (label && mwpy_set_in_context(mwpy_label_variable, (PyObject *)label)) Py_CLEAR(label);
    return (PyObject *)label;
}

static mwpy_label *label_argument(PyObject *object) {
    if (label_type && Py_IS_TYPE(object, label_type)) return (mwpy_label *)object;
    PyErr_SetString(PyExc_TypeError, "what enter_label() has returned");
    return NULL;
}

PyDoc_STRVAR(is_label_here_doc,
             "is_label_here(label)\n--\n\nWhether this flow has entered the label, and not left it.");
static PyObject *is_label_here(PyObject *module, PyObject *object) {
    (void)module;
    mwpy_label *label = label_argument(object);
    return label ? PyBool_FromLong(!label->left && is_of(label, mwpy_current_thread())) : NULL;
}

PyDoc_STRVAR(leave_label_doc, "leave_label(label)\n--\n\nEnds it: the one around it is in force again.");
static PyObject *leave_label(PyObject *module, PyObject *object) {
    (void)module;
    mwpy_label *label = label_argument(object);
    if (!label) return NULL;
    PyThreadState *thread = mwpy_current_thread();
    label->left = true;
    bool innermost = mwpy_value_in(thread, mwpy_label_variable) == object;
    if (!innermost) mwpy_labels_left_early++;
    const mwpy_label *outer = in_force(label->outer, thread);
    if (innermost && mwpy_set_in_context(mwpy_label_variable, outer ? (PyObject *)outer : Py_None)) return NULL;
    Py_RETURN_NONE;
}

PyMethodDef mwpy_label_functions[] = {
    {"enter_label", enter_label, METH_O, enter_label_doc},
    {"is_label_here", is_label_here, METH_O, is_label_here_doc},
    {"leave_label", leave_label, METH_O, leave_label_doc},
    {NULL, NULL, 0, NULL},
};
