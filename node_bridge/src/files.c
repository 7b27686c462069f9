/* files.c - a session's small files, read and written whole. Not by Node's fs: a worker warns of descriptors that it
 * closes and hasn't opened. */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int file_read(const char *folder, const char *name, size_t most, uint8_t **bytes, size_t *length) {
    struct stat is;
    int fd = mw_private_open(folder, name, O_RDONLY), error = 0;
    if (fd < 0) return fd;
    *bytes = NULL;
    *length = 0;
    if (fstat(fd, &is) || (size_t)is.st_size > most) {
        error = -EFBIG;
    } else if (!(*bytes = malloc((size_t)is.st_size + 1))) {
        error = -ENOMEM;
    } else {
        ssize_t n;
        while (*length < (size_t)is.st_size && (n = read(fd, *bytes + *length, (size_t)is.st_size - *length)) != 0) {
            if (n > 0)
                *length += (size_t)n;
            else if (errno != EINTR) {
                error = -errno;
                break;
            }
        }
    }
    close(fd);
    return error;
}

int file_make(const char *folder, const char *name, const uint8_t *bytes, size_t length) {
    int fd = mw_private_open(folder, name, O_WRONLY | O_CREAT | O_EXCL), error = 0;
    if (fd < 0) return fd;
    while (length && !error) {
        ssize_t n = write(fd, bytes, length);
        if (n > 0)
            bytes += n, length -= (size_t)n;
        else if (n < 0 && errno != EINTR)
            error = -errno;
    }
    close(fd);
    return error;
}
