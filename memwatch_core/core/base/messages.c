/* messages.c - sentences of ours go to standard error, as long as that is what has the number 2.
 *
 * A program may close it, as daemons do; the next file that it opens has the number then, and nothing of ours may get
 * into that. So device and inode are remembered when the core starts, and again when the program redirects it (dup2,
 * dup3). What has come there in another way is the program's, whatever it is: then only the journal and the counts
 * tell. At the start, it is standard error unless it is closed by exec: what a process inherits never is (but for a
 * terminal that libuv has opened anew), what Python and Node.js open always is. */
#include "base/messages.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/syscalls.h"
#include "state.h"

#define STANDARD_ERROR 2

MW_SIGNAL_SAFE static bool look(struct stat *file) {
    return !raw_syscall4(SYS_fstat, STANDARD_ERROR, (long)file, 0, 0);
}

MW_SIGNAL_SAFE static void remember(const struct stat *file) {
    atomic_store(&mw.standard_error.device, file->st_dev);
    atomic_store(&mw.standard_error.inode, file->st_ino);
}

MW_SIGNAL_SAFE void tell_redirected(void) {
    struct stat file;
    if (look(&file)) remember(&file);
}

void tell_open(void) {
    struct stat file;
    bool inherited = !(raw_syscall4(SYS_fcntl, STANDARD_ERROR, F_GETFD, 0, 0) & FD_CLOEXEC);
    if (look(&file) && (inherited || S_ISCHR(file.st_mode))) remember(&file);
}

MW_SIGNAL_SAFE void tell(const char *text, size_t length) {
    struct stat file;
    if (look(&file) && file.st_ino && file.st_ino == atomic_load(&mw.standard_error.inode) &&
        file.st_dev == atomic_load(&mw.standard_error.device))
        raw_syscall4(SYS_write, STANDARD_ERROR, (long)text, (long)length, 0);
}

void tell_formatted(const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length > 0) tell(text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
}
