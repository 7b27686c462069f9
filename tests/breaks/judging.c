/* judging.c - random programs on random events, under the sanitizers: what the core has remembered of a site, a thread
 * or a path is what the program says of it anyway. `judging <seed> <programs>` */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "journal/condition_texts.h"
#include "journal/predicate.h"
#include "journal/remembered.h"
#include "state.h"

enum { EVENTS = 40, CELL = 64, SITES = 5, PATHS = 3 };

static uint64_t state;
static uint32_t sites[SITES];
static unsigned path;

static unsigned below(unsigned n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(state >> 33) % n;
}

/* ---- programs ---- */

static uint8_t program[PREDICATE_MAX];
static size_t length;

static void put(const void *bytes, size_t n) {
    memcpy(program + length, bytes, n);
    length += n;
}
static void op(uint8_t one) { put(&one, 1); }

static void text(void) {
    static const char *const texts[] = {"", "*", "a*", "*:7", "one", "t*", "*b*", "x[1]"};
    const char *it = texts[below(sizeof texts / sizeof *texts)];
    uint16_t n = (uint16_t)strlen(it);
    op(below(8) ? P_TEXT : P_BYTES);
    put(&n, sizeof n);
    put(it, n);
}

static void number(void) {
    static const int64_t numbers[] = {0, 1, -1, 7, INT64_MAX, INT64_MIN, 1ll << 53, (1ll << 53) + 1};
    static const double reals[] = {0, -0.0, 1.5, 1e300, 0x1p53, -7};
    if (below(3)) {
        op(P_INT);
        put(&numbers[below(8)], 8);
    } else {
        op(P_FLOAT);
        put(&reals[below(6)], 8);
    }
}

static void test_of_cell(void) {
    int64_t n = (int64_t)below(5) - 2;
    uint8_t head[] = {P_TEST_CELL, (uint8_t)below(2), (uint8_t)(P_LESS + below(6))};
    put(head, sizeof head);
    put(&n, sizeof n);
}

static void leaf(void) {
    static const uint8_t names[] = {P_PATH, P_SITE, P_FILE, P_LINE, P_FUNCTION, P_THREAD, P_THREAD_ID};
    switch (below(7)) {
    case 0: number(); break;
    case 1: text(); break;
    case 2: op((uint8_t)(P_NONE + below(4))); break;
    case 3: test_of_cell(); break;
    case 4: {
        uint8_t cell[] = {P_CELL, (uint8_t)below(2)};
        put(cell, sizeof cell);
        break;
    }
    default: op(names[below(sizeof names)]); break;
    }
}

static void expression(unsigned depth) {
    static const uint8_t two[] = {P_LESS, P_LESS_EQUAL, P_EQUAL,    P_NOT_EQUAL, P_GREATER,      P_GREATER_EQUAL, P_IN,
                                  P_LIKE, P_ADD,        P_SUBTRACT, P_MULTIPLY,  P_FLOOR_DIVIDE, P_MODULO};
    static const uint8_t one[] = {P_NOT, P_NEGATE, P_ABS, P_LENGTH};
    if (!depth || !below(6)) {
        leaf();
        return;
    }
    unsigned what = below(8);
    expression(depth - 1);
    if (what < 2) {
        op(one[below(sizeof one)]);
        return;
    }
    uint8_t both = below(2) ? P_AND : P_OR;
    size_t decided = 0;
    if (what < 5 && below(2)) {
        op(P_DECIDED);
        op(both);
        decided = length;
        length += 2;
    }
    size_t from = length;
    expression(depth - 1);
    op(what < 5 ? both : two[below(sizeof two)]);
    uint16_t left = (uint16_t)(length - from);
    if (decided) memcpy(program + decided, &left, sizeof left);
}

/* ---- events ---- */

static const char *path_of_this(size_t *n) {
    static const char *const paths[] = {"x[1]", "ab", "t.b.c"};
    *n = strlen(paths[path]);
    return paths[path];
}

static void fill(uint8_t cell[CELL]) {
    static const uint8_t kinds[] = {0, 1, 2, 3, 4, 4, 4, 5, 5, 6, 6, 7, 8, 9};
    int64_t n = (int64_t)below(5) - 2;
    double real = below(5) - 1.5;
    memset(cell, 0, CELL);
    cell[0] = kinds[below(sizeof kinds)] | (below(6) ? 0 : CELL_BEGINS) | (below(6) ? 0 : 0x40);
    unsigned kind = cell[0] & 0x3f;
    cell[1] = (uint8_t)(kind < 4 ? 0 : kind < 6 ? 8 : below(61));
    if (kind >= 6 && cell[1] > 12 && !below(3)) cell[2] = 1;
    for (unsigned i = 0; i < cell[1]; i++) cell[4 + i] = (uint8_t)"ab*x[1]:"[below(8)];
    if (kind == 4) memcpy(cell + 4, &n, 8);
    if (kind == 5) memcpy(cell + 4, &real, 8);
}

static void name_thread(const char *name) { condition_names_thread(thread_id(), name, strlen(name)); }

static int judge_all(unsigned of) {
    uint8_t other[REMEMBERING_MAX];
    unsigned parts, differ = 0;
    size_t n = remembering(program, length, other, &parts);
    struct remembered *kept = calloc(parts + 1, sizeof *kept);
    static const char *const names[] = {"one", "two", "t"};
    for (unsigned i = 0; i < EVENTS; i++) {
        uint8_t whole[CELL], before[CELL], after[CELL];
        fill(before), fill(after);
        memcpy(whole, before, CELL);
        if (!below(5)) name_thread(names[below(3)]);
        path = below(PATHS);
        struct judged j = {.tid = thread_id(), .site = sites[below(SITES)], .announced = below(4) != 0};
        j.whole = whole, j.size = CELL, j.before = before, j.after = after;
        j.length = 4 + (before[1] > after[1] ? before[1] : after[1]);
        j.begins = after[0] & CELL_BEGINS;
        mw_set_subject_by(path_of_this, path + 1);
        enum verdict plain = predicate_judge(program, length, &j, NULL);
        mw_set_subject_by(path_of_this, path + 1);
        enum verdict recalled = predicate_judge(other, n, &j, kept);
        differ += plain != recalled;
    }
    if (differ) fprintf(stderr, "program %u: %u of %d events are judged otherwise\n", of, differ, EVENTS);
    free(kept);
    return differ != 0;
}

int main(int argc, char **argv) {
    if (argc != 3 || mw_start(MW_TRACKER_READONLY)) return 2;
    state = strtoull(argv[1], NULL, 10);
    for (uint32_t i = 1; i < SITES; i++)
        sites[i] = mw_intern_site("a/b.py", 6, i % 2 ? "one" : "two", 3, i * 7 % 10, 0);
    unsigned tried = 0, parts = 0, wrong = 0, some;
    for (unsigned i = 0, most = (unsigned)atoi(argv[2]); i < most; i++) {
        uint8_t out[REMEMBERING_MAX];
        length = 0;
        expression(4);
        if (!predicate_is_valid(program, length)) continue;
        remembering(program, length, out, &some);
        tried++, parts += some;
        wrong += (unsigned)judge_all(i);
    }
    printf("%u %u %u\n", tried, parts, wrong);
    return wrong != 0;
}
