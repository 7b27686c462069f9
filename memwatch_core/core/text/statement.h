/* statement.h - what a SQL statement says, and what it does to the transaction. The same for both adapters, and with it
 * a statement's hash. Pure functions: no state, no allocation, any thread, whatever the text. */
#ifndef MEMWATCH_TEXT_STATEMENT_H
#define MEMWATCH_TEXT_STATEMENT_H
#include <stdbool.h>
#include <stddef.h>

#define SQL_CHARACTERS_MAX 16384 /* of a statement that are looked at */
#define SQL_CUT " …"             /* ends one that was cut */

/* How literals are written. Of an unknown one everything from the first ambiguity to the end counts as a literal. */
enum sql_dialect { SQL_UNKNOWN, SQL_SQLITE, SQL_POSTGRESQL, SQL_MYSQL };

/* What a statement does to the transaction. Known by number to both adapters (adapter/transactions.py,
 * lib/sql/statements.js). */
enum sql_action {
    SQL_NOTHING,
    SQL_BEGINS,
    SQL_COMMITS,
    SQL_ROLLS_BACK,
    SQL_PREPARES,           /* PREPARE TRANSACTION: what becomes of it is decided elsewhere */
    SQL_COMMITS_BEFORE,     /* commits what is open before it runs, and then runs outside of a transaction */
    SQL_COMMITS_AND_BEGINS, /* commits what is open, and begins a new one */
    SQL_SETS_SAVEPOINT,
    SQL_RELEASES,
    SQL_ROLLS_BACK_TO,
    SQL_MAY_ROLL_BACK, /* several statements: if a transaction ends in them, its first end is a rollback */
    SQL_ACTIONS
};

struct sql_statement {
    const char *text; /* in the buffer that was given: without literals and comments */
    size_t length;
    enum sql_action action;
    const char *savepoint; /* its name, without quotes; in the buffer too */
    size_t savepoint_length;
    bool keeps_case; /* of the savepoint's name: any other letter case is another name */
};

enum sql_dialect sql_dialect_of(const char *name, size_t length);

/* Bytes that a buffer needs for a statement of `length` bytes. */
static inline size_t sql_buffer_size(size_t length) { return 2 * length + 16; }

/* `text`: UTF-8. */
void sql_read(const char *text, size_t length, enum sql_dialect dialect, char *buffer, struct sql_statement *read);

#endif
