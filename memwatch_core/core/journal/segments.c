/* segments.c - the segments of a journal: made on disk, kept within a limit; and the count of stores that found no
 * slot. docs/journal-format.md.
 *
 * A journal with a limit holds so many segments and no more: the oldest is given back to the disk when the next one is
 * needed. With the policy `rotate` at once; otherwise only if the reader has read it, and until then `block` waits,
 * `drop` goes on without recording. What later records refer to (variables, places, threads) is copied to the beginning
 * of the new segment first, so the file is complete in itself at any time. */
#include "journal/segments.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/descriptors.h"
#include "base/lock.h"
#include "base/messages.h"
#include "base/syscalls.h"
#include "base/thread.h"
#include "journal/journal.h"
#include "journal/journal_format.h"
#include "journal/registry.h"
#include "memwatch.h"
#include "state.h"

#define COMMIT_PAUSE 50000L /* ns, while a thread is in the middle of a record */
#define COMMIT_PAUSES 4000u
#define READER_PAUSE 1000000L
#define READER_PAUSES_TOLD 1000u /* a second: then whoever wonders is told */

enum growth { GROWTH_DONE, GROWTH_REFUSED, GROWTH_UNREAD, GROWTH_UNCOMMITTED };

#define SAY(text) tell(text, sizeof(text) - 1)

/* ---- segments ---- */

/* Whether the file system may still have so much, as far as it tells. Asked first: an attempt that fails would take the
 * last blocks of the disk from the program, if only for a moment. statfs(2). */
MW_SIGNAL_SAFE static bool disk_has(int fd, off_t size) {
    struct statfs disk;
    if (raw_syscall4(SYS_fstatfs, fd, (long)&disk, 0, 0) || !disk.f_blocks || !disk.f_bsize) return true; /* unknown */
    uint64_t blocks = raw_syscall4(SYS_geteuid, 0, 0, 0, 0) ? disk.f_bavail : disk.f_bfree;
    uint64_t block = (uint64_t)(disk.f_frsize ? disk.f_frsize : disk.f_bsize);
    return blocks >= ((uint64_t)size + block - 1) / block;
}

/* Written rather than fallocated: the page cache then makes large folios, and the whole segment is mapped in a few
 * faults instead of one a page. */
MW_SIGNAL_SAFE static bool write_zeros(int fd, off_t from, off_t size) {
    static const char zeros[256 << 10];
    for (off_t stop = from + size; from < stop;) {
        size_t n = stop - from < (off_t)sizeof zeros ? (size_t)(stop - from) : sizeof zeros;
        long done = raw_syscall4(SYS_pwrite64, fd, (long)zeros, (long)n, from);
        if (done == -EINTR) continue;
        if (done <= 0) return false;
        from += done;
    }
    return true;
}

/* Cuts the file off at `end`: the blocks behind go back to the disk. Safe, because readers use pread(2), and writers
 * touch no slot of their mapping beyond the journal's capacity. */
MW_SIGNAL_SAFE static void give_back(int fd, off_t end) { raw_syscall4(SYS_ftruncate, fd, end, 0, 0); }

MW_SIGNAL_SAFE bool file_extend(int fd, off_t from, off_t size) {
    struct rlimit limit; /* asked before: whoever goes beyond gets SIGXFSZ */
    if (!raw_syscall4(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, (long)&limit) && (uint64_t)(from + size) > limit.rlim_cur)
        return false;
    if (!disk_has(fd, size)) return false;
    bool done = write_zeros(fd, from, size);
    if (!done) give_back(fd, from);
    return done;
}

MW_SIGNAL_SAFE static off_t offset_of(uint64_t slot) { return MWJ_HEADER_SIZE + (off_t)slot * MWJ_SLOT_SIZE; }

MW_SIGNAL_SAFE static bool punch(int fd, off_t from, off_t size) {
    return raw_syscall4(SYS_fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, size) == 0;
}

