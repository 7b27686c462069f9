/* layout.h - the classes of watched objects: where their slots lie, and when an object of theirs is gone. */
#ifndef MEMWATCH_PYTHON_LAYOUT_H
#define MEMWATCH_PYTHON_LAYOUT_H
#include "places/members.h"

typedef struct mwpy_class_slot {
    PyObject *name; /* NULL: no slot lies there */
    PyObject *key;  /* mwpy_slot_key(name): its object's dict may have an entry of this name, which is another place */
    mwpy_member *member;
} mwpy_class_slot;

typedef struct mwpy_layout {
    PyTypeObject *type; /* borrowed from the watched objects: the collector must not think that it is in use */
    size_t uses;
    struct mwpy_layout *next;
    Py_ssize_t first; /* offset of the first slot in an object */
    size_t count;     /* words from there on */
    mwpy_class_slot *slots;
} mwpy_layout;

/* From now on, as long as it is used: stores to slots of its objects, the end of one and another class of
 * one are reported (reports.h). NULL without an exception: there is no
 * memory, or the end of such objects can't be told. */
bool mwpy_layout_can(const PyTypeObject *type);
mwpy_layout *mwpy_layout_take(PyTypeObject *type);
void mwpy_layout_give_back(mwpy_layout *layout);

static inline PyObject **mwpy_slot_in(PyObject *object, const mwpy_layout *layout, size_t i) {
    return (PyObject **)((char *)object + layout->first) + i;
}
#endif
