/* freeing.c - blocks of malloc that are adopted, in whole or in part, and then freed or resized; and the program break.
 *
 *   freeing TRACKER FOLDER
 *
 * Each case in a child of its own. Exit status 1 if anything isn't so. */
#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "check.h"
#include "events.h"
#include "memwatch.h"
#include "tracker.h"

enum { PAGE = MW_PAGE_SIZE };
#define LARGE ((size_t)3 << 20) /* has a mapping of its own */
static const char *journal_path;
static struct mw_stats stats;

static uint64_t stores(void) {
    mw_get_stats(&stats);
    REQUIRE(!stats.lost);
    return stats.stores;
}

static uint8_t *first_page(void *block) { return (uint8_t *)((uintptr_t)block & ~(uintptr_t)(PAGE - 1)); }

/* Adopts the pages that the block lies on. */
static mw_variable_id adopt(uint8_t *block, size_t size) {
    uint8_t *start = first_page(block);
    size_t n = (size_t)(block + size - start + PAGE - 1) / PAGE * PAGE;
    int64_t id = mw_register_page(start, n, MW_TRACK_THREADS, MW_DEPTH_FULL);
    check(id, "mw_register_page");
    uint64_t before = stores();
    block[size / 2] = 0x5a;
    REQUIRE(stores() == before + 1);
    return (mw_variable_id)id;
}

/* What the journal says of the end of a watch, which is there once. */
static mw_ending end_of(mw_variable_id id) {
    struct events e;
    mw_ending ending = {0};
    unsigned ends = 0;
    events_open(&e, journal_path, 0);
    for (uint64_t at = 0, n; at < e.end; at += n) {
        const struct mwj_slot *slot = (const void *)(e.file + MWJ_HEADER_SIZE + at * MWJ_SLOT_SIZE);
        n = MWJ_SLOTS_OF(slot->word);
        if (MWJ_KIND_OF(slot->word) != MWJ_UNREGISTERED || slot->id != id) continue;
        memcpy(&ending, slot->raw, sizeof ending);
        ends++;
    }
    events_close(&e);
    REQUIRE(ends == 1);
    return ending;
}

static void ended_by(mw_variable_id id, const char *call) {
    mw_ending ending = end_of(id);
    REQUIRE(ending.why == MW_END_RELEASED && ending.length == strlen(call) &&
            !memcmp(ending.target, call, ending.length));
    REQUIRE(mw_unregister_page(id) == MW_ERR_NO_VARIABLE);
}

static uint8_t *filled(uint8_t *block, size_t size) {
    for (size_t i = 0; i < size; i++) block[i] = (uint8_t)(i * 7 + 1);
    return block;
}

static void is_filled(const uint8_t *block, size_t size, size_t but) {
    for (size_t i = 0; i < size; i++) REQUIRE(block[i] == (i == but ? 0x5a : (uint8_t)(i * 7 + 1)));
}

static int is_mapped(uintptr_t page) {
    uint8_t resident;
    return !mincore((void *)page, PAGE, &resident);
}

static void free_large(void) {
    uint8_t *block = filled(malloc(LARGE), LARGE);
    mw_variable_id id = adopt(block, LARGE);
    uintptr_t start = (uintptr_t)first_page(block);
    free(block);
    ended_by(id, "free");
    REQUIRE(!is_mapped(start));
}

static void resize_large(size_t size, const char *call) {
    uint8_t *block = filled(malloc(LARGE), LARGE);
    mw_variable_id id = adopt(block, LARGE);
    uint8_t *resized = *call == 'r' && call[7] ? reallocarray(block, size / 2, 2) : realloc(block, size);
    REQUIRE(resized);
    ended_by(id, call);
    is_filled(resized, size < LARGE ? size : LARGE, LARGE / 2);
    uint64_t before = stores();
    memset(resized, 1, size);
    REQUIRE(stores() == before);
    free(resized);
}

static void grow_large(void) { resize_large(2 * LARGE, "realloc"); }
static void shrink_large(void) { resize_large(LARGE - 5 * PAGE, "realloc"); }
static void grow_array(void) { resize_large(2 * LARGE, "reallocarray"); }

/* Pages in the midst of a block. */
static void free_around(void) {
    uint8_t *block = filled(malloc(LARGE), LARGE), *inner = first_page(block) + 16 * PAGE;
    mw_variable_id id = adopt(inner, 4 * PAGE);
    uintptr_t watched = (uintptr_t)inner;
    free(block);
    ended_by(id, "free");
    REQUIRE(!is_mapped(watched));
}

static void resize_around(void) {
    uint8_t *block = filled(malloc(LARGE), LARGE), *inner = first_page(block) + 16 * PAGE;
    mw_variable_id id = adopt(inner, 4 * PAGE);
    size_t changed = (size_t)(inner + 2 * PAGE - block);
    uint8_t *resized = realloc(block, 2 * LARGE);
    ended_by(id, "realloc");
    is_filled(resized, LARGE, changed);
    memset(resized, 1, 2 * LARGE);
}

