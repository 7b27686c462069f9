/* bytecode.h - what an instruction does, read from a code object as it was compiled: whatever the interpreter has
 * specialised or instrumented meanwhile. Everything here wants the GIL, runs no Python code and leaves no exception. */
#ifndef MEMWATCH_PYTHON_BYTECODE_H
#define MEMWATCH_PYTHON_BYTECODE_H
#include "adapter.h"

enum mwpy_act { MWPY_ACT_OTHER = 0, MWPY_ACT_STORE, MWPY_ACT_DELETE };
enum mwpy_where { MWPY_LOCAL, MWPY_NAME, MWPY_GLOBAL, MWPY_ATTRIBUTE, MWPY_ITEM };

/* A store to, or a deletion of, a name, an attribute or an item. */
typedef struct mwpy_binding {
    enum mwpy_act act;
    enum mwpy_where where;
    int index;      /* of a local variable, in localsplus; of another name, in co_names */
    PyObject *name; /* borrowed; NULL of an item, or where one of two may be meant */
    bool computed;  /* it is x = x + 1, with any operator and operands */
} mwpy_binding;

/* called: the name to look for where an instruction stores to two. */
mwpy_binding mwpy_binding_at(PyCodeObject *code, int unit, PyObject *called);

/* Whether the instruction is the operator of x += f(), any in-place one: what it adds was computed by a call after x
 * was looked up. Calls of builtin functions that run no code of the program's don't count. */
bool mwpy_adds_a_call(PyCodeObject *code, int unit);
#endif
