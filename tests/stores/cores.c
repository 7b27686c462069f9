/* cores.c - several cores in one process: each sees the calls that concern it, and none of them ends up in a circle.
 *
 *   cores TRACKER FOLDER "0l 0s 0o 0w 1l ..."
 *
 * The cores are FOLDER/core0.so, core1.so, ... What is done with each, in this order: l it is loaded, s it starts, o
 * its journal is opened, w memory of malloc's is adopted, c its journal is closed, d its handle is closed; f the rest
 * happens in a forked child. After each of them, every call that a core may have redirected is made, directly and by an
 * address that was taken; in the end, what was adopted is freed. Exit status 1 if anything isn't so. */
#include <dlfcn.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "tracker.h"

enum { CORES = 4, PAGE = MW_PAGE_SIZE };
#define LARGE ((size_t)1 << 20)

static struct core {
    void *handle;
    uint8_t *block;
    int64_t id;
    __typeof__(mw_start) *start;
    __typeof__(mw_journal_open) *open;
    __typeof__(mw_journal_close) *close;
    __typeof__(mw_register_page) *watch;
    __typeof__(mw_get_stats) *stats;
} cores[CORES];

/* In a program that lies at a fixed address, these are addresses of its own, and every module's. */
static void (*volatile its_free)(void *) = free;
static void *(*volatile its_realloc)(void *, size_t) = realloc;
static int (*volatile its_munmap)(void *, size_t) = munmap;
static void *(*volatile its_mmap)(void *, size_t, int, int, int, off_t) = mmap;
static int (*volatile its_close)(int) = close;
static int (*volatile its_dup2)(int, int) = dup2;
static ssize_t (*volatile its_read)(int, void *, size_t) = read;
static int (*volatile its_sigaction)(int, const struct sigaction *, struct sigaction *) = sigaction;
static long (*volatile its_syscall)(long, ...) = syscall;

static void use_memory(void *(*map)(void *, size_t, int, int, int, off_t), int (*unmap)(void *, size_t),
                       void *(*resize)(void *, size_t), void (*release)(void *)) {
    char *block = resize(NULL, 100);
    memset(block, 7, 100);
    block = resize(block, 2 * LARGE);
    REQUIRE(block && block[99] == 7);
    release(block);
    release(NULL);
    char *mapped = map(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(mapped != MAP_FAILED);
    mapped[PAGE] = 1;
    REQUIRE(!madvise(mapped, PAGE, MADV_DONTNEED) && !mprotect(mapped, PAGE, PROT_READ | PROT_WRITE));
    mapped = mremap(mapped, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE);
    REQUIRE(mapped != MAP_FAILED && mapped[PAGE] == 1 && !unmap(mapped, 8 * PAGE));
    REQUIRE(sbrk(0) != (void *)-1);
}

static void use_files(int (*shut)(int), int (*copy)(int, int), ssize_t (*get)(int, void *, size_t)) {
    int ends[2];
    char byte = 0;
    REQUIRE(!pipe(ends) && write(ends[1], "x", 1) == 1 && get(ends[0], &byte, 1) == 1 && byte == 'x');
    REQUIRE(copy(ends[0], ends[1]) == ends[1] && !shut(ends[0]) && !shut(ends[1]));
}

static void use_signals(int (*action)(int, const struct sigaction *, struct sigaction *)) {
    struct sigaction wanted = {.sa_handler = SIG_IGN}, before;
    REQUIRE(!action(SIGUSR1, &wanted, &before) && !action(SIGUSR1, &before, NULL));
    sigset_t set;
    REQUIRE(!sigemptyset(&set) && !sigaddset(&set, SIGUSR2) && !sigprocmask(SIG_BLOCK, &set, NULL));
    REQUIRE(!sigprocmask(SIG_UNBLOCK, &set, NULL));
}

static void use_all(void) {
    alarm(20); /* a circle */
    use_memory(mmap, munmap, realloc, free);
    use_memory(its_mmap, its_munmap, its_realloc, its_free);
    use_memory(dlsym(RTLD_DEFAULT, "mmap"), dlsym(RTLD_DEFAULT, "munmap"), dlsym(RTLD_DEFAULT, "realloc"),
               dlsym(RTLD_DEFAULT, "free"));
    use_files(close, dup2, read);
    use_files(its_close, its_dup2, its_read);
    use_signals(sigaction);
    use_signals(its_sigaction);
    REQUIRE(syscall(SYS_getpid) == getpid() && its_syscall(SYS_getppid) == getppid());
    alarm(0);
}

static unsigned long watched(const struct core *c) {
    mw_stats stats;
    c->stats(&stats);
    return (unsigned long)stats.variables;
}

static void load(struct core *c, const char *folder) {
    char path[4096];
    snprintf(path, sizeof path, "%s/core%td.so", folder, c - cores);
    c->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!c->handle) fprintf(stderr, "%s\n", dlerror());
    REQUIRE(c->handle);
    c->start = (__typeof__(c->start))dlsym(c->handle, "mw_start");
    c->open = (__typeof__(c->open))dlsym(c->handle, "mw_journal_open");
    c->close = (__typeof__(c->close))dlsym(c->handle, "mw_journal_close");
    c->watch = (__typeof__(c->watch))dlsym(c->handle, "mw_register_page");
    c->stats = (__typeof__(c->stats))dlsym(c->handle, "mw_get_stats");
    REQUIRE(c->start && c->open && c->close && c->watch && c->stats);
}

