/* transaction.h - what a text does to the transaction, token by token: one statement, or several. */
#ifndef MEMWATCH_TEXT_TRANSACTION_H
#define MEMWATCH_TEXT_TRANSACTION_H
#include "text/scanner.h"

enum { SQL_WORDS = 10, SQL_NAMES = 16, SQL_BYTES = 1000 /* behind which the first word doesn't count */ };

/* What becomes of what the text itself does. */
struct sql_fates {
    bool inside, work;  /* of a transaction; something was done since the last end */
    bool by_savepoint;  /* SQLite: which began it */
    bool before, spans; /* work before a savepoint; and behind it */
    int maybe, known;   /* bits: how that may have ended meanwhile; how something did before */
};

struct sql_savepoint {
    char sign;
    struct sql_token name;
};

struct sql_transaction {
    enum sql_dialect dialect;
    size_t length, named; /* of the text; of the names of savepoints */
    /* The statement that is read now. */
    struct sql_token words[SQL_WORDS]; /* its first tokens; those that are missing are empty */
    int count;
    int brackets, depth;  /* in brackets; in the body of a procedure or trigger, between BEGIN and END */
    bool in_brackets;     /* a semicolon was */
    bool routine;         /* it makes one */
    bool after_end;       /* the last token was an END in such a body */
    bool sets_autocommit; /* the word is in it */
    bool is_conditional;  /* MySQL: it begins in an executable comment, which a server may skip */
    /* The text. */
    int statements;
    bool conditional; /* in such a comment */
    bool unreadable;  /* nobody knows which statements stand in the rest of it */
    bool doubtful;    /* it may be one statement, or several */
    bool late;        /* its first word comes late */
    bool ends;        /* a transaction, for certain */
    int first, maybe; /* bits: how the one that was open before ends; how it may, by what can't be read */
    int leaves, begins_by;
    enum sql_action action;    /* of the last statement */
    bool calls;                /* it does what somebody else has written */
    struct sql_token name;     /* of its savepoint */
    struct sql_fates fates[2]; /* if a transaction was open before, and if none was */
    struct sql_savepoint savepoints[SQL_NAMES];
    int names, kept, set; /* kept: up to the first end; set: and not released since */
};

/* `length`: of the text, in bytes. */
void sql_transaction_open(struct sql_transaction *t, enum sql_dialect dialect, size_t length);
void sql_follow(struct sql_transaction *t, const char *text, const struct sql_token *token);

/* MySQL: an executable comment begins, or ends. */
void sql_follow_comment(struct sql_transaction *t, const struct sql_token *token);

/* The text was read; `cut`: not all of it. Names of savepoints go to `buffer`. */
void sql_decide(struct sql_transaction *t, bool cut, struct sql_statement *read, char *buffer);

#endif
