/* Preloaded: keeps the first start of the core where it marks a page as this process's own, for a third of a second. */
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile bool starting;
bool is_starting(void) { return starting; }

int madvise(void *at, size_t size, int advice) {
    if (advice == MADV_WIPEONFORK && !starting) {
        starting = true;
        usleep(300000);
    }
    return (int)syscall(SYS_madvise, at, size, advice);
}
