/* transaction.c - see transaction.h. */
#include "text/transaction.h"
#include "text/scanner.h"
#include <string.h>

static bool is_one_of(const struct sql_token *token, const char *const *words) {
    for (; *words; words++)
        if (sql_is(token, *words)) return true;
    return false;
}

static bool is_sign(const struct sql_token *token, char sign) {
    return token->kind == SQL_OTHER && token->at < token->stop && *token->at == sign;
}

/* ---- one statement ------------------------------------------------------------------------------------------------
 */

/* What a statement may do that doesn't say it. */
enum { MAY_COMMIT = SQL_ACTIONS, MAY_END };

static int whole(const struct sql_token words[], enum sql_dialect dialect) {
    const struct sql_token *first = &words[0], *second = &words[1];
    bool commits = sql_is(first, "COMMIT"), rolls_back = sql_is(first, "ROLLBACK");
    if ((commits || rolls_back) && sql_is(second, "PREPARED")) return SQL_NOTHING; /* another transaction */
    if (sql_is(first, "XA"))
        return sql_is(second, "COMMIT")     ? SQL_COMMITS
               : sql_is(second, "ROLLBACK") ? SQL_ROLLS_BACK
               : sql_is(second, "PREPARE")  ? SQL_PREPARES
                                            : SQL_NOTHING;
    bool transaction = sql_is(second, "TRANSACTION");
    if (sql_is(first, "PREPARE")) return transaction ? SQL_PREPARES : SQL_NOTHING;
    if (sql_is(first, "BEGIN") && sql_is(second, "NOT")) return MAY_END; /* MariaDB: a block of statements */
    if (sql_is(first, "BEGIN") || (sql_is(first, "START") && transaction))
        return dialect == SQL_MYSQL ? SQL_COMMITS_AND_BEGINS : SQL_BEGINS;
    if (commits || sql_is(first, "END")) return SQL_COMMITS;
    return rolls_back || sql_is(first, "ABORT") ? SQL_ROLLS_BACK : SQL_NOTHING;
}

/* MySQL: what changes the schema commits; but not if it makes a temporary table or a loadable function. */
static int of_mysql(const struct sql_transaction *t) {
    static const char *const changes[] = {"ALTER", "CREATE", "DROP", "RENAME", "TRUNCATE", NULL},
                             *const calls[] = {"CALL", "EXECUTE", "IF", "CASE", "LOOP", "WHILE", "REPEAT", "FOR", NULL},
                             *const harmless[] = {"SELECT",    "INSERT",   "UPDATE",     "DELETE", "REPLACE",
                                                  "WITH",      "VALUES",   "TABLE",      "SHOW",   "USE",
                                                  "EXPLAIN",   "DESCRIBE", "DESC",       "DO",     "HANDLER",
                                                  "XA",        "PREPARE",  "DEALLOCATE", "COMMIT", "ROLLBACK",
                                                  "SAVEPOINT", "RELEASE",  "KILL",       "(",      NULL};
    if (is_one_of(&t->words[0], calls)) return MAY_END;
    if (sql_is(&t->words[0], "SET"))
        return t->sets_autocommit || sql_is(&t->words[1], "PASSWORD") ? MAY_COMMIT : SQL_NOTHING;
    if (!is_one_of(&t->words[0], changes)) return is_one_of(&t->words[0], harmless) ? SQL_NOTHING : MAY_COMMIT;
    for (int i = 1; i < t->count && !sql_is(&t->words[i], "TABLE") && !is_sign(&t->words[i], '('); i++) {
        if (sql_is(&t->words[i], "TEMPORARY")) return SQL_NOTHING;
        if (sql_is(&t->words[i], "FUNCTION")) return MAY_COMMIT;
    }
    return SQL_COMMITS_BEFORE;
}

static int decide(struct sql_transaction *t) {
    const struct sql_token *words = t->words;
    t->name = (struct sql_token){0};
    if (sql_is(&words[0], "SAVEPOINT")) {
        t->name = words[1];
        return SQL_SETS_SAVEPOINT;
    }
    if (sql_is(&words[0], "RELEASE")) {
        t->name = words[sql_is(&words[1], "SAVEPOINT") && t->count > 2 ? 2 : 1];
        return SQL_RELEASES;
    }
    if (sql_is(&words[0], "ROLLBACK")) {
        int to = sql_is(&words[1], "TO") ? 1 : sql_is(&words[2], "TO") ? 2 : 0;
        if (to && sql_is(&words[to + 1], "SAVEPOINT") && t->count > to + 2) to++;
        if (to) {
            t->name = words[to + 1];
            return SQL_ROLLS_BACK_TO;
        }
    }
    int action = whole(words, t->dialect);
    if (action == SQL_NOTHING && t->dialect == SQL_MYSQL) return of_mysql(t);
    if (action == SQL_NOTHING && t->dialect == SQL_UNKNOWN && sql_is(&words[0], "CALL")) return MAY_END;
    return action;
}

