/* types.c - see types.h. */
#define Py_BUILD_CORE_MODULE 1
#include "interpreter.h"
#include "places/types.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#include <internal/pycore_dict.h>
#pragma GCC diagnostic pop

PyObject *mwpy_entry(PyObject *dict, PyObject *name) {
    if (!dict || !name || !PyDict_Check(dict) || !DK_IS_UNICODE(((PyDictObject *)dict)->ma_keys)) return NULL;
    return PyDict_GetItemWithError(dict, name);
}

unsigned mwpy_version_of(PyTypeObject *type) {
    if (!(type->tp_flags & Py_TPFLAGS_HEAPTYPE)) return 1; /* it is never freed */
#if PY_VERSION_HEX >= 0x030C0000
    if (!type->tp_version_tag) PyUnstable_Type_AssignVersionTag(type);
    return type->tp_version_tag;
#else /* given where an attribute is looked up for the first time */
    return type->tp_flags & Py_TPFLAGS_VALID_VERSION_TAG ? type->tp_version_tag : 0;
#endif
}
