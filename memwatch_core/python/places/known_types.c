/* known_types.c - see known_types.h. */
#define Py_BUILD_CORE_MODULE 1
#include "interpreter.h"
#include "places/known_types.h"

#include <string.h>

#include "places/declared.h"
#include "places/types.h"
#include "places/words.h"

static PyObject *entry(PyObject *dict, const char *name) {
    PyObject *key = PyUnicode_InternFromString(name), *found = mwpy_entry(dict, key);
    Py_XDECREF(key);
    PyErr_Clear();
    return found;
}

/* ---- builtin types ----------------------------------------------------------------------------------------------- */

typedef struct range {
    PyObject_HEAD PyObject *start, *stop, *step, *length;
} range;

typedef struct view {
    PyObject_HEAD PyObject *dict;
} view;

static bool put_name(mwpy_words *t, PyObject *value, PyObject *with, int level) {
    (void)with, (void)level;
    mwpy_say_string(t, value == Py_Ellipsis ? "Ellipsis" : "NotImplemented");
    return true;
}

static bool put_complex(mwpy_words *t, PyObject *value, PyObject *with, int level) {
    (void)with, (void)level;
    PyObject *text = PyComplex_Type.tp_repr(value);
    if (text) mwpy_say_characters(t, text);
    PyErr_Clear();
    Py_XDECREF(text);
    return text != NULL;
}

static bool put_range(mwpy_words *t, PyObject *value, PyObject *with, int level) {
    (void)with;
    const range *r = (range *)value;
    bool plain = PyLong_CheckExact(r->step) && PyLong_AsLongLong(r->step) == 1;
    PyErr_Clear(); /* it is a larger one */
    mwpy_say_items(t, &r->start, plain ? 2 : 3, "range(", ")", level);
    return true;
}

static bool put_slice(mwpy_words *t, PyObject *value, PyObject *with, int level) {
    (void)with;
    const PySliceObject *s = (PySliceObject *)value;
    mwpy_say_items(t, (PyObject *[]){s->start, s->stop, s->step}, 3, "slice(", ")", level);
    return true;
}

static bool put_bytearray(mwpy_words *t, PyObject *value, PyObject *with, int level) {
    (void)with, (void)level;
    mwpy_say_string(t, "bytearray(");
    mwpy_say_bytes(t, PyByteArray_AS_STRING(value), PyByteArray_GET_SIZE(value));
    mwpy_say_string(t, ")");
    return true;
}

static bool put_view(mwpy_words *t, PyObject *value, PyObject *with, int level) {
    (void)with;
    PyObject *dict = ((view *)value)->dict, *key, *item;
    bool keys = PyDictKeys_Check(value), values = PyDictValues_Check(value);
    if (!dict || level >= MWPY_LEVELS) return false;
    mwpy_say_string(t, keys ? "dict_keys([" : values ? "dict_values([" : "dict_items([");
    Py_ssize_t at = 0;
    for (Py_ssize_t i = 0; !t->cut && PyDict_Next(dict, &at, &key, &item); i++) {
        if (i) mwpy_say_string(t, ", ");
        if (keys || values)
            t->value(t, keys ? key : item, level + 1);
        else
            mwpy_say_items(t, (PyObject *[]){key, item}, 2, "(", ")", level + 1);
    }
    mwpy_say_string(t, "])");
    return true;
}

static bool put_function(mwpy_words *t, PyObject *value, PyObject *with, int level) {
    (void)with, (void)level;
    bool method = Py_IS_TYPE(value, &PyMethod_Type);
    PyObject *function = method ? PyMethod_GET_FUNCTION(value) : value;
    if (!Py_IS_TYPE(function, &PyFunction_Type)) return false;
    mwpy_say_string(t, method ? "<bound method " : "<function ");
    mwpy_say_characters(t, ((PyFunctionObject *)function)->func_qualname);
    mwpy_say_string(t, ">");
    return true;
}

static bool put_c_function(mwpy_words *t, PyObject *value, PyObject *with, int level) {
    (void)with, (void)level;
    const PyCFunctionObject *f = (PyCFunctionObject *)value;
    mwpy_say_string(t, !f->m_self || PyModule_Check(f->m_self) ? "<built-in function " : "<built-in method ");
    mwpy_say_string(t, f->m_ml->ml_name);
    mwpy_say_string(t, ">");
    return true;
}