/* The capacity after the next growth. The first segment grows by pieces, so that a small journal takes little disk. */
MW_SIGNAL_SAFE static uint64_t piece_end(uint64_t capacity) {
    const uint64_t header = MWJ_HEADER_SIZE / MWJ_SLOT_SIZE;
    uint64_t end = capacity ? 4 * (capacity + header) : MWJ_FIRST_SIZE / MWJ_SLOT_SIZE;
    return capacity >= MWJ_SEGMENT_SLOTS || end > MWJ_SEGMENT_SLOTS / 2
               ? (capacity / MWJ_SEGMENT_SLOTS + 1) * MWJ_SEGMENT_SLOTS
               : end - header;
}

/* Extends the file by the slots up to `end`, all in one segment. A segment is mapped whole with its first piece; slots
 * behind the file's end are beyond the journal's capacity, where nobody touches them. */
MW_SIGNAL_SAFE static bool open_slots(struct journal *j, uint64_t end) {
    uint64_t segment = j->capacity / MWJ_SEGMENT_SLOTS, first = j->capacity % MWJ_SEGMENT_SLOTS;
    off_t from = offset_of(j->capacity), size = (off_t)(end - j->capacity) * MWJ_SLOT_SIZE;
    int fd = descriptor_hold(DESCRIPTOR_JOURNAL);
    long p = -1;
    j->unreachable = fd < 0;
    if (fd >= 0 && segment < SEGMENTS_MAX) /* before anything is written: each event that is lost comes by here */
        p = first ? (long)j->segments[segment]
                  : raw_syscall6(SYS_mmap, 0, MWJ_SEGMENT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, from);
    bool mapped = p >= 0 || p <= -4096, extended = mapped && file_extend(fd, from, size);
    if (mapped && !extended && !first) raw_syscall4(SYS_munmap, p, MWJ_SEGMENT_SIZE, 0, 0);
    descriptor_let_go();
    if (!extended) return false;
    if (!first) raw_syscall4(SYS_madvise, p, MWJ_SEGMENT_SIZE, MADV_DONTFORK, 0);
    raw_syscall4(SYS_madvise, p + (long)first * MWJ_SLOT_SIZE, size, MADV_POPULATE_WRITE, 0);
    if (first) return true;
    atomic_store_explicit(&j->segments[segment], (struct mwj_slot *)p, memory_order_release);
    if (segment >= j->first + 2) /* written and read by others only: the pages stay in the page cache */
        raw_syscall4(SYS_madvise, (long)j->segments[segment - 2], MWJ_SEGMENT_SIZE, MADV_DONTNEED, 0);
    return true;
}

/* ---- giving back the oldest segment ---- */

MW_SIGNAL_SAFE static bool thread_runs(uint32_t tid) {
    long pid = raw_syscall4(SYS_getpid, 0, 0, 0, 0);
    return raw_syscall4(SYS_tgkill, pid, tid, 0, 0) == 0;
}

/* A thread or a variable may be named over and over: of its names in the oldest segment, only the last is kept. A
 * thread's name as the kernel knows it (inexact) replaces none. */
MW_SIGNAL_SAFE static struct latest_name *latest_of(uint32_t kind, uint32_t id) {
    return &mw.latest_names[(id * 2 + (kind == MWJ_THREAD)) % LATEST_NAMES];
}

MW_SIGNAL_SAFE static void note(const struct mwj_slot *slot, uint32_t word, uint32_t at) {
    uint32_t kind = MWJ_KIND_OF(word), id = kind == MWJ_THREAD ? slot->tid : slot->id;
    struct latest_name *l = latest_of(kind, id);
    if (!l->kind) *l = (struct latest_name){.kind = kind, .id = id, .first = at};
    if (l->kind != kind || l->id != id) return; /* its place is another's: all names of this one are kept */
    if (!l->open) l->last = at;
    l->open = MWJ_FLAGS_OF(word) & MWJ_MORE;
}

