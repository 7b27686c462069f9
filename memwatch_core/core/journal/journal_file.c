/* journal_file.c - a journal's file: named when the journal is opened, made at its first record, complete from the
 * start.
 *
 * A process that records nothing leaves no file. The first record may be that of a store in a forked child, on the
 * fault path: so whatever makes the file is async-signal-safe. Before any record it writes what records refer to: the
 * places that are known, the names of threads, and in a forked child the variables that are watched. Everybody else who
 * has something to record waits for that, under `make`; the pages whose locks they hold haven't changed yet. */
#include "journal/journal_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/descriptors.h"
#include "base/digits.h"
#include "base/lock.h"
#include "base/messages.h"
#include "base/private_files.h"
#include "base/process.h"
#include "base/syscalls.h"
#include "base/thread.h"
#include "journal/journal.h"
#include "journal/journal_format.h"
#include "journal/segments.h"
#include "memory/arena.h"
#include "memwatch.h"
#include "state.h"

#define END ".mwj"
#define END_LENGTH 4u
#define NUMBER_MOST 9999u

struct text {
    char bytes[384];
    size_t length;
};

MW_SIGNAL_SAFE static void add_text(struct text *t, const char *from) {
    while (*from && t->length < sizeof t->bytes) t->bytes[t->length++] = *from++;
}

MW_SIGNAL_SAFE static void add_number(struct text *t, uint64_t number) {
    char digits[21];
    *put_decimal(digits, number) = 0;
    add_text(t, digits);
}

MW_SIGNAL_SAFE static void say(const struct text *t) { tell(t->bytes, t->length); }

/* ---- its descriptors, its header ---- */

MW_SIGNAL_SAFE static void put_text(char *to, size_t room, const char *from) {
    size_t n = 0;
    while (n + 1 < room && from[n]) to[n] = from[n], n++;
    memset(to + n, 0, room - n);
}

MW_SIGNAL_SAFE void journal_file_unmap(struct journal *j) {
    atomic_store(&mw.process->made, 0);
    segments_close(j);
    if (j->header) raw_syscall4(SYS_munmap, (long)j->header, MWJ_HEADER_SIZE, 0, 0);
    descriptor_close(DESCRIPTOR_JOURNAL);
    j->header = NULL;
}

/* 0 or errno; EPERM: the folder isn't this user's alone. */
MW_SIGNAL_SAFE static int open_descriptors(struct journal *j) {
    int fd = private_open(j->folder, j->path + j->name, O_RDWR | O_CREAT | O_EXCL);
    if (fd < 0) return -fd;
    if (!descriptor_take(DESCRIPTOR_JOURNAL, fd, j->path, O_RDWR)) return EBADF;
    fd = private_open(j->folder, MWJ_READER_FILE, O_RDONLY);
    if (fd >= 0) descriptor_take(DESCRIPTOR_READER, fd, j->reader_path, O_RDONLY | O_NONBLOCK);
    return 0;
}

