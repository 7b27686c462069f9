/* frames.c - where a store comes from: the writing thread's topmost Python frame, and those that called it.
 *
 * Announced writes are made with the GIL held, so their cache is simple. It is keyed by code object and instruction,
 * and holds a reference to the code object, so that an equal pointer means the same code.
 *
 * Faulted stores arrive in a signal handler, with or without the GIL (sites.c says what that takes). Where callers are
 * recorded as well, both go through the caches of stacks.c. */
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define Py_BUILD_CORE_MODULE 1
#include "origins/bytecode.h"
#include "origins/context.h"
#include "origins/creators.h"
#include "origins/frames.h"
#include "origins/imported.h"
#include "origins/interrupted.h"
#include "origins/requests.h"
#include "origins/sites.h"
#include "origins/stacks.h"

static inline bool find_place(PyThreadState *thread, mwpy_place *at) {
    const mwpy_frame *f = mwpy_top_frame(thread);
    while (f && mwpy_frame_is_incomplete(f)) f = f->previous;
    if (f) *at = mwpy_place_in(f);
    return f;
}

/* ---- announced writes -------------------------------------------------------------------------------------------- */

enum { HELD = 1024 };

static struct held {
    PyCodeObject *code; /* strong */
    int unit;
    uint32_t site;
} held[HELD];

MWPY_THREAD struct {
    bool ready;
    mwpy_stack stack;
    mwpy_request request;
    uint32_t context;
    PyCodeObject *dropped; /* fell out of `held`; released after the write, because that may run code */
} announced;

static __attribute__((noinline)) uint32_t hold(const mwpy_place *at, struct held *slot) {
    uint32_t site = mwpy_site_anew(at);
    if (site && mwpy_adds_a_call(at->code, at->unit)) mw_site_adds_call(site);
    if (site) { /* 0 isn't cached: the journal may have room later */
        /* Only one can be dropped at a time. */
        if (announced.dropped) return site;
        announced.dropped = slot->code;
        *slot = (struct held){(PyCodeObject *)Py_NewRef(at->code), at->unit, site};
    }
    return site;
}

static inline uint32_t held_site(PyThreadState *thread) {
    mwpy_place at;
    if (!find_place(thread, &at)) return 0;
    struct held *slot = &held[mwpy_hash_place(&at) % HELD];
    return slot->code == at.code && slot->unit == at.unit ? slot->site : hold(&at, slot);
}

/* The sites of which it was found out whether they add a call. */
static uint32_t looked_at[HELD];

static __attribute__((noinline)) void look_at(PyThreadState *thread, uint32_t site) {
    mwpy_place at;
    if (find_place(thread, &at) && mwpy_adds_a_call(at.code, at.unit)) mw_site_adds_call(site);
    looked_at[site % HELD] = site;
}

static mwpy_stack held_stack(PyThreadState *thread) {
    mwpy_stack stack = mwpy_stack_of(thread);
    if (unlikely(looked_at[stack.site % HELD] != stack.site)) look_at(thread, stack.site);
    return stack;
}

void mwpy_announce(bool sql) {
    PyThreadState *thread = mwpy_current_thread();
    announced.stack = mwpy_stack_limit > 1 ? held_stack(thread) : (mwpy_stack){held_site(thread), 0};
    announced.context = sql ? mwpy_context_of(thread) : 0;
    announced.request = mwpy_request_of(thread, true);
    if (__builtin_expect(mwpy_named_task != NULL, 0))
        announced.stack = mwpy_with_creators(announced.stack, mwpy_named_task);
    announced.ready = true;
}

void mwpy_announced(void) {
    announced.ready = false;
    if (announced.dropped) Py_CLEAR(announced.dropped);
}

enum { LET_GO = 64 };
static PyCodeObject *let_go[LET_GO];
static int let_go_n;

static int release_let_go(void *unused) {
    (void)unused;
    while (let_go_n) Py_DECREF(let_go[--let_go_n]);
    return 0;
}

static __attribute__((noinline)) void let_go_later(void) {
    if (let_go_n == LET_GO || (!let_go_n && Py_AddPendingCall(release_let_go, NULL))) return; /* next time */
    let_go[let_go_n++] = announced.dropped;
    announced.dropped = NULL;
}

