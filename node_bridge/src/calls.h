/* calls.h - functions that lib/ calls: what they are given, and what they return. lib/native.js says what each is for.
 */
#ifndef MEMWATCH_CALLS_H
#define MEMWATCH_CALLS_H
#include "addon.h"

enum { ARGUMENTS = 6 };

#define FUNCTION(name) napi_value call_##name(napi_env env, napi_callback_info info)

/* addon.c */
FUNCTION(start);
FUNCTION(keepCallers);
FUNCTION(open);
FUNCTION(readFile);
FUNCTION(makeFile);
FUNCTION(opened);
FUNCTION(lines);
FUNCTION(setFlag);
FUNCTION(randomBytes);
FUNCTION(close);
FUNCTION(stats);
FUNCTION(attach);
FUNCTION(isFirstThread);
FUNCTION(shared);
FUNCTION(learn);
FUNCTION(nameThread);
FUNCTION(original);

/* variables.c */
FUNCTION(watch);
FUNCTION(describe);
FUNCTION(unwatch);
FUNCTION(share);
FUNCTION(receive);
FUNCTION(isDetachable);

/* conditions.c */
napi_value arm_condition(napi_env env, napi_callback_info info);
FUNCTION(isArmed);
FUNCTION(prepareBreaks);
FUNCTION(takeHits);
FUNCTION(acting);

/* flows.c */
FUNCTION(openContext);
FUNCTION(updateContext);
FUNCTION(contextSays);
FUNCTION(contextIds);
FUNCTION(contextSlot);
FUNCTION(contextFrame);
FUNCTION(pullContexts);
FUNCTION(markContext);
FUNCTION(tellRequest);
FUNCTION(pullRequests);
FUNCTION(followSpans);
FUNCTION(requestSlots);
FUNCTION(followToken);
FUNCTION(goneTokens);
FUNCTION(goneStatements);
FUNCTION(currentFrame);
FUNCTION(restoreFrame);

/* UTF-8 of a string, to be freed; NULL with an exception pending. */
char *to_text(napi_env env, napi_value value, size_t *length);

/* Of an id and a text, which the core records. */
napi_value record(napi_env env, napi_callback_info info, int (*write)(uint32_t, const void *, size_t));

static inline void arguments(napi_env env, napi_callback_info info, napi_value *argv) {
    size_t n = ARGUMENTS;
    napi_get_cb_info(env, info, &n, argv, NULL, NULL);
}

static inline napi_value result(napi_env env, int error) { return error < 0 ? throw_core(env, error) : NULL; }

static inline uint32_t to_number(napi_env env, napi_value value) {
    uint32_t n = 0;
    napi_get_value_uint32(env, value, &n);
    return n;
}

static inline double to_double(napi_env env, napi_value value) {
    double d = 0;
    napi_get_value_double(env, value, &d);
    return d;
}

static inline napi_value string(napi_env env, const char *text) {
    napi_value value;
    napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
    return value;
}

static inline void put(napi_env env, napi_value object, const char *name, double number) {
    napi_value value;
    napi_create_double(env, number, &value);
    napi_set_named_property(env, object, name, value);
}

static inline napi_value boolean(napi_env env, bool yes) {
    napi_value value;
    napi_get_boolean(env, yes, &value);
    return value;
}

#endif
