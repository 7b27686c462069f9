/* scanner.c - see scanner.h. Where a quote ends depends on the dialect: 'C:\' is complete in SQLite and goes on in
 * MySQL, and a wrong guess would turn a literal inside out. */
#include "text/scanner.h"
#include "text/characters.h"
#include <string.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_among(char c, const char *characters) { return c && strchr(characters, c); }

static bool starts(const char *at, const char *stop, const char *with) {
    size_t n = strlen(with);
    return (size_t)(stop - at) >= n && !memcmp(at, with, n);
}

/* ---- ends ---------------------------------------------------------------------------------------------------------
 */

static const char *end_of_spaces(const char *at, const char *stop) {
    for (const char *next; at < stop && sql_is_space(sql_character(at, stop, &next)); at = next) {
    }
    return at;
}

static const char *end_of_word(const char *at, const char *stop) {
    for (const char *next; at < stop && sql_is_word(sql_character(at, stop, &next)); at = next) {
    }
    return at;
}

static const char *end_of_digits(const char *at, const char *stop, const char *others) {
    while (at < stop && (is_digit(*at) || is_among(*at, others))) at++;
    return at;
}

/* A quote that is doubled goes on. `escapes`: so does one behind a backslash. */
static const char *end_of_quoted(const char *at, const char *stop, bool escapes) {
    char quote = *at++;
    while (at < stop) {
        if (*at == '\\' && escapes) {
            at += at + 1 < stop ? 2 : 1;
        } else if (*at == quote) {
            if (at + 1 == stop || at[1] != quote) return at + 1;
            at += 2;
        } else {
            at++;
        }
    }
    return stop;
}

static const char *end_of_line(const char *at, const char *stop, const char *ends) {
    while (at < stop && !is_among(*at, ends)) at++;
    return at;
}

/* Behind `end`, wherever it is from `at` on. */
static const char *behind(const char *at, const char *stop, const char *end, size_t n) {
    const char *found = (size_t)(stop - at) < n ? NULL : memmem(at, (size_t)(stop - at), end, n);
    return found ? found + n : stop;
}

static const char *end_of_nested_comment(const char *at, const char *stop) {
    for (int depth = 0; at < stop;) {
        if (starts(at, stop, "/*")) {
            depth++, at += 2;
        } else if (starts(at, stop, "*/")) {
            at += 2;
            if (!--depth) break;
        } else {
            at++;
        }
    }
    return at;
}

/* PostgreSQL: strings with a line end between them are one. */
static const char *end_of_continued(const char *at, const char *stop) {
    for (;;) {
        const char *next = end_of_spaces(at, stop);
        if (next == stop || *next != '\'' || !memchr(at, '\n', (size_t)(next - at))) return at;
        at = end_of_quoted(next, stop, true);
    }
}

/* $tag$...$tag$; NULL: it is none. PostgreSQL takes whatever is beyond ASCII for a letter. */
static const char *end_of_dollars(const char *at, const char *stop) {
    const char *text = at + 1;
    if (text < stop && is_digit(*text)) return NULL;
    while (text < stop && ((unsigned char)*text >= 0x80 || sql_is_word((unsigned char)*text))) text++;
    if (text == stop || *text != '$') return NULL;
    return behind(text + 1, stop, at, (size_t)(text + 1 - at));
}

/* NULL: it is none. */
static const char *end_of_number(const char *at, const char *stop) {
    if (*at != '.' && !is_digit(*at)) return NULL;
    if (*at == '.' && (at + 1 == stop || !is_digit(at[1]))) return NULL;
    if (*at == '0' && at + 2 < stop && (at[1] | 32) == 'x' && (is_digit(at[2]) || is_among(at[2], "abcdefABCDEF_")))
        return end_of_word(at + 2, stop);
    bool fraction = *at == '.';
    at = end_of_digits(at + 1, stop, "_");
    if (!fraction && at < stop && *at == '.') at = end_of_digits(at + 1, stop, "_");
    if (at < stop && (*at | 32) == 'e') {
        const char *exponent = at + 1 < stop && is_among(at[1], "+-") ? at + 2 : at + 1;
        if (exponent < stop && is_digit(*exponent)) at = end_of_digits(exponent, stop, "");
    }
    return end_of_word(at, stop);
}

