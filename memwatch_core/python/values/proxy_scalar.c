/* proxy_scalar.c - int (8 bytes, signed) and float (8 bytes, IEEE 754), in native byte order. */
#include <string.h>

#include "values/proxy.h"

static int check_size(mwpy_proxy *self, PyObject *codec) {
    (void)codec;
    if (self->size == 8) return 0;
    PyErr_Format(PyExc_ValueError, "'%U': an int or float takes 8 bytes, the serializer gave %zu", self->name,
                 self->size);
    return -1;
}

static inline int64_t load_int(const mwpy_proxy *self) {
    int64_t value;
    memcpy(&value, self->bytes, sizeof value);
    return value;
}

static inline double load_float(const mwpy_proxy *self) {
    double value;
    memcpy(&value, self->bytes, sizeof value);
    return value;
}

/* ---- int --------------------------------------------------------------------------------------------------------- */

static PyObject *get_int(mwpy_proxy *self) { return PyLong_FromLongLong(load_int(self)); }

static int refuse_int(mwpy_proxy *self, PyObject *value) {
    PyErr_Format(PyExc_OverflowError,
                 "%R doesn't fit in '%U': a watched int has 8 bytes, -2**63 to 2**63 - 1; the value is unchanged",
                 value, self->name);
    return -1;
}

static int set_int(mwpy_proxy *self, PyObject *value) {
    int overflow = 0;
    long long number;
    if (PyLong_Check(value)) {
        number = PyLong_AsLongLongAndOverflow(value, &overflow);
    } else if (PyIndex_Check(value)) { /* numpy's integers, for instance */
        PyObject *index = PyNumber_Index(value);
        if (!index) return -1;
        number = PyLong_AsLongLongAndOverflow(index, &overflow);
        Py_DECREF(index);
    } else {
        PyErr_Format(PyExc_TypeError, "'%U' is watched as int and can't become %.100s; the value is unchanged",
                     self->name, Py_TYPE(value)->tp_name);
        return -1;
    }
    if (overflow) return refuse_int(self, value);
    return mwpy_write(self, 0, &number, sizeof number);
}

/* += and similar operators with an int that fits: create no objects, so no other code can run in between. */
enum fast { FAST_ADD, FAST_SUBTRACT, FAST_MULTIPLY, FAST_AND, FAST_OR, FAST_XOR };
static inline PyObject *in_place_fast(PyObject *object, PyObject *other, enum fast op, binaryfunc slow) {
    mwpy_proxy *self = (mwpy_proxy *)object;
    int overflow = 1;
    long long operand = PyLong_CheckExact(other) ? PyLong_AsLongLongAndOverflow(other, &overflow) : 0;
    if (overflow) return mwpy_in_place(object, other, slow);
    long long value = load_int(self);
    if (op == FAST_ADD)
        overflow = __builtin_add_overflow(value, operand, &value);
    else if (op == FAST_SUBTRACT)
        overflow = __builtin_sub_overflow(value, operand, &value);
    else if (op == FAST_MULTIPLY)
        overflow = __builtin_mul_overflow(value, operand, &value);
    else
        value = op == FAST_AND ? value & operand : op == FAST_OR ? value | operand : value ^ operand;
    if (overflow) return mwpy_in_place(object, other, slow); /* raises the error */
    return mwpy_write(self, 0, &value, sizeof value) ? NULL : Py_NewRef(object);
}
#define IN_PLACE_FAST(name, op, slow)                                                                                  \
    static PyObject *name(PyObject *self, PyObject *other) { return in_place_fast(self, other, op, slow); }
IN_PLACE_FAST(int_iadd, FAST_ADD, PyNumber_InPlaceAdd)
IN_PLACE_FAST(int_isubtract, FAST_SUBTRACT, PyNumber_InPlaceSubtract)
IN_PLACE_FAST(int_imultiply, FAST_MULTIPLY, PyNumber_InPlaceMultiply)
IN_PLACE_FAST(int_iand, FAST_AND, PyNumber_InPlaceAnd)
IN_PLACE_FAST(int_ior, FAST_OR, PyNumber_InPlaceOr)
IN_PLACE_FAST(int_ixor, FAST_XOR, PyNumber_InPlaceXor)

