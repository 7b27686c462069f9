/* refusals.c - every error that registering can give, and that nothing is different after it.
 *
 *   refusals TRACKER JOURNAL FULL_JOURNAL
 */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "events.h"
#include "memwatch.h"
#include "tracker.h"

#define PAGE 4096u
static int failures;

static void expect(int line, int64_t got, int64_t wanted, const char *what) {
    if (got == wanted) return;
    failures++;
    printf("line %d: %s gave %lld (%s), wanted %lld (%s)\n", line, what, (long long)got,
           got < 0 ? mw_strerror((int)got) : "an id", (long long)wanted, wanted < 0 ? mw_strerror((int)wanted) : "ok");
}
#define EXPECT(call, wanted) expect(__LINE__, call, wanted, #call)
#define TRUE(condition) expect(__LINE__, (condition) ? 0 : 1, 0, #condition)
#define REGISTER(p, n) mw_register_page(p, n, 0, MW_DEPTH_FULL)

static uint8_t *fresh(size_t pages, int touched) {
    uint8_t *p = mmap(0, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) exit(3);
    for (size_t i = 0; touched && i < pages; i++) memset(p + i * PAGE, (int)(i + 1), PAGE);
    return p;
}

static uint64_t used(const char *journal) { /* events so far */
    struct events reader;
    struct event event;
    uint64_t n = 0;
    if (access(journal, F_OK)) return 0; /* it is made at the first record */
    events_open(&reader, journal, 0);
    while (events_next(&reader, &event)) n++;
    events_close(&reader);
    return n;
}

/* Ordinary again: contents kept, writable, no event of it. */
static void ordinary(int line, const char *journal, uint8_t *p, size_t pages) {
    uint64_t before = used(journal);
    for (size_t i = 0; i < pages; i++) {
        if (p[i * PAGE + 7] != (uint8_t)(i + 1)) failures++, printf("line %d: contents of page %zu lost\n", line, i);
        *(volatile uint8_t *)(p + i * PAGE) = 0xee;
    }
    expect(line, (int64_t)used(journal), (int64_t)before, "events after a store to memory that was refused");
}

static void full_journal(const char *tracker, const char *path) {
    static const uint8_t session[16] = {6};
    struct rlimit limit = {4096 + MWJ_SEGMENT_SIZE, 4096 + MWJ_SEGMENT_SIZE};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit)) exit(3);
    /* The arena is a file too, in memory; so start first, with the pages that are needed. */
    (void)tracker;
    EXPECT(mw_journal_open(path, "full", session), 0);
    uint8_t *p = mw_page_alloc(1);
    int64_t id = REGISTER(p, PAGE);
    TRUE(id > 0);
    uint8_t bytes[PAGE] = {1};
    int error = 0;
    uint64_t good = 0;
    while (!(error = mw_write((mw_variable_id)id, 0, bytes, sizeof bytes)) && good < 10000) good++, bytes[0]++;
    EXPECT(error, MW_ERR_JOURNAL_FULL);
    TRUE(good > 100);
    TRUE(p[0] == (uint8_t)(good)); /* an announced write that can't be recorded didn't happen */
    uint8_t *own = fresh(16, 1);   /* of more, most is recorded later */
    EXPECT(REGISTER(own, 16 * PAGE), MW_ERR_JOURNAL_FULL);
    ordinary(__LINE__, path, own, 16);
    struct mw_stats before, after;
    mw_get_stats(&before);
    for (int i = 0; i < 5000; i++) ((volatile uint64_t *)p)[i & 7] = (uint64_t)i; /* runs on, and is counted as lost */
    mw_get_stats(&after);
    TRUE(((volatile uint64_t *)p)[7] == 4999 && after.stores - before.stores == 5000);
    struct events reader;
    struct event event;
    uint64_t recorded = 0;
    events_open(&reader, path, 0);
    const struct mwj_header *header = (const struct mwj_header *)reader.file;
    uint64_t lost = header->lost;
    while (events_next(&reader, &event)) recorded++;
    events_close(&reader);
    TRUE(lost == after.lost && lost > 0);
    if (recorded + lost != good + 5000)
        failures++, printf("recorded %llu and lost %llu of %llu\n", (unsigned long long)recorded,
                           (unsigned long long)lost, (unsigned long long)good + 5000);
}

