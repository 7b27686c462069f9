/* breaks.cc - see breaks.h. The callback of an interrupt must not enter the isolate again (v8-isolate.h): it prints,
 * and asks V8's debugger to stop, as the debugger's own interrupt does; functions of the program's wait for a
 * microtask. */
#include "isolate.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "breaks.h"
#include "frames.h"
#include "mailbox.h"
#include "stopping.h"
#include "told.h"

namespace memwatch {

/* A condition, until its watch ends. */
struct armed {
    uint32_t handle;
    mw_variable_id variable;
    enum action action;
    struct shape shape;
    state *owner;
    int box; /* the owner's */
};

struct call {
    std::shared_ptr<armed> of;
    struct hit hit;
};

/* Of an isolate. */
struct todo {
    int box = -1;
    bool delivers = false;
    std::vector<call> calls;
    v8::Global<v8::Function> deliver, stop;
    std::string thread;
};

} // namespace memwatch

using namespace memwatch;

enum { TABLE = 16384 };
static std::mutex armed_lock;
static std::map<uint32_t, std::shared_ptr<armed>> all;
static std::map<uint32_t, std::shared_ptr<armed>> ended; /* of watches that have ended: what they met is acted on yet */
static std::atomic<armed *> table[TABLE]; /* the same, for who meets one: under a page's lock, so that it doesn't end */
static uint32_t last_handle;

static std::atomic<bool> debugger_expected; /* there is one, or it can come */

static std::shared_ptr<armed> armed_of(uint32_t handle) {
    std::lock_guard<std::mutex> guard(armed_lock);
    auto found = all.find(handle), late = ended.find(handle);
    return found != all.end() ? found->second : late != ended.end() ? late->second : nullptr;
}

/* ---- in the midst of a store: async-signal-safe ------------------------------------------------------------------ */

/* Who acts: the thread that wrote, if it runs JavaScript; functions are called where they belong. */
static void met(const mw_hit *h) {
    state *s = self;
    const armed *a = table[h->handle % TABLE].load(std::memory_order_acquire);
    bool by_kernel = h->how == HIT_BY_KERNEL;
    if (!a || a->handle != h->handle || (!by_kernel && s && s->acts)) return;
    bool elsewhere = by_kernel || !s || (a->action == ACTION_CALL && a->owner != s);
    const char *thread = s && s->todo && !by_kernel ? s->todo->thread.c_str() : NULL;
    bool put = hit_put(h, elsewhere ? a->owner : s, elsewhere ? a->box : -1, thread);
    if (put && by_kernel) mailbox_wake(a->box);
}

static void interrupted(v8::Isolate *isolate, void *of);

/* An isolate's state, unless it is gone by now: the thread that stores may not wait for us. With states_lock. */
static state *living(const void *of) {
    state *s = states;
    while (s && s != of) s = s->next;
    return s;
}

static void ask_for(void *of) {
    pthread_mutex_lock(&states_lock);
    state *s = living(of);
    if (s) s->isolate->RequestInterrupt(interrupted, s);
    pthread_mutex_unlock(&states_lock);
}

/* V8 takes a lock for it, and memory. JavaScript that runs has neither; of C++, which a signal may have interrupted,
 * that isn't known: there another thread asks. */
static void ask(state *s, const ucontext_t *after) {
    if (s->asks) return;
    s->asks = true;
    uintptr_t pc = (uintptr_t)after->uc_mcontext.gregs[REG_RIP] - 1;
    code *c = is_builtin(s, pc) ? nullptr : code_at(s, pc);
    if (is_builtin(s, pc) || (c && !c->bytecode))
        s->isolate->RequestInterrupt(interrupted, s);
    else
        mailbox_ask(ask_for, s);
}

/* Where interrupts don't come while the interpreter waits for one: within a debugger's evaluation. */
static void end_diversion(void *of) {
    enum { TIMES = 50, US = 100 };
    bool diverted = true;
    for (int i = 0; i <= TIMES && diverted; i++) {
        pthread_mutex_lock(&states_lock);
        state *s = living(of);
        if (s && i == TIMES) s->handlers.restore();
        diverted = s && s->handlers.diverted();
        pthread_mutex_unlock(&states_lock);
        if (diverted) usleep(US);
    }
}

/* A debugger shall stop before the program goes on: the interpreter looks for interrupts now and then only. */
static void hurry(state *s) {
    s->handlers.divert();
    mailbox_post(end_diversion, s);
}

static void settled(const void *ucontext) {
    const ucontext_t *after = (const ucontext_t *)ucontext;
    state *s = self;
    const void *to;
    bool own = false, stops = false;
    struct hit *h;
    while ((h = hit_incomplete((uint32_t)syscall(SYS_gettid), &to))) {
        int box = h->box;
        const armed *a = table[h->hit.handle % TABLE].load(std::memory_order_acquire);
        stops |= a && a->action == ACTION_BREAK;
        if (s && after) h->count = callers_of_store(s, after, h->callers, HIT_CALLERS, &h->cut);
        hit_complete(h);
        if (s && to == s)
            own = true;
        else
            mailbox_wake(box);
    }
    if (own && after) ask(s, after);
    if (own && after && stops && debugger_expected) hurry(s);
}

