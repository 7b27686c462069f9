/* proxy_object.c - any value that a serializer can turn into bytes of fixed size, read and written as a whole.
 *
 * codec is (encode, decode, options, buffer); buffer is None, or the exported buffer's format, item size and shape.
 * Reading decodes. A mutation (p.name = ..., p[key] = ..., a method) is made on the decoded value, which is then
 * encoded and stored by one write if its bytes changed. Parts taken out of the value are copies: changing those
 * (p.part.name = ...) doesn't change the watched value. */
#include <string.h>

#include "values/proxy.h"

static int init(mwpy_proxy *self, PyObject *codec) {
    PyObject *encode, *decode, *options, *buffer, *shape;
    if (!PyArg_ParseTuple(codec, "OOOO", &encode, &decode, &options, &buffer)) return -1;
    if (buffer == Py_None) return 0;
    mwpy_array *array = self->extra = PyMem_Calloc(1, sizeof *array);
    if (!array) {
        PyErr_NoMemory();
        return -1;
    }
    if (!PyArg_ParseTuple(buffer, "snO!", &array->format, &array->itemsize, &PyTuple_Type, &shape)) return -1;
    Py_ssize_t n = array->itemsize;
    for (Py_ssize_t i = 0; n > 0 && i < PyTuple_GET_SIZE(shape); i++) {
        Py_ssize_t length = PyLong_AsSsize_t(PyTuple_GET_ITEM(shape, i));
        if (length == -1 && PyErr_Occurred()) return -1;
        if (i >= MWPY_DIMENSIONS || length < 1 || __builtin_mul_overflow(n, length, &n)) n = 0;
        if (n) array->shape[array->ndim++] = length;
    }
    if (n == (Py_ssize_t)self->size) return 0;
    PyErr_Format(PyExc_ValueError, "'%U': the layout's buffer, %R, doesn't cover its %zu bytes", self->name, buffer,
                 self->size);
    return -1;
}

static void clear(mwpy_proxy *self) { PyMem_Free(self->extra); }

static PyObject *get_object(mwpy_proxy *self) {
    PyObject *data = PyBytes_FromStringAndSize((char *)self->bytes, (Py_ssize_t)self->size);
    PyObject *value = data ? PyObject_CallFunctionObjArgs(PyTuple_GET_ITEM(self->codec, 1), data,
                                                          PyTuple_GET_ITEM(self->codec, 2), NULL)
                           : NULL;
    Py_XDECREF(data);
    return value;
}

static PyObject *encode(mwpy_proxy *self, PyObject *value) {
    PyObject *data =
        PyObject_CallFunctionObjArgs(PyTuple_GET_ITEM(self->codec, 0), value, PyTuple_GET_ITEM(self->codec, 2), NULL);
    if (data && (!PyBytes_Check(data) || (size_t)PyBytes_GET_SIZE(data) != self->size)) {
        PyErr_Format(PyExc_ValueError,
                     "%R doesn't fit in '%U': its serializer gave other than %zu bytes; the value is "
                     "unchanged",
                     value, self->name, self->size);
        Py_CLEAR(data);
    }
    return data;
}

static int set_object(mwpy_proxy *self, PyObject *value) {
    PyObject *data = encode(self, value);
    int result = data ? mwpy_write(self, 0, PyBytes_AS_STRING(data), self->size) : -1;
    Py_XDECREF(data);
    return result;
}

/* After a mutation of the decoded value: stores it if its bytes changed. */
static int keep(mwpy_proxy *self, PyObject *value) {
    PyObject *data = encode(self, value);
    int result = !data ? -1
                 : memcmp(self->bytes, PyBytes_AS_STRING(data), self->size)
                     ? mwpy_write(self, 0, PyBytes_AS_STRING(data), self->size)
                     : 0;
    Py_XDECREF(data);
    return result;
}

/* ---- parts ------------------------------------------------------------------------------------------------------- */

static PyObject *call_method(PyObject *bound, PyObject *args, PyObject *keywords) {
    mwpy_proxy *self = (mwpy_proxy *)PyTuple_GET_ITEM(bound, 0);
    PyObject *value = get_object(self), *method = value ? PyObject_GetAttr(value, PyTuple_GET_ITEM(bound, 1)) : NULL;
    PyObject *result = method ? PyObject_Call(method, args, keywords) : NULL;
    if (result && keep(self, value)) Py_CLEAR(result);
    Py_XDECREF(value);
    Py_XDECREF(method);
    return result;
}
static PyMethodDef call_method_def = {"method", (PyCFunction)(void (*)(void))call_method, METH_VARARGS | METH_KEYWORDS,
                                      "A method of a watched value; what it changes is written."};

