/* endings.h - where and why the last reference to a watched object went away. */
#ifndef MEMWATCH_PYTHON_ENDINGS_H
#define MEMWATCH_PYTHON_ENDINGS_H
#include "adapter.h"

/* For the finalizer of an object, which is called `name`: wants the GIL, runs no Python code, keeps the exception that
 * is set. *now: what has taken its place, borrowed; NULL: nothing, or it isn't known. */
mw_ending mwpy_how_it_ends(PyObject *name, PyObject **now);

/* unwatch() was called: the line is that of the frame `above` frames above the running one. */
mw_ending mwpy_unwatched(int above);
#endif
