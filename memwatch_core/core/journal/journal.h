/* journal.h - the writer: fixed-size slots in a file that readers follow. docs/journal-format.md. */
#ifndef MEMWATCH_JOURNAL_H
#define MEMWATCH_JOURNAL_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "memwatch.h"
#include "base/compiler.h"
#include "base/descriptors.h"
#include "base/lock.h"
#include "journal/journal_format.h"

#define SEGMENTS_MAX (1u << 20)

struct variable;
struct journal {
    _Atomic uint32_t open;
    uint32_t generation;
    struct mwj_header *header;
    _Atomic(struct mwj_slot *) *segments;
    _Atomic uint64_t capacity; /* slots up to here exist; those from `first` segments on still do */
    _Atomic uint64_t begin;    /* with a limit: of what can be used in the last segment, behind the copies in it */
    _Atomic uint64_t promised; /* slots that writes of several records may still need: journal_promise() */
    mw_lock grow;
    uint64_t first;        /* under `grow` */
    uint64_t segments_max; /* 0: no limit */
    uint64_t max_bytes;    /* of the journals opened from now on */
    mw_policy policy;
    _Atomic uint32_t full_reported, waiting_reported, refusal_reported;
    bool unreachable;             /* it can't grow because the program has closed its descriptor */
    mw_lock make;                 /* held by who makes the file */
    int (*describe)(void);        /* records what later records refer to: sites, variables */
    void (*withdraw)(void);       /* the file that was being made is given up: they are described in none */
    _Atomic uint32_t refused;     /* errno: why it couldn't be made, the last time */
    char folder[PATH_LONGEST];    /* where a forked child makes its own */
    char path[PATH_LONGEST + 64]; /* of the file, or of what it would be now */
    char reader_path[PATH_LONGEST + 16];
    uint32_t name;   /* where the file's name begins in `path` */
    uint32_t stem;   /* length of `path` before its number and its end */
    uint32_t number; /* of journals of a process with this id that were there before */
    char runtime[16];
    uint8_t session[16];
};

/* So many were begun, those that were given back to the disk included. */
MW_SIGNAL_SAFE static inline uint64_t journal_segments(const struct journal *j) {
    return (j->capacity + MWJ_SEGMENT_SLOTS - 1) / MWJ_SEGMENT_SLOTS;
}

struct store {
    uint32_t variable, tid, offset, length, site, context;
    unsigned how, flags;
    const struct mwj_call *call; /* of MWJ_SYSCALL; otherwise NULL */
};
MW_HIDDEN int journal_store(const struct store *store, const uint8_t *before, const uint8_t *after);
/* Room for the records of a write of so many bytes; and for all records of one write, so that they find it whoever else
 * writes, until journal_release(). Without a limit only: with one, nothing is refused. *slots: those promised. */
MW_HIDDEN uint64_t journal_slots_for(uint64_t length);
MW_HIDDEN int journal_promise(uint64_t *slots);
MW_HIDDEN void journal_release(uint64_t slots);
MW_HIDDEN int journal_blob(unsigned kind, unsigned flags, uint32_t tid, uint32_t id, const void *a, size_t a_length,
                           const void *b, size_t b_length);
MW_HIDDEN int journal_variable(uint32_t id, const struct variable *variable);
MW_HIDDEN int journal_unregistered(uint32_t id, struct variable *variable);
#endif
