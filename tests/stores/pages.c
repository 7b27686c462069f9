/* pages.c - what the core knows of memory: mappings, blocks of any length, ranges that share pages, copies.
 *
 *   pages TRACKER JOURNAL SEED STEPS
 *
 * Exit status 1 if anything isn't so. */
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "check.h"
#include "journal/registry.h"
#include "memory/adoption.h"
#include "memory/arena.h"
#include "memory/mapping.h"
#include "state.h"
#include "tracker.h"

enum { PAGE = MW_PAGE_SIZE, BLOCKS = 40, MOST = 3000 };
static uint64_t state;

static uint64_t draw(void) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state;
}

/* ---- mappings: the kernel's answer, and its text ---- */

static void same_at(int maps, int text, uintptr_t at) {
    struct mapping one = {0}, other = {0};
    enum mapped answer = mapping_from(maps, at, &one);
    REQUIRE(answer != MAPPED_UNKNOWN && answer == mapping_from(text, at, &other));
    REQUIRE(mapping_at(maps, at, &one) == mapping_at(text, at, &other));
    if (answer != MAPPED) return;
    REQUIRE(one.start == other.start && one.end == other.end && one.offset == other.offset);
    REQUIRE(one.inode == other.inode && one.device == other.device && one.shared == other.shared);
    REQUIRE(one.readable == other.readable && one.writable == other.writable);
}

