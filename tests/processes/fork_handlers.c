/* Somebody else's library: its handlers of pthread_atfork are there before MemWatch's, so they run inside of them. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile unsigned char *target;
static bool before, parent, child, pool;
static volatile bool stop;
static pthread_t worker;
static volatile unsigned stored;
static unsigned long blocked;

static void *work(void *unused) { /* as a pool of threads that ends before a fork, and begins again after it */
    sigset_t mask;
    (void)unused;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    for (int signal = 1; signal < 32; signal++) blocked |= sigismember(&mask, signal) ? 1ul << signal : 0;
    do target[3] = (unsigned char)++stored;
    while (!stop);
    return NULL;
}

static void start_pool(void) {
    stop = false;
    if (pthread_create(&worker, NULL, work, NULL)) abort();
}

void stop_pool(void) {
    stop = true;
    pthread_join(worker, NULL);
}

static void in_before(void) {
    if (before) target[0]++;
    if (pool) stop_pool();
}

static void in_parent(void) {
    if (parent) target[1]++;
    if (pool) start_pool();
}

static void in_child(void) {
    if (child) target[2]++;
}

__attribute__((constructor)) static void set_up(void) { pthread_atfork(in_before, in_parent, in_child); }

void handle(volatile unsigned char *bytes, bool in_before, bool in_parent, bool in_child, bool with_pool) {
    target = bytes;
    before = in_before, parent = in_parent, child = in_child, pool = with_pool;
    if (pool) start_pool();
}

unsigned last_stored(void) { return stored & 0xff; }
unsigned long signals_blocked(void) { return blocked; }

static int store_ten(void *bytes) {
    for (int i = 0; i < 10; i++) ((volatile unsigned char *)bytes)[4]++;
    _exit(((volatile unsigned char *)bytes)[4]);
}

int clone_that_shares_files(volatile unsigned char *bytes, bool bare) {
    static char stack[1 << 18];
    int status;
    pid_t pid = bare ? (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL)
                     : clone(store_ten, stack + sizeof stack, CLONE_FILES | SIGCHLD, (void *)bytes);
    if (!pid) store_ten((void *)bytes);
    waitpid(pid, &status, 0);
    for (int i = 0; i < 100; i++) bytes[5]++;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
