/* proxy_struct.c - a record of fixed fields in the layout of the struct module: p[0] and p.price read and write a
 * field.
 *
 * codec is (format, fields, make): fields is a tuple of (name or None, code, offset, size, little), where code is the
 * struct module's letter. make turns the tuple into the value (a namedtuple's _make); None: a plain tuple. A field, a
 * slice p[i:j] = ..., and p.value = ... are each written by one write. */
#include <string.h>

#include "values/proxy.h"

enum field_class { SIGNED, UNSIGNED, REAL, TRUTH, TEXT };

typedef struct field {
    PyObject *name; /* borrowed from codec, interned; NULL: none */
    size_t offset, size;
    enum field_class class;
    char code;
    bool little;
} field;

typedef struct layout {
    const char *format;
    PyObject *make; /* borrowed from codec; NULL: none */
    Py_ssize_t count;
    field fields[];
} layout;

static layout *layout_of(const mwpy_proxy *self) { return self->extra; }

static bool classify(char code, size_t size, enum field_class *class) {
    static const char *const letters[] = {
        [SIGNED] = "bhilqn", [UNSIGNED] = "BHILQNP", [REAL] = "efd", [TRUTH] = "?", [TEXT] = "csp"};
    for (*class = SIGNED; *class <= TEXT; ++*class)
        if (code && strchr(letters[*class], code))
            return *class == TEXT || size == 1 || size == 2 || size == 4 || size == 8;
    return false;
}

static int init(mwpy_proxy *self, PyObject *codec) {
    PyObject *format, *fields, *make;
    if (!PyTuple_Check(codec) || !PyArg_ParseTuple(codec, "UO!O", &format, &PyTuple_Type, &fields, &make)) return -1;
    Py_ssize_t n = PyTuple_GET_SIZE(fields);
    layout *l = PyMem_Calloc(1, sizeof *l + (size_t)n * sizeof *l->fields);
    if (!l) {
        PyErr_NoMemory();
        return -1;
    }
    self->extra = l;
    l->make = make == Py_None ? NULL : make;
    l->count = n;
    if (!(l->format = PyUnicode_AsUTF8(format))) return -1;
    for (Py_ssize_t i = 0; i < n; i++) {
        field *f = &l->fields[i];
        PyObject *name;
        int code, little;
        Py_ssize_t offset, size;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(fields, i), "OCnnp", &name, &code, &offset, &size, &little)) return -1;
        enum field_class class = SIGNED;
        if (offset < 0 || size < 0 || (size_t)(offset + size) > self->size ||
            !classify((char)code, (size_t)size, &class)) {
            PyErr_Format(PyExc_ValueError, "'%U': field %zd of format '%s' isn't one that can be watched", self->name,
                         i, l->format);
            return -1;
        }
        *f = (field){name == Py_None ? NULL : name, (size_t)offset, (size_t)size, class, (char)code, little};
    }
    return 0;
}

static void clear(mwpy_proxy *self) { PyMem_Free(self->extra); }

/* ---- one field --------------------------------------------------------------------------------------------------- */

static uint64_t load(const field *f, const unsigned char *at) {
    uint64_t value = 0;
    memcpy(&value, at, f->size);
    return f->little ? value : __builtin_bswap64(value) >> (64 - 8 * f->size);
}

static void save(const field *f, unsigned char *at, uint64_t value) {
    if (!f->little) value = __builtin_bswap64(value) >> (64 - 8 * f->size);
    memcpy(at, &value, f->size);
}

