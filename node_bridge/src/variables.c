/* variables.c - what is watched: functions that lib/ calls. */
#include "calls.h"

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

FUNCTION(describe) { return record(env, info, mw_update_metadata); }

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
