/* addon.c - the functions that lib/ calls. They check nothing that lib/ has checked; what the core refuses is thrown as
 * an Error whose `errno` is the core's number. lib/native.js says what each is for. */
#include "addon.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ARGUMENTS = 6 };

#define FUNCTION(name) static napi_value name(napi_env env, napi_callback_info info)

static size_t arguments(napi_env env, napi_callback_info info, napi_value *argv) {
    size_t n = ARGUMENTS;
    napi_get_cb_info(env, info, &n, argv, NULL, NULL);
    return n;
}

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

static napi_value result(napi_env env, int error) { return error < 0 ? throw_core(env, error) : NULL; }

static uint32_t to_number(napi_env env, napi_value value) {
    uint32_t n = 0;
    napi_get_value_uint32(env, value, &n);
    return n;
}

static double to_double(napi_env env, napi_value value) {
    double d = 0;
    napi_get_value_double(env, value, &d);
    return d;
}

/* UTF-8 of a string, to be freed; NULL with an exception pending. */
static char *to_text(napi_env env, napi_value value, size_t *length) {
    size_t n = 0;
    char *text = NULL;
    if (napi_get_value_string_utf8(env, value, NULL, 0, &n) == napi_ok && (text = malloc(n + 1)))
        napi_get_value_string_utf8(env, value, text, n + 1, &n);
    else
        napi_throw_type_error(env, NULL, "memwatch: a string is expected");
    if (length) *length = n;
    return text;
}

static napi_value string(napi_env env, const char *text) {
    napi_value value;
    napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
    return value;
}

static void put(napi_env env, napi_value object, const char *name, double number) {
    napi_value value;
    napi_create_double(env, number, &value);
    napi_set_named_property(env, object, name, value);
}

