/* adoption.c - see adoption.h. */
#include "memory/adoption.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/syscalls.h"
#include "base/thread.h"
#include "memory/adopted_pages.h"
#include "memory/arena.h"
#include "memory/mapping.h"
#include "memory/shared_memory.h"
#include "memwatch.h"
#include "state.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#define ENTRIES 512u            /* of /proc/self/pagemap, read at once */
#define COPIED_BLINDLY 1048576u /* bytes: asking which pages were touched would take longer */

MW_SIGNAL_SAFE static struct adoption behind(const struct adoption *a, size_t n) {
    return (struct adoption){a->start + (n << PAGE_SHIFT), a->n - n, a->first + (uint32_t)n};
}

/* ---- is it ours? ---- */

/* Where the kernel doesn't tell: memory that holds something else is another's. If it holds the same, nothing is lost
 * by taking it for ours. */
MW_SIGNAL_SAFE static bool holds_the_same(uintptr_t at, uint32_t page) {
    uint8_t bytes[256];
    for (size_t from = 0; from < MW_PAGE_SIZE; from += sizeof bytes) {
        struct iovec local = {bytes, sizeof bytes}, remote = {(void *)(at + from), sizeof bytes};
        long pid = raw_syscall4(SYS_getpid, 0, 0, 0, 0);
        if (raw_syscall6(SYS_process_vm_readv, pid, (long)&local, 1, (long)&remote, 1, 0) != sizeof bytes) return false;
        if (memcmp(bytes, arena_writable(page) + from, sizeof bytes)) return false;
    }
    return true;
}

MW_SIGNAL_SAFE size_t adoption_run(int maps, const struct adoption *a, bool *ours) {
    struct mapping there, own;
    uintptr_t writable = (uintptr_t)arena_writable(a->first), end = a->start + (a->n << PAGE_SHIFT);
    enum mapped answer = mapping_from(maps, a->start, &there);
    if (answer == MAPPED && mapping_at(maps, writable, &own) != MAPPED) answer = MAPPED_UNKNOWN;
    if (answer == MAPPED_UNKNOWN) {
        size_t n = 1;
        *ours = holds_the_same(a->start, a->first);
        while (n < a->n && holds_the_same(a->start + (n << PAGE_SHIFT), a->first + (uint32_t)n) == *ours) n++;
        return n;
    }
    bool hole = answer == NOT_MAPPED || there.start > a->start;
    *ours = !hole && there.shared && there.inode == own.inode && there.device == own.device &&
            there.offset + (a->start - there.start) == own.offset + (writable - own.start);
    if (answer == MAPPED && end > (hole ? there.start : there.end)) end = hole ? there.start : there.end;
    if (*ours && end - a->start > own.end - writable) end = a->start + (own.end - writable);
    return (end - a->start) >> PAGE_SHIFT;
}

MW_SIGNAL_SAFE bool adoption_is_there(const struct adoption *a) {
    int maps = mapping_open();
    bool ours = true;
    for (size_t done = 0; done < a->n && ours;) {
        struct adoption rest = behind(a, done);
        done += adoption_run(maps, &rest, &ours);
    }
    mapping_close(maps);
    return ours;
}

MW_SIGNAL_SAFE void adoption_forget_others(const struct adoption *a) {
    int maps = mapping_open();
    bool ours;
    for (size_t done = 0; done < a->n;) {
        struct adoption run = behind(a, done);
        run.n = adoption_run(maps, &run, &ours);
        done += run.n;
        if (!ours) adopted_forget(run.start, run.n, run.first);
    }
    mapping_close(maps);
}

/* ---- it is taken ---- */

/* Whether [start, start + size) is private, readable and writable memory. */
static int mapping_check(uintptr_t start, size_t size) {
    struct mapping m;
    int maps = mapping_open(), error = MW_OK;
    for (uintptr_t at = start; at < start + size && error != MW_ERR_NOT_MAPPED; at = m.end)
        if (mapping_at(maps, at, &m) != MAPPED || !m.readable || !m.writable)
            error = MW_ERR_NOT_MAPPED;
        else if (m.shared)
            error = MW_ERR_SHARED;
    mapping_close(maps);
    return error;
}

/* Which pages were touched, present or swapped: the highest bit of their entries. Returns of how many that is known, up
 * to ENTRIES. Documentation/admin-guide/mm/pagemap.rst. */
static size_t look_up(int pagemap, uintptr_t start, size_t n, uint64_t entries[ENTRIES]) {
    size_t size = (n < ENTRIES ? n : ENTRIES) * sizeof *entries;
    ssize_t got = pread(pagemap, entries, size, (off_t)((start >> PAGE_SHIFT) * sizeof *entries));
    size_t known = got > 0 ? (size_t)got / sizeof *entries : 0;
    for (size_t i = 0; i < known; i++) entries[i] |= entries[i] << 1;
    return known;
}