static bool put_module(mwpy_words *t, PyObject *value, PyObject *with, int level) {
    (void)with, (void)level;
    PyObject *dict = PyModule_GetDict(value), *name = entry(dict, "__name__");
    PyErr_Clear();
    if (!name || !PyUnicode_Check(name)) return false;
    mwpy_say_string(t, "<module '");
    mwpy_say_characters(t, name);
    mwpy_say_string(t, "'>");
    return true;
}

static bool put_class(mwpy_words *t, PyObject *value, PyObject *with, int level) {
    (void)with, (void)level;
    PyTypeObject *type = (PyTypeObject *)value;
    mwpy_say_string(t, "<class '");
    if (type->tp_flags & Py_TPFLAGS_HEAPTYPE) {
        PyObject *dict = PyType_GetDict(type), *module = entry(dict, "__module__");
        if (module && PyUnicode_Check(module) && PyUnicode_CompareWithASCIIString(module, "builtins")) {
            mwpy_say_characters(t, module);
            mwpy_say_string(t, ".");
        }
        mwpy_say_characters(t, ((PyHeapTypeObject *)type)->ht_qualname);
        Py_XDECREF(dict);
    } else {
        mwpy_say_string(t, type->tp_name);
    }
    mwpy_say_string(t, "'>");
    return true;
}

/* ---- subclasses of builtin types: what the base holds, with the class ---------------------------------------------
 */

static void put_call(mwpy_words *t, PyObject *value) {
    mwpy_say_type_name(t, Py_TYPE(value));
    mwpy_say_string(t, "(");
}

static bool put_sub_number(mwpy_words *t, PyObject *value, PyObject *with, int level) {
    (void)with, (void)level;
    put_call(t, value);
    if (PyLong_Check(value))
        mwpy_say_int(t, value);
    else
        mwpy_say_float(t, value);
    mwpy_say_string(t, ")");
    return true;
}

static bool put_sub_text(mwpy_words *t, PyObject *value, PyObject *with, int level) {
    (void)with, (void)level;
    put_call(t, value);
    if (PyUnicode_Check(value))
        mwpy_say_str(t, value, '\'');
    else
        mwpy_say_bytes(t, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value));
    mwpy_say_string(t, ")");
    return true;
}

/* `with`: the names of a named tuple's items; None: it has none. */
static bool put_sub_tuple(mwpy_words *t, PyObject *value, PyObject *with, int level) {
    PyObject *const *items = ((PyTupleObject *)value)->ob_item;
    Py_ssize_t n = PyTuple_GET_SIZE(value);
    put_call(t, value);
    if (level >= MWPY_LEVELS) {
        mwpy_say_string(t, "...");
    } else if (PyTuple_CheckExact(with) && PyTuple_GET_SIZE(with) == n) {
        for (Py_ssize_t i = 0; i < n && !t->cut; i++) {
            if (i) mwpy_say_string(t, ", ");
            mwpy_say_characters(t, PyTuple_GET_ITEM(with, i));
            mwpy_say_string(t, "=");
            if (items[i]) t->value(t, items[i], level + 1);
        }
    } else {
        mwpy_say_items(t, items, n, "(", n == 1 ? ",)" : ")", level);
    }
    mwpy_say_string(t, ")");
    return true;
}

/* The names of a named tuple's items, a new reference; None: it isn't one. */
static PyObject *names_of(PyTypeObject *type) {
    PyObject *mro = type->tp_mro, *names = NULL;
    for (Py_ssize_t i = 0; mro && !names && i < PyTuple_GET_SIZE(mro); i++) {
        PyObject *dict = PyType_GetDict((PyTypeObject *)PyTuple_GET_ITEM(mro, i));
        names = Py_XNewRef(entry(dict, "_fields"));
        Py_XDECREF(dict);
    }
    bool plain = names && PyTuple_CheckExact(names);
    for (Py_ssize_t i = 0; plain && i < PyTuple_GET_SIZE(names); i++)
        plain = PyUnicode_CheckExact(PyTuple_GET_ITEM(names, i));
    if (plain) return names;
    Py_XDECREF(names); /* the class has it */
    return Py_NewRef(Py_None);
}

