/* journal.h - the journal's writer: records of fixed-size slots in a file that readers follow. docs/journal-format.md.
 */
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
    _Atomic uint64_t capacity; /* slots that the file has room for; those before segment `first` are given back */
    _Atomic uint64_t begin;    /* with a limit: first slot of the last segment that is free, behind copied records */
    _Atomic uint64_t promised; /* slots that writes of several records may still need: journal_promise() */
    mw_lock grow;
    uint64_t first;          /* under `grow` */
    _Atomic uint64_t unread; /* 1 + `first`, when a slot was refused because the reader wasn't there yet; else 0 */
    uint64_t segments_max;   /* 0: no limit */
    uint64_t max_bytes;      /* of the journals opened from now on */
    mw_policy policy;
    _Atomic uint32_t full_reported, waiting_reported, refusal_reported;
    bool unreachable;             /* the file can't grow: the program has closed its descriptor */
    mw_lock make;                 /* held while the file is made */
    int (*describe)(void);        /* writes the records that later ones refer to: sites, variables */
    void (*withdraw)(void);       /* the file that was being made is given up, with what `describe` wrote */
    _Atomic uint32_t refused;     /* errno: why the file couldn't be made, the last time */
    char folder[PATH_LONGEST];    /* where a forked child makes its own */
    char path[PATH_LONGEST + 64]; /* of the file; until it is made, of the one that would be made now */
    char reader_path[PATH_LONGEST + 16];
    uint32_t name;   /* where the file's name begins in `path` */
    uint32_t stem;   /* length of `path` before its number and its end */
    uint32_t number; /* of older journals with this name: processes with the same id */
    char runtime[16];
    uint8_t session[16];
};

/* How many segments were begun, including those that were given back to the disk. */
MW_SIGNAL_SAFE static inline uint64_t journal_segments(const struct journal *j) {
    return (j->capacity + MWJ_SEGMENT_SLOTS - 1) / MWJ_SEGMENT_SLOTS;
}

struct store {
    uint32_t variable, tid, offset, length, site, context, stack, native, activation;
    unsigned how, flags;
    uint64_t request_serial;
    mw_request *request;         /* NULL: none */
    bool refusable;              /* the write isn't made if it can't be recorded */
    const struct mwj_call *call; /* of MWJ_SYSCALL; otherwise NULL */
    uint32_t mask;               /* MW_MASK_BYTES, MW_MASK_WHOLE, or 0 */
};
#define MW_MASKS (MW_MASK_BYTES | MW_MASK_WHOLE)
MW_HIDDEN int journal_store(const struct store *store, const uint8_t *before, const uint8_t *after);
/* journal_slots_for: slots that the records of a write of so many bytes take. journal_promise: keeps *slots slots free
 * for the records of one write of this thread, whoever else writes meanwhile, until journal_release(*slots). A journal
 * with a limit promises none, *slots = 0: its writes are never refused. */
MW_HIDDEN uint64_t journal_slots_for(uint64_t length);
MW_HIDDEN int journal_promise(uint64_t *slots);
MW_HIDDEN void journal_release(uint64_t slots);
MW_HIDDEN int journal_blob(unsigned kind, unsigned flags, uint32_t tid, uint32_t id, const void *a, size_t a_length,
                           const void *b, size_t b_length);
/* Masks bytes of a secret in place; masks: MW_MASK_BYTES or MW_MASK_WHOLE. */
MW_HIDDEN void journal_mask(uint32_t id, uint32_t masks, uint64_t offset, uint8_t *bytes, size_t n);
MW_HIDDEN int journal_variable(uint32_t id, const struct variable *variable);
MW_HIDDEN int journal_unregistered(uint32_t id, struct variable *variable, const mw_ending *ending);
#endif
