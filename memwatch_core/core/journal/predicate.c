/* predicate.c - see predicate.h: a machine with a stack of values. shortcuts.h runs what has a short way, this file the
 * rest. */
#include "journal/predicate.h"

#include <string.h>

#include "journal/condition_texts.h"
#include "journal/condition_values.h"
#include "journal/shortcuts.h"

enum { SIDE_OLD = 0, SIDE_NEW = 1 };
enum { CELL_ROOM = 60, CELL_CUT_HEAD = 12 };

MW_SIGNAL_SAFE size_t predicate_measure(const uint8_t *at, size_t left, unsigned *takes) {
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
        n = predicate_measure(program + at, length - at, &takes);
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
    for (size_t at = 0; at < length; at += predicate_measure(program + at, length - at, &takes)) {
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

/* IEEE 754 binary16: a sign, 5 bits of exponent, 10 of fraction. */
MW_SIGNAL_SAFE static double real_of_half(uint32_t half) {
    uint64_t exponent = half >> 10 & 31, fraction = half & 1023, bits;
    double real;
    if (!exponent) return (half & 0x8000 ? -0x1p-24 : 0x1p-24) * (double)fraction;
    bits = (exponent == 31 ? 2047 : exponent + 1023 - 15) << 52 | fraction << 42 | (uint64_t)(half & 0x8000) << 48;
    memcpy(&real, &bits, sizeof real);
    return real;
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
    case 'e': return value_float(real_of_half((uint32_t)word));
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
    case CELL_ABSENT: return value_of(V_ABSENT);
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
    case P_PATH: return text_of_path(j->announced);
    case P_THREAD: return text_of_thread(j->tid, m->thread, &m->passing);
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

MW_SIGNAL_SAFE static struct value test_long(struct machine *m, const uint8_t *at) {
    int64_t number, other;
    bool cell = *at == P_TEST_CELL;
    memcpy(&other, at + (cell ? 3 : 7), sizeof other);
    if (!cell && !read_side(m->judged, at[1], u32_at(at + 3), sizeof number, &number)) return value_of(V_UNKNOWN);
    struct value held = cell ? load_cell(m, at[1]) : value_int(number), constant = value_int(other);
    return value_compare(at[2], &held, &constant);
}

MW_SIGNAL_SAFE static size_t run_long(struct machine *m, const uint8_t *at, size_t left) {
    unsigned takes;
    enum predicate_op op = *at;
    size_t n = predicate_measure(at, left, &takes);
    struct value *top = m->stack + m->used;
    if (takes == 2) {
        top[-2] = binary(op, &top[-2], &top[-1]);
        m->used--;
    } else if (takes == 1) {
        top[-1] = unary(op, &top[-1]);
    } else {
        *top = op < P_NUMBER    ? constant(at)
               : op < P_CHANGED ? load(m, at)
               : op < P_TEST    ? named(m, op)
                                : test_long(m, at);
        m->used++;
    }
    return n;
}

MW_SIGNAL_SAFE enum verdict predicate_judge(const uint8_t *program, size_t length, const struct judged *judged,
                                            struct remembered *remembered) {
    struct machine m;
    m.judged = judged;
    m.remembered = remembered;
    m.used = 0;
    for (size_t at = 0; at < length;) {
        size_t n = run_short(&m, program + at);
        at += likely(n) ? n : run_long(&m, program + at, length - at);
    }
    return likely(m.stack[0].kind == V_BOOL) ? (enum verdict)m.stack[0].as.number : value_verdict(&m.stack[0]);
}
