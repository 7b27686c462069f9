/* counting.c - threads that store to one page as fast as they can; every store must be an event, and in order.
 *
 *   counting TRACKER JOURNAL SCENARIO COUNT
 *
 * Afterwards the journal is read: in its order, each event's `before` must be what the events so far left at those
 * bytes, and the number of events must be the number of stores. Prints one line; exit status 1 if anything is wrong. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#include "check.h"
#include "events.h"
#include "tracker.h"

#define THREADS 4
#define PAGE 4096
static uint8_t *pages; /* two pages: a variable each */
static int64_t ids[2];
static unsigned long count;
static _Atomic unsigned long from_handler, failed_writes;
static pthread_barrier_t together;
static const char *scenario;

static void *xadd(void *argument) {
    (void)argument;
    pthread_barrier_wait(&together);
    for (unsigned long i = 0; i < count; i++) __atomic_fetch_add((uint64_t *)pages, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void *words(void *argument) {
    volatile uint64_t *word = (uint64_t *)pages + 9 * (uintptr_t)argument;
    pthread_barrier_wait(&together);
    for (unsigned long i = 0; i < count; i++) *word = i;
    return NULL;
}

static void *announce(void *argument) {
    (void)argument;
    pthread_barrier_wait(&together);
    for (uint64_t i = 0; i < count; i++)
        if (mw_write((mw_variable_id)ids[0], 0, &i, 8)) failed_writes++;
    return NULL;
}

/* Two pages at once, and a cache line's border: the locks of both pages are taken, in an order that can't deadlock. */
static void *across(void *argument) {
    uintptr_t n = (uintptr_t)argument;
    pthread_barrier_wait(&together);
    for (unsigned long i = 0; i < count; i++) {
        uint8_t *at = n & 1 ? pages + PAGE - 3 : pages + 61;
        if (n & 2)
            __asm__ volatile("lock addq $1, (%0)" ::"r"(at) : "memory", "cc");
        else
            __asm__ volatile("mov %1, (%0)" ::"r"(at), "r"(i) : "memory");
    }
    return NULL;
}

static void on_alarm(int signal) {
    (void)signal;
    int kept = errno;
    __atomic_fetch_add((uint64_t *)(pages + 512), 1, __ATOMIC_SEQ_CST);
    from_handler++;
    errno = kept;
}

static void *vectors(void *argument) {
    typedef uint64_t v2 __attribute__((vector_size(16), aligned(1)));
    volatile v2 *at = (v2 *)(pages + 1024 + 100 * (uintptr_t)argument);
    pthread_barrier_wait(&together);
    for (uint64_t i = 0; i < count; i++) *at = (v2){i, i ^ (uintptr_t)argument};
    return NULL;
}

static void *strings(void *argument) {
    uint8_t *at = pages + 2048 + 8 * (uintptr_t)argument, *to = at;
    pthread_barrier_wait(&together);
    for (unsigned long i = 0; i < count; i++) {
        unsigned long n = 100;
        to = at;
        __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(i) : "memory");
    }
    return NULL;
}

int main(int argc, char **argv) {
    static const uint8_t session[16] = {3};
    static uint8_t replay[2 * PAGE];
    void *(*work)(void *) = xadd;
    pthread_t threads[THREADS + 1];
    if (argc != 5) return 2;
    scenario = argv[3];
    count = strtoul(argv[4], NULL, 10);
    int storm = !strncmp(scenario, "storm-", 6), announcer = !strcmp(scenario, "mixed");
    const char *what = storm ? scenario + 6 : scenario;
    if (!strcmp(what, "words")) work = words;
    if (!strcmp(what, "across")) work = across;
    if (!strcmp(what, "vectors")) work = vectors;
    if (!strcmp(what, "strings")) work = strings;

    check(mw_start(tracker_named(argv[1])), "mw_start");
    check(mw_journal_open(argv[2], "count", session), "mw_journal_open");
    pages = mw_page_alloc(2);
    for (int i = 0; i < 2; i++)
        check(ids[i] = mw_register_page(pages + i * PAGE, PAGE, MW_FLAGS_ALL, MW_DEPTH_FULL), "mw_register_page");
    if (storm) {
        struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
        struct itimerval every = {{0, 150}, {0, 150}};
        sigaction(SIGALRM, &action, NULL);
        setitimer(ITIMER_REAL, &every, NULL);
    }
    pthread_barrier_init(&together, NULL, THREADS + (unsigned)announcer);
    for (uintptr_t i = 0; i < THREADS; i++) pthread_create(threads + i, NULL, work, (void *)i);
    if (announcer) pthread_create(threads + THREADS, NULL, announce, NULL);
    for (int i = 0; i < THREADS + announcer; i++) pthread_join(threads[i], NULL);
    if (storm) {
        struct itimerval never = {{0, 0}, {0, 0}};
        setitimer(ITIMER_REAL, &never, NULL);
        signal(SIGALRM, SIG_IGN);
    }

    struct events reader;
    struct event event;
    uint64_t seen[2] = {0, 0}, announced = 0, handled = 0, broken = 0, inexact = 0, tids[THREADS + 2] = {0};
    events_open(&reader, argv[2], 0);
    while (events_next(&reader, &event)) {
        int page = event.variable == ids[1];
        uint8_t *at = replay + page * PAGE + event.offset;
        if (event.offset + event.length > PAGE || memcmp(at, event.before, event.length)) broken++;
        memcpy(at, event.after, event.length);
        seen[page]++;
        announced += event.origin == MWJ_ANNOUNCED;
        handled += event.offset == 512 && !page && event.length == 8;
        inexact += event.flags != 0;
        for (unsigned i = 0; i < THREADS + 2 && event.offset != 512; i++) {
            if (!tids[i]) tids[i] = event.tid;
            if (tids[i] == event.tid) break;
        }
    }
    events_close(&reader);
    uint64_t wanted[2] = {THREADS * count + from_handler + (announcer ? count : 0), 0};
    if (work == across) wanted[1] = 2 * count;
    unsigned writers = 0;
    while (writers < THREADS + 2 && tids[writers]) writers++;
    int right = !broken && !inexact && !memcmp(replay, pages, 2 * PAGE) && seen[0] == wanted[0] &&
                seen[1] == wanted[1] && handled == from_handler && announced == (announcer ? count : 0) &&
                !failed_writes && writers == THREADS + (unsigned)announcer;
    if (work == xadd && !announcer) right &= *(uint64_t *)pages == THREADS * count;
    if (storm) right &= from_handler > 20;
    printf("%s: events %llu and %llu, wanted %llu and %llu; out of order %llu, inexact %llu, from the handler %llu of "
           "%lu, "
           "announced %llu, writers %u, memory %s\n",
           scenario, (unsigned long long)seen[0], (unsigned long long)seen[1], (unsigned long long)wanted[0],
           (unsigned long long)wanted[1], (unsigned long long)broken, (unsigned long long)inexact,
           (unsigned long long)handled, (unsigned long)from_handler, (unsigned long long)announced, writers,
           memcmp(replay, pages, 2 * PAGE) ? "differs" : "as replayed");
    check(mw_journal_close(), "mw_journal_close");
    return right ? 0 : 1;
}
