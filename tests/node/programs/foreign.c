/* An addon that knows nothing of MemWatch: writes to the array it is given, from here and from a thread of its own, and
 * can crash. */
#include <node_api.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

static struct {
    volatile int32_t *numbers;
    size_t n;
} job;

static int32_t *array(napi_env env, napi_callback_info info, size_t *n) {
    napi_value value;
    size_t one = 1;
    void *data = NULL;
    napi_get_cb_info(env, info, &one, &value, NULL, NULL);
    napi_get_typedarray_info(env, value, NULL, n, &data, NULL, NULL);
    return data;
}

static napi_value count(napi_env env, napi_callback_info info) {
    size_t n;
    volatile int32_t *numbers = array(env, info, &n);
    for (size_t i = 0; i < n; i++) numbers[i] = (int32_t)i + 1;
    return NULL;
}

static napi_value clear(napi_env env, napi_callback_info info) {
    size_t n;
    int32_t *numbers = array(env, info, &n);
    memset(numbers, 0, n * sizeof *numbers);
    return NULL;
}

static void *square(void *unused) {
    for (size_t i = 0; i < job.n; i++) job.numbers[i] *= job.numbers[i];
    return unused;
}

static napi_value elsewhere(napi_env env, napi_callback_info info) {
    pthread_t thread;
    job.numbers = array(env, info, &job.n);
    if (!pthread_create(&thread, NULL, square, NULL)) pthread_join(thread, NULL);
    return NULL;
}

/* Writes to the first number of each of at most 2,048 arrays, and calls nothing of Node's in between. */
static napi_value each(napi_env env, napi_callback_info info) {
    napi_value arrays, one;
    size_t arguments = 1;
    uint32_t n = 0;
    void *data[2048];
    napi_get_cb_info(env, info, &arguments, &arrays, NULL, NULL);
    napi_get_array_length(env, arrays, &n);
    for (uint32_t i = 0; i < n; i++) {
        napi_get_element(env, arrays, i, &one);
        napi_get_typedarray_info(env, one, NULL, NULL, &data[i], NULL, NULL);
    }
    for (uint32_t i = 0; i < n; i++) *(volatile int32_t *)data[i] = 1;
    return NULL;
}

static napi_value crash(napi_env env, napi_callback_info info) {
    (void)env, (void)info;
    *(volatile int *)16 = 1;
    return NULL;
}

NAPI_MODULE_INIT() {
    static const struct {
        const char *name;
        napi_callback call;
    } functions[] = {{"count", count}, {"clear", clear}, {"elsewhere", elsewhere}, {"each", each}, {"crash", crash}};
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        napi_value function;
        napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].call, NULL, &function);
        napi_set_named_property(env, exports, functions[i].name, function);
    }
    return exports;
}
