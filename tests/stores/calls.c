/* calls.c - libc calls that have watched memory written by the kernel: one scenario in each process.
 *
 *   calls TRACKER JOURNAL SCENARIO [ARGUMENT]
 *
 * Exit status 0 if the scenario went as it must, 77 if this machine can't show it (the reason is on standard error). */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "check.h"
#include "events.h"
#include "file.h"
#include "tracker.h"

#define PAGE 4096
static uint8_t *page; /* two of them, one variable */
static int64_t id;
static const char *tracker, *journal;
static uint64_t seen; /* slots of the journal that were looked at */
static char data[1 << 17];

/* What -D_FORTIFY_SOURCE makes of the calls. */
ssize_t __read_chk(int, void *, size_t, size_t);
ssize_t __pread_chk(int, void *, size_t, off_t, size_t);
ssize_t __pread64_chk(int, void *, size_t, off_t, size_t);
ssize_t __recv_chk(int, void *, size_t, size_t, int);
ssize_t __recvfrom_chk(int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *);
size_t __fread_chk(void *, size_t, size_t, size_t, FILE *);
size_t __fread_unlocked_chk(void *, size_t, size_t, size_t, FILE *);
ssize_t __pread64(int, void *, size_t, off_t);

static ssize_t (*const volatile table[])(int, void *, size_t) = {read}; /* filled by the loader */
static ssize_t (*volatile writable_table[])(int, void *, size_t) = {read};

static void start(void) {
    static const uint8_t session[16] = {4};
    check(mw_start(tracker_named(tracker)), "mw_start");
    check(mw_journal_open(journal, "calls", session), "mw_journal_open");
    page = mw_page_alloc(2);
}

static void watch(void) {
    start();
    check(id = mw_register_page(page, 2 * PAGE, MW_FLAGS_ALL, MW_DEPTH_FULL), "mw_register_page");
}

struct expected {
    unsigned call;
    int fd;
    uint32_t bytes;
    const void *at; /* where the event must begin */
    uint32_t length;
};

/* The events since the last time are exactly these, and each left what the memory, or `now`, holds. */
static void expect_all(const struct expected *wanted, unsigned count, int line) {
    struct events reader;
    struct event event;
    unsigned n = 0;
    events_open(&reader, journal, seen);
    while (events_next(&reader, &event)) {
        const struct expected *e = &wanted[n++];
        if (n > count) break;
        if (event.origin != MWJ_SYSCALL || event.flags || event.tid != (uint32_t)gettid() ||
            event.call.name != e->call || event.call.fd != e->fd || event.call.bytes != e->bytes ||
            event.length != e->length || memcmp(event.after, e->at, e->length)) {
            fprintf(stderr, "line %d, event %u: origin %u flags %u call %u fd %d bytes %u offset %u length %u\n", line,
                    n, event.origin, event.flags, event.call.name, event.call.fd, event.call.bytes, event.offset,
                    event.length);
            exit(1);
        }
    }
    seen = reader.end;
    events_close(&reader);
    if (n != count) {
        fprintf(stderr, "line %d: %u events or more, not %u\n", line, n, count);
        exit(1);
    }
}
#define EXPECT(...)                                                                                                    \
    expect_all((struct expected[]){__VA_ARGS__}, sizeof((struct expected[]){__VA_ARGS__}) / sizeof(struct expected),   \
               __LINE__)
#define EXPECT_NONE() expect_all(NULL, 0, __LINE__)

/* Events of any kind: how many; `tail`: each before is what the last after left, and at the end what is there now. */
static unsigned replay(void) {
    struct events reader;
    struct event event;
    uint8_t copy[2 * PAGE] = {0};
    unsigned n = 0;
    events_open(&reader, journal, 0);
    for (; events_next(&reader, &event); n++) {
        if (event.variable != id) continue;
        REQUIRE(!memcmp(copy + event.offset, event.before, event.length));
        memcpy(copy + event.offset, event.after, event.length);
    }
    events_close(&reader);
    REQUIRE(!memcmp(copy, page, sizeof copy));
    return n;
}

static void pair_of(int kind, int pair[2]) { REQUIRE(!socketpair(AF_UNIX, kind, 0, pair)); }

/* ---- each call, and each name of it ---- */

