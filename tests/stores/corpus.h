/* corpus.h - one table of functions for each level that corpus.c is compiled at. */
#ifndef CORPUS_H
#define CORPUS_H
#include <stdint.h>
struct corpus_entry {
    const char *name;
    void (*run)(uint8_t *memory, uint32_t seed);
};
#define CORPUS_BYTES 16384u
#endif