static bool chains(const struct sql_transaction *t) {
    for (int i = 2; i < t->count; i++)
        if (sql_is(&t->words[i], "CHAIN")) return !sql_is(&t->words[i - 1], "NO");
    return false;
}

/* ---- several statements -------------------------------------------------------------------------------------------
 */

/* What was done since the last end has ended so. Outside of a transaction each statement is committed by itself; in
 * PostgreSQL those of a text are one transaction, and MySQL may be set not to commit by itself. */
static void end_work(struct sql_fates *fates, int how, enum sql_dialect dialect) {
    if (fates->work) {
        bool alone = !fates->inside && dialect != SQL_POSTGRESQL;
        fates->known |= (!alone ? how : dialect == SQL_SQLITE ? SQL_COMMITTED : how | SQL_COMMITTED) | fates->maybe;
    }
    fates->work = fates->before = fates->spans = false;
    fates->maybe = 0;
}

static void add_savepoint(struct sql_transaction *t, char sign) {
    if (sign != '|' && sign != 'w' && !t->name.at) return;
    t->named += (size_t)(t->name.stop - t->name.at);
    if (t->names == SQL_NAMES || t->named > t->length) /* names within names, in an unknown dialect */
        t->unreadable = true;
    else
        t->savepoints[t->names++] = (struct sql_savepoint){sign, t->name};
}

static void end_transaction(struct sql_transaction *t, int how, bool chain) {
    if (!t->ends) {
        t->first = t->unreadable ? SQL_COMMITTED | SQL_ROLLED_BACK : how | t->maybe;
        t->kept = t->names;
    }
    t->ends = true;
    t->names = t->kept; /* those in between are of no other transaction */
    t->set = 0;
    t->name = (struct sql_token){0};
    add_savepoint(t, '|');
    t->leaves = chain ? SQL_LEAVES_OPEN : SQL_LEAVES_NONE;
    for (int i = 0; i < 2; i++) {
        end_work(&t->fates[i], how, t->dialect);
        t->fates[i].inside = chain;
        t->fates[i].by_savepoint = false;
    }
}

static void begin_transaction(struct sql_transaction *t) {
    t->leaves = SQL_LEAVES_OPEN;
    if (t->dialect == SQL_UNKNOWN) t->maybe |= SQL_COMMITTED; /* it may be MySQL */
    for (int i = 0; i < 2; i++) {
        struct sql_fates *fates = &t->fates[i];
        if (t->dialect == SQL_UNKNOWN && fates->work) fates->maybe |= SQL_COMMITTED;
        if (t->dialect == SQL_SQLITE && !fates->inside) end_work(fates, SQL_COMMITTED, t->dialect);
        fates->inside = true;
    }
}

static void work(struct sql_transaction *t, int maybe) {
    t->maybe |= maybe;
    t->name = (struct sql_token){0};
    if (t->names && !strchr("w|", t->savepoints[t->names - 1].sign)) add_savepoint(t, 'w');
    for (int i = 0; i < 2; i++) {
        struct sql_fates *fates = &t->fates[i];
        fates->work = true;
        fates->spans |= fates->before;
        fates->maybe |= maybe;
    }
}

/* In SQLite one is a transaction if none is open, and its release commits. */
static void savepoint(struct sql_transaction *t, char sign) {
    bool sqlite = t->dialect == SQL_SQLITE, outer = sign == '-' && t->set == 0;
    add_savepoint(t, sign);
    if (sign == '+') t->set++;
    if (sign == '-' && t->set) t->set--;
    if (outer && sqlite) t->maybe |= SQL_COMMITTED;
    for (int i = 0; i < 2; i++) {
        struct sql_fates *fates = &t->fates[i];
        if (sign == '<' && fates->work) fates->known |= SQL_ROLLED_BACK;
        if (sign == '+') fates->before |= fates->work;
        if (!sqlite) continue;
        if (sign == '+' && !fates->inside) {
            end_work(fates, SQL_COMMITTED, t->dialect);
            fates->inside = fates->by_savepoint = true;
        }
        if (sign == '-' && fates->work && (fates->by_savepoint || outer)) fates->maybe |= SQL_COMMITTED;
    }
}

