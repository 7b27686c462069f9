/* bytecode.c - see bytecode.h.
 *
 * What an expression consists of is found by walking back from its last instruction, counting the values that are still
 * to come. Only straight-line code of well-known instructions is followed: of anything else nothing is said. */
#include "origins/bytecode.h"

#include <string.h>

#include <opcode.h>

typedef struct code_units {
    PyObject *bytes;
    const uint8_t *at;
    int n;
    PyCodeObject *code;
} code_units;

static bool open_code(code_units *units, PyCodeObject *code) {
    PyObject *bytes = PyCode_GetCode(code);
    if (!bytes) PyErr_Clear();
    *units = (code_units){.bytes = bytes, .code = code};
    if (!bytes) return false;
    units->at = (const uint8_t *)PyBytes_AS_STRING(bytes);
    units->n = (int)(PyBytes_GET_SIZE(bytes) / 2);
    return true;
}

static int op_at(const code_units *units, int unit) { return unit < 0 || unit >= units->n ? -1 : units->at[2 * unit]; }

static int arg_at(const code_units *units, int unit) {
    int arg = units->at[2 * unit + 1];
    for (int i = 1; i < 4 && op_at(units, unit - i) == EXTENDED_ARG; i++) arg |= units->at[2 * (unit - i) + 1] << 8 * i;
    return arg;
}

static bool is_filler(int op) { return op == CACHE || op == EXTENDED_ARG || op == NOP; }

/* The instruction before a unit; -1: there is none. */
static int before(const code_units *units, int unit) {
    do unit--;
    while (unit >= 0 && is_filler(op_at(units, unit)));
    return unit;
}

/* ---- single instructions ----------------------------------------------------------------------------------------- */

typedef struct variable {
    enum mwpy_where where;
    int index; /* -1: none */
} variable;

static bool is_same(variable a, variable b) { return a.index >= 0 && a.where == b.where && a.index == b.index; }

/* The variable that an instruction pushes alone. */
static variable loaded(const code_units *units, int unit) {
    static const variable none = {MWPY_ITEM, -1};
    int arg = unit < 0 ? 0 : arg_at(units, unit);
    switch (op_at(units, unit)) {
    case LOAD_FAST:
    case LOAD_DEREF:
#ifdef LOAD_FAST_CHECK
    case LOAD_FAST_CHECK:
#endif
#ifdef LOAD_FAST_BORROW
    case LOAD_FAST_BORROW:
#endif
        return (variable){MWPY_LOCAL, arg};
    case LOAD_NAME: return (variable){MWPY_NAME, arg};
    case LOAD_GLOBAL: return arg & 1 ? none : (variable){MWPY_GLOBAL, arg >> 1};
    default: return none;
    }
}

static int attribute_of(const code_units *units, int unit) {
#if PY_VERSION_HEX >= 0x030C0000
    return arg_at(units, unit) >> 1;
#else
    return arg_at(units, unit);
#endif
}

/* Opcodes that push a value, or two, and take none. */
static const uint8_t pushing_one[] = {
    LOAD_FAST,        LOAD_DEREF, LOAD_NAME, LOAD_CONST, PUSH_NULL,
#ifdef LOAD_FAST_CHECK
    LOAD_FAST_CHECK,
#endif
#ifdef LOAD_FAST_BORROW
    LOAD_FAST_BORROW,
#endif
#ifdef LOAD_SMALL_INT
    LOAD_SMALL_INT,
#endif
};
static const uint8_t pushing_two[] = {
#ifdef LOAD_FAST_LOAD_FAST
    LOAD_FAST_LOAD_FAST,
#endif
#ifdef LOAD_FAST_BORROW_LOAD_FAST_BORROW
    LOAD_FAST_BORROW_LOAD_FAST_BORROW,
#endif
    CACHE, /* is none of the instructions that are looked at */
};

static bool is_in(const uint8_t *opcodes, size_t n, int op) { return op > CACHE && memchr(opcodes, op, n); }
#define IS_IN(opcodes, op) is_in(opcodes, sizeof(opcodes), op)

/* How many values it takes and leaves; false: that isn't known, or it is no straight-line code. */
static bool effect(const code_units *units, int unit, int *takes, int *leaves) {
    int op = op_at(units, unit), arg = arg_at(units, unit);
    *takes = 0, *leaves = 1 + IS_IN(pushing_two, op);
    if (IS_IN(pushing_one, op) || IS_IN(pushing_two, op)) return true;
    switch (op) {
    case LOAD_GLOBAL: *leaves = 1 + (arg & 1); return true;
    case LOAD_ATTR: *takes = 1;
#if PY_VERSION_HEX >= 0x030C0000
        *leaves = 1 + (arg & 1);
#endif
        return true;
    case UNARY_NEGATIVE:
    case UNARY_INVERT:
    case UNARY_NOT: *takes = 1; return true;
    case BINARY_OP:
#ifdef BINARY_SUBSCR
    case BINARY_SUBSCR:
#endif
    case COMPARE_OP: *takes = 2; return true;
    case BUILD_TUPLE:
    case BUILD_LIST: *takes = arg; return true;
    case CALL: *takes = arg + 2; return true;
#if PY_VERSION_HEX < 0x030C0000
    case LOAD_METHOD: *takes = 1, *leaves = 2; return true;
    case PRECALL: *leaves = 0; return true;
#endif
#ifdef KW_NAMES
    case KW_NAMES: *leaves = 0; return true;
#endif
#ifdef CALL_KW
    case CALL_KW: *takes = arg + 3; return true;
#endif
    default: return false;
    }
}

