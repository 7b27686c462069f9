/* journal.c - memwatch.h: the journal of this process is opened, limited, closed; threads get names in it. */
#include <errno.h>
#include <stdio.h>

#include "api/variables.h"
#include "base/lock.h"
#include "base/signals.h"
#include "base/thread.h"
#include "journal/condition_texts.h"
#include "journal/journal.h"
#include "journal/journal_file.h"
#include "journal/journal_format.h"
#include "journal/registry.h"
#include "journal/sites.h"
#include "memory/arena.h"
#include "memory/fork_copy.h"
#include "memory/userfaultfd.h"
#include "memwatch.h"
#include "process/fork.h"
#include "state.h"
#include "stores/fault.h"

/* A journal is complete in itself. */
MW_SIGNAL_SAFE static int describe(void) {
    int error = sites_record_all();
    return error ? error : registry_tell();
}

int mw_journal_open(const char *path, const char *runtime, const uint8_t session[16]) {
    struct journal *j = &mw.journal;
    if (!mw.started) return MW_ERR_NOT_STARTED;
    int error = fork_settle();
    if (error) return error;
    bool taken = core_take();
    if (atomic_load(&j->open)) {
        errno = EBUSY;
        error = MW_ERR_JOURNAL_OPEN;
    } else {
        journal_file_unmap(j); /* kept since it was closed, for writers that were still on their way out */
        if (!j->segments) {
            j->segments = arena_table(SEGMENTS_MAX * sizeof *j->segments);
            if (!j->segments) error = MW_ERR_NO_MEMORY;
        }
        if (!error && !mw.signals.taken) error = signals_take(mw_fault_handler);
        if (!error) error = journal_file_open(path, runtime, session);
        if (!error) {
            j->generation++;
            j->describe = describe;
            j->withdraw = registry_untell;
            atomic_store(&j->open, 1);
        }
    }
    core_release(taken);
    return error;
}

int mw_journal_close(void) {
    struct journal *j = &mw.journal;
    if (!mw.started || !atomic_load(&j->open)) return MW_ERR_NO_JOURNAL;
    fork_notice();
    bool taken = core_take();
    uffd_look();
    variables_end_all();
    journal_file_close(j);
    core_release(taken);
    return MW_OK;
}

int mw_rest(void) {
    if (!mw.started) return MW_OK;
    fork_notice();
    bool taken = core_take();
    int error = atomic_load(&mw.journal.open) ? MW_ERR_JOURNAL_OPEN : mw.arena.used ? MW_ERR_PAGE : MW_OK;
    if (error != MW_ERR_JOURNAL_OPEN && mw.journal.segments) journal_file_unmap(&mw.journal);
    if (!error) signals_give_back();
    core_release(taken);
    return error;
}

int mw_journal_is_made(void) { return mw.started && process_is_whole() && atomic_load(&mw.process->made); }

uint64_t mw_journal_stamp(void) {
    const struct journal *j = &mw.journal;
    if (mw.started && !process_is_whole()) fork_notice();
    return (uint64_t)j->generation << 32 | (j->segments_max ? (uint32_t)journal_segments(j) : 0);
}

int mw_thread_name(uint32_t tid, const char *name, size_t length) {
    struct journal *j = &mw.journal;
    if (length > 255) return MW_ERR_TOO_LONG;
    if (!mw.started || !atomic_load(&j->open)) return MW_ERR_NO_JOURNAL;
    fork_notice();
    if (!tid) tid = thread_id();
    if (tid == thread_id()) mw_thread.named = j->generation;
    condition_names_thread(tid, name, length);
    return journal_file_keep_name(tid, name, length) ? MW_OK
                                                     : journal_blob(MWJ_THREAD, 0, tid, 0, NULL, 0, name, length);
}

int mw_journal_path(char *path, size_t size) {
    struct journal *j = &mw.journal;
    if (!mw.started || !*j->path) return MW_ERR_NO_JOURNAL;
    fork_notice();
    uint64_t kept = mask_signals();
    lock_take(&j->make, thread_id());
    int n = snprintf(path, size, "%s", j->path);
    lock_release(&j->make);
    unmask_signals(kept);
    return n < 0 || (size_t)n >= size ? MW_ERR_TOO_LONG : MW_OK;
}

int mw_journal_limit(uint64_t max_bytes, mw_policy policy) {
    if ((max_bytes && max_bytes < MW_JOURNAL_MIN) || (unsigned)policy > MW_POLICY_ROTATE) return MW_ERR_POLICY;
    bool taken = core_take();
    mw.journal.max_bytes = max_bytes;
    mw.journal.policy = policy;
    core_release(taken);
    return MW_OK;
}
