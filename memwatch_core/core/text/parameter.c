/* parameter.c - see parameter.h. */
#include "text/parameter.h"

size_t sql_digits(char *out, uint64_t number) {
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
        "49505152535455565758596061626364656667686970717273747576777879808182838485868788899091929394959697"
        "9899";
    char reversed[20];
    char *at = reversed + sizeof reversed;
    for (; number >= 100; number /= 100) memcpy(at -= 2, pairs + number % 100 * 2, 2);
    if (number >= 10)
        memcpy(at -= 2, pairs + number * 2, 2);
    else
        *--at = (char)('0' + number);
    size_t n = (size_t)(reversed + sizeof reversed - at);
    memcpy(out, at, n);
    return n;
}

uint64_t sql_hash(const uint64_t key[2], char kind, const void *bytes, size_t n) {
    unsigned char form[SQL_FORM_MAX];
    form[0] = (unsigned char)kind;
    memcpy(form + 1, bytes, n);
    return siphash(key, form, n + 1);
}

uint64_t sql_hash_integer(const uint64_t key[2], int64_t number) {
    char digits[21];
    size_t n = 0;
    if (number < 0) digits[n++] = '-';
    n += sql_digits(digits + n, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
    return sql_hash(key, 'n', digits, n);
}

bool sql_hash_double(const uint64_t key[2], double number, uint64_t *hash) {
    if (!(number > -9e18 && number < 9e18)) return false;
    int64_t whole = (int64_t)number;
    *hash = number == (double)whole ? sql_hash_integer(key, whole) : sql_hash(key, 'f', &number, sizeof number);
    return true;
}
