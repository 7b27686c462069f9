/* parameter.h - keyed hashes of a statement's parameters: SipHash of a form that is the same for equal values.
 * adapter/parameters.py defines the forms; these are what most parameters have. */
#ifndef MEMWATCH_TEXT_PARAMETER_H
#define MEMWATCH_TEXT_PARAMETER_H
#include "text/siphash.h"
#include <stdbool.h>

enum { SQL_FORM_MAX = 4096 /* bytes; what is longer is stood for by a digest */ };

/* Of `kind`, followed by n < SQL_FORM_MAX bytes. */
uint64_t sql_hash(const uint64_t key[2], char kind, const void *bytes, size_t n);

uint64_t sql_hash_integer(const uint64_t key[2], int64_t number);

/* False: the adapter makes the form of this one, which is no number, or of more than 62 bits. */
bool sql_hash_double(const uint64_t key[2], double number, uint64_t *hash);

/* Decimal digits; returns how many. `out` has room for 20. */
size_t sql_digits(char *out, uint64_t number);

#endif
