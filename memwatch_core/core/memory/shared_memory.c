/* shared_memory.c - memory that can be mapped at several addresses, and needs no descriptor for it.
 *
 * An anonymous shared mapping, of which further views are made by mremap(2) with an old size of 0. Where that is
 * refused (vm.overcommit_memory = 2 counts all of it as used; SELinux may not let it be executable), a memfd, which is
 * closed as soon as it is mapped: a descriptor that stays open could be closed by the program, and its number be the
 * program's file by the time that we use it. A view is never more permissive at its address than it was asked to be,
 * not for a moment. */
#include "memory/shared_memory.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memwatch.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010u /* kernel 6.3: wanted where vm.memfd_noexec is set */
#endif

/* That this is the memfd, just made, and not what another thread has put in its place. And beyond RLIMIT_FSIZE there
 * would be a SIGXFSZ. */
static bool enlarge(int fd, uint64_t size) {
    struct rlimit limit;
    struct stat file;
    if (!getrlimit(RLIMIT_FSIZE, &limit) && limit.rlim_cur < size) {
        errno = EFBIG;
        return false;
    }
    return !fstat(fd, &file) && S_ISREG(file.st_mode) && !file.st_nlink && !file.st_size && !ftruncate(fd, (off_t)size);
}

static void *map_memfd(void *at, uint64_t size) {
    void *p = MAP_FAILED;
    int fd = memfd_create("memwatch", MFD_CLOEXEC | MFD_EXEC);
    if (fd < 0) fd = memfd_create("memwatch", MFD_CLOEXEC);
    if (fd < 0) return p;
    if (enlarge(fd, size)) p = mmap(at, size, PROT_NONE, MAP_SHARED | (at ? MAP_FIXED : 0), fd, 0);
    close(fd);
    return p;
}

int shared_open(struct shared *s, void *at, uint64_t size, bool memfd) {
    void *base = MAP_FAILED;
    if (!memfd)
        base = mmap(at, size, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | (at ? MAP_FIXED : 0), -1, 0);
    if (base == MAP_FAILED) base = map_memfd(at, size);
    if (base == MAP_FAILED) return errno == EFBIG ? MW_ERR_FILE_SIZE : MW_ERR_NO_MEMORY;
    *s = (struct shared){.base = base, .size = size};
    return madvise(base, size, MADV_DONTDUMP) ? MW_ERR_NO_MEMORY : MW_OK;
}

int shared_use(const struct shared *s, uint64_t from, size_t size) {
    if (from + size > s->size) return MW_ERR_NO_MEMORY;
    return mprotect(s->base + from, size, PROT_READ | PROT_WRITE) ? MW_ERR_NO_MEMORY : MW_OK;
}

void *shared_view(const struct shared *s, void *at, uint64_t from, size_t size, int protection) {
    void *view = mremap(s->base + from, 0, size, MREMAP_MAYMOVE);
    if (view == MAP_FAILED) return NULL;
    bool done = !mprotect(view, size, protection) && !madvise(view, size, MADV_DODUMP);
    if (done && at) done = mremap(view, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, at) != MAP_FAILED;
    if (!done) munmap(view, size);
    return done ? at ? at : view : NULL;
}

int shared_move(struct shared *s, void *at) {
    void *base = mremap(s->base, s->size, s->size, MREMAP_MAYMOVE | MREMAP_FIXED, at);
    if (base == MAP_FAILED) return MW_ERR_NO_MEMORY;
    s->base = base;
    return MW_OK;
}

void shared_close(struct shared *s) {
    if (s->base) munmap(s->base, s->size);
    *s = (struct shared){0};
}