MW_SIGNAL_SAFE static long map_header(void) {
    int fd = descriptor_hold(DESCRIPTOR_JOURNAL);
    long p = fd < 0 ? -EBADF
             : !file_extend(fd, 0, MWJ_HEADER_SIZE)
                 ? -ENOSPC
                 : raw_syscall6(SYS_mmap, 0, MWJ_HEADER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    descriptor_let_go();
    return p;
}

MW_SIGNAL_SAFE static int write_header(struct journal *j) {
    long p = map_header();
    if (p < 0 && p > -4096) return (int)-p;
    raw_syscall4(SYS_madvise, p, MWJ_HEADER_SIZE, MADV_DONTFORK, 0);
    j->header = (struct mwj_header *)p;
    j->header->version_major = MWJ_VERSION_MAJOR;
    j->header->version_minor = MWJ_VERSION_MINOR;
    j->header->header_size = MWJ_HEADER_SIZE;
    j->header->slot_size = MWJ_SLOT_SIZE;
    j->header->segment_slots = MWJ_SEGMENT_SLOTS;
    j->header->pid = (uint64_t)raw_syscall4(SYS_getpid, 0, 0, 0, 0);
    j->header->started = clock_now();
    put_text(j->header->runtime, sizeof j->header->runtime, j->runtime);
    put_text(j->header->tracker, sizeof j->header->tracker, mw.tracker->name);
    memcpy(j->header->session, j->session, 16);
    j->header->page_size = MW_PAGE_SIZE;
    j->header->abi_version = MW_ABI_VERSION;
    int why = segments_open(j);
    if (why) return why;
    atomic_thread_fence(memory_order_release);
    memcpy(j->header->magic, MWJ_MAGIC, 8); /* last: a reader that sees it sees the rest */
    return 0;
}

/* ---- its name ---- */

/* "<stem>.mwj"; "<stem>.1.mwj" where there is such a journal: of the program that this process ran before (exec), of a
 * session that it has left, of a process that had the same id. */
MW_SIGNAL_SAFE static void put_path(struct journal *j) {
    char *at = j->path + j->stem;
    if (j->number) {
        *at++ = '.';
        at = put_decimal(at, j->number);
    }
    memcpy(at, END, END_LENGTH + 1);
}

MW_SIGNAL_SAFE static int open_file(struct journal *j) {
    int why = open_descriptors(j);
    for (; why == EEXIST && j->stem && j->number < NUMBER_MOST; why = open_descriptors(j)) {
        j->number++;
        put_path(j);
    }
    return why;
}

/* ---- what records refer to ---- */

bool journal_file_keep_name(uint32_t tid, const char *name, size_t length) {
    uint64_t kept = mask_signals();
    lock_take(&mw.thread_names.lock, thread_id());
    uint32_t at = 0;
    while (at < mw.thread_names.count && mw.thread_names.rows[at].tid != tid) at++;
    bool keep = !atomic_load(&mw.process->made) && at < NAMES_MOST;
    if (keep) {
        struct thread_name *row = &mw.thread_names.rows[at];
        row->tid = tid;
        row->length = (uint32_t)length;
        memcpy(row->text, name, length);
        if (at == mw.thread_names.count) mw.thread_names.count++;
    }
    lock_release(&mw.thread_names.lock);
    unmask_signals(kept);
    return keep;
}

MW_SIGNAL_SAFE static int record_names(void) {
    int error = MW_OK;
    for (uint32_t i = 0; i < mw.thread_names.count && !error; i++) {
        const struct thread_name *row = &mw.thread_names.rows[i];
        error = journal_blob(MWJ_THREAD, 0, row->tid, 0, NULL, 0, row->text, row->length);
    }
    return error;
}

/* ---- made ---- */

MW_SIGNAL_SAFE static void withdraw(struct journal *j) {
    if (descriptor_any(DESCRIPTOR_JOURNAL)) private_remove(j->folder, j->path + j->name);
    journal_file_unmap(j);
}

MW_SIGNAL_SAFE static bool make(struct journal *j) {
    int why = descriptor_any(DESCRIPTOR_JOURNAL) ? 0 : open_file(j);
    if (!why) why = write_header(j);
    lock_take(&mw.thread_names.lock, thread_id());
    if (!why && (record_names() || j->describe())) why = ENOSPC;
    if (!why) {
        mw.thread_names.count = 0;
        atomic_store_explicit(&mw.process->made, 1, memory_order_release);
    }
    lock_release(&mw.thread_names.lock);
    if (why) {
        j->withdraw();
        withdraw(j);
    }
    atomic_store(&j->refused, (uint32_t)why);
    return !why;
}

/* What another attempt may not meet. */
MW_SIGNAL_SAFE static bool passes(uint32_t why) {
    return why == ENOSPC || why == EDQUOT || why == EMFILE || why == ENFILE || why == ENOMEM || why == EINTR;
}

MW_SIGNAL_SAFE bool journal_file_make(struct journal *j) {
    if (atomic_load(&mw.process->state) == PROCESS_UNNOTICED) {
        process_notice();
        return false; /* whatever was to be recorded is the parent's */
    }
    uint32_t self = thread_id(), refused = atomic_load(&j->refused);
    if (lock_held_by(&j->make, self)) return true; /* it is being made, by us */
    if (refused && !passes(refused)) return false;
    uint64_t kept = mask_signals(); /* a handler could store to a watched page */
    lock_take(&j->make, self);
    bool made = atomic_load(&mw.process->made) || make(j);
    lock_release(&j->make);
    unmask_signals(kept);
    return made;
}

void journal_file_reserve(void) {
    struct journal *j = &mw.journal;
    if (!mw.started || !atomic_load(&j->open) || atomic_load(&mw.process->made)) return;
    process_notice();
    uint64_t kept = mask_signals();
    if (!lock_held_by(&j->make, thread_id())) {
        lock_take(&j->make, thread_id());
        if (!atomic_load(&mw.process->made) && !descriptor_any(DESCRIPTOR_JOURNAL)) open_file(j);
        lock_release(&j->make);
    }
    unmask_signals(kept);
}

MW_SIGNAL_SAFE void journal_file_report_refusal(struct journal *j) {
    if (atomic_exchange(&j->refusal_reported, 1)) return;
    uint32_t why = atomic_load(&j->refused);
    struct text t = {.length = 0};
    add_text(&t, "memwatch: process ");
    add_number(&t, (uint64_t)raw_syscall4(SYS_getpid, 0, 0, 0, 0));
    add_text(&t, " can't make its journal (");
    add_text(&t, why == EACCES || why == EPERM ? "permission denied: its user isn't the one that the session belongs to"
                 : why == ENOENT               ? "the session's folder is gone"
                 : why == EROFS                ? "a read-only file system"
                 : why == EMFILE               ? "too many open files"
                                               : "error ");
    if (t.bytes[t.length - 1] == ' ') add_number(&t, why);
    add_text(&t, "): its values are as usable as ever, what it writes to them isn't recorded but counted as lost\n");
    say(&t);
}

/* ---- opened, forked, closed ---- */

static void remember(struct journal *j, const char *path, const char *runtime, const uint8_t session[16]) {
    const char *slash = strrchr(path, '/');
    size_t length = strlen(path), folder = slash && slash > path ? (size_t)(slash - path) : 1; /* "/" or "." */
    bool ends = length > END_LENGTH && !strcmp(path + length - END_LENGTH, END);
    snprintf(j->folder, sizeof j->folder, "%.*s", (int)folder, slash ? path : ".");
    snprintf(j->path, sizeof j->path, "%s", path);
    snprintf(j->reader_path, sizeof j->reader_path, "%s/" MWJ_READER_FILE, j->folder);
    snprintf(j->runtime, sizeof j->runtime, "%s", runtime);
    memcpy(j->session, session, 16);
    j->name = slash ? (uint32_t)(slash - path) + 1 : 0;
    j->stem = ends ? (uint32_t)(length - END_LENGTH) : 0; /* 0: it has this name or none */
}

MW_SIGNAL_SAFE static void reset(struct journal *j) {
    j->number = 0;
    j->full_reported = j->waiting_reported = j->refusal_reported = 0;
    atomic_store(&j->refused, 0);
    mw.thread_names.count = 0;
}

/* Makes no file yet, but checks that one can be made, so that an error is told at once. */
int journal_file_open(const char *path, const char *runtime, const uint8_t session[16]) {
    struct journal *j = &mw.journal;
    if (!mw.thread_names.rows && !(mw.thread_names.rows = arena_table(NAMES_MOST * sizeof *mw.thread_names.rows)))
        return MW_ERR_NO_MEMORY;
    errno = ENAMETOOLONG;
    if (strlen(path) >= sizeof j->folder) return MW_ERR_JOURNAL_OPEN;
    remember(j, path, runtime, session);
    reset(j);
    segments_limit(j);
    int private = private_check(j->folder);
    errno = -private;
    if (private) return private == -EPERM ? MW_ERR_FOLDER : MW_ERR_JOURNAL_OPEN;
    if (faccessat(AT_FDCWD, j->folder, W_OK | X_OK, AT_EACCESS)) return MW_ERR_JOURNAL_OPEN;
    while (!access(j->path, F_OK)) {
        errno = EEXIST;
        if (!j->stem || j->number == NUMBER_MOST) return MW_ERR_JOURNAL_OPEN;
        j->number++;
        put_path(j);
    }
    return MW_OK;
}

MW_SIGNAL_SAFE void journal_file_forked(struct journal *j) {
    for (uint64_t i = j->first; j->segments && i < journal_segments(j); i++) j->segments[i] = NULL;
    j->header = NULL; /* not mapped here: MADV_DONTFORK */
    j->capacity = j->begin = j->first = j->unread = 0;
    j->promised = mw_thread.promised = 0;
    j->make = j->grow = mw.thread_names.lock = 0;
    mw.lost = 0;
    j->generation++;
    reset(j);
    size_t n = 0;
    for (; j->folder[n]; n++) j->path[n] = j->folder[n];
    j->path[n++] = '/';
    j->name = (uint32_t)n;
    n = (size_t)(put_decimal(j->path + n, (uint64_t)raw_syscall4(SYS_getpid, 0, 0, 0, 0)) - j->path);
    j->path[n++] = '-';
    for (const char *c = j->runtime; *c; c++) j->path[n++] = *c;
    j->stem = (uint32_t)n;
    put_path(j);
}

/* All watches have ended. If the file couldn't be made so far, one more attempt: it says at least how many writes are
 * lost. */
void journal_file_close(struct journal *j) {
    uint64_t lost = mw.lost;
    if (lost && !atomic_load(&mw.process->made)) {
        atomic_store(&j->refused, 0);
        if (journal_file_make(j)) segments_count_lost_before(j, lost);
    }
    atomic_store(&j->open, 0);
    if (atomic_load(&mw.process->made)) {
        atomic_store(&j->header->closed, clock_now());
        return;
    }
    withdraw(j);
    if (!lost) return;
    struct text t = {.length = 0};
    add_text(&t, "memwatch: process ");
    add_number(&t, (uint64_t)getpid());
    add_text(&t, " had no journal: writes that are lost: ");
    add_number(&t, lost);
    add_text(&t, "\n");
    say(&t);
}
