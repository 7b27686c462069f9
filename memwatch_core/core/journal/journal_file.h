/* journal_file.h - a journal's file: named when the journal is opened, made at its first record. */
#ifndef MEMWATCH_JOURNAL_FILE_H
#define MEMWATCH_JOURNAL_FILE_H
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"
#include "base/lock.h"
#include "journal/journal.h"

#define NAMES_MOST 1024u
struct thread_name { /* given before the file was made */
    uint32_t tid;
    uint32_t length;
    char text[256];
};

struct thread_names {
    mw_lock lock;
    uint32_t count;
    struct thread_name *rows;
};

MW_HIDDEN bool journal_file_make(struct journal *journal); /* the file, if there is none; false: journal->refused */
MW_HIDDEN void journal_file_report_refusal(struct journal *journal); /* says once that there is no file, and why */
MW_HIDDEN void journal_file_reserve(void); /* the file's place in the folder, while we may write to that */
MW_HIDDEN int journal_file_open(const char *path, const char *runtime, const uint8_t session[16]); /* no file yet */
MW_HIDDEN bool journal_file_keep_name(uint32_t tid, const char *name, size_t length); /* false: it is to be recorded */
MW_HIDDEN void journal_file_forked(struct journal *journal); /* in a forked child: the parent's is let go */
MW_HIDDEN void journal_file_close(struct journal *journal);  /* of the file, or of what was to become one */
MW_HIDDEN void journal_file_unmap(struct journal *journal);  /* for good: nobody may write any more */
#endif
