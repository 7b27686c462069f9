/* emulation.h - the stores that can't be run elsewhere. */
#ifndef MEMWATCH_EMULATION_H
#define MEMWATCH_EMULATION_H
#include <ucontext.h>
#include "memwatch.h"
#include "base/compiler.h"
#include "stores/instruction.h"
#include "stores/run_result.h"

MW_HIDDEN enum run_result emulate(const struct instruction *instruction, ucontext_t *context, const mw_origin *origin);
#endif
