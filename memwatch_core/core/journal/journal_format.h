/* journal_format.h - the bytes of a journal, as docs/journal-format.md describes them. Shared with nobody but readers.
 */
#ifndef MEMWATCH_JOURNAL_FORMAT_H
#define MEMWATCH_JOURNAL_FORMAT_H
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define MWJ_MAGIC "MEMWATCH"
#define MWJ_VERSION_MAJOR 1
#define MWJ_VERSION_MINOR 8
#define MWJ_HEADER_SIZE 4096u
#define MWJ_SLOT_SIZE 64u
#define MWJ_SEGMENT_SLOTS 16384u
#define MWJ_SEGMENT_SIZE (MWJ_SEGMENT_SLOTS * MWJ_SLOT_SIZE)
#define MWJ_FIRST_SIZE 65536u /* of the file at first, header included */
#define MWJ_RECORD_SLOTS_MAX 255u
#define MWJ_LOSSES 236u
#define MWJ_READER_FILE "reader"

enum mwj_kind {
    MWJ_FREE = 0,
    MWJ_STORE = 1,
    MWJ_CONTINUATION = 2,
    MWJ_PAD = 3,
    MWJ_VARIABLE = 4,
    MWJ_METADATA = 5,
    MWJ_CONTENT = 6,
    MWJ_UNREGISTERED = 7,
    MWJ_SITE = 8,
    MWJ_CONTEXT = 9,
    MWJ_OUTCOME = 10,
    MWJ_THREAD = 11,
    MWJ_LOST = 12,
    MWJ_PLACE = 13,
    MWJ_STACK = 14,
    MWJ_ALIAS = 15,
    MWJ_REQUEST = 16,
    MWJ_NOT_FOLLOWED = 17,
};
enum mwj_origin { MWJ_ANNOUNCED = 1, MWJ_BY_STORE = 2, MWJ_SYSCALL = 3, MWJ_KERNEL = 4, MWJ_FOUND = 5 };
enum mwj_stack_flag { MWJ_STACK_CUT = 1, MWJ_STACK_INEXACT = 2 }; /* as MW_STACK_CUT and so on in memwatch.h */
enum mwj_flag {
    MWJ_INEXACT = 1,
    MWJ_SITE_INEXACT = 2,
    MWJ_ADDS_CALL = 4,     /* SITE */
    MWJ_OF_ACTIVATION = 4, /* STORE */
    MWJ_HAS_STACK = 8,
    MWJ_HAS_REQUEST = 16,
    MWJ_NATIVE = 32,
    MWJ_REPEATED = 64,
    MWJ_MORE = 128
};

enum mwj_variable_flag { MWJ_UNTOLD = 128, MWJ_LATER = 256 }; /* beside those of memwatch.h */

struct mwj_lost { /* stores to one variable that ran and couldn't be recorded */
    _Atomic uint32_t variable;
    uint32_t unused;
    _Atomic uint64_t count;
};

struct mwj_header {
    char magic[8];
    uint16_t version_major, version_minor;
    uint32_t header_size, slot_size, segment_slots;
    uint64_t pid, started;
    char runtime[16], tracker[16];
    uint8_t session[16];
    uint32_t page_size, abi_version;
    uint8_t unused0[32];
    _Alignas(64) _Atomic uint64_t reserved;
    _Alignas(64) _Atomic uint64_t lost;
    _Atomic uint64_t closed;
    _Atomic uint64_t front;            /* the first slot that is still there */
    _Atomic uint64_t stores_before[2]; /* STORE records before `front`: [segment of `front` & 1] */
    uint64_t max_bytes;
    uint32_t policy;
    _Alignas(64) _Atomic uint64_t read;              /* by the reader: slots that it is done with, */
    _Atomic uint64_t read_check;                     /* and ~read */
    _Alignas(64) struct mwj_lost losses[MWJ_LOSSES]; /* the first row: all variables that have none of their own */
};
static_assert(offsetof(struct mwj_header, page_size) == 88, "header layout");
static_assert(offsetof(struct mwj_header, reserved) == 128, "header layout");
static_assert(offsetof(struct mwj_header, lost) == 192, "header layout");
static_assert(offsetof(struct mwj_header, read) == 256, "header layout");
static_assert(sizeof(struct mwj_header) == MWJ_HEADER_SIZE, "header layout");

struct mwj_slot {
    _Atomic uint32_t word; /* kind | slots << 8 | origin << 16 | flags << 24; committed last */
    uint32_t tid;
    uint64_t time;
    uint32_t id; /* variable, site, context, stack or request */
    union {
        struct {
            uint32_t offset, length, site, context;
            uint8_t payload[28];
        } store;
        struct {
            uint32_t length;
            uint8_t payload[40];
        } blob;
        uint8_t raw[44];
    };
};
static_assert(sizeof(struct mwj_slot) == MWJ_SLOT_SIZE, "slot layout");
static_assert(offsetof(struct mwj_slot, store.payload) == 36, "slot layout");
static_assert(offsetof(struct mwj_slot, blob.payload) == 24, "slot layout");
static_assert(offsetof(struct mwj_slot, raw) == 20, "slot layout");

#define MWJ_HAS_CALL(origin) ((origin) == MWJ_SYSCALL || (origin) == MWJ_KERNEL)

/* A system call's number is added to this, 65535 if it isn't known: asm/unistd_64.h. */
#define MWJ_CALL_KERNEL 65536u

/* The call behind a STORE of origin MWJ_SYSCALL (of libc) or MWJ_KERNEL (of the system): its payload begins with this.
 */
enum mwj_call_name {
    MWJ_CALL_READ = 1,
    MWJ_CALL_PREAD = 2,
    MWJ_CALL_READV = 3,
    MWJ_CALL_PREADV = 4,
    MWJ_CALL_PREADV2 = 5,
    MWJ_CALL_RECV = 6,
    MWJ_CALL_RECVFROM = 7,
    MWJ_CALL_RECVMSG = 8,
    MWJ_CALL_RECVMMSG = 9,
    MWJ_CALL_GETRANDOM = 10,
    MWJ_CALL_FREAD = 11,
};
struct mwj_call {
    uint32_t name;  /* enum mwj_call_name */
    int32_t fd;     /* -1: none */
    uint32_t bytes; /* that it brought, to all buffers together; of recvmmsg, with this message; of the kernel, 0 */
};
static_assert(sizeof(struct mwj_call) == 12, "slot layout");

struct mwj_continuation {
    _Atomic uint32_t word;
    uint8_t payload[60];
};
static_assert(sizeof(struct mwj_continuation) == MWJ_SLOT_SIZE, "slot layout");

struct mwj_variable { /* in mwj_slot.raw; packed by hand: no 8-byte alignment there */
    uint32_t flags;
    uint32_t size[2], depth_start[2], depth_stop[2], address[2]; /* low word, high word */
    uint32_t unused[2];
};
static_assert(sizeof(struct mwj_variable) == 44, "slot layout");

/* A record's word, and what is in it. */
#define MWJ_WORD(kind, slots, origin, flags)                                                                           \
    ((uint32_t)(kind) | (uint32_t)(slots) << 8 | (uint32_t)(origin) << 16 | (uint32_t)(flags) << 24)
#define MWJ_KIND_OF(word) ((word) & 0xffu)
#define MWJ_SLOTS_OF(word) ((word) >> 8 & 0xffu)
#define MWJ_FLAGS_OF(word) ((word) >> 24)
#endif
