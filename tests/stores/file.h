/* file.h - a file without a name, with these bytes, open at its beginning. */
#ifndef FILE_H
#define FILE_H
#include <stdlib.h>
#include <unistd.h>

#include "check.h"

static inline int file_of(const void *bytes, size_t n) {
    char name[] = "/tmp/memwatch-test-XXXXXX";
    int fd = mkstemp(name);
    unlink(name);
    REQUIRE(write(fd, bytes, n) == (ssize_t)n);
    REQUIRE(lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}
#endif
