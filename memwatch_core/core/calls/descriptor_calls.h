/* descriptor_calls.h - calls that close and replace descriptors, as the program's modules see them. */
#ifndef MEMWATCH_DESCRIPTOR_CALLS_H
#define MEMWATCH_DESCRIPTOR_CALLS_H
#include <stdio.h>
#include "base/compiler.h"

MW_HIDDEN int replaced_close(int number);
MW_HIDDEN int replaced_dup2(int from, int to);
MW_HIDDEN int replaced_dup3(int from, int to, int flags);
MW_HIDDEN int replaced_close_range(unsigned first, unsigned last, int flags);
MW_HIDDEN void replaced_closefrom(int first);
MW_HIDDEN FILE *replaced_fdopen(int number, const char *mode);
MW_HIDDEN long replaced_syscall(long number, ...);
#endif
