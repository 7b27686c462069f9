/* mailbox.cc - see mailbox.h. uv_async_send() and sem_post() may be called in a signal handler. */
#include "isolate.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include <atomic>
#include <climits>

#include "mailbox.h"

/* ---- event loops ------------------------------------------------------------------------------------------------- */

namespace {

enum { BOXES = 256 };

struct box {
    std::atomic<bool> taken, open;
    std::atomic<int> senders;
    uv_async_t async;
    void (*act)(void *);
    void *of;
    napi_async_cleanup_hook_handle hook;
} boxes[BOXES];

void closed(uv_handle_t *handle) {
    box *b = (box *)handle->data;
    napi_remove_async_cleanup_hook(b->hook);
    b->taken = false;
}

/* The isolate ends. */
void close_box(napi_async_cleanup_hook_handle, void *of) {
    box *b = (box *)of;
    b->open = false;
    while (b->senders) sched_yield();
    uv_close((uv_handle_t *)&b->async, closed);
}

void woken(uv_async_t *async) {
    box *b = (box *)async->data;
    b->act(b->of);
}

} // namespace

int mailbox_open(napi_env env, void (*act)(void *of), void *of) {
    uv_loop_t *loop;
    if (napi_get_uv_event_loop(env, &loop) != napi_ok) return -1;
    for (int i = 0; i < BOXES; i++) {
        box *b = &boxes[i];
        if (b->taken.exchange(true)) continue;
        if (uv_async_init(loop, &b->async, woken)) {
            b->taken = false;
            return -1;
        }
        b->async.data = b;
        b->act = act;
        b->of = of;
        uv_unref((uv_handle_t *)&b->async);
        napi_add_async_cleanup_hook(env, close_box, b, &b->hook);
        b->open = true;
        return i;
    }
    return -1;
}

void mailbox_wake(int number) {
    if (number < 0) return;
    box *b = &boxes[number];
    b->senders++;
    if (b->open) uv_async_send(&b->async);
    b->senders--;
}

/* ---- a thread that takes locks ----------------------------------------------------------------------------------- */

namespace {

enum { ERRANDS = 64, WAIT_NS = 250000000 };
enum step : uint32_t { FREE, FILLING, ASKED, DOING };

struct errand {
    std::atomic<uint32_t> step, done; /* done: how many were, here */
    void (*do_it)(void *);
    void *of;
} errands[ERRANDS];
sem_t asked;
std::atomic<bool> runs;

long futex(std::atomic<uint32_t> *word, int operation, uint32_t value, const struct timespec *most) {
    return syscall(SYS_futex, (uint32_t *)word, operation | FUTEX_PRIVATE_FLAG, value, most, nullptr, 0);
}

void *run(void *) {
    for (;;) {
        while (sem_wait(&asked));
        for (errand &e : errands) {
            uint32_t seen = ASKED;
            if (!e.step.compare_exchange_strong(seen, DOING)) continue;
            e.do_it(e.of);
            e.step = FREE;
            e.done++;
            futex(&e.done, FUTEX_WAKE, INT_MAX, nullptr);
        }
    }
    return nullptr;
}

} // namespace

void mailbox_prepare(void) {
    if (runs.exchange(true)) return;
    pthread_t thread;
    sigset_t every, kept;
    sigfillset(&every);
    sem_init(&asked, 0, 0);
    pthread_sigmask(SIG_SETMASK, &every, &kept);
    if (!pthread_create(&thread, nullptr, run, nullptr)) {
        pthread_setname_np(thread, "memwatch-asks");
        pthread_detach(thread);
    }
    pthread_sigmask(SIG_SETMASK, &kept, nullptr);
}

/* Which errand it is, and how many had been done there. */
static errand *hand_over(void (*do_it)(void *of), void *of, uint32_t *done) {
    for (errand &e : errands) {
        uint32_t seen = FREE;
        if (!e.step.compare_exchange_strong(seen, FILLING)) continue;
        *done = e.done;
        e.do_it = do_it;
        e.of = of;
        e.step = ASKED;
        sem_post(&asked);
        return &e;
    }
    return nullptr;
}

void mailbox_ask(void (*do_it)(void *of), void *of) {
    const struct timespec most = {0, WAIT_NS};
    uint32_t done;
    errand *e = hand_over(do_it, of, &done);
    for (int i = 0; e && i < 4 && e->done == done; i++) futex(&e->done, FUTEX_WAIT, done, &most);
}

void mailbox_post(void (*do_it)(void *of), void *of) {
    uint32_t done;
    hand_over(do_it, of, &done);
}
