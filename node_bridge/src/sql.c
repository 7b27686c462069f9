/* sql.c - what a SQL statement says, and hashes of its parameters: the core's answers (text/), for lib/sql. */
#include "addon.h"
#include "text/parameter.h"
#include "text/statement.h"

#include <stdlib.h>
#include <uchar.h>

enum { ARGUMENTS = 2, OWN = 4096 };

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

/* ---- parameters --------------------------------------------------------------------------------------------------- */

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
