/* call_origins.c - see call_origins.h. */
#include "calls/call_origins.h"

#include <string.h>

#include "base/thread.h"
#include "memwatch.h"
#include "state.h"
#include "stores/native_sites.h"

/* The state of this thread, as far as an origin provider looks at it on the fault path. */
MW_SIGNAL_SAFE static __attribute__((noinline)) void capture(ucontext_t *context) {
    greg_t *registers = context->uc_mcontext.gregs;
    registers[REG_RIP] = (greg_t)(uintptr_t)__builtin_return_address(0);
    __asm__ volatile("movq %%rsp, %0; movq %%rbp, %1" : "=r"(registers[REG_RSP]), "=r"(registers[REG_RBP]));
}

MW_SIGNAL_SAFE mw_origin call_origin(uintptr_t caller, uint64_t mask, ucontext_t *context) {
    mw_origin origin = {.context = mw_thread.context};
    mw_origin_provider provider = __atomic_load_n(&mw.origin_provider, __ATOMIC_ACQUIRE);
    memset(context, 0, sizeof *context);
    memcpy(&context->uc_sigmask, &mask, sizeof mask);
    capture(context);
    if (provider) provider(context, &origin);
    native_site_of_call(caller, &origin);
    return origin;
}
