/* reading_calls.c - libc calls that have memory written, as the program's modules see them (import_tables.c): read(2)
 * and its kind.
 *
 * A buffer outside of watched pages: the call is made as it was meant, and that is all. Otherwise it is made with
 * memory that can be written (bounce_buffers.c), and what came is delivered: it returns what it would have returned,
 * with the errno that it left. It is still a cancellation point, still ends early when a signal arrives, and still safe
 * in a signal handler wherever it was before. */
#include "calls/reading_calls.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#include "calls/bounce_buffers.h"
#include "journal/journal_format.h"
#include "stores/guarded_copy.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#define SLOW __attribute__((noinline, cold))
#define CALLER ((uintptr_t)__builtin_return_address(0))

void __chk_fail(void) __attribute__((noreturn)); /* libc's: "buffer overflow detected" */

/* A call with its arguments; `into`: the program's buffers, with what is watched replaced. */
struct request {
    struct mwj_call call;
    uintptr_t caller; /* where the program goes on behind its call */
    const struct iovec *into;
    int count, flags;
    off_t offset;
    struct sockaddr *from;
    socklen_t *from_size;
    FILE *file;
};
typedef ssize_t maker(const struct request *);

static ssize_t make_read(const struct request *r) { return read(r->call.fd, r->into->iov_base, r->into->iov_len); }
static ssize_t make_pread(const struct request *r) {
    return pread(r->call.fd, r->into->iov_base, r->into->iov_len, r->offset);
}
static ssize_t make_pread64(const struct request *r) {
    return pread64(r->call.fd, r->into->iov_base, r->into->iov_len, r->offset);
}
static ssize_t make_readv(const struct request *r) { return readv(r->call.fd, r->into, r->count); }
static ssize_t make_preadv(const struct request *r) { return preadv(r->call.fd, r->into, r->count, r->offset); }
static ssize_t make_preadv64(const struct request *r) { return preadv64(r->call.fd, r->into, r->count, r->offset); }
static ssize_t make_preadv2(const struct request *r) {
    return preadv2(r->call.fd, r->into, r->count, r->offset, r->flags);
}
static ssize_t make_recv(const struct request *r) {
    return recv(r->call.fd, r->into->iov_base, r->into->iov_len, r->flags);
}
static ssize_t make_recvfrom(const struct request *r) {
    return recvfrom(r->call.fd, r->into->iov_base, r->into->iov_len, r->flags, r->from, r->from_size);
}
static ssize_t make_getrandom(const struct request *r) {
    return getrandom(r->into->iov_base, r->into->iov_len, (unsigned)r->flags);
}
static ssize_t make_fread(const struct request *r) {
    return (ssize_t)fread(r->into->iov_base, 1, r->into->iov_len, r->file);
}
static ssize_t make_fread_unlocked(const struct request *r) {
    return (ssize_t)fread_unlocked(r->into->iov_base, 1, r->into->iov_len, r->file);
}

static size_t total(const struct iovec *buffers, size_t count) {
    size_t sum = 0;
    for (size_t i = 0; i < count; i++) sum += buffers[i].iov_len;
    return sum;
}

/* Delivers a result of `got` bytes (with MSG_TRUNC, it may be larger than the buffers). What the call returns. */
static ssize_t deliver(struct mwj_call *call, const struct placement *placement, ssize_t got, uintptr_t caller) {
    if (got <= 0) return got;
    size_t room = total(placement->placed, placement->count), came = (size_t)got < room ? (size_t)got : room;
    call->bytes = (uint32_t)came;
    size_t delivered = bounce_deliver(placement, call, caller);
    if (delivered == came) return got;
    if (!delivered) errno = EFAULT; /* as the kernel does where a buffer ends before what came */
    return delivered ? (ssize_t)delivered : -1;
}

/* Makes the call by `make`, with bounce memory in place of what is watched of `buffers`; as it is if the kernel will
 * refuse it. */