static napi_value boolean(napi_env env, bool yes) {
    napi_value value;
    napi_get_boolean(env, yes, &value);
    return value;
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

FUNCTION(closeJournal) {
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

/* ---- variables --------------------------------------------------------------------------------------------------- */

FUNCTION(watch) { /* buffer, offset, length, flags, depth start, depth stop (-1: to the end) -> [id, buffer] */
    napi_value argv[ARGUMENTS], pair, id;
    void *data = NULL;
    size_t whole = 0;
    arguments(env, info, argv);
    napi_get_arraybuffer_info(env, argv[0], &data, &whole);
    size_t offset = (size_t)to_double(env, argv[1]), length = (size_t)to_double(env, argv[2]);
    if (!length || offset > whole || length > whole - offset) return throw_core(env, MW_ERR_RANGE);
    double stop = to_double(env, argv[5]);
    mw_depth depth = {(uint64_t)to_double(env, argv[4]), stop < 0 ? UINT64_MAX : (uint64_t)stop};
    int error;
    struct block *block = block_new((char *)data + offset, length, to_number(env, argv[3]), depth, &error);
    if (!block) return throw_core(env, error);
    napi_create_array_with_length(env, 2, &pair);
    napi_create_uint32(env, block->id, &id);
    napi_set_element(env, pair, 0, id);
    napi_set_element(env, pair, 1, isolate_buffer(env, block));
    return pair;
}

FUNCTION(describe) {
    napi_value argv[ARGUMENTS];
    size_t length;
    arguments(env, info, argv);
    char *json = to_text(env, argv[1], &length);
    if (!json) return NULL;
    int error = mw_update_metadata(to_number(env, argv[0]), json, length);
    free(json);
    return result(env, error);
}

FUNCTION(unwatch) {
    napi_value argv[ARGUMENTS];
    arguments(env, info, argv);
    return boolean(env, block_end(to_number(env, argv[0])));
}

FUNCTION(share) {
    napi_value argv[ARGUMENTS];
    arguments(env, info, argv);
    return boolean(env, block_share(to_number(env, argv[0])));
}

FUNCTION(receive) {
    napi_value argv[ARGUMENTS];
    arguments(env, info, argv);
    struct block *block = block_hold(to_number(env, argv[0]));
    return block ? isolate_buffer(env, block) : NULL;
}

FUNCTION(isDetachable) {
    napi_value argv[ARGUMENTS];
    arguments(env, info, argv);
    return boolean(env, isolate_is_detachable(argv[0]));
}

/* ---- contexts ---------------------------------------------------------------------------------------------------- */

static napi_value record(napi_env env, napi_callback_info info, int (*write)(uint32_t, const void *, size_t)) {
    napi_value argv[ARGUMENTS];
    size_t length;
    arguments(env, info, argv);
    char *json = to_text(env, argv[1], &length);
    if (!json) return NULL;
    int error = write(to_number(env, argv[0]), json, length);
    free(json);
    return result(env, error);
}

FUNCTION(openContext) { return record(env, info, mw_context_record); }
FUNCTION(updateContext) { return record(env, info, mw_outcome_record); }

FUNCTION(contextIds) { /* the first of 65536 ids that are this thread's; undefined: there are no more */
    (void)info;
    static _Atomic uint32_t blocks;
    napi_value first;
    uint32_t block = atomic_load(&blocks);
    do
        if (block > UINT16_MAX) return NULL;
    while (!atomic_compare_exchange_weak(&blocks, &block, block + 1));
    napi_create_uint32(env, block << 16, &first);
    return first;
}

static napi_value words(napi_env env, napi_typedarray_type type, void *at, size_t n) {
    napi_value buffer, array;
    if (!at || napi_create_external_arraybuffer(env, at, n * sizeof(uint32_t), NULL, NULL, &buffer) != napi_ok)
        return NULL;
    napi_create_typedarray(env, type, n, buffer, 0, &array);
    return array;
}

FUNCTION(contextSlot) {
    (void)info;
    return words(env, napi_uint32_array, isolate_context(), 1);
}

FUNCTION(contextFrame) {
    (void)info;
    napi_value pair, frame, collected;
    uint32_t *collections;
    frame = words(env, napi_int32_array, isolate_context_frame(&collections), 2);
    collected = frame ? words(env, napi_int32_array, collections, 1) : NULL;
    if (!collected) return NULL;
    napi_create_array_with_length(env, 2, &pair);
    napi_set_element(env, pair, 0, frame);
    napi_set_element(env, pair, 1, collected);
    return pair;
}

FUNCTION(pullContexts) {
    (void)info;
    return boolean(env, isolate_pull_contexts());
}

FUNCTION(markContext) {
    napi_value argv[ARGUMENTS];
    arguments(env, info, argv);
    return boolean(env, isolate_mark_context(to_number(env, argv[0])));
}

FUNCTION(tellRequest) {
    napi_value argv[ARGUMENTS], number;
    size_t length;
    arguments(env, info, argv);
    char *json = to_text(env, argv[1], &length);
    if (!json) return NULL;
    napi_create_uint32(env, isolate_tell_request(argv[0], json, length), &number);
    free(json);
    return number;
}

FUNCTION(pullRequests) {
    napi_value argv[ARGUMENTS];
    arguments(env, info, argv);
    return boolean(env, isolate_pull_requests(argv[0], argv[1]));
}

FUNCTION(followSpans) {
    napi_value argv[ARGUMENTS];
    arguments(env, info, argv);
    isolate_follow_spans(argv[0]);
    return NULL;
}

FUNCTION(requestSlots) {
    (void)info;
    return words(env, napi_uint32_array, isolate_requests(), 2);
}

FUNCTION(followToken) {
    napi_value argv[ARGUMENTS];
    arguments(env, info, argv);
    isolate_follow_token(argv[0], argv[1]);
    return NULL;
}

FUNCTION(goneTokens) {
    (void)info;
    return words(env, napi_uint32_array, isolate_gone_tokens(), 1);
}

FUNCTION(goneStatements) {
    (void)env, (void)info;
    return isolate_gone_statements();
}

FUNCTION(currentFrame) {
    (void)env, (void)info;
    return isolate_current_frame();
}

FUNCTION(restoreFrame) {
    napi_value argv[ARGUMENTS];
    arguments(env, info, argv);
    isolate_restore_frame(argv[0]);
    return NULL;
}

napi_value memwatch_addon_1(napi_env env, napi_value exports);
__attribute__((visibility("default"))) napi_value memwatch_addon_1(napi_env env, napi_value exports) {
    static const struct {
        const char *name;
        napi_callback call;
    } functions[] = {
        {"start", start},
        {"keepCallers", keepCallers},
        {"open", open},
        {"close", closeJournal},
        {"opened", opened},
        {"readFile", readFile},
        {"makeFile", makeFile},
        {"lines", lines},
        {"setFlag", setFlag},
        {"randomBytes", randomBytes},
        {"stats", stats},
        {"attach", attach},
        {"isFirstThread", isFirstThread},
        {"shared", shared},
        {"learn", learn},
        {"nameThread", nameThread},
        {"original", original},
        {"watch", watch},
        {"describe", describe},
        {"unwatch", unwatch},
        {"share", share},
        {"receive", receive},
        {"isDetachable", isDetachable},
        {"openContext", openContext},
        {"updateContext", updateContext},
        {"contextIds", contextIds},
        {"contextSlot", contextSlot},
        {"contextFrame", contextFrame},
        {"pullContexts", pullContexts},
        {"markContext", markContext},
        {"tellRequest", tellRequest},
        {"pullRequests", pullRequests},
        {"followSpans", followSpans},
        {"requestSlots", requestSlots},
        {"followToken", followToken},
        {"goneTokens", goneTokens},
        {"goneStatements", goneStatements},
        {"currentFrame", currentFrame},
        {"restoreFrame", restoreFrame},
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
