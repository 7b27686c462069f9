/* declared.c - see declared.h. */
#define Py_BUILD_CORE_MODULE 1
#include "interpreter.h"
#include "places/declared.h"

#include <string.h>

#include "places/attributes.h"
#include "places/types.h"
#include "places/words.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#include <internal/pycore_dict.h>
#include <internal/pycore_object.h>
#pragma GCC diagnostic pop

/* As in memwatch_core/type_formats.py, in its order. */
enum form { AS_VALUE, AS_TEXT, AS_MEMBER, AS_UUID, AS_IPV4, AS_IPV6, AS_PATH };
enum { PATH_MOST = 10000 };

static PyObject *all_declared; /* strong */

/* ---- where parts lie --------------------------------------------------------------------------------------------- */

enum { IN_DICT = 0 }; /* not in a slot, whose offset is greater */

typedef struct place {
    const PyTypeObject *type;
    unsigned version;
    const PyObject *name; /* one of a template's */
    Py_ssize_t offset;
} place;

enum { PLACES = 256 };
static place places[PLACES];

/* The offset of a slot, if a member of this name is one, and its class has laid it out for objects of this type. */
static Py_ssize_t slot_offset(PyTypeObject *type, PyObject *member) {
    if (!member || !Py_IS_TYPE(member, &PyMemberDescr_Type)) return IN_DICT;
    const PyMemberDef *def = ((PyMemberDescrObject *)member)->d_member;
    bool fits = def->type == Py_T_OBJECT_EX && !(def->flags & Py_RELATIVE_OFFSET) && def->offset > 0 &&
                def->offset + (Py_ssize_t)sizeof(PyObject *) <= type->tp_basicsize;
    return fits && PyType_IsSubtype(type, PyDescr_TYPE(member)) ? def->offset : IN_DICT;
}

static Py_ssize_t look_for(PyTypeObject *type, PyObject *name) {
    PyObject *mro = type->tp_mro;
    Py_ssize_t offset = IN_DICT;
    for (Py_ssize_t i = 0; mro && offset == IN_DICT && i < PyTuple_GET_SIZE(mro); i++) {
        PyObject *dict = PyType_GetDict((PyTypeObject *)PyTuple_GET_ITEM(mro, i));
        offset = slot_offset(type, mwpy_entry(dict, name));
        Py_XDECREF(dict);
    }
    return offset;
}

static Py_ssize_t offset_of(PyTypeObject *type, PyObject *name) {
    place *p = &places[((size_t)type >> 4 ^ (size_t)name >> 3) % PLACES];
    unsigned version = mwpy_version_of(type);
    if (p->type != type || p->version != version || p->name != name || !version)
        *p = (place){type, version, name, look_for(type, name)};
    return p->offset;
}

/* Attributes that are kept in the object itself. The names are few, and interned as a rule. */
static PyObject *in_values(PyTypeObject *type, const PyDictValues *values, PyObject *name) {
    PyDictKeysObject *keys = ((PyHeapTypeObject *)type)->ht_cached_keys;
    const PyDictUnicodeEntry *entry = keys && DK_IS_UNICODE(keys) ? DK_UNICODE_ENTRIES(keys) : NULL;
    Py_ssize_t n = entry ? keys->dk_nentries : 0;
    for (Py_ssize_t i = 0; i < n; i++)
        if (entry[i].me_key == name) return values->values[i];
    for (Py_ssize_t i = 0; i < n; i++)
        if (entry[i].me_key && !PyUnicode_Compare(entry[i].me_key, name)) return values->values[i];
    return NULL;
}

static PyObject *attribute(PyObject *object, PyObject *name) {
    PyTypeObject *type = Py_TYPE(object);
#if PY_VERSION_HEX >= 0x030D0000
    if (type->tp_flags & Py_TPFLAGS_INLINE_VALUES && _PyObject_InlineValues(object)->valid)
        return in_values(type, _PyObject_InlineValues(object), name);
#elif PY_VERSION_HEX < 0x030C0000
    const PyDictValues *values = type->tp_flags & Py_TPFLAGS_MANAGED_DICT ? *_PyObject_ValuesPointer(object) : NULL;
    if (values) return in_values(type, values, name);
#else
    if (type->tp_flags & Py_TPFLAGS_MANAGED_DICT) {
        PyDictOrValues at = *_PyObject_DictOrValuesPointer(object);
        if (_PyDictOrValues_IsValues(at)) return in_values(type, _PyDictOrValues_GetValues(at), name);
    }
#endif
    return mwpy_entry(mwpy_attributes_now(object), name);
}

/* names: of a part, of its part, and so on. Borrowed; NULL: there is none. */
static PyObject *part_of(PyObject *object, PyObject *names) {
    for (Py_ssize_t i = 0; object && i < PyTuple_GET_SIZE(names); i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        Py_ssize_t offset = offset_of(Py_TYPE(object), name);
        object = offset == IN_DICT ? attribute(object, name) : *(PyObject **)((char *)object + offset);
    }
    return object;
}

