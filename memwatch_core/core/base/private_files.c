/* private_files.c - the files of a session, in a folder that is this user's alone.
 *
 * Where others may write, a folder can be replaced by another one, or by a symbolic link, between any two of our steps.
 * So the folder is opened, looked at through its descriptor, and its files are opened relative to that: whatever its
 * path leads to by then, what is written or believed is in a folder into which only this user can put anything. */
#include "base/private_files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/syscalls.h"
#include "memwatch.h"

#define OTHERS_WRITE (S_IWGRP | S_IWOTH)

MW_SIGNAL_SAFE static void close_raw(long fd) { raw_syscall4(SYS_close, fd, 0, 0, 0); }

MW_SIGNAL_SAFE static long open_folder(const char *path) {
    struct stat is;
    long flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    long folder = raw_syscall4(SYS_openat, AT_FDCWD, (long)path, flags, 0);
    if (folder == -ELOOP || folder == -ENOTDIR) return -EPERM;
    if (folder < 0) return folder;
    long error = raw_syscall4(SYS_fstat, folder, (long)&is, 0, 0);
    if (!error && (is.st_uid != (uid_t)raw_syscall4(SYS_geteuid, 0, 0, 0, 0) || is.st_mode & OTHERS_WRITE))
        error = -EPERM;
    if (!error) return folder;
    close_raw(folder);
    return error;
}

MW_SIGNAL_SAFE int private_open(const char *path, const char *name, int flags) {
    struct stat is;
    long folder = open_folder(path);
    if (folder < 0) return (int)folder;
    long fd =
        raw_syscall4(SYS_openat, folder, (long)name, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
    close_raw(folder);
    if (fd == -ELOOP || fd == -ENXIO) return -EPERM;
    if (fd < 0) return (int)fd;
    if (!raw_syscall4(SYS_fstat, fd, (long)&is, 0, 0) && S_ISREG(is.st_mode)) return (int)fd;
    close_raw(fd);
    return -EPERM;
}

MW_SIGNAL_SAFE int private_check(const char *path) {
    long folder = open_folder(path);
    if (folder < 0) return (int)folder;
    close_raw(folder);
    return 0;
}

MW_SIGNAL_SAFE void private_remove(const char *path, const char *name) {
    long folder = open_folder(path);
    if (folder < 0) return;
    raw_syscall4(SYS_unlinkat, folder, (long)name, 0, 0);
    close_raw(folder);
}

int mw_private_open(const char *folder, const char *name, int flags) { return private_open(folder, name, flags); }
