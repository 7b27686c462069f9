/* peek.c - see peek.h. */
#define Py_BUILD_CORE_MODULE 1
#include "origins/peek.h"

#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#include "internal/pycore_dict.h"
#include "internal/pycore_object.h"
#pragma GCC diagnostic pop

enum { ENTRIES_MOST = 1024 };

/* process_vm_readv(2) of the process itself takes no privilege. */
bool mwpy_get_unheld(void *to, const void *from, size_t n) {
    struct iovec here = {to, n}, there = {(void *)(uintptr_t)from, n};
    return syscall(SYS_process_vm_readv, getpid(), &here, 1, &there, 1, 0) == (long)n;
}

/* The entries of a dict's keys. */
typedef struct entries {
    const char *at;      /* NULL: they can't be read */
    size_t n, size, key; /* of an entry, and where its key is in it */
} entries;

static entries entries_of(bool held, const PyDictKeysObject *keys) {
    PyDictKeysObject head;
    entries e = {0};
    if (!keys || !mwpy_get(held, &head, keys, sizeof head) || head.dk_log2_index_bytes > 30 || head.dk_nentries < 0)
        return e;
    bool unicode = head.dk_kind != DICT_KEYS_GENERAL;
    e.at = keys->dk_indices + ((size_t)1 << head.dk_log2_index_bytes);
    e.n = (size_t)head.dk_nentries;
    e.size = unicode ? sizeof(PyDictUnicodeEntry) : sizeof(PyDictKeyEntry);
    e.key = unicode ? offsetof(PyDictUnicodeEntry, me_key) : offsetof(PyDictKeyEntry, me_key);
    return e;
}

static const char *entry_with(bool held, const entries *e, const PyObject *key, size_t *hint) {
    if (!e->at) return NULL;
    if (*hint >= e->n || mwpy_word(held, e->at + *hint * e->size + e->key) != key) {
        size_t i = 0, most = e->n < ENTRIES_MOST ? e->n : ENTRIES_MOST;
        while (i < most && mwpy_word(held, e->at + i * e->size + e->key) != key) i++;
        if (i == most) return NULL;
        *hint = i;
    }
    return e->at + *hint * e->size;
}

PyObject *mwpy_find(bool held, const PyObject *dict, const PyObject *key, size_t *hint) {
    PyDictObject head;
    if (!mwpy_get(held, &head, dict, sizeof head)) return NULL;
    entries e = entries_of(held, head.ma_keys);
    const char *entry = entry_with(held, &e, key, hint);
    if (!entry) return NULL;
    if (head.ma_values) return mwpy_word(held, &head.ma_values->values[*hint]);
    return mwpy_word(held, entry + e.key + sizeof(PyObject *)); /* behind its key */
}

/* The values that an instance keeps in itself, by the numbers of the class's keys; NULL: it has a dict, *dict. */
static const PyDictValues *values_of(bool held, PyObject *object, PyObject **dict) {
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

PyObject *mwpy_attribute(bool held, PyObject *object, const PyObject *name, size_t *hint) {
    PyObject *dict;
    const PyDictValues *values = values_of(held, object, &dict);
    if (dict) return mwpy_find(held, dict, name, hint);
    if (!values || !(Py_TYPE(object)->tp_flags & Py_TPFLAGS_HEAPTYPE)) return NULL;
    entries e = entries_of(held, ((PyHeapTypeObject *)Py_TYPE(object))->ht_cached_keys);
    return entry_with(held, &e, name, hint) ? mwpy_word(held, &values->values[*hint]) : NULL;
}
