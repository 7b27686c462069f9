/* room.c - where the journal's slots come from: segments on disk, the limit on them, and what is counted when there are
 * none. docs/journal-format.md.
 *
 * A journal with a limit holds so many segments and no more: the oldest is given back to the disk when the next one is
 * needed. With the policy `rotate` at once; otherwise only if the reader has read it, and until then `block` waits,
 * `drop` goes on without recording. What later records refer to (variables, places, threads) is copied to the beginning
 * of the new segment first, so the file is complete in itself at any time. */
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* kernel 5.14; where it is refused, pages come on first touch */
#endif
#define COMMIT_PAUSE 50000L /* ns, while a thread is in the middle of a record */
#define COMMIT_PAUSES 4000u
#define READER_PAUSE 1000000L
#define READER_PAUSES_TOLD 1000u /* a second: then whoever wonders is told */

enum room { ROOM_MADE, ROOM_NONE, ROOM_UNREAD, ROOM_UNCOMMITTED };

#define SAY(text) raw_syscall4(SYS_write, 2, (long)(text), sizeof(text) - 1, 0)

/* ---- segments ---- */

/* Blocks on disk and pages in memory for [from, from + size). Written rather than fallocated: the page cache then makes
 * large folios, and the whole segment is mapped in a few faults instead of one a page. */
