/* events.h - reads the STORE records of a journal from C: what the tests need of docs/journal-format.md. */
#ifndef EVENTS_H
#define EVENTS_H
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal/journal_format.h"

struct event {
    uint32_t tid, variable, offset, length, site, context;
    uint64_t time;
    unsigned origin, flags;
    struct mwj_call call;          /* of origin MWJ_SYSCALL and MWJ_KERNEL */
    const uint8_t *before, *after; /* valid until the next call */
};

struct events {
    const uint8_t *file;
    size_t size;
    uint64_t slot, end;
    uint8_t payload[256 * 60];
};

__attribute__((unused, noreturn)) static void events_broken(const char *why, uint64_t slot) {
    fprintf(stderr, "journal slot %llu: %s\n", (unsigned long long)slot, why);
    exit(3);
}

/* Maps the journal as it is now; slots [from, reserved) will be read. */
__attribute__((unused)) static void events_open(struct events *e, const char *path, uint64_t from) {
    struct stat st;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st)) events_broken("can't open the file", 0);
    e->size = (size_t)st.st_size;
    e->file = mmap(0, e->size, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (e->file == MAP_FAILED) events_broken("can't map the file", 0);
    e->slot = from;
    e->end = ((const struct mwj_header *)e->file)->reserved;
}

__attribute__((unused)) static void events_close(struct events *e) { munmap((void *)e->file, e->size); }

/* The next STORE record; 0 at the end. */
__attribute__((unused)) static int events_next(struct events *e, struct event *out) {
    while (e->slot < e->end) {
        const uint8_t *at = e->file + MWJ_HEADER_SIZE + e->slot * MWJ_SLOT_SIZE;
        uint32_t word, head[8];
        memcpy(&word, at, 4);
        uint32_t kind = word & 255, slots = word >> 8 & 255;
        if (!kind || !slots) events_broken("not committed, though nobody writes", e->slot);
        e->slot += slots;
        if (kind != MWJ_STORE) continue;
        memcpy(head, at + 16, 20);
        memcpy(&out->tid, at + 4, 4);
        memcpy(&out->time, at + 8, 8);
        out->variable = head[0], out->offset = head[1], out->length = head[2], out->site = head[3],
        out->context = head[4];
        out->origin = word >> 16 & 255, out->flags = word >> 24;
        memcpy(e->payload, at + 36, 28);
        for (uint32_t i = 1; i < slots; i++) {
            if (at[64 * i] != MWJ_CONTINUATION) events_broken("a record without its continuation", e->slot);
            memcpy(e->payload + 28 + 60 * (i - 1), at + 64 * i + 4, 60);
        }
        size_t skip = MWJ_HAS_CALL(out->origin) ? sizeof out->call : 0;
        if (skip + 2 * (size_t)out->length > 28 + 60 * (slots - 1u))
            events_broken("a payload longer than its slots", e->slot);
        memcpy(&out->call, e->payload, skip);
        out->before = e->payload + skip;
        out->after = out->before + out->length;
        return 1;
    }
    return 0;
}
#endif
