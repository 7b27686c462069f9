/* shortcuts.h - the instructions of a predicate where they have a short way: whole numbers, what is known of a site, a
 * thread or a path. What has none here is predicate.c's. */
#ifndef MEMWATCH_SHORTCUTS_H
#define MEMWATCH_SHORTCUTS_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"
#include "base/thread.h"
#include "journal/condition_texts.h"
#include "journal/condition_values.h"
#include "journal/predicate.h"
#include "state.h"

enum { SIDE_ROOM = PLACE_CELL };
enum { /* memwatch_core/python/places/cell.h, docs/journal-format.md */
       CELL_HEAD = 4,
       CELL_CUT = 1,
       CELL_ABSENT = 0,
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

struct machine {
    const struct judged *judged;
    struct remembered *remembered;
    uint64_t number; /* of the part that is computed in order to be kept; 0: it isn't */
    bool passing;    /* it asked for what may be another one the next time */
    struct value stack[PREDICATE_DEPTH];
    unsigned used;
    uint8_t cells[2][SIDE_ROOM];
    char site[SITE_ROOM], thread[THREAD_ROOM], statement[STATEMENT_ROOM];
};

/* ---- instructions, as they lie in the program ---- */

MW_SIGNAL_SAFE static inline uint16_t u16_at(const uint8_t *at) {
    uint16_t n;
    memcpy(&n, at, sizeof n);
    return n;
}
MW_SIGNAL_SAFE static inline uint32_t u32_at(const uint8_t *at) {
    uint32_t n;
    memcpy(&n, at, sizeof n);
    return n;
}

/* ---- whole numbers ---- */

/* A number, or whether something is so: nothing else of a value is looked at then. */
MW_SIGNAL_SAFE static inline void put(struct value *to, enum value_kind kind, __int128 number) {
    to->kind = kind;
    to->as.number = number;
}

/* One of the six comparisons, of two numbers of a type. */
#define TESTS(name, type)                                                                                              \
    MW_SIGNAL_SAFE static inline bool name(unsigned comparison, type a, type b) {                                      \
        switch (comparison) {                                                                                          \
        case P_LESS: return a < b;                                                                                     \
        case P_LESS_EQUAL: return a <= b;                                                                              \
        case P_EQUAL: return a == b;                                                                                   \
        case P_NOT_EQUAL: return a != b;                                                                               \
        case P_GREATER: return a > b;                                                                                  \
        default: return a >= b;                                                                                        \
        }                                                                                                              \
    }
TESTS(test, int64_t)
TESTS(test_real, double)

MW_SIGNAL_SAFE static inline void put_real(struct value *to, double real) {
    to->kind = V_FLOAT;
    to->as.real = real;
}
MW_SIGNAL_SAFE static inline void put_text(struct value *to, enum value_kind kind, const uint8_t *at, uint32_t n) {
    to->kind = kind;
    to->cut = false;
    to->n = n;
    to->whole = 0;
    to->as.at = at;
}

/* A float, and a whole number that one is equal to; false: it is another value. */
MW_SIGNAL_SAFE static inline bool as_real(const struct value *v, double *real) {
    enum { EXACT = 53 };
    if (v->kind == V_FLOAT) {
        *real = v->as.real;
        return true;
    }
    if (v->kind != V_INT || v->as.number > 1ll << EXACT || v->as.number < -(1ll << EXACT)) return false;
    *real = (double)(int64_t)v->as.number;
    return true;
}

/* ---- what was stored ---- */

MW_SIGNAL_SAFE static inline const uint8_t *side_of(const struct judged *j, uint8_t side) {
    return side & 1 ? j->after : j->before;
}

MW_SIGNAL_SAFE static inline bool is_stored(const struct judged *j, uint32_t offset, uint32_t n) {
    return !j->hidden && offset >= j->at && offset + (uint64_t)n <= (uint64_t)j->at + j->length;
}

/* What a cell says, where all of it was stored; false: it is cut, or of another kind. */
MW_SIGNAL_SAFE static inline bool put_cell(const struct judged *j, uint8_t side, struct value *to) {
    const uint8_t *cell = side_of(j, side), *payload = cell + CELL_HEAD;
    int64_t number;
    if (j->hidden || j->at || j->length < CELL_HEAD || cell[1] > j->length - CELL_HEAD || cell[2] & CELL_CUT)
        return false;
    unsigned kind = j->begins && !(side & 1) ? CELL_ABSENT : cell[0] & CELL_KINDS;
    switch (kind) {
    case CELL_ABSENT: put(to, V_ABSENT, 0); return true;
    case CELL_NONE: put(to, V_NONE, 0); return true;
    case CELL_FALSE:
    case CELL_TRUE: put(to, V_BOOL, kind == CELL_TRUE); return true;
    case CELL_INT:
        memcpy(&number, payload, sizeof number);
        put(to, V_INT, number);
        return cell[1] == sizeof number;
    case CELL_FLOAT:
        to->kind = V_FLOAT;
        memcpy(&to->as.real, payload, sizeof to->as.real);
        return cell[1] == sizeof to->as.real;
    case CELL_STR: put_text(to, V_TEXT, payload, cell[1]); return true;
    case CELL_BYTES: put_text(to, V_BYTES, payload, cell[1]); return true;
    default: return false;
    }
}

/* ---- comparisons ---- */

/* Whether two values are equal, which aren't both numbers; false: it isn't known so shortly. */
MW_SIGNAL_SAFE static inline bool equals(const struct value *a, const struct value *b, bool *same) {
    bool nothing = a->kind == V_NONE || a->kind == V_ABSENT || b->kind == V_NONE || b->kind == V_ABSENT;
    if (a->kind == V_UNKNOWN || b->kind == V_UNKNOWN) return false;
    *same = a->kind == b->kind;
    if (nothing) return true;
    if (!*same || (a->kind != V_TEXT && a->kind != V_BYTES) || a->cut || b->cut) return false;
    *same = a->n == b->n && !memcmp(a->as.at, b->as.at, a->n);
    return true;
}

/* By one of the six; false: there is no short way. */
MW_SIGNAL_SAFE static inline bool compare(unsigned comparison, const struct value *a, const struct value *b, bool *is) {
    double left, right;
    if (a->kind == V_INT && b->kind == V_INT) {
        int64_t one = (int64_t)a->as.number, other = (int64_t)b->as.number;
        *is = test(comparison, one, other);
        return one == a->as.number && other == b->as.number; /* not of longer ones */
    }
    if (as_real(a, &left) && as_real(b, &right)) {
        *is = test_real(comparison, left, right);
        return true;
    }
    if ((comparison != P_EQUAL && comparison != P_NOT_EQUAL) || !equals(a, b, is)) return false;
    if (comparison == P_NOT_EQUAL) *is = !*is;
    return true;
}

/* ---- instructions ---- */

/* Whether the value on top decides, so that the rest of "and" or "or" is left out. */
MW_SIGNAL_SAFE static inline size_t left_out(const struct value *top, const uint8_t *at) {
    return value_verdict(top) == (at[1] == P_AND ? NOT_MET : MET) ? u16_at(at + 2) : 0;
}

/* The following run instructions; how many bytes, 0: there is no short way. */
MW_SIGNAL_SAFE static inline size_t run_test(struct machine *m, const uint8_t *at) {
    const struct judged *j = m->judged;
    struct value *top = m->stack + m->used, constant;
    int64_t number, other;
    bool is;
    switch (*at) {
    case P_TEST:
        if (unlikely(!is_stored(j, u32_at(at + 3), sizeof number))) return 0;
        memcpy(&number, side_of(j, at[1]) + (u32_at(at + 3) - j->at), sizeof number);
        memcpy(&other, at + 7, sizeof other);
        put(top, V_BOOL, test(at[2], number, other));
        m->used++;
        return 15;
    case P_TEST_CELL:
        memcpy(&other, at + 3, sizeof other);
        put(&constant, V_INT, other);
        if (!put_cell(j, at[1], top) || !compare(at[2], top, &constant, &is)) return 0;
        put(top, V_BOOL, is);
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

MW_SIGNAL_SAFE static inline size_t push_field(struct machine *m, const uint8_t *at) {
    const struct judged *j = m->judged;
    uint32_t offset = u32_at(at + 4);
    int64_t number;
    if ((at[2] != 'q' && at[2] != 'd') || !at[3] || !is_stored(j, offset, sizeof number)) return 0;
    struct value *top = m->stack + m->used++;
    const uint8_t *bytes = side_of(j, at[1]) + (offset - j->at);
    if (at[2] == 'd') {
        top->kind = V_FLOAT;
        memcpy(&top->as.real, bytes, sizeof top->as.real);
        return 8;
    }
    memcpy(&number, bytes, sizeof number);
    put(top, V_INT, number);
    return 8;
}

MW_SIGNAL_SAFE static inline size_t push(struct machine *m, const uint8_t *at) {
    struct value *top = m->stack + m->used;
    size_t n = 1;
    int64_t number;
    switch (*at) {
    case P_INT:
        memcpy(&number, at + 1, sizeof number);
        put(top, V_INT, number);
        n = 9;
        break;
    case P_FLOAT:
        top->kind = V_FLOAT;
        memcpy(&top->as.real, at + 1, sizeof top->as.real);
        n = 9;
        break;
    case P_TEXT:
    case P_BYTES:
        put_text(top, *at == P_TEXT ? V_TEXT : V_BYTES, at + 3, u16_at(at + 1));
        n = 3 + (size_t)u16_at(at + 1);
        break;
    case P_NONE: put(top, V_NONE, 0); break;
    case P_ABSENT: put(top, V_ABSENT, 0); break;
    case P_NUMBER: return push_field(m, at);
    case P_CELL:
        if (!put_cell(m->judged, at[1], top)) return 0;
        n = 2;
        break;
    default: return 0;
    }
    m->used++;
    return n;
}

MW_SIGNAL_SAFE static inline size_t run_unary(struct machine *m, const uint8_t *at) {
    struct value *top = m->stack + m->used - 1;
    __int128 negated;
    if (*at != P_ABS && *at != P_NEGATE) return 0;
    if (top->kind == V_FLOAT) {
        if (*at == P_NEGATE || top->as.real < 0) top->as.real = -top->as.real;
        return 1;
    }
    if (top->kind != V_INT || __builtin_sub_overflow((__int128)0, top->as.number, &negated)) return 0;
    if (*at == P_NEGATE || top->as.number < 0) top->as.number = negated;
    return 1;
}

MW_SIGNAL_SAFE static inline size_t run_sum(struct machine *m, const uint8_t *at) {
    struct value *a = m->stack + m->used - 2, *b = a + 1;
    bool adds = *at == P_ADD;
    double left, right;
    if (a->kind == V_INT && b->kind == V_INT) {
        __int128 sum;
        if (adds ? __builtin_add_overflow(a->as.number, b->as.number, &sum)
                 : __builtin_sub_overflow(a->as.number, b->as.number, &sum))
            return 0;
        a->as.number = sum;
    } else if (as_real(a, &left) && as_real(b, &right)) {
        put_real(a, adds ? left + right : left - right);
    } else {
        return 0;
    }
    m->used--;
    return 1;
}

MW_SIGNAL_SAFE static inline size_t run_comparison(struct machine *m, const uint8_t *at) {
    struct value *a = m->stack + m->used - 2, *b = a + 1;
    bool is;
    if (*at < P_LESS || *at > P_GREATER_EQUAL || !compare(*at, a, b, &is)) return 0;
    put(a, V_BOOL, is);
    m->used--;
    return 1;
}

/* ---- what was judged before ---- */

/* Of what a part depends on; 0: it isn't known. */
MW_SIGNAL_SAFE static inline uint64_t number_of(const struct judged *j, uint8_t op) {
    if (op == P_RECALL_SITE) return j->site;
    if (op == P_RECALL_PATH) return j->announced ? mw_thread.subject_number : 0;
    uint64_t named = atomic_load_explicit(&mw.condition_texts.named, memory_order_acquire) & ((1u << 30) - 1);
    return named << 32 | j->tid;
}

MW_SIGNAL_SAFE static inline _Atomic uint64_t *row_of(struct machine *m, unsigned which, uint64_t number) {
    return &m->remembered[which].row[number % PREDICATE_ROWS];
}

/* The part that follows is left out, if it is known what it was. */
MW_SIGNAL_SAFE static inline size_t recall(struct machine *m, const uint8_t *at) {
    uint64_t number = m->number = number_of(m->judged, *at);
    uint64_t kept = number ? atomic_load_explicit(row_of(m, at[1], number), memory_order_relaxed) : 0;
    m->passing = false;
    if (!number || kept >> 2 != number) return 4;
    put(&m->stack[m->used++], V_BOOL, kept & 1);
    return 4 + u16_at(at + 2) + 2;
}

MW_SIGNAL_SAFE static inline size_t keep(struct machine *m, const uint8_t *at) {
    const struct value *top = &m->stack[m->used - 1];
    if (m->number && !m->passing && top->kind == V_BOOL)
        atomic_store_explicit(row_of(m, at[1], m->number), m->number << 2 | (top->as.number != 0),
                              memory_order_relaxed);
    return 2;
}

MW_SIGNAL_SAFE static inline size_t run_short(struct machine *m, const uint8_t *at) {
    if (*at >= P_KEEP) return keep(m, at);
    if (*at >= P_RECALL_SITE) return recall(m, at);
    if (*at >= P_TEST || *at == P_AND || *at == P_OR) return run_test(m, at);
    if (*at > P_SUBTRACT) return run_unary(m, at);
    if (*at >= P_ADD) return run_sum(m, at);
    return *at < P_LESS ? push(m, at) : run_comparison(m, at);
}
#endif
