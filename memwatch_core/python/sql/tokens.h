/* tokens.h - which statement an object ran last: a cursor, or whatever else runs statements. */
#ifndef MEMWATCH_PYTHON_TOKENS_H
#define MEMWATCH_PYTHON_TOKENS_H
#include "adapter.h"

/* Where the tokens of objects are held, each in a list. In the slot `_memwatch` of a composed class; otherwise in
 * `beside`, by address, with a weak reference that tells whether the object is still the same. Objects need to have the
 * slot or allow weak references; nothing is kept of one that is gone. */
typedef struct mwpy_tokens {
    PyObject_HEAD PyObject *beside;
} mwpy_tokens;

/* Items of the list. */
enum {
    MWPY_TOKEN,
    MWPY_REFERENCE,
    MWPY_FETCHING /* True: a method of the object's that hands out rows is running */,
    MWPY_ITEMS
};

extern PyTypeObject *mwpy_tokens_type;
extern PyType_Spec mwpy_tokens_spec;

/* The list that holds an object's token, a new reference. `create` one where there is none; otherwise None. */
PyObject *mwpy_held(mwpy_tokens *self, PyObject *of, bool create);
PyObject *mwpy_token_in(PyObject *held); /* a new reference; None if there is none */

/* What is in the slot of an object of a composed class, past whatever attributes the program has. */
int mwpy_intern_slot(void);
PyObject *mwpy_slot(PyObject *module, PyObject *of);
PyObject *mwpy_set_slot(PyObject *module, PyObject *const *args, Py_ssize_t n);

/* Its name: no identifier, so that no attribute of the program's is called so. */
#define MWPY_SLOT "_memwatch.slot"
#endif