static bool is_first_of_name(const char *at, const char *stop) {
    const char *next;
    return at < stop && !is_digit(*at) && sql_is_word(sql_character(at, stop, &next));
}

/* ?, ?1, :name, @name, $1; NULL: it is none. */
static const char *end_of_placeholder(const char *at, const char *stop) {
    if (*at == '?') return end_of_digits(at + 1, stop, "");
    if (is_among(*at, ":@")) return is_first_of_name(at + 1, stop) ? end_of_word(at + 1, stop) : NULL;
    if (*at != '$') return NULL;
    const char *end = end_of_word(at + 1, stop);
    return end > at + 1 ? end : NULL;
}

/* ---- tokens that dialects differ in; `stop` NULL: there is none ----------------------------------------------------
 */

#define TOKEN(kind, end) ((struct sql_token){(kind), at, (end)})
#define NONE ((struct sql_token){SQL_OTHER, at, NULL})

/* MySQL wants a space behind the dashes. An executable comment, which begins with "/" "*!", is a part of the statement:
 * only its brackets go. */
static struct sql_token comment_of_mysql(const char *at, const char *stop) {
    if (starts(at, stop, "--")) {
        const char *next, *end = at;
        while (end < stop && *end == '-') end++;
        if (starts(end, stop, "/*") || starts(end, stop, "*/") || starts(end, stop, "#")) return TOKEN(SQL_SPACE, end);
        if (end < stop && (unsigned char)*end > ' ' && *end != 0x7f && !sql_is_space(sql_character(end, stop, &next)))
            return NONE;
        return TOKEN(SQL_SPACE, end_of_line(end, stop, "\n"));
    }
    if (*at == '#') return TOKEN(SQL_SPACE, end_of_line(at, stop, "\n"));
    if (starts(at, stop, "/*M!")) return TOKEN(SQL_STRING, stop); /* a comment to MySQL, a statement to MariaDB */
    if (starts(at, stop, "/*!")) return TOKEN(SQL_SPACE, end_of_digits(at + 3, stop, ""));
    if (starts(at, stop, "*/")) return TOKEN(SQL_SPACE, at + 2);
    return starts(at, stop, "/*") ? TOKEN(SQL_SPACE, behind(at + 2, stop, "*/", 2)) : NONE;
}

static struct sql_token comment(enum sql_dialect dialect, const char *at, const char *stop) {
    if (dialect == SQL_MYSQL) return comment_of_mysql(at, stop);
    enum sql_kind kind = dialect == SQL_UNKNOWN ? SQL_COMMENT : SQL_SPACE;
    if (starts(at, stop, "--")) return TOKEN(kind, end_of_line(at, stop, dialect == SQL_POSTGRESQL ? "\r\n" : "\n"));
    if (!starts(at, stop, "/*")) return NONE;
    if (dialect == SQL_POSTGRESQL) return TOKEN(kind, end_of_nested_comment(at, stop));
    return TOKEN(kind, behind(at + 2, stop, "*/", 2));
}

/* Of a literal of MySQL's. A server may be set to take backslashes as they are (NO_BACKSLASH_ESCAPES): where the
 * literal would then end elsewhere, all that follows counts as its inside. */
static const char *end_of_escaped(const char *quote, const char *stop) {
    const char *end = end_of_quoted(quote, stop, true);
    return end == end_of_quoted(quote, stop, false) ? end : stop;
}

/* '...', and with a letter before it. */
static struct sql_token literal(enum sql_dialect dialect, const char *at, const char *stop) {
    static const char *const letters[] = {"bBxXnNeE", "xX", "bBxXnNeE", "xXbBnN"};
    bool standard = dialect == SQL_UNKNOWN || dialect == SQL_POSTGRESQL;
    const char *quote = at;
    if (standard && (*at | 32) == 'u' && at + 1 < stop && at[1] == '&')
        quote = at + 2;
    else if (is_among(*at, letters[dialect]))
        quote = at + 1;
    if (quote == stop || *quote != '\'') return NONE;
    if (dialect == SQL_POSTGRESQL && (*at | 32) == 'e')
        return TOKEN(SQL_STRING, end_of_continued(end_of_quoted(quote, stop, true), stop));
    if (dialect == SQL_MYSQL) return TOKEN(SQL_STRING, end_of_escaped(quote, stop));
    return TOKEN(standard ? SQL_PLAIN : SQL_STRING, end_of_quoted(quote, stop, false));
}

