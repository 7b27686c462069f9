/* next_instruction.c - see next_instruction.h. */
#define Py_BUILD_CORE_MODULE 1
#include "breaks/next_instruction.h"

#include <dlfcn.h>
#include <stdatomic.h>

#include "breaks/handlers.h"
#include "interpreter.h"

static int (*call)(void);

static const mwpy_frame *complete(const mwpy_frame *f) {
    while (f && mwpy_frame_is_incomplete(f)) f = f->previous;
    return f;
}

#if PY_VERSION_HEX >= 0x030C0000

/* ---- sys.monitoring: events of the code that the thread executes, and of those who called it: an exception may leave
 * the innermost one ------------------------------------------------------------------------------------------------ */

enum { FRAMES = 4, ARMED = 32, FIRST_TOOL = 4, LAST_TOOL = 3 };

static PyObject *set_local_events;
static int tool = -1;
static long instruction_event;
static PyObject *armed[ARMED]; /* strong */
static int armed_n;

/* By the thread that looks first. Its name is the interpreter's own, for its tests: where it isn't there, by the main
 * thread. */
static int (*add_pending_call)(PyInterpreterState *, int (*)(void *), void *, int);

static int set_events(PyObject *code, long events) {
    PyObject *args[] = {PyLong_FromLong(tool), code, PyLong_FromLong(events)};
    PyObject *done = args[0] && args[2] ? PyObject_Vectorcall(set_local_events, args, 3, NULL) : NULL;
    Py_XDECREF(args[0]);
    Py_XDECREF(args[2]);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static void arm_code(PyObject *code);

/* At the instruction of a handler, where an exception of ours has arrived, nothing is left to be done. */
static PyObject *on_instruction(PyObject *self, PyObject *const *args, Py_ssize_t n) {
    (void)self;
    if (mwpy_handlers_restore()) mwpy_next_disarm();
    if (call()) {
        long offset = n > 1 ? PyLong_AsLong(args[1]) : 0;
        const mwpy_frame *f = complete(mwpy_top_frame(PyThreadState_Get()));
        if (f && mwpy_handlers_redirect(f, (int)(offset / (long)sizeof(_Py_CODEUNIT)))) {
            mwpy_aside aside = mwpy_set_aside();
            arm_code(mwpy_frame_executable(f));
            mwpy_put_back(aside);
        }
        return NULL;
    }
    mwpy_handlers_forget();
    return Py_NewRef(Py_None);
}

/* A number that nobody uses, of those that have no meaning: the higher one first, as others (hypothesis) want 3. */
static int take_tool(PyObject *monitoring) {
    for (int i = FIRST_TOOL; i >= LAST_TOOL; i--) {
        PyObject *user = PyObject_CallMethod(monitoring, "get_tool", "i", i);
        bool is_free = user == Py_None;
        if (!user) return -1;
        Py_DECREF(user);
        if (!is_free) continue;
        PyObject *used = PyObject_CallMethod(monitoring, "use_tool_id", "is", i, "memwatch");
        Py_XDECREF(used);
        if (!used) return -1;
        tool = i;
        return 0;
    }
    PyErr_SetString(PyExc_RuntimeError, "all numbers of sys.monitoring are in use by other tools");
    return -1;
}

static int register_callback(PyObject *monitoring) {
    static PyMethodDef def = {"memwatch", (PyCFunction)(void (*)(void))on_instruction, METH_FASTCALL, NULL};
    PyObject *events = PyObject_GetAttrString(monitoring, "events");
    PyObject *event = events ? PyObject_GetAttrString(events, "INSTRUCTION") : NULL;
    PyObject *function = event ? PyCFunction_New(&def, NULL) : NULL;
    if (event) instruction_event = PyLong_AsLong(event);
    PyObject *before =
        function ? PyObject_CallMethod(monitoring, "register_callback", "iOO", tool, event, function) : NULL;
    Py_XDECREF(before);
    Py_XDECREF(function);
    Py_XDECREF(event);
    Py_XDECREF(events);
    return before ? 0 : -1;
}

int mwpy_next_prepare(int (*called)(void)) {
    call = called;
    *(void **)&add_pending_call = dlsym(RTLD_DEFAULT, "_PyEval_AddPendingCall");
    if (tool >= 0) return 0;
    PyObject *monitoring = PySys_GetObject("monitoring"); /* borrowed */
    if (!monitoring) {
        PyErr_SetString(PyExc_RuntimeError, "sys.monitoring isn't there");
        return -1;
    }
    if (!set_local_events && !(set_local_events = PyObject_GetAttrString(monitoring, "set_local_events"))) return -1;
    if (take_tool(monitoring)) return -1;
    return register_callback(monitoring);
}

static void arm_code(PyObject *code) {
    for (int i = 0; i < armed_n; i++)
        if (armed[i] == code) return;
    if (armed_n == ARMED) return;
    if (set_events(code, instruction_event))
        PyErr_Clear();
    else
        armed[armed_n++] = Py_NewRef(code);
}

void mwpy_next_arm(PyThreadState *thread) {
    if (tool < 0) return;
    mwpy_aside aside = mwpy_set_aside();
    const mwpy_frame *f = complete(mwpy_top_frame(thread));
    if (f && thread == mwpy_current_thread()) mwpy_handlers_note(f);
    for (int i = 0; f && i < FRAMES; i++) {
        arm_code(mwpy_frame_executable(f));
        f = complete(f->previous);
    }
    mwpy_put_back(aside);
}

void mwpy_next_arm_here(PyThreadState *thread) { (void)thread; } /* by mwpy_next_check() */

void mwpy_next_disarm(void) {
    mwpy_aside aside = mwpy_set_aside();
    while (armed_n) {
        PyObject *code = armed[--armed_n];
        if (set_events(code, 0)) PyErr_Clear(); /* another tool's number by now */
        Py_DECREF(code);
    }
    mwpy_put_back(aside);
}

int mwpy_next_check(int (*called)(void *)) {
    return add_pending_call ? add_pending_call(PyInterpreterState_Main(), called, NULL, 0)
                            : Py_AddPendingCall(called, NULL);
}

#else

/* ---- CPython 3.11: the thread's trace function, for one event. A debugger's own is called behind ours. --------------
 */

enum { ARMED = 32 };
static struct armed {
    _Atomic(PyThreadState *) thread;
    Py_tracefunc before;
    PyFrameObject *frame; /* strong: it is asked for each instruction; NULL: for each line */
    char opcodes;
    bool arrives; /* an exception of ours, at its handler */
} armed[ARMED];

static int on_event(PyObject *object, PyFrameObject *frame, int what, PyObject *arg);

static void say_tracing(PyThreadState *thread) {
    if (!thread->tracing) thread->cframe->use_tracing = thread->c_tracefunc || thread->c_profilefunc ? 255 : 0;
}

static struct armed *of(const PyThreadState *thread) {
    for (int i = 0; i < ARMED; i++)
        if (armed[i].thread == thread) return &armed[i];
    return NULL;
}

static struct armed *claim(PyThreadState *thread) {
    for (int i = 0; i < ARMED; i++) {
        PyThreadState *none = NULL;
        if (atomic_compare_exchange_strong(&armed[i].thread, &none, thread)) return &armed[i];
    }
    return NULL;
}

static Py_tracefunc disarm(struct armed *a) {
    Py_tracefunc before = a->before;
    PyThreadState *thread = a->thread;
    if (thread->c_tracefunc == on_event) { /* nobody has set another one meanwhile */
        thread->c_tracefunc = before;
        say_tracing(thread);
    }
    PyFrameObject *frame = a->frame;
    if (frame) frame->f_trace_opcodes = a->opcodes;
    a->frame = NULL;
    a->arrives = false;
    a->thread = NULL;
    Py_XDECREF(frame);
    return before;
}

static int on_event(PyObject *object, PyFrameObject *frame, int what, PyObject *arg) {
    struct armed *a = of(PyThreadState_Get());
    if (what == PyTrace_EXCEPTION && a && a->arrives) return 0; /* the handler isn't looked for yet */
    bool arrived = mwpy_handlers_restore();
    bool wanted = !a || what != PyTrace_OPCODE || a->frame != frame || a->opcodes;
    Py_tracefunc before = a ? disarm(a) : NULL;
    if (call()) {
        PyThreadState *thread = PyThreadState_Get();
        const mwpy_frame *f = complete(mwpy_top_frame(thread));
        if (!arrived && !before && f && mwpy_handlers_redirect(f, mwpy_frame_unit(f))) {
            mwpy_next_arm(thread);
            if ((a = of(thread))) a->arrives = true;
        }
        return -1;
    }
    mwpy_handlers_forget();
    return before && wanted ? before(object, frame, what, arg) : 0;
}

int mwpy_next_prepare(int (*called)(void)) {
    call = called;
    return 0;
}

void mwpy_next_arm_here(PyThreadState *thread) {
    struct armed *a = of(thread);
    if (a && thread->c_tracefunc == on_event) return;
    if (!a && !(a = claim(thread))) return;
    a->before = thread->c_tracefunc;
    thread->c_tracefunc = on_event;
    say_tracing(thread);
}

void mwpy_next_arm(PyThreadState *thread) {
    mwpy_next_arm_here(thread);
    struct armed *a = of(thread);
    const mwpy_frame *f = complete(mwpy_top_frame(thread));
    if (f && PyGILState_GetThisThreadState() == thread) mwpy_handlers_note(f);
    if (!a || a->frame || !f) return;
    mwpy_aside aside = mwpy_set_aside();
    if ((a->frame = PyThreadState_GetFrame(thread))) {
        a->opcodes = a->frame->f_trace_opcodes;
        a->frame->f_trace_opcodes = 1;
    }
    mwpy_put_back(aside);
}

/* Threads that have ended are known no more. */
static bool is_alive(const PyThreadState *thread) {
    PyThreadState *one = PyInterpreterState_ThreadHead(PyInterpreterState_Main());
    while (one && one != thread) one = PyThreadState_Next(one);
    return one;
}

void mwpy_next_disarm(void) {
    for (int i = 0; i < ARMED; i++)
        if (armed[i].thread && is_alive(armed[i].thread)) disarm(&armed[i]);
}

int mwpy_next_check(int (*called)(void *)) { return Py_AddPendingCall(called, NULL); }
#endif
