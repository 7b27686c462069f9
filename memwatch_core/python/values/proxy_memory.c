/* proxy_memory.c - memory that a value of another library's lies in: numpy's arrays, ctypes' structures.
 *
 * The program never meets this object but as the `base` of its value, which keeps it: so the pages live as long as the
 * value's last view, and the watch ends with it. Its bytes are written by stores alone. */
#include "values/proxy.h"

static PyObject *get_memory(mwpy_proxy *self) { return PyMemoryView_FromObject((PyObject *)self); }

static int set_memory(mwpy_proxy *self, PyObject *value) {
    (void)value;
    PyErr_Format(PyExc_TypeError, "'%U' is written to in its value, not as a whole", self->name);
    return -1;
}

static int export_memory(PyObject *object, Py_buffer *view, int flags) {
    mwpy_proxy *self = (mwpy_proxy *)object;
    mwpy_array bytes = {
        .start = self->bytes, .format = "B", .itemsize = 1, .shape = {(Py_ssize_t)self->size}, .ndim = 1};
    return mwpy_export(self, view, flags, &bytes, false);
}

static PyObject *text_of(PyObject *object) {
    mwpy_proxy *self = (mwpy_proxy *)object;
    return PyUnicode_FromFormat("<watched memory of '%U', %zu bytes>", self->name, self->size);
}

static PyType_Slot slots[] = {
    {Py_tp_doc, "The watched memory that a value lies in."},
    {Py_tp_repr, text_of},
    {Py_tp_str, text_of},
    {Py_bf_getbuffer, export_memory},
    {Py_bf_releasebuffer, mwpy_release},
    {0, NULL},
};
static PyType_Spec spec = {"memwatch_core.native.proxy.Memory", sizeof(mwpy_proxy), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, slots};
const mwpy_kind mwpy_memory = {"memory", &spec, NULL, get_memory, set_memory, NULL};
