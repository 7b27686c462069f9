/* predicate.c - see predicate.h: a machine with a stack of values. Both sides of "and" are computed: a program is
 * short, and so takes the same time for every event. */
#include "journal/predicate.h"

#include <string.h>

#include "journal/condition_texts.h"
#include "journal/condition_values.h"

enum { SIDE_OLD = 0, SIDE_NEW = 1 };
enum { CELL_HEAD = 4, CELL_ROOM = 60, CELL_CUT_HEAD = 12, CELL_CUT = 1 };
enum { /* memwatch_core/python/places/cell.h, docs/journal-format.md */
       CELL_NONE = 1,
       CELL_FALSE = 2,
       CELL_TRUE = 3,
       CELL_INT = 4,
       CELL_FLOAT = 5,
       CELL_STR = 6,
       CELL_BYTES = 7,
       CELL_SHOWN = 8,
       CELL_KINDS = 0x3f, /* without what is added of a name of a function */
};
enum { SIDE_ROOM = 64 }; /* bytes of both sides of a cell */

struct machine {
    const struct judged *judged;
    struct value stack[PREDICATE_DEPTH];
    unsigned used;
    uint8_t cells[2][SIDE_ROOM];
    char site[SITE_ROOM], thread[THREAD_ROOM], statement[STATEMENT_ROOM];
};

/* ---- instructions, as they lie in the program ---- */

MW_SIGNAL_SAFE static uint16_t u16_at(const uint8_t *at) {
    uint16_t n;
    memcpy(&n, at, sizeof n);
    return n;
}
MW_SIGNAL_SAFE static uint32_t u32_at(const uint8_t *at) {
    uint32_t n;
    memcpy(&n, at, sizeof n);
    return n;
}

/* Bytes of the instruction, 0 if there is none like this, and what it does to the number of values in hand. */
MW_SIGNAL_SAFE static size_t measure(const uint8_t *at, size_t left, unsigned *takes) {
    *takes = 0;
    switch (*at) {
    case P_INT:
    case P_FLOAT: return 9;
    case P_TEXT:
    case P_BYTES: return left >= 3 ? 3 + (size_t)u16_at(at + 1) : 0;
    case P_NUMBER: return 8;
    case P_BLOCK: return 10;
    case P_MEASURED:
    case P_CELL: return 2;
    case P_LESS ... P_LIKE:
    case P_AND:
    case P_OR:
    case P_ADD ... P_MODULO: *takes = 2; return 1;
    case P_NOT:
    case P_NEGATE ... P_LENGTH: *takes = 1; return 1;
    case P_TEST: return 15;
    case P_TEST_CELL: return 11;
    case P_DECIDED: *takes = 1; return 4;
    case P_NONE ... P_ABSENT:
    case P_CHANGED:
    case P_PATH ... P_STATEMENT: return 1;
    default: return 0;
    }
}

/* Where an instruction begins: how many values are in hand there, + 1. */
static bool count_values(const uint8_t *program, size_t length, uint8_t values[PREDICATE_MAX + 1]) {
    unsigned used = 0, takes;
    for (size_t at = 0, n; at < length; at += n) {
        n = measure(program + at, length - at, &takes);
        if (!n || n > length - at || takes > used || used - takes == PREDICATE_DEPTH) return false;
        values[at] = (uint8_t)(used + 1);
        used -= takes;
        used++;
    }
    values[length] = (uint8_t)(used + 1);
    return used == 1;
}

bool predicate_is_valid(const uint8_t *program, size_t length) {
    uint8_t values[PREDICATE_MAX + 1] = {0};
    unsigned takes;
    if (length > PREDICATE_MAX || !count_values(program, length, values)) return false;
    for (size_t at = 0; at < length; at += measure(program + at, length - at, &takes)) {
        if (program[at] != P_DECIDED) continue;
        size_t to = at + 4 + u16_at(program + at + 2);
        if (to > length || values[to] != values[at]) return false;
    }
    return true;
}

/* ---- the bytes of a variable ---- */

