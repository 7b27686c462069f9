/* glob.h - patterns of names: "*" stands for any characters, "?" for one. */
#ifndef MEMWATCH_PYTHON_GLOB_H
#define MEMWATCH_PYTHON_GLOB_H
#include <stdbool.h>
#include <stddef.h>

/* Whether a pattern is a name's, both in UTF-8. fold: a letter of ASCII stands for itself in either case. */
bool mwpy_glob(const char *pattern, size_t n, const char *name, size_t length, bool fold);
#endif
