/* shared.c - memory that can be mapped at several addresses.
 *
 * A memfd; where a sandbox refuses that, an anonymous shared mapping, of which further views are made by mremap(2) with
 * an old size of 0. A view is never more permissive at its address than it was asked to be, not for a moment. */
#include "core.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010u /* kernel 6.3: wanted where vm.memfd_noexec is set */
#endif

int shared_open(struct shared *s, uint64_t most, bool executable) {
    *s = (struct shared){.fd = memfd_create("memwatch", MFD_CLOEXEC | (executable ? MFD_EXEC : 0)), .most = most};
    if (s->fd < 0 && executable) s->fd = memfd_create("memwatch", MFD_CLOEXEC);
    if (s->fd >= 0) return MW_OK;
    void *base = mmap(NULL, most, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return MW_ERR_NO_MEMORY;
    madvise(base, most, MADV_DONTDUMP);
    s->base = base;
    return MW_OK;
}

int shared_grow(const struct shared *s, uint64_t size) {
    if (s->fd < 0) return size <= s->most ? MW_OK : MW_ERR_NO_MEMORY;
    struct rlimit limit; /* asked before: whoever goes beyond gets SIGXFSZ */
    if (!getrlimit(RLIMIT_FSIZE, &limit) && size > limit.rlim_cur) {
        errno = EFBIG;
        return MW_ERR_FILE_SIZE;
    }
    return ftruncate(s->fd, (off_t)size) ? MW_ERR_FILE_SIZE : MW_OK;
}

void *shared_view(const struct shared *s, void *at, uint64_t from, size_t size, int protection) {
    void *view;
    if (s->fd >= 0) {
        view = mmap(at, size, protection, MAP_SHARED | (at ? MAP_FIXED : 0), s->fd, (off_t)from);
        return view == MAP_FAILED ? NULL : view;
    }
    view = mremap(s->base + from, 0, size, MREMAP_MAYMOVE);
    if (view == MAP_FAILED) return NULL;
    bool done = !mprotect(view, size, protection);
    if (done && at) done = mremap(view, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, at) != MAP_FAILED;
    if (!done) munmap(view, size);
    return done ? at ? at : view : NULL;
}

int shared_write(const struct shared *s, uint64_t to, const void *bytes, size_t n) {
    if (s->fd < 0)
        memcpy(s->base + to, bytes, n);
    else if (pwrite(s->fd, bytes, n, (off_t)to) != (ssize_t)n)
        return MW_ERR_NO_MEMORY;
    return MW_OK;
}

void shared_close(struct shared *s) {
    if (s->fd >= 0) close(s->fd);
    if (s->base) munmap(s->base, s->most);
    *s = (struct shared){.fd = -1};
}
