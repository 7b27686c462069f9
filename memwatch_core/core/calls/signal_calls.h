/* signal_calls.h - calls that set handlers and masks of signals, as the program's modules see them. */
#ifndef MEMWATCH_SIGNAL_CALLS_H
#define MEMWATCH_SIGNAL_CALLS_H
#include <signal.h>
#include "base/compiler.h"

MW_HIDDEN int replaced_sigaction(int signal, const struct sigaction *wanted, struct sigaction *previous);
MW_HIDDEN sighandler_t replaced_signal(int number, sighandler_t handler);
MW_HIDDEN sighandler_t replaced_sysv_signal(int number, sighandler_t handler);
MW_HIDDEN int replaced_sigprocmask(int how, const sigset_t *set, sigset_t *previous);
MW_HIDDEN int replaced_pthread_sigmask(int how, const sigset_t *set, sigset_t *previous);
#endif
