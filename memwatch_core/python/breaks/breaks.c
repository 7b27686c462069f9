/* breaks.c - see breaks.h.
 *
 * What is done is said by a function in Python, memwatch_core/adapter/breaks.py, which gets all that the thread has met
 * and returns what is to be raised or called. It is called from here, so that whoever is called finds the program's
 * frame as its caller: a debugger stops there. */
#define Py_BUILD_CORE_MODULE 1
#include "breaks/breaks.h"

#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "breaks/hits.h"
#include "breaks/next_instruction.h"
#include "breaks/untraced.h"
#include "errors.h"
#include "interpreter.h"
#include "origins/interrupted.h"

bool mwpy_statements_asked;
static PyObject *reaction;
static _Atomic bool asked; /* of the main thread's pending calls */

/* ---- what was met ------------------------------------------------------------------------------------------------ */

static PyObject *text_of(const char *bytes, size_t n) {
    return PyUnicode_DecodeUTF8(bytes ? bytes : "", (Py_ssize_t)n, "replace");
}

/* As memwatch_core/native/proxy.pyi has it. */
static PyObject *as_tuple(const mwpy_hit *h, uint32_t more) {
    const mw_hit *hit = &h->hit;
    mw_site site = {0};
    mw_site_of(hit->site, &site); /* RANGE: none is known */
    Py_ssize_t n = (Py_ssize_t)h->bytes;
    return Py_BuildValue("IIIIIIIKINNINy#y#", hit->handle, hit->variable, hit->tid, hit->how, hit->unknown, hit->offset,
                         hit->size, (unsigned long long)hit->time, more, text_of(h->path, h->path_length),
                         text_of(site.file, site.file_length), site.line, text_of(site.function, site.function_length),
                         (const char *)h->before, n, (const char *)h->after, n);
}

static PyObject *take_all(uint32_t tid) {
    PyObject *all = PyList_New(0);
    mwpy_hit hit;
    uint32_t more;
    while (all && mwpy_hit_take(tid, &hit, &more)) {
        PyObject *one = as_tuple(&hit, more);
        if (!one || PyList_Append(all, one)) Py_CLEAR(all);
        Py_XDECREF(one);
    }
    return all;
}

