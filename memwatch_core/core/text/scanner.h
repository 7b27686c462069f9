/* scanner.h - the tokens of a SQL text, as its dialect has them. */
#ifndef MEMWATCH_TEXT_SCANNER_H
#define MEMWATCH_TEXT_SCANNER_H
#include "text/statement.h"

enum sql_kind {
    SQL_SPACE,    /* or a comment */
    SQL_COMMENT,  /* of an unknown dialect: another one may see it otherwise */
    SQL_STRING,   /* a literal */
    SQL_PLAIN,    /* a literal without escapes, if the server is set so */
    SQL_DOUBLE,   /* "...": a name, or a literal */
    SQL_NAME,     /* in quotes */
    SQL_DOUBTFUL, /* of an unknown dialect */
    SQL_NUMBER,
    SQL_PLACEHOLDER,
    SQL_WORD,
    SQL_OTHER
};

struct sql_token {
    enum sql_kind kind;
    const char *at, *stop;
};

/* The token at `at`, which is before `stop`. */
struct sql_token sql_scan(enum sql_dialect dialect, const char *at, const char *stop);

/* Where a literal of MySQL's ends if the server takes backslashes as it does by default; of any other token, its end.
 */
const char *sql_end_by_default(const struct sql_token *token, const char *stop);

/* Whether it is this word, which is given in capitals. */
bool sql_is(const struct sql_token *token, const char *word);

/* Whether a dot and a name follow at `at`. */
bool sql_dot_and_name_follow(const char *at, const char *stop);

#endif
