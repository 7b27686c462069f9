/* conditions.c - what is done at once where a condition is met: functions that lib/ calls. */
#include <stdlib.h>

#include "breaks.h"
#include "calls.h"

/* (variable, program, unit, action, letter, size, name, when, listens) -> a handle, or undefined: there are too many */
napi_value arm_condition(napi_env env, napi_callback_info info) {
    enum { TAKEN = 9 };
    napi_value argv[TAKEN], made = NULL;
    size_t n = TAKEN;
    void *program;
    struct condition c = {0};
    napi_valuetype given;
    napi_get_cb_info(env, info, &n, argv, NULL, NULL);
    napi_get_buffer_info(env, argv[1], &program, &c.length);
    napi_typeof(env, argv[7], &given);
    char *name = to_text(env, argv[6], NULL), *when = name && given == napi_string ? to_text(env, argv[7], NULL) : NULL;
    c.variable = to_number(env, argv[0]);
    c.program = program;
    c.unit = to_number(env, argv[2]);
    c.action = (enum action)to_number(env, argv[3]);
    c.letter = (char)to_number(env, argv[4]);
    c.size = to_number(env, argv[5]);
    c.name = name;
    napi_get_value_bool(env, argv[8], &c.listens);
    c.when = when;
    int64_t handle = name ? breaks_arm(env, &c) : 0;
    free(name);
    free(when);
    if (handle < 0 && handle != BREAKS_FULL) return throw_core(env, (int)handle);
    if (handle > 0) napi_create_uint32(env, (uint32_t)handle, &made);
    return made;
}

FUNCTION(isArmed) {
    napi_value argv[ARGUMENTS];
    arguments(env, info, argv);
    return boolean(env, breaks_is_armed(to_number(env, argv[0])));
}

FUNCTION(prepareBreaks) {
    napi_value argv[ARGUMENTS];
    arguments(env, info, argv);
    char *thread = to_text(env, argv[2], NULL);
    if (thread) breaks_prepare(argv[0], argv[1], thread);
    free(thread);
    return NULL;
}

FUNCTION(takeHits) {
    (void)info;
    return breaks_take(env);
}

FUNCTION(acting) {
    napi_value argv[ARGUMENTS];
    bool acts = false;
    arguments(env, info, argv);
    napi_get_value_bool(env, argv[0], &acts);
    breaks_acting(acts);
    return NULL;
}
