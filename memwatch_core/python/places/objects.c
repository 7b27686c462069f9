/* objects.c - see objects.h. */
#define Py_BUILD_CORE_MODULE 1
#include "interpreter.h"
#include "places/objects.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#include "internal/pycore_gc.h"
#include "internal/pycore_interp.h"
#pragma GCC diagnostic pop

void mwpy_visit_objects(int (*look)(PyObject *object, void *argument), void *argument) {
#if PY_VERSION_HEX >= 0x030C0000
    PyUnstable_GC_VisitObjects(look, argument);
#else
    struct _gc_runtime_state *gc = &PyInterpreterState_Get()->gc;
    for (int i = 0; i <= NUM_GENERATIONS; i++) {
        PyGC_Head *list = i < NUM_GENERATIONS ? &gc->generations[i].head : &gc->permanent_generation.head;
        for (PyGC_Head *at = _PyGCHead_NEXT(list); at != list; at = _PyGCHead_NEXT(at))
            if (!look((PyObject *)(at + 1), argument)) return;
    }
#endif
}

typedef struct search {
    bool (*is)(PyObject *object, void *argument);
    void *argument;
    PyObject **found;
    size_t n, room;
} search;

static int look_at(PyObject *object, void *argument) {
    search *s = argument;
    if (!Py_REFCNT(object) || !s->is(object, s->argument)) return 1;
    if (s->n == s->room) {
        size_t room = s->room ? 2 * s->room : 64;
        PyObject **grown = PyMem_RawRealloc(s->found, room * sizeof *grown);
        if (!grown) return 0;
        s->found = grown;
        s->room = room;
    }
    s->found[s->n++] = object;
    return 1;
}

PyObject **mwpy_find_objects(bool (*is)(PyObject *object, void *argument), void *argument, size_t *count) {
    search s = {is, argument, NULL, 0, 0};
    mwpy_visit_objects(look_at, &s);
    *count = s.n;
    return s.found;
}

/* type.__subclasses__ itself: a metaclass may have one of its own. */
PyObject *mwpy_subclasses(PyTypeObject *type) {
    static PyObject *function;
    PyObject *dict = function ? NULL : PyType_GetDict(&PyType_Type);
    if (dict) function = Py_XNewRef(PyDict_GetItemString(dict, "__subclasses__"));
    Py_XDECREF(dict);
    return function ? PyObject_CallOneArg(function, (PyObject *)type) : NULL;
}
