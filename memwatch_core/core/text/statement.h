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

/* What a text does to the transaction: the low byte of `sql_statement.action`. Known by number to both adapters
 * (adapter/transactions.py, lib/sql/statements.js). */
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
    SQL_SEVERAL, /* several statements, or one that may hide some, as CALL does: see sql_several */
    SQL_ACTIONS
};

/* Above the low byte. Which transaction is open once the text has been run, if it says so. */
enum { SQL_LEAVES_OPEN = 0x100, SQL_LEAVES_NONE = 0x200 };

/* How something may have ended. Several: that isn't known. */
enum { SQL_COMMITTED = 1, SQL_ROLLED_BACK = 2, SQL_GOES_ON = 4 /* whatever ends the transaction behind the text */ };

/* Of SQL_SEVERAL. `first`: how the transaction ends that was open before, by the first end in the text; 0: it holds
 * none. Then what becomes of what the text itself has done, 0: nothing: if a transaction was open before, and if none
 * was. */
enum sql_several {
    SQL_FIRST = 10,
    SQL_INSIDE = 12,
    SQL_ALONE = 15,
    SQL_ENDS = 1 << 18,           /* for certain; otherwise it may */
    SQL_BEGINS_BY_END = 1 << 19,  /* an end is its first statement */
    SQL_BEGINS_BY_WORK = 1 << 20, /* neither an end nor a begin is */
    SQL_MORE = 1 << 21,           /* there is a second one */
};
static inline int sql_bits(int action, enum sql_several from) { return action >> from & (from == SQL_FIRST ? 3 : 7); }

struct sql_statement {
    const char *text; /* in the buffer that was given: without literals and comments */
    size_t length;
    int action;
    const char
        *savepoint; /* its name, without quotes; in the buffer too. Of several: each with a sign before it (+ set,
                       - released, < rolled back to) and a zero behind it; a lone w for work behind one, a lone | for
                       the ends in between */
    size_t savepoint_length;
    bool keeps_case; /* of the savepoint's name: any other letter case is another name */
};

enum sql_dialect sql_dialect_of(const char *name, size_t length);

/* Bytes that a buffer needs for a statement of `length` bytes. */
static inline size_t sql_buffer_size(size_t length) { return 2 * length + 64; }

/* `text`: UTF-8. */
void sql_read(const char *text, size_t length, enum sql_dialect dialect, char *buffer, struct sql_statement *read);

#endif