static struct sql_token name(enum sql_dialect dialect, const char *at, const char *stop) {
    if (*at == '"' && dialect == SQL_MYSQL) return TOKEN(SQL_DOUBLE, end_of_escaped(at, stop));
    if (*at == '"') return TOKEN(dialect == SQL_POSTGRESQL ? SQL_NAME : SQL_DOUBLE, end_of_quoted(at, stop, false));
    enum sql_kind kind = dialect == SQL_UNKNOWN ? SQL_DOUBTFUL : SQL_NAME;
    if (*at == '`' && dialect != SQL_POSTGRESQL) return TOKEN(kind, end_of_quoted(at, stop, false));
    if (*at == '[' && (dialect == SQL_SQLITE || dialect == SQL_UNKNOWN)) return TOKEN(kind, behind(at, stop, "]", 1));
    return NONE;
}

static struct sql_token of_dialect(enum sql_dialect dialect, const char *at, const char *stop) {
    struct sql_token token = comment(dialect, at, stop);
    if (token.stop) return token;
    const char *q = is_among(*at, "nN") ? at + 1 : at; /* Oracle's q'[...]' */
    if (dialect == SQL_UNKNOWN && (*at == '#' || starts(q, stop, "q'") || starts(q, stop, "Q'")))
        return TOKEN(SQL_DOUBTFUL, at + 1);
    if (*at == '$' && (dialect == SQL_POSTGRESQL || dialect == SQL_UNKNOWN)) {
        const char *end = end_of_dollars(at, stop);
        if (end) return TOKEN(dialect == SQL_POSTGRESQL ? SQL_STRING : SQL_DOUBTFUL, end);
    }
    token = literal(dialect, at, stop);
    return token.stop ? token : name(dialect, at, stop);
}

struct sql_token sql_scan(enum sql_dialect dialect, const char *at, const char *stop) {
    const char *end = end_of_spaces(at, stop), *next;
    if (end > at) return TOKEN(SQL_SPACE, end);
    struct sql_token token = of_dialect(dialect, at, stop);
    if (token.stop) return token;
    if ((end = end_of_number(at, stop))) return TOKEN(SQL_NUMBER, end);
    if ((end = end_of_placeholder(at, stop))) return TOKEN(SQL_PLACEHOLDER, end);
    bool word = sql_is_word(sql_character(at, stop, &next));
    if (!word) return TOKEN(SQL_OTHER, next);
    while ((end = end_of_word(next, stop)) < stop && *end == '$') next = end + 1;
    return TOKEN(SQL_WORD, end);
}

/* ---- what is asked of tokens ---------------------------------------------------------------------------------------
 */

const char *sql_end_by_default(const struct sql_token *token, const char *stop) {
    if ((token->kind != SQL_STRING && token->kind != SQL_DOUBLE) || *token->at == '/') return token->stop;
    const char *quote = token->at;
    while (*quote != '\'' && *quote != '"') quote++; /* behind a letter */
    return end_of_quoted(quote, stop, true);
}

bool sql_is(const struct sql_token *token, const char *word) {
    const char *at = token->at;
    for (; at < token->stop && *word; at++, word++)
        if ((*at >= 'a' && *at <= 'z' ? *at - 32 : *at) != *word) return false;
    return at == token->stop && !*word;
}

bool sql_dot_and_name_follow(const char *at, const char *stop) {
    at = end_of_spaces(at, stop);
    if (at == stop || *at != '.') return false;
    at = end_of_spaces(at + 1, stop);
    return at < stop && (is_among(*at, "\"`[") || is_first_of_name(at, stop));
}
