/* peek.h - objects of the interpreter, read in place: no references, no code of the program's, no allocation. For files
 * that define Py_BUILD_CORE_MODULE.
 *
 * Whoever holds the interpreter's lock reads what is there (`held`). Without it, another thread may change or free what
 * isn't this thread's own: then it is read by a system call, which fails where memory is gone; and what is found has to
 * be looked at like something that may be anything. */
#ifndef MEMWATCH_PYTHON_PEEK_H
#define MEMWATCH_PYTHON_PEEK_H
#include "interpreter.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#include "internal/pycore_dict.h"
#include "internal/pycore_object.h"
#pragma GCC diagnostic pop

/* Two copies of each function that is called with a constant: what holds the lock needs no copies of what it reads. */
#define MWPY_PEEK inline __attribute__((always_inline))

enum { MWPY_ENTRIES_MOST = 1024 };
enum { MWPY_TRIES = 4 }; /* without the lock, what was moved meanwhile is found at the next try */

bool mwpy_get_unheld(void *to, const void *from, size_t n);

static MWPY_PEEK bool mwpy_get(bool held, void *to, const void *from, size_t n) {
    if (__builtin_expect(!held, 0)) return mwpy_get_unheld(to, from, n);
    __builtin_memcpy(to, from, n);
    return true;
}

/* The word at an address, or NULL. */
static MWPY_PEEK void *mwpy_word(bool held, const void *from) {
    void *word;
    return mwpy_get(held, &word, from, sizeof word) ? word : NULL;
}

/* The entries of a dict's keys. */
typedef struct mwpy_entries {
    const char *at;      /* NULL: they can't be read */
    size_t n, size, key; /* of an entry, and where its key is in it */
} mwpy_entries;

static MWPY_PEEK mwpy_entries mwpy_entries_of(bool held, const PyDictKeysObject *keys) {
    PyDictKeysObject head;
    mwpy_entries e = {0};
    if (!keys || !mwpy_get(held, &head, keys, sizeof head) || head.dk_log2_index_bytes > 30 || head.dk_nentries < 0)
        return e;
    bool unicode = head.dk_kind != DICT_KEYS_GENERAL;
    e.at = keys->dk_indices + ((size_t)1 << head.dk_log2_index_bytes);
    e.n = (size_t)head.dk_nentries;
    e.size = unicode ? sizeof(PyDictUnicodeEntry) : sizeof(PyDictKeyEntry);
    e.key = unicode ? offsetof(PyDictUnicodeEntry, me_key) : offsetof(PyDictKeyEntry, me_key);
    return e;
}

static MWPY_PEEK const char *mwpy_entry_with(bool held, const mwpy_entries *e, const PyObject *key, size_t *hint) {
    if (!e->at) return NULL;
    if (*hint >= e->n || mwpy_word(held, e->at + *hint * e->size + e->key) != key) {
        size_t i = 0, most = e->n < MWPY_ENTRIES_MOST ? e->n : MWPY_ENTRIES_MOST;
        while (i < most && mwpy_word(held, e->at + i * e->size + e->key) != key) i++;
        if (i == most) return NULL;
        *hint = i;
    }
    return e->at + *hint * e->size;
}

/* The value of a key, which is this very object, in a dict; borrowed, NULL: there is none. *hint: where it was found
 * the last time. */
static MWPY_PEEK PyObject *mwpy_find(bool held, const PyObject *dict, const PyObject *key, size_t *hint) {
    PyDictObject head;
    if (!mwpy_get(held, &head, dict, sizeof head)) return NULL;
    mwpy_entries e = mwpy_entries_of(held, head.ma_keys);
    const char *entry = mwpy_entry_with(held, &e, key, hint);
    if (!entry) return NULL;
    if (head.ma_values) return mwpy_word(held, &head.ma_values->values[*hint]);
    return mwpy_word(held, entry + e.key + sizeof(PyObject *)); /* behind its key */
}

#if PY_VERSION_HEX < 0x030E0000
/* Another number whenever the dict has changed, and that no other dict of this interpreter has. */
static inline uint64_t mwpy_dict_version(const PyObject *dict) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    return ((const PyDictObject *)dict)->ma_version_tag;
#pragma GCC diagnostic pop
}
#endif

/* The digits of a positive int, of at most so many, the least one first. Returns how many; 0: it is anything else. */
static MWPY_PEEK size_t mwpy_digits_of(bool held, const PyObject *number, digit *digits, size_t most) {
#if PY_VERSION_HEX >= 0x030C0000
    enum { HEAD = offsetof(PyLongObject, long_value.ob_digit) };
#else
    enum { HEAD = offsetof(PyLongObject, ob_digit) };
#endif
    PyLongObject head;
    if (!mwpy_get(held, &head, number, HEAD) || !PyLong_CheckExact(&head)) return 0;
#if PY_VERSION_HEX >= 0x030C0000
    size_t n = head.long_value.lv_tag & 3 ? 0 : head.long_value.lv_tag >> 3; /* zero and negative ones have a mark */
#else
    size_t n = Py_SIZE(&head) > 0 ? (size_t)Py_SIZE(&head) : 0;
#endif
    return n <= most && mwpy_get(held, digits, (const char *)number + HEAD, n * sizeof *digits) ? n : 0;
}

/* The values that an instance keeps in itself, by the numbers of the class's keys; NULL: it has a dict, *dict. */
static MWPY_PEEK const PyDictValues *mwpy_values_of(bool held, PyObject *object, PyObject **dict) {
    PyTypeObject *type = Py_TYPE(object);
    *dict = NULL;
    if (!(type->tp_flags & Py_TPFLAGS_MANAGED_DICT)) {
        Py_ssize_t offset = type->tp_dictoffset;
        if (offset > 0) *dict = mwpy_word(held, (char *)object + offset);
        return NULL;
    }
#if PY_VERSION_HEX >= 0x030D0000
    if (type->tp_flags & Py_TPFLAGS_INLINE_VALUES) {
        const PyDictValues *values = _PyObject_InlineValues(object);
        uint8_t valid;
        if (mwpy_get(held, &valid, &values->valid, sizeof valid) && valid) return values;
    }
    *dict = mwpy_word(held, _PyObject_ManagedDictPointer(object));
    return NULL;
#elif PY_VERSION_HEX >= 0x030C0000
    PyDictOrValues at;
    if (!mwpy_get(held, &at, _PyObject_DictOrValuesPointer(object), sizeof at)) return NULL;
    if (_PyDictOrValues_IsValues(at)) return _PyDictOrValues_GetValues(at);
    *dict = _PyDictOrValues_GetDict(at);
    return NULL;
#else
    const PyDictValues *values = mwpy_word(held, _PyObject_ValuesPointer(object));
    if (!values) *dict = mwpy_word(held, _PyObject_ManagedDictPointer(object));
    return values;
#endif
}

/* An attribute of an instance, of this very name, wherever the instance keeps it; likewise. */
static MWPY_PEEK PyObject *mwpy_attribute(bool held, PyObject *object, const PyObject *name, size_t *hint) {
    PyObject *dict;
    const PyDictValues *values = mwpy_values_of(held, object, &dict);
    if (dict) return mwpy_find(held, dict, name, hint);
    if (!values || !(Py_TYPE(object)->tp_flags & Py_TPFLAGS_HEAPTYPE)) return NULL;
    mwpy_entries e = mwpy_entries_of(held, ((PyHeapTypeObject *)Py_TYPE(object))->ht_cached_keys);
    return mwpy_entry_with(held, &e, name, hint) ? mwpy_word(held, &values->values[*hint]) : NULL;
}

#endif
