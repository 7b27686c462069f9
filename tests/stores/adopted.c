/* adopted.c - the table of adopted pages: pages side by side and far apart, at the ends of its parts, come and go.
 *
 *   adopted TRACKER JOURNAL SEED STEPS
 *
 * After each step every page that is adopted is found, as the page it was given, no other one is, and the next one from
 * any page on is the right one. Exit status 1 if anything isn't so. */
#include <stdbool.h>
#include <sys/mman.h>

#include "check.h"
#include "memory/adopted_pages.h"
#include "memory/arena.h"
#include "state.h"
#include "tracker.h"

enum { PAGE = MW_PAGE_SIZE, PAGES = 96 };
#define AREA ((size_t)16 << 30)

static struct {
    uint8_t *start;
    int64_t id; /* 0: not adopted */
} pages[PAGES];
static uint64_t state;

static uint64_t draw(void) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state;
}

/* Pages on both sides of a border between parts of the table, neighbours, and some anywhere. */
static void choose(uint8_t *area) {
    const size_t part = (size_t)ADOPTED_FAN * PAGE;
    for (unsigned n = 0; n < PAGES;) {
        uint8_t *border = (uint8_t *)(((uintptr_t)area + draw() % (AREA / 2)) / part * part + part);
        uint8_t *start = draw() % 2 ? border - 4 * PAGE + draw() % 8 * PAGE : area + draw() % (AREA / PAGE) * PAGE;
        bool again = false;
        for (unsigned i = 0; i < n; i++) again |= pages[i].start == start;
        if (again) continue;
        REQUIRE(!mprotect(start, PAGE, PROT_READ | PROT_WRITE));
        pages[n++].start = start;
    }
}

static void toggle(unsigned n) {
    if (pages[n].id) {
        check(mw_unregister_page((mw_variable_id)pages[n].id), "mw_unregister_page");
        pages[n].id = 0;
    } else {
        pages[n].start[0] = (uint8_t)n;
        pages[n].id = mw_register_page(pages[n].start, PAGE, 0, MW_DEPTH_FULL);
        check(pages[n].id, "mw_register_page");
    }
}

static void look(void) {
    unsigned adopted = 0;
    for (unsigned n = 0; n < PAGES; n++) {
        uint32_t page = arena_page_at((uintptr_t)pages[n].start);
        REQUIRE((page != NO_PAGE) == (pages[n].id != 0));
        if (page == NO_PAGE) continue;
        adopted++;
        REQUIRE(mw.registry.variables[pages[n].id].page == page);
        REQUIRE(arena_writable(page)[0] == n && pages[n].start[0] == n);
    }
    REQUIRE(mw.adopted_pages.count == adopted);
    for (unsigned n = 0; n < PAGES; n++) { /* from each page on */
        uint64_t from = (uintptr_t)pages[n].start >> PAGE_SHIFT, end = from + AREA / PAGE, first = end;
        for (unsigned k = 0; k < PAGES; k++) {
            uint64_t number = (uintptr_t)pages[k].start >> PAGE_SHIFT;
            if (pages[k].id && number >= from && number < first) first = number;
        }
        REQUIRE(adopted_next(from, end) == first);
    }
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    uint8_t session[16] = {0};
    state = strtoull(argv[3], NULL, 10) * 2 + 1;
    check(mw_start(tracker_named(argv[1])), "mw_start");
    check(mw_journal_open(argv[2], "test", session), "mw_journal_open");
    uint8_t *area = mmap(0, AREA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(area != MAP_FAILED);
    choose(area);
    for (unsigned long step = 0, steps = strtoul(argv[4], NULL, 10); step < steps; step++) {
        toggle((unsigned)(draw() % PAGES));
        look();
    }
    for (unsigned n = 0; n < PAGES; n++)
        if (pages[n].id) toggle(n), look();
    REQUIRE(!mw.adopted_pages.count);
    return 0;
}
