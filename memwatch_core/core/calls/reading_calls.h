/* reading_calls.h - read(2) and its kind, as the program's modules see them. */
#ifndef MEMWATCH_READING_CALLS_H
#define MEMWATCH_READING_CALLS_H
#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include "base/compiler.h"

MW_HIDDEN ssize_t replaced_read(int fd, void *buffer, size_t size);
MW_HIDDEN ssize_t replaced_pread(int fd, void *buffer, size_t size, off_t offset);
MW_HIDDEN ssize_t replaced_pread64(int fd, void *buffer, size_t size, off_t offset);
MW_HIDDEN ssize_t replaced_readv(int fd, const struct iovec *buffers, int count);
MW_HIDDEN ssize_t replaced_preadv(int fd, const struct iovec *buffers, int count, off_t offset);
MW_HIDDEN ssize_t replaced_preadv64(int fd, const struct iovec *buffers, int count, off_t offset);
MW_HIDDEN ssize_t replaced_preadv2(int fd, const struct iovec *buffers, int count, off_t offset, int flags);
MW_HIDDEN ssize_t replaced_recv(int fd, void *buffer, size_t size, int flags);
MW_HIDDEN ssize_t replaced_recvfrom(int fd, void *buffer, size_t size, int flags, struct sockaddr *from,
                                    socklen_t *from_size);
MW_HIDDEN ssize_t replaced_recvmsg(int fd, struct msghdr *message, int flags);
MW_HIDDEN int replaced_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout);
MW_HIDDEN ssize_t replaced_getrandom(void *buffer, size_t size, unsigned flags);
MW_HIDDEN size_t replaced_fread(void *buffer, size_t size, size_t count, FILE *file);
MW_HIDDEN size_t replaced_fread_unlocked(void *buffer, size_t size, size_t count, FILE *file);
/* What -D_FORTIFY_SOURCE makes of them. */
MW_HIDDEN ssize_t replaced_read_chk(int fd, void *buffer, size_t size, size_t room);
MW_HIDDEN ssize_t replaced_pread_chk(int fd, void *buffer, size_t size, off_t offset, size_t room);
MW_HIDDEN ssize_t replaced_recv_chk(int fd, void *buffer, size_t size, size_t room, int flags);
MW_HIDDEN ssize_t replaced_recvfrom_chk(int fd, void *buffer, size_t size, size_t room, int flags,
                                        struct sockaddr *from, socklen_t *from_size);
MW_HIDDEN size_t replaced_fread_chk(void *buffer, size_t room, size_t size, size_t count, FILE *file);
MW_HIDDEN size_t replaced_fread_unlocked_chk(void *buffer, size_t room, size_t size, size_t count, FILE *file);
#endif