int main(int argc, char **argv) {
    static const uint8_t session[16] = {5};
    if (argc != 4) return 2;
    mw_tracker wanted = tracker_named(argv[1]);
    uint8_t *p = fresh(4, 1);
    for (int error = 0; error >= -22; error--)
        TRUE(mw_strerror(error)[0] && (error == 0 || strlen(mw_strerror(error)) > 20));
    TRUE(mw_strerror(-1000) && mw_strerror(1000));

    EXPECT(REGISTER(p, PAGE), MW_ERR_NOT_STARTED);
    EXPECT(mw_journal_open(argv[2], "x", session), MW_ERR_NOT_STARTED);
    TRUE(!mw_page_alloc(1) && !mw_write_view(p) && !strcmp(mw_tracker_name(), "none"));
    EXPECT(mw_start(wanted), 0);
    EXPECT(mw_start(wanted), 0);
    EXPECT(mw_start(MW_TRACKER_AUTO), 0);
    EXPECT(mw_start(wanted == MW_TRACKER_READONLY ? MW_TRACKER_UFFD_SIGBUS : MW_TRACKER_READONLY), MW_ERR_NO_TRACKER);
    TRUE(!strcmp(mw_tracker_name(), argv[1]));
    EXPECT(REGISTER(p, PAGE), MW_ERR_NO_JOURNAL);
    EXPECT(mw_journal_open("/nowhere/at/all", "x", session), MW_ERR_JOURNAL_OPEN);
    TRUE(errno == ENOENT);
    EXPECT(mw_journal_close(), MW_ERR_NO_JOURNAL);

    /* the journal that fills up, in a child of its own: limits of files stay */
    fflush(stdout);
    uint8_t *spare = mw_page_alloc(40); /* so that the arena needn't grow there */
    pid_t child = fork();
    if (!child) {
        failures = 0;
        full_journal(argv[1], argv[3]);
        fflush(stdout);
        _exit(failures != 0);
    }
    int status;
    waitpid(child, &status, 0);
    EXPECT(status, 0);
    EXPECT(mw_page_free(spare, 40), 0);

    EXPECT(mw_journal_open(argv[2], "x", session), 0);
    EXPECT(mw_journal_open(argv[2], "x", session), MW_ERR_JOURNAL_OPEN);

    EXPECT(REGISTER(p + 1, PAGE), MW_ERR_ALIGNMENT);
    EXPECT(REGISTER(p, PAGE - 1), MW_ERR_ALIGNMENT);
    EXPECT(REGISTER(p, 0), MW_ERR_ALIGNMENT);
    EXPECT(mw_register_page(p, PAGE, 1u << 7, MW_DEPTH_FULL), MW_ERR_FLAGS);
    EXPECT(mw_register_page(p, PAGE, 1u << 31, MW_DEPTH_FULL), MW_ERR_FLAGS);
    EXPECT(mw_register_page(p, PAGE, 0, ((mw_depth){5, 5})), MW_ERR_FLAGS);
    EXPECT(mw_register_page(p, PAGE, 0, ((mw_depth){9, 5})), MW_ERR_FLAGS);
    EXPECT(mw_register_page(p, PAGE, 0, ((mw_depth){PAGE, PAGE + 1})), MW_ERR_FLAGS);

    uint8_t *hole = fresh(3, 1);
    munmap(hole + PAGE, PAGE);
    EXPECT(REGISTER(hole + PAGE, PAGE), MW_ERR_NOT_MAPPED);
    EXPECT(REGISTER(hole, 3 * PAGE), MW_ERR_NOT_MAPPED);
    EXPECT(REGISTER(NULL, PAGE), MW_ERR_NOT_MAPPED);
    EXPECT(REGISTER((void *)(uintptr_t)0xffffffffff600000, PAGE), MW_ERR_NOT_MAPPED);
    TRUE(REGISTER((void *)(uintptr_t)-(intptr_t)PAGE, 2 * PAGE) < 0); /* beyond the end of all addresses */
    ordinary(__LINE__, argv[2], hole, 1);
    uint8_t *protected = fresh(2, 1);
    mprotect(protected + PAGE, PAGE, PROT_READ);
    EXPECT(REGISTER(protected, 2 * PAGE), MW_ERR_NOT_MAPPED);
    mprotect(protected + PAGE, PAGE, PROT_NONE);
    EXPECT(REGISTER(protected + PAGE, PAGE), MW_ERR_NOT_MAPPED);
    ordinary(__LINE__, argv[2], protected, 1);
    uint8_t *untouched = fresh(3, 0);
    EXPECT(REGISTER(untouched, PAGE), MW_ERR_NOT_TOUCHED);
    untouched[0] = untouched[2 * PAGE] = 1;
    EXPECT(REGISTER(untouched, 3 * PAGE), MW_ERR_NOT_TOUCHED);
    int64_t id = REGISTER(untouched, PAGE);
    TRUE(id > 0);
    EXPECT(mw_unregister_page((mw_variable_id)id), 0);
    EXPECT(mw_unregister_page((mw_variable_id)id), MW_ERR_NO_VARIABLE);
    uint8_t *shared = mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(shared, 1, PAGE), memset(shared + PAGE, 2, PAGE);
    EXPECT(REGISTER(shared, PAGE), MW_ERR_SHARED);
    ordinary(__LINE__, argv[2], shared, 2);

    /* registered already, in part or whole; adopted and from the arena */
    uint8_t *own = fresh(4, 1), *arena = mw_page_alloc(4);
    int64_t first = REGISTER(own + PAGE, 2 * PAGE), second = REGISTER(arena + PAGE, 2 * PAGE);
    TRUE(first > 0 && second > first);
    for (int i = 0; i < 2; i++) {
        uint8_t *q = i ? arena : own;
        EXPECT(REGISTER(q + PAGE, 2 * PAGE), MW_ERR_REGISTERED);
        EXPECT(REGISTER(q + PAGE, PAGE), MW_ERR_REGISTERED);
        EXPECT(REGISTER(q, 2 * PAGE), MW_ERR_REGISTERED);
        EXPECT(REGISTER(q + 2 * PAGE, 2 * PAGE), MW_ERR_REGISTERED);
        EXPECT(REGISTER(q, 4 * PAGE), MW_ERR_REGISTERED);
    }
    EXPECT(mw_register_range(arena + PAGE + 8, 8, 0, MW_DEPTH_FULL), MW_ERR_REGISTERED);
    EXPECT(mw_page_free(arena, 4), MW_ERR_PAGE);
    EXPECT(mw_page_free(own, 4), MW_ERR_PAGE);
    EXPECT(mw_page_free(arena + 1, 4), MW_ERR_PAGE);
    /* what was watched all the while still is */
    uint64_t before = used(argv[2]);
    *(volatile uint64_t *)(own + PAGE + 8) = 1, *(volatile uint64_t *)(arena + 2 * PAGE + 8) = 1;
    TRUE(used(argv[2]) == before + 2);
    EXPECT(mw_unregister_page((mw_variable_id)first), 0);
    EXPECT(mw_unregister_page((mw_variable_id)second), 0);
    TRUE(own[PAGE + 8] == 1 && own[PAGE + 7] == 2 && own[3 * PAGE] == 4);
    first = REGISTER(own, 4 * PAGE);
    TRUE(first > second); /* an id is never used twice */
    EXPECT(mw_unregister_page((mw_variable_id)first), 0);

    /* ranges */
    EXPECT(mw_register_range(own, 8, 0, MW_DEPTH_FULL), MW_ERR_NOT_ARENA);
    EXPECT(mw_register_range(&failures, 4, 0, MW_DEPTH_FULL), MW_ERR_NOT_ARENA);
    first = mw_register_range(arena + 16, 16, 0, MW_DEPTH_FULL);
    TRUE(first > 0);
    EXPECT(mw_register_range(arena + 31, 2, 0, MW_DEPTH_FULL), MW_ERR_REGISTERED);
    EXPECT(mw_register_range(arena + 8, 9, 0, MW_DEPTH_FULL), MW_ERR_REGISTERED);
    second = mw_register_range(arena + 32, 1, 0, MW_DEPTH_FULL);
    TRUE(second > first);
    uint8_t bytes[32] = {1};
    EXPECT(mw_write((mw_variable_id)first, 0, bytes, 16), 0);
    EXPECT(mw_write((mw_variable_id)first, 0, bytes, 17), MW_ERR_RANGE);
    EXPECT(mw_write((mw_variable_id)first, 16, bytes, 1), MW_ERR_RANGE);
    EXPECT(mw_write((mw_variable_id)first, UINT64_MAX, bytes, 2), MW_ERR_RANGE);
    EXPECT(mw_write((mw_variable_id)first, 15, bytes, SIZE_MAX), MW_ERR_RANGE);
    EXPECT(mw_write(99999, 0, bytes, 1), MW_ERR_NO_VARIABLE);
    EXPECT(mw_write(0, 0, bytes, 1), MW_ERR_NO_VARIABLE);
    EXPECT(mw_unregister_page(0), MW_ERR_NO_VARIABLE);
    EXPECT(mw_unregister_page(UINT32_MAX), MW_ERR_NO_VARIABLE);
    const mw_ending ending = {.site = 99999, .why = 255, .flags = 255, .length = 255};
    EXPECT(mw_end_watch(99999, &ending), MW_ERR_NO_VARIABLE);
    EXPECT(mw_end_watch((mw_variable_id)second, &ending), 0); /* whatever it says */
    EXPECT(mw_end_watch((mw_variable_id)second, NULL), MW_ERR_NO_VARIABLE);
    EXPECT(mw_site_adds_call(0), MW_ERR_RANGE);
    EXPECT(mw_site_adds_call(99999), MW_ERR_RANGE);
    EXPECT(mw_site_adds_call(UINT32_MAX), MW_ERR_RANGE);
    EXPECT(mw_update_metadata(0, "{}", 2), MW_ERR_NO_VARIABLE);
    static uint8_t long_one[MW_CONTEXT_MAX + 1];
    EXPECT(mw_update_metadata((mw_variable_id)first, long_one, MW_METADATA_MAX + 1), MW_ERR_TOO_LONG);
    EXPECT(mw_update_metadata((mw_variable_id)first, long_one, MW_METADATA_MAX), 0);
    EXPECT(mw_context_record(1, long_one, MW_CONTEXT_MAX + 1), MW_ERR_TOO_LONG);
    EXPECT(mw_thread_name(0, (const char *)long_one, 256), MW_ERR_TOO_LONG);

    /* more bytes than an event can tell apart: refused as a whole */
    size_t many = 40000;
    EXPECT(REGISTER((void *)(uintptr_t)0x100000000000, (size_t)1 << 32), MW_ERR_LIMIT);
    uint8_t *large = fresh(many, 1);
    first = REGISTER(large, many * PAGE);
    TRUE(first > 0);
    for (size_t i = 0; i < many; i += 999) large[i * PAGE + 8] = 0xdd;
    EXPECT(mw_unregister_page((mw_variable_id)first), 0);
    for (size_t i = 0; i < many; i += 999) TRUE(large[i * PAGE + 8] == 0xdd);
    ordinary(__LINE__, argv[2], large, many);
    munmap(large, many * PAGE);
    large = fresh(300, 1);
    first = REGISTER(large, 300 * PAGE);
    TRUE(first > 0);
    before = used(argv[2]);
    for (size_t i = 0; i < 300; i++) *(volatile uint8_t *)(large + i * PAGE + 7) = (uint8_t)(i + 1);
    TRUE(used(argv[2]) == before + 300);
    EXPECT(mw_unregister_page((mw_variable_id)first), 0);
    ordinary(__LINE__, argv[2], large, 300);

    EXPECT(mw_journal_close(), 0);
    EXPECT(mw_journal_close(), MW_ERR_NO_JOURNAL);
    EXPECT(mw_write((mw_variable_id)second, 0, bytes, 1), MW_ERR_NO_VARIABLE);
    EXPECT(REGISTER(p, PAGE), MW_ERR_NO_JOURNAL);
    *(volatile uint8_t *)(arena + 32) = 5; /* still runs */
    TRUE(arena[32] == 5);
    for (size_t i = 0; i < 4; i++) TRUE(p[i * PAGE] == i + 1);
    printf("%d failures\n", failures);
    return failures != 0;
}
