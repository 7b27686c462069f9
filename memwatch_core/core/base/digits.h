/* digits.h - numbers as text, where stdio can't be called. Each returns where the text ends; no zero is put behind it.
 */
#ifndef MEMWATCH_DIGITS_H
#define MEMWATCH_DIGITS_H
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"

/* At most 20 bytes. */
MW_SIGNAL_SAFE static inline char *put_decimal(char *to, uint64_t number) {
    char digits[20];
    size_t n = 0;
    do digits[n++] = (char)('0' + number % 10);
    while (number /= 10);
    while (n) *to++ = digits[--n];
    return to;
}

/* The lowest `digits` of it. */
MW_SIGNAL_SAFE static inline char *put_hexadecimal(char *to, uint64_t number, unsigned digits) {
    while (digits--) *to++ = "0123456789abcdef"[number >> 4 * digits & 15];
    return to;
}
#endif