/* False: there is no debugger that has stopped. */
static bool stop(state *s, bool in_javascript) {
    v8::HandleScope scope(s->isolate);
    bool stopped = stop_here(s->isolate, s->todo->stop.Get(s->isolate), in_javascript);
    if (stopped) debugger_expected = true;
    return stopped;
}

/* ---- at the next safe point -------------------------------------------------------------------------------------- */

static std::string thread_of(const struct hit &hit) {
    return hit.thread[0] ? hit.thread : "Thread-" + std::to_string(hit.hit.tid);
}

static void say_unknown(const shape &shape) {
    print(told("when=" + shape.when + " can't be judged of " + shape.name +
               ": at this event, what it compares isn't known or of different kinds. That counts as not met, and isn't "
               "said again (docs/breaks.md)"));
}

static void say_nobody(void) {
    static std::atomic<bool> said;
    if (!said.exchange(true))
        print(told("no debugger has stopped here, so then: \"break\" prints the stack. Run node --inspect-brk (or "
                   "--inspect), attach one (VS Code, chrome://inspect), and it stops"));
}

static void say_unheld(void) {
    uint64_t n = hits_unheld();
    if (n)
        print(
            told(std::to_string(n) + " writes met a condition and aren't acted on: too many waited (docs/breaks.md)"));
}

static void forget_ended(uint32_t handle) {
    std::lock_guard<std::mutex> guard(armed_lock);
    if (!ended.empty() && !hit_waits(handle)) ended.erase(handle);
}

/* What is to be stopped for, as text that is printed if nothing stops. */
static std::string act_on_all(state *s, bool in_javascript, bool *stops) {
    std::string stacks;
    struct hit hit;
    while (hit_take(s, &hit)) {
        std::shared_ptr<armed> a = armed_of(hit.hit.handle);
        bool own = hit.box < 0;
        forget_ended(hit.hit.handle);
        if (!a) continue;
        if (hit.hit.unknown) {
            say_unknown(a->shape);
        } else if (a->action == ACTION_CALL) {
            if (a->owner == s) s->todo->calls.push_back({a, hit});
        } else {
            std::string line = told_line(s, a->shape, hit, a->action == ACTION_BREAK && in_javascript && own),
                        stack = told_stack(hit, thread_of(hit));
            print(a->action == ACTION_DUMP ? line + stack : line);
            if (a->action == ACTION_BREAK) {
                stacks += stack;
                *stops = true;
            }
        }
    }
    say_unheld();
    return stacks;
}

static void deliver(state *s, bool in_javascript) {
    todo *t = s->todo;
    v8::HandleScope scope(s->isolate);
    v8::Local<v8::Function> function = t->deliver.Get(s->isolate);
    v8::Local<v8::Context> context = function->GetCreationContextChecked();
    if (in_javascript) {
        t->delivers = true;
        s->isolate->EnqueueMicrotask(function);
        return;
    }
    v8::Context::Scope inside(context);
    v8::Local<v8::Value> nothing;
    nothing = node::MakeCallback(s->isolate, context->Global(), function, 0, nullptr, {0, 0}).FromMaybe(nothing);
}

/* What this thread stores from now on, it acts on again; and on what it had met before. */
static void acted(state *s) {
    s->acts = false;
    if (s->asks || !hit_waits_for(s)) return;
    s->asks = true;
    s->isolate->RequestInterrupt(interrupted, s);
}

static void act(state *s, bool in_javascript) {
    s->handlers.restore();
    s->asks = false;
    if (s->acts || !s->todo) return;
    bool stops = false;
    s->acts = true;
    v8::HandleScope scope(s->isolate);
    std::string stacks = act_on_all(s, in_javascript, &stops);
    if (stops && !stop(s, in_javascript)) {
        print(stacks);
        say_nobody();
    }
    acted(s);
    if (!s->todo->calls.empty() && !s->todo->delivers) deliver(s, in_javascript);
}

static void interrupted(v8::Isolate *isolate, void *of) {
    if (self && self == of && self->isolate == isolate) act(self, true);
}

static void woken(void *of) {
    if (self && self == of) act(self, false);
}

/* ---- functions --------------------------------------------------------------------------------------------------- */

void breaks_prepare(napi_value deliver, napi_value stop, const char *thread) {
    state *s = self;
    if (!s || s->todo) return;
    mailbox_prepare();
    stop_prepare();
    s->todo = new todo;
    s->todo->deliver.Reset(s->isolate, local(deliver).As<v8::Function>());
    s->todo->stop.Reset(s->isolate, local(stop).As<v8::Function>());
    s->todo->thread = thread;
    mw_set_hit_hooks(met, settled);
}

static uint32_t free_handle(void) {
    for (int i = 0; i < TABLE; i++) {
        last_handle += last_handle == UINT32_MAX ? 2 : 1;
        if (!table[last_handle % TABLE].load()) return last_handle;
    }
    return 0;
}

