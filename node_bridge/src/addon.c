/* addon.c - the functions that lib/ calls. They check nothing that lib/ has checked; what the core refuses is thrown as
 * an Error whose `errno` is the core's number. lib/native.js says what each is for. */
#include "calls.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

napi_value throw_core(napi_env env, int error) {
    int why = errno;
    napi_value text, object, number;
    napi_create_string_utf8(env, mw_strerror(error), NAPI_AUTO_LENGTH, &text);
    napi_create_error(env, NULL, text, &object);
    napi_create_int32(env, error, &number);
    napi_set_named_property(env, object, "errno", number);
    if (error == MW_ERR_JOURNAL_OPEN) {
        napi_create_string_utf8(env, strerror(why), NAPI_AUTO_LENGTH, &text);
        napi_set_named_property(env, object, "reason", text);
    }
    napi_throw(env, object);
    return NULL;
}

/* UTF-8 of a string, to be freed; NULL with an exception pending. */
char *to_text(napi_env env, napi_value value, size_t *length) {
    size_t n = 0;
    char *text = NULL;
    if (napi_get_value_string_utf8(env, value, NULL, 0, &n) == napi_ok && (text = malloc(n + 1)))
        napi_get_value_string_utf8(env, value, text, n + 1, &n);
    else
        napi_throw_type_error(env, NULL, "memwatch: a string is expected");
    if (length) *length = n;
    return text;
}

/* ---- the process ------------------------------------------------------------------------------------------------- */

FUNCTION(start) {
    napi_value argv[ARGUMENTS];
    arguments(env, info, argv);
    int error = mw_start((mw_tracker)to_number(env, argv[0]));
    if (error) return throw_core(env, error);
    return string(env, mw_tracker_name());
}

FUNCTION(keepCallers) {
    napi_value argv[ARGUMENTS];
    arguments(env, info, argv);
    return result(env, isolate_keep_callers(to_number(env, argv[0])));
}

static char *journal; /* path of the last one opened */
static atomic_bool closed;

static void close_at_exit(void) { mw_journal_close(); }

FUNCTION(open) {
    napi_value argv[ARGUMENTS];
    void *session;
    size_t length;
    static bool registered;
    arguments(env, info, argv);
    napi_get_buffer_info(env, argv[1], &session, &length);
    char *path = to_text(env, argv[0], NULL);
    if (!path) return NULL;
    errno = EINVAL;
    int error = mw_journal_limit((uint64_t)to_double(env, argv[2]), (mw_policy)to_number(env, argv[3]));
    if (!error) error = length == 16 ? mw_journal_open(path, "node", session) : MW_ERR_JOURNAL_OPEN;
    if (error) {
        free(path);
        return throw_core(env, error);
    }
    __atomic_store_n(&journal, path, __ATOMIC_RELEASE); /* the one before is kept: another thread may be reading it */
    mw_set_origin_provider(isolate_origin);
    if (!registered) registered = !atexit(close_at_exit); /* after the program's own exit handlers */
    return NULL;
}

FUNCTION(readFile) { /* (folder, name, most) -> Buffer or -errno */
    napi_value argv[ARGUMENTS], result = NULL;
    uint8_t *bytes = NULL;
    size_t length;
    arguments(env, info, argv);
    char *folder = to_text(env, argv[0], NULL), *name = folder ? to_text(env, argv[1], NULL) : NULL;
    if (name) {
        int error = file_read(folder, name, to_number(env, argv[2]), &bytes, &length);
        if (error)
            napi_create_int32(env, error, &result);
        else
            napi_create_buffer_copy(env, length, bytes, NULL, &result);
    }
    free(bytes);
    free(folder);
    free(name);
    return result;
}

