/* tasks.c - see tasks.h.
 *
 * What asyncio.current_task() would say, without calling it: the task of the loop that runs in this thread. Since 3.14,
 * the thread's state has it; before, a dict has it by loop, of which the thread's state knows which is running (3.13)
 * or has a dict that knows. */
#define Py_BUILD_CORE_MODULE 1
#include "origins/tasks.h"

#include <pthread.h>
#include <unistd.h>

#include "origins/imported.h"
#include "origins/peek.h"

/* ---- the task ---------------------------------------------------------------------------------------------------- */

#if PY_VERSION_HEX < 0x030D0000
static size_t last;            /* where that name was found in a thread's dict */
static PyObject *running_name; /* strong; interned, so that asyncio's own is this very object */
static pid_t process;

static void in_child(void) { process = getpid(); }

#endif

int mwpy_prepare_tasks(void) {
#if PY_VERSION_HEX < 0x030D0000
    if (running_name) return 0;
    process = getpid();
    pthread_atfork(NULL, NULL, in_child);
    running_name = PyUnicode_InternFromString("__asyncio_running_event_loop__");
    return running_name ? 0 : -1;
#else
    return 0;
#endif
}

#if PY_VERSION_HEX < 0x030E0000
static MWPY_PEEK PyObject *running_loop(const PyThreadState *thread, bool held) {
#if PY_VERSION_HEX >= 0x030D0000
    (void)held;
    return ((_PyThreadStateImpl *)thread)->asyncio_running_loop;
#else
    size_t hint = __atomic_load_n(&last, __ATOMIC_RELAXED);
    PyObject *found = thread->dict ? mwpy_find(held, thread->dict, running_name, &hint) : NULL;
    __atomic_store_n(&last, hint, __ATOMIC_RELAXED);
#if PY_VERSION_HEX < 0x030C0000
    struct {
        PyObject_HEAD PyObject *loop;
        pid_t process; /* a forked child has the loop, but doesn't run it */
    } holder;
    if (!found || !mwpy_get(held, &holder, found, sizeof holder) || holder.process != process) return NULL;
    found = holder.loop;
#endif
    return found == Py_None ? NULL : found;
#endif
}
#endif

#if PY_VERSION_HEX < 0x030D0000
/* The keys of the thread's dict, as they were when none of them was ours: nothing is added without an entry more. */
MWPY_THREAD struct {
    const PyDictKeysObject *keys;
    Py_ssize_t entries;
} without;

bool mwpy_has_loop(const PyThreadState *thread) {
    const PyDictKeysObject *keys = ((PyDictObject *)thread->dict)->ma_keys;
    if (__builtin_expect(keys == without.keys && keys->dk_nentries == without.entries, 1)) return false;
    size_t hint = __atomic_load_n(&last, __ATOMIC_RELAXED);
    if (running_name && mwpy_find(true, thread->dict, running_name, &hint)) return running_loop(thread, true);
    without.keys = keys;
    without.entries = keys->dk_nentries;
    return false;
}
#endif

static MWPY_PEEK PyObject *current_task(PyThreadState *thread, bool held) {
#if PY_VERSION_HEX >= 0x030E0000
    (void)held;
    return ((_PyThreadStateImpl *)thread)->asyncio_running_task;
#else
    size_t hint = 0; /* there are as many entries as threads with loops */
    PyObject *loop = mwpy_found.current_tasks ? running_loop(thread, held) : NULL;
    return loop ? mwpy_find(held, mwpy_found.current_tasks, loop, &hint) : NULL;
#endif
}

/* ---- its name ---------------------------------------------------------------------------------------------------- */

/* How far the task's context is from the end of asyncio's struct for it; its name lies before that. Once found, the
 * types of both say whether it is so. */
#if PY_VERSION_HEX >= 0x030E0000
enum { BEHIND_CONTEXT = 2 * sizeof(void *) }; /* its place among all tasks */
#elif PY_VERSION_HEX >= 0x030D0000
enum { BEHIND_CONTEXT = 0 };
#else
enum { BEHIND_CONTEXT = 2 * sizeof(void *) }; /* three numbers */
#endif

/* asyncio's own class of a task, which a class of the program's may derive from; NULL: it is made of something else. */
static const PyTypeObject *own_class(const PyTypeObject *type) {
    static const PyTypeObject *known;
    for (const PyTypeObject *base = type; base; base = base->tp_base) {
        if (base == __atomic_load_n(&known, __ATOMIC_RELAXED)) return base;
        if (base->tp_basicsize < (Py_ssize_t)(BEHIND_CONTEXT + 8 * sizeof(void *))) return NULL;
        if (!strcmp(base->tp_name, "_asyncio.Task")) {
            __atomic_store_n(&known, base, __ATOMIC_RELAXED);
            return base;
        }
    }
    return NULL;
}

__thread const PyObject *mwpy_named_task;

static MWPY_PEEK PyObject *name_of(PyThreadState *thread, bool held) {
    PyObject *task = NULL;
    for (int i = held ? MWPY_TRIES - 1 : 0; !task && i < MWPY_TRIES; i++) task = current_task(thread, held);
    if (!task || task == Py_None) return NULL;
    mwpy_named_task = task;
    PyTypeObject *type = mwpy_word(held, &task->ob_type);
    const PyTypeObject *own = type ? own_class(type) : NULL;
    PyObject *end[2]; /* name, context */
    if (!own || !mwpy_get(held, end, (char *)task + own->tp_basicsize - BEHIND_CONTEXT - sizeof end, sizeof end))
        return NULL;
    bool known = end[0] && end[1] && mwpy_word(held, &end[1]->ob_type) == &PyContext_Type;
    return known ? end[0] : NULL;
}

PyObject *mwpy_current_task(PyThreadState *thread, bool held) {
    return __builtin_expect(held, 1) ? current_task(thread, true) : current_task(thread, false);
}

PyObject *mwpy_task_name(PyThreadState *thread, bool held) {
    return __builtin_expect(held, 1) ? name_of(thread, true) : name_of(thread, false);
}
