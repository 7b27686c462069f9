/* members.c - see members.h.
 *
 * The interpreter stores to a slot in two ways: by the descriptor's type, PyMemberDescr_Type, and, where an assignment
 * was executed a few times, by an instruction of its own, which asks nobody. The second isn't made for a slot that is
 * read-only: so a descriptor gets a copy of its PyMemberDef that says so, and the first way leads here. Only the copy
 * is changed: the class frees what its slots hold by its own table. */
#define Py_BUILD_CORE_MODULE 1
#include "interpreter.h"
#include "places/members.h"

#include "places/objects.h"
#include "places/reports.h"

enum { VERSIONS_FEW = 200 };
enum { WATCHED = 0x4D570000, WATCHED_MASK = 0x7FFF0000 }; /* of PyMemberDef.flags, where nobody looks */

struct mwpy_member {
    PyMemberDef watched; /* what the descriptor refers to now */
    PyMemberDef *plain;
    PyTypeObject *type; /* of which `plain` is a part; objects of it are there as long as this is used */
    bool described;     /* a descriptor refers to `watched` */
    size_t uses;
    mwpy_member *next;
};
static mwpy_member *members;
static bool left_behind; /* a descriptor was left as it is: see has_versions(), mwpy_member_give_back() */
static descrsetfunc plain_set;

PyMemberDef *mwpy_members_of(const PyTypeObject *type, size_t *count) {
    bool any = type->tp_flags & Py_TPFLAGS_HEAPTYPE && ((const PyHeapTypeObject *)type)->ht_slots;
    *count = any ? (size_t)Py_SIZE(type) : 0;
    return *count ? type->tp_members : NULL;
}

/* It is called for each member of any object, also of other interpreters, which have no watched ones. */
static int set(PyObject *descriptor, PyObject *object, PyObject *value) {
    PyMemberDef *def = ((PyMemberDescrObject *)descriptor)->d_member;
    if ((def->flags & WATCHED_MASK) != WATCHED) return plain_set(descriptor, object, value);
    if (!PyObject_TypeCheck(object, PyDescr_TYPE(descriptor))) return plain_set(descriptor, object, value); /* raises */
    if (value || *(PyObject **)((char *)object + def->offset)) mwpy_report.slot_changes(object, def->offset, value);
    return PyMember_SetOne((char *)object, ((mwpy_member *)def)->plain, value);
}

/* The type has the function in a field, and in the objects that `__set__` and `__delete__` are called by. */
static void lead_to(descrsetfunc function) {
    PyObject *dict = PyType_GetDict(&PyMemberDescr_Type);
    const char *names[] = {"__set__", "__delete__"};
    for (size_t i = 0; dict && i < Py_ARRAY_LENGTH(names); i++) {
        PyObject *wrapper = PyDict_GetItemString(dict, names[i]);
        if (wrapper && Py_IS_TYPE(wrapper, &PyWrapperDescr_Type))
            ((PyWrapperDescrObject *)wrapper)->d_wrapped = (void *)function;
    }
    Py_XDECREF(dict);
    PyMemberDescr_Type.tp_descr_set = function;
}

typedef struct search {
    const PyMemberDef *slot;
    PyObject *found;
} search;

static mwpy_member *watched_as(const PyMemberDescrObject *descriptor) {
    return (descriptor->d_member->flags & WATCHED_MASK) == WATCHED ? (mwpy_member *)descriptor->d_member : NULL;
}

static int look_at(PyObject *object, void *argument) {
    search *s = argument;
    if (!Py_IS_TYPE(object, &PyMemberDescr_Type)) return 1;
    const mwpy_member *known = watched_as((PyMemberDescrObject *)object);
    if ((known ? known->plain : ((PyMemberDescrObject *)object)->d_member) != s->slot) return 1;
    s->found = object;
    return 0;
}

/* In its class as a rule; where the program has put something else in its place, it may be kept elsewhere. */
static PyObject *descriptor_of(PyTypeObject *type, PyMemberDef *slot) {
    search s = {slot, NULL};
    PyObject *dict = PyType_GetDict(type), *found = dict ? PyDict_GetItemString(dict, slot->name) : NULL;
    if (found) look_at(found, &s);
    if (!s.found) mwpy_visit_objects(look_at, &s);
    Py_XINCREF(s.found);
    Py_XDECREF(dict);
    return s.found;
}

static mwpy_member *make(PyTypeObject *type, PyMemberDef *slot) {
    PyMemberDescrObject *descriptor = (PyMemberDescrObject *)descriptor_of(type, slot);
    mwpy_member *member = descriptor ? watched_as(descriptor) : NULL;
    if (!member && (member = PyMem_Malloc(sizeof *member))) { /* otherwise it was left as it is */
        *member = (mwpy_member){.watched = *slot, .plain = slot, .type = type, .described = descriptor != NULL};
        member->watched.flags |= WATCHED | Py_READONLY;
        if (descriptor) { /* otherwise nobody can store to it any more */
            descriptor->d_member = &member->watched;
            PyType_Modified(type); /* instructions that were made for its stores find that they aren't valid */
        }
    }
    Py_XDECREF(descriptor);
    return member;
}

mwpy_member *mwpy_member_take(PyTypeObject *type, PyMemberDef *slot) {
    mwpy_member *member = members;
    while (member && member->plain != slot) member = member->next;
    if (!member) {
        if (!members && !left_behind) {
            plain_set = PyMemberDescr_Type.tp_descr_set;
            lead_to(set);
        }
        member = make(type, slot);
        if (!member) return NULL;
        member->next = members;
        members = member;
    }
    member->uses++;
    return member;
}

/* CPython 3.13 and later give a class a thousand versions, one whenever it is used after PyType_Modified(); then they
 * specialise no instruction for it any more, reads neither. A class whose objects are watched one after another, again
 * and again, must not get there. */
static bool has_versions(const PyTypeObject *type) {
#if PY_VERSION_HEX >= 0x030D0000
    return type->tp_versions_used < VERSIONS_FEW;
#else
    return type != NULL;
#endif
}

/* No reference is held to the descriptor, which has one to its class: the collector, which doesn't know of ours, would
 * take both for something that is in use. */
void mwpy_member_give_back(mwpy_member *member) {
    if (--member->uses) return;
    for (mwpy_member **link = &members; *link; link = &(*link)->next)
        if (*link == member) {
            *link = member->next;
            break;
        }
    PyMemberDescrObject *descriptor = NULL;
    if (member->described && has_versions(member->type))
        descriptor = (PyMemberDescrObject *)descriptor_of(member->type, member->plain);
    if (descriptor) descriptor->d_member = member->plain;
    if (descriptor || !member->described)
        PyMem_Free(member);
    else
        left_behind = true; /* a descriptor refers to it for ever, or one that the collector is taking */
    if (!members && !left_behind) lead_to(plain_set);
    Py_XDECREF(descriptor);
}
