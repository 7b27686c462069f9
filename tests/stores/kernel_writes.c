/* kernel_writes.c - the kernel writes to watched pages by itself, on every path that it has; under uffd-queue. Each
 * scenario does so, waits for the events, and looks at them.
 *
 *   kernel_writes JOURNAL SCENARIO */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "events.h"
#include "file.h"
#include "memwatch.h"

enum { PAGE = 4096, PAGES = 4, SKIPPED = 77 };
static const char *journal;
static uint8_t *page, data[PAGES * PAGE];
static mw_variable_id id;

static void watch(void) {
    static const uint8_t session[16] = {4};
    check(mw_start(MW_TRACKER_UFFD_QUEUE), "mw_start");
    check(mw_journal_open(journal, "kernel", session), "mw_journal_open");
    page = mw_page_alloc(PAGES);
    check(id = (mw_variable_id)mw_register_page(page, PAGES * PAGE, MW_FLAGS_ALL, MW_DEPTH_FULL), "mw_register_page");
}

struct sum {
    unsigned kernel, other, unchanged;
    uint32_t call, first, last; /* of the kernel's: its last call, and the bytes from the first to behind the last */
    int fd;
    uint32_t tid;
};

/* What the journal says: each event begins where the last one of these bytes ended, and all lead to what is there. */
static struct sum read_journal(uint8_t copy[PAGES * PAGE]) {
    struct events reader;
    struct event event;
    struct sum sum = {.first = UINT32_MAX};
    memset(copy, 0, PAGES * PAGE);
    events_open(&reader, journal, 0);
    while (events_next(&reader, &event)) {
        if (event.variable != id) continue;
        REQUIRE(!memcmp(copy + event.offset, event.before, event.length));
        memcpy(copy + event.offset, event.after, event.length);
        if (event.origin != MWJ_KERNEL) {
            REQUIRE(event.origin == MWJ_BY_STORE || event.origin == MWJ_ANNOUNCED);
            REQUIRE(!event.flags);
            sum.other++;
            continue;
        }
        REQUIRE(event.flags & MWJ_INEXACT);
        sum.kernel++;
        sum.unchanged += !memcmp(event.before, event.after, event.length);
        sum.call = event.call.name - MWJ_CALL_KERNEL;
        sum.fd = event.call.fd;
        sum.tid = event.tid;
        if (event.offset < sum.first) sum.first = event.offset;
        if (event.offset + event.length > sum.last) sum.last = event.offset + event.length;
    }
    events_close(&reader);
    return sum;
}

/* As soon as the journal leads to what is in memory, within ten seconds. */
static struct sum settled(void) {
    uint8_t copy[PAGES * PAGE];
    for (int i = 0;; i++) {
        usleep(5000);
        struct sum sum = read_journal(copy);
        if (sum.kernel && !memcmp(copy, page, sizeof copy)) return sum;
        REQUIRE(i < 2000);
    }
}

static void raw(void) {
    int fd = file_of(data, sizeof data);
    watch();
    REQUIRE(syscall(SYS_read, fd, page + 100, 50) == 50);
    REQUIRE(!memcmp(page + 100, data, 50));
    struct sum sum = settled();
    REQUIRE(sum.call == SYS_read && sum.fd == fd && sum.tid == (uint32_t)gettid());
    REQUIRE(sum.first == 100 && sum.last == 150);
    struct iovec to[] = {{page + PAGE - 20, 40}, {page + 2 * PAGE, 10}};
    REQUIRE(syscall(SYS_preadv, fd, to, 2, 500L, 0L) == 50);
    REQUIRE(!memcmp(page + PAGE - 20, data + 500, 40) && !memcmp(page + 2 * PAGE, data + 540, 10));
    sum = settled();
    REQUIRE(sum.call == SYS_preadv && sum.last == 2 * PAGE + 10);
    REQUIRE(syscall(SYS_pread64, fd, page, sizeof data, 0L) == sizeof data); /* all pages in one call */
    REQUIRE(!memcmp(page, data, sizeof data));
    settled();
    struct stat st;
    REQUIRE(!fstat(fd, &st) && !syscall(SYS_fstat, fd, page + 8)); /* not one of those that are redirected */
    REQUIRE(!memcmp(page + 8, &st, offsetof(struct stat, st_atim)));
    REQUIRE(settled().call == SYS_fstat);
}

/* read(2) and its kind are redirected as ever: exact events, not the kernel's. */
static void redirected(void) {
    int fd = file_of(data, sizeof data);
    struct events reader;
    struct event event;
    watch();
    REQUIRE(read(fd, page + 100, 50) == 50);
    usleep(20000);
    events_open(&reader, journal, 0);
    REQUIRE(events_next(&reader, &event) && event.origin == MWJ_SYSCALL && !event.flags && event.length == 50);
    REQUIRE(!events_next(&reader, &event));
    events_close(&reader);
}

