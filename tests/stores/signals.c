/* signals.c - signals that are the program's own, while its pages are watched: one scenario in each process.
 *
 *   signals TRACKER JOURNAL SCENARIO
 *
 * Exit status 0 if the scenario went as it must; some must end in a signal instead (see test_signals.py). */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>

#include "check.h"
#include "events.h"
#include "tracker.h"

#define PAGE 4096
static uint8_t *page, *forbidden;
static int64_t id;
static const char *tracker, *journal;
static sigjmp_buf back;
static _Atomic int reached;
static volatile int last_signal;
static void *volatile last_address;
static _Atomic int stop;

static void watch(void) {
    static const uint8_t session[16] = {4};
    check(mw_start(tracker_named(tracker)), "mw_start");
    check(mw_journal_open(journal, "signals", session), "mw_journal_open");
    page = mw_page_alloc(1);
    check(id = mw_register_page(page, PAGE, MW_FLAGS_ALL, MW_DEPTH_FULL), "mw_register_page");
}

static uint64_t events(void) {
    struct events reader;
    struct event event;
    uint64_t n = 0;
    events_open(&reader, journal, 0);
    while (events_next(&reader, &event)) n++;
    events_close(&reader);
    return n;
}

static void store(uint32_t n) { ((volatile uint32_t *)page)[n & 255] += n; }

static void on_fault(int signal, siginfo_t *info, void *context) {
    (void)context;
    last_signal = signal;
    last_address = info->si_addr;
    reached++;
    store(7); /* a handler may store to watched memory, this one too */
    siglongjmp(back, 1);
}

static void install(int signal, void (*handler)(int, siginfo_t *, void *), int flags) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    sigemptyset(&action.sa_mask);
    REQUIRE(!sigaction(signal, &action, NULL));
}

static void touch_forbidden(void) {
    if (!sigsetjmp(back, 1)) *(volatile char *)forbidden = 1;
}

static void own_faults(int before) {
    if (before) install(SIGSEGV, on_fault, 0), install(SIGBUS, on_fault, 0);
    watch();
    if (!before) install(SIGSEGV, on_fault, 0), install(SIGBUS, on_fault, 0);
    for (int i = 1; i <= 50; i++) {
        store(1);
        touch_forbidden();
        REQUIRE(reached == i && last_signal == SIGSEGV && last_address == forbidden);
    }
    /* a real SIGBUS: behind the end of a file */
    char name[] = "/tmp/memwatch-signals-XXXXXX";
    int fd = mkstemp(name);
    unlink(name);
    volatile char *behind = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (!sigsetjmp(back, 1)) *behind = 1;
    REQUIRE(reached == 51 && last_signal == SIGBUS && last_address == behind);
    struct sigaction seen;
    REQUIRE(!sigaction(SIGSEGV, NULL, &seen) && seen.sa_sigaction == on_fault); /* the program sees its own handler */
    REQUIRE(events() == 50 + 51);
}

static void on_simple(int signal) {
    last_signal = signal;
    reached++;
}

static void sent_to_handler(void) {
    watch();
    signal(SIGSEGV, on_simple);
    raise(SIGSEGV);
    REQUIRE(reached == 1 && last_signal == SIGSEGV);
    kill(getpid(), SIGBUS == last_signal ? 0 : SIGSEGV);
    REQUIRE(reached == 2);
    store(3);
    REQUIRE(events() == 1 && reached == 2);
}

static void sent_ignored(void) {
    watch();
    signal(SIGSEGV, SIG_IGN);
    raise(SIGSEGV);
    store(3);
    REQUIRE(events() == 1);
}

static void sent_to_handler_for_once(void) {
    struct sigaction seen;
    watch();
    REQUIRE(sysv_signal(SIGSEGV, on_simple) == SIG_DFL && sysv_signal(SIGBUS, on_simple) == SIG_DFL);
    raise(SIGSEGV), raise(SIGBUS);
    REQUIRE(reached == 2 && last_signal == SIGBUS);
    REQUIRE(!sigaction(SIGSEGV, NULL, &seen) && seen.sa_handler == SIG_DFL);
    store(3);
    REQUIRE(events() == 1);
}

static void reset_and_raise_again(int number, siginfo_t *info, void *context) {
    (void)info, (void)context;
    signal(number, SIG_DFL); /* what faulthandler does */
    raise(number);
}

