/* descriptors.h - the core's own file descriptors. The program may close them, and put its own files at their numbers:
 * none is used before it has been compared with the file that it was opened for. */
#ifndef MEMWATCH_DESCRIPTORS_H
#define MEMWATCH_DESCRIPTORS_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"
#include "base/lock.h"

#define PATH_LONGEST 4096u
struct descriptor {
    _Atomic int number;
    int flags;
    uint64_t device, inode;
    char path[PATH_LONGEST + 64]; /* where its file can be opened again; empty: nowhere */
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
    int pid; /* of the process whose table of descriptors has these numbers */
};

struct descriptor_turn {
    uint64_t mask;
    int number; /* of the descriptor; -1: it is gone */
};
/* Whether the descriptor is open, and of the right file, at this moment. */
MW_HIDDEN bool descriptor_sound(enum descriptor_kind kind);
/* The descriptor's number, which stays the same until descriptor_let_go(); -1: it is gone, and can't be opened again.
 * Signals must be blocked: the program's handlers may come for the same lock. */
MW_HIDDEN int descriptor_hold(enum descriptor_kind kind);
MW_HIDDEN void descriptor_let_go(void);
/* The same, and blocks signals. */
MW_HIDDEN struct descriptor_turn descriptor_enter(enum descriptor_kind kind);
MW_HIDDEN void descriptor_leave(const struct descriptor_turn *turn);
/* `number` becomes one of the core's, and gets another number. False, with errno: a `path` is given, and the file isn't
 * the one at that path. */
MW_HIDDEN bool descriptor_take(enum descriptor_kind kind, int number, const char *path, int flags);
MW_HIDDEN void descriptor_close(enum descriptor_kind kind);
MW_HIDDEN void descriptor_rename(enum descriptor_kind from, enum descriptor_kind to);
MW_HIDDEN void descriptor_forget(enum descriptor_kind kind); /* the descriptor stays open */
MW_HIDDEN void descriptor_forked(void);                      /* in the child, where the parent's lock is held */

/* For calls of the program that close or replace descriptors (calls/descriptor_calls.c). */
MW_HIDDEN uint64_t descriptor_lock(void); /* and blocks signals; returns what descriptor_unlock() takes */
MW_HIDDEN void descriptor_unlock(uint64_t mask);
MW_HIDDEN int descriptor_find(int number);                                         /* which of ours it is; -1: none */
MW_HIDDEN int descriptor_within(unsigned first, unsigned last, unsigned *numbers); /* of ours, in order; how many */
MW_HIDDEN bool descriptor_move(int which, int number); /* away from this number. False: no other is free */
MW_HIDDEN bool descriptor_was_at(int which,
                                 int number); /* our file is open at this number, which isn't its own any more */
#endif
