/* process_calls.h - calls that change what a process is, as the program's modules see them. */
#ifndef MEMWATCH_PROCESS_CALLS_H
#define MEMWATCH_PROCESS_CALLS_H
#include <sys/types.h>
#include "base/compiler.h"

MW_HIDDEN pid_t replaced__Fork(void);
extern MW_HIDDEN pid_t (*process_Fork)(void); /* libc's */
MW_HIDDEN int replaced_clone(int (*function)(void *), void *stack, int flags, void *argument, ...);
MW_HIDDEN int replaced_setuid(uid_t user);
MW_HIDDEN int replaced_seteuid(uid_t user);
MW_HIDDEN int replaced_setreuid(uid_t real, uid_t effective);
MW_HIDDEN int replaced_setresuid(uid_t real, uid_t effective, uid_t saved);
MW_HIDDEN int replaced_chroot(const char *path);
MW_HIDDEN void process_system_call(void); /* a bare one: takes syscall(2)'s arguments */
#endif