static void same_bytes(void) {
    int fd = file_of(data, 8);
    watch();
    memcpy(page, data, 8);
    REQUIRE(syscall(SYS_read, fd, page, 8) == 8);
    struct sum sum = settled();
    REQUIRE(sum.kernel == 1 && sum.unchanged == 1 && sum.first == 0 && sum.last == 1);
}

static void direct(void) { /* the kernel pins the page, and the disk writes to it */
    char name[] = "memwatch-direct-XXXXXX";
    int fd = mkstemp(name);
    REQUIRE(write(fd, data, sizeof data) == sizeof data && !fsync(fd));
    close(fd);
    fd = open(name, O_RDONLY | O_DIRECT);
    unlink(name);
    if (fd < 0) {
        fprintf(stderr, "no direct I/O in this folder\n");
        exit(SKIPPED);
    }
    watch();
    for (int i = 0; i < 20; i++) {
        memset(page, i, PAGES * PAGE);
        REQUIRE(syscall(SYS_pread64, fd, page, PAGES * PAGE, 0L) == PAGES * PAGE);
        REQUIRE(!memcmp(page, data, sizeof data));
        settled();
    }
}

static void process_vm(void) {
    watch();
    struct iovec from = {data, 300}, to = {page + PAGE - 100, 300};
    REQUIRE(syscall(SYS_process_vm_writev, getpid(), &from, 1, &to, 1, 0) == 300);
    REQUIRE(!memcmp(page + PAGE - 100, data, 300));
    struct sum sum = settled();
    REQUIRE(sum.call == SYS_process_vm_writev && sum.first == PAGE - 100 && sum.last == PAGE + 200);
}

static void other_process(void) { /* one that isn't a child, so that it has nothing of ours: as a debugger would */
    watch();
    pid_t ours = getpid(), child = vfork();
    if (!child) { /* shares our memory until it is replaced */
        char pid[16], at[32];
        snprintf(pid, sizeof pid, "%d", ours);
        snprintf(at, sizeof at, "%p", (void *)page);
        execl("/proc/self/exe", "kernel_writes", "write-to", pid, at, NULL);
        _exit(1);
    }
    int status;
    REQUIRE(waitpid(child, &status, 0) == child && !status);
    REQUIRE(!memcmp(page + 10, "from outside", 12));
    struct sum sum = settled();
    REQUIRE(sum.tid == (uint32_t)child && sum.first == 10 && sum.last == 22);
}

static int write_to(pid_t pid, uintptr_t at) {
    struct iovec from = {"from outside", 12}, to = {(void *)(at + 10), 12};
    return process_vm_writev(pid, &from, 1, &to, 1, 0) != 12;
}

/* ---- io_uring, by hand: io_uring_setup(2), io_uring_enter(2) ---- */

struct ring {
    int fd;
    unsigned *head, *tail, *mask, *array, *completed_head, *completed_tail, *completed_mask;
    struct io_uring_sqe *entries;
    struct io_uring_cqe *completed;
};

static struct ring ring_open(void) {
    struct io_uring_params p = {0};
    struct ring r = {.fd = (int)syscall(SYS_io_uring_setup, 4, &p)};
    if (r.fd < 0) {
        fprintf(stderr, "io_uring doesn't work here: %s\n", strerror(errno));
        exit(SKIPPED);
    }
    uint8_t *sq = mmap(NULL, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, 0);
    uint8_t *cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof *r.completed, PROT_READ | PROT_WRITE, MAP_SHARED,
                       r.fd, IORING_OFF_CQ_RING);
    r.entries = mmap(NULL, p.sq_entries * sizeof *r.entries, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, IORING_OFF_SQES);
    r.head = (unsigned *)(sq + p.sq_off.head), r.tail = (unsigned *)(sq + p.sq_off.tail);
    r.mask = (unsigned *)(sq + p.sq_off.ring_mask), r.array = (unsigned *)(sq + p.sq_off.array);
    r.completed_head = (unsigned *)(cq + p.cq_off.head), r.completed_tail = (unsigned *)(cq + p.cq_off.tail);
    r.completed_mask = (unsigned *)(cq + p.cq_off.ring_mask);
    r.completed = (struct io_uring_cqe *)(cq + p.cq_off.cqes);
    return r;
}

