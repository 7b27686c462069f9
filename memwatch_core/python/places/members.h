/* members.h - the descriptors of slots: what a class has for each name in its __slots__. */
#ifndef MEMWATCH_PYTHON_MEMBERS_H
#define MEMWATCH_PYTHON_MEMBERS_H
#include "adapter.h"

typedef struct mwpy_member mwpy_member;

/* The slots that a class statement adds to those of the base class; NULL: it adds none. */
PyMemberDef *mwpy_members_of(const PyTypeObject *type, size_t *count);
/* Whether it lies at a fixed place of an object. (CPython 3.15 has some that lie behind a tuple's items.) */
static inline bool mwpy_member_is_fixed(const PyMemberDef *slot) {
    return slot->type == Py_T_OBJECT_EX && !slot->flags;
}

/* Has each store to a slot of a class reported (reports.h), whoever makes it and however: `o.a = 1`,
 * `object.__setattr__`, `Class.a.__set__`, PyObject_SetAttr. Reads stay as they are. NULL: no memory. */
mwpy_member *mwpy_member_take(PyTypeObject *type, PyMemberDef *slot);
void mwpy_member_give_back(mwpy_member *member);
#endif
