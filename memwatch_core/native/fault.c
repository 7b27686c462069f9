/* fault.c - the signal handler: is this fault a store to a watched view? Then run it; else it is somebody else's. */
#include "core.h"

#include <errno.h>

#define PAGE_FAULT_WRITE 2u /* error code of #PF, in REG_ERR: Intel SDM volume 3, 4.7 */
#define TRAP_PAGE_FAULT 14

MW_SIGNAL_SAFE static char *hexadecimal(char *to, uint64_t value, unsigned digits) {
    while (digits--) *to++ = "0123456789abcdef"[value >> 4 * digits & 15];
    return to;
}

/* Loud: what can't be run safely on watched memory is named before the program gets its SIGSEGV. */
MW_SIGNAL_SAFE static void report_refusal(const ucontext_t *context, uintptr_t address) {
    static const char head[] = "memwatch: an instruction that can't be run on watched memory stores to 0x",
                      middle[] = "; its bytes: ", tail[] = " (docs/guarantees.md, 'Instructions that are refused')\n";
    char text[256], *at = text;
    memcpy(at, head, sizeof head - 1);
    at = hexadecimal(at + sizeof head - 1, address, 12);
    memcpy(at, middle, sizeof middle - 1);
    at += sizeof middle - 1;
    uintptr_t ip = (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
    unsigned room = MW_PAGE_SIZE - (unsigned)(ip & PAGE_MASK);
    for (unsigned i = 0; i < 15 && i < room; i++) at = hexadecimal(at, ((const uint8_t *)ip)[i], 2);
    memcpy(at, tail, sizeof tail - 1);
    at += sizeof tail - 1;
    raw_syscall4(SYS_write, 2, (long)text, at - text, 0);
}

/* A store reached from a watched page into memory that can't be written: the fault that the CPU would have raised. */
MW_SIGNAL_SAFE static void fault_beyond(siginfo_t *info, ucontext_t *context) {
    uint8_t resident;
    uintptr_t at = mw_thread.fault;
    bool mapped = raw_syscall4(SYS_mincore, (long)(at & ~PAGE_MASK), MW_PAGE_SIZE, (long)&resident, 0) == 0;
    info->si_signo = SIGSEGV;
    info->si_code = mapped ? SEGV_ACCERR : SEGV_MAPERR;
    info->si_addr = (void *)at;
    context->uc_mcontext.gregs[REG_CR2] = (greg_t)at;
    signals_chain(SIGSEGV, info, context, false);
}

MW_SIGNAL_SAFE void mw_fault_handler(int signal, siginfo_t *info, void *ucontext) {
    ucontext_t *context = ucontext;
    int kept = errno;
    uintptr_t address = (uintptr_t)info->si_addr;
    bool page_fault = info->si_code > 0 && context->uc_mcontext.gregs[REG_TRAPNO] == TRAP_PAGE_FAULT &&
                      (uint64_t)context->uc_mcontext.gregs[REG_ERR] & PAGE_FAULT_WRITE;
    enum run_result result = RUN_NOT_OURS;
    if (likely(page_fault && arena_page_at(address) != NO_PAGE)) result = executor_run(context, address);
    if (likely(result == RUN_DONE)) {
        atomic_fetch_add_explicit(&mw.stores, 1, memory_order_relaxed);
    } else if (result == RUN_FAULT) {
        fault_beyond(info, context);
    } else if (result != RUN_RAISED) {
        if (result == RUN_REFUSED) report_refusal(context, address);
        signals_chain(signal, info, ucontext, info->si_code > 0);
    }
    errno = kept;
}
