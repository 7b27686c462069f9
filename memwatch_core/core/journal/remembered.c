/* remembered.c - see remembered.h. A program is followed as if it ran: of each value in hand it is known where its
 * instructions begin, and what they ask for. */
#include "journal/remembered.h"

#include <stdbool.h>
#include <string.h>

#include "journal/predicate.h"

enum asked { OF_NOTHING = 0, OF_SITE = 1, OF_THREAD = 2, OF_PATH = 4, OF_MORE = 8 };

struct part {
    uint16_t start, end;
    uint8_t asked; /* enum asked, several of them */
    bool decides;  /* it is true, false or not known, and nothing else */
};

struct parts {
    struct part found[REMEMBERED_MOST];
    unsigned count;
};

static unsigned asked_by(uint8_t op) {
    switch (op) {
    case P_SITE ... P_FUNCTION: return OF_SITE;
    case P_THREAD: return OF_THREAD;
    case P_PATH: return OF_PATH;
    case P_INT ... P_ABSENT: return OF_NOTHING;
    default: return OF_MORE;
    }
}

static bool decides(uint8_t op) { return op >= P_LESS && op <= P_OR; }

/* A part that can be remembered, of a larger one that can't. */
static void take(struct parts *parts, const struct part *part) {
    bool of_one = part->asked == OF_SITE || part->asked == OF_THREAD || part->asked == OF_PATH;
    if (part->decides && of_one && parts->count < REMEMBERED_MOST) parts->found[parts->count++] = *part;
}

static void find(const uint8_t *program, size_t length, struct parts *parts) {
    struct part held[PREDICATE_DEPTH + 1] = {{0}};
    unsigned used = 0, takes;
    parts->count = 0;
    for (size_t at = 0, n; at < length; at += n) {
        n = predicate_measure(program + at, length - at, &takes);
        if (program[at] == P_DECIDED) continue; /* belongs to the "and" behind it */
        struct part made = {(uint16_t)at, (uint16_t)(at + n), OF_NOTHING, decides(program[at])};
        if (!takes) made.asked = (uint8_t)asked_by(program[at]);
        for (unsigned i = used - takes; i < used; i++) made.asked |= held[i].asked;
        if (takes) made.start = held[used - takes].start;
        bool of_one = !(made.asked & (made.asked - 1)) && made.asked != OF_MORE; /* a larger part may decide */
        for (unsigned i = used - takes; !of_one && i < used; i++) take(parts, &held[i]);
        used -= takes;
        held[used++] = made;
    }
    take(parts, &held[0]);
}

static uint8_t recalled_by(const struct part *part) {
    return part->asked == OF_SITE ? P_RECALL_SITE : part->asked == OF_THREAD ? P_RECALL_THREAD : P_RECALL_PATH;
}

static void put_u16(uint8_t *to, size_t n) {
    uint16_t number = (uint16_t)n;
    memcpy(to, &number, sizeof number);
}

/* Where a byte of the program is by then. What ends there is kept before anything else begins. */
static size_t moved(const struct parts *parts, size_t at) {
    size_t to = at;
    for (unsigned i = 0; i < parts->count; i++) {
        if (parts->found[i].start < at) to += 4;
        if (parts->found[i].end < at) to += 2;
    }
    return to;
}

size_t remembering(const uint8_t *program, size_t length, uint8_t *out, unsigned *count) {
    struct parts parts;
    unsigned takes;
    size_t to = 0;
    find(program, length, &parts);
    for (size_t at = 0, n; at <= length; at += n) {
        for (unsigned i = 0; i < parts.count; i++)
            if (parts.found[i].end == at) {
                out[to++] = P_KEEP;
                out[to++] = (uint8_t)i;
            }
        if (at == length) break;
        for (unsigned i = 0; i < parts.count; i++)
            if (parts.found[i].start == at) {
                out[to] = recalled_by(&parts.found[i]);
                out[to + 1] = (uint8_t)i;
                put_u16(out + to + 2, (size_t)(parts.found[i].end - parts.found[i].start));
                to += 4;
            }
        n = predicate_measure(program + at, length - at, &takes);
        memcpy(out + to, program + at, n);
        if (program[at] == P_DECIDED) {
            uint16_t left;
            memcpy(&left, program + at + 2, sizeof left);
            put_u16(out + to + 2, moved(&parts, at + n + left) - moved(&parts, at + n));
        }
        to += n;
    }
    *count = parts.count;
    return to;
}