static void end(const std::shared_ptr<armed> &a) {
    mw_drop_condition(a->variable,
                      a->handle); /* NO_VARIABLE: the watch has ended. Now nobody is in the midst of met() */
    std::lock_guard<std::mutex> guard(armed_lock);
    table[a->handle % TABLE].store(nullptr);
    all.erase(a->handle);
    if (hit_waits(a->handle)) ended[a->handle] = a;
}

int64_t breaks_arm(napi_env env, const struct condition *c) {
    state *s = self;
    if (!s || !s->todo) return MW_ERR_NOT_STARTED;
    if (s->todo->box < 0) s->todo->box = mailbox_open(env, woken, s);
    std::shared_ptr<armed> a(new armed{});
    {
        std::lock_guard<std::mutex> guard(armed_lock);
        a->handle = s->todo->box < 0 ? 0 : free_handle();
        if (!a->handle) return BREAKS_FULL;
        a->variable = c->variable;
        a->action = c->action;
        a->shape = {c->name, c->when ? c->when : "changed", c->when != nullptr, c->letter, c->size};
        a->owner = s;
        a->box = s->todo->box;
        all[a->handle] = a;
        table[a->handle % TABLE].store(a.get(), std::memory_order_release);
    }
    if (c->action == ACTION_BREAK) s->handlers.find(s->isolate);
    if (c->listens) debugger_expected = true;
    int error = mw_set_condition(c->variable, c->program, c->length, c->unit, a->handle);
    if (error) end(a);
    return error ? error : a->handle;
}

bool breaks_is_armed(uint32_t handle) {
    if (armed_of(handle)) return true;
    if (!self || !self->todo) return false;
    const std::vector<call> &calls = self->todo->calls;
    return std::any_of(calls.begin(), calls.end(), [handle](const call &c) { return c.of->handle == handle; });
}

static std::vector<std::shared_ptr<armed>> those(bool (*are)(const armed &, const void *), const void *of) {
    std::vector<std::shared_ptr<armed>> found;
    std::lock_guard<std::mutex> guard(armed_lock);
    for (auto &entry : all)
        if (are(*entry.second, of)) found.push_back(entry.second);
    return found;
}

void breaks_forget(mw_variable_id id) {
    for (auto &a : those([](const armed &one, const void *of) { return one.variable == *(mw_variable_id *)of; }, &id))
        end(a);
}

void breaks_detach(void) {
    state *s = self;
    if (!s || !s->todo) return;
    for (auto &a : those([](const armed &one, const void *of) { return one.owner == of; }, s)) end(a);
    hits_forget(s);
    std::unique_lock<std::mutex> guard(armed_lock);
    for (auto at = ended.begin(); at != ended.end();) at = at->second->owner == s ? ended.erase(at) : std::next(at);
    guard.unlock();
    delete s->todo;
    s->todo = nullptr;
}

void breaks_acting(bool acts) {
    if (!self) return;
    if (acts)
        self->acts = true;
    else
        acted(self);
}

static napi_value text(napi_env env, const char *bytes, size_t n) {
    napi_value made;
    napi_create_string_utf8(env, bytes ? bytes : "", n, &made);
    return made;
}

static napi_value bytes_of(napi_env env, const uint8_t *bytes, uint32_t n) {
    napi_value made = nullptr;
    if (bytes) napi_create_buffer_copy(env, n, bytes, nullptr, &made);
    return made;
}

static napi_value number(napi_env env, double n) {
    napi_value made;
    napi_create_double(env, n, &made);
    return made;
}

/* undefined of a secret. */
static napi_value changed_of(napi_env env, const struct hit &hit) {
    napi_value made = nullptr;
    if (hit.hit.size) napi_get_boolean(env, memcmp(hit.before, hit.after, hit.bytes) != 0, &made);
    return made;
}

napi_value breaks_take(napi_env env) {
    state *s = self;
    napi_value list;
    napi_create_array(env, &list);
    if (!s || !s->todo) return list;
    s->todo->delivers = false;
    std::vector<call> calls;
    calls.swap(s->todo->calls);
    for (size_t i = 0; i < calls.size(); i++) {
        const struct hit &hit = calls[i].hit;
        const mw_hit &h = hit.hit;
        written w = written_of(calls[i].of->shape, hit);
        mw_site site{};
        bool known = h.site && !mw_site_of(h.site, &site);
        std::string thread = thread_of(hit);
        napi_value one, parts[] = {number(env, h.handle),
                                   number(env, (double)w.index),
                                   number(env, w.offset),
                                   bytes_of(env, w.old, w.bytes),
                                   bytes_of(env, w.after, w.bytes),
                                   number(env, (double)h.time / 1e6),
                                   number(env, hit.more),
                                   known ? text(env, site.file, site.file_length) : nullptr,
                                   number(env, site.line),
                                   text(env, site.function, site.function_length),
                                   text(env, thread.data(), thread.size()),
                                   number(env, h.tid),
                                   number(env, h.how),
                                   changed_of(env, hit)};
        napi_create_array(env, &one);
        for (uint32_t p = 0; p < sizeof parts / sizeof *parts; p++)
            if (parts[p]) napi_set_element(env, one, p, parts[p]);
        napi_set_element(env, list, (uint32_t)i, one);
    }
    return list;
}
