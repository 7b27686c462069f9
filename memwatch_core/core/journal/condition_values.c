/* condition_values.c - see condition_values.h. Values are compared as Python compares them, but never raise: what
 * Python would refuse, and what isn't known, is unknown. */
#include "journal/condition_values.h"

#include <string.h>

MW_SIGNAL_SAFE static bool is_integral(const struct value *v) { return v->kind == V_INT || v->kind == V_BOOL; }
MW_SIGNAL_SAFE static bool is_number(const struct value *v) { return is_integral(v) || v->kind == V_FLOAT; }
MW_SIGNAL_SAFE static bool is_text(const struct value *v) { return v->kind == V_TEXT || v->kind == V_BYTES; }
MW_SIGNAL_SAFE static double real_of(const struct value *v) {
    return v->kind == V_FLOAT ? v->as.real : (double)v->as.number;
}

MW_SIGNAL_SAFE enum verdict value_verdict(const struct value *v) {
    switch (v->kind) {
    case V_BOOL:
    case V_INT: return v->as.number ? MET : NOT_MET;
    case V_FLOAT: return v->as.real != 0 ? MET : NOT_MET;
    case V_TEXT:
    case V_BYTES: return v->n ? MET : NOT_MET;
    case V_NONE:
    case V_ABSENT: return NOT_MET;
    default: return NOT_KNOWN;
    }
}

/* ---- comparisons ---- */

enum order { LESS = -1, SAME = 0, MORE = 1, NONE_OF_THEM = 2 /* NaN */ };

/* A number and one that no float can be equal to: compared as Python does, exactly. */
MW_SIGNAL_SAFE static enum order order_mixed(double real, __int128 number) {
    if (real != real) return NONE_OF_THEM;
    if (real >= 0x1p126) return MORE;
    if (real <= -0x1p126) return LESS;
    __int128 whole = (__int128)real;
    if (whole != number) return whole < number ? LESS : MORE;
    double rest = real - (double)whole;
    return rest < 0 ? LESS : rest > 0 ? MORE : SAME;
}

MW_SIGNAL_SAFE static enum order order_numbers(const struct value *a, const struct value *b) {
    if (is_integral(a) && is_integral(b))
        return a->as.number < b->as.number ? LESS : a->as.number > b->as.number ? MORE : SAME;
    if (a->kind == V_FLOAT && b->kind == V_FLOAT) {
        if (a->as.real != a->as.real || b->as.real != b->as.real) return NONE_OF_THEM;
        return a->as.real < b->as.real ? LESS : a->as.real > b->as.real ? MORE : SAME;
    }
    if (a->kind == V_FLOAT) return order_mixed(a->as.real, b->as.number);
    enum order other = order_mixed(b->as.real, a->as.number);
    return other == LESS ? MORE : other == MORE ? LESS : other;
}

/* UTF-8 is in the order of its characters. *known: false if what is cut off would decide. */
MW_SIGNAL_SAFE static enum order order_texts(const struct value *a, const struct value *b, bool *known) {
    uint32_t n = a->n < b->n ? a->n : b->n;
    int differs = memcmp(a->as.at, b->as.at, n);
    *known = true;
    if (differs) return differs < 0 ? LESS : MORE;
    bool a_ends = a->n == n && !a->cut, b_ends = b->n == n && !b->cut;
    if (a_ends && b_ends) return SAME;
    if (a_ends) return LESS;
    if (b_ends) return MORE;
    *known = false;
    return SAME;
}

MW_SIGNAL_SAFE static struct value judge_order(enum predicate_op op, enum order order) {
    bool ordered = order != NONE_OF_THEM;
    switch (op) {
    case P_LESS: return value_bool(order == LESS);
    case P_LESS_EQUAL: return value_bool(ordered && order != MORE);
    case P_EQUAL: return value_bool(order == SAME);
    case P_NOT_EQUAL: return value_bool(order != SAME);
    case P_GREATER: return value_bool(order == MORE);
    default: return value_bool(ordered && order != LESS);
    }
}

/* Values that have no order, or are of different kinds. */
MW_SIGNAL_SAFE static struct value compare_kinds(enum predicate_op op, const struct value *a, const struct value *b) {
    if (op != P_EQUAL && op != P_NOT_EQUAL) return value_of(V_UNKNOWN);
    /* What is only shown in words may be a number of a type of its own, or have an __eq__. It is no None. */
    const struct value *other = a->kind == V_SHOWN ? b : a;
    if ((a->kind == V_SHOWN || b->kind == V_SHOWN) && other->kind != V_NONE && other->kind != V_ABSENT)
        return value_of(V_UNKNOWN);
    bool same = a->kind == b->kind;
    return value_bool(same == (op == P_EQUAL));
}

MW_SIGNAL_SAFE struct value value_compare(enum predicate_op op, const struct value *a, const struct value *b) {
    if (a->kind == V_UNKNOWN || b->kind == V_UNKNOWN) return value_of(V_UNKNOWN);
    if (is_number(a) && is_number(b)) return judge_order(op, order_numbers(a, b));
    if (!is_text(a) || a->kind != b->kind) return compare_kinds(op, a, b);
    bool known;
    enum order order = order_texts(a, b, &known);
    return known ? judge_order(op, order) : value_of(V_UNKNOWN);
}

/* ---- arithmetic ---- */

MW_SIGNAL_SAFE static bool divide_floor(__int128 a, __int128 b, __int128 *quotient, __int128 *rest) {
    __int128 negated;
    if (!b || (b == -1 && __builtin_sub_overflow((__int128)0, a, &negated))) return false;
    *quotient = a / b;
    *rest = a % b;
    if (*rest && (*rest < 0) != (b < 0)) {
        *rest += b;
        --*quotient;
    }
    return true;
}

