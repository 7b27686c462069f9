/* descriptors.h - the descriptors that stay open: none of them is ever used for what isn't ours. */
#ifndef MEMWATCH_DESCRIPTORS_H
#define MEMWATCH_DESCRIPTORS_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"
#include "base/lock.h"

#define PATH_LONGEST 4096u
struct descriptor { /* a descriptor (descriptors.c) */
    _Atomic int number;
    int flags;
    uint64_t device, inode;
    char path[PATH_LONGEST + 64]; /* where it can be opened again; empty: nowhere */
};
enum descriptor_kind {
    DESCRIPTOR_UFFD,
    DESCRIPTOR_JOURNAL,
    DESCRIPTOR_READER,
    DESCRIPTOR_PUT_ASIDE,
    DESCRIPTOR_KEPT,
    DESCRIPTORS = DESCRIPTOR_KEPT + 16
};

struct descriptors {
    mw_lock lock;
    struct descriptor own[DESCRIPTORS];
    int pid; /* whose numbers they are */
};

struct descriptor_turn {
    uint64_t mask;
    int number; /* -1: it is gone */
};
/* Whether it is still open, at this moment. */
MW_HIDDEN bool descriptor_sound(enum descriptor_kind kind);
/* Its number; until it is let go, it stays there. Signals must be blocked: a handler of the program's may need it. */
MW_HIDDEN int descriptor_hold(enum descriptor_kind kind);
MW_HIDDEN void descriptor_let_go(void);
/* The same, and blocks them. */
MW_HIDDEN struct descriptor_turn descriptor_enter(enum descriptor_kind kind);
MW_HIDDEN void descriptor_leave(const struct descriptor_turn *turn);
/* From now on it is ours, at another number. False: it isn't what is at `path`, if that is given; errno. */
MW_HIDDEN bool descriptor_take(enum descriptor_kind kind, int number, const char *path, int flags);
MW_HIDDEN void descriptor_close(enum descriptor_kind kind);
MW_HIDDEN void descriptor_rename(enum descriptor_kind from, enum descriptor_kind to);
MW_HIDDEN void descriptor_forget(enum descriptor_kind kind); /* without closing it */
MW_HIDDEN void descriptor_forked(void);                      /* in the child, where the parent's lock is held */

/* For calls of the program. */
MW_HIDDEN uint64_t descriptor_lock(void); /* and blocks signals; returns what descriptor_unlock() takes */
MW_HIDDEN void descriptor_unlock(uint64_t mask);
MW_HIDDEN int descriptor_find(int number);                                         /* which of ours it is; -1: none */
MW_HIDDEN int descriptor_within(unsigned first, unsigned last, unsigned *numbers); /* of ours, in order; how many */
MW_HIDDEN bool descriptor_move(int which, int number);   /* away from this number. False: there is no other one */
MW_HIDDEN bool descriptor_was_at(int which, int number); /* it has another number, and is still open at this one */
#endif
