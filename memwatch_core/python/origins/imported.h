/* imported.h - what the program has imported of asyncio and OpenTelemetry. We import neither. */
#ifndef MEMWATCH_PYTHON_IMPORTED_H
#define MEMWATCH_PYTHON_IMPORTED_H
#include "adapter.h"

/* All strong, for ever; NULL: not imported (yet). */
typedef struct mwpy_imported {
    PyObject *current_tasks; /* before 3.14: asyncio's dict of loops and their tasks */
    PyObject *span_variable; /* the ContextVar whose value is OpenTelemetry's context, a dict, */
    PyObject *span_key;      /* and the key of the span in it */
} mwpy_imported;
extern mwpy_imported mwpy_found;

/* Called with asyncio's type of tasks and its __init__ when they are found; NULL: nobody wants to know. */
extern void (*mwpy_on_task_type)(PyTypeObject *type, PyObject *init);

/* Once, before the others. 0, or -1 with an exception. Wants the GIL. */
int mwpy_prepare_imports(void);

/* Looks again if a module was imported since the last time. Wants the GIL; is async-signal-safe with it. */
void mwpy_look_for_imports(PyThreadState *thread);
#endif