MW_SIGNAL_SAFE bool room_allocate(int fd, off_t from, off_t size) {
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

MW_SIGNAL_SAFE static off_t offset_of(uint64_t segment) { return MWJ_HEADER_SIZE + (off_t)segment * MWJ_SEGMENT_SIZE; }

MW_SIGNAL_SAFE static bool punch(int fd, off_t from, off_t size) {
    return raw_syscall4(SYS_fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, size) == 0;
}

MW_SIGNAL_SAFE static bool open_segment(struct journal *j, uint64_t segment) {
    off_t from = offset_of(segment);
    if (segment >= SEGMENTS_MAX || !room_allocate(j->fd, from, MWJ_SEGMENT_SIZE)) return false;
    long p = raw_syscall6(SYS_mmap, 0, MWJ_SEGMENT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, j->fd, from);
    if (p < 0 && p > -4096) return false;
    raw_syscall4(SYS_madvise, p, MWJ_SEGMENT_SIZE, MADV_POPULATE_WRITE, 0);
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

/* Whether records behind the oldest segment may refer to this one of it. A variable that is being registered isn't live
 * yet; the end of one may be recorded further on, or be about to be. */
MW_SIGNAL_SAFE static bool is_kept(const struct journal *j, const struct mwj_slot *slot, uint32_t word) {
    switch (word & 0xff) {
    case MWJ_VARIABLE:
    case MWJ_METADATA: {
        const struct variable *v = &mw.variables[slot->id];
        uint32_t ended = atomic_load(&v->ended);
        return slot->id > mw.variable_last || v->live || (v->size && (!ended || ended - 1 > j->first));
    }
    case MWJ_SITE: return true;
    case MWJ_THREAD: return !(word >> 24 & MWJ_REPEATED) || thread_runs(slot->tid);
    default: return false;
    }
}

/* Goes through the oldest segment; copies what is kept behind `to`, if given. False: a slot isn't committed yet. */
MW_SIGNAL_SAFE static bool survey(struct journal *j, struct mwj_slot *to, uint32_t *kept, uint64_t *stores) {
    struct mwj_slot *from = j->segments[j->first];
    for (uint32_t i = 0; i < MWJ_SEGMENT_SLOTS;) {
        uint32_t word = atomic_load_explicit(&from[i].word, memory_order_acquire), n = word >> 8 & 0xff;
        if (!word) return false;
        if (is_kept(j, from + i, word)) {
            if (to) {
                memcpy(to + *kept, from + i, n * MWJ_SLOT_SIZE);
                atomic_store_explicit(&to[*kept].word, word | (uint32_t)MWJ_REPEATED << 24, memory_order_relaxed);
            }
            *kept += n;
        }
        *stores += (word & 0xff) == MWJ_STORE;
        i += n;
    }
    return true;
}

MW_SIGNAL_SAFE static bool was_read(const struct journal *j) {
    uint64_t read = atomic_load(&j->header->read), check = atomic_load(&j->header->read_check);
    return check == ~read && read >= (j->first + 1) * MWJ_SEGMENT_SLOTS && read <= j->header->reserved;
}

/* The reader holds a lock on a file of the session: the kernel takes it away from one that has died. */
MW_SIGNAL_SAFE static bool reader_lives(const struct journal *j) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return j->reader >= 0 && raw_syscall4(SYS_fcntl, j->reader, F_OFD_GETLK, (long)&lock, 0) == 0 &&
           lock.l_type != F_UNLCK;
}

MW_SIGNAL_SAFE static enum room may_free(struct journal *j) {
    uint32_t kept = 0;
    uint64_t stores = 0;
    if (j->policy != MW_POLICY_ROTATE && !was_read(j))
        return j->policy == MW_POLICY_BLOCK && reader_lives(j) ? ROOM_UNREAD : ROOM_NONE;
    return survey(j, NULL, &kept, &stores) ? ROOM_MADE : ROOM_UNCOMMITTED;
}

MW_SIGNAL_SAFE static void free_first(struct journal *j, uint64_t next, uint32_t *kept) {
    struct mwj_slot *oldest = j->segments[j->first];
    uint64_t stores = j->header->stores_before[j->first & 1];
    survey(j, j->segments[next], kept, &stores);
    j->first++;
    MW_STEP("stores before", 0);
    atomic_store(&j->header->stores_before[j->first & 1], stores); /* before `front`: who reads that finds this */
    MW_STEP("front", 0);
    atomic_store(&j->header->front, j->first * MWJ_SEGMENT_SLOTS);
    atomic_store_explicit(&j->segments[j->first - 1], NULL, memory_order_relaxed);
    MW_STEP("punch", 0);
    raw_syscall4(SYS_munmap, (long)oldest, MWJ_SEGMENT_SIZE, 0, 0);
    punch(j->fd, offset_of(j->first - 1), MWJ_SEGMENT_SIZE);
}

MW_SIGNAL_SAFE static enum room add_segment(struct journal *j) {
    uint64_t next = j->capacity / MWJ_SEGMENT_SLOTS;
    bool at_limit = j->segments_max && next - j->first >= j->segments_max;
    enum room room = at_limit ? may_free(j) : ROOM_MADE;
    if (room != ROOM_MADE) return room;
    if (!open_segment(j, next)) return ROOM_NONE;
    uint32_t kept = 0;
    if (at_limit) free_first(j, next, &kept);
    if (kept > MWJ_SEGMENT_SLOTS - MWJ_RECORD_SLOTS_MAX) /* not every record would find room: it is full */
        for (; kept < MWJ_SEGMENT_SLOTS; kept++) j->segments[next][kept].word = MWJ_WORD(MWJ_PAD, 1, 0, 0);
    atomic_store_explicit(&j->begin, next * MWJ_SEGMENT_SLOTS + kept, memory_order_relaxed);
    MW_STEP("grown", next);
    atomic_fetch_add(&j->capacity, MWJ_SEGMENT_SLOTS);
    return ROOM_MADE;
}

/* No signal may arrive while we hold the lock: its handler could store to a watched page. */
MW_SIGNAL_SAFE static enum room grow(struct journal *j, uint64_t end) {
    uint64_t all = ~0ull, kept;
    raw_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&kept, 8);
    lock_take(&j->grow, thread_id());
    enum room room = ROOM_MADE;
    /* A segment in which all is kept moves as it is, and the next one is looked at; if all are like that, it is enough.
     */
    for (uint64_t moved = 0; room == ROOM_MADE && (j->capacity < end || j->begin >= j->capacity);)
        room = moved++ > j->segments_max + 1 ? ROOM_NONE : add_segment(j);
    lock_release(&j->grow);
    raw_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&kept, 0, 8);
    return room;
}

