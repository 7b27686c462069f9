/* symbols.h - functions of the program itself that it doesn't export. */
#ifndef MEMWATCH_NODE_SYMBOLS_H
#define MEMWATCH_NODE_SYMBOLS_H
#ifdef __cplusplus
extern "C" {
#endif

/* Where the function with this (mangled) name is; NULL: the program's file doesn't tell. Reads that file, which takes
 * some ms. */
void *symbol_of_program(const char *name);

#ifdef __cplusplus
}
#endif
#endif