/* Of the heap: its page has neighbours, which go on; and the next block at its place is another's. */
static void free_small(void) {
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    uint8_t *before_it = malloc(200), *block = filled(malloc(2 * PAGE), 2 * PAGE), *behind = malloc(200);
    memset(before_it, 2, 200), memset(behind, 3, 200);
    mw_variable_id id = adopt(block, 2 * PAGE);
    uint64_t before = stores();
    memset(behind, 4, 200); /* on a page that is watched */
    REQUIRE(stores() > before);
    free(block);
    ended_by(id, "free");
    before = stores();
    for (int i = 0; i < 200; i++) REQUIRE(before_it[i] == 2 && behind[i] == 4);
    uint8_t *next = malloc(2 * PAGE);
    memset(next, 9, 2 * PAGE), memset(behind, 5, 200);
    REQUIRE(stores() == before && next[PAGE] == 9);
}

static void resize_small(void) {
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    uint8_t *block = filled(malloc(2 * PAGE), 2 * PAGE), *behind = malloc(200);
    mw_variable_id id = adopt(block, 2 * PAGE);
    uint8_t *resized = realloc(block, 50 * PAGE);
    ended_by(id, "realloc");
    is_filled(resized, 2 * PAGE, PAGE);
    memset(behind, 1, 200);
}

static void shrink_heap(void) {
    uint8_t *start = (uint8_t *)(((uintptr_t)sbrk(0) + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
    REQUIRE(!brk(start + 8 * PAGE));
    memset(start, 6, 8 * PAGE);
    mw_variable_id id = adopt(start + 2 * PAGE, 4 * PAGE);
    REQUIRE(!brk(start + 4 * PAGE)); /* through the middle of what is watched */
    ended_by(id, "brk");
    REQUIRE(start[3 * PAGE] == 6 && !is_mapped((uintptr_t)start + 4 * PAGE));
    start[3 * PAGE] = 7;
    id = adopt(start, 2 * PAGE);
    REQUIRE(sbrk(-4 * PAGE) != (void *)-1);
    ended_by(id, "sbrk");
    REQUIRE(!brk(start + 4 * PAGE));
    for (size_t i = 0; i < 4 * PAGE; i++) REQUIRE(!start[i]);
}

/* A block that isn't watched, between two that are. */
static void free_beside(void) {
    uint8_t *blocks[3];
    for (int i = 0; i < 3; i++) blocks[i] = filled(malloc(LARGE), LARGE);
    mw_variable_id first = adopt(blocks[0], LARGE), last = adopt(blocks[2], LARGE);
    free(blocks[1]);
    free(malloc(100));
    blocks[1] = realloc(malloc(LARGE), 2 * LARGE);
    uint64_t before = stores();
    blocks[0][9] = blocks[2][9] = 1;
    REQUIRE(stores() == before + 2);
    REQUIRE(!mw_unregister_page(first) && !mw_unregister_page(last));
    REQUIRE(blocks[0][9] == 1 && blocks[2][10] == (uint8_t)(10 * 7 + 1));
}

/* A child has its own: what it frees is no end for its parent. */
static void free_in_child(void) {
    uint8_t *block = filled(malloc(LARGE), LARGE);
    mw_variable_id id = adopt(block, LARGE);
    int status;
    pid_t child = fork();
    if (!child) {
        is_filled(block, LARGE, LARGE / 2);
        block = realloc(block, 2 * LARGE);
        is_filled(block, LARGE, LARGE / 2);
        memset(block, 1, 2 * LARGE);
        free(block);
        _exit(0);
    }
    REQUIRE(waitpid(child, &status, 0) == child && !status);
    is_filled(block, LARGE, LARGE / 2);
    uint64_t before = stores();
    block[1] = 3;
    REQUIRE(stores() == before + 1);
    free(block);
    ended_by(id, "free");
}

int main(int argc, char **argv) {
    static void (*const cases[])(void) = {free_large,  grow_large,    shrink_large, grow_array,
                                          free_around, resize_around, free_small,   resize_small,
                                          shrink_heap, free_beside,   free_in_child};
    static const uint8_t session[16] = {1};
    char path[4096];
    int failed = 0, status;
    if (argc != 3) return 2;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(path, sizeof path, "%s/%zu", argv[2], i);
        journal_path = path;
        pid_t child = fork();
        if (!child) {
            alarm(30);
            check(mw_start(tracker_named(argv[1])), "mw_start");
            check(mw_journal_open(path, "test", session), "mw_journal_open");
            cases[i]();
            exit(0);
        }
        REQUIRE(waitpid(child, &status, 0) == child);
        if (status) printf("case %zu: status %#x\n", i, (unsigned)status), failed = 1;
    }
    return failed;
}