static int ring_do(struct ring *r, struct io_uring_sqe entry) {
    unsigned at = *r->tail & *r->mask;
    r->entries[at] = entry;
    r->array[at] = at;
    __atomic_store_n(r->tail, *r->tail + 1, __ATOMIC_RELEASE);
    int entered;
    do entered = (int)syscall(SYS_io_uring_enter, r->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0);
    while (entered < 0 && errno == EINTR);
    REQUIRE(entered == 1 && __atomic_load_n(r->completed_tail, __ATOMIC_ACQUIRE) != *r->completed_head);
    int result = r->completed[*r->completed_head & *r->completed_mask].res;
    __atomic_store_n(r->completed_head, *r->completed_head + 1, __ATOMIC_RELEASE);
    return result;
}

static void ring(void) {
    int fd = file_of(data, sizeof data);
    watch();
    struct ring r = ring_open();
    for (unsigned flags = 0; flags <= IOSQE_ASYNC; flags += IOSQE_ASYNC) { /* in the call, and by a worker */
        memset(page, 1, PAGES * PAGE);
        struct io_uring_sqe entry = {.opcode = IORING_OP_READ,
                                     .flags = (uint8_t)flags,
                                     .fd = fd,
                                     .off = 7,
                                     .addr = (uintptr_t)page + 50,
                                     .len = 2 * PAGE};
        REQUIRE(ring_do(&r, entry) == 2 * PAGE);
        REQUIRE(!memcmp(page + 50, data + 7, 2 * PAGE));
        settled();
    }
}

static void ring_fixed(void) { /* pinned ahead: the kernel never asks again */
    int fd = file_of(data, sizeof data);
    watch();
    struct ring r = ring_open();
    struct iovec buffer = {page, PAGES * PAGE};
    REQUIRE(!syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_BUFFERS, &buffer, 1));
    for (unsigned i = 0; i < 30; i++) {
        struct io_uring_sqe entry = {
            .opcode = IORING_OP_READ_FIXED, .fd = fd, .off = 100 * i, .addr = (uintptr_t)page + 64 * i, .len = 200};
        REQUIRE(ring_do(&r, entry) == 200);
        REQUIRE(!memcmp(page + 64 * i, data + 100 * i, 200));
        if (i % 10 == 0) usleep(300000); /* compared less often by then */
        page[PAGE + i] = (uint8_t)i;     /* a store settles what was there before it */
        settled();
    }
}

/* ---- in each other's way ---- */

static volatile int stop;
static pthread_t main_thread;

static void *bother(void *unused) {
    (void)unused;
    while (!stop) {
        pthread_kill(main_thread, SIGUSR1);
        usleep(1000);
    }
    return NULL;
}
static volatile sig_atomic_t arrived;
static void note(int signal) { (void)signal, arrived++; }

static void signals(void) { /* that arrive while the kernel waits */
    pthread_t thread;
    int fd = file_of(data, sizeof data);
    struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    watch();
    main_thread = pthread_self();
    pthread_create(&thread, NULL, bother, NULL);
    for (int i = 0; i < 300; i++) {
        REQUIRE(syscall(SYS_pread64, fd, page + i, 100, (long)i) == 100);
        REQUIRE(!memcmp(page + i, data + i, 100));
        page[PAGE] = (uint8_t)i;
    }
    stop = 1;
    pthread_join(thread, NULL);
    REQUIRE(arrived > 10);
    settled();
}