static PyObject *get_field(const field *f, const unsigned char *record) {
    const unsigned char *at = record + f->offset;
    switch (f->code) {
    case 'c': return PyBytes_FromStringAndSize((const char *)at, 1);
    case 's': return PyBytes_FromStringAndSize((const char *)at, (Py_ssize_t)f->size);
    case 'p': {
        size_t n = f->size ? at[0] : 0;
        if (n >= f->size) n = f->size ? f->size - 1 : 0;
        return PyBytes_FromStringAndSize((const char *)at + (f->size ? 1 : 0), (Py_ssize_t)n);
    }
    case '?': {
        bool set = false;
        for (size_t i = 0; i < f->size; i++) set |= at[i] != 0;
        return PyBool_FromLong(set);
    }
    case 'e':
    case 'f':
    case 'd': {
        double value = f->code == 'e'   ? PyFloat_Unpack2((const char *)at, f->little)
                       : f->code == 'f' ? PyFloat_Unpack4((const char *)at, f->little)
                                        : PyFloat_Unpack8((const char *)at, f->little);
        return value == -1.0 && PyErr_Occurred() ? NULL : PyFloat_FromDouble(value);
    }
    default: {
        uint64_t raw = load(f, at);
        unsigned unused = 64 - 8 * (unsigned)f->size;
        return f->class == SIGNED ? PyLong_FromLongLong((int64_t)(raw << unused) >> unused)
                                  : PyLong_FromUnsignedLongLong(raw);
    }
    }
}

static int refuse(mwpy_proxy *self, Py_ssize_t i, PyObject *exception, PyObject *value, const char *why) {
    const field *f = &layout_of(self)->fields[i];
    PyObject *name = f->name ? Py_NewRef(f->name) : PyUnicode_FromFormat("[%zd]", i);
    if (name)
        PyErr_Format(exception, "%R doesn't go into field %U of '%U' (struct code '%c'): %s; the value is unchanged",
                     value, name, self->name, f->code, why);
    Py_XDECREF(name);
    return -1;
}

static int put_integer(mwpy_proxy *self, Py_ssize_t i, unsigned char *at, PyObject *value) {
    const field *f = &layout_of(self)->fields[i];
    if (!PyIndex_Check(value)) return refuse(self, i, PyExc_TypeError, value, "it takes an int");
    PyObject *index = PyNumber_Index(value);
    if (!index) return -1;
    unsigned bits = 8 * (unsigned)f->size;
    uint64_t raw;
    bool fits;
    if (f->class == SIGNED) {
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(index, &overflow);
        fits = !overflow && (bits == 64 || (number >= -(1LL << (bits - 1)) && number < 1LL << (bits - 1)));
        raw = (uint64_t)number;
    } else {
        raw = PyLong_AsUnsignedLongLong(index);
        fits = !PyErr_Occurred() && (bits == 64 || raw < 1ULL << bits);
        PyErr_Clear();
    }
    Py_DECREF(index);
    if (!fits)
        return refuse(self, i, PyExc_OverflowError, value,
                      f->class == SIGNED ? "too large for a signed field of its size" : "negative, or too large");
    save(f, at, raw);
    return 0;
}

static int put_text(mwpy_proxy *self, Py_ssize_t i, unsigned char *at, PyObject *value) {
    const field *f = &layout_of(self)->fields[i];
    if (!PyBytes_Check(value) && !PyByteArray_Check(value))
        return refuse(self, i, PyExc_TypeError, value, "it takes bytes");
    const char *text = PyBytes_Check(value) ? PyBytes_AS_STRING(value) : PyByteArray_AS_STRING(value);
    size_t n = (size_t)Py_SIZE(value), prefix = f->code == 'p' && f->size ? 1 : 0;
    if (f->code == 'c' ? n != 1 : n > f->size - prefix || (prefix && n > 255))
        return refuse(self, i, PyExc_ValueError, value, f->code == 'c' ? "it takes one byte" : "it is too long");
    memset(at, 0, f->size);
    if (prefix) at[0] = (unsigned char)n;
    memcpy(at + prefix, text, n);
    return 0;
}

