/* private_files.h - files in a folder that is this user's alone. */
#ifndef MEMWATCH_PRIVATE_FILES_H
#define MEMWATCH_PRIVATE_FILES_H
#include "base/compiler.h"

/* Opens `name` in a folder that belongs to this process's user and that nobody else may write to; flags are open(2)'s,
 * what is made has mode 0600. The descriptor or -errno; -EPERM: it is no such folder, or no regular file in it. */
MW_HIDDEN int private_open(const char *folder, const char *name, int flags);
MW_HIDDEN void private_remove(const char *folder, const char *name); /* where private_open would find it */
MW_HIDDEN int private_check(const char *folder);                     /* 0 or -errno, as private_open */
#endif
