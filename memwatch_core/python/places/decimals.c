/* decimals.c - decimal.Decimal, as its C implementation lays it out: a number of libmpdec's.
 *
 * Nobody promises that layout, so it is tried: a Decimal type is read only if known numbers of it read right. */
#include "places/known_types.h"
#include "places/types.h"
#include "places/words.h"

#include <string.h>

enum { NEGATIVE = 1, INFINITE = 2, QUIET_NAN = 4, SIGNALING_NAN = 8, STATIC = 16, STATIC_DATA = 32 };
enum { DIGITS_OF_WORD = 19, WORDS = 4 };
static const uint64_t WORD_END = 10000000000000000000u;

typedef struct decimal {
    PyObject_HEAD Py_hash_t hash;
    struct {
        uint8_t flags;
        Py_ssize_t exponent;
        Py_ssize_t digits, words, room;
        const uint64_t *word; /* the least significant one first */
    } number;
    uint64_t own[WORDS];
} decimal;

static bool is_sound(const decimal *d) {
    bool own = d->number.flags & STATIC_DATA;
    Py_ssize_t digits = d->number.digits, words = d->number.words;
    if (!(d->number.flags & STATIC) || own != (d->number.word == d->own) || !d->number.word) return false;
    return digits >= 0 && words >= 0 && words <= d->number.room && (!own || words <= WORDS) &&
           digits / DIGITS_OF_WORD + (digits % DIGITS_OF_WORD != 0) == words;
}

/* All digits, with a point before the one of this number; as many as fit. */
static bool put_digits(mwpy_words *t, const decimal *d, Py_ssize_t point) {
    Py_ssize_t done = 0, in_word = (d->number.digits - 1) % DIGITS_OF_WORD + 1;
    for (Py_ssize_t i = d->number.words; i-- > 0 && !t->cut; in_word = DIGITS_OF_WORD) {
        if (d->number.word[i] >= WORD_END) return false;
        char digits[DIGITS_OF_WORD];
        uint64_t rest = d->number.word[i];
        for (Py_ssize_t k = in_word; k-- > 0; rest /= 10) digits[k] = (char)('0' + rest % 10);
        for (Py_ssize_t k = 0; k < in_word; k++, done++) {
            if (done && done == point) mwpy_say_string(t, ".");
            mwpy_say(t, &digits[k], 1);
        }
    }
    return true;
}

/* As "to-scientific-string" of the specification of decimal arithmetic. */
static bool put_number(mwpy_words *t, const decimal *d) {
    Py_ssize_t exponent = d->number.exponent, left, point;
    if (!d->number.words || __builtin_add_overflow(exponent, d->number.digits, &left)) return false;
    point = exponent <= 0 && left > -6 ? left : 1;
    if (point <= 0) mwpy_say_string(t, "0.");
    for (Py_ssize_t i = point; i < 0; i++) mwpy_say_string(t, "0");
    if (!put_digits(t, d, point)) return false;
    if (left != point) mwpy_say_format(t, "E%+zd", left - point);
    return true;
}

static bool put_decimal(mwpy_words *t, PyObject *value, PyObject *with, int level) {
    (void)with, (void)level;
    const decimal *d = (decimal *)value;
    bool right = is_sound(d);
    mwpy_say_string(t, "Decimal('");
    if (d->number.flags & NEGATIVE) mwpy_say_string(t, "-");
    if (d->number.flags & INFINITE) {
        mwpy_say_string(t, "Infinity");
    } else if (d->number.flags & (QUIET_NAN | SIGNALING_NAN)) {
        mwpy_say_string(t, d->number.flags & QUIET_NAN ? "NaN" : "sNaN");
        right = right && put_digits(t, d, 0);
    } else {
        right = right && put_number(t, d);
    }
    mwpy_say_string(t, "')");
    return right;
}

/* Makes one by the type's own C code, in a context of its module's: the program's own context is left alone, even if
 * there is none yet. */
static PyObject *make(PyTypeObject *type, const char *number) {
    PyObject *modules = PyImport_GetModuleDict();
    PyObject *name = PyUnicode_InternFromString("_decimal"), *module = mwpy_entry(modules, name);
    PyObject *key = PyUnicode_InternFromString("DefaultContext");
    PyObject *context = module && PyModule_Check(module) ? mwpy_entry(PyModule_GetDict(module), key) : NULL;
    PyObject *made = NULL;
    if (context && Py_TYPE(context)->tp_flags & Py_TPFLAGS_IMMUTABLETYPE &&
        !strcmp(Py_TYPE(context)->tp_name, "decimal.Context")) {
        PyObject *arguments = Py_BuildValue("(sO)", number, context);
        if (arguments) made = type->tp_new(type, arguments, NULL);
        Py_XDECREF(arguments);
    }
    Py_XDECREF(name);
    Py_XDECREF(key);
    PyErr_Clear();
    return made;
}

static bool reads_right(PyTypeObject *type, const char *number) {
    char expected[MWPY_WORDS];
    mwpy_words t = {.most = MWPY_WORDS};
    PyObject *made = make(type, number);
    bool read = made && Py_IS_TYPE(made, type) && put_decimal(&t, made, NULL, 0);
    Py_XDECREF(made);
    int n = PyOS_snprintf(expected, sizeof expected, "Decimal('%s')", number);
    return read && t.n == (size_t)n && !memcmp(t.at, expected, t.n);
}

/* The short ones first: what they say isn't behind a pointer. */
static bool all_read_right(PyTypeObject *type) {
    static const char *const known[] = {
        "0",
        "-0",
        "7",
        "1.50",
        "-1234567890.123456789",
        "0.000001",
        "1E-7",
        "0E+3",
        "1E+400",
        "NaN",
        "-sNaN123",
        "-Infinity",
        "9999999999999999999",
        "10000000000000000000",
        "-123456789012345678901234567890.12345678901",
        "1.23456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789E+108",
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(known); i++)
        if (!reads_right(type, known[i])) return false;
    return true;
}

mwpy_putter mwpy_decimal_putter(PyTypeObject *type) {
    static const PyTypeObject *last;
    static unsigned last_version;
    if (!mwpy_is_c_type(type, "decimal.Decimal", sizeof(decimal))) return NULL;
    if (type == last && last_version && last_version == mwpy_version_of(type)) return put_decimal;
    if (!all_read_right(type)) return NULL;
    last = type;
    last_version = mwpy_version_of(type);
    return put_decimal;
}
