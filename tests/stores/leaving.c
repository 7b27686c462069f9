/* leaving.c - adopted memory is freed, moved, unmapped or mapped anew by its owner: nobody else's bytes are touched,
 * what is left of it is ordinary memory, and the journal says that the watch has ended.
 *
 *   leaving TRACKER FOLDER [CASE | blind]
 *
 * All combinations of how memory goes, how much of it, by a call of libc or a bare instruction, what is there next, and
 * what happens first then, each in a child of its own; or one of them; or all without a descriptor left to ask the
 * kernel by. A line for each that fails, then how many there were. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"
#include "events.h"
#include "memwatch.h"
#include "tracker.h"

enum { PAGE = MW_PAGE_SIZE, PAGES = 8, AT = 100 };
enum { ALL, HEAD, TAIL, MIDDLE, PARTS };
enum { BY_LIBC, BY_SYSCALL, BY_INSTRUCTION, WAYS };
enum how { UNMAP, MAP_OVER, MOVE, GROW, SHRINK, EMPTY, PROTECT, OPEN, HOWS };
enum who { NOBODY, PRIVATE, READ_ONLY, NO_ACCESS, SHARED_FILE, PRIVATE_FILE, OWNERS };
enum then { WRITES, READS, STRADDLES, FILLS, ASKS, UNREGISTERS, REGISTERS, FORKS, STORES_ON, CLOSES, THENS };
static const char *const parts[] = {"all", "head", "tail", "middle"};
static const char *const ways[] = {"libc", "syscall", "instruction"};
static const char *const hows[] = {"munmap", "mmap", "move", "grow", "shrink", "empty", "protect", "open"};
static const char *const owners[] = {"nobody", "private", "read-only", "no-access", "shared-file", "private-file"};
static const char *const thens[] = {"write",      "read",     "straddle", "fill",     "ask",
                                    "unregister", "register", "fork",     "store-on", "close"};

static struct {
    int part, way, how, who, then;
} now;
static uint8_t *memory, *gone, *moved, *file_view;
static int fd = -1; /* of the file */
static size_t gone_size;
static int64_t id;
static const char *journal_path;
static int fds[2], other[2]; /* pipes */
static int blind;

/* ---- the calls ---- */

