/* executor.h - runs the very instruction that faulted, where it can do no harm. */
#ifndef MEMWATCH_EXECUTOR_H
#define MEMWATCH_EXECUTOR_H
#include <stdint.h>
#include <ucontext.h>
#include "base/compiler.h"
#include "base/lock.h"
#include "stores/run_result.h"
#include "stores/xstate.h"

struct executor {
    mw_lock wide_lock;
    uint8_t *wide; /* WIDE_MAX bytes of scratch, under wide_lock */
    struct {       /* where a component of the extended state lies in a signal frame: CPUID leaf 13 */
        uint32_t offset, size, aligned;
    } xstate[XSTATE_COMPONENTS];
    uint32_t xstate_enabled; /* XCR0, low half */
};

MW_HIDDEN int executor_open(void);
MW_HIDDEN enum run_result executor_run(ucontext_t *context, uintptr_t address);
#endif
