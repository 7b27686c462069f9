/* flows.c - whose flow runs, under which statement, on whose behalf: functions that lib/ calls. */
#include "calls.h"

#include <stdatomic.h>
#include <stdlib.h>

FUNCTION(openContext) { return record(env, info, mw_context_record); }
FUNCTION(updateContext) { return record(env, info, mw_outcome_record); }

FUNCTION(contextSays) {
    napi_value argv[ARGUMENTS];
    size_t length;
    arguments(env, info, argv);
    char *text = to_text(env, argv[1], &length);
    if (text) mw_context_says(to_number(env, argv[0]), text, length);
    free(text);
    return NULL;
}

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
    enum pulled pulled = isolate_pull_requests(argv[0], argv[1]);
    return pulled == PULLED_NOWHERE ? NULL : boolean(env, pulled == PULLED);
}

FUNCTION(followSpans) {
    napi_value argv[ARGUMENTS];
    arguments(env, info, argv);
    isolate_follow_spans(argv[0]);
    return NULL;
}

FUNCTION(requestSlots) {
    napi_value argv[ARGUMENTS];
    napi_typedarray_type type;
    size_t length;
    void *executing;
    arguments(env, info, argv);
    if (napi_get_typedarray_info(env, argv[0], &type, &length, &executing, NULL, NULL) || type != napi_float64_array)
        executing = NULL;
    return words(env, napi_uint32_array, isolate_requests(executing), 3);
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
