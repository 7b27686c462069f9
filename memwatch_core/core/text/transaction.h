/* transaction.h - what a statement does to the transaction, token by token. Only its first words count. */
#ifndef MEMWATCH_TEXT_TRANSACTION_H
#define MEMWATCH_TEXT_TRANSACTION_H
#include "text/scanner.h"

enum { SQL_WORDS = 6, SQL_BYTES = 1000 /* behind which no word counts */ };

struct sql_transaction {
    struct sql_token words[SQL_WORDS]; /* the first tokens; those that are missing are empty */
    int count;
    /* Of several statements in one text, the one that is read now. */
    int at;                         /* how many tokens of it were read */
    bool ended, several;            /* a semicolon was read; and something behind it */
    bool commits, rolls_back, kept; /* it would; a rollback of a part, or of another transaction */
    bool decided;
    enum sql_action first_end;
};

void sql_follow(struct sql_transaction *t, const char *text, const struct sql_token *token);

/* The text was read. The name of its savepoint goes to `buffer`. */
void sql_decide(struct sql_transaction *t, enum sql_dialect dialect, struct sql_statement *read, char *buffer);

#endif
