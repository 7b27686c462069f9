/* signals.h - SIGSEGV and SIGBUS: ours, and honoured as the program would have them. */
#ifndef MEMWATCH_SIGNALS_H
#define MEMWATCH_SIGNALS_H
#include <signal.h>
#include <stdbool.h>
#include <ucontext.h>
#include "base/compiler.h"
#include "base/lock.h"

struct signals {
    mw_lock lock;
    struct sigaction before[2];                /* whom SIGSEGV and SIGBUS belong to in the program's eyes */
    struct sigaction at_fork[2];               /* the same, as of the fork that is under way */
    void (*handler)(int, siginfo_t *, void *); /* ours */
    bool taken;                                /* false: the kernel calls whom they belong to */
};

/* SIGSEGV and SIGBUS go to `handler` from now on. */
MW_HIDDEN int signals_take(void (*handler)(int, siginfo_t *, void *));
/* They go to whom they belong to again, unless somebody has put another handler over ours. */
MW_HIDDEN void signals_give_back(void);
/* sigaction(2) as the program sees it. */
MW_HIDDEN int signals_virtual(int signal, const struct sigaction *wanted, struct sigaction *previous);
MW_HIDDEN void signals_spare(sigset_t *set);
/* met_again: the instruction, left as it is, would raise this very signal once more. */
MW_HIDDEN void signals_chain(int signal, siginfo_t *info, void *context, bool met_again);
/* The interrupted instruction raises a signal that isn't ours: the program gets it when our handler returns. */
MW_HIDDEN void signals_raise(int signal, int code, ucontext_t *context);
static inline bool signals_are_ours(int signal) { return signal == SIGSEGV || signal == SIGBUS; }
#endif