/* An exception is raised, anything else is called. */
static int do_one(PyObject *what) {
    if (PyExceptionInstance_Check(what)) {
        PyErr_SetObject((PyObject *)Py_TYPE(what), what);
        return -1;
    }
    PyObject *done = PyObject_CallNoArgs(what);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static int act_on(PyObject *hits) {
    PyObject *todo = hits && PyList_GET_SIZE(hits) && reaction ? PyObject_CallOneArg(reaction, hits) : NULL;
    PyObject *list = todo ? PySequence_Fast(todo, "what is to be done is a list") : NULL;
    Py_XDECREF(todo);
    if (PyErr_Occurred()) PyErr_WriteUnraisable(reaction); /* it is ours, and not what the program shall see */
    int failed = 0;
    for (Py_ssize_t i = 0; list && !failed && i < PySequence_Fast_GET_SIZE(list); i++)
        failed = do_one(PySequence_Fast_GET_ITEM(list, i));
    Py_XDECREF(list);
    return failed;
}

static void say_unheld(void) {
    uint64_t n = mwpy_hits_unheld();
    char line[160];
    int size = snprintf(line, sizeof line,
                        "memwatch: %llu writes met a condition and aren't acted on: too many waited (docs/breaks.md)\n",
                        (unsigned long long)n);
    if (n && write(STDERR_FILENO, line, (size_t)size) < 0) return;
}

int mwpy_hits_act(void) {
    struct mwpy_own_hits *own = &mwpy_own_hits;
    if (own->acting || mwpy_is_finalizing()) return 0;
    own->acting = true;
    mwpy_aside aside = mwpy_set_aside();
    PyObject *hits = take_all(own->tid);
    own->waiting = 0;
    if (!mwpy_hits_wait()) mwpy_next_disarm();
    mwpy_put_back(aside);
    say_unheld();
    int failed = act_on(hits);
    Py_XDECREF(hits);
    own->acting = false;
    return failed;
}

/* Before an instruction of a thread, which may have been given what another one has met. */
static int act_now(void) {
    if (!mwpy_own_hits.tid) mwpy_own_hits.tid = (uint32_t)syscall(SYS_gettid);
    return mwpy_hits_wait() ? mwpy_hits_act() : 0;
}

/* ---- later ------------------------------------------------------------------------------------------------------- */

/* The state of a thread, by the kernel's number; NULL: it has none. */
static PyThreadState *state_of(uint32_t tid) {
    PyThreadState *one = PyInterpreterState_ThreadHead(PyInterpreterState_Main());
    while (one && one->native_thread_id != tid) one = PyThreadState_Next(one);
    return one;
}

/* Of those who had no GIL. What a thread that runs no Python has met, the main thread acts on. */
static int arm_waiting(void *unused) {
    (void)unused;
    atomic_store(&asked, false);
    uint32_t tid, main = (uint32_t)getpid();
    for (uint64_t turn = 0; (tid = mwpy_hit_waits(&turn));) {
        PyThreadState *thread = state_of(tid);
        if (!thread || !mwpy_top_frame(thread)) {
            thread = state_of(main);
            if (tid != main) mwpy_hits_give(tid, main);
        }
        if (thread) mwpy_next_arm(thread);
    }
    return 0;
}

static void ask(void) {
    if (!atomic_exchange(&asked, true) && mwpy_next_check(arm_waiting)) atomic_store(&asked, false);
}

void mwpy_hits_later(void) {
    PyThreadState *thread = mwpy_current_thread();
    if (mwpy_own_hits.acting || !thread || mwpy_is_finalizing()) return;
    mwpy_next_arm(thread);
    ask(); /* an exception may leave the frames that are armed */
}

static bool holds_lock(void) {
    const PyThreadState *thread = mwpy_current_thread();
    return thread && thread->native_thread_id == mwpy_own_hits.tid;
}

/* mw_hits_hook. After an announced write, whoever has announced it acts. */
static void settled(const void *ucontext) {
    if (!ucontext || !mwpy_own_hits.waiting || mwpy_is_finalizing()) return;
    if (holds_lock() && !mwpy_is_handler(ucontext)) {
        mwpy_hits_later();
        return;
    }
    PyThreadState *thread = PyGILState_GetThisThreadState();
    if (thread && !mwpy_is_handler(ucontext)) mwpy_next_arm_here(thread);
    ask();
}

static void met(const mw_hit *hit) {
    mwpy_hit_met(hit);
    if (hit->how == MWPY_BY_KERNEL) ask();
}

/* ---- functions --------------------------------------------------------------------------------------------------- */

PyDoc_STRVAR(react_doc, "react_by(function)\n--\n\n"
                        "What is done about events that meet a condition: the function gets a list of tuples, and\n"
                        "returns a list of exceptions, which are raised, and functions, which are called.\n"
                        "RuntimeError: other tools use all that sys.monitoring has.");
static PyObject *react_by(PyObject *module, PyObject *function) {
    (void)module;
    Py_XSETREF(reaction, Py_NewRef(function));
    if (mwpy_next_prepare(act_now)) return NULL;
    mw_set_hit_hooks(met, settled);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(untraced_doc,
             "call_untraced(function, *arguments)\n--\n\nCalls it so that no trace function and no tool of "
             "sys.monitoring is told of what it does in this thread.");
PyDoc_STRVAR(ask_doc, "ask_statements()\n--\n\nConditions ask for SQL statements from now on.");
static PyObject *ask_statements(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    mwpy_statements_asked = true;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(forked_doc, "hits_forked()\n--\n\nIn a forked child: what other threads had met, they won't act on.");
static PyObject *hits_forked(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    mwpy_hits_forked();
    atomic_store(&asked, false);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(set_doc, "set_condition(variable, program, unit, handle)\n--\n\n"
                      "Has the events of a variable judged. CoreError: it has ended, or this is no such program.");
static PyObject *set_condition(PyObject *module, PyObject *args) {
    (void)module;
    unsigned id, unit, handle;
    const char *program;
    Py_ssize_t n;
    if (!PyArg_ParseTuple(args, "Iy#II", &id, &program, &n, &unit, &handle)) return NULL;
    int error = mw_set_condition(id, program, (size_t)n, unit, handle);
    if (error) {
        mwpy_raise(error, NULL);
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(drop_doc, "drop_condition(variable, handle)\n--\n\nEnds what set_condition() has begun.");
static PyObject *drop_condition(PyObject *module, PyObject *args) {
    (void)module;
    unsigned id, handle;
    if (!PyArg_ParseTuple(args, "II", &id, &handle)) return NULL;
    mw_drop_condition(id, handle); /* NO_VARIABLE: the watch has ended */
    Py_RETURN_NONE;
}

PyMethodDef mwpy_breaks_functions[] = {
    {"react_by", react_by, METH_O, react_doc},
    {"call_untraced", (PyCFunction)(void (*)(void))mwpy_call_untraced, METH_FASTCALL, untraced_doc},
    {"ask_statements", ask_statements, METH_NOARGS, ask_doc},
    {"hits_forked", hits_forked, METH_NOARGS, forked_doc},
    {"set_condition", set_condition, METH_VARARGS, set_doc},
    {"drop_condition", drop_condition, METH_VARARGS, drop_doc},
    {NULL, NULL, 0, NULL},
};
