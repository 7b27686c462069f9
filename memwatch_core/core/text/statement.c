/* statement.c - statements made fit to keep: literals replaced by ?, comments and extra spaces gone.
 *
 * What a statement says in its literals is the program's data, so the rule is: when in doubt, mask. Text in double
 * quotes is a name in PostgreSQL. Elsewhere it may be a string: it is kept only where a string can't stand (next to a
 * dot; in SQLite also after FROM, INTO, AS ..., and in the column list after a table's name). */
#include "text/statement.h"
#include "text/characters.h"
#include "text/scanner.h"
#include "text/transaction.h"
#include <string.h>

enum sql_dialect sql_dialect_of(const char *name, size_t length) {
    static const char *const names[] = {
        [SQL_SQLITE] = "sqlite", [SQL_POSTGRESQL] = "postgresql", [SQL_MYSQL] = "mysql"};
    for (int i = SQL_SQLITE; i <= SQL_MYSQL; i++)
        if (strlen(names[i]) == length && !memcmp(name, names[i], length)) return (enum sql_dialect)i;
    return SQL_UNKNOWN;
}

/* ---- where text in double quotes can only be a name ---------------------------------------------------------------
 */

enum {
    BEFORE_NAME = 1,
    BEFORE_TABLE = 2,
    AFTER_SET = 4,
    FROM = 8,
    DISTINCT = 16,
    SET = 32,
    DOT = 64,
    BRACKET = 128,
    COMMA = 256,
};

static const struct {
    const char *word;
    int is;
} words[] = {
    {"FROM", BEFORE_NAME | AFTER_SET | FROM},
    {"INTO", BEFORE_NAME | BEFORE_TABLE},
    {"TABLE", BEFORE_NAME | BEFORE_TABLE},
    {"EXISTS", BEFORE_NAME | BEFORE_TABLE},
    {"REFERENCES", BEFORE_NAME | BEFORE_TABLE},
    {"SET", BEFORE_NAME | SET},
    {"JOIN", BEFORE_NAME},
    {"UPDATE", BEFORE_NAME},
    {"VIEW", BEFORE_NAME},
    {"INDEX", BEFORE_NAME},
    {"TRIGGER", BEFORE_NAME},
    {"COLUMN", BEFORE_NAME},
    {"CONSTRAINT", BEFORE_NAME},
    {"SAVEPOINT", BEFORE_NAME},
    {"RELEASE", BEFORE_NAME},
    {"TO", BEFORE_NAME},
    {"AS", BEFORE_NAME},
    {"COLLATE", BEFORE_NAME},
    {"WITH", BEFORE_NAME},
    {"RECURSIVE", BEFORE_NAME},
    {"DISTINCT", DISTINCT},
    {"WHERE", AFTER_SET},
    {"RETURNING", AFTER_SET},
    {"ORDER", AFTER_SET},
    {"LIMIT", AFTER_SET},
};

struct names {
    int before, after; /* what the last token but one is, and the last */
    bool table;        /* the last tokens are a table's name */
    int columns;       /* depth inside of the list behind it */
    int in_set;        /* 1 + depth inside of SET ... */
};

static bool is_name(const struct names *n, enum sql_dialect dialect, const struct sql_token *token, const char *stop) {
    if (token->stop - token->at < 2 || token->stop[-1] != '"') return false;
    if (n->after & DOT || sql_dot_and_name_follow(token->stop, stop)) return true;
    if (dialect != SQL_SQLITE) return false;
    if (n->after & BEFORE_NAME) return !(n->after & FROM && n->before & DISTINCT);
    return (n->columns == 1 && n->after & (BRACKET | COMMA)) || (n->in_set == 1 && n->after & COMMA);
}

static void follow_names(struct names *n, const struct sql_token *token, bool masked) {
    int is = 0;
    char sign = token->kind == SQL_OTHER ? *token->at : 0;
    if (token->kind == SQL_WORD)
        for (size_t i = 0; !is && i < sizeof words / sizeof *words; i++)
            if (sql_is(token, words[i].word)) is = words[i].is;
    if (sign == '(') {
        n->columns = n->table ? 1 : n->columns + !!n->columns;
        n->in_set += !!n->in_set;
    } else if (sign == ')') {
        n->columns -= !!n->columns;
        n->in_set -= !!n->in_set;
    } else if (is & SET) {
        n->in_set = 1;
    } else if (is & AFTER_SET && n->in_set == 1) {
        n->in_set = 0;
    }
    bool named = !masked && (token->kind == SQL_WORD || token->kind == SQL_DOUBLE || token->kind == SQL_NAME);
    n->table = named ? n->after & BEFORE_TABLE || (n->after & DOT && n->table) : sign == '.' && n->table;
    n->before = n->after;
    n->after = sign == '.' ? DOT : sign == '(' ? BRACKET : sign == ',' ? COMMA : is;
}

/* ---- what is kept -------------------------------------------------------------------------------------------------
 */

static bool holds(const char *at, const char *stop, const char *characters) {
    for (; at < stop; at++)
        if (*at && strchr(characters, *at)) return true;
    return false;
}

static bool has(const struct sql_token *token, const char *text) {
    return memmem(token->at, (size_t)(token->stop - token->at), text, strlen(text));
}

static bool holds_quotes(const struct sql_token *token) { return holds(token->at, token->stop, "'\"`"); }

static bool is_complete(const struct sql_token *name) {
    char first = *name->at, last = name->stop[-1];
    if (name->stop - name->at < 2 || last != (first == '[' ? ']' : first)) return false;
    return first != '[' || !holds_quotes(name);
}

