/* tokens.h - the last statement of an object that runs statements, such as a cursor. */
#ifndef MEMWATCH_PYTHON_TOKENS_H
#define MEMWATCH_PYTHON_TOKENS_H
#include "adapter.h"

/* Holds the tokens of objects, each in a list: in the slot MWPY_SLOT of a composed class; otherwise in `beside`, by
 * address, with a weak reference that shows whether it is still the same object. Objects need the slot, or support for
 * weak references. Entries of dead objects are removed. */
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

/* The list that holds an object's token, a new reference. If there is none, it is created, or (not `create`) None. */
PyObject *mwpy_held(mwpy_tokens *self, PyObject *of, bool create);
PyObject *mwpy_token_in(PyObject *held); /* a new reference; None if there is none */

/* The value in the slot of an object of a composed class, whatever attributes the program defines. */
int mwpy_intern_slot(void);
PyObject *mwpy_slot(PyObject *module, PyObject *of);
PyObject *mwpy_set_slot(PyObject *module, PyObject *const *args, Py_ssize_t n);

/* The slot's name: not an identifier, so that no attribute of the program's has it. */
#define MWPY_SLOT "_memwatch.slot"
#endif