/* ---- what is known of a type ------------------------------------------------------------------------------------- */

typedef struct known {
    const PyTypeObject *type;
    unsigned version;
    mwpy_putter put;
    PyObject *with;
} known;

enum { KNOWN = 512 };
static known table[KNOWN]; /* by address; a type whose place is taken is looked at again */

static mwpy_putter builtin_putter(const PyTypeObject *type) {
    const struct {
        const PyTypeObject *type;
        mwpy_putter put;
    } builtin[] = {
        {&PyComplex_Type, put_complex},      {&PyRange_Type, put_range},       {&PySlice_Type, put_slice},
        {&PyByteArray_Type, put_bytearray},  {&PyDictKeys_Type, put_view},     {&PyDictValues_Type, put_view},
        {&PyDictItems_Type, put_view},       {&PyFunction_Type, put_function}, {&PyMethod_Type, put_function},
        {&PyCFunction_Type, put_c_function}, {Py_TYPE(Py_Ellipsis), put_name}, {Py_TYPE(Py_NotImplemented), put_name},
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(builtin); i++)
        if (type == builtin[i].type) return builtin[i].put;
    return NULL;
}

static mwpy_putter subclass_putter(PyTypeObject *type) {
    if (type->tp_flags & Py_TPFLAGS_TYPE_SUBCLASS) return put_class;
    if (PyType_IsSubtype(type, &PyModule_Type)) return put_module;
    if (type->tp_flags & Py_TPFLAGS_LONG_SUBCLASS || PyType_IsSubtype(type, &PyFloat_Type)) return put_sub_number;
    if (type->tp_flags & (Py_TPFLAGS_UNICODE_SUBCLASS | Py_TPFLAGS_BYTES_SUBCLASS)) return put_sub_text;
    if (type->tp_flags & Py_TPFLAGS_TUPLE_SUBCLASS) return put_sub_tuple;
    return NULL;
}

static known look_at(PyTypeObject *type) {
    known k = {.type = type, .put = builtin_putter(type)};
    if (!k.put) k.put = mwpy_date_putter(type);
    if (k.put || mwpy_is_finalizing()) return k; /* then there may be no modules */
    k.put = mwpy_decimal_putter(type);
    if (!k.put && (k.with = Py_XNewRef(mwpy_declared(type)))) k.put = mwpy_say_declared;
    if (!k.put) k.put = subclass_putter(type);
    if (k.put == put_sub_tuple) k.with = names_of(type);
    PyErr_Clear();
    return k;
}

/* What `with` refers to is kept for the caller. */
static known known_of(PyTypeObject *type) {
    size_t place = ((size_t)type >> 4 ^ (size_t)type >> 13) % KNOWN;
    unsigned version = mwpy_version_of(type);
    if (table[place].type == type && table[place].version == version && version) {
        known k = table[place];
        Py_XINCREF(k.with);
        return k;
    }
    known k = look_at(type);
    k.version = mwpy_version_of(type);
    if (!k.version) return k;
    PyObject *before = table[place].with;
    table[place] = k;
    Py_XINCREF(k.with);
    Py_XDECREF(before); /* names, or what was declared: nothing of the program's ends */
    return k;
}

bool mwpy_say_known(mwpy_words *t, PyObject *value, int level) {
    if (level > MWPY_LEVELS + 1) return false;
    known k = known_of(Py_TYPE(value));
    size_t n = t->n, most = t->most;
    bool cut = t->cut, done = k.put && k.put(t, value, k.with, level);
    Py_XDECREF(k.with);
    if (!done) {
        t->n = n;
        t->most = most;
        t->cut = cut;
    }
    return done;
}

bool mwpy_is_declared(PyObject *value) {
    if (!(Py_TYPE(value)->tp_flags & Py_TPFLAGS_HEAPTYPE)) return false;
    known k = known_of(Py_TYPE(value));
    Py_XDECREF(k.with);
    return k.put == mwpy_say_declared;
}

void mwpy_forget_types(void) {
    for (size_t i = 0; i < KNOWN; i++) {
        PyObject *with = table[i].with;
        table[i] = (known){0};
        Py_XDECREF(with);
    }
}