#define WAS_TOUCHED(entry) ((entry) >> 63)

static int touched_check(uintptr_t start, size_t n) {
    uint64_t entries[ENTRIES];
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), error = MW_OK;
    if (fd < 0) return MW_OK; /* can't be known here; adopting reads the page anyway */
    for (size_t i = 0, known; i < n && !error && (known = look_up(fd, start + (i << PAGE_SHIFT), n - i, entries));
         i += known)
        for (size_t k = 0; k < known; k++)
            if (!WAS_TOUCHED(entries[k])) error = MW_ERR_NOT_TOUCHED;
    close(fd);
    return error;
}

/* Whether all of it is memory that reads as zeros before it is touched. */
static bool begins_as_zeros(uintptr_t start, uintptr_t end) {
    struct mapping m = {.end = start};
    int maps = mapping_open();
    while (m.end < end && mapping_at(maps, m.end, &m) == MAPPED && !m.shared && !m.inode) continue;
    mapping_close(maps);
    return m.end >= end;
}

void adoption_copy(uint8_t *to, uintptr_t from, size_t size) {
    uint64_t entries[ENTRIES];
    uintptr_t end = from + size;
    int fd =
        size < COPIED_BLINDLY || !begins_as_zeros(from, end) ? -1 : open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    for (uintptr_t at = from; at < end;) {
        size_t n = ((end - (at & ~PAGE_MASK)) + PAGE_MASK) >> PAGE_SHIFT;
        size_t known = fd < 0 ? 0 : look_up(fd, at, n, entries);
        if (!known) {
            memcpy(to + (at - from), (const void *)at, end - at);
            break;
        }
        for (size_t k = 0; k < known; k++) {
            uintptr_t stop = (at & ~PAGE_MASK) + MW_PAGE_SIZE;
            if (stop > end) stop = end;
            if (WAS_TOUCHED(entries[k])) memcpy(to + (at - from), (const void *)at, stop - at);
            at = stop;
        }
    }
    if (fd >= 0) close(fd);
}

static bool map_and_arm(const struct adoption *a) {
    size_t size = a->n << PAGE_SHIFT;
    void *at = (void *)a->start;
    return shared_view(&mw.arena.memory, at, (uint64_t)a->first << PAGE_SHIFT, size, PROT_READ) &&
           !madvise(at, size, MADV_DONTFORK) && !mw.tracker->arm(at, size);
}

int adoption_take(struct adoption *a) {
    size_t size = a->n << PAGE_SHIFT;
    int error = mapping_check(a->start, size);
    if (!error) error = touched_check(a->start, a->n);
    if (!error) error = arena_allocate(a->n, &a->first);
    if (error) return error;
    memcpy(arena_writable(a->first), (void *)a->start, size);
    error = adopted_add(a->start, a->n, a->first);
    if (error) {
        arena_release(a->first);
    } else if (!map_and_arm(a)) {
        error = MW_ERR_NO_MEMORY;
        adoption_give_back(a, false);
    }
    return error;
}

/* ---- it is given back ---- */

/* No thread stores while the contents are copied: one that has faulted waits, and then finds ordinary memory. */
static void lock_pages(const struct adoption *a) {
    for (size_t i = 0; i < a->n; i++) lock_take(&mw.arena.pages[a->first + i].lock, thread_id());
}

static void release_pages(const struct adoption *a) {
    for (size_t i = a->n; i--;) lock_release(&mw.arena.pages[a->first + i].lock);
}

static int give_back(const struct adoption *a) {
    size_t size = a->n << PAGE_SHIFT;
    void *fresh = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fresh == MAP_FAILED) return MW_ERR_NO_MEMORY;
    uint64_t mask = mask_signals(); /* a handler of this thread's would find the locks its own, and store */
    lock_pages(a);
    memcpy(fresh, arena_writable(a->first), size);
    bool done = mremap(fresh, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)a->start) != MAP_FAILED;
    if (done) adopted_forget(a->start, a->n, a->first);
    release_pages(a);
    unmask_signals(mask);
    if (!done) munmap(fresh, size);
    return done ? MW_OK : MW_ERR_NO_MEMORY;
}

/* A view of ours that lies where none was put: moved by a bare mremap(2), which may have made it larger as well. Those
 * pages of it that aren't `a`'s become zeros, as a larger mapping has them. */