static void each(void) {
    int fd = file_of(data, sizeof data), pair[2], datagrams[2];
    uint8_t plain[64];
    watch();
    pair_of(SOCK_STREAM, pair);
    pair_of(SOCK_DGRAM, datagrams);
#define SAME(n, at) REQUIRE(!memcmp(page + 100, data + (at), n))
    REQUIRE(read(fd, page + 100, 10) == 10);
    SAME(10, 0);
    EXPECT({MWJ_CALL_READ, fd, 10, page + 100, 10});
    REQUIRE(__read_chk(fd, page + 100, 11, 11) == 11);
    SAME(11, 10);
    EXPECT({MWJ_CALL_READ, fd, 11, page + 100, 11});
    REQUIRE(pread(fd, page + 100, 12, 5) == 12);
    SAME(12, 5);
    EXPECT({MWJ_CALL_PREAD, fd, 12, page + 100, 12});
    REQUIRE(pread64(fd, page + 100, 13, 6) == 13 && __pread64(fd, page + 100, 13, 6) == 13);
    SAME(13, 6);
    EXPECT({MWJ_CALL_PREAD, fd, 13, page + 100, 13}, {MWJ_CALL_PREAD, fd, 13, page + 100, 13});
    REQUIRE(__pread_chk(fd, page + 100, 14, 7, 14) == 14 && __pread64_chk(fd, page + 100, 14, 7, 14) == 14);
    SAME(14, 7);
    EXPECT({MWJ_CALL_PREAD, fd, 14, page + 100, 14}, {MWJ_CALL_PREAD, fd, 14, page + 100, 14});

    struct iovec buffers[] = {{page + 100, 3}, {plain, 20}, {page + 103, 7}, {page + 300, 0}, {page + 200, 50}};
    REQUIRE(lseek(fd, 1, SEEK_SET) == 1);
    REQUIRE(readv(fd, buffers, 5) == 80);
    SAME(3, 1);
    REQUIRE(!memcmp(plain, data + 4, 20) && !memcmp(page + 103, data + 24, 7) && !memcmp(page + 200, data + 31, 50));
    EXPECT({MWJ_CALL_READV, fd, 80, page + 100, 3}, {MWJ_CALL_READV, fd, 80, page + 103, 7},
           {MWJ_CALL_READV, fd, 80, page + 200, 50});
    REQUIRE(preadv(fd, buffers, 3, 9) == 30 && preadv64(fd, buffers, 1, 9) == 3);
    SAME(3, 9);
    EXPECT({MWJ_CALL_PREADV, fd, 30, page + 100, 3}, {MWJ_CALL_PREADV, fd, 30, page + 103, 7},
           {MWJ_CALL_PREADV, fd, 3, page + 100, 3});
    REQUIRE(preadv2(fd, buffers, 1, 11, 0) == 3 && preadv64v2(fd, buffers, 1, 11, 0) == 3);
    SAME(3, 11);
    EXPECT({MWJ_CALL_PREADV2, fd, 3, page + 100, 3}, {MWJ_CALL_PREADV2, fd, 3, page + 100, 3});

    REQUIRE(send(pair[0], data, 100, 0) == 100);
    REQUIRE(recv(pair[1], page + 100, 10, 0) == 10 && __recv_chk(pair[1], page + 110, 10, 10, 0) == 10);
    SAME(20, 0);
    EXPECT({MWJ_CALL_RECV, pair[1], 10, page + 100, 10}, {MWJ_CALL_RECV, pair[1], 10, page + 110, 10});
    struct sockaddr_storage from;
    socklen_t from_size = sizeof from;
    REQUIRE(recvfrom(pair[1], page + 100, 10, 0, (struct sockaddr *)&from, &from_size) == 10);
    REQUIRE(__recvfrom_chk(pair[1], page + 110, 10, 10, 0, NULL, NULL) == 10 && from_size == 0);
    SAME(20, 20);
    EXPECT({MWJ_CALL_RECVFROM, pair[1], 10, page + 100, 10}, {MWJ_CALL_RECVFROM, pair[1], 10, page + 110, 10});

    char control[CMSG_SPACE(sizeof(int))];
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } rights = {{0}};
    struct iovec out = {data, 30};
    struct msghdr sent = {.msg_iov = &out, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = sizeof rights};
    struct cmsghdr *head = CMSG_FIRSTHDR(&sent);
    head->cmsg_level = SOL_SOCKET, head->cmsg_type = SCM_RIGHTS, head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
    REQUIRE(sendmsg(datagrams[0], &sent, 0) == 30);
    struct msghdr message = {
        .msg_iov = buffers, .msg_iovlen = 3, .msg_control = control, .msg_controllen = sizeof control};
    REQUIRE(recvmsg(datagrams[1], &message, 0) == 30);
    SAME(3, 0);
    REQUIRE(message.msg_iov == buffers && buffers[0].iov_base == page + 100 && !message.msg_flags);
    REQUIRE(CMSG_FIRSTHDR(&message) && CMSG_FIRSTHDR(&message)->cmsg_type == SCM_RIGHTS);
    EXPECT({MWJ_CALL_RECVMSG, datagrams[1], 30, page + 100, 3}, {MWJ_CALL_RECVMSG, datagrams[1], 30, page + 103, 7});

    for (int i = 1; i <= 3; i++) REQUIRE(send(datagrams[0], data + i, (size_t)i * 10, 0) == i * 10);
    struct iovec parts[] = {{page + 400, 100}, {plain, 64}, {page + 500, 8}, {page + 508, 8}};
    struct mmsghdr messages[] = {{.msg_hdr = {.msg_iov = parts, .msg_iovlen = 1}},
                                 {.msg_hdr = {.msg_iov = parts + 1, .msg_iovlen = 1}},
                                 {.msg_hdr = {.msg_iov = parts + 2, .msg_iovlen = 2}},
                                 {.msg_hdr = {.msg_iov = parts, .msg_iovlen = 1}}};
    REQUIRE(recvmmsg(datagrams[1], messages, 4, MSG_DONTWAIT, NULL) == 3);
    REQUIRE(messages[0].msg_len == 10 && messages[1].msg_len == 20 && messages[2].msg_len == 16);
    REQUIRE(messages[2].msg_hdr.msg_flags == MSG_TRUNC && messages[2].msg_hdr.msg_iov == parts + 2);
    REQUIRE(!memcmp(page + 400, data + 1, 10) && !memcmp(plain, data + 2, 20) && !memcmp(page + 500, data + 3, 16));
    EXPECT({MWJ_CALL_RECVMMSG, datagrams[1], 10, page + 400, 10}, {MWJ_CALL_RECVMMSG, datagrams[1], 16, page + 500, 8},
           {MWJ_CALL_RECVMMSG, datagrams[1], 16, page + 508, 8});

    REQUIRE(getrandom(page + 100, 32, 0) == 32);
    EXPECT({MWJ_CALL_GETRANDOM, -1, 32, page + 100, 32});

    lseek(fd, 0, SEEK_SET);
    FILE *file = fdopen(fd, "r");
    REQUIRE(fread(page + 100, 5, 4, file) == 4 && fread_unlocked(page + 120, 1, 20, file) == 20);
    SAME(40, 0);
    EXPECT({MWJ_CALL_FREAD, fd, 20, page + 100, 20}, {MWJ_CALL_FREAD, fd, 20, page + 120, 20});
    REQUIRE(__fread_chk(page + 100, 10, 1, 10, file) == 10 && __fread_unlocked_chk(page + 110, 10, 10, 1, file) == 1);
    SAME(20, 40);
    EXPECT({MWJ_CALL_FREAD, fd, 10, page + 100, 10}, {MWJ_CALL_FREAD, fd, 10, page + 110, 10});
    REQUIRE(fseek(file, -7, SEEK_END) == 0 && fread(page + 100, 5, 4, file) == 1 && feof(file)); /* two of the second */
    REQUIRE(!memcmp(page + 100, data + sizeof data - 7, 7));
    EXPECT({MWJ_CALL_FREAD, fd, 7, page + 100, 7});
    REQUIRE(ftell(file) == sizeof data);
    REQUIRE(replay() == 30);
}

