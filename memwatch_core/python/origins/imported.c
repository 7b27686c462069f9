/* imported.c - see imported.h.
 *
 * Whoever wants to be told of imports has to stand in their way. So it is asked at stores, and only where there may be
 * a task or a span: whether the dict of modules is what it was the last time takes a few instructions. */
#define Py_BUILD_CORE_MODULE 1
#include "origins/imported.h"
#include "base/hash.h"
#include "origins/peek.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#include "internal/pycore_dict.h"
#include "internal/pycore_interp.h"
#pragma GCC diagnostic pop

mwpy_imported mwpy_found;
void (*mwpy_on_task_type)(PyTypeObject *type, PyObject *init);

enum { ASYNCIO, TASK, INIT, TASKS, CONTEXT, RUNTIME, VARIABLE, PROPAGATION, KEY, NAMES };
static PyObject *names[NAMES]; /* strong */

static uint64_t seen; /* state of the dict of modules when all that is in it was looked at */

int mwpy_prepare_imports(void) {
    static const char *const texts[NAMES] = {
        [ASYNCIO] = "_asyncio",
        [TASK] = "Task",
        [INIT] = "__init__",
        [TASKS] = "_current_tasks",
        [CONTEXT] = "opentelemetry.context",
        [RUNTIME] = "_RUNTIME_CONTEXT",
        [VARIABLE] = "_current_context",
        [PROPAGATION] = "opentelemetry.trace.propagation",
        [KEY] = "_SPAN_KEY",
    };
    for (int i = 0; i < NAMES; i++)
        if (!names[i] && !(names[i] = PyUnicode_InternFromString(texts[i]))) return -1;
    return 0;
}

#if PY_VERSION_HEX < 0x030E0000
static inline uint64_t state_of(const PyObject *modules) { return mwpy_dict_version(modules); }
#else
/* Another number whenever it has another entry: where its keys lie, how many there are, which is the last. */
static inline uint64_t state_of(const PyObject *modules) {
    const PyDictKeysObject *keys = ((const PyDictObject *)modules)->ma_keys;
    mwpy_entries e = mwpy_entries_of(true, keys);
    const void *last = e.n ? mwpy_word(true, e.at + (e.n - 1) * e.size + e.key) : NULL;
    return (((uintptr_t)keys * HASH_FACTOR ^ (uintptr_t)last) * HASH_FACTOR ^ e.n) | 1;
}
#endif

/* Of a dict whose keys are all strings, so that none of them has code of its own. */
static PyObject *named(PyObject *dict, PyObject *name) {
    if (!dict || !PyDict_CheckExact(dict) || ((PyDictObject *)dict)->ma_keys->dk_kind == DICT_KEYS_GENERAL) return NULL;
    return _PyDict_GetItem_KnownHash(dict, name, ((PyASCIIObject *)name)->hash);
}

/* A global of a module. *waiting: the module is there, and this isn't yet. */
static PyObject *global_of(PyObject *modules, int module, int name, bool *waiting) {
    PyObject *found = named(modules, names[module]);
    if (!found || !PyModule_Check(found)) return NULL;
    PyObject *value = named(PyModule_GetDict(found), names[name]);
    if (value && value != Py_None) return value;
    *waiting = true;
    return NULL;
}

/* What was there before is kept: another thread may be reading it. */
static void take(PyObject **to, PyObject *found) {
    if (*to != found) *to = Py_NewRef(found);
}

static void look_for_spans(PyObject *modules, bool *waiting) {
    size_t hint = 0;
    PyObject *runtime = global_of(modules, CONTEXT, RUNTIME, waiting);
    PyObject *key = global_of(modules, PROPAGATION, KEY, waiting);
    PyObject *variable = runtime && key ? mwpy_attribute(true, runtime, names[VARIABLE], &hint) : NULL;
    if (!variable || !PyContextVar_CheckExact(variable)) return;
    take(&mwpy_found.span_key, key);
    take(&mwpy_found.span_variable, variable);
}

void mwpy_look_for_imports(PyThreadState *thread) {
#if PY_VERSION_HEX >= 0x030C0000
    PyObject *modules = thread->interp->imports.modules;
#else
    PyObject *modules = thread->interp->modules;
#endif
    if (!names[0] || !modules || !PyDict_CheckExact(modules)) return;
    uint64_t state = state_of(modules);
    if (__builtin_expect(state == seen, 1)) return;
    if (thread->interp != PyInterpreterState_Main()) return;
    bool waiting = false;
    look_for_spans(modules, &waiting);
    PyObject *task = global_of(modules, ASYNCIO, TASK, &waiting);
    if (task && PyType_Check(task) && mwpy_on_task_type) {
        PyTypeObject *type = (PyTypeObject *)task;
        mwpy_on_task_type(type, named(type->tp_dict, names[INIT]));
    }
#if PY_VERSION_HEX < 0x030E0000
    PyObject *tasks = global_of(modules, ASYNCIO, TASKS, &waiting);
    if (tasks && PyDict_CheckExact(tasks)) take(&mwpy_found.current_tasks, tasks);
#endif
    seen = waiting ? 0 : state;
}
