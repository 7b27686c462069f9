/* breaks.h - what is done at once where a condition is met: `watch(x, {when, then})`.
 *
 * A store stands in the midst of V8's code, where nothing of the program's may run. So what is met is noted there, with
 * the stack, and V8 is asked for an interrupt: it comes where JavaScript next looks whether something is asked of it,
 * which is where a function begins and where a loop goes round. */
#ifndef MEMWATCH_NODE_BREAKS_H
#define MEMWATCH_NODE_BREAKS_H
#include "addon.h"
#ifdef __cplusplus
extern "C" {
#endif

enum action { ACTION_DUMP = 0, ACTION_BREAK = 1, ACTION_CALL = 2 };

struct condition {
    mw_variable_id variable;
    const void *program;
    size_t length;
    uint32_t unit;      /* bytes of a number that is judged by itself; 0: the variable is judged as a whole */
    enum action action; /* functions are called in the thread that arms */
    bool listens;       /* a debugger can attach to this process */
    char letter;        /* of Python's struct module, of each number; 0: its bytes mean nothing that is known */
    uint32_t size;      /* bytes of one */
    const char *name;   /* UTF-8 */
    const char *when;   /* as it was given; NULL: it wasn't */
};

enum { BREAKS_FULL = -1000 };

/* A handle, an error of the core, or BREAKS_FULL: there are too many conditions, or threads that have some. */
int64_t breaks_arm(napi_env env, const struct condition *condition);
/* Whether its watch goes on. */
bool breaks_is_armed(uint32_t handle);
/* The watch of this variable has ended. Any thread. */
void breaks_forget(mw_variable_id id);

/* In this thread. deliver: is called in a microtask, where functions of the program's may be called. stop: consists of
 * a `debugger` statement. name: of the thread. */
void breaks_prepare(napi_value deliver, napi_value stop, const char *name);
/* What deliver() has to do: an array of arrays, see lib/breaks.js. */
napi_value breaks_take(napi_env env);
/* What this thread stores meanwhile, nobody acts on. */
void breaks_acting(bool acts);
/* This thread's isolate ends. */
void breaks_detach(void);

#ifdef __cplusplus
}
#endif
#endif