/* ---- results that aren't bytes ---- */

static void errors(void) {
    int fd = file_of(data, 20), pipes[2], pair[2];
    watch();
    REQUIRE(!pipe2(pipes, O_NONBLOCK));
    pair_of(SOCK_STREAM, pair);
    struct iovec one = {page, 10}, many[2000];
#define FAILS(call, why)                                                                                               \
    do {                                                                                                               \
        errno = 0;                                                                                                     \
        REQUIRE((call) == -1 && errno == why);                                                                         \
    } while (0)
    FAILS(read(999, page, 10), EBADF);
    FAILS(read(pipes[0], page, 10), EAGAIN);
    FAILS(readv(pipes[0], &one, 1), EAGAIN);
    FAILS(recv(pair[0], page, 10, MSG_DONTWAIT), EAGAIN);
    FAILS(recv(fd, page, 10, 0), ENOTSOCK);
    FAILS(pread(pipes[0], page, 10, 0), ESPIPE);
    volatile int count = -1; /* gcc must not know */
    FAILS(readv(fd, &one, count), EINVAL);
    for (int i = 0; i < 2000; i++) many[i] = one;
    FAILS(readv(fd, many, count + 2001), EINVAL);
    many[1].iov_len = (size_t)-1;
    FAILS(readv(fd, many, 2), EINVAL);
    FAILS(recvmsg(pair[0], &(struct msghdr){.msg_iov = &one, .msg_iovlen = 1}, MSG_DONTWAIT), EAGAIN);
    errno = 5;
    REQUIRE(read(fd, page, 0) == 0 && readv(fd, &one, 0) == 0 && getrandom(page, 0, 0) == 0);
    REQUIRE(lseek(fd, 0, SEEK_END) == 20 && read(fd, page, 10) == 0 && errno == 5);
    EXPECT_NONE();
    REQUIRE(pread(fd, page, 30, 5) == 15 && errno == 5); /* fewer than were asked for */
    EXPECT({MWJ_CALL_PREAD, fd, 15, page, 15});
    REQUIRE(page[15] == 0);
    /* More than there is room for: as far as our memory goes. */
    REQUIRE(pread(file_of(data, sizeof data), page + 2 * PAGE - 10, 100, 0) == 10);
    for (int i = 0; i < 10; i++) REQUIRE(page[2 * PAGE - 10 + i] == (uint8_t)data[i]);
}

/* Places of buffers that can't be read, as EFAULT of the kernel, and never a crash; in front of them, what may be
 * watched and what isn't. */
