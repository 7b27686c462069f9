/* layout.c - see layout.h.
 *
 * An object with slots may have no dict and no weak references, so that nothing tells of its end but the function that
 * frees its memory: type->tp_free, called behind all finalizers, when nothing can revive the object any more. The
 * interpreter refuses to give an object a class, or a class a base, that frees in another way; so while such an
 * assignment is made, both have the same function. */
#include "places/layout.h"

#include <string.h>

#include "places/members.h"
#include "places/reports.h"
#include "places/slot_keys.h"

static mwpy_layout *layouts; /* the one used last comes first */

static void free_object(void *object) {
    mwpy_report.object_ends(object);
    PyObject_GC_Del(object);
}

/* ---- assignments to __class__ and __bases__ ---------------------------------------------------------------------- */

typedef struct setter_of {
    PyTypeObject *owner;
    const char *name;
    setter ours;
    PyGetSetDef watched, *plain;
} setter_of;

static int set_class(PyObject *object, PyObject *value, void *closure);
static int set_bases(PyObject *type, PyObject *value, void *closure);
static setter_of setters[] = {{&PyBaseObject_Type, "__class__", set_class, {0}, NULL},
                              {&PyType_Type, "__bases__", set_bases, {0}, NULL}};

/* Once and for all: others may lead them elsewhere afterwards, and back here. */
static void lead_setters(void) {
    static bool done;
    if (done) return;
    done = true;
    for (size_t i = 0; i < Py_ARRAY_LENGTH(setters); i++) {
        setter_of *s = &setters[i];
        PyObject *dict = PyType_GetDict(s->owner), *found = dict ? PyDict_GetItemString(dict, s->name) : NULL;
        if (found && Py_IS_TYPE(found, &PyGetSetDescr_Type)) {
            PyGetSetDescrObject *descriptor = (PyGetSetDescrObject *)found;
            s->plain = descriptor->d_getset;
            s->watched = *s->plain;
            s->watched.set = s->ours;
            descriptor->d_getset = &s->watched;
        }
        Py_XDECREF(dict);
    }
}

static bool is_told(const PyTypeObject *type) { return type->tp_free == free_object; }
static PyTypeObject *as_type(PyObject *object) {
    return object && PyType_Check(object) ? (PyTypeObject *)object : NULL;
}

static int set_class(PyObject *object, PyObject *value, void *closure) {
    PyTypeObject *from = Py_TYPE(object), *to = as_type(value);
    setter plain = setters[0].plain->set;
    if (!to || (!is_told(from) && !is_told(to))) return plain(object, value, closure);
    Py_INCREF(from); /* its last object may be this one */
    mwpy_layout *before = mwpy_layout_take(from), *after = mwpy_layout_take(to);
    int result = plain(object, value, closure);
    if (!result) mwpy_report.class_changed(object);
    if (before) mwpy_layout_give_back(before);
    if (after) mwpy_layout_give_back(after);
    Py_DECREF(from);
    return result;
}

static int look_again(mwpy_layout *layout);

static int set_bases(PyObject *type, PyObject *value, void *closure) {
    PyTypeObject *base = ((PyTypeObject *)type)->tp_base;
    Py_ssize_t n = value && PyTuple_Check(value) ? PyTuple_GET_SIZE(value) : 0;
    bool any = base && is_told(base);
    for (Py_ssize_t i = 0; i < n; i++)
        any |= as_type(PyTuple_GET_ITEM(value, i)) && is_told(as_type(PyTuple_GET_ITEM(value, i)));
    mwpy_layout **taken = PyMem_Calloc((size_t)n + 1, sizeof(mwpy_layout *));
    if (!taken) {
        PyErr_NoMemory();
        return -1;
    }
    Py_XINCREF(base); /* of whose slots objects of the type are told */
    if (any) taken[n] = mwpy_layout_take(base);
    for (Py_ssize_t i = 0; i < n && any; i++)
        if (as_type(PyTuple_GET_ITEM(value, i))) taken[i] = mwpy_layout_take(as_type(PyTuple_GET_ITEM(value, i)));
    int result = setters[1].plain->set(type, value, closure);
    for (mwpy_layout *layout = layouts; layout && !result; layout = layout->next)
        if (PyType_IsSubtype(layout->type, (PyTypeObject *)type) && look_again(layout)) {
            PyErr_NoMemory();
            result = -1;
            base = NULL; /* then its slots are told of for ever */
        }
    for (Py_ssize_t i = 0; i <= n; i++)
        if (taken[i]) mwpy_layout_give_back(taken[i]);
    PyMem_Free(taken);
    Py_XDECREF(base);
    return result;
}

/* ---- slots ------------------------------------------------------------------------------------------------------- */

