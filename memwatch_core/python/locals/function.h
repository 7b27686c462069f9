/* function.h - a function whose names are watched: one variable of the core, a cell for each name.
 *
 * An object of the interpreter's, which is a constant of the function's code. Where the code begins, it is inverted:
 * that announces an activation and its parameters. Everything here wants the interpreter lock, runs no code of the
 * program's, and leaves no exception set unless it says so. */
#ifndef MEMWATCH_PYTHON_FUNCTION_H
#define MEMWATCH_PYTHON_FUNCTION_H
#include "interpreter.h"
#include "places/slab.h"

typedef struct mwpy_local {
    PyObject *name; /* strong: str */
    mwpy_cell_number number;
    uint32_t activation;  /* which one it was bound in last */
    const PyObject *held; /* what to: compared, and not kept alive */
    bool judged, secret;
    bool turned; /* the cell was written without an event */
} mwpy_local;

typedef struct mwpy_parameter {
    unsigned local, slot;
    bool cell;
} mwpy_parameter;

typedef struct mwpy_function {
    PyObject_HEAD mwpy_cells cells;
    PyObject *name, *metadata; /* strong: str, bytes */
    PyObject *info;            /* what variable() returns; strong */
    uint32_t flags;
    bool off;        /* it isn't watched any more */
    uint64_t epoch;  /* of the journal that `cells` are in; 0: they aren't there */
    uint64_t failed; /* of the journal in which there was no room for them */
    uint32_t activations;
    const void *frame; /* the last one that began, or was asked for, and which one it is */
    uint32_t number;
    mwpy_local *locals;
    unsigned count;
    mwpy_parameter *parameters;
    unsigned parameters_n;
    unsigned *shared; /* slots of cells that inner functions bind */
    unsigned shared_n;
    struct mwpy_function *next, **link; /* of those whose cells are there */
} mwpy_function;

/* Whether a journal is open: 0, or which one. */
extern uint64_t mwpy_locals_epoch;
static inline bool mwpy_function_records(const mwpy_function *f) { return mwpy_locals_epoch && !f->off; }

/* The type; NULL with an exception. */
PyTypeObject *mwpy_function_type(void);
bool mwpy_function_check(PyObject *object);

/* Of a name, which it gets if it isn't there. -1 with an exception: no memory. */
int mwpy_function_local(mwpy_function *f, PyObject *name);

/* Which activation a frame of the function is. */
uint32_t mwpy_function_activation(mwpy_function *f, const mwpy_frame *frame);
/* The same of the frame that has made a cell. 0: it isn't known. */
uint32_t mwpy_function_activation_of_cell(mwpy_function *f, const PyObject *cell);

/* A name is about to be bound to `now`, or deleted (NULL); held: what it holds until then. activation: 0, of a name
 * that has none. */
void mwpy_function_tells(mwpy_function *f, unsigned local, uint32_t activation, PyObject *held, PyObject *now);

/* Of a name that is bound already: it held what it holds now, before a sum is made; it holds this, the sum. A text may
 * have grown where it was. */
void mwpy_function_looks(mwpy_function *f, unsigned local, uint32_t activation, PyObject *held);
void mwpy_function_tells_sum(mwpy_function *f, unsigned local, uint32_t activation, PyObject *sum);

/* Ends its watch. */
void mwpy_function_ends(mwpy_function *f, mw_ending ending);
/* From now on a journal is open, with such flags for variables in it; or no longer: then all watches have ended. */
void mwpy_functions_begin(uint32_t flags);
void mwpy_functions_end(void);

/* What is in a slot of a frame. Borrowed, NULL: nothing. */
static inline PyObject *mwpy_in_slot(const mwpy_frame *frame, unsigned slot) {
#if PY_VERSION_HEX >= 0x030E0000
    _PyStackRef held = frame->localsplus[slot];
    return PyStackRef_IsNull(held) ? NULL : PyStackRef_AsPyObjectBorrow(held);
#else
    return frame->localsplus[slot];
#endif
}
static inline void mwpy_store_in_slot(mwpy_frame *frame, unsigned slot, PyObject *value) {
#if PY_VERSION_HEX >= 0x030E0000
    _PyStackRef before = frame->localsplus[slot];
    frame->localsplus[slot] = PyStackRef_FromPyObjectNew(value);
    PyStackRef_XCLOSE(before);
#else
    Py_XSETREF(frame->localsplus[slot], Py_NewRef(value));
#endif
}
static inline PyObject *mwpy_in_cell(PyObject *cell) { return cell && PyCell_Check(cell) ? PyCell_GET(cell) : NULL; }
#endif
