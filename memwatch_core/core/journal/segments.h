/* segments.h - a journal's segments on disk, and the count of stores for which there was no slot. */
#ifndef MEMWATCH_SEGMENTS_H
#define MEMWATCH_SEGMENTS_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/compiler.h"
#include "journal/journal.h"

struct latest_name { /* the last of a thread's or a variable's names in the oldest segment (segments.c) */
    uint32_t kind, id;
    uint32_t first, last; /* slots */
    bool open;            /* the record goes on in the next segment */
};
#define LATEST_NAMES 1024u

MW_HIDDEN int segments_open(struct journal *journal); /* the file exists, empty but for the header; 0 or errno */
MW_HIDDEN void segments_limit(struct journal *journal);
MW_HIDDEN void segments_close(struct journal *journal);
MW_HIDDEN void segments_count_lost_before(struct journal *journal, uint64_t count); /* while there was no file */
/* The file, which ends at `from`, has blocks on disk and pages in memory up to from + size; or is as it was. */
MW_HIDDEN bool file_extend(int fd, off_t from, off_t size);
/* Makes segments up to slot `end`; may wait for the reader. False: the disk is full, or the limit is reached. */
MW_HIDDEN bool segments_grow(struct journal *journal, uint64_t end);
MW_HIDDEN void segments_count_lost(struct journal *journal, uint32_t variable); /* counts a store that found no slot */
MW_HIDDEN void segments_report_full(struct journal *journal);                   /* says once that the journal is full */
#endif