static SLOW ssize_t bounced(struct request *r, const struct iovec *buffers, int count, maker *make) {
    struct bounce bounce;
    struct placement placement;
    ssize_t result;
    size_t needs = bounce_needs(buffers, (size_t)count);
    r->into = buffers;
    r->count = count;
    if (!needs) return make(r);
    if (!bounce_open(&bounce, needs)) return -1;
    pthread_cleanup_push(bounce_close, &bounce);
    if (bounce_place(&bounce, buffers, (size_t)count, &placement)) {
        r->into = placement.placed;
        result = deliver(&r->call, &placement, make(r), r->caller);
    } else {
        result = make(r);
    }
    pthread_cleanup_pop(1);
    return result;
}

#define REQUEST(name_, fd_, ...) {.call = {.name = MWJ_CALL_##name_, .fd = fd_}, .caller = caller, __VA_ARGS__}

/* ---- one buffer ---- */

static SLOW ssize_t bounced_read(int fd, void *buffer, size_t size, uintptr_t caller) {
    struct request r = REQUEST(READ, fd);
    return bounced(&r, &(struct iovec){buffer, size}, 1, make_read);
}
ssize_t replaced_read(int fd, void *buffer, size_t size) {
    return unlikely(is_watched(buffer, size)) ? bounced_read(fd, buffer, size, CALLER) : read(fd, buffer, size);
}

static SLOW ssize_t bounced_pread(int fd, void *buffer, size_t size, off_t offset, maker *make, uintptr_t caller) {
    struct request r = REQUEST(PREAD, fd, .offset = offset);
    return bounced(&r, &(struct iovec){buffer, size}, 1, make);
}
ssize_t replaced_pread(int fd, void *buffer, size_t size, off_t offset) {
    return unlikely(is_watched(buffer, size)) ? bounced_pread(fd, buffer, size, offset, make_pread, CALLER)
                                              : pread(fd, buffer, size, offset);
}
/* The same, but for whoever stands between us and libc (LD_PRELOAD, a sanitizer), and knows one of both. */
ssize_t replaced_pread64(int fd, void *buffer, size_t size, off_t offset) {
    return unlikely(is_watched(buffer, size)) ? bounced_pread(fd, buffer, size, offset, make_pread64, CALLER)
                                              : pread64(fd, buffer, size, offset);
}

/* recv(2), MSG_TRUNC: TCP throws away what came, and writes nothing. */
static bool throws_away(int fd, int flags) {
    int protocol = 0, kept = errno;
    socklen_t size = sizeof protocol;
    if (!(flags & MSG_TRUNC)) return false;
    getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size);
    errno = kept;
    return protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP;
}

static SLOW ssize_t bounced_recv(int fd, void *buffer, size_t size, int flags, uintptr_t caller) {
    struct request r = REQUEST(RECV, fd, .flags = flags);
    if (throws_away(fd, flags)) return recv(fd, buffer, size, flags);
    return bounced(&r, &(struct iovec){buffer, size}, 1, make_recv);
}
ssize_t replaced_recv(int fd, void *buffer, size_t size, int flags) {
    return unlikely(is_watched(buffer, size)) ? bounced_recv(fd, buffer, size, flags, CALLER)
                                              : recv(fd, buffer, size, flags);
}

static SLOW ssize_t bounced_recvfrom(int fd, void *buffer, size_t size, int flags, struct sockaddr *from,
                                     socklen_t *from_size, uintptr_t caller) {
    struct request r = REQUEST(RECVFROM, fd, .flags = flags, .from = from, .from_size = from_size);
    if (throws_away(fd, flags)) return recvfrom(fd, buffer, size, flags, from, from_size);
    return bounced(&r, &(struct iovec){buffer, size}, 1, make_recvfrom);
}
ssize_t replaced_recvfrom(int fd, void *buffer, size_t size, int flags, struct sockaddr *from, socklen_t *from_size) {
    return unlikely(is_watched(buffer, size)) ? bounced_recvfrom(fd, buffer, size, flags, from, from_size, CALLER)
                                              : recvfrom(fd, buffer, size, flags, from, from_size);
}

