/* waker.c - see waker.h. */
#define Py_BUILD_CORE_MODULE 1
#include "breaks/waker.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "interpreter.h"

static _Atomic uint32_t calls;
static _Atomic pid_t running; /* in which process */
static void (*call)(void);

static void *run(void *unused) {
    (void)unused;
    for (uint32_t seen = 0;;) {
        uint32_t now = atomic_load(&calls);
        if (now == seen) {
            syscall(SYS_futex, &calls, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
            continue;
        }
        seen = now;
        if (mwpy_is_finalizing()) return NULL;
        PyGILState_STATE state = PyGILState_Ensure();
        call();
        PyGILState_Release(state);
    }
}

int mwpy_waker_start(void (*woken)(void)) {
    call = woken;
    if (atomic_load(&running) == getpid()) return 0;
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, kept;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &kept);
    int error = pthread_create(&thread, &attributes, run, NULL);
    pthread_sigmask(SIG_SETMASK, &kept, NULL);
    pthread_attr_destroy(&attributes);
    if (error) {
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    atomic_store(&running, getpid());
    return 0;
}

void mwpy_waker_wake(void) {
    atomic_fetch_add(&calls, 1);
    syscall(SYS_futex, &calls, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
