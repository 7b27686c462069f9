/* slot_keys.h - keys by which slots are called. An object's dict may have an entry under the name of a slot, which is
 * another place: no key of a dict is equal to one of these. */
#ifndef MEMWATCH_PYTHON_SLOT_KEYS_H
#define MEMWATCH_PYTHON_SLOT_KEYS_H
#include "adapter.h"

/* A new reference; equal to any other one of this name. NULL with an exception: no memory. */
PyObject *mwpy_slot_key(PyObject *name);
/* The name, borrowed; NULL: it is no key of a slot. */
PyObject *mwpy_slot_key_name(PyObject *key);
#endif