/* A file isn't asked by ioctl(2): as /proc/self/maps before kernel 6.11. */
static void check_mappings(void) {
    char bytes[65536], *program = "/proc/self/exe";
    int text = memfd_create("maps", 0), self = open(program, O_RDONLY);
    void *shared = mmap(0, 3 * PAGE, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    void *of_file = mmap(0, PAGE, PROT_READ, MAP_PRIVATE, self, PAGE);
    REQUIRE(text >= 0 && self >= 0 && shared != MAP_FAILED && of_file != MAP_FAILED);
    int maps = mapping_open();
    ssize_t n;
    while ((n = read(maps, bytes, sizeof bytes)) > 0) REQUIRE(write(text, bytes, (size_t)n) == n);
    struct mapping m;
    uintptr_t at = 0, last = 0;
    for (unsigned count = 0; mapping_from(maps, at, &m) == MAPPED && m.end <= (uintptr_t)1 << 47; at = m.end, count++) {
        if (m.start >= (uintptr_t)1 << 47) break;
        bool stack = (uintptr_t)&m >= m.start && (uintptr_t)&m < m.end; /* may have grown meanwhile */
        if (!stack) same_at(maps, text, m.start);
        if (!stack) same_at(maps, text, m.end - 1);
        if (!stack && m.start > last) same_at(maps, text, m.start - 1);
        last = m.end;
        REQUIRE(count < 10000);
    }
    same_at(maps, text, 0);
    REQUIRE(mapping_at(-1, 0, &m) == MAPPED_UNKNOWN);
    mapping_close(maps), close(text), close(self);
}

/* ---- blocks ---- */

static struct {
    uint8_t *at;
    size_t n;
} blocks[BLOCKS];

static size_t length(void) {
    switch (draw() % 4) {
    case 0: return 1 + draw() % 4;
    case 1: return 250 + draw() % 12; /* about the limit between the two kinds */
    default: return 1 + draw() % MOST;
    }
}

static void check_blocks(unsigned long steps) {
    uint64_t used = mw.arena.used, most = 0;
    for (unsigned long step = 0; step < steps; step++) {
        unsigned k = (unsigned)(draw() % BLOCKS);
        if (blocks[k].at) {
            uint8_t *writable = mw_write_view(blocks[k].at);
            for (size_t i = 0; i < blocks[k].n; i++)
                REQUIRE(writable[i * PAGE] == k + 1 && blocks[k].at[i * PAGE] == k + 1);
            REQUIRE(mw_page_free(blocks[k].at, blocks[k].n + 300) == MW_ERR_PAGE);
            REQUIRE(blocks[k].n < 300 || mw_page_free(blocks[k].at + PAGE, blocks[k].n) == MW_ERR_PAGE);
            REQUIRE(!mw_page_free(blocks[k].at, blocks[k].n));
            blocks[k].at = NULL;
            continue;
        }
        blocks[k].n = length();
        blocks[k].at = mw_page_alloc(blocks[k].n);
        REQUIRE(blocks[k].at);
        uint8_t *writable = mw_write_view(blocks[k].at);
        for (size_t i = 0; i < blocks[k].n; i++) {
            for (size_t j = 0; j < PAGE; j += 8) REQUIRE(!*(uint64_t *)(blocks[k].at + i * PAGE + j));
            writable[i * PAGE] = (uint8_t)(k + 1);
        }
        uint64_t wanted = 0;
        for (unsigned i = 0; i < BLOCKS; i++)
            if (blocks[i].at)
                wanted += blocks[i].n > 256 ? blocks[i].n : 1ull << (64 - __builtin_clzll(2 * blocks[i].n - 1) - 1);
        REQUIRE(mw.arena.used - used == wanted); /* nothing is rounded up that is large */
        if (wanted > most) most = wanted;
    }
    REQUIRE(mw.arena.bump < 3 * most + 4096); /* what was given back is used again */
    for (unsigned k = 0; k < BLOCKS; k++)
        if (blocks[k].at) REQUIRE(!mw_page_free(blocks[k].at, blocks[k].n));
    memset(blocks, 0, sizeof blocks);
    REQUIRE(mw.arena.used == used);
    for (uint32_t at = mw.arena.extents, before = NO_PAGE; at != NO_PAGE; at = mw.arena.pages[at].next_free) {
        REQUIRE(before == NO_PAGE || before + mw.arena.pages[before].head < at); /* in order, and not side by side */
        before = at;
    }
}

/* ---- ranges ---- */

enum { AREA = 12 * PAGE, RANGES = 60 };
static struct {
    size_t start, stop;
    int64_t id;
} ranges[RANGES];

static void check_ranges(unsigned long steps) {
    uint8_t *area = mw_page_alloc(AREA / PAGE);
    bool known = false;
    for (unsigned long step = 0; step < steps; step++) {
        unsigned k = (unsigned)(draw() % RANGES);
        if (ranges[k].id) {
            REQUIRE(!mw_unregister_page((mw_variable_id)ranges[k].id));
            ranges[k].id = 0;
        } else {
            size_t start = draw() % AREA, n = 1 + draw() % (draw() % 3 ? 40 : 3 * PAGE);
            bool overlaps = start + n > AREA;
            for (unsigned i = 0; i < RANGES; i++)
                overlaps |= ranges[i].id && start < ranges[i].stop && ranges[i].start < start + n;
            int64_t id = start + n > AREA ? MW_ERR_REGISTERED : mw_register_range(area + start, n, 0, MW_DEPTH_FULL);
            REQUIRE((id > 0) == !overlaps && (id > 0 || id == MW_ERR_REGISTERED));
            if (id > 0) ranges[k].start = start, ranges[k].stop = start + n, ranges[k].id = id;
        }
        for (unsigned page = 0; page < AREA / PAGE; page++) { /* each page knows its variables, and no others */
            uint32_t number = arena_page_at((uintptr_t)area + page * PAGE);
            unsigned found = 0, wanted = 0;
            for (uint32_t id = mw.arena.pages[number].head; id;
                 id = variable_next(&mw.registry.variables[id], number)) {
                REQUIRE(++found <= RANGES);
                REQUIRE(variable_overlaps(&mw.registry.variables[id], (uintptr_t)area + page * PAGE, PAGE));
            }
            for (unsigned i = 0; i < RANGES; i++)
                wanted += ranges[i].id && ranges[i].start < (page + 1) * PAGE && page * PAGE < ranges[i].stop;
            REQUIRE(found == wanted);
        }
        size_t at = draw() % (AREA - 8); /* an event for each variable that is touched */
        struct mw_stats before, after;
        mw_get_stats(&before);
        *(volatile uint64_t *)(area + at) = draw();
        mw_get_stats(&after);
        unsigned touched = 0;
        for (unsigned i = 0; i < RANGES; i++)
            touched += ranges[i].id && ranges[i].start < at + 8 && at < ranges[i].stop;
        REQUIRE(!known || after.slots - before.slots == touched); /* the first one brings its thread and site */
        known |= touched > 0;
    }
}

/* ---- copies ---- */

static void check_copies(void) {
    size_t n = 700, size = n * PAGE - 123;
    uint8_t *from = mmap(0, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(from != MAP_FAILED);
    madvise(from, n * PAGE, MADV_NOHUGEPAGE);
    for (unsigned i = 0; i < 200; i++) from[draw() % size] = (uint8_t)draw();
    for (size_t lead = 0; lead < 300; lead += 99) { /* not at a page's beginning */
        uint8_t *to = mw_page_alloc(n);
        REQUIRE(!mw_page_fill(to, from + lead, size - lead) && !memcmp(to, from + lead, size - lead));
        REQUIRE(mw_page_fill(to, from, (n + 1) * PAGE) == MW_ERR_PAGE && mw_page_fill(to + 1, from, 1) == MW_ERR_PAGE);
        int64_t id = mw_register_range(to, size, 0, MW_DEPTH_FULL);
        REQUIRE(id > 0 && mw_page_fill(to, from, size) == MW_ERR_PAGE);
        REQUIRE(!mw_unregister_page((mw_variable_id)id) && !mw_page_free(to, n));
    }
    uint8_t *untouched = mmap(0, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            *to = mw_page_alloc(n);
    madvise(untouched, n * PAGE, MADV_NOHUGEPAGE);
    REQUIRE(!mw_page_fill(to, untouched, n * PAGE));
    uint8_t there[700];
    unsigned resident = 0;
    REQUIRE(!mincore(untouched, n * PAGE, there));
    for (size_t i = 0; i < n; i++) resident += there[i] & 1;
    REQUIRE(!resident); /* it wasn't touched for that */
    REQUIRE(!mw_page_free(to, n));
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    uint8_t session[16] = {0};
    state = strtoull(argv[3], NULL, 10) * 2 + 1;
    unsigned long steps = strtoul(argv[4], NULL, 10);
    check(mw_start(tracker_named(argv[1])), "mw_start");
    check(mw_journal_open(argv[2], "test", session), "mw_journal_open");
    check_mappings();
    check_blocks(steps);
    check_ranges(steps);
    check_copies();
    return 0;
}