static void drop_slots(mwpy_class_slot *slots, size_t count) {
    for (size_t i = 0; slots && i < count; i++) {
        Py_XDECREF(slots[i].name);
        Py_XDECREF(slots[i].key);
        if (slots[i].member) mwpy_member_give_back(slots[i].member);
    }
    PyMem_Free(slots);
}

/* A class may have a slot of the same name as its base class: then the base's is another place, called `Base.name`. */
static PyObject *name_of(const PyTypeObject *type, const PyMemberDef *slot, const mwpy_class_slot *slots,
                         size_t count) {
    PyObject *name = PyUnicode_InternFromString(slot->name);
    for (size_t i = 0; name && i < count; i++)
        if (slots[i].name && !PyUnicode_Compare(slots[i].name, name)) {
            Py_SETREF(name, PyUnicode_FromFormat("%U.%U", ((PyHeapTypeObject *)type)->ht_name, name));
            break;
        }
    return name;
}

static int find_slots(PyTypeObject *type, Py_ssize_t *first, size_t *words, mwpy_class_slot **slots) {
    Py_ssize_t low = PY_SSIZE_T_MAX, high = 0;
    size_t count;
    for (PyTypeObject *t = type; t; t = t->tp_base) {
        PyMemberDef *slot = mwpy_members_of(t, &count);
        for (size_t i = 0; i < count; i++) {
            if (!mwpy_member_is_fixed(&slot[i])) continue;
            low = slot[i].offset < low ? slot[i].offset : low;
            high = slot[i].offset > high ? slot[i].offset : high;
        }
    }
    *first = low;
    *words = high ? (size_t)(high - low) / sizeof(PyObject *) + 1 : 0;
    *slots = PyMem_Calloc(*words + 1, sizeof **slots);
    bool failed = !*slots;
    for (PyTypeObject *t = type; t && !failed; t = t->tp_base) {
        PyMemberDef *slot = mwpy_members_of(t, &count);
        for (size_t i = 0; i < count && !failed; i++) {
            if (!mwpy_member_is_fixed(&slot[i])) continue;
            PyObject *name = name_of(t, &slot[i], *slots, *words);
            mwpy_class_slot *at = *slots + (size_t)(slot[i].offset - low) / sizeof(PyObject *);
            *at = (mwpy_class_slot){name, name ? mwpy_slot_key(name) : NULL, mwpy_member_take(t, &slot[i])};
            failed = !at->key || !at->member;
        }
    }
    if (!failed) return 0;
    drop_slots(*slots, *words);
    PyErr_Clear();
    return -1;
}

/* Its bases are others now, with slots at the same places. */
static int look_again(mwpy_layout *layout) {
    Py_ssize_t first;
    size_t count;
    mwpy_class_slot *slots;
    int collected = mwpy_collector_stops(), failed = find_slots(layout->type, &first, &count, &slots);
    mwpy_collector_goes_on(collected);
    if (failed) return -1;
    if (first == layout->first && count == layout->count) {
        mwpy_class_slot *before = layout->slots;
        layout->slots = slots;
        slots = before;
    }
    drop_slots(slots, count);
    return 0;
}

/* ---- layouts ----------------------------------------------------------------------------------------------------- */

static mwpy_layout *make(PyTypeObject *type) {
    mwpy_layout *made = PyMem_Malloc(sizeof *made);
    if (!made) return NULL;
    *made = (mwpy_layout){.type = type, .next = layouts};
    if (find_slots(type, &made->first, &made->count, &made->slots)) {
        PyMem_Free(made);
        return NULL;
    }
    lead_setters();
    type->tp_free = free_object;
    return layouts = made;
}

bool mwpy_layout_can(const PyTypeObject *type) {
    return type->tp_flags & Py_TPFLAGS_HEAPTYPE && (type->tp_free == PyObject_GC_Del || is_told(type));
}

mwpy_layout *mwpy_layout_take(PyTypeObject *type) {
    mwpy_layout **link = &layouts, *found;
    while (*link && (*link)->type != type) link = &(*link)->next;
    found = *link;
    if (found) {
        *link = found->next;
        found->next = layouts;
        layouts = found;
    } else if (mwpy_layout_can(type)) {
        int collected = mwpy_collector_stops();
        found = make(type);
        mwpy_collector_goes_on(collected);
    }
    if (found) found->uses++;
    return found;
}

void mwpy_layout_give_back(mwpy_layout *layout) {
    if (--layout->uses) return;
    for (mwpy_layout **link = &layouts; *link; link = &(*link)->next)
        if (*link == layout) {
            *link = layout->next;
            break;
        }
    layout->type->tp_free = PyObject_GC_Del;
    drop_slots(layout->slots, layout->count);
    PyMem_Free(layout);
}
