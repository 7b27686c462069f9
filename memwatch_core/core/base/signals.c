/* signals.c - SIGSEGV and SIGBUS are ours; what the program does with them is kept in mw.signals.before and honoured.
 *
 * Programs install handlers for these signals before us and after us (faulthandler, signal.signal, other runtimes), and
 * block them. Both would break the faults that we live on, so calls to sigaction, signal, sigprocmask and
 * pthread_sigmask are redirected here (import_tables.c), and a fault that isn't ours goes where the program wanted it.
 */
#include "base/signals.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/syscalls.h"
#include "base/thread.h"
#include "memwatch.h"
#include "state.h"

static const int ours[2] = {SIGSEGV, SIGBUS};

MW_SIGNAL_SAFE static int slot_of(int signal) { return signal == SIGSEGV ? 0 : signal == SIGBUS ? 1 : -1; }

MW_SIGNAL_SAFE static bool enter(void) { /* false: this thread was interrupted inside */
    if (lock_held_by(&mw.signals.lock, thread_id())) return false;
    lock_take(&mw.signals.lock, thread_id());
    return true;
}

void signals_spare(sigset_t *set) {
    sigdelset(set, SIGSEGV);
    sigdelset(set, SIGBUS);
}

/* Handlers installed before us must not block our signals while they run: they may store to watched pages. */
static void spare_in_masks(void) {
    for (int s = 1; s < NSIG; s++) {
        struct sigaction action;
        if (slot_of(s) >= 0 || sigaction(s, NULL, &action) || action.sa_handler == SIG_DFL ||
            action.sa_handler == SIG_IGN ||
            !(sigismember(&action.sa_mask, SIGSEGV) || sigismember(&action.sa_mask, SIGBUS)))
            continue;
        signals_spare(&action.sa_mask);
        sigaction(s, &action, NULL);
    }
}

int signals_take(void (*handler)(int, siginfo_t *, void *)) {
    struct sigaction action = {.sa_sigaction = mw.signals.handler = handler,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    /* Every bit: sigfillset leaves out glibc's own 32 and 33, and a setuid in another thread would then run a handler
     * on the interrupted program's stack pointer. */
    memset(&action.sa_mask, 0xff, sizeof action.sa_mask);
    for (int i = 0; i < 2; i++)
        if (sigaction(ours[i], &action, &mw.signals.before[i])) return MW_ERR_SIGNALS;
    mw.signals.taken = true;
    spare_in_masks();
    sigset_t unblock;
    sigemptyset(&unblock);
    sigaddset(&unblock, SIGSEGV);
    sigaddset(&unblock, SIGBUS);
    return sigprocmask(SIG_UNBLOCK, &unblock, NULL) ? MW_ERR_SIGNALS : MW_OK;
}

void signals_give_back(void) {
    bool entered = enter();
    for (int i = 0; i < 2; i++) {
        struct sigaction now;
        if (!sigaction(ours[i], NULL, &now) && now.sa_sigaction == mw.signals.handler)
            sigaction(ours[i], &mw.signals.before[i], NULL);
    }
    mw.signals.taken = false;
    if (entered) lock_release(&mw.signals.lock);
}

/* sigaction(2) as the program sees it: for our signals the kernel isn't asked. */
int signals_virtual(int signal, const struct sigaction *wanted, struct sigaction *previous) {
    int i = mw.signals.taken ? slot_of(signal) : -1;
    if (i < 0) {
        struct sigaction spared;
        if (wanted) {
            spared = *wanted;
            signals_spare(&spared.sa_mask);
        }
        return sigaction(signal, wanted ? &spared : NULL, previous);
    }
    bool entered = enter();
    struct sigaction kept = mw.signals.before[i];
    if (wanted) mw.signals.before[i] = *wanted;
    if (entered) lock_release(&mw.signals.lock);
    if (previous) *previous = kept;
    return 0;
}

struct kernel_action { /* rt_sigaction(2) */
    void *handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

MW_SIGNAL_SAFE static bool queue(int signal, const siginfo_t *info) {
    return raw_syscall4(SYS_rt_tgsigqueueinfo, raw_syscall4(SYS_getpid, 0, 0, 0, 0), thread_id(), signal, (long)info) ==
           0;
}

MW_SIGNAL_SAFE static void take_default_action(int signal) {
    struct kernel_action action = {0};
    raw_syscall4(SYS_rt_sigaction, signal, (long)&action, 0, 8);
}

MW_SIGNAL_SAFE static void send_again(int signal) {
    raw_syscall4(SYS_tgkill, raw_syscall4(SYS_getpid, 0, 0, 0, 0), thread_id(), signal, 0);
}

MW_SIGNAL_SAFE void signals_raise(int signal, int code, ucontext_t *context) {
    siginfo_t info = {.si_signo = signal, .si_code = code};
    info.si_addr = (void *)context->uc_mcontext.gregs[REG_RIP];
    uint64_t only = 1ull << (signal - 1), blocked;
    struct kernel_action action = {0};
    memcpy(&blocked, &context->uc_sigmask, 8);
    raw_syscall4(SYS_rt_sigaction, signal, 0, (long)&action, 8);
    if (!(blocked & only) && action.handler != (void *)SIG_IGN && queue(signal, &info)) return;
    take_default_action(signal); /* as the kernel does with a fault: one that can't arrive ends the process */
    send_again(signal);
    raw_syscall4(SYS_rt_sigprocmask, SIG_UNBLOCK, (long)&only, 0, 8);
}

/* The default action, as if we weren't there: at the interrupted instruction, once the handler has returned. It meets a
 * fault again; a sent signal is sent again, by the sender that it had. */
MW_SIGNAL_SAFE static void die(int signal, const siginfo_t *info, bool met_again) {
    take_default_action(signal);
    if (!met_again && !queue(signal, info)) send_again(signal);
}

MW_SIGNAL_SAFE void signals_chain(int signal, siginfo_t *info, void *ucontext, bool met_again) {
    ucontext_t *context = ucontext;
    int i = slot_of(signal);
    atomic_fetch_add_explicit(&mw.chained, 1, memory_order_relaxed);
    bool entered = enter();
    struct sigaction action = mw.signals.before[i];
    if (action.sa_flags & SA_RESETHAND) mw.signals.before[i].sa_handler = SIG_DFL;
    if (entered) lock_release(&mw.signals.lock);
    if (action.sa_handler == SIG_IGN && info->si_code <= 0) return; /* a fault can't be ignored: signal(7) */
    if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN || action.sa_sigaction == mw.signals.handler) {
        die(signal, info, met_again);
        return;
    }
    /* As the kernel would call it: with the interrupted mask and the handler's own. */
    uint64_t interrupted, theirs, all = ~0ull;
    memcpy(&interrupted, &context->uc_sigmask, 8);
    memcpy(&theirs, &action.sa_mask, 8);
    uint64_t mask = interrupted | theirs | (action.sa_flags & SA_NODEFER ? 0 : 1ull << (signal - 1));
    mask &= ~(1ull << (SIGSEGV - 1) | 1ull << (SIGBUS - 1));
    raw_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, 0, 8);
    if (action.sa_flags & SA_SIGINFO)
        action.sa_sigaction(signal, info, ucontext);
    else
        action.sa_handler(signal);
    raw_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, 0, 8);
}
