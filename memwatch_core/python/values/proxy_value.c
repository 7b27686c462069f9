/* proxy_value.c - makes every proxy behave like its value: operators, comparison, text, attributes, copies.
 *
 * Reads create the plain value and pass it to the interpreter's own protocol, so results and exceptions are those of
 * the plain value. In-place operators compute with the plain value and store the result: p += 1 is one announced write,
 * and p stays the same object. Hashing is refused: a dict would lose a key that changes. */
#include "values/proxy.h"
#include <structmember.h>

/* ---- operators --------------------------------------------------------------------------------------------------- */

static PyObject *binary(PyObject *left, PyObject *right, binaryfunc op) {
    PyObject *a = mwpy_plain(left), *b = a ? mwpy_plain(right) : NULL;
    PyObject *result = b ? op(a, b) : NULL;
    Py_XDECREF(a);
    Py_XDECREF(b);
    return result;
}

static PyObject *unary(PyObject *self, unaryfunc op) {
    PyObject *value = mwpy_plain(self), *result = value ? op(value) : NULL;
    Py_XDECREF(value);
    return result;
}

PyObject *mwpy_in_place(PyObject *self, PyObject *other, binaryfunc op) {
    PyObject *result = binary(self, other, op);
    int failed = !result || ((mwpy_proxy *)self)->kind->set((mwpy_proxy *)self, result);
    Py_XDECREF(result);
    return failed ? NULL : Py_NewRef(self);
}

#define BINARY(name, op)                                                                                               \
    static PyObject *name(PyObject *a, PyObject *b) { return binary(a, b, op); }
#define IN_PLACE(name, op)                                                                                             \
    static PyObject *name(PyObject *a, PyObject *b) { return mwpy_in_place(a, b, op); }
#define UNARY(name, op)                                                                                                \
    static PyObject *name(PyObject *a) { return unary(a, op); }
BINARY(add, PyNumber_Add)
BINARY(subtract, PyNumber_Subtract)
BINARY(multiply, PyNumber_Multiply)
BINARY(remainder_of, PyNumber_Remainder)
BINARY(divide_mod, PyNumber_Divmod)
BINARY(left_shift, PyNumber_Lshift)
BINARY(right_shift, PyNumber_Rshift)
BINARY(bit_and, PyNumber_And)
BINARY(bit_xor, PyNumber_Xor)
BINARY(bit_or, PyNumber_Or)
BINARY(floor_divide, PyNumber_FloorDivide)
BINARY(true_divide, PyNumber_TrueDivide)
BINARY(matrix_multiply, PyNumber_MatrixMultiply)
IN_PLACE(in_place_add, PyNumber_InPlaceAdd)
IN_PLACE(in_place_subtract, PyNumber_InPlaceSubtract)
IN_PLACE(in_place_multiply, PyNumber_InPlaceMultiply)
IN_PLACE(in_place_remainder, PyNumber_InPlaceRemainder)
IN_PLACE(in_place_left_shift, PyNumber_InPlaceLshift)
IN_PLACE(in_place_right_shift, PyNumber_InPlaceRshift)
IN_PLACE(in_place_and, PyNumber_InPlaceAnd)
IN_PLACE(in_place_xor, PyNumber_InPlaceXor)
IN_PLACE(in_place_or, PyNumber_InPlaceOr)
IN_PLACE(in_place_floor_divide, PyNumber_InPlaceFloorDivide)
IN_PLACE(in_place_true_divide, PyNumber_InPlaceTrueDivide)
IN_PLACE(in_place_matrix_multiply, PyNumber_InPlaceMatrixMultiply)
UNARY(negative, PyNumber_Negative)
UNARY(positive, PyNumber_Positive)
UNARY(absolute, PyNumber_Absolute)
UNARY(invert, PyNumber_Invert)
UNARY(text, PyObject_Str)
UNARY(representation, PyObject_Repr)

static PyObject *power(PyObject *base, PyObject *exponent, PyObject *modulus) {
    PyObject *a = mwpy_plain(base), *b = a ? mwpy_plain(exponent) : NULL, *c = b ? mwpy_plain(modulus) : NULL;
    PyObject *result = c ? PyNumber_Power(a, b, c) : NULL;
    Py_XDECREF(a);
    Py_XDECREF(b);
    Py_XDECREF(c);
    return result;
}

