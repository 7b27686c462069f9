/* fpu_exceptions.h - floating-point exceptions that the program has unmasked, raised by a store. */
#ifndef MEMWATCH_FPU_EXCEPTIONS_H
#define MEMWATCH_FPU_EXCEPTIONS_H
#include <stdbool.h>
#include <stdint.h>
#include <ucontext.h>
#include "base/compiler.h"

MW_HIDDEN bool fpu_x87_stored(const ucontext_t *context);
/* Around a run of an instruction that `raises`: no exception may arrive in the handler. `mask` returns what `unmask`
 * takes.
 */
MW_HIDDEN uint32_t fpu_simd_mask(ucontext_t *context);
MW_HIDDEN void fpu_simd_unmask(ucontext_t *context, uint32_t kept);
/* Behind it: notes what it found in the interrupted MXCSR. True if the CPU would have raised it, and stored nothing: it
 * is the program's signal now. */
MW_HIDDEN bool fpu_simd_raised(ucontext_t *context, const uint8_t *result, unsigned size, uint64_t written);
#endif