static void act(struct sql_transaction *t, int action) {
    switch (action) {
    case SQL_COMMITS: end_transaction(t, SQL_COMMITTED, chains(t)); break;
    case SQL_ROLLS_BACK: end_transaction(t, SQL_ROLLED_BACK, chains(t)); break;
    case SQL_PREPARES: end_transaction(t, SQL_COMMITTED | SQL_ROLLED_BACK, false); break;
    case SQL_COMMITS_AND_BEGINS: end_transaction(t, SQL_COMMITTED, true); break;
    case SQL_COMMITS_BEFORE:
        end_transaction(t, SQL_COMMITTED, false);
        for (int i = 0; i < 2; i++) t->fates[i].known |= SQL_COMMITTED;
        break;
    case SQL_BEGINS: begin_transaction(t); break;
    case SQL_SETS_SAVEPOINT: savepoint(t, '+'); break;
    case SQL_RELEASES: savepoint(t, '-'); break;
    case SQL_ROLLS_BACK_TO: savepoint(t, '<'); break;
    default: work(t, action == MAY_END ? SQL_COMMITTED | SQL_ROLLED_BACK : action == MAY_COMMIT ? SQL_COMMITTED : 0);
    }
}

static void end_statement(struct sql_transaction *t) {
    if (t->count) {
        int action = decide(t);
        bool ends = action >= SQL_COMMITS && action <= SQL_COMMITS_AND_BEGINS, speaks = ends || action == SQL_BEGINS;
        if (!t->statements++) {
            bool is_end = action == SQL_COMMITS || action == SQL_ROLLS_BACK;
            t->begins_by = is_end ? SQL_BEGINS_BY_END : speaks ? 0 : SQL_BEGINS_BY_WORK;
        }
        t->calls = sql_is(&t->words[0], "CALL") || sql_is(&t->words[0], "EXECUTE");
        t->action = (enum sql_action)(action < SQL_ACTIONS ? action : action == MAY_END ? SQL_SEVERAL : SQL_NOTHING);
        struct sql_token name = t->name;
        act(t, t->is_conditional && speaks ? MAY_END : action);
        t->name = name;
    }
    memset(t->words, 0, sizeof t->words);
    t->count = t->brackets = t->depth = 0;
    t->routine = t->after_end = t->sets_autocommit = t->is_conditional = t->in_brackets = false;
}

