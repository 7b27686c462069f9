/* mapping.c - see mapping.h. One ioctl from kernel 6.11 on (PROCMAP_QUERY); before, the text of /proc/self/maps is
 * read. proc(5), Documentation/filesystems/proc.rst. */
#include "memory/mapping.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/syscalls.h"
#include "memwatch.h"

struct query { /* struct procmap_query of linux/fs.h, which older headers don't have */
    uint64_t size, flags, address, start, end, vma_flags, page_size, offset, inode;
    uint32_t device_major, device_minor, name_size, build_id_size;
    uint64_t name, build_id;
};
#define QUERY _IOWR('f', 17, struct query)
enum { QUERY_READABLE = 1, QUERY_WRITABLE = 2, QUERY_SHARED = 8, QUERY_OR_NEXT = 16 };

MW_SIGNAL_SAFE int mapping_open(void) {
    return (int)raw_syscall4(SYS_openat, AT_FDCWD, (long)"/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
}

MW_SIGNAL_SAFE void mapping_close(int fd) {
    if (fd >= 0) raw_syscall4(SYS_close, fd, 0, 0, 0);
}

/* ---- the text ---- */

struct text {
    int fd;
    bool failed;
    long length, at;
    char bytes[1024];
};

MW_SIGNAL_SAFE static int next_of(struct text *t) { /* a character, -1 at the end */
    if (t->at == t->length) {
        t->at = 0;
        t->length = raw_syscall4(SYS_read, t->fd, (long)t->bytes, sizeof t->bytes, 0);
        t->failed |= t->length < 0;
        if (t->length <= 0) return t->length = 0, -1;
    }
    return (uint8_t)t->bytes[t->at++];
}

/* A hexadecimal or decimal number, and the character behind it. */
MW_SIGNAL_SAFE static uint64_t number_of(struct text *t, unsigned base, int *behind) {
    uint64_t number = 0;
    for (int c;; number = number * base + (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10)) {
        c = next_of(t);
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')) {
            *behind = c;
            return number;
        }
    }
}

/* "7f00-7f01 rw-p 00001000 08:02 1234   name" */
MW_SIGNAL_SAFE static bool line_of(struct text *t, struct mapping *m) {
    int c;
    char permissions[4];
    m->start = number_of(t, 16, &c);
    if (c < 0) return false;
    m->end = number_of(t, 16, &c);
    for (int i = 0; i < 4; i++) permissions[i] = (char)next_of(t);
    next_of(t);
    m->readable = permissions[0] == 'r', m->writable = permissions[1] == 'w', m->shared = permissions[3] == 's';
    m->offset = number_of(t, 16, &c);
    uint64_t device_major = number_of(t, 16, &c);
    m->device = device_major << 32 | number_of(t, 16, &c);
    m->inode = number_of(t, 10, &c);
    while (c >= 0 && c != '\n') c = next_of(t);
    return true;
}

MW_SIGNAL_SAFE static enum mapped read_lines(int fd, uintptr_t address, struct mapping *found) {
    struct text t = {.fd = fd};
    if (raw_syscall4(SYS_lseek, fd, 0, SEEK_SET, 0)) return MAPPED_UNKNOWN;
    while (line_of(&t, found))
        if (address < found->end) return MAPPED;
    return t.failed ? MAPPED_UNKNOWN : NOT_MAPPED;
}

/* ---- the ioctl ---- */

MW_SIGNAL_SAFE enum mapped mapping_from(int fd, uintptr_t address, struct mapping *found) {
    struct query query = {.size = sizeof query, .flags = QUERY_OR_NEXT, .address = address};
    if (fd < 0) return MAPPED_UNKNOWN;
    long error = raw_syscall4(SYS_ioctl, fd, (long)QUERY, (long)&query, 0);
    if (error == -2) return NOT_MAPPED; /* ENOENT */
    if (error) return read_lines(fd, address, found);
    *found = (struct mapping){
        .start = query.start,
        .end = query.end,
        .offset = query.offset,
        .inode = query.inode,
        .device = (uint64_t)query.device_major << 32 | query.device_minor,
        .readable = query.vma_flags & QUERY_READABLE,
        .writable = query.vma_flags & QUERY_WRITABLE,
        .shared = query.vma_flags & QUERY_SHARED,
    };
    return MAPPED;
}

MW_SIGNAL_SAFE enum mapped mapping_at(int fd, uintptr_t address, struct mapping *found) {
    enum mapped answer = mapping_from(fd, address, found);
    return answer == MAPPED && address < found->start ? NOT_MAPPED : answer;
}
