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
enum { CELL_HEAD = 4, CELL_INT = 4 /* a kind: memwatch_core/python/places/cell.h, docs/journal-format.md */ };

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

/* Whether what was stored is a cell that says a number. */
MW_SIGNAL_SAFE static inline bool is_whole_cell(const struct judged *j, const uint8_t *cell) {
    return !j->hidden && !j->at && j->length >= CELL_HEAD + sizeof(int64_t) && cell[0] == CELL_INT && !j->begins;
}

MW_SIGNAL_SAFE static inline bool is_stored(const struct judged *j, uint32_t offset, uint32_t n) {
    return !j->hidden && offset >= j->at && offset + (uint64_t)n <= (uint64_t)j->at + j->length;
}

/* Whether the value on top decides, so that the rest of "and" or "or" is left out. */
MW_SIGNAL_SAFE static inline size_t left_out(const struct value *top, const uint8_t *at) {
    return value_verdict(top) == (at[1] == P_AND ? NOT_MET : MET) ? u16_at(at + 2) : 0;
}

/* The following run instructions; how many bytes, 0: there is no short way. */
MW_SIGNAL_SAFE static inline size_t run_test(struct machine *m, const uint8_t *at) {
    const struct judged *j = m->judged;
    const uint8_t *bytes = at[1] & 1 ? j->after : j->before;
    struct value *top = m->stack + m->used;
    int64_t number, other;
    switch (*at) {
    case P_TEST:
        if (unlikely(!is_stored(j, u32_at(at + 3), sizeof number))) return 0;
        memcpy(&number, bytes + (u32_at(at + 3) - j->at), sizeof number);
        memcpy(&other, at + 7, sizeof other);
        put(top, V_BOOL, test(at[2], number, other));
        m->used++;
        return 15;
    case P_TEST_CELL:
        if (unlikely(!is_whole_cell(j, bytes))) return 0;
        memcpy(&number, bytes + CELL_HEAD, sizeof number);
        memcpy(&other, at + 3, sizeof other);
        put(top, V_BOOL, test(at[2], number, other));
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

MW_SIGNAL_SAFE static inline size_t push(struct machine *m, int64_t number, size_t n) {
    put(&m->stack[m->used++], V_INT, number);
    return n;
}

MW_SIGNAL_SAFE static inline size_t run_number(struct machine *m, const uint8_t *at) {
    const struct judged *j = m->judged;
    const uint8_t *bytes = at[1] & 1 ? j->after : j->before;
    int64_t number;
    switch (*at) {
    case P_INT: memcpy(&number, at + 1, sizeof number); return push(m, number, 9);
    case P_NUMBER:
        if (at[2] != 'q' || !at[3] || !is_stored(j, u32_at(at + 4), sizeof number)) return 0;
        memcpy(&number, bytes + (u32_at(at + 4) - j->at), sizeof number);
        return push(m, number, 8);
    case P_CELL:
        if (!is_whole_cell(j, bytes)) return 0;
        memcpy(&number, bytes + CELL_HEAD, sizeof number);
        return push(m, number, 2);
    default: return 0;
    }
}

MW_SIGNAL_SAFE static inline size_t run_unary(struct machine *m, const uint8_t *at) {
    struct value *top = m->stack + m->used - 1;
    __int128 negated;
    if ((*at != P_ABS && *at != P_NEGATE) || top->kind != V_INT) return 0;
    if (__builtin_sub_overflow((__int128)0, top->as.number, &negated)) return 0;
    if (*at == P_NEGATE || top->as.number < 0) top->as.number = negated;
    return 1;
}

MW_SIGNAL_SAFE static inline size_t run_sum(struct machine *m, const uint8_t *at) {
    struct value *a = m->stack + m->used - 2, *b = a + 1;
    __int128 sum;
    if (a->kind != V_INT || b->kind != V_INT) return 0;
    bool failed = *at == P_ADD ? __builtin_add_overflow(a->as.number, b->as.number, &sum)
                               : __builtin_sub_overflow(a->as.number, b->as.number, &sum);
    if (failed) return 0;
    a->as.number = sum;
    m->used--;
    return 1;
}

MW_SIGNAL_SAFE static inline size_t run_comparison(struct machine *m, const uint8_t *at) {
    struct value *a = m->stack + m->used - 2, *b = a + 1;
    if (*at < P_LESS || *at > P_GREATER_EQUAL || a->kind != V_INT || b->kind != V_INT) return 0;
    int64_t left = (int64_t)a->as.number, right = (int64_t)b->as.number;
    if (left != a->as.number || right != b->as.number) return 0; /* longer ones */
    put(a, V_BOOL, test(*at, left, right));
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
    return *at < P_LESS ? run_number(m, at) : run_comparison(m, at);
}
#endif