MW_SIGNAL_SAFE bool room_make(struct journal *j, uint64_t end) {
    for (unsigned unread = 0, uncommitted = 0;;) {
        enum room room = grow(j, end);
        if (room == ROOM_MADE) return true;
        if (room == ROOM_NONE || (room == ROOM_UNCOMMITTED && uncommitted++ > COMMIT_PAUSES)) return false;
        if (room == ROOM_UNREAD && ++unread == READER_PAUSES_TOLD && !atomic_exchange(&j->waiting_reported, 1))
            SAY("memwatch: the journal has reached journal.max_bytes: the program waits for its reader\n");
        struct timespec pause = {0, room == ROOM_UNREAD ? READER_PAUSE : COMMIT_PAUSE};
        raw_syscall4(SYS_nanosleep, (long)&pause, 0, 0, 0);
    }
}

/* ---- what finds no room ---- */

MW_SIGNAL_SAFE void room_lost(struct journal *j, uint32_t variable) {
    struct mwj_lost *lost = j->header->losses;
    for (unsigned i = 1; i < MWJ_LOSSES; i++) {
        uint32_t seen = 0;
        if (atomic_compare_exchange_strong(&lost[i].variable, &seen, variable) || seen == variable) {
            lost += i;
            break;
        }
    } /* none free: the first row, which stands for all other variables */
    atomic_fetch_add(&lost->count, 1);
    atomic_fetch_add(&j->header->lost, 1);
    atomic_fetch_add(&mw.lost, 1);
}

MW_SIGNAL_SAFE void room_report(struct journal *j) {
    if (atomic_exchange(&j->full_reported, 1)) return;
    if (j->segments_max)
        SAY("memwatch: the journal has reached journal.max_bytes, or the disk is full: what was recorded is safe, "
            "further events are counted as lost\n");
    else
        SAY("memwatch: the journal can't grow (disk full?): what was recorded is safe, further events are counted as "
            "lost\n");
}

/* ---- open and close ---- */

int mw_journal_limit(uint64_t max_bytes, mw_policy policy) {
    if ((max_bytes && max_bytes < MW_JOURNAL_MIN) || (unsigned)policy > MW_POLICY_ROTATE) return MW_ERR_POLICY;
    lock_take(&mw.lock, thread_id());
    mw.journal.max_bytes = max_bytes;
    mw.journal.policy = policy;
    lock_release(&mw.lock);
    return MW_OK;
}

int room_open(struct journal *j) {
    /* one segment less: while what is kept is copied, the oldest and the new one both exist */
    j->segments_max = j->max_bytes ? (j->max_bytes - MWJ_HEADER_SIZE) / MWJ_SEGMENT_SIZE - 1 : 0;
    j->first = 0;
    j->begin = 0;
    j->full_reported = j->waiting_reported = 0;
    j->header->max_bytes = j->max_bytes;
    j->header->policy = (uint32_t)j->policy;
    if (j->segments_max &&
        (!room_allocate(j->fd, MWJ_HEADER_SIZE, MW_PAGE_SIZE) || !punch(j->fd, MWJ_HEADER_SIZE, MW_PAGE_SIZE))) {
        errno = EOPNOTSUPP; /* a file system that can't give back a part of a file */
        return MW_ERR_JOURNAL_OPEN;
    }
    j->reader = private_open(j->folder, MWJ_READER_FILE, O_RDONLY);
    return grow(j, 1) == ROOM_MADE ? MW_OK : MW_ERR_JOURNAL_FULL;
}

void room_close(struct journal *j) {
    for (uint64_t i = j->first; j->segments && i < j->capacity / MWJ_SEGMENT_SLOTS; i++)
        munmap(j->segments[i], MWJ_SEGMENT_SIZE);
    if (j->reader >= 0) close(j->reader);
    j->reader = -1;
    j->capacity = 0;
    j->first = 0;
}