MW_SIGNAL_SAFE static struct value compute_integers(enum predicate_op op, __int128 a, __int128 b) {
    __int128 result = 0, rest = 0;
    bool failed;
    switch (op) {
    case P_ADD: failed = __builtin_add_overflow(a, b, &result); break;
    case P_SUBTRACT: failed = __builtin_sub_overflow(a, b, &result); break;
    case P_MULTIPLY: failed = __builtin_mul_overflow(a, b, &result); break;
    case P_FLOOR_DIVIDE: failed = !divide_floor(a, b, &result, &rest); break;
    default: failed = !divide_floor(a, b, &rest, &result); break;
    }
    return failed ? value_of(V_UNKNOWN) : value_int(result);
}

/* Towards minus infinity; from 2^53 on, every float is whole. */
MW_SIGNAL_SAFE static double floor_of(double x) {
    if (!(x < 0x1p53 && x > -0x1p53)) return x;
    double whole = (double)(int64_t)x;
    return whole > x ? whole - 1 : whole;
}

MW_SIGNAL_SAFE static struct value compute_reals(enum predicate_op op, double a, double b) {
    switch (op) {
    case P_ADD: return value_float(a + b);
    case P_SUBTRACT: return value_float(a - b);
    case P_MULTIPLY: return value_float(a * b);
    default: break;
    }
    if (b == 0) return value_of(V_UNKNOWN);
    double quotient = a / b;
    if (op == P_DIVIDE) return value_float(quotient);
    if (op == P_FLOOR_DIVIDE) return value_float(floor_of(quotient));
    if (!(quotient < 0x1p53 && quotient > -0x1p53)) return value_of(V_UNKNOWN);
    return value_float(a - floor_of(quotient) * b);
}

MW_SIGNAL_SAFE struct value value_compute(enum predicate_op op, const struct value *a, const struct value *b) {
    if (!is_number(a) || !is_number(b)) return value_of(V_UNKNOWN);
    if (op != P_DIVIDE && is_integral(a) && is_integral(b)) return compute_integers(op, a->as.number, b->as.number);
    return compute_reals(op, real_of(a), real_of(b));
}

MW_SIGNAL_SAFE static struct value length_of(const struct value *v) {
    if (!is_text(v)) return value_of(V_UNKNOWN);
    if (v->cut) return v->whole ? value_int((__int128)v->whole) : value_of(V_UNKNOWN);
    if (v->kind == V_BYTES) return value_int(v->n);
    uint32_t characters = 0;
    for (uint32_t i = 0; i < v->n; i++) characters += (v->as.at[i] & 0xC0) != 0x80;
    return value_int(characters);
}

MW_SIGNAL_SAFE struct value value_unary(enum predicate_op op, const struct value *a) {
    if (op == P_LENGTH) return length_of(a);
    if (!is_number(a)) return value_of(V_UNKNOWN);
    if (a->kind == V_FLOAT) return value_float(op == P_NEGATE || a->as.real < 0 ? -a->as.real : a->as.real);
    if (op == P_ABS && a->as.number >= 0) return value_int(a->as.number);
    return compute_integers(P_SUBTRACT, 0, a->as.number);
}

/* ---- texts ---- */

MW_SIGNAL_SAFE struct value value_in(const struct value *part, const struct value *whole) {
    if (!is_text(part) || part->kind != whole->kind || part->cut) return value_of(V_UNKNOWN);
    for (uint32_t i = 0; i + (uint64_t)part->n <= whole->n; i++)
        if (!memcmp(whole->as.at + i, part->as.at, part->n)) return value_bool(true);
    return whole->cut ? value_of(V_UNKNOWN) : value_bool(false);
}

MW_SIGNAL_SAFE static uint32_t character_end(const struct value *text, uint32_t at) {
    at++;
    while (at < text->n && (text->as.at[at] & 0xC0) == 0x80) at++;
    return at;
}

/* Of a text that is cut, a pattern that ends in "*" may be met by what is known of it. */
MW_SIGNAL_SAFE static enum verdict like(const struct value *text, const struct value *pattern) {
    const uint8_t *p = pattern->as.at, *t = text->as.at;
    uint32_t i = 0, j = 0, star = UINT32_MAX, from = 0;
    while (i < text->n) {
        if (j < pattern->n && p[j] == '*') {
            star = j++;
            from = i;
        } else if (j < pattern->n && (p[j] == '?' || p[j] == t[i])) {
            i = p[j] == '?' ? character_end(text, i) : i + 1;
            j++;
        } else if (star != UINT32_MAX) {
            j = star + 1;
            i = from = character_end(text, from);
        } else {
            return NOT_MET;
        }
    }
    if (text->cut) return j == pattern->n && j && p[j - 1] == '*' ? MET : NOT_KNOWN;
    while (j < pattern->n && p[j] == '*') j++;
    return j == pattern->n ? MET : NOT_MET;
}

MW_SIGNAL_SAFE struct value value_like(const struct value *text, const struct value *pattern) {
    if (text->kind == V_NONE || text->kind == V_ABSENT) return value_bool(false);
    if ((text->kind != V_TEXT && text->kind != V_SHOWN) || pattern->kind != V_TEXT || pattern->cut)
        return value_of(V_UNKNOWN);
    enum verdict verdict = like(text, pattern);
    return verdict == NOT_KNOWN ? value_of(V_UNKNOWN) : value_bool(verdict == MET);
}