/* The first description of a variable may be the end of one that began in a segment before, and is kept with it. */
MW_SIGNAL_SAFE static bool is_superseded(const struct mwj_slot *slot, uint32_t word, uint32_t at) {
    uint32_t kind = MWJ_KIND_OF(word), id = kind == MWJ_THREAD ? slot->tid : slot->id;
    const struct latest_name *l = latest_of(kind, id);
    return l->kind == kind && l->id == id && !l->open && at < l->last && (kind == MWJ_THREAD || at > l->first);
}

/* Whether later segments may refer to this record of the oldest one. A variable that is being registered isn't live
 * yet; the UNREGISTERED record of another may be in a later segment, or about to be written. */
MW_SIGNAL_SAFE static bool is_kept(const struct journal *j, const struct mwj_slot *slot, uint32_t word, uint32_t at) {
    switch (MWJ_KIND_OF(word)) {
    case MWJ_METADATA:
        if (is_superseded(slot, word, at)) return false;
        __attribute__((fallthrough));
    case MWJ_VARIABLE: {
        const struct variable *v = &mw.registry.variables[slot->id];
        uint32_t ended = atomic_load(&v->ended);
        return slot->id > mw.registry.last || v->live || (v->size && (!ended || ended - 1 > j->first));
    }
    case MWJ_SITE: return true;
    case MWJ_THREAD:
        return !is_superseded(slot, word, at) && (!(MWJ_FLAGS_OF(word) & MWJ_REPEATED) || thread_runs(slot->tid));
    default: return false;
    }
}

/* Goes through the oldest segment. False: a slot isn't committed yet. */
MW_SIGNAL_SAFE static bool survey(struct journal *j) {
    const struct mwj_slot *from = j->segments[j->first];
    memset(mw.latest_names, 0, sizeof mw.latest_names);
    for (uint32_t i = 0; i < MWJ_SEGMENT_SLOTS;) {
        uint32_t word = atomic_load_explicit(&from[i].word, memory_order_acquire);
        if (!word) return false;
        bool names = MWJ_KIND_OF(word) == MWJ_THREAD || MWJ_KIND_OF(word) == MWJ_METADATA;
        if (names && !(MWJ_FLAGS_OF(word) & MWJ_INEXACT)) note(from + i, word, i);
        i += MWJ_SLOTS_OF(word);
    }
    return true;
}

/* Copies the records of the oldest segment that are kept, after survey(). Returns how many slots they take. */
MW_SIGNAL_SAFE static uint32_t copy_kept(const struct journal *j, struct mwj_slot *to, uint64_t *stores) {
    const struct mwj_slot *from = j->segments[j->first];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < MWJ_SEGMENT_SLOTS;) {
        uint32_t word = atomic_load_explicit(&from[i].word, memory_order_relaxed), n = MWJ_SLOTS_OF(word);
        if (is_kept(j, from + i, word, i)) {
            memcpy(to + kept, from + i, n * MWJ_SLOT_SIZE);
            atomic_store_explicit(&to[kept].word, word | (uint32_t)MWJ_REPEATED << 24, memory_order_relaxed);
            kept += n;
        }
        *stores += MWJ_KIND_OF(word) == MWJ_STORE;
        i += n;
    }
    return kept;
}

MW_SIGNAL_SAFE static bool was_read(const struct journal *j, uint64_t segment) {
    uint64_t read = atomic_load(&j->header->read), check = atomic_load(&j->header->read_check);
    return check == ~read && read >= (segment + 1) * MWJ_SEGMENT_SLOTS && read <= j->header->reserved;
}

/* The reader holds a lock on a file of the session; when a reader dies, the kernel releases its lock. */
MW_SIGNAL_SAFE static bool reader_lives(void) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = descriptor_hold(DESCRIPTOR_READER);
    bool lives = fd >= 0 && !raw_syscall4(SYS_fcntl, fd, F_OFD_GETLK, (long)&lock, 0) && lock.l_type != F_UNLCK;
    descriptor_let_go();
    return lives;
}

MW_SIGNAL_SAFE static enum growth may_free(struct journal *j) {
    if (j->policy != MW_POLICY_ROTATE && !was_read(j, j->first)) {
        if (j->policy == MW_POLICY_DROP) atomic_store(&j->unread, j->first + 1);
        return j->policy == MW_POLICY_BLOCK && reader_lives() ? GROWTH_UNREAD : GROWTH_REFUSED;
    }
    return survey(j) ? GROWTH_DONE : GROWTH_UNCOMMITTED;
}

