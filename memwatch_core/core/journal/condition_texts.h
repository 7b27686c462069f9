/* condition_texts.h - what a condition asks of an event besides its bytes: thread, place, path, statement. */
#ifndef MEMWATCH_CONDITION_TEXTS_H
#define MEMWATCH_CONDITION_TEXTS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"
#include "journal/condition_values.h"

#define THREAD_ROOM 64u
#define SITE_ROOM 512u /* of a longer path, the end */
#define THREADS_NAMED 512u
#define STATEMENTS_KEPT 256u
#define STATEMENT_ROOM 248u

/* One entry is written by one thread, and read by others: odd while it is written. */
struct named_thread {
    _Atomic uint32_t sequence;
    uint32_t tid;
    uint32_t length;
    char name[THREAD_ROOM];
};
struct kept_statement {
    _Atomic uint32_t sequence;
    uint32_t context;
    uint16_t length, cut;
    char text[STATEMENT_ROOM];
};
struct condition_texts {
    _Atomic uint32_t named; /* goes up whenever a thread has got a name */
    struct named_thread threads[THREADS_NAMED];
    struct kept_statement statements[STATEMENTS_KEPT];
};

/* The text is copied to `room`, or lies where it doesn't change. *passing: set if it may be another one the next time,
 * though no thread has got a name. */
MW_HIDDEN struct value text_of_thread(uint32_t tid, char room[THREAD_ROOM], bool *passing);
MW_HIDDEN struct value text_of_site(uint32_t site, enum predicate_op op, char room[SITE_ROOM]);
/* Of what this thread announces; of anything else, not known. */
MW_HIDDEN struct value text_of_path(bool announced);
MW_HIDDEN const char *path_of_subject(uint32_t *length); /* NULL: it isn't known */
MW_HIDDEN struct value text_of_statement(uint32_t context, char room[STATEMENT_ROOM]);
MW_HIDDEN void condition_names_thread(uint32_t tid, const char *name, size_t length);
#endif