FUNCTION(makeFile) { /* (folder, name, Buffer) -> 0 or -errno */
    napi_value argv[ARGUMENTS], result = NULL;
    void *bytes;
    size_t length;
    arguments(env, info, argv);
    napi_get_buffer_info(env, argv[2], &bytes, &length);
    char *folder = to_text(env, argv[0], NULL), *name = folder ? to_text(env, argv[1], NULL) : NULL;
    if (name) napi_create_int32(env, file_make(folder, name, bytes, length), &result);
    free(folder);
    free(name);
    return result;
}

FUNCTION(opened) {
    (void)info;
    napi_value pair;
    const char *path = __atomic_load_n(&journal, __ATOMIC_ACQUIRE);
    if (!path) return NULL;
    napi_create_array_with_length(env, 2, &pair);
    napi_set_element(env, pair, 0, string(env, path));
    napi_set_element(env, pair, 1, boolean(env, !atomic_load(&closed)));
    return pair;
}

napi_value record(napi_env env, napi_callback_info info, int (*write)(uint32_t, const void *, size_t)) {
    napi_value argv[ARGUMENTS];
    size_t length;
    arguments(env, info, argv);
    char *json = to_text(env, argv[1], &length);
    if (!json) return NULL;
    int error = write(to_number(env, argv[0]), json, length);
    free(json);
    return result(env, error);
}

FUNCTION(lines) { /* on or off; benchmarks measure what they cost */
    napi_value argv[ARGUMENTS];
    bool on = true;
    arguments(env, info, argv);
    napi_get_value_bool(env, argv[0], &on);
    mw_set_origin_provider(on ? isolate_origin : NULL);
    return NULL;
}

FUNCTION(setFlag) {
    napi_value argv[ARGUMENTS];
    size_t length;
    arguments(env, info, argv);
    char *flag = to_text(env, argv[0], &length);
    if (flag) isolate_flag(flag, length);
    free(flag);
    return NULL;
}

FUNCTION(randomBytes) { /* at most 256 bytes: for keys */
    napi_value argv[ARGUMENTS], buffer;
    void *bytes;
    arguments(env, info, argv);
    uint32_t n = to_number(env, argv[0]);
    if (napi_create_buffer(env, n, &bytes, &buffer) != napi_ok) return NULL;
    if (!getentropy(bytes, n)) return buffer;
    napi_throw_error(env, NULL, "memwatch: the system gives no random bytes (getrandom is refused)");
    return NULL;
}

FUNCTION(close) {
    (void)info;
    atomic_store(&closed, true);
    int error = mw_journal_close();
    return error == MW_ERR_NO_JOURNAL ? NULL : result(env, error);
}

FUNCTION(stats) {
    (void)info;
    mw_stats core;
    struct line_counts lines;
    napi_value object;
    mw_get_stats(&core);
    isolate_counts(&lines);
    napi_create_object(env, &object);
    put(env, object, "stores", (double)core.stores);
    put(env, object, "lost", (double)core.lost);
    put(env, object, "forms", (double)core.forms);
    put(env, object, "chained", (double)core.chained);
    put(env, object, "variables", (double)core.variables);
    put(env, object, "pages", (double)core.pages);
    put(env, object, "codes", (double)lines.codes);
    put(env, object, "walks", (double)lines.walks);
    put(env, object, "inexact", (double)lines.inexact);
    return object;
}

/* ---- the thread -------------------------------------------------------------------------------------------------- */

FUNCTION(attach) {
    (void)info;
    if (isolate_attach()) napi_add_env_cleanup_hook(env, isolate_detach, NULL);
    return NULL;
}

FUNCTION(isFirstThread) {
    (void)info;
    return boolean(env, gettid() == getpid());
}

FUNCTION(shared) { /* an expression -> its value, in the main realm: made once an isolate, the same for all that ask */
    napi_value argv[ARGUMENTS], value = isolate_kept();
    arguments(env, info, argv);
    if (!value && napi_run_script(env, argv[0], &value) == napi_ok) isolate_keep(value);
    return value;
}