/* Bytes [at, at + n) of one side; false: the variable hasn't so many. */
MW_SIGNAL_SAFE static bool read_side(const struct judged *j, unsigned side, uint32_t at, uint32_t n, void *to) {
    if (j->hidden || at > j->size || n > j->size - at) return false;
    memcpy(to, j->whole + at, n);
    uint32_t start = at > j->at ? at : j->at, stop = at + n < j->at + j->length ? at + n : j->at + j->length;
    const uint8_t *bytes = side == SIDE_OLD ? j->before : j->after;
    if (start < stop) memcpy((uint8_t *)to + (start - at), bytes + (start - j->at), stop - start);
    return true;
}

/* Bytes that lie side by side in memory: all of them within the store, or none. */
MW_SIGNAL_SAFE static const uint8_t *block_of(const struct judged *j, unsigned side, uint32_t at, uint32_t n) {
    if (j->hidden || at > j->size || n > j->size - at) return NULL;
    if (at >= j->at && at + n <= j->at + j->length) return (side == SIDE_OLD ? j->before : j->after) + (at - j->at);
    if (side == SIDE_OLD || at + n <= j->at || at >= j->at + j->length) return j->whole + at;
    return NULL;
}

MW_SIGNAL_SAFE static struct value load_number(const struct judged *j, unsigned side, const uint8_t *operand) {
    static const uint8_t sizes[128] = {['b'] = 1, ['B'] = 1, ['?'] = 1, ['c'] = 1, ['h'] = 2, ['H'] = 2,
                                       ['e'] = 2, ['i'] = 4, ['I'] = 4, ['l'] = 4, ['L'] = 4, ['f'] = 4,
                                       ['q'] = 8, ['Q'] = 8, ['n'] = 8, ['N'] = 8, ['P'] = 8, ['d'] = 8};
    uint8_t letter = operand[0] & 127, size = sizes[letter], bytes[8] = {0};
    if (!size || !read_side(j, side, u32_at(operand + 2), size, bytes)) return value_of(V_UNKNOWN);
    for (unsigned i = 0; !operand[1] && i < size / 2; i++) { /* big-endian */
        uint8_t kept = bytes[i];
        bytes[i] = bytes[size - 1 - i];
        bytes[size - 1 - i] = kept;
    }
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    float narrow;
    double wide;
    switch (letter) {
    case 'f': memcpy(&narrow, bytes, sizeof narrow); return value_float((double)narrow);
    case 'd': memcpy(&wide, bytes, sizeof wide); return value_float(wide);
    case 'e': return value_of(V_UNKNOWN);
    case '?': return value_bool(word != 0);
    case 'b':
    case 'h':
    case 'i':
    case 'l':
    case 'q':
    case 'n': return value_int((int64_t)(word << (64 - 8 * size)) >> (64 - 8 * size));
    default: return value_int((__int128)word);
    }
}

MW_SIGNAL_SAFE static struct value load_block(const struct judged *j, unsigned side, uint32_t at, uint32_t n) {
    const uint8_t *bytes = block_of(j, side, at, n);
    if (!bytes) return value_of(V_UNKNOWN);
    while (n && !bytes[n - 1]) n--;
    return value_text(V_BYTES, bytes, n);
}

MW_SIGNAL_SAFE static struct value load_measured(const struct judged *j, unsigned side) {
    uint64_t length;
    if (!read_side(j, side, 0, sizeof length, &length) || length > j->size - sizeof length) return value_of(V_UNKNOWN);
    if (!length) return value_text(V_BYTES, j->whole, 0);
    const uint8_t *bytes = block_of(j, side, sizeof length, (uint32_t)length);
    return bytes ? value_text(V_BYTES, bytes, length) : value_of(V_UNKNOWN);
}

enum { DIGITS_LEAST = 19 };

/* A whole number that is no i64 is told in words, its digits. */
MW_SIGNAL_SAFE static struct value load_words(const uint8_t *at, uint32_t n) {
    bool is_negative = n && *at == '-';
    __int128 number = 0;
    if (n < (uint32_t)DIGITS_LEAST + is_negative) return value_text(V_SHOWN, at, n);
    for (uint32_t i = is_negative; i < n; i++) {
        int digit = at[i] - '0';
        if (digit < 0 || digit > 9) return value_text(V_SHOWN, at, n);
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, is_negative ? -digit : digit, &number))
            return value_of(V_UNKNOWN);
    }
    return value_int(number);
}