static PyObject *int_as_float(PyObject *self) { return PyFloat_FromDouble((double)load_int((mwpy_proxy *)self)); }
static PyObject *int_as_index(PyObject *self) { return get_int((mwpy_proxy *)self); }

static int export_int(PyObject *self, Py_buffer *view, int flags) {
    mwpy_array number = {((mwpy_proxy *)self)->bytes, "q", 8, {0}, 0};
    return mwpy_export((mwpy_proxy *)self, view, flags, &number, false);
}

/* ---- float ------------------------------------------------------------------------------------------------------- */

static PyObject *get_float(mwpy_proxy *self) { return PyFloat_FromDouble(load_float(self)); }

static int set_float(mwpy_proxy *self, PyObject *value) {
    double number = PyFloat_AsDouble(value);
    if (number == -1.0 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_TypeError))
            PyErr_Format(PyExc_TypeError, "'%U' is watched as float and can't become %.100s; the value is unchanged",
                         self->name, Py_TYPE(value)->tp_name);
        return -1;
    }
    return mwpy_write(self, 0, &number, sizeof number);
}

static PyObject *float_as_float(PyObject *self) { return get_float((mwpy_proxy *)self); }
static PyObject *float_as_int(PyObject *self) { return PyLong_FromDouble(load_float((mwpy_proxy *)self)); }

static PyObject *float_in_place(PyObject *object, PyObject *other, char op, binaryfunc slow) {
    mwpy_proxy *self = (mwpy_proxy *)object;
    if (!PyFloat_CheckExact(other)) return mwpy_in_place(object, other, slow);
    double value = load_float(self), operand = PyFloat_AS_DOUBLE(other);
    value = op == '+' ? value + operand : op == '-' ? value - operand : value * operand;
    return mwpy_write(self, 0, &value, sizeof value) ? NULL : Py_NewRef(object);
}
static PyObject *float_iadd(PyObject *a, PyObject *b) { return float_in_place(a, b, '+', PyNumber_InPlaceAdd); }
static PyObject *float_isubtract(PyObject *a, PyObject *b) {
    return float_in_place(a, b, '-', PyNumber_InPlaceSubtract);
}
static PyObject *float_imultiply(PyObject *a, PyObject *b) {
    return float_in_place(a, b, '*', PyNumber_InPlaceMultiply);
}

static int export_float(PyObject *self, Py_buffer *view, int flags) {
    mwpy_array number = {((mwpy_proxy *)self)->bytes, "d", 8, {0}, 0};
    return mwpy_export((mwpy_proxy *)self, view, flags, &number, false);
}

static PyType_Slot int_slots[] = {
    {Py_tp_doc, "A watched int: 8 bytes, signed."},
    {Py_tp_methods, mwpy_conversions},
    {Py_nb_int, int_as_index},
    {Py_nb_index, int_as_index},
    {Py_nb_float, int_as_float},
    {Py_nb_inplace_add, int_iadd},
    {Py_nb_inplace_subtract, int_isubtract},
    {Py_nb_inplace_multiply, int_imultiply},
    {Py_nb_inplace_and, int_iand},
    {Py_nb_inplace_or, int_ior},
    {Py_nb_inplace_xor, int_ixor},
    {Py_bf_getbuffer, export_int},
    {Py_bf_releasebuffer, mwpy_release},
    {0, NULL},
};
static PyType_Spec int_spec = {"memwatch_core.native.proxy.Int", sizeof(mwpy_proxy), 0,
                               Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
                               int_slots};
const mwpy_kind mwpy_int = {"int", &int_spec, check_size, get_int, set_int, NULL};

static PyType_Slot float_slots[] = {
    {Py_tp_doc, "A watched float: 8 bytes, IEEE 754."},
    {Py_tp_methods, mwpy_conversions},
    {Py_nb_int, float_as_int},
    {Py_nb_float, float_as_float},
    {Py_nb_inplace_add, float_iadd},
    {Py_nb_inplace_subtract, float_isubtract},
    {Py_nb_inplace_multiply, float_imultiply},
    {Py_bf_getbuffer, export_float},
    {Py_bf_releasebuffer, mwpy_release},
    {0, NULL},
};
static PyType_Spec float_spec = {"memwatch_core.native.proxy.Float", sizeof(mwpy_proxy), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
                                 float_slots};
const mwpy_kind mwpy_float = {"float", &float_spec, check_size, get_float, set_float, NULL};
