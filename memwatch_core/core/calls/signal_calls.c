/* signal_calls.c - calls that set handlers and masks of signals, as the program's modules see them (import_tables.c).
 * Those for SIGSEGV and SIGBUS are kept (base/signals.c), and no mask blocks the two. */
#include "calls/signal_calls.h"

#include <errno.h>

#include "base/signals.h"

int replaced_sigaction(int signal, const struct sigaction *wanted, struct sigaction *previous) {
    return signals_virtual(signal, wanted, previous);
}

static sighandler_t install(int number, sighandler_t handler, int flags) {
    struct sigaction wanted = {.sa_handler = handler, .sa_flags = flags}, previous;
    return signals_virtual(number, &wanted, &previous) ? SIG_ERR : previous.sa_handler;
}

sighandler_t replaced_signal(int number, sighandler_t handler) {
    return !signals_are_ours(number) ? signal(number, handler) : install(number, handler, SA_RESTART);
}

sighandler_t replaced_sysv_signal(int number, sighandler_t handler) {
    return !signals_are_ours(number) ? sysv_signal(number, handler)
                                     : install(number, handler, SA_RESETHAND | SA_NODEFER);
}

int replaced_pthread_sigmask(int how, const sigset_t *set, sigset_t *previous) {
    sigset_t spared;
    if (set && how != SIG_UNBLOCK) {
        spared = *set;
        signals_spare(&spared);
        set = &spared;
    }
    return pthread_sigmask(how, set, previous);
}

int replaced_sigprocmask(int how, const sigset_t *set, sigset_t *previous) {
    int error = replaced_pthread_sigmask(how, set, previous);
    if (error) errno = error;
    return error ? -1 : 0;
}