/* The body of a procedure or trigger has statements of its own, between BEGIN and END; so has a block of MariaDB's. */
static void follow_body(struct sql_transaction *t, const struct sql_token *token) {
    static const char *const makes[] = {"PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "PACKAGE", NULL},
                             *const blocks[] = {"IF", "LOOP", "WHILE", "REPEAT", "FOR", NULL},
                             *const bare[] = {"THEN", "LOOP", "WHILE", "REPEAT", NULL};
    bool after_end = t->after_end;
    t->after_end = false;
    if (token->kind != SQL_WORD) return;
    bool creates = sql_is(&t->words[0], "CREATE") || sql_is(&t->words[0], "ALTER");
    if (creates && is_one_of(token, makes)) t->routine = true;
    if (t->count == 2 && sql_is(&t->words[0], "BEGIN") && sql_is(token, "NOT")) {
        t->routine = true;
        t->depth = 1;
    }
    if (t->count == 1 && t->dialect == SQL_MYSQL && (is_one_of(token, blocks) || sql_is(token, "CASE")))
        t->unreadable = true;
    if (!t->routine) return;
    if (sql_is(token, "BEGIN") || (sql_is(token, "CASE") && !after_end)) {
        t->depth++;
    } else if (t->depth && sql_is(token, "END")) {
        t->depth--;
        t->after_end = true;
    } else if (after_end && is_one_of(token, blocks)) {
        t->depth++; /* END IF */
    } else if (!t->depth && is_one_of(token, bare)) {
        t->unreadable = true; /* a body without BEGIN */
    }
}

void sql_follow(struct sql_transaction *t, const char *text, const struct sql_token *token) {
    if (is_sign(token, ';') && !t->depth) {
        if (!t->brackets) {
            end_statement(t);
            return;
        }
        t->in_brackets = true; /* PostgreSQL: CREATE RULE ... DO (...; ...) */
    }
    if (!t->count) {
        t->is_conditional = t->conditional;
        if (!t->statements) t->late = token->at - text >= SQL_BYTES;
    }
    if (t->count < SQL_WORDS) t->words[t->count++] = *token;
    if (is_sign(token, '(')) t->brackets++;
    if (is_sign(token, ')') && t->brackets) t->brackets--;
    if (sql_is(token, "AUTOCOMMIT") || sql_is(token, "@AUTOCOMMIT")) t->sets_autocommit = true;
    follow_body(t, token);
}

void sql_follow_comment(struct sql_transaction *t, const struct sql_token *token) {
    if (token->stop - token->at < 2) return;
    if (!memcmp(token->at, "*/", 2)) t->conditional = false;
    if (token->stop - token->at > 2 && !memcmp(token->at, "/*!", 3)) t->conditional = true;
}

void sql_transaction_open(struct sql_transaction *t, enum sql_dialect dialect, size_t length) {
    memset(t, 0, sizeof *t);
    t->dialect = dialect;
    t->length = length;
    t->fates[0].inside = true;
}

/* ---- the whole ----------------------------------------------------------------------------------------------------
 */

/* A name is without quotes, and in lower case where case doesn't count; for what is beyond ASCII, the adapter does it.
 */
static char *put_name(const struct sql_token *token, enum sql_dialect dialect, bool *keeps_case, char *buffer) {
    const char *at = token->at, *stop = token->stop;
    bool quoted = *at && strchr("\"'`[", *at);
    char quote = quoted && *at != '[' ? *at : 0;
    *keeps_case = quoted && dialect != SQL_SQLITE && dialect != SQL_MYSQL;
    if (quoted) {
        at++;
        if (stop > at && stop[-1] == (quote ? quote : ']')) stop--;
    }
    for (; at < stop; at++) {
        if (*at == quote && at + 1 < stop && at[1] == quote) at++;
        *buffer++ = !*keeps_case && *at >= 'A' && *at <= 'Z' ? (char)(*at + 32) : *at;
    }
    return buffer;
}

static char *put_names(const struct sql_transaction *t, struct sql_statement *read, char *buffer) {
    for (int i = 0; i < t->names; i++) {
        const struct sql_savepoint *each = &t->savepoints[i];
        bool keeps_case = false;
        *buffer++ = each->sign;
        if (each->name.at) buffer = put_name(&each->name, t->dialect, &keeps_case, buffer);
        *buffer++ = 0;
        read->keeps_case |= keeps_case;
    }
    return buffer;
}

static int of_several(struct sql_transaction *t, bool cut) {
    int either = SQL_COMMITTED | SQL_ROLLED_BACK;
    /* One statement that may hide others: only if it turns out that the transaction ended, nobody knows how. */
    bool one = t->statements < 2 && !t->unreadable && (t->calls || t->doubtful || cut);
    if (t->unreadable || t->doubtful || cut) {
        work(t, either);
        t->leaves = SQL_LEAVES_OPEN | SQL_LEAVES_NONE;
    }
    if (!one && !t->ends && t->maybe & SQL_ROLLED_BACK) {
        t->ends = true;
        t->first = either;
    }
    for (int i = 0; i < 2; i++) {
        struct sql_fates *fates = &t->fates[i];
        if (fates->work) fates->known |= SQL_GOES_ON | (fates->spans ? SQL_ROLLED_BACK : 0) | (one ? 0 : fates->maybe);
    }
    return SQL_SEVERAL | t->leaves | (t->ends ? t->first : t->maybe) << SQL_FIRST | t->fates[0].known << SQL_INSIDE |
           t->fates[1].known << SQL_ALONE | (t->ends ? SQL_ENDS : 0) |
           (t->statements > 1 || t->unreadable ? SQL_MORE : 0) | t->begins_by;
}

void sql_decide(struct sql_transaction *t, bool cut, struct sql_statement *read, char *buffer) {
    bool single = t->statements + !!t->count < 2;
    t->unreadable |= t->depth || (t->brackets && t->in_brackets);
    end_statement(t);
    bool hides = cut || t->unreadable || t->doubtful;
    read->savepoint = buffer;
    if (!single || t->action == SQL_SEVERAL || (hides && t->action == SQL_NOTHING)) {
        read->action = of_several(t, cut);
        buffer = put_names(t, read, buffer);
    } else if (!t->late) {
        bool names = t->action == SQL_SETS_SAVEPOINT || t->action == SQL_RELEASES || t->action == SQL_ROLLS_BACK_TO;
        if (names && t->name.at) buffer = put_name(&t->name, t->dialect, &read->keeps_case, buffer);
        read->action = names && !t->name.at ? SQL_NOTHING : (int)t->action | t->leaves;
    }
    read->savepoint_length = (size_t)(buffer - read->savepoint);
}
