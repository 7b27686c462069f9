/* reports.h - what the interpreter reports of objects that are watched, and who takes the reports.
 *
 * The files that make it report (attributes.c, layout.c, members.c) stand below those that know nodes: places.c says
 * whom they call. Everything here wants the interpreter lock. */
#ifndef MEMWATCH_PYTHON_REPORTS_H
#define MEMWATCH_PYTHON_REPORTS_H
#include "adapter.h"

/* How a list is about to be changed by its own code. */
enum {
    MWPY_LIST_QUIET = 1,  /* no code of the program's runs meanwhile, nor another thread */
    MWPY_LIST_LOSES = 2,  /* items may go: they are kept alive until they have been told */
    MWPY_LIST_GROWS = 4,  /* what it holds stays where it is */
    MWPY_LIST_MOVES = 8,  /* the same items, in another order */
    MWPY_LIST_FIRST = 16, /* the first of the items that go is let go first, not the last one */
};

/* From the beginning of such a change to its end. */
typedef struct mwpy_list_turn {
    PyObject *list; /* borrowed: who calls has it */
    unsigned how;
    Py_ssize_t index, n; /* the only item that changes, or -1; how many there were */
    uint64_t changes;
    PyObject **held; /* items that are kept alive */
    Py_ssize_t held_n;
    unsigned char before[64]; /* a cell: what the whole list was */
} mwpy_list_turn;

typedef struct mwpy_reports {
    /* A dict changes: as PyDict_WatchCallback. */
    int (*dict_changes)(PyDict_WatchEvent event, PyObject *dict, PyObject *key, PyObject *now);
    /* An object has another dict now, or none; before: the one that it had. */
    void (*dict_replaced)(PyObject *owner, PyObject *before);
    /* The slot of an object is going to hold `now`, or nothing more (NULL). */
    void (*slot_changes)(PyObject *object, Py_ssize_t offset, PyObject *now);
    /* An object's memory is about to be freed; what it held is gone. */
    void (*object_ends)(PyObject *object);
    /* An object has another class now. */
    void (*class_changed)(PyObject *object);

    /* Memory of storage.h is too small now, or larger than it need be: what the container shall have, or NULL. It is
     * given back. */
    void *(*storage_resized)(void *address, size_t bytes);
    void (*storage_freed)(void *address);
    /* false: the list isn't watched, and there is no end to report. */
    bool (*list_begins)(mwpy_list_turn *turn, PyObject *list, unsigned how, Py_ssize_t index);
    void (*list_ends)(mwpy_list_turn *turn);
} mwpy_reports;

extern mwpy_reports mwpy_report;

/* Has changes of a dict reported, or no longer. 0, or -1: all watchers of the interpreter are in use, or,
 * of CPython 3.11, there is no memory, or another tool has hooked its allocator (then with an exception). */
int mwpy_dict_watch(PyObject *dict);
void mwpy_dict_unwatch(PyObject *dict);
#if PY_VERSION_HEX < 0x030C0000
/* A change is reported when it is made already: what the key had before. */
extern PyObject *mwpy_dict_before;
#endif
#endif