static PyObject *plain_power(PyObject *a, PyObject *b) { return PyNumber_InPlacePower(a, b, Py_None); }
static PyObject *in_place_power(PyObject *self, PyObject *exponent, PyObject *modulus) {
    (void)modulus; /* `**=` has none */
    return mwpy_in_place(self, exponent, plain_power);
}

static int is_true(PyObject *self) {
    PyObject *value = mwpy_plain(self);
    int result = value ? PyObject_IsTrue(value) : -1;
    Py_XDECREF(value);
    return result;
}

static PyObject *compare(PyObject *left, PyObject *right, int op) {
    PyObject *a = mwpy_plain(left), *b = a ? mwpy_plain(right) : NULL;
    PyObject *result = b ? PyObject_RichCompare(a, b, op) : NULL;
    Py_XDECREF(a);
    Py_XDECREF(b);
    return result;
}

static Py_hash_t refuse_hash(PyObject *self) {
    PyErr_Format(PyExc_TypeError,
                 "unhashable: '%U' is watched and changes, so a dict or set would lose it; use its value at this "
                 "moment: hash(p.value), d[p.value]",
                 ((mwpy_proxy *)self)->name);
    return -1;
}

/* ---- attributes -------------------------------------------------------------------------------------------------- */

/* Names in code are interned, so the pointer comparison is nearly always enough. */
static bool is_value(PyObject *name) {
    static PyObject *interned;
    if (!interned) interned = PyUnicode_InternFromString("value");
    return name == interned || PyUnicode_CompareWithASCIIString(name, "value") == 0;
}

static PyObject *get_attribute(PyObject *self, PyObject *name) {
    if (is_value(name)) return mwpy_plain(self);
    PyObject *result = PyObject_GenericGetAttr(self, name);
    if (result || !PyErr_ExceptionMatches(PyExc_AttributeError)) return result;
    PyErr_Clear();
    PyObject *value = mwpy_plain(self);
    result = value ? PyObject_GetAttr(value, name) : NULL;
    Py_XDECREF(value);
    return result;
}

int mwpy_set_value(mwpy_proxy *self, PyObject *value) {
    if (!value) {
        PyErr_Format(PyExc_AttributeError, "the value of '%U' can't be deleted; unwatch(p) ends the watch", self->name);
        return -1;
    }
    PyObject *plain = mwpy_plain(value);
    int result = plain ? self->kind->set(self, plain) : -1;
    Py_XDECREF(plain);
    return result;
}

static int set_attribute(PyObject *object, PyObject *name, PyObject *to) {
    mwpy_proxy *self = (mwpy_proxy *)object;
    if (is_value(name)) return mwpy_set_value(self, to);
    PyObject *value = mwpy_plain(object); /* a copy: raises the plain value's own error */
    int result = value ? PyObject_SetAttr(value, name, to) : -1;
    if (!result) {
        PyErr_Format(PyExc_AttributeError, "'%U' is watched as a whole: assign p.value", self->name);
        result = -1;
    }
    Py_XDECREF(value);
    return result;
}

static PyObject *get_value(PyObject *self, void *unused) {
    (void)unused;
    return ((mwpy_proxy *)self)->kind->get((mwpy_proxy *)self);
}

static PyObject *get_class(PyObject *self, void *unused) {
    (void)unused;
    PyObject *value = mwpy_plain(self);
    PyObject *type = value ? Py_NewRef((PyObject *)Py_TYPE(value)) : NULL;
    Py_XDECREF(value);
    return type;
}