/* Packs a field's value into a record. 0, or -1 with TypeError, ValueError or OverflowError. */
static int put_field(mwpy_proxy *self, Py_ssize_t i, unsigned char *record, PyObject *value) {
    const field *f = &layout_of(self)->fields[i];
    unsigned char *at = record + f->offset;
    if (f->class == TEXT) return put_text(self, i, at, value);
    if (f->class == TRUTH) {
        int yes = PyObject_IsTrue(value);
        memset(at, 0, f->size);
        at[f->little ? 0 : f->size - 1] = yes > 0;
        return yes < 0 ? -1 : 0;
    }
    if (f->class != REAL) return put_integer(self, i, at, value);
    double number = PyFloat_AsDouble(value);
    if (number == -1.0 && PyErr_Occurred())
        return PyErr_ExceptionMatches(PyExc_TypeError) ? refuse(self, i, PyExc_TypeError, value, "it takes a float")
                                                       : -1;
    return f->code == 'e'   ? PyFloat_Pack2(number, (char *)at, f->little)
           : f->code == 'f' ? PyFloat_Pack4(number, (char *)at, f->little)
                            : PyFloat_Pack8(number, (char *)at, f->little);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static PyObject *get_struct(mwpy_proxy *self) {
    const layout *l = layout_of(self);
    PyObject *tuple = PyTuple_New(l->count);
    for (Py_ssize_t i = 0; tuple && i < l->count; i++) {
        PyObject *value = get_field(&l->fields[i], self->bytes);
        if (!value)
            Py_CLEAR(tuple);
        else
            PyTuple_SET_ITEM(tuple, i, value);
    }
    if (!tuple || !l->make) return tuple;
    PyObject *value = PyObject_CallOneArg(l->make, tuple);
    Py_DECREF(tuple);
    return value;
}

/* Sets fields [from, to) to `values`, by one write of the bytes that they cover. */
static int put_fields(mwpy_proxy *self, Py_ssize_t from, Py_ssize_t to, PyObject *values) {
    const layout *l = layout_of(self);
    PyObject *list = PyTuple_Check(values) || PyList_Check(values) ? PySequence_Tuple(values) : NULL;
    if (!list) {
        if (!PyErr_Occurred())
            PyErr_Format(PyExc_TypeError,
                         "'%U' is watched as struct '%s' and takes a tuple, not %.100s; the value is "
                         "unchanged",
                         self->name, l->format, Py_TYPE(values)->tp_name);
        return -1;
    }
    int result = -1;
    unsigned char *record = PyMem_Malloc(self->size);
    if (!record) {
        PyErr_NoMemory();
    } else if (PyTuple_GET_SIZE(list) != to - from) {
        PyErr_Format(PyExc_ValueError, "'%U': %zd values for %zd fields of struct '%s'; the value is unchanged",
                     self->name, PyTuple_GET_SIZE(list), to - from, l->format);
    } else {
        bool whole = from == 0 && to == l->count;
        size_t first = self->size, last = 0;
        result = 0;
        memset(record, 0, self->size);
        for (Py_ssize_t i = from; !result && i < to; i++) {
            const field *f = &l->fields[i];
            result = put_field(self, i, record, PyTuple_GET_ITEM(list, i - from));
            first = f->offset < first ? f->offset : first;
            last = f->offset + f->size > last ? f->offset + f->size : last;
        }
        if (whole) {
            first = 0;
            last = self->size;
        }
        if (!result && first < last) result = mwpy_write(self, first, record + first, last - first);
    }
    PyMem_Free(record);
    Py_DECREF(list);
    return result;
}

static int set_struct(mwpy_proxy *self, PyObject *value) { return put_fields(self, 0, layout_of(self)->count, value); }

static int set_one(mwpy_proxy *self, Py_ssize_t i, PyObject *value) {
    const field *f = &layout_of(self)->fields[i];
    unsigned char room[64], *record = room;
    if (f->size > sizeof room && !(record = PyMem_Malloc(f->size))) {
        PyErr_NoMemory();
        return -1;
    }
    PyObject *plain = mwpy_plain(value);
    int result = plain ? put_field(self, i, record - f->offset, plain) : -1;
    if (!result) result = mwpy_write(self, f->offset, record, f->size);
    Py_XDECREF(plain);
    if (record != room) PyMem_Free(record);
    return result;
}

static Py_ssize_t find_name(const layout *l, PyObject *name) {
    for (Py_ssize_t i = 0; i < l->count; i++)
        if (l->fields[i].name == name) return i;
    for (Py_ssize_t i = 0; i < l->count; i++)
        if (l->fields[i].name && PyUnicode_Compare(l->fields[i].name, name) == 0) return i;
    return -1;
}

static PyObject *get_attribute(PyObject *object, PyObject *name) {
    mwpy_proxy *self = (mwpy_proxy *)object;
    Py_ssize_t i = find_name(layout_of(self), name);
    return i < 0 ? mwpy_base->tp_getattro(object, name) : get_field(&layout_of(self)->fields[i], self->bytes);
}

static int set_attribute(PyObject *object, PyObject *name, PyObject *value) {
    mwpy_proxy *self = (mwpy_proxy *)object;
    Py_ssize_t i = value ? find_name(layout_of(self), name) : -1;
    return i < 0 ? mwpy_base->tp_setattro(object, name, value) : set_one(self, i, value);
}

static Py_ssize_t length(PyObject *self) { return layout_of((mwpy_proxy *)self)->count; }

static PyObject *item(PyObject *object, Py_ssize_t i) {
    mwpy_proxy *self = (mwpy_proxy *)object;
    if (i >= 0 && i < layout_of(self)->count) return get_field(&layout_of(self)->fields[i], self->bytes);
    PyErr_SetString(PyExc_IndexError, "tuple index out of range");
    return NULL;
}

/* One field is read without the others: there may be thousands. */
static PyObject *subscript(PyObject *object, PyObject *key) {
    if (!PyLong_CheckExact(key)) return mwpy_subscript(object, key);
    Py_ssize_t i = PyNumber_AsSsize_t(key, PyExc_IndexError);
    if (i == -1 && PyErr_Occurred()) return NULL;
    return item(object, i < 0 ? i + length(object) : i);
}

static int assign_subscript(PyObject *object, PyObject *key, PyObject *value) {
    mwpy_proxy *self = (mwpy_proxy *)object;
    Py_ssize_t n = layout_of(self)->count, start, stop, step;
    if (!value) {
        PyErr_Format(PyExc_TypeError, "'%U' is a struct: a field can be assigned to, not deleted", self->name);
        return -1;
    }
    if (PySlice_Check(key)) {
        if (PySlice_Unpack(key, &start, &stop, &step)) return -1;
        Py_ssize_t count = PySlice_AdjustIndices(n, &start, &stop, step);
        if (step != 1) {
            PyErr_Format(PyExc_ValueError, "'%U' is a struct: a slice that is assigned to must have step 1",
                         self->name);
            return -1;
        }
        PyObject *plain = mwpy_plain(value);
        int result = plain ? put_fields(self, start, start + count, plain) : -1;
        Py_XDECREF(plain);
        return result;
    }
    Py_ssize_t i = PyNumber_AsSsize_t(key, PyExc_IndexError);
    if (i == -1 && PyErr_Occurred()) return -1;
    i += i < 0 ? n : 0;
    if (i >= 0 && i < n) return set_one(self, i, value);
    PyErr_Format(PyExc_IndexError, "'%U' is a struct of %zd fields", self->name, n);
    return -1;
}

static int export_struct(PyObject *object, Py_buffer *view, int flags) {
    mwpy_proxy *self = (mwpy_proxy *)object;
    mwpy_array record = {self->bytes, layout_of(self)->format, (Py_ssize_t)self->size, {1}, 1};
    return mwpy_export(self, view, flags, &record, false);
}

static PyMethodDef methods[] = {
    {"__bytes__", mwpy_to_bytes, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot slots[] = {
    {Py_tp_doc, "A watched struct: fields by name and by index."},
    {Py_tp_methods, methods},
    {Py_tp_getattro, get_attribute},
    {Py_tp_setattro, set_attribute},
    {Py_tp_iter, mwpy_iterate},
    {Py_sq_length, length},
    {Py_sq_item, item},
    {Py_sq_contains, mwpy_contains},
    {Py_mp_length, length},
    {Py_mp_subscript, subscript},
    {Py_mp_ass_subscript, assign_subscript},
    {Py_bf_getbuffer, export_struct},
    {Py_bf_releasebuffer, mwpy_release},
    {0, NULL},
};
/* SEQUENCE: `case [a, *rest]` matches it, like a tuple. */
static PyType_Spec spec = {
    "memwatch_core.native.proxy.Struct", sizeof(mwpy_proxy), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_SEQUENCE, slots};
const mwpy_kind mwpy_struct = {"struct", &spec, init, get_struct, set_struct, clear};