static PyObject *get_attribute(PyObject *object, PyObject *name) {
    PyObject *result = mwpy_base->tp_getattro(object, name);
    if (!result || !(PyMethod_Check(result) || PyCFunction_Check(result))) return result;
    PyObject *owner = PyMethod_Check(result) ? PyMethod_GET_SELF(result) : PyCFunction_GET_SELF(result);
    if (!owner || owner == object || PyType_Check(owner) || PyModule_Check(owner))
        return result; /* the proxy's own, or not a method of the value */
    PyObject *bound = PyTuple_Pack(2, object, name);
    Py_SETREF(result, bound ? PyCFunction_New(&call_method_def, bound) : NULL);
    Py_XDECREF(bound);
    return result;
}

static int is_value(PyObject *name) { return PyUnicode_CompareWithASCIIString(name, "value") == 0; }

static int set_attribute(PyObject *object, PyObject *name, PyObject *to) {
    mwpy_proxy *self = (mwpy_proxy *)object;
    if (is_value(name)) return mwpy_set_value(self, to);
    PyObject *value = get_object(self), *plain = to && value ? mwpy_plain(to) : NULL;
    int result = !value || (to && !plain) || PyObject_SetAttr(value, name, plain) ? -1 : keep(self, value);
    Py_XDECREF(value);
    Py_XDECREF(plain);
    return result;
}

static int assign_subscript(PyObject *object, PyObject *key, PyObject *to) {
    mwpy_proxy *self = (mwpy_proxy *)object;
    PyObject *value = get_object(self), *plain = to && value ? mwpy_plain(to) : NULL;
    int failed = !value || (to && !plain) || (to ? PyObject_SetItem(value, key, plain) : PyObject_DelItem(value, key));
    int result = failed ? -1 : keep(self, value);
    Py_XDECREF(value);
    Py_XDECREF(plain);
    return result;
}

static PyObject *subscript(PyObject *self, PyObject *key) {
    PyObject *value = mwpy_plain(self), *result = value ? PyObject_GetItem(value, key) : NULL;
    Py_XDECREF(value);
    return result;
}

static Py_ssize_t length(PyObject *self) {
    PyObject *value = mwpy_plain(self);
    Py_ssize_t n = value ? PyObject_Size(value) : -1;
    Py_XDECREF(value);
    return n;
}

#define ON_VALUE(name, function)                                                                                       \
    static PyObject *name(PyObject *self) {                                                                            \
        PyObject *value = mwpy_plain(self), *result = value ? function(value) : NULL;                                  \
        Py_XDECREF(value);                                                                                             \
        return result;                                                                                                 \
    }
ON_VALUE(as_int, PyNumber_Long)
ON_VALUE(as_index, PyNumber_Index)
ON_VALUE(as_float, PyNumber_Float)

static int export_object(PyObject *object, Py_buffer *view, int flags) {
    mwpy_proxy *self = (mwpy_proxy *)object;
    mwpy_array *array = self->extra;
    if (!array) {
        view->obj = NULL;
        PyErr_Format(PyExc_BufferError, "'%U' shows no buffer: its serializer's layout names no format; take p.value",
                     self->name);
        return -1;
    }
    array->start = self->bytes;
    return mwpy_export(self, view, flags, array, false);
}

static PyType_Slot slots[] = {
    {Py_tp_doc, "A watched value of any type that has a serializer, written as a whole."},
    {Py_tp_methods, mwpy_conversions},
    {Py_tp_getattro, get_attribute},
    {Py_tp_setattro, set_attribute},
    {Py_tp_iter, mwpy_iterate},
    {Py_nb_int, as_int},
    {Py_nb_index, as_index},
    {Py_nb_float, as_float},
    {Py_sq_contains, mwpy_contains},
    {Py_mp_length, length},
    {Py_mp_subscript, subscript},
    {Py_mp_ass_subscript, assign_subscript},
    {Py_bf_getbuffer, export_object},
    {Py_bf_releasebuffer, mwpy_release},
    {0, NULL},
};
static PyType_Spec spec = {"memwatch_core.native.proxy.Object", sizeof(mwpy_proxy), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, slots};
const mwpy_kind mwpy_object = {"object", &spec, init, get_object, set_object, clear};
