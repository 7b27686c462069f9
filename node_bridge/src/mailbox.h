/* mailbox.h - asking another thread to do something, from a signal handler too. */
#ifndef MEMWATCH_NODE_MAILBOX_H
#define MEMWATCH_NODE_MAILBOX_H
#include "addon.h"
#ifdef __cplusplus
extern "C" {
#endif

/* Has `act` called with `of` in the event loop of this isolate's thread, which isn't kept alive by it, whenever it is
 * woken. -1: it can't be. */
int mailbox_open(napi_env env, void (*act)(void *of), void *of);
/* Async-signal-safe. A box that is closed is never woken. */
void mailbox_wake(int box);

/* Starts the thread that others ask to do what takes locks. */
void mailbox_prepare(void);
/* Has it call do_it(of), and waits until it has, for a second at most: the caller may have been interrupted where it
 * holds one of these locks. Async-signal-safe. */
void mailbox_ask(void (*do_it)(void *of), void *of);
/* The same, and doesn't wait. */
void mailbox_post(void (*do_it)(void *of), void *of);

#ifdef __cplusplus
}
#endif
#endif
