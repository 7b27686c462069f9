/* thread.c - see thread.h. */
#include "base/thread.h"

#include "base/syscalls.h"
#include "memwatch.h"

MW_SIGNAL_SAFE uint32_t thread_first(void) { return mw_thread.tid = (uint32_t)raw_syscall4(SYS_gettid, 0, 0, 0, 0); }
