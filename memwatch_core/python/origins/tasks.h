/* tasks.h - the asyncio task that runs in a thread. */
#ifndef MEMWATCH_PYTHON_TASKS_H
#define MEMWATCH_PYTHON_TASKS_H
#include "interpreter.h"
#if PY_VERSION_HEX >= 0x030D0000
#include "internal/pycore_tstate.h"
#endif

/* Whether a loop may be running in the thread, or have been: without one there is no task. */
static inline bool mwpy_may_have_task(const PyThreadState *thread) {
#if PY_VERSION_HEX >= 0x030E0000
    return ((const _PyThreadStateImpl *)thread)->asyncio_running_task;
#elif PY_VERSION_HEX >= 0x030D0000
    return ((const _PyThreadStateImpl *)thread)->asyncio_running_loop;
#else
    return thread->dict;
#endif
}

/* The name of the task of the calling thread, whose state this is: a str, or an int n that stands for "Task-n";
 * borrowed. NULL: none runs, or it isn't one of asyncio's. held: it holds the GIL; otherwise what is returned may be
 * freed at any time. Async-signal-safe. */
PyObject *mwpy_task_name(PyThreadState *thread, bool held);

/* Once, before the others. 0, or -1 with an exception. Wants the GIL. */
int mwpy_prepare_tasks(void);
#endif
