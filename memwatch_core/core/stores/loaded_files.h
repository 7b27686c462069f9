/* loaded_files.h - which loaded file (program, library, vdso) an instruction lies in, and what tells that file from
 * another one. */
#ifndef MEMWATCH_LOADED_FILES_H
#define MEMWATCH_LOADED_FILES_H
#include <elf.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"
#include "base/lock.h"

#define FILES_BITS 12
#define HEAD_MOST 1024u
#define PATH_MOST 1024u
#define IDENTITY_MOST 160u

struct loaded_file {
    _Atomic uintptr_t start; /* where it begins in memory; 0: a free row */
    uintptr_t bias;          /* what was added to the addresses that stand in the file */
    uint32_t head_length, path_length, identity_length;
    uint32_t id_length;
    const uint8_t *id_at;    /* its build id, in memory */
    uint8_t head[HEAD_MOST]; /* what it began with: another file at this address differs in it, or in its build id */
    uint8_t id[64];
    char path[PATH_MOST];
    char identity[IDENTITY_MOST]; /* as docs/journal-format.md has it */
};

struct loaded_files {
    mw_lock lock;
    struct loaded_file *rows; /* by a hash of `start`; never changed, never removed */
    uint32_t count;
    int (*find)(void *, void *); /* _dl_find_object, since glibc 2.35; NULL: there is none */
    uintptr_t libc, ours;        /* where these two begin */
    const void *program;         /* its link_map, and its segments */
    const Elf64_Phdr *segments;
    unsigned segment_count;
    char line[PATH_MOST + 128]; /* under the lock */
};

MW_HIDDEN int loaded_files_open(void);
/* The file that this address lies in; NULL: it can't be known which, or (*loaded is false) it is in none. */
MW_HIDDEN const struct loaded_file *loaded_file_at(uintptr_t address, bool *loaded);
#endif
