/* reports.c - see reports.h. */
#include "places/reports.h"

mwpy_reports mwpy_report;

#if PY_VERSION_HEX >= 0x030C0000

static int watcher = -1;

int mwpy_dict_watch(PyObject *dict) {
    if (watcher < 0) watcher = PyDict_AddWatcher(mwpy_report.dict_changes);
    if (watcher >= 0 && !PyDict_Watch(watcher, dict)) return 0;
    PyErr_Clear();
    return -1;
}

void mwpy_dict_unwatch(PyObject *dict) { PyDict_Unwatch(watcher, dict); }
#endif