static void unreadable(void) {
    int fd = file_of(data, sizeof data), pair[2];
    uint8_t plain[16];
    const size_t size = 2 * PAGE;
    uint8_t *hole = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *end = hole + PAGE; /* from here on, nobody can read or write */
    REQUIRE(hole != MAP_FAILED);
    int empty = file_of("", 0); /* a page of its own, behind the end: SIGBUS */
    void *behind = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, empty, 0);
    REQUIRE(behind != MAP_FAILED && !mprotect(end, PAGE, PROT_NONE));
    watch();
    pair_of(SOCK_DGRAM, pair);
    void *bad[] = {(void *)8, end, behind, (void *)(1ull << 63), (void *)-16};
    for (int i = 0; i < 5; i++) {
        FAILS(readv(fd, bad[i], 1), EFAULT);
        FAILS(preadv(fd, bad[i], 1, 0), EFAULT);
        FAILS(preadv2(fd, bad[i], 2, 0, 0), EFAULT);
        FAILS(recvmsg(pair[0], bad[i], MSG_DONTWAIT), EFAULT);
        FAILS(recvmmsg(pair[0], bad[i], 1, MSG_DONTWAIT, NULL), EFAULT);
        struct msghdr header = {.msg_iov = bad[i], .msg_iovlen = 1};
        FAILS(recvmsg(pair[0], &header, MSG_DONTWAIT), EFAULT);
    }
    const struct iovec first[] = {{page, 5}, {plain, 5}};
    for (int i = 0; i < 2; i++) { /* the first can be read, and the second not */
        struct iovec *last = (struct iovec *)end - 1;
        *last = first[i];
        FAILS(readv(fd, last, 2), EFAULT);
        FAILS(preadv(fd, last, 2, 0), EFAULT);
        FAILS(recvmsg(pair[0], &(struct msghdr){.msg_iov = last, .msg_iovlen = 2}, MSG_DONTWAIT), EFAULT);
    }
    EXPECT_NONE();

    /* What came before the message that can't be read is returned. */
    struct iovec into = {page, 8}, to_plain = {plain, 8};
    struct mmsghdr *messages = (struct mmsghdr *)end - 2;
    messages[0] = (struct mmsghdr){.msg_hdr = {.msg_iov = &into, .msg_iovlen = 1}};
    messages[1] = (struct mmsghdr){.msg_hdr = {.msg_iov = &to_plain, .msg_iovlen = 1}};
    REQUIRE(send(pair[1], "one", 3, 0) == 3 && send(pair[1], "two", 3, 0) == 3 && send(pair[1], "three", 5, 0) == 5);
    REQUIRE(recvmmsg(pair[0], messages, 3, MSG_DONTWAIT, NULL) == 2 && messages[0].msg_len == 3);
    REQUIRE(!memcmp(page, "one", 3) && !memcmp(plain, "two", 3));
    EXPECT({MWJ_CALL_RECVMMSG, pair[0], 3, page, 3});
    messages[1].msg_hdr.msg_iov = bad[1];
    REQUIRE(recvmmsg(pair[0], messages, 2, MSG_DONTWAIT, NULL) == 1 && !memcmp(page, "three", 5));
    EXPECT({MWJ_CALL_RECVMMSG, pair[0], 5, page, 5});

    /* A header that nobody can write: what came is there, and the call has failed. */
    struct msghdr *header = (struct msghdr *)hole;
    *header = (struct msghdr){.msg_iov = &into, .msg_iovlen = 1};
    REQUIRE(!mprotect(hole, PAGE, PROT_READ) && send(pair[1], "four", 4, 0) == 4);
    FAILS(recvmsg(pair[0], header, MSG_DONTWAIT), EFAULT);
    EXPECT({MWJ_CALL_RECVMSG, pair[0], 4, page, 4});

    /* A fault of the program's own still is one. */
    pid_t pid = fork();
    if (!pid) {
        *(volatile uint8_t *)end = 1;
        _exit(0);
    }
    int status;
    REQUIRE(waitpid(pid, &status, 0) == pid);
#ifdef __SANITIZE_ADDRESS__ /* whose handler it meets, which exits */
    REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 1);
#else
    REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
#endif
}

/* Another thread changes the places of the buffers all the time: what the call does is one of both, and no crash. */
static struct iovec changing[64];
static volatile int changes = 1;
static void *change(void *unused) {
    static uint8_t plain[PAGE];
    while (changes)
        for (int i = 0; i < 64; i++)
            *(struct iovec volatile *)&changing[i] =
                changing[i].iov_base == page ? (struct iovec){plain, 8} : (struct iovec){page, PAGE};
    return unused;
}
static void changed(void) {
    int fd = file_of(data, sizeof data);
    pthread_t thread;
    watch();
    for (int i = 0; i < 64; i++) changing[i] = (struct iovec){page, 8};
    REQUIRE(!pthread_create(&thread, NULL, change, NULL));
    for (int i = 0; i < 2000; i++) {
        ssize_t got = preadv(fd, changing, 64, 0);
        REQUIRE(got >= 0 || errno == EFAULT); /* placed as it is, if it has outgrown the room */
    }
    changes = 0;
    REQUIRE(!pthread_join(thread, NULL));
    replay();
}

/* ---- what a call touches ---- */

