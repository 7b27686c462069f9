/* reports.h - what the interpreter reports of objects that are watched, and who takes the reports.
 *
 * The files that make it report (attributes.c, layout.c, members.c) stand below those that know nodes: places.c says
 * whom they call. Everything here wants the interpreter lock. */
#ifndef MEMWATCH_PYTHON_REPORTS_H
#define MEMWATCH_PYTHON_REPORTS_H
#include "adapter.h"

#if PY_VERSION_HEX >= 0x030C0000

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
} mwpy_reports;

extern mwpy_reports mwpy_report;

/* Has changes of a dict reported, or no longer. 0, or -1 (no exception): all watchers of the interpreter are in use. */
int mwpy_dict_watch(PyObject *dict);
void mwpy_dict_unwatch(PyObject *dict);
#endif
#endif
