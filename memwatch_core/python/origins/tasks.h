/* tasks.h - the asyncio task that runs in a thread. */
#ifndef MEMWATCH_PYTHON_TASKS_H
#define MEMWATCH_PYTHON_TASKS_H
#include "interpreter.h"
#if PY_VERSION_HEX >= 0x030D0000
#include "internal/pycore_tstate.h"
#endif

/* Of the calling thread: the task whose name was asked for last; NULL: none ran. */
extern __thread const PyObject *mwpy_named_task __attribute__((tls_model("initial-exec"), visibility("hidden")));

#if PY_VERSION_HEX < 0x030D0000
/* Whether the thread's dict says which loop runs. Wants the GIL. */
bool mwpy_has_loop(const PyThreadState *thread);
#endif

/* Whether a loop may be running in the thread: without one there is no task. held: it holds the GIL. */
static inline bool mwpy_may_have_task(const PyThreadState *thread, bool held) {
    (void)held;
#if PY_VERSION_HEX >= 0x030E0000
    return ((const _PyThreadStateImpl *)thread)->asyncio_running_task;
#elif PY_VERSION_HEX >= 0x030D0000
    return ((const _PyThreadStateImpl *)thread)->asyncio_running_loop;
#else
    return thread->dict && (!held || mwpy_has_loop(thread));
#endif
}

/* The name of the task of the calling thread, whose state this is: a str, or an int n that stands for "Task-n";
 * borrowed. NULL: none runs, or it isn't one of asyncio's. held: it holds the GIL; otherwise what is returned may be
 * freed at any time. Async-signal-safe. */
PyObject *mwpy_task_name(PyThreadState *thread, bool held);

/* The task itself; borrowed. NULL: none runs, or it can't be read. The same holds for it. */
PyObject *mwpy_current_task(PyThreadState *thread, bool held);

/* Once, before the others. 0, or -1 with an exception. Wants the GIL. */
int mwpy_prepare_tasks(void);
#endif
