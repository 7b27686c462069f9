/* fork.h - a forked child gets pages, a journal and descriptors of its own. */
#ifndef MEMWATCH_FORK_H
#define MEMWATCH_FORK_H
#include <stdbool.h>
#include <sys/types.h>

#include "base/compiler.h"

MW_HIDDEN int fork_open(void);    /* when the core starts */
MW_HIDDEN int fork_settle(void);  /* before pages or a journal are asked for: in a child, makes what is its own */
MW_HIDDEN void fork_notice(void); /* in a child that libc didn't fork: lets go of what is its parent's */
/* Around a fork for which pthread_atfork's handlers aren't called. fork_ended() returns its argument, and keeps errno.
 * shares_files: the child has its parent's table of descriptors, by CLONE_FILES. */
MW_HIDDEN void fork_begins(void);
MW_HIDDEN pid_t fork_ended(pid_t result, bool shares_files);
#endif
