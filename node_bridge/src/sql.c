/* sql.c - what a SQL statement says, and hashes of its parameters: the core's answers (text/), for lib/sql. */
#include "addon.h"
#include "state.h"
#include "text/parameter.h"
#include "text/statement.h"

#include <stdlib.h>
#include <uchar.h>

enum { ARGUMENTS = 6, OWN = 4096 };

static void arguments(napi_env env, napi_callback_info info, napi_value *argv) {
    size_t n = ARGUMENTS;
    napi_get_cb_info(env, info, &n, argv, NULL, NULL);
}

/* UTF-8 of a string's first units. `room`: of `own`, and what is returned is to be freed unless it is that. NULL: no
 * string, or no memory; *halves: it has half a character somewhere, which is a question mark here. */
static char *to_utf8(napi_env env, napi_value value, size_t most, char own[OWN], size_t *length, bool *halves) {
    char16_t few[OWN / 3 + 1], *units = few;
    size_t n;
    *halves = false;
    if (napi_get_value_string_utf16(env, value, NULL, 0, &n) != napi_ok) return NULL;
    if (n > most) n = most;
    bool fits = n < sizeof few / sizeof *few;
    char *text = fits ? own : malloc(3 * n);
    if (!fits) units = malloc((n + 1) * sizeof *units);
    if (!text || !units || napi_get_value_string_utf16(env, value, units, n + 1, &n) != napi_ok) {
        if (!fits) free(text), free(units);
        return NULL;
    }
    char *out = text;
    for (size_t i = 0; i < n; i++) {
        uint32_t c = units[i];
        if (c >= 0xd800 && c < 0xe000) {
            if (c < 0xdc00 && i + 1 < n && units[i + 1] >= 0xdc00 && units[i + 1] < 0xe000) {
                c = 0x10000 + ((c - 0xd800) << 10 | (uint32_t)(units[++i] - 0xdc00));
            } else {
                c = '?';
                *halves = true;
            }
        }
        if (c < 0x80) {
            *out++ = (char)c;
        } else if (c < 0x800) {
            *out++ = (char)(0xc0 | c >> 6);
            *out++ = (char)(0x80 | (c & 63));
        } else if (c < 0x10000) {
            *out++ = (char)(0xe0 | c >> 12);
            *out++ = (char)(0x80 | (c >> 6 & 63));
            *out++ = (char)(0x80 | (c & 63));
        } else {
            *out++ = (char)(0xf0 | c >> 18);
            *out++ = (char)(0x80 | (c >> 12 & 63));
            *out++ = (char)(0x80 | (c >> 6 & 63));
            *out++ = (char)(0x80 | (c & 63));
        }
    }
    if (!fits) free(units);
    *length = (size_t)(out - text);
    return text;
}

napi_value sql_read_statement(napi_env env, napi_callback_info info) {
    napi_value argv[ARGUMENTS], values[4], result = NULL;
    char own[OWN], name[16], *buffer;
    size_t length, name_length = 0;
    bool halves;
    arguments(env, info, argv);
    napi_get_value_string_latin1(env, argv[1], name, sizeof name, &name_length);
    char *text = to_utf8(env, argv[0], 2 * SQL_CHARACTERS_MAX + 2, own, &length, &halves);
    if (!text || !(buffer = malloc(sql_buffer_size(length)))) {
        if (text != own) free(text);
        napi_throw_type_error(env, NULL, "memwatch: a statement's text is expected");
        return NULL;
    }
    struct sql_statement read;
    sql_read(text, length, sql_dialect_of(name, name_length), buffer, &read);
    napi_create_array_with_length(env, 4, &result);
    napi_create_string_utf8(env, read.text, read.length, &values[0]);
    napi_create_int32(env, (int32_t)read.action, &values[1]);
    napi_create_string_utf8(env, read.savepoint, read.savepoint_length, &values[2]);
    napi_get_boolean(env, read.keeps_case, &values[3]);
    for (uint32_t i = 0; i < 4; i++) napi_set_element(env, result, i, values[i]);
    free(buffer);
    if (text != own) free(text);
    return result;
}

/* ---- parameters ---------------------------------------------------------------------------------------------------
 */