static void chained_reset(int before) {
    if (before) install(SIGSEGV, reset_and_raise_again, SA_NODEFER);
    watch();
    if (!before) install(SIGSEGV, reset_and_raise_again, SA_NODEFER);
    store(1);
    *(volatile char *)forbidden = 1;
    _exit(9);
}

static void blocked(void) {
    watch();
    sigset_t all;
    sigfillset(&all);
    REQUIRE(!pthread_sigmask(SIG_SETMASK, &all, NULL));
    store(1);
    REQUIRE(!sigprocmask(SIG_BLOCK, &all, NULL));
    store(2);
    REQUIRE(events() == 2);
}

static void store_in_full_mask_handler(int signal) {
    (void)signal;
    store(5);
    reached++;
}

static void handler_with_full_mask(int before) {
    struct sigaction action = {.sa_handler = store_in_full_mask_handler};
    sigfillset(&action.sa_mask);
    if (before) sigaction(SIGUSR1, &action, NULL);
    watch();
    if (!before) sigaction(SIGUSR1, &action, NULL);
    for (int i = 0; i < 20; i++) raise(SIGUSR1), store(1);
    REQUIRE(reached == 20 && events() == 40);
}

static void *keep_storing(void *counter) {
    uint64_t n = 0;
    while (!stop) store((uint32_t)n++ | 1);
    *(uint64_t *)counter = n;
    return NULL;
}

/* setuid() signals every thread with glibc's own 33, which sigfillset leaves unblocked. */
static void change_user(void) {
    pthread_t threads[3];
    uint64_t counts[3], all = 0;
    watch();
    for (int i = 0; i < 3; i++) pthread_create(threads + i, NULL, keep_storing, counts + i);
    for (int i = 0; i < 100; i++) {
        REQUIRE(!setuid(getuid()));
        usleep(500);
    }
    stop = 1;
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL), all += counts[i];
    REQUIRE(events() == all);
}

/* Threads that end while others store: cancellation is glibc's signal 32. */
static void cancel_threads(void) {
    watch();
    uint64_t n;
    for (int i = 0; i < 50; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, keep_storing, &n);
        usleep(1000);
        pthread_cancel(thread);
        stop = 1;
        pthread_join(thread, NULL);
        stop = 0;
    }
    struct mw_stats stats;
    mw_get_stats(&stats);
    REQUIRE(events() == stats.stores);
}

static void keeps_errno(void) {
    watch();
    for (int i = 1; i < 100; i++) {
        errno = i;
        store(1);
        REQUIRE(errno == i);
    }
}

static void on_usr1(int signal) {
    (void)signal;
    __atomic_fetch_add((uint32_t *)page + 300, 1, __ATOMIC_RELAXED); /* one instruction: SA_NODEFER interrupts it */
    reached++;
}

static void nested_handlers(void) {
    watch();
    struct sigaction action = {.sa_handler = on_usr1, .sa_flags = SA_NODEFER};
    sigaction(SIGUSR1, &action, NULL);
    pthread_t thread;
    uint64_t n;
    pthread_create(&thread, NULL, keep_storing, &n);
    for (int i = 0; i < 3000; i++) pthread_kill(thread, SIGUSR1);
    usleep(20000);
    stop = 1;
    pthread_join(thread, NULL);
    REQUIRE(((volatile uint32_t *)page)[300] == (uint32_t)reached && reached > 0);
    REQUIRE(events() == n + (uint64_t)reached);
}

/* vcvtps2ph of a signalling NaN, invalid operations unmasked: its SIGFPE is the program's, wherever the CPU finds it.
 */
static void store_that_raises(void) {
    static const uint32_t nan[4] = {0x7f800001}, unmasked = 0x1f00, ordinary = 0x1f80;
    __asm__ volatile("ldmxcsr %0; vmovups %1, %%xmm1; vcvtps2ph $4, %%xmm1, %2" ::"m"(unmasked), "m"(nan),
                     "m"(*(uint64_t *)page)
                     : "xmm1", "memory");
    __asm__ volatile("ldmxcsr %0" ::"m"(ordinary));
}

