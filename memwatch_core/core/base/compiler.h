/* compiler.h - what the core asks of the compiler.
 *
 * Whatever may run in the signal handler is marked MW_SIGNAL_SAFE: it calls nothing but its like, takes no lock but
 * mw_lock, allocates nothing. A test follows the calls of the built objects and holds us to it. */
#ifndef MEMWATCH_COMPILER_H
#define MEMWATCH_COMPILER_H

#define MW_SIGNAL_SAFE __attribute__((section(".text.mw_signal_safe")))
#define MW_TLS __thread __attribute__((tls_model("initial-exec")))
#define MW_HIDDEN __attribute__((visibility("hidden")))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#endif