static bool to_key(napi_env env, napi_value value, uint64_t key[2]) {
    void *bytes = NULL;
    size_t n = 0;
    napi_get_buffer_info(env, value, &bytes, &n);
    if (n == 2 * sizeof *key) memcpy(key, bytes, n);
    return n == 2 * sizeof *key;
}

static napi_value hexadecimal(napi_env env, uint64_t number) {
    char text[16];
    napi_value result;
    for (int i = 16; i--; number >>= 4) text[i] = "0123456789abcdef"[number & 15];
    napi_create_string_latin1(env, text, sizeof text, &result);
    return result;
}

napi_value sql_hash_form(napi_env env, napi_callback_info info) {
    napi_value argv[ARGUMENTS];
    uint64_t key[2];
    void *form = NULL;
    size_t n = 0;
    arguments(env, info, argv);
    napi_get_buffer_info(env, argv[1], &form, &n);
    return to_key(env, argv[0], key) ? hexadecimal(env, siphash(key, form, n)) : NULL;
}

napi_value sql_hash_number(napi_env env, napi_callback_info info) {
    napi_value argv[ARGUMENTS];
    uint64_t key[2], hash;
    double number;
    arguments(env, info, argv);
    bool known = napi_get_value_double(env, argv[1], &number) == napi_ok && to_key(env, argv[0], key) &&
                 sql_hash_double(key, number, &hash);
    return known ? hexadecimal(env, hash) : NULL;
}

napi_value sql_hash_text(napi_env env, napi_callback_info info) {
    napi_value argv[ARGUMENTS], result = NULL;
    uint64_t key[2];
    char own[OWN];
    size_t n;
    bool halves;
    arguments(env, info, argv);
    char *text = to_utf8(env, argv[1], SQL_FORM_MAX, own, &n, &halves);
    if (text && !halves && n + 1 < SQL_FORM_MAX && to_key(env, argv[0], key))
        result = hexadecimal(env, sql_hash(key, 's', text, n));
    if (text != own) free(text);
    return result;
}

/* The hash of a value whose form is known here; false: JavaScript makes it. */
static bool hash_of(napi_env env, const uint64_t key[2], napi_value value, uint64_t *hash) {
    napi_valuetype type;
    char own[OWN];
    double number;
    size_t n;
    bool yes, known;
    if (napi_typeof(env, value, &type) != napi_ok) return false;
    switch (type) {
    case napi_undefined:
    case napi_null: *hash = sql_hash(key, '0', "", 0); return true;
    case napi_boolean: napi_get_value_bool(env, value, &yes); return *hash = sql_hash_integer(key, yes), true;
    case napi_number:
        return napi_get_value_double(env, value, &number) == napi_ok && sql_hash_double(key, number, hash);
    case napi_string: {
        char *text = to_utf8(env, value, SQL_FORM_MAX, own, &n, &yes);
        known = text && !yes && n + 1 < SQL_FORM_MAX;
        if (known) *hash = sql_hash(key, 's', text, n);
        if (text != own) free(text);
        return known;
    }
    default: return false;
    }
}

/* ---- records ----------------------------------------------------------------------------------------------------- */

static char *put_bytes(char *out, const void *bytes, size_t n) { return (char *)memcpy(out, bytes, n) + n; }
#define PUT(out, literal) put_bytes(out, literal, sizeof(literal) - 1)

static char *put_number(char *out, uint64_t number) { return out + sql_digits(out, number); }

/* Of whole us since 1970, in ns; of less than nothing, that it isn't known. */
static char *put_time(char *out, double us) {
    return us >= 0 && us < 1e16 ? PUT(put_number(out, (uint64_t)us), "000") : PUT(out, "null");
}

static double time_in_us(void) { return (double)(clock_now() / 1000); }

napi_value sql_now(napi_env env, napi_callback_info info) {
    (void)info;
    napi_value now;
    napi_create_double(env, time_in_us(), &now);
    return now;
}

static uint32_t to_id(napi_env env, napi_value value) {
    uint32_t id = 0;
    napi_get_value_uint32(env, value, &id);
    return id;
}