/* ---- expressions ------------------------------------------------------------------------------------------------- */

typedef struct expression {
    int first;          /* its first instruction, if all of it was understood; else -1 */
    variable wanted;    /* is it in it? */
    variable attribute; /* of this variable, if there is one */
    bool has_wanted;
    bool calls; /* something that may run code of the program's */
} expression;

/* Of builtins: they run code of the program's only for arguments that have methods of their own for them. */
static bool is_harmless(PyObject *name) {
    static const char *const names[] = {"abs", "bool", "divmod", "float", "hash",  "id",  "int",
                                        "len", "max",  "min",    "ord",   "round", "sum", "isinstance"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (PyUnicode_CompareWithASCIIString(name, names[i]) == 0) return true;
    return false;
}

static PyObject *name_of(PyCodeObject *code, enum mwpy_where where, int index) {
    PyObject *names = where == MWPY_LOCAL ? code->co_localsplusnames : code->co_names;
    return index >= 0 && index < PyTuple_GET_SIZE(names) ? PyTuple_GET_ITEM(names, index) : NULL;
}

static bool may_run_code(const code_units *units, variable function) {
    PyObject *name = function.where == MWPY_LOCAL ? NULL : name_of(units->code, function.where, function.index);
    return !name || !is_harmless(name);
}

/* Whether an instruction is about a call that may run code of the program's. */
static bool is_call(const code_units *units, int unit) {
    int op = op_at(units, unit), arg = arg_at(units, unit);
    if (op == LOAD_GLOBAL && arg & 1) return may_run_code(units, (variable){MWPY_GLOBAL, arg >> 1});
#if PY_VERSION_HEX >= 0x030D0000
    if (op == PUSH_NULL) return may_run_code(units, loaded(units, before(units, unit)));
    if (op == CALL_KW) return true;
#else
    if (op == PUSH_NULL) return may_run_code(units, loaded(units, unit + 1));
    if (op == KW_NAMES) return true;
#endif
#if PY_VERSION_HEX >= 0x030C0000
    return op == LOAD_ATTR && arg & 1; /* a method */
#else
    return op == LOAD_METHOD;
#endif
}

/* Execution comes from elsewhere to what is behind it: an await, a yield. */
static bool is_resumed(int op) {
#ifdef END_SEND
    if (op == END_SEND) return true;
#endif
    return op == RESUME || op == JUMP_BACKWARD_NO_INTERRUPT || op == CALL_FUNCTION_EX;
}

static void look_at(const code_units *units, int unit, expression *found) {
    int op = op_at(units, unit), arg = arg_at(units, unit);
    found->calls |= is_call(units, unit);
    variable one = loaded(units, unit);
    if (found->wanted.where == MWPY_ATTRIBUTE) {
        found->has_wanted |= op == LOAD_ATTR && attribute_of(units, unit) == found->wanted.index &&
                             is_same(loaded(units, before(units, unit)), found->attribute);
        return;
    }
    found->has_wanted |= is_same(one, found->wanted);
    if (IS_IN(pushing_two, op) && found->wanted.where == MWPY_LOCAL)
        found->has_wanted |= arg >> 4 == found->wanted.index || (arg & 15) == found->wanted.index;
}

/* Goes through the expression whose last instruction is at `unit`. */
static void walk_back(const code_units *units, int unit, expression *found) {
    int missing = 1, first = unit;
    found->first = -1;
    for (; missing > 0; unit = before(units, unit)) {
        int takes, leaves;
        if (unit < 0) return;
        if (is_resumed(op_at(units, unit))) {
            found->calls = true;
            return;
        }
        if (!effect(units, unit, &takes, &leaves)) return;
        look_at(units, unit, found);
        missing += takes - leaves;
        first = unit;
    }
    found->first = first;
}

static bool is_jump_forward(int op) {
    switch (op) {
    case JUMP_FORWARD:
    case FOR_ITER:
    case SEND:
#ifdef POP_JUMP_FORWARD_IF_TRUE
    case POP_JUMP_FORWARD_IF_TRUE:
    case POP_JUMP_FORWARD_IF_FALSE:
    case POP_JUMP_FORWARD_IF_NONE:
    case POP_JUMP_FORWARD_IF_NOT_NONE:
    case JUMP_IF_TRUE_OR_POP:
    case JUMP_IF_FALSE_OR_POP:
#else
    case POP_JUMP_IF_TRUE:
    case POP_JUMP_IF_FALSE:
    case POP_JUMP_IF_NONE:
    case POP_JUMP_IF_NOT_NONE:
#endif
        return true;
    default: return false;
    }
}

/* Whether the last instruction may have been reached otherwise than from the first one: x = 0 if y else x + 1. */
static bool is_jumped_into(const code_units *units, int first, int last) {
    for (int unit = 0; unit < last; unit++) {
        if (!is_jump_forward(op_at(units, unit))) continue;
        int target = unit + 1 + arg_at(units, unit);
        while (unit + 1 < last && op_at(units, unit + 1) == CACHE) unit++, target++;
        if (first < target && target <= last) return true;
    }
    return false;
}

static bool is_operator(const code_units *units, int unit) {
    int op = op_at(units, unit);
    return op == UNARY_NEGATIVE || op == UNARY_INVERT || (op == BINARY_OP && arg_at(units, unit) < NB_INPLACE_ADD);
}

static bool is_computed(const code_units *units, int store, variable target) {
    expression found = {.wanted = target};
    int last = before(units, store);
    if (target.where == MWPY_ATTRIBUTE) {
        found.attribute = loaded(units, last);
        if (found.attribute.index < 0) return false;
        last = before(units, last);
    }
    if (!is_operator(units, last)) return false;
    walk_back(units, last, &found);
    return found.first >= 0 && found.has_wanted && !is_jumped_into(units, found.first, store);
}

/* ---- what others ask --------------------------------------------------------------------------------------------- */

/* Which of two local variables that one instruction stores to is meant. */
static int one_of(PyCodeObject *code, int first, int second, PyObject *called) {
    PyObject *a = name_of(code, MWPY_LOCAL, first), *b = name_of(code, MWPY_LOCAL, second);
    if (a && called && PyUnicode_Compare(a, called) == 0) return first;
    return b && called && PyUnicode_Compare(b, called) == 0 ? second : -1;
}

static mwpy_binding binding(const code_units *units, int unit, PyObject *called) {
    int op = op_at(units, unit), arg = unit < 0 ? 0 : arg_at(units, unit);
    mwpy_binding found = {MWPY_ACT_STORE, MWPY_LOCAL, arg, NULL, false};
    switch (op) {
    case STORE_FAST: { /* before 3.13, two of them may be executed as one */
        bool two = PY_VERSION_HEX < 0x030D0000 && op_at(units, unit + 1) == STORE_FAST;
        if (two) found.index = one_of(units->code, arg, arg_at(units, unit + 1), called);
        break;
    }
#ifdef STORE_FAST_STORE_FAST
    case STORE_FAST_STORE_FAST: found.index = one_of(units->code, arg >> 4, arg & 15, called); break;
    case STORE_FAST_LOAD_FAST: found.index = arg >> 4; break;
#endif
    case STORE_DEREF: break;
    case STORE_NAME: found.where = MWPY_NAME; break;
    case STORE_GLOBAL: found.where = MWPY_GLOBAL; break;
    case STORE_ATTR: found.where = MWPY_ATTRIBUTE; break;
#ifdef STORE_SLICE
    case STORE_SLICE:
#endif
    case STORE_SUBSCR: found.where = MWPY_ITEM; break;
    default: found.act = MWPY_ACT_DELETE;
    }
    if (found.act == MWPY_ACT_STORE) return found;
    switch (op) {
    case DELETE_FAST:
    case DELETE_DEREF: break;
    case DELETE_NAME: found.where = MWPY_NAME; break;
    case DELETE_GLOBAL: found.where = MWPY_GLOBAL; break;
    case DELETE_ATTR: found.where = MWPY_ATTRIBUTE; break;
    case DELETE_SUBSCR: found.where = MWPY_ITEM; break;
    default: found.act = MWPY_ACT_OTHER;
    }
    return found;
}

mwpy_binding mwpy_binding_at(PyCodeObject *code, int unit, PyObject *called) {
    code_units units;
    if (!open_code(&units, code)) return (mwpy_binding){0};
    if (is_filler(op_at(&units, unit))) unit = before(&units, unit);
    mwpy_binding found = binding(&units, unit, called);
    if (found.where != MWPY_ITEM) found.name = name_of(code, found.where, found.index);
    if (found.act == MWPY_ACT_STORE && found.name)
        found.computed = is_computed(&units, unit, (variable){found.where, found.index});
    Py_DECREF(units.bytes);
    return found;
}

bool mwpy_adds_a_call(PyCodeObject *code, int unit) {
    code_units units;
    if (!open_code(&units, code)) return false;
    bool in_place = op_at(&units, unit) == BINARY_OP && arg_at(&units, unit) >= NB_INPLACE_ADD &&
                    arg_at(&units, unit) <= NB_INPLACE_XOR;
    expression found = {.wanted = {MWPY_ITEM, -1}};
    int last = before(&units, unit);
    if (in_place) walk_back(&units, last, &found);
    bool calls = found.calls || (in_place && found.first < 0 && op_at(&units, last) == CALL);
    Py_DECREF(units.bytes);
    return calls;
}