/* ---- how they are written ---------------------------------------------------------------------------------------- */

/* A number that is not negative, the most significant byte first; false: it is another, or none. */
static bool read_number(PyObject *value, unsigned char *bytes, size_t n) {
    if (!PyLong_CheckExact(value)) return false;
#if PY_VERSION_HEX >= 0x030D0000
    int flags = Py_ASNATIVEBYTES_BIG_ENDIAN | Py_ASNATIVEBYTES_UNSIGNED_BUFFER | Py_ASNATIVEBYTES_REJECT_NEGATIVE;
    Py_ssize_t needed = PyLong_AsNativeBytes(value, bytes, (Py_ssize_t)n, flags);
    bool fits = needed >= 0 && needed <= (Py_ssize_t)n;
#else
    bool fits = !_PyLong_AsByteArray((PyLongObject *)value, bytes, n, 0, 0);
#endif
    PyErr_Clear();
    return fits;
}

static bool put_uuid(mwpy_words *t, PyObject *value) {
    unsigned char bytes[16];
    if (!read_number(value, bytes, sizeof bytes)) return false;
    char text[36];
    size_t n = 0;
    for (size_t i = 0; i < sizeof bytes; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text[n++] = '-';
        text[n++] = "0123456789abcdef"[bytes[i] >> 4];
        text[n++] = "0123456789abcdef"[bytes[i] & 15];
    }
    mwpy_say(t, text, n);
    return true;
}

static bool put_ipv4(mwpy_words *t, PyObject *value) {
    unsigned char b[4];
    if (!read_number(value, b, sizeof b)) return false;
    mwpy_say_format(t, "%d.%d.%d.%d", b[0], b[1], b[2], b[3]);
    return true;
}

/* The longest run of groups that are zero, the first of equal ones, is left out (RFC 5952). */
static bool put_ipv6(mwpy_words *t, PyObject *value) {
    static const unsigned char mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    unsigned char b[16];
    if (!read_number(value, b, sizeof b)) return false;
    if (!memcmp(b, mapped, sizeof mapped)) {
        mwpy_say_format(t, "::ffff:%d.%d.%d.%d", b[12], b[13], b[14], b[15]);
        return true;
    }
    int start = -1, longest = 1;
    for (int i = 0, run = 0; i < 8; i++) {
        run = b[2 * i] || b[2 * i + 1] ? 0 : run + 1;
        if (run > longest) {
            longest = run;
            start = i - run + 1;
        }
    }
    for (int i = 0; i < 8; i++) {
        if (i == start) {
            mwpy_say_string(t, "::");
            i += longest - 1;
        } else {
            mwpy_say_format(t, i && i != start + longest ? ":%x" : "%x", b[2 * i] << 8 | b[2 * i + 1]);
        }
    }
    return true;
}

/* The segment that a path begins with, the last absolute one; -1: they are no segments. */
static Py_ssize_t first_segment(PyObject *segments) {
    if (!PyList_CheckExact(segments) || PyList_GET_SIZE(segments) > PATH_MOST) return -1;
    Py_ssize_t first = 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(segments); i++) {
        PyObject *s = PyList_GET_ITEM(segments, i);
        if (!PyUnicode_Check(s)) return -1;
        if (PyUnicode_GET_LENGTH(s) && PyUnicode_READ_CHAR(s, 0) == '/') first = i;
    }
    return first;
}

/* The parts of a segment, but for those that say nothing: empty ones and single dots. */
static void put_parts(mwpy_words *t, PyObject *s, size_t *parts, size_t *scanned) {
    Py_ssize_t n = PyUnicode_GET_LENGTH(s);
    for (Py_ssize_t at = 0, end; at < n && !t->cut; at = end + 1) {
        for (end = at; end < n && PyUnicode_READ_CHAR(s, end) != '/' && *scanned < PATH_MOST; end++) ++*scanned;
        if (++*scanned > PATH_MOST) t->cut = true;
        if (end == at || (end == at + 1 && PyUnicode_READ_CHAR(s, at) == '.')) continue;
        if (++*parts > 1) mwpy_say_string(t, "/");
        for (; at < end && !t->cut; at++) mwpy_say_escaped(t, PyUnicode_READ_CHAR(s, at), '\'');
    }
}