/* Whether another dialect would end this comment elsewhere, or see none. */
static bool is_doubtful_comment(const struct sql_token *token) {
    const char *at = token->at + 2, *next;
    if (*token->at == '-')
        return at < token->stop && !sql_is_space(sql_character(at, token->stop, &next)) && holds_quotes(token);
    struct sql_token inside = {SQL_COMMENT, at, token->stop};
    return (at < token->stop && *at == '!') || has(&inside, "/*");
}

/* Whether nobody knows where this token of an unknown dialect ends. */
static bool is_endless(const struct sql_token *token) {
    if (*token->at == '`') {
        struct sql_token inside = {SQL_NAME, token->at + 1, token->stop - 1};
        return !is_complete(token) || holds_quotes(&inside);
    }
    return (*token->at && strchr("#qQnN", *token->at)) || holds_quotes(token);
}

/* Three quotes: in BigQuery and others they begin a string that goes on to the next three, whatever quotes it has. */
static bool may_be_tripled(const struct sql_token *token) {
    return token->stop - token->at > 2 && token->at[1] == *token->at && token->at[2] == *token->at;
}

/* Whether a token's text must not be kept. What it is the last of goes with it: the token ends where the text does. */
static bool is_masked(struct sql_token *token, enum sql_dialect dialect, const struct names *names, const char *stop) {
    switch (token->kind) {
    case SQL_STRING:
    case SQL_NUMBER: return true;
    case SQL_PLAIN: /* a quote behind a backslash: whether it ends there depends on a setting of the server */
        if (has(token, "\\'") || (dialect == SQL_UNKNOWN && may_be_tripled(token))) token->stop = stop;
        return true;
    case SQL_DOUBLE:
        if (dialect != SQL_UNKNOWN || !(has(token, "\\\"") || may_be_tripled(token)))
            return !is_name(names, dialect, token, stop);
        token->stop = stop;
        return true;
    case SQL_DOUBTFUL:
        if (is_endless(token)) {
            token->stop = stop;
            return true;
        }
        if (*token->at == '[') token->stop = token->at + 1;
        return *token->at == '$';
    case SQL_NAME: return !is_complete(token);
    default: return false;
    }
}

/* What counts as a literal, to the end of the text, may be several statements: is it, as servers are set by default? */
static void follow_hidden(struct sql_transaction *t, const struct sql_token *token, const struct sql_token *whole,
                          const char *stop) {
    bool mysql = t->dialect == SQL_MYSQL;
    if (token->stop < stop || !has(token, ";") ||
        !(whole->stop < stop || (mysql && (has(token, "\\") || *token->at == '/'))))
        return;
    t->doubtful = true;
    t->unreadable |= *token->at == '/' || t->dialect == SQL_UNKNOWN;
    bool ended = false;
    for (const char *at = mysql ? sql_end_by_default(whole, stop) : whole->stop; at < stop && !t->unreadable;) {
        struct sql_token each = sql_scan(t->dialect, at, stop);
        if (ended && each.kind != SQL_SPACE) t->unreadable = true;
        ended |= each.kind == SQL_OTHER && *each.at == ';';
        at = mysql ? sql_end_by_default(&each, stop) : each.stop;
    }
}

/* Where a text ends, of which so many characters are kept. */
static const char *end_of(const char *at, const char *stop, size_t characters) {
    for (; at < stop; at++)
        if (((unsigned char)*at & 0xc0) != 0x80 && !characters--) break;
    return at;
}

void sql_read(const char *text, size_t length, enum sql_dialect dialect, char *buffer, struct sql_statement *read) {
    const char *at = text, *stop = text + length;
    bool cut = end_of(text, stop, SQL_CHARACTERS_MAX) < stop, space = false;
    if (cut) stop = end_of(text, stop, SQL_CHARACTERS_MAX - 2);
    struct names names = {0};
    struct sql_transaction transaction;
    sql_transaction_open(&transaction, dialect, length);
    char *out = buffer;
    while (at < stop) {
        struct sql_token token = sql_scan(dialect, at, stop), whole = token;
        if (token.kind == SQL_COMMENT && is_doubtful_comment(&token)) {
            if (out > buffer) *out++ = ' ';
            *out++ = '?';
            transaction.unreadable |= memchr(at, ';', (size_t)(stop - at)) != NULL;
            break;
        }
        if (token.kind == SQL_SPACE || token.kind == SQL_COMMENT) {
            if (dialect == SQL_MYSQL) sql_follow_comment(&transaction, &token);
            space = true;
            at = token.stop;
            continue;
        }
        if (space && out > buffer) *out++ = ' ';
        space = false;
        bool masked = is_masked(&token, dialect, &names, stop);
        if (masked) {
            *out++ = '?';
        } else {
            memcpy(out, token.at, (size_t)(token.stop - token.at));
            out += token.stop - token.at;
        }
        follow_names(&names, &token, masked);
        sql_follow(&transaction, text, &whole);
        if (masked) follow_hidden(&transaction, &token, &whole, stop);
        if (whole.kind == SQL_DOUBTFUL && has(&whole, ";")) transaction.unreadable = true;
        at = token.stop;
    }
    if (cut) {
        memcpy(out, SQL_CUT, sizeof SQL_CUT - 1);
        out += sizeof SQL_CUT - 1;
    }
    *read = (struct sql_statement){.text = buffer, .length = (size_t)(out - buffer), .savepoint = out};
    sql_decide(&transaction, cut, read, out);
}