static void open_journal(struct core *c, const char *folder) {
    char path[4096];
    const uint8_t session[16] = {1};
    static unsigned journals;
    snprintf(path, sizeof path, "%s/%td-%u.mwj", folder, c - cores, journals++);
    check(c->open(path, "c", session), "mw_journal_open");
}

static void watch(struct core *c) {
    c->block = malloc(LARGE);
    memset(c->block, 3, LARGE);
    uint8_t *page = (uint8_t *)(((uintptr_t)c->block + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
    c->id = c->watch(page, 8 * PAGE, 0, MW_DEPTH_FULL);
    check(c->id, "mw_register_page");
    mw_stats before, after;
    c->stats(&before);
    page[PAGE] = 4;
    c->stats(&after);
    REQUIRE(page[PAGE] == 4 && after.stores == before.stores + 1 && !after.lost && after.variables == 1);
}

/* What this core watches is read into by the kernel, and then freed: no other core minds. */
static void leave(struct core *c) {
    if (!c->block) return;
    int ends[2];
    REQUIRE(watched(c) == 1);
    REQUIRE(!pipe(ends) && write(ends[1], "kernel", 6) == 6 && read(ends[0], c->block + 2 * PAGE, 6) == 6);
    REQUIRE(!memcmp(c->block + 2 * PAGE, "kernel", 6) && !close(ends[0]) && !close(ends[1]));
    free(c->block);
    REQUIRE(!watched(c));
    c->block = NULL;
}

static void act(char what, struct core *c, const char *tracker, const char *folder) {
    switch (what) {
    case 'l': load(c, folder); break;
    case 's': check(c->start(tracker_named(tracker)), "mw_start"); break;
    case 'o': open_journal(c, folder); break;
    case 'w': watch(c); break;
    case 'c': check(c->close(), "mw_journal_close"); break;
    case 'd': REQUIRE(!dlclose(c->handle)); break;
    default: REQUIRE(!"known");
    }
}

/* The exit status of the parent is that of the child. */
static void fork_here(void) {
    int status;
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) return;
    REQUIRE(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status)) raise(WTERMSIG(status));
    use_all();
    for (int i = 0; i < CORES; i++) leave(&cores[i]);
    exit(WEXITSTATUS(status));
}

int main(int argc, char **argv) {
    REQUIRE(argc == 4);
    for (const char *at = argv[3]; *at; at += *at == ' ') {
        if (*at == 'f') {
            fork_here();
            at++;
        } else {
            act(at[1], &cores[at[0] - '0'], argv[1], argv[2]);
            at += 2;
        }
        use_all();
    }
    for (int i = 0; i < CORES; i++) leave(&cores[i]);
    use_all();
    return 0;
}
