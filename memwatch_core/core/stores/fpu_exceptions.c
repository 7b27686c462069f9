/* fpu_exceptions.c - floating-point exceptions that the program has unmasked, raised by a store.
 *
 * Such a store writes nothing. An Intel CPU finds that out before it looks at the page, and we never hear of it; an AMD
 * CPU raises the page fault first, so that the exception happens while we run the instruction. */
#include "stores/fpu_exceptions.h"

#include <string.h>

#include "base/signals.h"
#include "base/thread.h"
#include "memwatch.h"

#define INVALID 0x01u
#define DENORMAL 0x02u
#define DIVISION 0x04u
#define OVERFLOW 0x08u
#define UNDERFLOW 0x10u
#define ALL_EXCEPTIONS 0x3fu
#define MXCSR_MASKS (ALL_EXCEPTIONS << 7)

/* x87: noted in the status word, for the next x87 instruction to raise. An inexact result alone is stored. */
MW_SIGNAL_SAFE bool fpu_x87_stored(const ucontext_t *context) {
    uint32_t control = context->uc_mcontext.fpregs->cwd, status = context->uc_mcontext.fpregs->swd;
    return !(status & ~control & (INVALID | OVERFLOW | UNDERFLOW));
}

MW_SIGNAL_SAFE uint32_t fpu_simd_mask(ucontext_t *context) {
    uint32_t kept = context->uc_mcontext.fpregs->mxcsr;
    context->uc_mcontext.fpregs->mxcsr = (kept | MXCSR_MASKS) & ~ALL_EXCEPTIONS;
    return kept;
}

MW_SIGNAL_SAFE void fpu_simd_unmask(ucontext_t *context, uint32_t kept) {
    uint32_t mxcsr;
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    mw_thread.simd_exceptions = mxcsr & ALL_EXCEPTIONS;
    context->uc_mcontext.fpregs->mxcsr = kept;
}

/* si_code of SIGFPE as the kernel chooses it */
MW_SIGNAL_SAFE static int code_of(uint32_t exceptions) {
    if (exceptions & INVALID) return FPE_FLTINV;
    if (exceptions & DIVISION) return FPE_FLTDIV;
    if (exceptions & OVERFLOW) return FPE_FLTOVF;
    return exceptions & (UNDERFLOW | DENORMAL) ? FPE_FLTUND : FPE_FLTRES;
}

MW_SIGNAL_SAFE bool fpu_simd_raised(ucontext_t *context, const uint8_t *result, unsigned size, uint64_t written) {
    uint32_t *mxcsr = &context->uc_mcontext.fpregs->mxcsr, unmasked = ~(*mxcsr >> 7) & ALL_EXCEPTIONS;
    uint32_t raised = mw_thread.simd_exceptions;
    /* A tiny result that is exact isn't noted while underflow is masked, but raised if it isn't. Intel SDM 1, 4.9.1.5
     */
    for (unsigned i = 0; i < size; i += 2) {
        uint16_t half;
        memcpy(&half, result + i, 2);
        if (written >> i & 1 && !(half & 0x7c00) && half & 0x3ff) raised |= UNDERFLOW & unmasked;
    }
    if (raised & unmasked & (INVALID | DENORMAL)) raised &= INVALID | DENORMAL; /* then nothing has been computed */
    *mxcsr |= raised;
    if (!(raised & unmasked)) return false;
    signals_raise(SIGFPE, code_of(~(*mxcsr >> 7) & *mxcsr & ALL_EXCEPTIONS), context);
    return true;
}
