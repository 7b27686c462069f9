/* peek.c - see peek.h. */
#define Py_BUILD_CORE_MODULE 1
#include "origins/peek.h"

#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* process_vm_readv(2) of the process itself takes no privilege. */
bool mwpy_get_unheld(void *to, const void *from, size_t n) {
    struct iovec here = {to, n}, there = {(void *)(uintptr_t)from, n};
    return syscall(SYS_process_vm_readv, getpid(), &here, 1, &there, 1, 0) == (long)n;
}