static void *count(void *unused) {
    (void)unused;
    for (int i = 0; i < 20000; i++) __atomic_fetch_add((uint64_t *)(page + 3 * PAGE), 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void others(void) { /* threads store to another page meanwhile: nothing of theirs is lost or inexact */
    pthread_t threads[3];
    int fd = file_of(data, sizeof data);
    uint8_t copy[PAGES * PAGE];
    watch();
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, count, NULL);
    for (int i = 0; i < 300; i++) REQUIRE(syscall(SYS_pread64, fd, page + i, 500, (long)i) == 500);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    REQUIRE(*(uint64_t *)(page + 3 * PAGE) == 60000);
    settled();
    REQUIRE(read_journal(copy).other == 60000);
}

static void unqueued(void) { /* no more signals may be queued: what is sent with them is lost */
    int fd = file_of(data, sizeof data);
    uint8_t copy[PAGES * PAGE];
    REQUIRE(!setrlimit(RLIMIT_SIGPENDING, &(struct rlimit){0, 0}));
    watch();
    for (int i = 0; i < 50; i++) {
        ((volatile uint8_t *)page)[PAGE + i] = (uint8_t)(i + 1);
        REQUIRE(syscall(SYS_pread64, fd, page + i, 20, (long)i) == 20);
        ((volatile uint8_t *)page)[i] = (uint8_t)i;
    }
    settled();
    REQUIRE(read_journal(copy).other == 100);
}

static void blocked(void) { /* a call that has written a part, and waits for the rest: the page isn't open meanwhile */
    int pair[2];
    pthread_t thread;
    watch();
    REQUIRE(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    pid_t child = fork();
    if (!child) {
        usleep(300000);
        _exit(write(pair[0], "second", 6) != 6);
    }
    REQUIRE(write(pair[0], "first-", 6) == 6);
    pthread_create(&thread, NULL, count, NULL); /* on the other page */
    struct iovec to = {page + 10, 12};
    struct msghdr message = {.msg_iov = &to, .msg_iovlen = 1};
    REQUIRE(syscall(SYS_recvmsg, pair[1], &message, MSG_WAITALL) == 12);
    REQUIRE(!memcmp(page + 10, "first-second", 12));
    pthread_join(thread, NULL);
    int status;
    REQUIRE(waitpid(child, &status, 0) == child && !status);
    REQUIRE(settled().call == SYS_recvmsg);
}

static void adopted(void) {
    int fd = file_of(data, sizeof data);
    uint8_t *own = aligned_alloc(PAGE, PAGE);
    watch();
    memset(own, 3, PAGE);
    int64_t mine = mw_register_page(own, PAGE, MW_FLAGS_ALL, MW_DEPTH_FULL);
    check(mine, "mw_register_page");
    REQUIRE(syscall(SYS_read, fd, own + 9, 100) == 100 && !memcmp(own + 9, data, 100));
    check(mw_unregister_page((mw_variable_id)mine), "mw_unregister_page"); /* at once: settles what came */
    struct events reader;
    struct event event;
    unsigned found = 0;
    events_open(&reader, journal, 0);
    while (events_next(&reader, &event))
        if (event.variable == mine && event.origin == MWJ_KERNEL) {
            REQUIRE(event.offset == 9 && event.length == 100 && !memcmp(event.after, data, 100));
            found++;
        }
    REQUIRE(found == 1);
    REQUIRE(syscall(SYS_pread64, fd, own + 9, 100, 0L) == 100); /* ordinary memory again */
}

static void freed(void) { /* a page that was let go: the next one to get it finds zeros, and no events */
    int fd = file_of(data, sizeof data);
    watch();
    uint8_t *gone = mw_page_alloc(1);
    check(mw_page_free(gone, 1), "mw_page_free");
    REQUIRE(syscall(SYS_read, fd, gone, 100) == 100);
    usleep(50000);
    uint8_t *next = mw_page_alloc(1);
    REQUIRE(next == gone);
    for (int i = 0; i < PAGE; i++) REQUIRE(!next[i]);
}

static void forked(void) {
    int fd = file_of(data, sizeof data), status;
    watch();
    REQUIRE(syscall(SYS_pread64, fd, page, 100, 0L) == 100);
    pid_t child = fork();
    if (!child) {
        char path[1100], *slash;
        snprintf(path, sizeof path, "%s", journal);
        slash = strrchr(path, '/');
        snprintf(slash + 1, sizeof path - (size_t)(slash + 1 - path), "%d-kernel.mwj", getpid());
        REQUIRE(syscall(SYS_pread64, fd, page + 200, 100, 200L) == 100);
        page[5] = 77;
        usleep(50000);
        struct events reader;
        struct event event;
        unsigned kernel = 0, stores = 0;
        events_open(&reader, path, 0);
        while (events_next(&reader, &event))
            kernel += event.origin == MWJ_KERNEL, stores += event.origin == MWJ_BY_STORE;

        REQUIRE(kernel == 1 && stores == 1);
        _exit(0);
    }
    REQUIRE(waitpid(child, &status, 0) == child && !status);
    REQUIRE(page[5] == data[5] && !page[200]);
    page[6] = 1;
    settled();
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } scenarios[] = {
        {"raw", raw},         {"redirected", redirected}, {"same_bytes", same_bytes}, {"direct", direct},
        {"ring", ring},       {"ring_fixed", ring_fixed}, {"process_vm", process_vm}, {"other_process", other_process},
        {"signals", signals}, {"others", others},         {"unqueued", unqueued},     {"blocked", blocked},
        {"adopted", adopted}, {"freed", freed},           {"forked", forked},
    };
    if (argc == 4 && !strcmp(argv[1], "write-to")) return write_to(atoi(argv[2]), strtoull(argv[3], NULL, 0));
    if (argc != 3) return 2;
    journal = argv[1];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 7 + (i >> 8) + 1);
    alarm(50);
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        if (!strcmp(argv[2], scenarios[i].name)) return scenarios[i].run(), 0;
    return 2;
}