/* The parameters' hashes, as the record has them; NULL: JavaScript makes them. */
static char *put_hashes(napi_env env, const uint64_t key[2], napi_value values, uint32_t count, char *out) {
    napi_value value;
    uint64_t hash;
    out = PUT(out, ",\"parameters\":");
    for (uint32_t i = 0; i < count; i++) {
        if (napi_get_element(env, values, i, &value) != napi_ok || !hash_of(env, key, value, &hash)) return NULL;
        *out++ = i ? ',' : '[';
        *out++ = '"';
        for (int at = 16; at--; hash >>= 4) out[at] = "0123456789abcdef"[hash & 15];
        out += 16;
        *out++ = '"';
    }
    *out++ = ']';
    return out;
}

enum { HASHES_MOST = 64, TAIL = 64 + 20 * HASHES_MOST };

napi_value sql_begin_statement(napi_env env, napi_callback_info info) {
    napi_value argv[ARGUMENTS], result = NULL;
    void *head = NULL, *where = NULL;
    size_t head_length = 0, where_length = 0, kept_length = 0;
    uint32_t count = 0;
    uint64_t key[2];
    char own[OWN], *text = own;
    bool is_list = false, tell = false;
    arguments(env, info, argv);
    uint32_t id = to_id(env, argv[0]);
    napi_get_value_bool(env, argv[1], &tell);
    napi_get_buffer_info(env, argv[2], &head, &head_length);
    napi_get_buffer_info(env, argv[3], &where, &where_length);
    if (to_key(env, argv[4], key)) {
        is_list = napi_get_array_length(env, argv[5], &count) == napi_ok; /* or there are none */
        if (count > HASHES_MOST) return throw_core(env, MW_ERR_TOO_LONG);
    } else {
        napi_get_value_string_utf8(env, argv[5], NULL, 0, &kept_length);
    }
    if (!tell) head_length = where_length = 0;
    isolate_mark_context(id);
    size_t room = head_length + where_length + kept_length + TAIL;
    if (room > sizeof own && !(text = malloc(room))) return throw_core(env, MW_ERR_NO_MEMORY);
    char *out = put_bytes(put_bytes(text, head, head_length), where, where_length);
    out = put_number(PUT(out, ",\"id\":"), id);
    out = put_time(PUT(out, ",\"started\":"), time_in_us());
    if (is_list && count) {
        out = put_hashes(env, key, argv[5], count, out);
    } else if (kept_length) {
        napi_get_value_string_utf8(env, argv[5], out, kept_length + 1, &kept_length);
        out += kept_length;
    }
    if (!out) {
        napi_get_boolean(env, false, &result);
    } else {
        *out++ = '}';
        size_t length = (size_t)(out - text);
        int error = tell ? mw_context_record(id, text, length) : 0;
        if (error) throw_core(env, error);
        if (!tell) napi_create_string_utf8(env, text, length, &result);
    }
    if (text != own) free(text);
    return result;
}

napi_value sql_end_statement(napi_env env, napi_callback_info info) {
    napi_value argv[ARGUMENTS];
    char text[2048]; /* the name of an error's class, 200 characters: up to 6 bytes each */
    double rows = -1, ended = -1;
    size_t length = 0;
    bool autocommit = false;
    arguments(env, info, argv);
    char *out = PUT(text, "{\"outcome\":");
    napi_get_value_string_utf8(env, argv[1], out, sizeof text - 128, &length);
    out += length;
    napi_get_value_double(env, argv[2], &rows);
    if (rows >= 0 && rows < 1e18) out = put_number(PUT(out, ",\"rows\":"), (uint64_t)rows);
    napi_get_value_double(env, argv[3], &ended);
    out = put_time(PUT(out, ",\"ended\":"), ended);
    out = put_number(PUT(out, ",\"transaction\":"), to_id(env, argv[4]));
    napi_get_value_bool(env, argv[5], &autocommit);
    if (autocommit) out = PUT(out, ",\"autocommit\":true");
    *out++ = '}';
    int error = mw_outcome_record(to_id(env, argv[0]), text, (size_t)(out - text));
    return error ? throw_core(env, error) : NULL;
}