MW_SIGNAL_SAFE static uint32_t free_first(struct journal *j, uint64_t next) {
    struct mwj_slot *oldest = j->segments[j->first];
    uint64_t stores = j->header->stores_before[j->first & 1];
    uint32_t kept = copy_kept(j, j->segments[next], &stores);
    j->first++;
    atomic_store(&j->unread, 0);
    MW_STEP("stores before", 0);
    atomic_store(&j->header->stores_before[j->first & 1],
                 stores); /* before `front`: a reader that sees the new front finds the count */
    MW_STEP("front", 0);
    atomic_store(&j->header->front, j->first * MWJ_SEGMENT_SLOTS);
    atomic_store_explicit(&j->segments[j->first - 1], NULL, memory_order_relaxed);
    MW_STEP("punch", 0);
    raw_syscall4(SYS_munmap, (long)oldest, MWJ_SEGMENT_SIZE, 0, 0);
    int fd = descriptor_hold(DESCRIPTOR_JOURNAL);
    if (fd >= 0) punch(fd, offset_of((j->first - 1) * MWJ_SEGMENT_SLOTS), MWJ_SEGMENT_SIZE);
    descriptor_let_go();
    return kept;
}

MW_SIGNAL_SAFE static enum growth add_segment(struct journal *j) {
    uint64_t next = journal_segments(j), end = piece_end(j->capacity);
    bool begins = !(j->capacity % MWJ_SEGMENT_SLOTS),
         at_limit = begins && j->segments_max && next - j->first >= j->segments_max;
    enum growth growth = at_limit ? may_free(j) : GROWTH_DONE;
    if (growth != GROWTH_DONE) return growth;
    if (!open_slots(j, end)) return GROWTH_REFUSED;
    uint32_t kept = at_limit ? free_first(j, next) : 0;
    if (kept > MWJ_SEGMENT_SLOTS -
                   MWJ_RECORD_SLOTS_MAX) /* not every record would fit behind the copies: the segment counts as full */
        for (; kept < MWJ_SEGMENT_SLOTS; kept++) j->segments[next][kept].word = MWJ_WORD(MWJ_PAD, 1, 0, 0);
    if (begins &&
        j->segments_max) /* else several segments may be made at once, and each is used from its first slot on */
        atomic_store_explicit(&j->begin, next * MWJ_SEGMENT_SLOTS + kept, memory_order_relaxed);
    MW_STEP("grown", end);
    atomic_store(&j->capacity, end);
    return GROWTH_DONE;
}

/* No signal may arrive while we hold the lock: its handler could store to a watched page. */
MW_SIGNAL_SAFE static enum growth grow(struct journal *j, uint64_t end) {
    uint64_t kept = mask_signals();
    lock_take(&j->grow, thread_id());
    enum growth growth = GROWTH_DONE;
    /* If all records of the oldest segment are kept, nothing is won, and the next one is tried; once round is enough.
     */
    for (uint64_t moved = 0; growth == GROWTH_DONE && (j->capacity < end || j->begin >= j->capacity);)
        growth = moved++ > j->segments_max + 1 ? GROWTH_REFUSED : add_segment(j);
    lock_release(&j->grow);
    unmask_signals(kept);
    return growth;
}

/* What grow() would answer, without its lock and system calls: each store that is dropped comes by here. */
MW_SIGNAL_SAFE static bool is_still_unread(const struct journal *j) {
    uint64_t unread = atomic_load(&j->unread);
    return unread && !was_read(j, unread - 1);
}

