/* fork.h - what a process holds is its own. */
#ifndef MEMWATCH_FORK_H
#define MEMWATCH_FORK_H
#include <stdbool.h>
#include <sys/types.h>

#include "base/compiler.h"

MW_HIDDEN int fork_open(void);    /* at the start: what is here is ours */
MW_HIDDEN int fork_settle(void);  /* what we hold is this process's own from here on: before anything is asked for */
MW_HIDDEN void fork_notice(void); /* lets go of what is the parent's, in a child that was forked behind our back */
MW_HIDDEN void fork_begins(void); /* as pthread_atfork's handlers, around a fork that they aren't called for; */
/* returns its argument, keeps errno. shares_files: the child has its parent's table of descriptors, by CLONE_FILES. */
MW_HIDDEN pid_t fork_ended(pid_t result, bool shares_files);
#endif
