/* calls.h - functions that lib/ calls: what they are given, and what they return. */
#ifndef MEMWATCH_CALLS_H
#define MEMWATCH_CALLS_H
#include "addon.h"

enum { ARGUMENTS = 6 };

/* All of them, by the file that they are in; but for those of sql.c. */
#define FUNCTIONS_OF_ADDON(F)                                                                                          \
    F(start)                                                                                                           \
    F(keepCallers) F(open) F(close) F(opened) F(readFile) F(makeFile) F(lines) F(setFlag) F(randomBytes) F(stats)      \
        F(attach) F(isFirstThread) F(shared) F(learn) F(nameThread) F(original)
#define FUNCTIONS_OF_VARIABLES(F) F(watch) F(describe) F(unwatch) F(share) F(receive) F(isDetachable)
#define FUNCTIONS_OF_FLOWS(F)                                                                                          \
    F(openContext)                                                                                                     \
    F(updateContext) F(contextIds) F(contextSlot) F(contextFrame) F(pullContexts) F(markContext) F(tellRequest)        \
        F(pullRequests) F(followSpans) F(requestSlots) F(followToken) F(goneTokens) F(goneStatements) F(currentFrame)  \
            F(restoreFrame)
#define FUNCTIONS(F) FUNCTIONS_OF_ADDON(F) FUNCTIONS_OF_VARIABLES(F) FUNCTIONS_OF_FLOWS(F)

#define FUNCTION(name) napi_value call_##name(napi_env env, napi_callback_info info)
#define DECLARATION(name) FUNCTION(name);
FUNCTIONS(DECLARATION)

/* UTF-8 of a string, to be freed; NULL with an exception pending. */
char *to_text(napi_env env, napi_value value, size_t *length);

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