MW_SIGNAL_SAFE bool segments_grow(struct journal *j, uint64_t end) {
    if (is_still_unread(j)) return false;
    for (unsigned unread = 0, uncommitted = 0;;) {
        enum growth growth = grow(j, end);
        if (growth == GROWTH_DONE) return true;
        if (growth == GROWTH_REFUSED || (growth == GROWTH_UNCOMMITTED && uncommitted++ > COMMIT_PAUSES)) return false;
        if (growth == GROWTH_UNREAD && ++unread == READER_PAUSES_TOLD && !atomic_exchange(&j->waiting_reported, 1))
            SAY("memwatch: the journal has reached journal.max_bytes: the program waits for its reader\n");
        struct timespec pause = {0, growth == GROWTH_UNREAD ? READER_PAUSE : COMMIT_PAUSE};
        raw_syscall4(SYS_nanosleep, (long)&pause, 0, 0, 0);
    }
}

/* ---- stores that found no slot ---- */

MW_SIGNAL_SAFE void segments_count_lost(struct journal *j, uint32_t variable) {
    atomic_fetch_add(&mw.lost, 1);
    if (!atomic_load(&mw.process->made)) return; /* told at the end: journal_file.c */
    struct mwj_lost *lost = j->header->losses;
    for (unsigned i = 1; i < MWJ_LOSSES; i++) {
        uint32_t seen = atomic_load(&lost[i].variable);
        if (seen == variable ||
            (!seen && (atomic_compare_exchange_strong(&lost[i].variable, &seen, variable) || seen == variable))) {
            lost += i;
            break;
        }
    } /* none free: the first row, which stands for all other variables */
    atomic_fetch_add(&lost->count, 1);
    atomic_fetch_add(&j->header->lost, 1);
}

void segments_count_lost_before(struct journal *j, uint64_t count) {
    atomic_fetch_add(&j->header->losses[0].count, count);
    atomic_fetch_add(&j->header->lost, count);
}

MW_SIGNAL_SAFE void segments_report_full(struct journal *j) {
    if (atomic_exchange(&j->full_reported, 1)) return;
    if (j->unreachable)
        SAY("memwatch: the program has closed the journal's descriptor, and the file isn't at its path any more: what "
            "was recorded is safe, further events are counted as lost\n");
    else if (j->segments_max)
        SAY("memwatch: the journal has reached journal.max_bytes, or the disk is full: what was recorded is safe, "
            "further events are counted as lost\n");
    else
        SAY("memwatch: the journal can't grow (disk full, or ulimit -f?): what was recorded is safe, further events "
            "are counted as "
            "lost\n");
}

/* ---- open and close ---- */

MW_SIGNAL_SAFE static bool can_punch(void) {
    int fd = descriptor_hold(DESCRIPTOR_JOURNAL);
    bool can = fd >= 0 && file_extend(fd, MWJ_HEADER_SIZE, MW_PAGE_SIZE) && punch(fd, MWJ_HEADER_SIZE, MW_PAGE_SIZE);
    descriptor_let_go();
    return can;
}

/* One segment less: while what is kept is copied, the oldest and the new one both exist. */
MW_SIGNAL_SAFE void segments_limit(struct journal *j) {
    j->segments_max = j->max_bytes ? (j->max_bytes - MWJ_HEADER_SIZE) / MWJ_SEGMENT_SIZE - 1 : 0;
}

MW_SIGNAL_SAFE int segments_open(struct journal *j) {
    segments_limit(j);
    j->first = 0;
    atomic_store(&j->unread, 0);
    j->begin = 0;
    j->unreachable = false;
    j->header->max_bytes = j->max_bytes;
    j->header->policy = (uint32_t)j->policy;
    if (j->segments_max && !can_punch()) return EOPNOTSUPP; /* a file system that can't give back a part of a file */
    return grow(j, 1) == GROWTH_DONE ? 0 : ENOSPC;
}

MW_SIGNAL_SAFE void segments_close(struct journal *j) {
    for (uint64_t i = j->first; j->segments && i < journal_segments(j); i++)
        raw_syscall4(SYS_munmap, (long)j->segments[i], MWJ_SEGMENT_SIZE, 0, 0);
    descriptor_close(DESCRIPTOR_READER);
    j->capacity = 0;
    j->first = 0;
    atomic_store(&j->unread, 0);
}