static int give_back_moved(const struct mapping *view, uint64_t from, const struct adoption *a) {
    uint64_t first = from >> PAGE_SHIFT, n = (view->end - view->start) >> PAGE_SHIFT, end = a->first + a->n;
    for (uint64_t i = 0, run; i < n; i += run) {
        bool own = first + i >= a->first && first + i < end;
        run = own && end - (first + i) < n - i ? end - (first + i) : n - i;
        struct adoption part = {view->start + (i << PAGE_SHIFT), run, (uint32_t)(first + i)};
        void *at = (void *)part.start;
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
        if (own && give_back(&part)) return MW_ERR_NO_MEMORY;
        if (!own && mmap(at, run << PAGE_SHIFT, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED)
            return MW_ERR_NO_MEMORY;
    }
    return MW_OK;
}

static bool is_within(const struct mapping *m, uintptr_t start, uint64_t size) { return m->start - start < size; }

/* Whether a view lies where it was adopted: as the table has it. */
static bool is_in_place(const struct mapping *view, uint64_t from) {
    for (uintptr_t at = view->start; at < view->end; at += MW_PAGE_SIZE)
        if (adopted_find(at >> PAGE_SHIFT) == (from + (at - view->start)) >> PAGE_SHIFT) return true;
    return false;
}

/* Looks for where the rest of it is, if it isn't in its place. */
static int give_back_elsewhere(int maps, const struct adoption *a) {
    struct mapping own, view;
    int error = MW_OK;
    if (mapping_at(maps, (uintptr_t)arena_writable(a->first), &own) != MAPPED) return MW_ERR_NO_MEMORY;
    uint64_t base = own.offset - (own.start - (uintptr_t)mw.arena.memory.base);
    for (uintptr_t at = 0; !error && mapping_from(maps, at, &view) == MAPPED; at = view.end) {
        if (view.inode != own.inode || view.device != own.device || !view.shared) continue;
        uint64_t from = view.offset - base, to = from + (view.end - view.start),
                 first = (uint64_t)a->first << PAGE_SHIFT;
        if (to <= first || from >= first + (a->n << PAGE_SHIFT)) continue;
        if (is_within(&view, mw.arena.watched, mw.arena.reserved) ||
            is_within(&view, (uintptr_t)mw.arena.memory.base, mw.arena.reserved) || is_in_place(&view, from))
            continue;
        error = give_back_moved(&view, from, a);
    }
    return error;
}

int adoption_give_back(const struct adoption *a, bool astray) {
    int maps = mapping_open(), error = MW_OK;
    bool ours, all = true;
    for (size_t done = 0; done < a->n && !error;) {
        struct adoption run = behind(a, done);
        run.n = adoption_run(maps, &run, &ours);
        done += run.n;
        all &= ours;
        if (ours)
            error = give_back(&run);
        else
            adopted_forget(run.start, run.n, run.first);
    }
    if (!all && astray && !error) error = give_back_elsewhere(maps, a);
    mapping_close(maps);
    if (!error) arena_release(a->first); /* else they stay as they are: somebody may have them */
    return error;
}

/* ---- all of it ---- */

/* The first run of adopted pages from a number on that are neighbours in the arena too; n: 0 if there is none. */
static struct adoption next_run(uint64_t number) {
    uint64_t end = mw.adopted_pages.highest >> PAGE_SHIFT;
    number = mw.adopted_pages.count ? adopted_next(number, end) : end;
    struct adoption run = {number << PAGE_SHIFT, 0, number < end ? adopted_find(number) : NO_PAGE};
    while (number + run.n < end && adopted_find(number + run.n) == run.first + run.n && run.first != NO_PAGE) run.n++;
    return run;
}

static uint64_t end_of(const struct adoption *run) { return (run->start >> PAGE_SHIFT) + run->n; }

/* The views weren't forked, so there is nothing: unless another library's handler has mapped something there. */
static bool place_is_free(const struct adoption *run) {
    size_t size = run->n << PAGE_SHIFT;
    void *at = (void *)run->start,
         *got = mmap(at, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (got != MAP_FAILED && got != at) munmap(got, size); /* a kernel that doesn't know the flag */
    return got == at;
}

int adoption_map_all(void) {
    for (struct adoption run = next_run(0); run.n; run = next_run(end_of(&run))) {
        bool is_free = place_is_free(&run);
        if (!is_free && run.n > 1) { /* then page by page */
            run.n = 1;
            is_free = place_is_free(&run);
        }
        if (!is_free)
            adopted_forget(run.start, run.n, run.first);
        else if (!map_and_arm(&run))
            return MW_ERR_NO_MEMORY;
    }
    return MW_OK;
}

void adoption_protect_all(void) {
    int maps = mapping_open();
    bool ours;
    for (struct adoption run = next_run(0); run.n; run = next_run(end_of(&run))) {
        run.n = adoption_run(maps, &run, &ours);
        if (ours) mprotect((void *)run.start, run.n << PAGE_SHIFT, PROT_READ);
    }
    mapping_close(maps);
}
