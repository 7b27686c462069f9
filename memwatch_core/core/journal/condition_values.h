/* condition_values.h - the values that a predicate computes with. */
#ifndef MEMWATCH_CONDITION_VALUES_H
#define MEMWATCH_CONDITION_VALUES_H
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"
#include "journal/predicate.h"

enum value_kind { V_UNKNOWN, V_ABSENT, V_NONE, V_BOOL, V_INT, V_FLOAT, V_TEXT, V_BYTES, V_SHOWN };

struct value {
    enum value_kind kind;
    bool cut;       /* of a text: only its beginning is known */
    uint32_t n;     /* bytes of it that are known */
    uint64_t whole; /* of a text that is cut: how many characters or bytes it has; 0: not known */
    union {
        __int128 number; /* of BOOL as well */
        double real;
        const uint8_t *at;
    } as;
};

MW_SIGNAL_SAFE static inline struct value value_of(enum value_kind kind) { return (struct value){.kind = kind}; }
MW_SIGNAL_SAFE static inline struct value value_bool(bool is) {
    return (struct value){.kind = V_BOOL, .as.number = is};
}
MW_SIGNAL_SAFE static inline struct value value_int(__int128 number) {
    return (struct value){.kind = V_INT, .as.number = number};
}
MW_SIGNAL_SAFE static inline struct value value_float(double real) {
    return (struct value){.kind = V_FLOAT, .as.real = real};
}
MW_SIGNAL_SAFE static inline struct value value_text(enum value_kind kind, const void *at, uint64_t n) {
    return (struct value){.kind = kind, .n = (uint32_t)n, .as.at = at};
}

MW_HIDDEN struct value value_compare(enum predicate_op op, const struct value *a, const struct value *b);
MW_HIDDEN struct value value_compute(enum predicate_op op, const struct value *a, const struct value *b);
MW_HIDDEN struct value value_unary(enum predicate_op op, const struct value *a);
MW_HIDDEN struct value value_in(const struct value *part, const struct value *whole);
MW_HIDDEN struct value value_like(const struct value *text, const struct value *pattern);
/* True, false, or neither. */
MW_HIDDEN enum verdict value_verdict(const struct value *v);
#endif