FUNCTION(learn) {
    napi_value argv[ARGUMENTS];
    arguments(env, info, argv);
    char *name = to_text(env, argv[0], NULL);
    if (!name) return NULL;
    bool learnt = isolate_learn_operations(name);
    free(name);
    return boolean(env, learnt);
}

FUNCTION(nameThread) {
    napi_value argv[ARGUMENTS];
    size_t length;
    arguments(env, info, argv);
    char *name = to_text(env, argv[0], &length);
    if (!name) return NULL;
    int error = mw_thread_name(0, name, length < 255 ? length : 255);
    free(name);
    return result(env, error);
}

FUNCTION(original) { /* file, line, column -> [file, line, column] | undefined: where it is | null: nobody knows */
    napi_value argv[ARGUMENTS], found, number;
    const char *source;
    arguments(env, info, argv);
    uint32_t at[2] = {to_number(env, argv[1]), to_number(env, argv[2])};
    char *file = to_text(env, argv[0], NULL);
    enum original is = file ? isolate_original(file, &at[0], &at[1], &source) : ORIGINAL_SAME;
    free(file);
    if (is == ORIGINAL_UNKNOWN) napi_get_null(env, &found);
    if (is != ORIGINAL_FOUND) return is == ORIGINAL_UNKNOWN ? found : NULL;
    napi_create_array_with_length(env, 3, &found);
    napi_set_element(env, found, 0, string(env, source));
    for (uint32_t i = 0; i < 2; i++) {
        napi_create_uint32(env, at[i], &number);
        napi_set_element(env, found, i + 1, number);
    }
    return found;
}

#define ENTRY(name) {#name, call_##name}

napi_value memwatch_addon_1(napi_env env, napi_value exports);
__attribute__((visibility("default"))) napi_value memwatch_addon_1(napi_env env, napi_value exports) {
    static const struct {
        const char *name;
        napi_callback call;
    } functions[] = {
        ENTRY(start),
        ENTRY(keepCallers),
        ENTRY(open),
        ENTRY(readFile),
        ENTRY(makeFile),
        ENTRY(opened),
        ENTRY(lines),
        ENTRY(setFlag),
        ENTRY(randomBytes),
        ENTRY(close),
        ENTRY(stats),
        ENTRY(attach),
        ENTRY(isFirstThread),
        ENTRY(shared),
        ENTRY(learn),
        ENTRY(nameThread),
        ENTRY(original),
        ENTRY(watch),
        ENTRY(describe),
        ENTRY(unwatch),
        ENTRY(share),
        ENTRY(receive),
        ENTRY(isDetachable),
        ENTRY(openContext),
        ENTRY(updateContext),
        ENTRY(contextSays),
        ENTRY(contextIds),
        ENTRY(contextSlot),
        ENTRY(contextFrame),
        ENTRY(pullContexts),
        ENTRY(markContext),
        ENTRY(tellRequest),
        ENTRY(pullRequests),
        ENTRY(followSpans),
        ENTRY(requestSlots),
        ENTRY(followToken),
        ENTRY(goneTokens),
        ENTRY(goneStatements),
        ENTRY(currentFrame),
        ENTRY(restoreFrame),
        {"arm", arm_condition},
        ENTRY(isArmed),
        ENTRY(prepareBreaks),
        ENTRY(takeHits),
        ENTRY(acting),
        {"readStatement", sql_read_statement},
        {"hash", sql_hash_form},
        {"hashNumber", sql_hash_number},
        {"hashText", sql_hash_text},
        {"beginStatement", sql_begin_statement},
        {"endStatement", sql_end_statement},
        {"now", sql_now},
    };
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        napi_value function;
        if (napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].call, NULL, &function))
            return NULL;
        napi_set_named_property(env, exports, functions[i].name, function);
    }
    return exports;
}

NAPI_MODULE_INIT() { return serving_addon()(env, exports); }