static SLOW ssize_t bounced_getrandom(void *buffer, size_t size, unsigned flags, uintptr_t caller) {
    struct request r = REQUEST(GETRANDOM, -1, .flags = (int)flags);
    return bounced(&r, &(struct iovec){buffer, size}, 1, make_getrandom);
}
ssize_t replaced_getrandom(void *buffer, size_t size, unsigned flags) {
    return unlikely(is_watched(buffer, size)) ? bounced_getrandom(buffer, size, flags, CALLER)
                                              : getrandom(buffer, size, flags);
}

/* ---- several buffers ---- */

static bool are_watched(const struct iovec *buffers, size_t count) {
    struct iovec buffer;
    for (size_t i = 0; i < count; i++) {
        if (unlikely(!guarded_copy(&buffer, buffers + i, sizeof buffer))) return false;
        if (is_watched(buffer.iov_base, buffer.iov_len)) return true;
    }
    return false;
}

#define CONCERN_US(buffers, count) (count > 0 && count <= IOV_MAX && unlikely(are_watched(buffers, (size_t)(count))))

static SLOW ssize_t bounced_readv(int fd, const struct iovec *buffers, int count, uintptr_t caller) {
    struct request r = REQUEST(READV, fd);
    return bounced(&r, buffers, count, make_readv);
}
ssize_t replaced_readv(int fd, const struct iovec *buffers, int count) {
    return CONCERN_US(buffers, count) ? bounced_readv(fd, buffers, count, CALLER) : readv(fd, buffers, count);
}

static SLOW ssize_t bounced_preadv(int fd, const struct iovec *buffers, int count, off_t offset, maker *make,
                                   uintptr_t caller) {
    struct request r = REQUEST(PREADV, fd, .offset = offset);
    return bounced(&r, buffers, count, make);
}
ssize_t replaced_preadv(int fd, const struct iovec *buffers, int count, off_t offset) {
    return CONCERN_US(buffers, count) ? bounced_preadv(fd, buffers, count, offset, make_preadv, CALLER)
                                      : preadv(fd, buffers, count, offset);
}
ssize_t replaced_preadv64(int fd, const struct iovec *buffers, int count, off_t offset) {
    return CONCERN_US(buffers, count) ? bounced_preadv(fd, buffers, count, offset, make_preadv64, CALLER)
                                      : preadv64(fd, buffers, count, offset);
}

static SLOW ssize_t bounced_preadv2(int fd, const struct iovec *buffers, int count, off_t offset, int flags,
                                    uintptr_t caller) {
    struct request r = REQUEST(PREADV2, fd, .offset = offset, .flags = flags);
    return bounced(&r, buffers, count, make_preadv2);
}
ssize_t replaced_preadv2(int fd, const struct iovec *buffers, int count, off_t offset, int flags) {
    return CONCERN_US(buffers, count) ? bounced_preadv2(fd, buffers, count, offset, flags, CALLER)
                                      : preadv2(fd, buffers, count, offset, flags);
}

/* ---- messages ---- */

static bool concerns_us(const struct msghdr *message) {
    struct msghdr header;
    return guarded_copy(&header, message, sizeof header) && header.msg_iovlen <= IOV_MAX &&
           unlikely(are_watched(header.msg_iov, header.msg_iovlen));
}

/* To the program's header, what the kernel has written to a copy of it: 8 bytes at a time, paddings among them. */
static bool return_header(struct msghdr *to, const struct msghdr *from) {
    if (guarded_copy(&to->msg_namelen, &from->msg_namelen, 8) &&
        guarded_copy(&to->msg_controllen, &from->msg_controllen, 16))
        return true;
    errno = EFAULT;
    return false;
}

