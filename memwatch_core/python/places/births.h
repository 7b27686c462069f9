/* births.h - that an instance of a class is born, is told before anything else knows it. */
#ifndef MEMWATCH_PYTHON_BIRTHS_H
#define MEMWATCH_PYTHON_BIRTHS_H
#include "adapter.h"

struct mwpy_root;

/* Who is told of each; the interpreter lock is held, no exception is set. */
extern void (*mwpy_born)(struct mwpy_root *root, PyObject *instance);

/* From now on, as far as the interpreter makes instances of a class of the program's, or of its subclasses, those that
 * come later too; those that there are, now. However they are made: by a call, by a copy, by a pickle, by C code. */
void mwpy_births_begin(struct mwpy_root *root, PyObject *type);
void mwpy_births_end(struct mwpy_root *root, PyObject *type);
void mwpy_births_leave(struct mwpy_root *root); /* of all classes */
#endif
