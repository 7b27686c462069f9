/* characters.h - of UTF-8 text: which character is there, and what it counts as in SQL. */
#ifndef MEMWATCH_TEXT_CHARACTERS_H
#define MEMWATCH_TEXT_CHARACTERS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The character at `at`, which is before `stop`; *next is where the one after it begins. */
static inline uint32_t sql_character(const char *at, const char *stop, const char **next) {
    unsigned char c = (unsigned char)*at;
    int more = c < 0xc0 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    uint32_t code = more ? c & (0x3fu >> more) : c;
    for (at++; more && at < stop; more--, at++) code = code << 6 | ((unsigned char)*at & 0x3f);
    *next = at;
    return code;
}

/* A letter, a digit or an underscore; beyond ASCII whatever is no punctuation, symbol, space or control character: what
 * databases take for a part of a name, and marks and characters that no Unicode has yet. */
bool sql_is_word(uint32_t c);

bool sql_is_space(uint32_t c);

#endif