static SLOW ssize_t bounced_recvmsg(int fd, struct msghdr *message, int flags, uintptr_t caller) {
    struct bounce bounce;
    struct placement placement;
    struct mwj_call call = {.name = MWJ_CALL_RECVMSG, .fd = fd};
    struct msghdr header, copy;
    ssize_t result;
    size_t needs = 0;
    if (!throws_away(fd, flags) && guarded_copy(&header, message, sizeof header))
        needs = bounce_needs(header.msg_iov, header.msg_iovlen);
    if (!needs) return recvmsg(fd, message, flags);
    if (!bounce_open(&bounce, needs)) return -1;
    pthread_cleanup_push(bounce_close, &bounce);
    copy = header;
    if (bounce_place(&bounce, header.msg_iov, header.msg_iovlen, &placement)) {
        copy.msg_iov = (struct iovec *)placement.placed;
        result = deliver(&call, &placement, recvmsg(fd, &copy, flags), caller);
        if (result >= 0 && !return_header(message, &copy)) result = -1;
    } else {
        result = recvmsg(fd, message, flags);
    }
    pthread_cleanup_pop(1);
    return result;
}
ssize_t replaced_recvmsg(int fd, struct msghdr *message, int flags) {
    return concerns_us(message) ? bounced_recvmsg(fd, message, flags, CALLER) : recvmsg(fd, message, flags);
}

/* How many messages there are before one that the kernel will refuse: it returns those. *needs: room for them. */
static unsigned sound_messages(const struct mmsghdr *messages, unsigned count, size_t *needs) {
    struct mmsghdr one;
    size_t more;
    *needs = count * (sizeof *messages + sizeof(struct placement)) + 32;
    for (unsigned i = 0; i < count; i++, *needs += more)
        if (!guarded_copy(&one, &messages[i], sizeof one) ||
            !(more = bounce_needs(one.msg_hdr.msg_iov, one.msg_hdr.msg_iovlen)))
            return i;
    return count;
}

/* Copies of the program's messages, and where each is to bring what comes. Returns for how many of them. */
static unsigned place_messages(struct bounce *bounce, const struct mmsghdr *messages, unsigned count,
                               struct mmsghdr *copies, struct placement *placements) {
    for (unsigned i = 0; i < count; i++) {
        struct msghdr *header = &copies[i].msg_hdr;
        if (!guarded_copy(&copies[i], &messages[i], sizeof *copies) ||
            !bounce_place(bounce, header->msg_iov, header->msg_iovlen, &placements[i]))
            return i;
        header->msg_iov = (struct iovec *)placements[i].placed;
    }
    return count;
}

/* The first message that can't be returned ends the call: -1 if none was before it. */
static int return_messages(struct mmsghdr *messages, const struct mmsghdr *copies, const struct placement *placements,
                           int got, int fd, uintptr_t caller) {
    for (int i = 0; i < got; i++) {
        struct mwj_call call = {.name = MWJ_CALL_RECVMMSG, .fd = fd};
        if (deliver(&call, &placements[i], copies[i].msg_len, caller) >= 0 &&
            return_header(&messages[i].msg_hdr, &copies[i].msg_hdr) &&
            guarded_copy(&messages[i].msg_len, &copies[i].msg_len, 8))
            continue;
        errno = EFAULT;
        return i ? i : -1;
    }
    return got;
}

