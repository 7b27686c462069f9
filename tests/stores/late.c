/* late.c - a module that is loaded while pages are watched already. */
#include <unistd.h>

ssize_t late_read(int fd, void *buffer, size_t size) { return read(fd, buffer, size); }

static ssize_t (*const table[])(int, void *, size_t) = {read};
ssize_t late_read_of_a_table(int fd, void *buffer, size_t size) { return table[size == 0](fd, buffer, size); }