static void several(void) {
    int fd = file_of(data, sizeof data);
    start();
    uint8_t *other = mw_page_alloc(1);
    int64_t ids[3] = {
        mw_register_range(page + 10, 10, 0, MW_DEPTH_FULL),
        mw_register_range(page + 20, 30, MW_TRACK_THREADS, (mw_depth){5, 10}),
        mw_register_range(page + 60, 4, MW_TRACK_THREADS, MW_DEPTH_FULL),
    };
    for (int i = 0; i < 3; i++) check(ids[i], "mw_register_range");
    REQUIRE(read(fd, other, 100) == 100 && !memcmp(other, data, 100)); /* ours, and nobody watches it */
    EXPECT_NONE();
    REQUIRE(pread(fd, page, 64, 1) == 64 && !memcmp(page, data + 1, 64));
    struct events reader;
    struct event event;
    unsigned touched = 0;
    events_open(&reader, journal, seen);
    while (events_next(&reader, &event)) {
        REQUIRE(event.origin == MWJ_SYSCALL && event.call.bytes == 64 && event.offset == 0);
        for (int i = 0; i < 3; i++)
            if (event.variable == ids[i]) touched |= 1u << i;
        REQUIRE(event.length == (event.variable == ids[0] ? 10 : event.variable == ids[1] ? 30 : 4));
        REQUIRE(event.variable == ids[0] ? event.tid == 0 : event.tid == (uint32_t)gettid());
    }
    seen = reader.end;
    REQUIRE(touched == 7);
    REQUIRE(pread(fd, page + 30, 20, 1) == 20); /* behind the depth of the second */
    EXPECT_NONE();
}

static void large(void) {
    int fd = file_of(data, sizeof data);
    uint8_t *big;
    watch();
    REQUIRE(pread(fd, page + PAGE - 50, 100, 0) == 100); /* over the border of two pages: one event */
    EXPECT({MWJ_CALL_PREAD, fd, 100, page + PAGE - 50, 100});
    big = mw_page_alloc(sizeof data / PAGE);
    check(mw_register_page(big, sizeof data, MW_TRACK_THREADS, MW_DEPTH_FULL), "mw_register_page");
    REQUIRE(pread(fd, big + 30, sizeof data - 30, 0) == sizeof data - 30 && !memcmp(big + 30, data, sizeof data - 30));
    struct events reader;
    struct event event;
    uint32_t at = 30;
    events_open(&reader, journal, seen);
    for (; events_next(&reader, &event); at += event.length) {
        REQUIRE(event.offset == at && event.call.bytes == sizeof data - 30 && event.length <= MW_EVENT_MAX);
        REQUIRE(!memcmp(event.after, data + at - 30, event.length));
    }
    REQUIRE(at == sizeof data);
    seen = reader.end;
}

/* Memory of the program's own, of which the middle is watched, and gaps between watched pages. */
static void adopted(void) {
    int fd = file_of(data, sizeof data);
    start();
    uint8_t *own = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(own, 1, 8 * PAGE);
    check(id = mw_register_page(own + 4 * PAGE, PAGE, MW_FLAGS_ALL, MW_DEPTH_FULL), "mw_register_page");
    check(mw_register_page(own + PAGE, PAGE, MW_FLAGS_ALL, MW_DEPTH_FULL), "mw_register_page");
    check(mw_register_page(own + 2 * PAGE, PAGE, MW_FLAGS_ALL, MW_DEPTH_FULL), "mw_register_page");
    REQUIRE(read(fd, own + 100, 7 * PAGE) == 7 * PAGE && !memcmp(own + 100, data, 7 * PAGE));
    EXPECT({MWJ_CALL_READ, fd, 7 * PAGE, own + PAGE, PAGE}, {MWJ_CALL_READ, fd, 7 * PAGE, own + 2 * PAGE, PAGE},
           {MWJ_CALL_READ, fd, 7 * PAGE, own + 4 * PAGE, PAGE});
    REQUIRE(pread(fd, own + 6 * PAGE, PAGE, 0) == PAGE && pread(fd, own, PAGE, 0) == PAGE);
    EXPECT_NONE();
    mprotect(own + 3 * PAGE, PAGE, PROT_READ); /* the buffer ends there */
    REQUIRE(pread(fd, own + PAGE, 4 * PAGE, 9) == 2 * PAGE);
    EXPECT({MWJ_CALL_PREAD, fd, 4 * PAGE, own + PAGE, PAGE}, {MWJ_CALL_PREAD, fd, 4 * PAGE, own + 2 * PAGE, PAGE});
    check(mw_unregister_page((mw_variable_id)id), "mw_unregister_page");
    REQUIRE(pread(fd, own + 4 * PAGE, PAGE, 3) == PAGE && !memcmp(own + 4 * PAGE, data + 3, PAGE));
    EXPECT_NONE();
}

/* ---- sockets ---- */

static void datagrams(void) {
    int pair[2];
    watch();
    pair_of(SOCK_DGRAM, pair);
    send(pair[0], data, 3000, 0);
    send(pair[0], data + 50, 20, 0);
    REQUIRE(recv(pair[1], page, 1000, MSG_PEEK) == 1000);
    REQUIRE(recv(pair[1], page + 1, 1000, MSG_TRUNC) == 3000); /* its real length; the rest is gone */
    REQUIRE(!memcmp(page + 1, data, 1000) && !page[1001]);
    REQUIRE(recv(pair[1], page + 2, 4096, 0) == 20 && !memcmp(page + 2, data + 50, 20));
    EXPECT({MWJ_CALL_RECV, pair[1], 1000, data, 1000}, {MWJ_CALL_RECV, pair[1], 1000, data, 1000},
           {MWJ_CALL_RECV, pair[1], 20, data + 50, 20});
}

