/* fault.c - the signal handler: is this fault a store to a watched view? Then run it; else it is somebody else's. */
#include "stores/fault.h"

#include <errno.h>
#include <string.h>

#include "base/digits.h"
#include "base/lock.h"
#include "base/messages.h"
#include "base/process.h"
#include "base/signals.h"
#include "base/syscalls.h"
#include "base/thread.h"
#include "memory/arena.h"
#include "memory/userfaultfd.h"
#include "memwatch.h"
#include "state.h"
#include "stores/breakpoint.h"
#include "stores/endings.h"
#include "stores/executor.h"
#include "stores/guarded_copy.h"
#include "stores/run_result.h"

#define PAGE_FAULT_WRITE 2u /* error code of #PF, in REG_ERR: Intel SDM volume 3, 4.7 */
#define TRAP_PAGE_FAULT 14
#define FAILURES 3u
#define FAILURES_ELSEWHERE                                                                                             \
    64u /* beneath a breakpoint: the signal may have been meant for another instruction, and come late */
#define FLAG_TRAP 0x100u
#define FLAG_RESUME 0x10000u

/* Loud: what can't be run safely on watched memory is named before the program gets its SIGSEGV. */
MW_SIGNAL_SAFE static void report_refusal(const ucontext_t *context, uintptr_t address) {
    static const char head[] = "memwatch: an instruction that can't be run on watched memory stores to 0x",
                      middle[] = "; its bytes: ", beneath[] = ", a breakpoint over an instruction that can't be known",
                      tail[] = " (docs/guarantees.md, 'Instructions that are refused')\n";
    char text[320], *at = text;
    memcpy(at, head, sizeof head - 1);
    at = put_hexadecimal(at + sizeof head - 1, address, 12);
    memcpy(at, middle, sizeof middle - 1);
    at += sizeof middle - 1;
    uintptr_t ip = (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
    unsigned room = MW_PAGE_SIZE - (unsigned)(ip & PAGE_MASK);
    for (unsigned i = 0; i < 15 && i < room; i++) at = put_hexadecimal(at, ((const uint8_t *)ip)[i], 2);
    if (*(const uint8_t *)ip == INT3) {
        memcpy(at, beneath, sizeof beneath - 1);
        at += sizeof beneath - 1;
    }
    memcpy(at, tail, sizeof tail - 1);
    at += sizeof tail - 1;
    tell(text, (size_t)(at - text));
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

/* uffd-queue: the kernel has written for this thread, and its page may still be writable: the thread waits until it
 * isn't, so that its next store is seen. */
MW_SIGNAL_SAFE static void wait_until_protected(uintptr_t address) {
    uint32_t page = arena_page_at(address);
    atomic_store(kernel_hold_of(thread_id()), 0);
    if (page == NO_PAGE || lock_held_by(&mw.arena.pages[page].lock, thread_id())) return;
    lock_take(&mw.arena.pages[page].lock, thread_id());
    lock_release(&mw.arena.pages[page].lock);
}

/* Where the memory turns out not to be ours any more, the instruction runs as it is, and faults again or doesn't. */
MW_SIGNAL_SAFE static enum run_result run_watched(ucontext_t *context, uintptr_t address) {
    uint32_t page = in_arena(address) ? NO_PAGE : arena_page_at(address);
    mw_thread.looked_at = 0;
    if (unlikely(page != NO_PAGE) && !watch_holds(page, true)) return RUN_LATER;
    mw_thread.faulted = page + 1; /* of the arena's own: 0 */
    enum run_result result = executor_run(context, address);
    mw_thread.faulted = 0;
    bool ended = result == RUN_NOT_OURS && arena_page_at(address) == NO_PAGE;
    return unlikely(ended) ? RUN_LATER : result;
}

/* uffd-queue: the tracker's thread has seen this thread wait at a store, and signalled it. If another signal came
 * first, this thread is at another instruction by now, and the store will be queued again. Only a store that fails
 * several times at one place is one that can't be run: then `info` becomes what a fault would have brought. */
MW_SIGNAL_SAFE static enum run_result run_queued(siginfo_t *info, ucontext_t *context) {
    uint64_t ip = (uint64_t)context->uc_mcontext.gregs[REG_RIP];
    bool bare =
        info->si_code == SI_USER; /* the kernel's queue of signals is full: the address that was sent along is lost */
    uintptr_t address = bare ? atomic_load(&mw.queued_store.address) : (uintptr_t)info->si_ptr;
    uint32_t meant = bare ? (uint32_t)atomic_load(&mw.queued_store.instruction) : (uint32_t)info->si_errno;
    if (info->si_code == NUMBER_MOVED) return RUN_LATER;
    if (info->si_code == THREAD_HELD || atomic_load(kernel_hold_of(thread_id())) == thread_id()) {
        wait_until_protected(address);
        return RUN_LATER;
    }
    /* At a breakpoint, the instruction that waited may have been a copy that a debugger made and gave up. */
    bool elsewhere = (uint32_t)ip != meant;
    if (elsewhere && *(const uint8_t *)ip != INT3) return RUN_LATER;
    atomic_fetch_add_explicit(&mw.queued_store.met, 1, memory_order_relaxed);
    enum run_result result = arena_page_at(address) == NO_PAGE ? RUN_NOT_OURS : run_watched(context, address);
    if (result == RUN_DONE) mw_thread.failures = 0;
    if (result != RUN_REFUSED && result != RUN_NOT_OURS) return result;
    mw_thread.failures = mw_thread.failed == ip ? mw_thread.failures + 1 : 1;
    mw_thread.failed = ip;
    if (mw_thread.failures < (elsewhere ? FAILURES_ELSEWHERE : FAILURES)) return RUN_LATER;
    mw_thread.failures = 0;
    info->si_code = BUS_ADRERR;
    info->si_errno = 0;
    info->si_addr = (void *)address;
    return result;
}

MW_SIGNAL_SAFE static bool is_queued(int signal, const siginfo_t *info) {
    if (mw.tracker->id != MW_TRACKER_UFFD_QUEUE || signal != SIGBUS) return false;
    return info->si_code == STORE_QUEUED || info->si_code == THREAD_HELD || info->si_code == NUMBER_MOVED ||
           (info->si_code == SI_USER && !info->si_pid && atomic_load(&mw.queued_store.tid) == thread_id());
}

/* The views aren't mapped in a child that was forked behind our back, nor are pages that it hasn't got. */
MW_SIGNAL_SAFE static bool is_gone(uintptr_t address) {
    uint64_t offset = address - mw.arena.watched;
    if (offset >= mw.arena.reserved && offset - mw.arena.distance >= mw.arena.reserved) return false;
    return !process_is_whole() || (offset < mw.arena.committed && page_state_of(offset >> PAGE_SHIFT) == PAGE_GONE);
}

/* Beneath a uprobe, a copy of the instruction has faulted, and the kernel has put back the number of an older trap. */
MW_SIGNAL_SAFE static bool is_write(const ucontext_t *context) {
    const greg_t *g = context->uc_mcontext.gregs;
    return (uint64_t)g[REG_ERR] & PAGE_FAULT_WRITE &&
           (likely(g[REG_TRAPNO] == TRAP_PAGE_FAULT) || *(const uint8_t *)g[REG_RIP] == INT3);
}

MW_SIGNAL_SAFE static enum run_result run_faulted(const siginfo_t *info, ucontext_t *context) {
    static const char gone[] = "memwatch: this process was forked by a system call, not by libc's fork(): the watched "
                               "value that it uses is its parent's (docs/guarantees.md, 'Forks')\n";
    uintptr_t address = (uintptr_t)info->si_addr;
    if (unlikely(info->si_code > 0 && process_arrives())) return RUN_LATER;
    if (unlikely(info->si_code > 0 && is_gone(address))) {
        tell(gone, sizeof gone - 1);
        return RUN_NOT_OURS;
    }
    if (likely(info->si_code > 0 && arena_page_at(address) != NO_PAGE && is_write(context)))
        return run_watched(context, address);
    return info->si_code > 0 && guarded_copy_returns(context) ? RUN_LATER : RUN_NOT_OURS;
}

/* What the CPU does after an instruction. The fault had set RF, so that a hardware breakpoint at this instruction isn't
 * met twice; for the next one, RF must be clear. TF raises its trap. */
MW_SIGNAL_SAFE static void complete(ucontext_t *context) {
    greg_t *flags = &context->uc_mcontext.gregs[REG_EFL];
    *flags &= ~(greg_t)FLAG_RESUME;
    if (unlikely(*flags & FLAG_TRAP)) signals_raise(SIGTRAP, TRAP_TRACE, context);
}

MW_SIGNAL_SAFE void mw_fault_handler(int signal, siginfo_t *info, void *ucontext) {
    ucontext_t *context = ucontext;
    int kept = errno;
    greg_t ip = context->uc_mcontext.gregs[REG_RIP];
    bool announced = unlikely(info->si_code <= 0) && is_queued(signal, info);
    enum run_result result = announced ? run_queued(info, context) : run_faulted(info, context);
    if (likely(result == RUN_DONE)) {
        if (likely(context->uc_mcontext.gregs[REG_RIP] != ip)) complete(context);
        atomic_fetch_add_explicit(&mw.stores, 1, memory_order_relaxed);
    } else if (result == RUN_FAULT) {
        fault_beyond(info, context);
    } else if (result == RUN_REFUSED || result == RUN_NOT_OURS) {
        if (result == RUN_REFUSED) report_refusal(context, (uintptr_t)info->si_addr);
        signals_chain(signal, info, ucontext, !announced && info->si_code > 0);
    }
    errno = kept;
}
