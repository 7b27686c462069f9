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

#if PY_VERSION_HEX < 0x030E0000
/* What was found in dicts: as long as they are what they were, it would be found there again. */
MWPY_THREAD struct {
    uint64_t loops, tasks; /* versions: of the thread's dict (3.13: the loop itself); of asyncio's dict. 0: unknown */
    const PyObject *task;  /* NULL: none runs */
    PyObject **name;       /* where its name is; NULL: it is none of asyncio's */
    uint64_t without;      /* version of the thread's dict in which no loop runs */
} found;
#endif

#if PY_VERSION_HEX < 0x030D0000
static size_t last;            /* where that name was found in a thread's dict */
static PyObject *running_name; /* strong; interned, so that asyncio's own is this very object */
static pid_t process;

static void in_child(void) {
    process = getpid();
    found.loops = found.without = 0;
}

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
    PyObject *running = thread->dict ? mwpy_find(held, thread->dict, running_name, &hint) : NULL;
    __atomic_store_n(&last, hint, __ATOMIC_RELAXED);
#if PY_VERSION_HEX < 0x030C0000
    struct {
        PyObject_HEAD PyObject *loop;
        pid_t process; /* a forked child has the loop, but doesn't run it */
    } holder;
    if (!running || !mwpy_get(held, &holder, running, sizeof holder) || holder.process != process) return NULL;
    running = holder.loop;
#endif
    return running == Py_None ? NULL : running;
#endif
}
#endif

#if PY_VERSION_HEX < 0x030D0000
bool mwpy_has_loop(const PyThreadState *thread) {
    uint64_t version = mwpy_dict_version(thread->dict);
    if (__builtin_expect(version == found.without, 1)) return false;
    if (version == found.loops) return true;
    bool runs = running_name && running_loop(thread, true);
    if (!runs) found.without = version;
    return runs;
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

#if PY_VERSION_HEX < 0x030E0000
static inline uint64_t loops_version(const PyThreadState *thread) {
#if PY_VERSION_HEX >= 0x030D0000
    return (uintptr_t)((const _PyThreadStateImpl *)thread)->asyncio_running_loop;
#else
    return thread->dict ? mwpy_dict_version(thread->dict) : 0;
#endif
}
#endif

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

/* Where its name is; NULL: it is none of asyncio's. */
static MWPY_PEEK PyObject **name_in(PyObject *task, bool held) {
    mwpy_named_task = task == Py_None ? NULL : task;
    if (!task || task == Py_None) return NULL;
    PyTypeObject *type = mwpy_word(held, &task->ob_type);
    const PyTypeObject *own = type ? own_class(type) : NULL;
    PyObject *end[2]; /* name, context */
    PyObject **at = own ? (PyObject **)((char *)task + own->tp_basicsize - BEHIND_CONTEXT - sizeof end) : NULL;
    if (!at || !mwpy_get(held, end, at, sizeof end) || !end[0] || !end[1]) return NULL;
    return mwpy_word(held, &end[1]->ob_type) == &PyContext_Type ? at : NULL;
}

#if PY_VERSION_HEX >= 0x030E0000
static PyObject **name_held(PyThreadState *thread) { return name_in(current_task(thread, true), true); }
#else
static PyObject **name_held(PyThreadState *thread) {
    if (__builtin_expect(!mwpy_found.current_tasks, 0)) mwpy_look_for_imports(thread);
    if (!mwpy_found.current_tasks) return NULL;
    uint64_t loops = loops_version(thread), tasks = mwpy_dict_version(mwpy_found.current_tasks);
    if (__builtin_expect(loops == found.loops && tasks == found.tasks, 1)) {
        mwpy_named_task = found.task;
        return found.name;
    }
    /* A signal handler that stores may come in the midst of it: of the same versions it finds the same. */
    __atomic_store_n(&found.loops, 0, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    PyObject **name = found.name = name_in(current_task(thread, true), true);
    found.task = mwpy_named_task;
    found.tasks = tasks;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&found.loops, loops, __ATOMIC_RELAXED);
    return name;
}
#endif

static PyObject *name_unheld(PyThreadState *thread) {
    PyObject *task = NULL;
    for (int i = 0; !task && i < MWPY_TRIES; i++) task = current_task(thread, false);
    PyObject **at = name_in(task, false);
    return at ? mwpy_word(false, at) : NULL;
}

PyObject *mwpy_current_task(PyThreadState *thread, bool held) {
    return __builtin_expect(held, 1) ? current_task(thread, true) : current_task(thread, false);
}

PyObject *mwpy_task_name(PyThreadState *thread, bool held) {
    if (!held) return name_unheld(thread);
    PyObject **at = name_held(thread);
    return at ? *at : NULL;
}