/* TCP throws away what MSG_TRUNC asks for, and writes nothing. */
static void tcp(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0), to = socket(AF_INET, SOCK_STREAM, 0), from;
    watch();
    REQUIRE(!bind(listener, (struct sockaddr *)&at, size) && !listen(listener, 1));
    REQUIRE(!getsockname(listener, (struct sockaddr *)&at, &size) && !connect(to, (struct sockaddr *)&at, size));
    REQUIRE((from = accept(listener, NULL, NULL)) >= 0);
    REQUIRE(send(to, data, 300, 0) == 300);
    page[0] = 9;
    seen = 0;
    REQUIRE(recv(from, page, 100, MSG_TRUNC) == 100 && page[0] == 9);
    struct iovec one = {page, 100};
    REQUIRE(recvmsg(from, &(struct msghdr){.msg_iov = &one, .msg_iovlen = 1}, MSG_TRUNC) == 100 && page[0] == 9);
    REQUIRE(recv(from, page, 100, MSG_WAITALL) == 100 && !memcmp(page, data + 200, 100));
    REQUIRE(replay() == 2);
}

/* ---- signals, cancellation, threads, fork ---- */

static int pipes[2], alarm_pipes[2];
static sigjmp_buf back;
static _Atomic int reached;

static void on_alarm(int signal) {
    (void)signal;
    int kept = errno;
    reached++;
    REQUIRE(write(alarm_pipes[1], data + 7, 20) == 20 &&
            read(alarm_pipes[0], page + 1000, 20) == 20); /* in a handler */
    page[1020]++;
    errno = kept;
}

static void alarm_in(int ms, int flags) {
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = flags};
    struct itimerval timer = {.it_value.tv_usec = ms * 1000};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}

static void *write_later(void *ms) {
    usleep((unsigned)(uintptr_t)ms * 1000);
    REQUIRE(write(pipes[1], data, 50) == 50);
    return NULL;
}

static void interrupted(void) {
    pthread_t thread;
    watch();
    REQUIRE(!pipe(pipes) && !pipe(alarm_pipes));
    alarm_in(30, 0);
    errno = 0;
    REQUIRE(read(pipes[0], page, 100) == -1 && errno == EINTR && reached == 1);
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &only, NULL); /* the other thread must not get it */
    pthread_create(&thread, NULL, write_later, (void *)100);
    pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    alarm_in(30, SA_RESTART);
    REQUIRE(read(pipes[0], page, 100) == 50 && reached == 2 && !memcmp(page, data, 50));
    pthread_join(thread, NULL);
    REQUIRE(page[1020] == 2 && replay() == 5);
}

static void jump(int signal) {
    (void)signal;
    siglongjmp(back, 1);
}

/* A handler that leaves a blocked call for good. */
static void left(void) {
    watch();
    REQUIRE(!pipe(pipes));
    signal(SIGALRM, jump);
    for (volatile int i = 0; i < 5; i++) {
        struct itimerval timer = {.it_value.tv_usec = 10000};
        setitimer(ITIMER_REAL, &timer, NULL);
        if (!sigsetjmp(back, 1)) {
            REQUIRE(read(pipes[0], page, 1000) == -2);
        }
    }
    REQUIRE(write(pipes[1], data, 10) == 10 && read(pipes[0], page, 1000) == 10);
    EXPECT({MWJ_CALL_READ, pipes[0], 10, page, 10});
}

static void *read_for_ever(void *unused) {
    for (;;) REQUIRE(read(pipes[0], page, 2 * PAGE) >= 0);
    return unused;
}

static unsigned long memory_mapped(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    REQUIRE(fscanf(file, "%lu", &pages) == 1);
    fclose(file);
    return pages;
}

static void cancelled(void) {
    pthread_t thread;
    unsigned long before = 0;
    watch();
    REQUIRE(!pipe(pipes));
    for (int i = 0; i < 60; i++) {
        REQUIRE(!pthread_create(&thread, NULL, read_for_ever, NULL));
        usleep(2000);
        REQUIRE(!pthread_cancel(thread) && !pthread_join(thread, NULL));
        if (i == 9) before = memory_mapped();
    }
    REQUIRE(memory_mapped() < before + 50);
    REQUIRE(write(pipes[1], data, 10) == 10 && read(pipes[0], page, 10) == 10);
    EXPECT({MWJ_CALL_READ, pipes[0], 10, page, 10});
}