static PyGetSetDef attributes[] = {
    {"value", get_value, NULL, "The plain value; assigning to it writes.", NULL}, /* written by set_attribute */
    {"__class__", get_class, NULL, "The type of the value.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* ---- copies, and methods looked up on the type ------------------------------------------------------------------- */

PyObject *mwpy_call_on_value(PyObject *self, const char *method, PyObject *args) {
    PyObject *value = mwpy_plain(self), *bound = value ? PyObject_GetAttrString(value, method) : NULL;
    PyObject *result = bound ? PyObject_Call(bound, args, NULL) : NULL;
    Py_XDECREF(value);
    Py_XDECREF(bound);
    return result;
}

#define ON_VALUE(name, method)                                                                                         \
    static PyObject *name(PyObject *self, PyObject *args) { return mwpy_call_on_value(self, method, args); }
ON_VALUE(format_value, "__format__")
ON_VALUE(list_attributes, "__dir__")
ON_VALUE(size_of, "__sizeof__")

PyObject *mwpy_subscript(PyObject *self, PyObject *key) {
    PyObject *value = mwpy_plain(self), *plain = value ? mwpy_plain(key) : NULL;
    PyObject *result = plain ? PyObject_GetItem(value, plain) : NULL;
    Py_XDECREF(value);
    Py_XDECREF(plain);
    return result;
}

int mwpy_contains(PyObject *self, PyObject *what) {
    PyObject *value = mwpy_plain(self), *plain = value ? mwpy_plain(what) : NULL;
    int result = plain ? PySequence_Contains(value, plain) : -1;
    Py_XDECREF(value);
    Py_XDECREF(plain);
    return result;
}

PyObject *mwpy_iterate(PyObject *self) {
    PyObject *value = mwpy_plain(self), *result = value ? PyObject_GetIter(value) : NULL;
    Py_XDECREF(value);
    return result;
}

ON_VALUE(round_value, "__round__")
ON_VALUE(floor_value, "__floor__")
ON_VALUE(ceil_value, "__ceil__")
ON_VALUE(truncate_value, "__trunc__")

/* bytes(5) is five zeros, and bytes(5.0) an error: neither uses the buffer that the proxy has. */
PyObject *mwpy_to_bytes(PyObject *self, PyObject *unused) {
    (void)unused;
    PyObject *value = mwpy_plain(self);
    PyObject *result = value ? PyObject_CallOneArg((PyObject *)&PyBytes_Type, value) : NULL;
    Py_XDECREF(value);
    return result;
}

PyMethodDef mwpy_conversions[] = {
    {"__bytes__", mwpy_to_bytes, METH_NOARGS, NULL},   {"__round__", round_value, METH_VARARGS, NULL},
    {"__floor__", floor_value, METH_VARARGS, NULL},    {"__ceil__", ceil_value, METH_VARARGS, NULL},
    {"__trunc__", truncate_value, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL},
};

static PyObject *copy_value(PyObject *self, PyObject *unused) {
    (void)unused;
    return mwpy_plain(self);
}

/* Whether pickle could find this class again: not if a serializer made it, for a named tuple. */
static bool is_importable(PyTypeObject *type) {
    PyObject *name = PyObject_GetAttrString((PyObject *)type, "__module__");
    PyObject *module = name ? PyImport_GetModule(name) : NULL;
    PyObject *found = module ? PyObject_GetAttrString(module, type->tp_name) : NULL;
    PyErr_Clear();
    Py_XDECREF(name);
    Py_XDECREF(module);
    Py_XDECREF(found);
    return found == (PyObject *)type;
}

/* Pickles as the plain value, so that unpickling needs no MemWatch. */
static PyObject *reduce_value(PyObject *self, PyObject *args) {
    PyObject *value = mwpy_plain(self), *result = NULL;
    if (!value) return NULL;
    if (PyLong_CheckExact(value) || PyFloat_CheckExact(value) || PyBytes_CheckExact(value) ||
        PyTuple_CheckExact(value) || PyBool_Check(value))
        result = Py_BuildValue("O(O)", Py_TYPE(value), value);
    else if (PyTuple_Check(value) && !is_importable(Py_TYPE(value)))
        result = Py_BuildValue("O(N)", &PyTuple_Type, PySequence_Tuple(value));
    else
        result = mwpy_call_on_value(self, "__reduce_ex__", args);
    Py_DECREF(value);
    return result;
}

static PyObject *plain_tuple(PyObject *tuple) {
    PyObject *result = PyTuple_New(PyTuple_GET_SIZE(tuple));
    for (Py_ssize_t i = 0; result && i < PyTuple_GET_SIZE(tuple); i++) {
        PyObject *plain = mwpy_plain(PyTuple_GET_ITEM(tuple, i));
        if (!plain)
            Py_CLEAR(result);
        else
            PyTuple_SET_ITEM(result, i, plain);
    }
    return result;
}

/* numpy calls this before it would make an array of one element from the buffer: a proxy counts as its number. */
static PyObject *array_ufunc(PyObject *self, PyObject *args, PyObject *keywords) {
    (void)self;
    if (PyTuple_GET_SIZE(args) < 2) {
        PyErr_SetString(PyExc_TypeError, "__array_ufunc__(ufunc, method, *inputs) is called by numpy");
        return NULL;
    }
    PyObject *rest = PyTuple_GetSlice(args, 2, PyTuple_GET_SIZE(args)), *inputs = rest ? plain_tuple(rest) : NULL;
    PyObject *named = keywords ? PyDict_Copy(keywords) : PyDict_New();
    PyObject *out = named ? PyDict_GetItemString(named, "out") : NULL;
    PyObject *method = PyObject_GetAttr(PyTuple_GET_ITEM(args, 0), PyTuple_GET_ITEM(args, 1)), *result = NULL;
    if (out && PyTuple_Check(out)) {
        PyObject *plain = plain_tuple(out);
        if (!plain || PyDict_SetItemString(named, "out", plain)) Py_CLEAR(named);
        Py_XDECREF(plain);
    }
    if (inputs && named && method && !PyErr_Occurred()) result = PyObject_Call(method, inputs, named);
    Py_XDECREF(rest);
    Py_XDECREF(inputs);
    Py_XDECREF(named);
    Py_XDECREF(method);
    return result;
}

static PyMethodDef methods[] = {
    {"__copy__", copy_value, METH_NOARGS, "The plain value."},
    {"__deepcopy__", copy_value, METH_O, "The plain value."},
    {"__conform__", copy_value, METH_O, "sqlite3 binds the plain value (PEP 246), not the proxy's buffer."},
    {"__reduce_ex__", reduce_value, METH_VARARGS, "Pickles as the plain value."},
    {"__format__", format_value, METH_VARARGS, NULL},
    {"__dir__", list_attributes, METH_VARARGS, NULL},
    {"__sizeof__", size_of, METH_VARARGS, NULL},
    {"__array_ufunc__", (PyCFunction)(void (*)(void))array_ufunc, METH_VARARGS | METH_KEYWORDS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(mwpy_proxy, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "A watched value. It behaves as the value does; every change to it is an event."},
    {Py_tp_dealloc, mwpy_dealloc},
    {Py_tp_members, members},
    {Py_tp_getset, attributes},
    {Py_tp_methods, methods},
    {Py_tp_getattro, get_attribute},
    {Py_tp_setattro, set_attribute},
    {Py_tp_hash, refuse_hash},
    {Py_tp_richcompare, compare},
    {Py_tp_str, text},
    {Py_tp_repr, representation},
    {Py_nb_bool, is_true},
    {Py_nb_add, add},
    {Py_nb_subtract, subtract},
    {Py_nb_multiply, multiply},
    {Py_nb_remainder, remainder_of},
    {Py_nb_divmod, divide_mod},
    {Py_nb_power, power},
    {Py_nb_lshift, left_shift},
    {Py_nb_rshift, right_shift},
    {Py_nb_and, bit_and},
    {Py_nb_xor, bit_xor},
    {Py_nb_or, bit_or},
    {Py_nb_floor_divide, floor_divide},
    {Py_nb_true_divide, true_divide},
    {Py_nb_matrix_multiply, matrix_multiply},
    {Py_nb_negative, negative},
    {Py_nb_positive, positive},
    {Py_nb_absolute, absolute},
    {Py_nb_invert, invert},
    {Py_nb_inplace_add, in_place_add},
    {Py_nb_inplace_subtract, in_place_subtract},
    {Py_nb_inplace_multiply, in_place_multiply},
    {Py_nb_inplace_remainder, in_place_remainder},
    {Py_nb_inplace_power, in_place_power},
    {Py_nb_inplace_lshift, in_place_left_shift},
    {Py_nb_inplace_rshift, in_place_right_shift},
    {Py_nb_inplace_and, in_place_and},
    {Py_nb_inplace_xor, in_place_xor},
    {Py_nb_inplace_or, in_place_or},
    {Py_nb_inplace_floor_divide, in_place_floor_divide},
    {Py_nb_inplace_true_divide, in_place_true_divide},
    {Py_nb_inplace_matrix_multiply, in_place_matrix_multiply},
    {0, NULL},
};

PyType_Spec mwpy_base_spec = {
    "memwatch_core.native.proxy.Proxy", sizeof(mwpy_proxy), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, slots};