MW_SIGNAL_SAFE static struct value load_cell(struct machine *m, unsigned side) {
    uint8_t *cell = m->cells[side], used;
    uint16_t flags;
    if (!read_side(m->judged, side, 0, SIDE_ROOM, cell)) return value_of(V_UNKNOWN);
    memcpy(&flags, cell + 2, sizeof flags);
    used = cell[1] < CELL_ROOM ? cell[1] : CELL_ROOM;
    const uint8_t *payload = cell + CELL_HEAD;
    int64_t number;
    struct value v;
    if (m->judged->begins && side == SIDE_OLD) return value_of(V_ABSENT);
    switch (cell[0] &= CELL_KINDS) {
    case 0: return value_of(V_ABSENT);
    case CELL_NONE: return value_of(V_NONE);
    case CELL_FALSE:
    case CELL_TRUE: return value_bool(cell[0] == CELL_TRUE);
    case CELL_INT: memcpy(&number, payload, sizeof number); return value_int(number);
    case CELL_FLOAT:
        v = value_of(V_FLOAT);
        memcpy(&v.as.real, payload, sizeof v.as.real);
        return v;
    case CELL_STR:
    case CELL_BYTES:
    case CELL_SHOWN:
        v = value_text(cell[0] == CELL_STR ? V_TEXT : cell[0] == CELL_BYTES ? V_BYTES : V_SHOWN, payload, used);
        if (v.kind == V_SHOWN && !(flags & CELL_CUT)) return load_words(payload, used);
        if (!(flags & CELL_CUT) || used < CELL_CUT_HEAD) return v;
        v.cut = true;
        v.whole = u32_at(payload + 8);
        v.n -= CELL_CUT_HEAD;
        v.as.at += CELL_CUT_HEAD;
        return v;
    default: return value_of(V_UNKNOWN);
    }
}

MW_SIGNAL_SAFE static bool has_changed(const struct judged *j) {
    return j->begins || memcmp(j->before, j->after, j->length) != 0;
}

/* ---- the machine ---- */

MW_SIGNAL_SAFE static struct value constant(const uint8_t *at) {
    int64_t number;
    double real;
    switch (*at) {
    case P_INT: memcpy(&number, at + 1, sizeof number); return value_int(number);
    case P_FLOAT: memcpy(&real, at + 1, sizeof real); return value_float(real);
    case P_TEXT: return value_text(V_TEXT, at + 3, u16_at(at + 1));
    case P_BYTES: return value_text(V_BYTES, at + 3, u16_at(at + 1));
    case P_NONE: return value_of(V_NONE);
    case P_ABSENT: return value_of(V_ABSENT);
    default: return value_bool(*at == P_TRUE);
    }
}

MW_SIGNAL_SAFE static struct value load(struct machine *m, const uint8_t *at) {
    const struct judged *j = m->judged;
    unsigned side = at[1] & 1;
    switch (*at) {
    case P_NUMBER: return load_number(j, side, at + 2);
    case P_BLOCK: return load_block(j, side, u32_at(at + 2), u32_at(at + 6));
    case P_MEASURED: return load_measured(j, side);
    default: return load_cell(m, side);
    }
}

MW_SIGNAL_SAFE static struct value named(struct machine *m, enum predicate_op op) {
    const struct judged *j = m->judged;
    switch (op) {
    case P_CHANGED: return value_bool(has_changed(j));
    case P_PATH: return text_of_path();
    case P_THREAD: return text_of_thread(j->tid, m->thread);
    case P_THREAD_ID: return value_int(j->tid);
    case P_STATEMENT: return text_of_statement(j->context, m->statement);
    default: return text_of_site(j->site, op, m->site);
    }
}

MW_SIGNAL_SAFE static struct value both(enum predicate_op op, const struct value *a, const struct value *b) {
    enum verdict one = value_verdict(a), two = value_verdict(b), decides = op == P_AND ? NOT_MET : MET;
    if (one == decides || two == decides) return value_bool(decides == MET);
    return one == NOT_KNOWN || two == NOT_KNOWN ? value_of(V_UNKNOWN) : value_bool(decides == NOT_MET);
}

MW_SIGNAL_SAFE static struct value binary(enum predicate_op op, const struct value *a, const struct value *b) {
    if (op <= P_GREATER_EQUAL) return value_compare(op, a, b);
    switch (op) {
    case P_IN: return value_in(a, b);
    case P_LIKE: return value_like(a, b);
    case P_AND:
    case P_OR: return both(op, a, b);
    default: return value_compute(op, a, b);
    }
}