static void *read_pieces(void *fd) {
    uint32_t *counter = (uint32_t *)page + 900; /* on the same page as what all of them read into */
    for (int i = 0; i < 300; i++) {
        size_t at = (size_t)(i * 37 % 3000), n = 1 + (size_t)(i * 61 % 5000);
        REQUIRE(pread((int)(uintptr_t)fd, page + at, n, i) == (ssize_t)n);
        __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void threads(void) {
    pthread_t thread[4];
    int fd = file_of(data, sizeof data);
    watch();
    for (int i = 0; i < 4; i++) pthread_create(&thread[i], NULL, read_pieces, (void *)(uintptr_t)fd);
    for (int i = 0; i < 4; i++) pthread_join(thread[i], NULL);
    REQUIRE(replay() > 2400);
}

static void *store_on(void *stop) {
    while (!*(_Atomic int *)stop) __atomic_fetch_add((uint32_t *)page + 1000, 1, __ATOMIC_RELAXED);
    return NULL;
}

static void forked(void) {
    static _Atomic int stop;
    pthread_t thread;
    int fd = file_of(data, sizeof data), status;
    watch();
    pthread_create(&thread, NULL, store_on, &stop);
    for (int i = 0; i < 5; i++) {
        pid_t child = fork();
        if (!child) {
            char path[300];
            struct events reader;
            struct event event;
            REQUIRE(pread(fd, page, 3000, 77) == 3000 && !memcmp(page, data + 77, 3000));
            snprintf(path, sizeof path, "%.*s/%d-calls.mwj", (int)(strrchr(journal, '/') - journal), journal, getpid());
            events_open(&reader, path, 0);
            REQUIRE(events_next(&reader, &event) && event.origin == MWJ_SYSCALL && event.call.bytes == 3000);
            REQUIRE(!events_next(&reader, &event));
            _exit(0);
        }
        REQUIRE(waitpid(child, &status, 0) == child && status == 0);
        REQUIRE(page[0] == 0); /* the child's is its own */
    }
    stop = 1;
    pthread_join(thread, NULL);
    replay();
}

static void on_usr1(int signal) {
    (void)signal;
    REQUIRE(pread(alarm_pipes[0], page + 500, 100, reached++) == 100);
}

static void *announce(void *stop) {
    for (uint32_t i = 0; !*(_Atomic int *)stop; i++) check(mw_write((mw_variable_id)id, 520, &i, 4), "mw_write");
    return NULL;
}

/* A call in a handler that interrupts the core itself, on the same page. */
static void nested(void) {
    static _Atomic int stop;
    pthread_t thread;
    alarm_pipes[0] = file_of(data, sizeof data);
    watch();
    signal(SIGUSR1, on_usr1);
    pthread_create(&thread, NULL, announce, &stop);
    for (int i = 0; i < 3000; i++) pthread_kill(thread, SIGUSR1), i % 50 ? 0 : usleep(100);
    usleep(10000);
    stop = 1;
    pthread_join(thread, NULL);
    REQUIRE(reached > 0 && !memcmp(page + 500, data + reached - 1, 20));
}

/* ---- direct I/O ---- */

static void direct(void) {
    char name[] = "/var/tmp/memwatch-calls-XXXXXX";
    int plain = mkstemp(name), fd = open(name, O_RDONLY | O_DIRECT);
    REQUIRE(write(plain, data, sizeof data) == sizeof data && !fsync(plain));
    unlink(name);
    void *aligned = aligned_alloc(PAGE, 2 * PAGE);
    if (fd < 0 || pread(fd, aligned, PAGE, 0) != PAGE) {
        fprintf(stderr, "direct I/O isn't to be had on the file system of /var/tmp (%s)\n", strerror(errno));
        exit(77);
    }
    watch();
    REQUIRE(pread(fd, page, 2 * PAGE, PAGE) == 2 * PAGE && !memcmp(page, data + PAGE, 2 * PAGE));
    REQUIRE(pread(fd, page + 512, 512, 0) == pread(fd, (char *)aligned + 512, 512, 0)); /* as the device wants it */
    struct iovec buffers[] = {{page, PAGE}, {aligned, PAGE}, {page + PAGE, PAGE}};
    REQUIRE(preadv(fd, buffers, 3, 0) == 3 * PAGE && !memcmp(page + PAGE, data + 2 * PAGE, PAGE));
    REQUIRE(pread(fd, page + 1, PAGE, 0) == pread(fd, (char *)aligned + 1, PAGE, 0)); /* not aligned, as without us */
    free(aligned);
}

/* ---- whose calls are redirected ---- */

typedef ssize_t reader_of(int, void *, size_t);
extern const char __executable_start, etext; /* end(3) */

static void pointers(void) {
    int fd = file_of(data, sizeof data);
    reader_of *early = (reader_of *)dlsym(RTLD_DEFAULT, "read"), *bound = table[0];
    start();
    REQUIRE(table[0] == bound && writable_table[0] == bound); /* nothing is in the way while nothing is watched */
    reader_of *before_watch = (reader_of *)dlsym(RTLD_DEFAULT, "read");
    check(id = mw_register_page(page, 2 * PAGE, MW_FLAGS_ALL, MW_DEPTH_FULL), "mw_register_page");
    reader_of *libc = (reader_of *)dlsym(dlopen("libc.so.6", RTLD_LAZY), "__read");
    ssize_t (*vector)(int, const struct iovec *, int, off_t) = dlsym(RTLD_DEFAULT, "preadv64");
    struct iovec one = {page, 10};
    /* a pointer into our own text is an entry of the PLT, and leads through the import table */
    bool in_plt = (uintptr_t)bound >= (uintptr_t)&__executable_start && (uintptr_t)bound < (uintptr_t)&etext;
    REQUIRE(bound != early || table[0] != bound || in_plt);
    REQUIRE(table[0](fd, page, 10) == 10 && writable_table[0](fd, page, 10) == 10);
    REQUIRE(before_watch(fd, page, 10) == 10 && libc(fd, page, 10) == 10 && vector(fd, &one, 1, 40) == 10);
    EXPECT({MWJ_CALL_READ, fd, 10, data, 10}, {MWJ_CALL_READ, fd, 10, data + 10, 10},
           {MWJ_CALL_READ, fd, 10, data + 20, 10}, {MWJ_CALL_READ, fd, 10, data + 30, 10},
           {MWJ_CALL_PREADV, fd, 10, page, 10});
    REQUIRE(!dlsym(RTLD_DEFAULT, "no_such_function") && strstr(dlerror(), "no_such_function"));
    REQUIRE(dlsym(RTLD_DEFAULT, "write") && !dlerror());
    /* What can't be redirected is refused by the kernel, and nothing is lost: a raw call, and a pointer from before. */
    if (!strcmp(tracker, "uffd-queue")) return; /* kernel_writes.c: there it can be seen */
    errno = 0;
    REQUIRE(syscall(SYS_read, fd, page, 10) == -1 && errno == EFAULT);
    if (early != before_watch && early != table[0]) REQUIRE(early(fd, page, 10) == -1 && errno == EFAULT);
    REQUIRE(lseek(fd, 0, SEEK_CUR) == 40);
    EXPECT_NONE();
}

static void late(const char *library) {
    int fd = file_of(data, sizeof data);
    watch();
    void *module = dlopen(library, RTLD_LAZY);
    REQUIRE(module);
    reader_of *late_read = (reader_of *)dlsym(module, "late_read");
    REQUIRE(late_read(fd, page, 10) == 10 && late_read(fd, page, 3000) == 3000);
    EXPECT({MWJ_CALL_READ, fd, 10, data, 10}, {MWJ_CALL_READ, fd, 3000, page, 3000});
    REQUIRE(!dlclose(module));
    module = dlopen(library, RTLD_NOW);
    reader_of *again = (reader_of *)dlsym(module, "late_read_of_a_table");
    REQUIRE(again(fd, page, 10) == 10);
    EXPECT({MWJ_CALL_READ, fd, 10, page, 10});
    REQUIRE(!dlclose(module));
}

/* Modules come and go in two threads, which use them at once, while another one watches and reads. */
static void *load_and_unload(void *library) {
    for (int i = 0; i < 200; i++) {
        void *module = dlopen(library, i & 1 ? RTLD_NOW : RTLD_LAZY);
        reader_of *late_read = (reader_of *)dlsym(module, "late_read");
        REQUIRE(late_read(pipes[0], page + 8, 20) == 20);
        dlclose(module);
    }
    return NULL;
}

static void loading(char *library, char *other) {
    pthread_t thread[2];
    watch();
    REQUIRE((pipes[0] = open("/dev/zero", O_RDONLY)) >= 0);
    for (int i = 0; i < 2; i++) pthread_create(&thread[i], NULL, load_and_unload, i ? other : library);
    for (int i = 0; i < 200; i++) {
        uint8_t *more = mw_page_alloc(1);
        int64_t variable = mw_register_page(more, PAGE, 0, MW_DEPTH_FULL);
        check(variable, "mw_register_page");
        REQUIRE(read(pipes[0], more, 100) == 100);
        check(mw_unregister_page((mw_variable_id)variable), "mw_unregister_page");
        mw_page_free(more, 1);
    }
    for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
}

/* After the journal is closed, and the watch has ended, calls go on as they did. */
static void ended(void) {
    int fd = file_of(data, sizeof data);
    watch();
    check(mw_unregister_page((mw_variable_id)id), "mw_unregister_page");
    REQUIRE(read(fd, page, 10) == 10);
    EXPECT_NONE();
    check(mw_journal_close(), "mw_journal_close");
    REQUIRE(read(fd, page + 10, 10) == 10 && !memcmp(page, data, 20));
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } scenarios[] = {
        {"each", each},
        {"errors", errors},
        {"several", several},
        {"large", large},
        {"adopted", adopted},
        {"datagrams", datagrams},
        {"tcp", tcp},
        {"interrupted", interrupted},
        {"left", left},
        {"cancelled", cancelled},
        {"threads", threads},
        {"forked", forked},
        {"nested", nested},
        {"direct", direct},
        {"pointers", pointers},
        {"ended", ended},
        {"unreadable", unreadable},
        {"changed", changed},
    };
    if (argc < 4) return 2;
    tracker = argv[1], journal = argv[2];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (char)(i * 7 + (i >> 8) + 1);
    alarm(50);
    if (!strcmp(argv[3], "late")) return late(argv[4]), 0;
    if (!strcmp(argv[3], "loading")) return loading(argv[4], argv[5]), 0;
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        if (!strcmp(argv[3], scenarios[i].name)) return scenarios[i].run(), 0;
    return 2;
}