static void own_exceptions(void) {
    watch();
    install(SIGFPE, on_fault, 0);
    for (int i = 1; i <= 50; i++) {
        if (!sigsetjmp(back, 1)) {
            store_that_raises();
            REQUIRE(!"no SIGFPE");
        }
        REQUIRE(reached == i && last_signal == SIGFPE);
    }
    REQUIRE(events() == 50 && ((uint64_t *)page)[0] == 0); /* the handler's own stores, and nothing else */
}

/* A mutation depth of bytes [100, 200): what touches none of them makes no event. */
static void mutation_depth(void) {
    watch();
    check(mw_unregister_page((mw_variable_id)id), "mw_unregister_page");
    check(id = mw_register_page(page, PAGE, MW_FLAGS_ALL, (mw_depth){100, 200}), "mw_register_page");
    for (uint32_t i = 0; i < 400; i++) ((volatile uint8_t *)page)[i] = (uint8_t)i;
    REQUIRE(events() == 100 && page[399] == (uint8_t)399);
    *(volatile uint64_t *)(page + 92) = 1; /* up to byte 99 */
    REQUIRE(events() == 100);
    *(volatile uint64_t *)(page + 93) = 1;
    *(volatile uint64_t *)(page + 199) = 1;
    REQUIRE(events() == 102);
    *(volatile uint64_t *)(page + 200) = 1;
    REQUIRE(events() == 102);
}

static void dies(const char *how) {
    watch();
    store(1);
    if (!strcmp(how, "fault")) *(volatile char *)forbidden = 1;
    if (!strcmp(how, "null")) *(volatile char *)(uintptr_t)(stop + 8) = 1;
    if (!strcmp(how, "call")) ((void (*)(void))forbidden)();
    if (!strcmp(how, "sent")) kill(getpid(), SIGSEGV), usleep(100000);
    if (!strcmp(how, "sent-bus")) raise(SIGBUS);
    if (!strcmp(how, "ignored")) signal(SIGSEGV, SIG_IGN), *(volatile char *)forbidden = 1;
    if (!strcmp(how, "beyond")) { /* from a watched page into memory that can't be written */
        uint8_t *two = mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        two[0] = 1;
        mprotect(two + PAGE, PAGE, PROT_READ);
        check(mw_register_page(two, PAGE, 0, MW_DEPTH_FULL), "mw_register_page");
        *(volatile uint64_t *)(two + PAGE - 4) = 1;
    }
    if (!strcmp(how, "exception")) store_that_raises();
    if (!strcmp(how, "exception-ignored")) signal(SIGFPE, SIG_IGN), store_that_raises();
    if (!strcmp(how, "exception-blocked")) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGFPE);
        sigprocmask(SIG_BLOCK, &set, NULL);
        install(SIGFPE, on_fault, 0);
        store_that_raises();
    }
    if (!strcmp(how, "bus")) {
        char name[] = "/tmp/memwatch-signals-XXXXXX";
        int fd = mkstemp(name);
        unlink(name);
        *(volatile char *)mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) = 1;
    }
    _exit(9);
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    tracker = argv[1], journal = argv[2];
    const char *s = argv[3];
    forbidden = mmap(0, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    alarm(50);
    if (!strcmp(s, "own-before"))
        own_faults(1);
    else if (!strcmp(s, "own-after"))
        own_faults(0);
    else if (!strcmp(s, "sent-to-handler"))
        sent_to_handler();
    else if (!strcmp(s, "sent-once"))
        sent_to_handler_for_once();
    else if (!strcmp(s, "sent-ignored"))
        sent_ignored();
    else if (!strcmp(s, "reset-before"))
        chained_reset(1);
    else if (!strcmp(s, "reset-after"))
        chained_reset(0);
    else if (!strcmp(s, "blocked"))
        blocked();
    else if (!strcmp(s, "full-mask-before"))
        handler_with_full_mask(1);
    else if (!strcmp(s, "full-mask-after"))
        handler_with_full_mask(0);
    else if (!strcmp(s, "setuid"))
        change_user();
    else if (!strcmp(s, "cancel"))
        cancel_threads();
    else if (!strcmp(s, "errno"))
        keeps_errno();
    else if (!strcmp(s, "nested"))
        nested_handlers();
    else if (!strcmp(s, "own-exceptions"))
        own_exceptions();
    else if (!strcmp(s, "depth"))
        mutation_depth();
    else if (!strncmp(s, "die-", 4))
        dies(s + 4);
    else
        return 2;
    return 0;
}