MW_SIGNAL_SAFE static struct value unary(enum predicate_op op, const struct value *a) {
    if (op != P_NOT) return value_unary(op, a);
    enum verdict verdict = value_verdict(a);
    return verdict == NOT_KNOWN ? value_of(V_UNKNOWN) : value_bool(verdict == NOT_MET);
}

/* ---- what most conditions ask ---- */

MW_SIGNAL_SAFE static inline bool test(unsigned comparison, int64_t a, int64_t b) {
    switch (comparison) {
    case P_LESS: return a < b;
    case P_LESS_EQUAL: return a <= b;
    case P_EQUAL: return a == b;
    case P_NOT_EQUAL: return a != b;
    case P_GREATER: return a > b;
    default: return a >= b;
    }
}

MW_SIGNAL_SAFE static inline struct value test_number(const struct judged *j, const uint8_t *at) {
    int64_t number, other;
    uint32_t offset = u32_at(at + 3);
    memcpy(&other, at + 7, sizeof other);
    if (likely(!j->hidden && offset >= j->at && offset + sizeof number <= (uint64_t)j->at + j->length))
        memcpy(&number, (at[1] ? j->after : j->before) + (offset - j->at), sizeof number);
    else if (!read_side(j, at[1], offset, sizeof number, &number))
        return value_of(V_UNKNOWN);
    return value_bool(test(at[2], number, other));
}

MW_SIGNAL_SAFE static struct value test_cell(struct machine *m, const uint8_t *at) {
    int64_t number, other;
    const struct judged *j = m->judged;
    const uint8_t *cell = at[1] ? j->after : j->before;
    memcpy(&other, at + 3, sizeof other);
    if (likely(!j->at && j->length >= CELL_HEAD + sizeof number && cell[0] == CELL_INT && !j->begins)) {
        memcpy(&number, cell + CELL_HEAD, sizeof number);
        return value_bool(test(at[2], number, other));
    }
    struct value held = load_cell(m, at[1]), constant = value_int(other);
    return value_compare(at[2], &held, &constant);
}

/* Whether the value on top decides, so that the rest of "and" or "or" is left out. */
MW_SIGNAL_SAFE static inline size_t left_out(const struct value *top, const uint8_t *at) {
    return value_verdict(top) == (at[1] == P_AND ? NOT_MET : MET) ? u16_at(at + 2) : 0;
}

/* The instructions that are only run here; how many bytes, 0: it is another one. */
MW_SIGNAL_SAFE static inline size_t run_short(struct machine *m, const uint8_t *at) {
    struct value *top = m->stack + m->used;
    switch (*at) {
    case P_TEST:
        *top = test_number(m->judged, at);
        m->used++;
        return 15;
    case P_TEST_CELL:
        *top = test_cell(m, at);
        m->used++;
        return 11;
    case P_DECIDED: return 4 + left_out(top - 1, at);
    case P_AND:
    case P_OR:
        if (top[-1].kind != V_BOOL || top[-2].kind != V_BOOL) return 0;
        if (*at == P_AND ? top[-2].as.number : !top[-2].as.number) top[-2].as.number = top[-1].as.number;
        m->used--;
        return 1;
    default: return 0;
    }
}

MW_SIGNAL_SAFE static size_t run_long(struct machine *m, const uint8_t *at, size_t left) {
    unsigned takes;
    enum predicate_op op = *at;
    size_t n = measure(at, left, &takes);
    struct value *top = m->stack + m->used;
    if (takes == 2) {
        top[-2] = binary(op, &top[-2], &top[-1]);
        m->used--;
    } else if (takes == 1) {
        top[-1] = unary(op, &top[-1]);
    } else {
        *top = op < P_NUMBER ? constant(at) : op < P_CHANGED ? load(m, at) : named(m, op);
        m->used++;
    }
    return n;
}

MW_SIGNAL_SAFE enum verdict predicate_judge(const uint8_t *program, size_t length, const struct judged *judged) {
    struct machine m;
    m.judged = judged;
    m.used = 0;
    for (size_t at = 0; at < length;) {
        size_t n = run_short(&m, program + at);
        at += likely(n) ? n : run_long(&m, program + at, length - at);
    }
    return likely(m.stack[0].kind == V_BOOL) ? (enum verdict)m.stack[0].as.number : value_verdict(&m.stack[0]);
}