static SLOW int bounced_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout,
                                 uintptr_t caller) {
    struct bounce bounce;
    size_t needs;
    const unsigned sound = sound_messages(messages, count, &needs);
    int got;
    if (!sound || throws_away(fd, flags)) return recvmmsg(fd, messages, count, flags, timeout);
    if (!bounce_open(&bounce, needs)) return -1;
    pthread_cleanup_push(bounce_close, &bounce);
    struct mmsghdr *copies = bounce_take(&bounce, sound * sizeof *copies);
    struct placement *placements = bounce_take(&bounce, sound * sizeof *placements);
    unsigned placed = place_messages(&bounce, messages, sound, copies, placements);
    got = placed ? recvmmsg(fd, copies, placed, flags, timeout) : recvmmsg(fd, messages, count, flags, timeout);
    if (placed) got = return_messages(messages, copies, placements, got, fd, caller);
    pthread_cleanup_pop(1);
    return got;
}
int replaced_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout) {
    if (count > IOV_MAX) count = IOV_MAX; /* as the kernel does */
    for (unsigned i = 0; i < count; i++)
        if (concerns_us(&messages[i].msg_hdr)) return bounced_recvmmsg(fd, messages, count, flags, timeout, CALLER);
    return recvmmsg(fd, messages, count, flags, timeout);
}

/* ---- streams ---- */

static SLOW size_t bounced_fread(uint8_t *buffer, size_t size, size_t count, FILE *file, maker *make,
                                 uintptr_t caller) {
    size_t wanted, came = 0;
    const size_t most = (size_t)1 << 30;
    if (__builtin_mul_overflow(size, count, &wanted)) wanted = SIZE_MAX - (SIZE_MAX % size);
    int kept = errno;
    struct request r = REQUEST(FREAD, fileno_unlocked(file), .file = file);
    errno = kept; /* not every stream has a descriptor */
    while (came < wanted) {
        size_t n = wanted - came < most ? wanted - came : most;
        ssize_t got = bounced(&r, &(struct iovec){buffer + came, n}, 1, make);
        if (got > 0) came += (size_t)got;
        if (got < (ssize_t)n) break;
    }
    return came == wanted ? count : came / size;
}

size_t replaced_fread(void *buffer, size_t size, size_t count, FILE *file) {
    if (likely(!size || !count || !is_watched(buffer, size * count))) return fread(buffer, size, count, file);
    return bounced_fread(buffer, size, count, file, make_fread, CALLER);
}

size_t replaced_fread_unlocked(void *buffer, size_t size, size_t count, FILE *file) {
    if (likely(!size || !count || !is_watched(buffer, size * count))) return fread_unlocked(buffer, size, count, file);
    return bounced_fread(buffer, size, count, file, make_fread_unlocked, CALLER);
}

/* ---- what -D_FORTIFY_SOURCE makes of them: the same, and an end if the buffer is smaller than what is asked for ----
 */

static inline void check_room(size_t size, size_t room) {
    if (unlikely(size > room)) __chk_fail();
}

ssize_t replaced_read_chk(int fd, void *buffer, size_t size, size_t room) {
    check_room(size, room);
    return replaced_read(fd, buffer, size);
}

ssize_t replaced_pread_chk(int fd, void *buffer, size_t size, off_t offset, size_t room) {
    check_room(size, room);
    return replaced_pread(fd, buffer, size, offset);
}

ssize_t replaced_recv_chk(int fd, void *buffer, size_t size, size_t room, int flags) {
    check_room(size, room);
    return replaced_recv(fd, buffer, size, flags);
}

ssize_t replaced_recvfrom_chk(int fd, void *buffer, size_t size, size_t room, int flags, struct sockaddr *from,
                              socklen_t *from_size) {
    check_room(size, room);
    return replaced_recvfrom(fd, buffer, size, flags, from, from_size);
}

static inline void check_items(size_t size, size_t count, size_t room) {
    size_t bytes;
    if (unlikely(__builtin_mul_overflow(size, count, &bytes) || bytes > room)) __chk_fail();
}

size_t replaced_fread_chk(void *buffer, size_t room, size_t size, size_t count, FILE *file) {
    check_items(size, count, room);
    return replaced_fread(buffer, size, count, file);
}

size_t replaced_fread_unlocked_chk(void *buffer, size_t room, size_t size, size_t count, FILE *file) {
    check_items(size, count, room);
    return replaced_fread_unlocked(buffer, size, count, file);
}
