/* fault.h - the signal handler. */
#ifndef MEMWATCH_FAULT_H
#define MEMWATCH_FAULT_H
#include <signal.h>
#include "base/compiler.h"

MW_HIDDEN void mw_fault_handler(int signal, siginfo_t *info, void *context);
#endif
