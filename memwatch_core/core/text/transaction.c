/* transaction.c - see transaction.h. */
#include "text/transaction.h"
#include "text/scanner.h"
#include <string.h>

/* ---- several statements in one text -------------------------------------------------------------------------------
 */

/* Literals are tokens, so a semicolon is one. The first statement that ends a transaction decides. */
static void end_statement(struct sql_transaction *t) {
    bool back = t->rolls_back && !t->kept;
    if (!t->decided && (t->commits || back)) {
        t->decided = true;
        t->first_end = back ? SQL_MAY_ROLL_BACK : SQL_NOTHING;
    }
    t->at = 0;
    t->commits = t->rolls_back = t->kept = false;
}

void sql_follow(struct sql_transaction *t, const char *text, const struct sql_token *token) {
    if (token->kind == SQL_OTHER && *token->at == ';') {
        t->ended = true;
        end_statement(t);
        return;
    }
    t->several |= t->ended;
    if (t->at == 0) {
        t->commits = sql_is(token, "COMMIT") || sql_is(token, "END");
        t->rolls_back = sql_is(token, "ROLLBACK") || sql_is(token, "ABORT");
    } else if (t->at < 3) {
        t->kept |= sql_is(token, "TO") || sql_is(token, "PREPARED");
    }
    t->at++;
    if (t->count < SQL_WORDS && token->at - text < SQL_BYTES) t->words[t->count++] = *token;
}

/* ---- one statement ------------------------------------------------------------------------------------------------
 */

static bool is_one_of(const struct sql_token *token, const char *const *words) {
    for (; *words; words++)
        if (sql_is(token, *words)) return true;
    return false;
}

/* A name is without quotes, and in lower case where case doesn't count; for what is beyond ASCII, the adapter does it.
 */
static enum sql_action named(enum sql_action action, const struct sql_token *token, enum sql_dialect dialect,
                             struct sql_statement *read, char *buffer) {
    const char *at = token->at, *stop = token->stop;
    if (!at) return SQL_NOTHING;
    bool quoted = *at && strchr("\"'`[", *at);
    char quote = quoted && *at != '[' ? *at : 0;
    read->keeps_case = quoted && dialect != SQL_SQLITE && dialect != SQL_MYSQL;
    read->savepoint = buffer;
    if (quoted) {
        at++;
        if (stop > at && stop[-1] == (quote ? quote : ']')) stop--;
    }
    for (; at < stop; at++) {
        if (*at == quote && at + 1 < stop && at[1] == quote) at++;
        *buffer++ = !read->keeps_case && *at >= 'A' && *at <= 'Z' ? (char)(*at + 32) : *at;
    }
    read->savepoint_length = (size_t)(buffer - read->savepoint);
    return action;
}

static enum sql_action whole(const struct sql_token words[], enum sql_dialect dialect) {
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
    if (sql_is(first, "BEGIN") || (sql_is(first, "START") && transaction))
        return dialect == SQL_MYSQL ? SQL_COMMITS_AND_BEGINS : SQL_BEGINS;
    if (commits || sql_is(first, "END")) return SQL_COMMITS;
    return rolls_back || sql_is(first, "ABORT") ? SQL_ROLLS_BACK : SQL_NOTHING;
}

/* MySQL: what changes the schema commits; but not if it makes a temporary table or a loadable function. */
static bool commits_before(const struct sql_transaction *t, const struct sql_statement *read) {
    static const char *const changes[] = {"ALTER", "CREATE", "DROP", "RENAME", "TRUNCATE", NULL}, *const uncertain[] = {
                                                                                                      "TEMPORARY",
                                                                                                      "FUNCTION", NULL};
    if (!is_one_of(&t->words[0], changes)) return false;
    const char *at = read->text, *stop = at + (read->length < 100 ? read->length : 100);
    for (int word = 0; word < 5 && at < stop; word++) {
        const char *space = memchr(at, ' ', (size_t)(stop - at));
        struct sql_token each = {SQL_WORD, at, space ? space : stop};
        if (is_one_of(&each, uncertain)) return false;
        at = each.stop + 1;
    }
    return true;
}

static enum sql_action decide(const struct sql_transaction *t, enum sql_dialect dialect, struct sql_statement *read,
                              char *buffer) {
    const struct sql_token *words = t->words;
    if (sql_is(&words[0], "SAVEPOINT")) return named(SQL_SETS_SAVEPOINT, &words[1], dialect, read, buffer);
    if (sql_is(&words[0], "RELEASE")) {
        int at = sql_is(&words[1], "SAVEPOINT") && t->count > 2 ? 2 : 1;
        return named(SQL_RELEASES, &words[at], dialect, read, buffer);
    }
    if (sql_is(&words[0], "ROLLBACK")) {
        int to = sql_is(&words[1], "TO") ? 1 : sql_is(&words[2], "TO") ? 2 : 0;
        if (to && sql_is(&words[to + 1], "SAVEPOINT") && t->count > to + 2) to++;
        if (to) return named(SQL_ROLLS_BACK_TO, &words[to + 1], dialect, read, buffer);
    }
    if (dialect == SQL_MYSQL && commits_before(t, read)) return SQL_COMMITS_BEFORE;
    return whole(words, dialect);
}

void sql_decide(struct sql_transaction *t, enum sql_dialect dialect, struct sql_statement *read, char *buffer) {
    end_statement(t);
    read->action = t->several ? t->first_end : decide(t, dialect, read, buffer);
}