static long bare(long number, long a, long b, long c, long d, long e, long f) {
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static long call(long number, long a, long b, long c, long d, long e, long f) {
    if (now.way == BY_SYSCALL) return syscall(number, a, b, c, d, e, f);
    if (now.way == BY_INSTRUCTION) return bare(number, a, b, c, d, e, f);
    switch (number) {
    case SYS_munmap: return munmap((void *)a, (size_t)b);
    case SYS_mmap: return (long)mmap((void *)a, (size_t)b, (int)c, (int)d, (int)e, f);
    case SYS_mremap: return (long)mremap((void *)a, (size_t)b, (size_t)c, (int)d, (void *)e);
    case SYS_madvise: return madvise((void *)a, (size_t)b, (int)c);
    case SYS_mprotect: return mprotect((void *)a, (size_t)b, (int)c);
    }
    abort();
}

static sigjmp_buf back;
static volatile sig_atomic_t guarded;
static void on_fault(int signo) {
    if (guarded) siglongjmp(back, signo);
    signal(signo, SIG_DFL);
}

/* Whether a store there can be made. */
static int store(volatile uint8_t *at, uint8_t byte) {
    if (sigsetjmp(back, 1)) {
        guarded = 0;
        return 0;
    }
    guarded = 1;
    *at = byte;
    guarded = 0;
    return 1;
}

static int is_readable(const uint8_t *at) {
    uint8_t byte;
    ssize_t n = write(other[1], at, 1);
    if (n == 1) REQUIRE(read(other[0], &byte, 1) == 1);
    return n == 1;
}

/* ---- what the bytes must be ---- */

static uint8_t expected[PAGES * PAGE]; /* at `memory` */
static int there(void) { return now.who != NOBODY && now.who != NO_ACCESS; }
static int writable(void) { return now.who == PRIVATE || now.who == SHARED_FILE || now.who == PRIVATE_FILE; }
static int is_gone(size_t at) {
    return gone && at >= (size_t)(gone - memory) && at < (size_t)(gone - memory) + gone_size;
}
static int has_taker(void) { return now.how <= SHRINK && now.how != GROW; }
static int goes_away(void) { return has_taker(); }

static void compare(void) {
    for (size_t at = 0; at < PAGES * PAGE; at++) {
        if (goes_away() && is_gone(at) && !there()) continue;
        if (now.how == GROW) break;
        if (memory[at] != expected[at]) {
            fprintf(stderr, "byte %zu of page %zu is %#x, wanted %#x\n", at % PAGE, at / PAGE, memory[at],
                    expected[at]);
            exit(1);
        }
    }
    if (goes_away() && gone && !there() && now.who == NOBODY) REQUIRE(!is_readable(gone));
}

/* ---- one case ---- */

static const struct {
    size_t from, n;
} extents[] = {{0, 8}, {0, 3}, {5, 3}, {2, 3}};

/* Memory that becomes somebody's in the place of what went. */
static void take(void) {
    int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : now.who == SHARED_FILE ? MAP_SHARED : MAP_PRIVATE;
    if (now.who == NOBODY) return;
    uint8_t *p = (uint8_t *)bare(SYS_mmap, (long)gone, (long)gone_size, PROT_READ | PROT_WRITE,
                                 flags | (now.how == MAP_OVER ? MAP_FIXED : MAP_FIXED_NOREPLACE), fd, 0);
    REQUIRE(p == gone);
    if (fd < 0) memset(p, 0xf0, gone_size);
    if (now.who == READ_ONLY) REQUIRE(!bare(SYS_mprotect, (long)p, (long)gone_size, PROT_READ, 0, 0, 0));
    if (now.who == NO_ACCESS) REQUIRE(!bare(SYS_mprotect, (long)p, (long)gone_size, PROT_NONE, 0, 0, 0));
    memset(expected + (gone - memory), 0xf0, gone_size);
}

static void check_moved(size_t n) {
    for (size_t at = 0; at < n; at++) REQUIRE(moved[at] == expected[(size_t)(gone - memory) + at]);
}

static void leave(void) {
    long a = (long)gone, n = (long)gone_size;
    uint8_t *room;
    switch (now.how) {
    case UNMAP: REQUIRE(!call(SYS_munmap, a, n, 0, 0, 0, 0)); break;
    case MAP_OVER:
        REQUIRE(call(SYS_mmap, a, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == a);
        if (now.who == NOBODY) REQUIRE(!bare(SYS_munmap, a, n, 0, 0, 0, 0));
        break;
    case MOVE:
        room = mmap(0, gone_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        moved = (uint8_t *)call(SYS_mremap, a, n, n, MREMAP_MAYMOVE | MREMAP_FIXED, (long)room, 0);
        REQUIRE(moved == room);
        check_moved(gone_size);
        break;
    case GROW:
        moved = (uint8_t *)call(SYS_mremap, a, n, 2 * n, MREMAP_MAYMOVE, 0, 0);
        REQUIRE((long)moved != -1 && ((long)moved > 0 || (long)moved < -4095));
        break;
    case SHRINK: /* all but the first page */
        REQUIRE(call(SYS_mremap, a, n, PAGE, 0, 0, 0) == a);
        gone += PAGE, gone_size -= PAGE;
        break;
    case EMPTY:
        REQUIRE(!call(SYS_madvise, a, n, MADV_DONTNEED, 0, 0, 0));
        memset(expected + (gone - memory), 0, gone_size);
        break;
    case PROTECT: REQUIRE(!call(SYS_mprotect, a, n, PROT_READ, 0, 0, 0)); break;
    case OPEN: REQUIRE(!call(SYS_mprotect, a, n, PROT_READ | PROT_WRITE, 0, 0, 0)); break;
    default: abort();
    }
    if (has_taker()) take();
}

static int can_store_there(void) { return now.how == PROTECT ? 0 : goes_away() ? writable() : 1; }

/* Where the effects of what is done next are looked for: the memory that went. */
static void next(void) {
    uint8_t *at = gone + AT, bytes[64];
    size_t offset = (size_t)(at - memory);
    int status;
    struct mw_stats before, after;
    if (now.how == GROW) at = moved + AT;
    mw_get_stats(&before);
    switch (now.then) {
    case WRITES:
        REQUIRE(store(at, 0x77) == can_store_there());
        if (can_store_there()) expected[offset] = 0x77;
        mw_get_stats(&after);
        REQUIRE(after.stores == before.stores);
        break;
    case READS:
        memset(bytes, 0x66, sizeof bytes);
        REQUIRE(write(fds[1], bytes, 64) == 64);
        REQUIRE(read(fds[0], at, 64) == (can_store_there() ? 64 : -1));
        if (can_store_there()) memset(expected + offset, 0x66, 64);
        break;
    case STRADDLES: { /* the last bytes of what is left and the first of what went */
        if (gone == memory || now.how == GROW) break;
        uint64_t value = 0x1122334455667788u;
        if (sigsetjmp(back, 1)) {
            guarded = 0;
            REQUIRE(!can_store_there());
            break;
        }
        guarded = 1;
        *(volatile uint64_t *)(gone - 4) = value;
        guarded = 0;
        REQUIRE(can_store_there());
        memcpy(expected + (gone - memory) - 4, &value, 8);
        break;
    }
    case FILLS: {
        if (gone == memory || !can_store_there() || now.how == GROW) break;
        uint8_t *to = gone - 50;
        size_t n = 100;
        __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(0x33) : "memory");
        memset(expected + (gone - memory) - 50, 0x33, 100);
        break;
    }
    case ASKS: {
        int wanted = can_store_there() ? 0 : -1;
        REQUIRE(write(fds[1], bytes, 7) == 7);
        REQUIRE(ioctl(fds[0], FIONREAD, at) == wanted);
        if (!wanted) memcpy(expected + offset, &(int){7}, 4);
        break;
    }
    case UNREGISTERS: {
        int error = mw_unregister_page((mw_variable_id)id);
        REQUIRE(!error || error == MW_ERR_NO_VARIABLE);
        break;
    }
    case REGISTERS: {
        if (!can_store_there() || now.who == SHARED_FILE || now.how == GROW || blind) break;
        memset(gone, 0x44, gone_size); /* touched */
        memset(expected + (gone - memory), 0x44, gone_size);
        int64_t again = mw_register_page(gone, gone_size, 0, MW_DEPTH_FULL);
        check(again, "mw_register_page again");
        mw_get_stats(&before);
        gone[AT] = 0x45, expected[offset] = 0x45;
        mw_get_stats(&after);
        REQUIRE(after.stores == before.stores + 1);
        REQUIRE(!mw_unregister_page((mw_variable_id)again));
        break;
    }
    case FORKS:
        fflush(NULL);
        status = fork();
        if (!status) {
            compare();
            if (can_store_there() && now.who != SHARED_FILE) store(at, 0x11);
            for (size_t i = 0; i < PAGES && now.how != GROW; i++)
                if (!is_gone(i * PAGE)) REQUIRE(store(memory + i * PAGE + AT, 0x12));
            _exit(0);
        }
        REQUIRE(waitpid(status, &status, 0) > 0 && !status);
        break;
    case STORES_ON: /* to what is left */
        for (size_t i = 0; i < PAGES && now.how != GROW; i++)
            if (!is_gone(i * PAGE)) {
                REQUIRE(store(memory + i * PAGE + AT, 0x21));
                expected[i * PAGE + AT] = 0x21;
            }
        break;
    default: break;
    }
}

static uint64_t slots(void) {
    struct events e;
    events_open(&e, journal_path, 0);
    uint64_t n = e.end;
    events_close(&e);
    return n;
}

/* One end, for a reason that is a loss; and no event of what was gone by then. */
static void check_journal(uint64_t from) {
    struct events e;
    struct event event;
    unsigned ends = 0;
    events_open(&e, journal_path, 0);
    for (uint64_t at = 0, n; at < e.end; at += n) {
        const struct mwj_slot *slot = (const void *)(e.file + MWJ_HEADER_SIZE + at * MWJ_SLOT_SIZE);
        n = MWJ_SLOTS_OF(slot->word);
        REQUIRE(n);
        if (MWJ_KIND_OF(slot->word) != MWJ_UNREGISTERED || slot->id != (uint32_t)id) continue;
        mw_ending ending;
        memcpy(&ending, slot->raw, sizeof ending);
        ends++;
        if (now.way == BY_INSTRUCTION) {
            REQUIRE(ending.why == MW_END_TAKEN);
        } else {
            static const char *const names[] = {"munmap", "mmap",    "mremap",   "mremap",
                                                "mremap", "madvise", "mprotect", "mprotect"};
            const char *name = now.way == BY_SYSCALL ? "syscall" : names[now.how];
            REQUIRE(ending.why == MW_END_RELEASED && ending.length == strlen(name));
            REQUIRE(!memcmp(ending.target, name, ending.length));
        }
    }
    REQUIRE(ends == 1);
    e.slot = from;
    while (events_next(&e, &event)) {
        if (event.variable != (uint32_t)id) continue;
        REQUIRE(now.way == BY_INSTRUCTION &&
                (now.part != ALL || now.how == SHRINK)); /* what was left went on being watched */
        REQUIRE(!is_gone(event.offset) || !is_gone(event.offset + event.length - 1));
    }
    events_close(&e);
}

static void open_file(void) { /* before there is a hole in which it could be mapped */
    char name[] = "/tmp/memwatch-test-XXXXXX";
    fd = mkstemp(name);
    unlink(name);
    REQUIRE(!ftruncate(fd, PAGES * PAGE));
    file_view = mmap(0, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    REQUIRE(file_view != MAP_FAILED);
    memset(file_view, 0xf0, PAGES * PAGE);
}

static void limit(int none) { /* of descriptors */
    static struct rlimit before;
    if (!before.rlim_cur) getrlimit(RLIMIT_NOFILE, &before);
    REQUIRE(!setrlimit(RLIMIT_NOFILE, &(struct rlimit){none ? 0 : before.rlim_cur, before.rlim_max}));
}

static void run(const char *tracker) {
    static const uint8_t session[16] = {1};
    struct sigaction action = {.sa_handler = on_fault};
    sigaction(SIGSEGV, &action, NULL);
    REQUIRE(!pipe(fds) && !pipe(other));
    check(mw_start(tracker_named(tracker)), "mw_start");
    check(mw_journal_open(journal_path, "test", session), "mw_journal_open");
    memory = mmap(0, (PAGES + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); /* no neighbours */
    memory = mmap(memory + PAGE, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    for (size_t i = 0; i < PAGES; i++) memset(memory + i * PAGE, (int)i + 1, PAGE);
    id = mw_register_page(memory, PAGES * PAGE, MW_TRACK_THREADS, MW_DEPTH_FULL);
    check(id, "mw_register_page");
    for (size_t i = 0; i < PAGES; i++) memory[i * PAGE + 10] = 0x55;
    memcpy(expected, memory, sizeof expected);
    struct mw_stats stats;
    mw_get_stats(&stats);
    REQUIRE(stats.stores == PAGES);
    gone = memory + extents[now.part].from * PAGE;
    gone_size = extents[now.part].n * PAGE;
    if (now.who == SHARED_FILE || now.who == PRIVATE_FILE) open_file();
    if (now.way == BY_INSTRUCTION && now.then == WRITES)
        nanosleep(&(struct timespec){0, 30000000}, NULL); /* asked again */
    uint64_t from = slots();
    limit(blind);
    leave();
    next();
    compare();
    if (now.how == MOVE && now.way != BY_INSTRUCTION) REQUIRE(store(moved + 20, 0x13) && moved[20] == 0x13);
    check(mw_journal_close(), "mw_journal_close");
    compare();
    for (size_t i = 0; i < PAGES && now.how != GROW; i++) /* what is left is ordinary memory */
        if (!is_gone(i * PAGE) || can_store_there())
            REQUIRE(store(memory + i * PAGE + 30, 0x31) && memory[i * PAGE + 30] == 0x31);
    if (now.how == MOVE && (now.way != BY_INSTRUCTION || !blind))
        REQUIRE(store(moved + 20, 0x14) && moved[20] == 0x14 && moved[5000 % gone_size] != 0xf0);
    if (now.how == GROW)
        for (size_t i = 0; i < 2 * gone_size; i++) {
            size_t at = (size_t)(gone - memory) + i;
            if (i / PAGE < gone_size / PAGE && i % PAGE >= AT && i % PAGE < AT + 64) continue; /* what happened next */
            REQUIRE(moved[i] == (i < gone_size ? expected[at] : 0));
        }
    limit(0);
    if (file_view && now.who == SHARED_FILE) REQUIRE(!memcmp(file_view + 64, gone + 64, gone_size - 64));
    if (file_view && now.who == PRIVATE_FILE) REQUIRE(file_view[AT] == 0xf0);
    mw_get_stats(&stats);
    REQUIRE(!stats.lost);
    check_journal(from);
}

/* ---- all of them ---- */

static int is_possible(void) {
    if (!has_taker() && now.who != NOBODY) return 0;
    if (now.how == SHRINK && now.part != ALL) return 0;
    if (now.how == GROW && (now.part != ALL || now.then == STRADDLES || now.then == FILLS)) return 0;
    /* Ours still, as far as the kernel tells: docs/guarantees.md. */
    return now.way != BY_INSTRUCTION || (now.how != EMPTY && now.how != PROTECT && now.how != OPEN && now.how != GROW);
}

static int run_child(const char *tracker, const char *folder, unsigned number) {
    char path[4096], name[128];
    snprintf(path, sizeof path, "%s/%u", folder, number);
    snprintf(name, sizeof name, "%s of %s by %s, then %s has it, then %s", hows[now.how], parts[now.part],
             ways[now.way], owners[now.who], thens[now.then]);
    journal_path = path;
    fflush(NULL);
    pid_t child = fork();
    if (!child) {
        alarm(30);
        run(tracker);
        exit(0);
    }
    int status;
    REQUIRE(waitpid(child, &status, 0) == child);
    unlink(path);
    if (status) printf("case %u: %s: status %#x\n", number, name, (unsigned)status);
    return status != 0;
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    unsigned number = 0, ran = 0, failed = 0, only = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
    unsigned every = argc > 5 ? (unsigned)strtoul(argv[4], NULL, 10) : 1;
    unsigned first = argc > 5 ? (unsigned)strtoul(argv[5], NULL, 10) : 0;
    blind = argc > 3 && !strcmp(argv[3], "blind");
    for (now.how = 0; now.how < HOWS; now.how++)
        for (now.part = 0; now.part < PARTS; now.part++)
            for (now.way = 0; now.way < WAYS; now.way++)
                for (now.who = 0; now.who < OWNERS; now.who++)
                    for (now.then = 0; now.then < THENS; now.then++) {
                        if (!is_possible() || (number++, only && number != only) || number % every != first) continue;
                        ran++;
                        failed += (unsigned)run_child(argv[1], argv[2], number);
                    }
    printf("%u cases, %u failed\n", ran, failed);
    return failed != 0;
}