/* The segments of a path, joined as pathlib does it. Two slashes at its beginning aren't the same as one, or three. */
static bool put_path(mwpy_words *t, PyObject *segments) {
    Py_ssize_t first = first_segment(segments), slashes = 0;
    if (first < 0) return false;
    size_t parts = 0, scanned = 0, before = t->n;
    for (Py_ssize_t i = first; i < PyList_GET_SIZE(segments) && !t->cut; i++) {
        PyObject *s = PyList_GET_ITEM(segments, i);
        while (i == first && slashes < 3 && slashes < PyUnicode_GET_LENGTH(s) && PyUnicode_READ_CHAR(s, slashes) == '/')
            slashes++;
        if (i == first && slashes) mwpy_say_string(t, slashes == 2 ? "//" : "/");
        put_parts(t, s, &parts, &scanned);
    }
    if (t->n == before && !t->cut) mwpy_say_string(t, ".");
    return true;
}

/* Of an enumeration: `Perm.READ`, and of several `Perm.READ|Perm.WRITE`; what has no name is a number. */
static bool put_member(mwpy_words *t, PyObject *value, PyObject *name) {
    if (!PyUnicode_Check(name)) return false;
    Py_UCS4 before = '|';
    for (Py_ssize_t i = 0; i < PyUnicode_GET_LENGTH(name) && !t->cut; i++) {
        Py_UCS4 c = PyUnicode_READ_CHAR(name, i);
        if (before == '|' && !(c >= '0' && c <= '9')) {
            mwpy_say_type_name(t, Py_TYPE(value));
            mwpy_say_string(t, ".");
        }
        mwpy_say_escaped(t, c, '\'');
        before = c;
    }
    return PyUnicode_GET_LENGTH(name) > 0;
}

static bool put_part(mwpy_words *t, PyObject *value, PyObject *part, long form, int level) {
    switch ((enum form)form) {
    case AS_VALUE: t->value(t, part, level + 1); return true;
    case AS_TEXT:
        if (!PyUnicode_Check(part)) return false;
        mwpy_say_characters(t, part);
        return true;
    case AS_MEMBER: return put_member(t, value, part);
    case AS_UUID: return put_uuid(t, part);
    case AS_IPV4: return put_ipv4(t, part);
    case AS_IPV6: return put_ipv6(t, part);
    case AS_PATH: return put_path(t, part);
    }
    return false;
}

/* A piece is text, or (form, names) of a part; of no names: of the value's class. */
static bool put_template(mwpy_words *t, PyObject *value, PyObject *pieces, int level) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(pieces) && !t->cut; i++) {
        PyObject *piece = PyTuple_GET_ITEM(pieces, i);
        if (PyUnicode_Check(piece)) {
            Py_ssize_t n = PyUnicode_GET_LENGTH(piece);
            for (Py_ssize_t c = 0; c < n; c++) mwpy_say_character(t, PyUnicode_READ_CHAR(piece, c));
            continue;
        }
        PyObject *names = PyTuple_GET_ITEM(piece, 1);
        if (!PyTuple_GET_SIZE(names)) {
            mwpy_say_type_name(t, Py_TYPE(value));
            continue;
        }
        PyObject *part = part_of(value, names);
        mwpy_say_part(t);
        if (!part || !put_part(t, value, part, PyLong_AsLong(PyTuple_GET_ITEM(piece, 0)), level)) return false;
    }
    return true;
}

bool mwpy_say_declared(mwpy_words *t, PyObject *value, PyObject *declared, int level) {
    PyObject *templates = PyTuple_GET_ITEM(declared, 3);
    size_t n = t->n, most = t->most;
    bool cut = t->cut, nested = t->nested, has_part = t->has_part;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(templates); i++) {
        if (put_template(t, value, PyTuple_GET_ITEM(templates, i), level)) return true;
        t->n = n;
        t->most = most;
        t->cut = cut;
        t->nested = nested;
        t->has_part = has_part;
    }
    return false;
}

/* ---- which types ------------------------------------------------------------------------------------------------- */

/* The type that a module has under a name, if it is there already. Borrowed. */
static PyTypeObject *type_named(PyObject *module, PyObject *name) {
    PyObject *found = mwpy_entry(PyImport_GetModuleDict(), module);
    found = found && PyModule_Check(found) ? mwpy_entry(PyModule_GetDict(found), name) : NULL;
    return found && PyType_Check(found) ? (PyTypeObject *)found : NULL;
}

PyObject *mwpy_declared(PyTypeObject *type) {
    if (!all_declared) return NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(all_declared); i++) {
        PyObject *one = PyTuple_GET_ITEM(all_declared, i);
        PyTypeObject *meant = type_named(PyTuple_GET_ITEM(one, 0), PyTuple_GET_ITEM(one, 1));
        bool subclasses = PyTuple_GET_ITEM(one, 2) == Py_True;
        if (meant && (meant == type || (subclasses && PyType_IsSubtype(type, meant)))) return one;
    }
    return NULL;
}

void mwpy_declare(PyObject *all) {
    PyObject *before = all_declared;
    all_declared = Py_XNewRef(all);
    memset(places, 0, sizeof places);
    Py_XDECREF(before);
}
