/* remembered.h - parts of a condition that depend on the site, the thread or the path alone: judged once for each. */
#ifndef MEMWATCH_REMEMBERED_H
#define MEMWATCH_REMEMBERED_H
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"
#include "journal/predicate.h"

enum { REMEMBERED_MOST = 8, REMEMBERED_BYTES = 6 /* that one of them adds to a program */ };
enum { REMEMBERING_MAX = PREDICATE_MAX + REMEMBERED_MOST * REMEMBERED_BYTES };

/* A valid program, with the instructions that recall and keep such parts, into `out`: of at most REMEMBERING_MAX bytes.
 * Returns how many bytes; *parts: how many struct remembered it wants. */
MW_HIDDEN size_t remembering(const uint8_t *program, size_t length, uint8_t *out, unsigned *parts);
#endif
