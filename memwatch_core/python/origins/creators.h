/* creators.h - who created an asyncio task: the stack of that call, for the stacks of what the task does. */
#ifndef MEMWATCH_PYTHON_CREATORS_H
#define MEMWATCH_PYTHON_CREATORS_H
#include "origins/stacks.h"
#include "origins/tasks.h"

/* From now on it is noted who creates tasks of this type, asyncio's own, whose __init__ this is, and of those derived
 * from it later. Another type, or the same again: nothing happens. Needs the GIL; async-signal-safe with it. */
void mwpy_note_creators(PyTypeObject *type, PyObject *init);

/* A stack with those who created a task, if that is known, behind its callers. Async-signal-safe. */
mwpy_stack mwpy_with_creators(mwpy_stack stack, const PyObject *task);
#endif