void mwpy_origin_now(mw_origin *origin, bool sql, uint32_t activation) {
    PyThreadState *thread = mwpy_current_thread();
    mwpy_stack stack = mwpy_stack_limit > 1 ? held_stack(thread) : (mwpy_stack){held_site(thread), 0};
    mwpy_request request = mwpy_request_of(thread, true);
    if (__builtin_expect(mwpy_named_task != NULL, 0)) stack = mwpy_with_creators(stack, mwpy_named_task);
    uint32_t context = sql ? mwpy_context_of(thread) : 0;
    *origin = (mw_origin){.site = stack.site,
                          .context = context || !sql ? context : mw_get_context(),
                          .stack = stack.callers,
                          .request = request.request,
                          .request_serial = request.serial,
                          .activation = activation};
    if (unlikely(announced.dropped != NULL)) let_go_later();
}

uint32_t mwpy_site_now(void) {
    mw_origin origin;
    mwpy_origin_now(&origin, false, 0);
    return origin.site;
}

/* ---- faulted stores ---------------------------------------------------------------------------------------------- */

uint32_t mwpy_site_at(PyCodeObject *code, int unit) { return mwpy_site_of(&(mwpy_place){code, unit}); }

/* The calling thread's state, with or without the GIL; NULL for a thread unknown to Python. */
static PyThreadState *this_thread(mw_origin *origin) {
#if PY_VERSION_HEX >= 0x030C0000
    (void)origin;
    PyThreadState *current = mwpy_current_thread();
    return current ? current : PyGILState_GetThisThreadState();
#else
    /* A thread in a sub-interpreter still has the main interpreter's state here. */
    if (PyInterpreterState_Head() != PyInterpreterState_Main()) origin->inexact = 1;
    return PyGILState_GetThisThreadState();
#endif
}

static inline void say_place(mw_origin *origin, PyThreadState *thread, bool by_handler) {
    mwpy_stack stack = {0, 0};
    mwpy_place at;
    bool inexact = false;
    if (unlikely(by_handler))
        stack = mwpy_stack_interrupted(thread, &inexact);
    else if (mwpy_stack_limit > 1)
        stack = mwpy_stack_of(thread);
    else if (find_place(thread, &at))
        stack.site = mwpy_site_of(&at);
    if (inexact) origin->inexact = 1;
    origin->site = stack.site;
    origin->stack = stack.callers;
}

static inline void say_request(mw_origin *origin, mwpy_request found) {
    origin->request = found.request;
    origin->request_serial = found.serial;
}

void mwpy_origin(const void *ucontext, mw_origin *origin) {
    if (!ucontext && announced.ready) {
        origin->site = announced.stack.site;
        origin->stack = announced.stack.callers;
        if (announced.context) origin->context = announced.context;
        say_request(origin, announced.request);
        return;
    }
    /* At finalization, the interpreter frees the states of daemon threads, which go on in C. */
    if (mwpy_is_finalizing() && syscall(SYS_gettid) != getpid()) return;
    PyThreadState *thread = this_thread(origin);
    if (!thread) return;
    bool is_main = !origin->inexact;
    say_place(origin, thread, ucontext && mwpy_is_handler(ucontext));
    uint32_t context = mwpy_context_of(thread);
    if (context) origin->context = context;
    if (!is_main) return;
    const PyObject *interrupted = mwpy_named_task; /* this may be a handler in the midst of an announced write */
    say_request(origin, mwpy_request_of(thread, mwpy_current_thread() == thread));
    if (origin->stack && !origin->inexact && __builtin_expect(mwpy_named_task != NULL, 0))
        origin->stack = mwpy_with_creators((mwpy_stack){origin->site, origin->stack}, mwpy_named_task).callers;
    mwpy_named_task = interrupted;
}

int mwpy_prepare_origins(void) {
    mwpy_on_task_type = mwpy_note_creators;
    return mwpy_prepare_requests();
}

void mwpy_note_imports(void) { mwpy_look_for_imports(mwpy_current_thread()); }

void mwpy_forget_sites(void) {
    for (size_t i = 0; i < HELD; i++) {
        PyCodeObject *code = held[i].code;
        held[i] = (struct held){0};
        Py_XDECREF(code);
    }
    memset(looked_at, 0, sizeof looked_at);
}
