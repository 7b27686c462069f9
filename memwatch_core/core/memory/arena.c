/* arena.c - pages and their two views.
 *
 * Shared memory, mapped twice: the watched view, which is never writable, at an address that is a multiple of its size,
 * and the writable view, which is the core's alone. Each is reserved once, at a place drawn at random for the life of
 * the process (forked children keep it), so that neither leads to the other; chunks are opened and armed as pages are
 * asked for.
 *
 * Pages come in blocks: of a power of two up to LARGE, with a list of free ones for each; larger ones have the length
 * that was asked for, and are cut from extents of free pages. */
#include "memory/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/syscalls.h"
#include "memory/adopted_pages.h"
#include "memory/shared_memory.h"
#include "memwatch.h"
#include "state.h"

#define IDLE_MIN 4096u /* free pages that keep their memory, because getting it again is dear */
#define IDLE_PART 64u  /* or one in so many of all pages, if that is more */
#define IDLE_GAP 16u   /* pages in use between free ones: so many are sooner protected again than left out */
#define CHUNK_MIN ((uint64_t)64 << PAGE_SHIFT)
#define CHUNK_MAX ((uint64_t)1024 << PAGE_SHIFT)
#define RESERVE_MAX ((uint64_t)1 << 34)
#define RESERVE_MIN ((uint64_t)1 << 24)
#define HUGE_PAGE ((uint64_t)1 << 21)  /* views that differ by less couldn't share one */
#define LOWEST ((uint64_t)1 << 40)     /* random places: below are programs that need low addresses, */
#define HIGHEST ((uint64_t)0x7d << 40) /* above are libraries and stacks, */
#define PROGRAM 0x55u                  /* and in these four TiB position-independent programs and their heaps */
#define TRIES 32
#define LARGE (1u << (ARENA_ORDERS - 1)) /* pages of the largest block of a power of two */

void *arena_table(size_t size) {
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Bytes of address space that RLIMIT_AS leaves to this process. getrlimit(2), proc(5). */
static uint64_t address_space_left(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY) return UINT64_MAX;
    FILE *statm = fopen("/proc/self/statm", "re");
    unsigned long long pages = 0;
    if (statm && fscanf(statm, "%llu", &pages) != 1) pages = 0;
    if (statm) fclose(statm);
    return limit.rlim_cur > pages << PAGE_SHIFT ? limit.rlim_cur - (pages << PAGE_SHIFT) : 0;
}

static uint64_t random_number(void) {
    uint64_t number;
    if (raw_syscall4(SYS_getrandom, (long)&number, sizeof number, GRND_NONBLOCK, 0) == sizeof number) return number;
    memcpy(&number, (const void *)getauxval(AT_RANDOM), sizeof number); /* refused; it was drawn for this process */
    return number * (__builtin_ia32_rdtsc() | 1);
}

/* At `at`, if nothing is there. (Not by MAP_FIXED_NOREPLACE: ThreadSanitizer makes that an address of 0.) */
static void *map_nothing(void *at, uint64_t size) {
    void *p = mmap(at, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return NULL;
    if (!at || p == at) return p;
    munmap(p, size);
    return NULL;
}

void *arena_place(uint64_t size, uint64_t alignment) {
    for (int i = 0; i < TRIES; i++) {
        uint64_t at = (LOWEST + random_number() % (HIGHEST - LOWEST)) & ~(alignment - 1);
        void *p = (at >> 40 | 3) == (PROGRAM | 3) ? NULL : map_nothing((void *)at, size);
        if (p) return p;
    }
    void *p = map_nothing(NULL, size + alignment); /* where the kernel likes */
    if (!p) return NULL;
    uintptr_t from = (uintptr_t)p, start = (from + alignment - 1) & ~(alignment - 1);
    if (start > from) munmap(p, start - from);
    munmap((void *)(start + size), from + alignment - start);
    return (void *)start;
}

/* Of the address space that is left, the views take a quarter at most, the tables of variables and of names an eighth.
 */
static int reserve(uint64_t left) {
    int error = MW_ERR_NO_MEMORY;
    for (uint64_t size = RESERVE_MAX; size >= RESERVE_MIN; size /= 2) {
        if (2 * size > left / 4) continue;
        void *watched = arena_place(size, size), *writable = watched ? arena_place(size, HUGE_PAGE) : NULL;
        if (writable && !(error = shared_open(&mw.arena.memory, writable, size, false))) {
            mw.arena.watched = (uintptr_t)watched;
            mw.arena.distance = (uintptr_t)writable - mw.arena.watched;
            mw.arena.reserved = size;
            return MW_OK;
        }
        if (writable) munmap(writable, size);
        if (watched) munmap(watched, size);
    }
    return error;
}

uint64_t arena_fit(uint64_t most, size_t size) {
    while (most * size > mw.arena.address_space / 8) most /= 2;
    return most;
}

int arena_open(void) {
    mw.arena.address_space = address_space_left();
    int error = reserve(mw.arena.address_space);
    if (error) return error;
    mw.arena.pages = arena_table((mw.arena.reserved >> PAGE_SHIFT) * sizeof *mw.arena.pages);
    for (int i = 0; i < ARENA_ORDERS; i++) mw.arena.free_head[i] = NO_PAGE;
    mw.arena.extents = NO_PAGE;
    return mw.arena.pages ? adopted_open() : MW_ERR_NO_MEMORY;
}

void arena_take_down(void) {
    if (mw.arena.watched) munmap((void *)mw.arena.watched, mw.arena.reserved);
    shared_close(&mw.arena.memory);
    mw.arena.watched = 0;
}

/* Maps and arms the next chunk of both views. */
static int commit(uint64_t at_least) {
    uint64_t from = mw.arena.committed, size = from < CHUNK_MIN ? CHUNK_MIN : from > CHUNK_MAX ? CHUNK_MAX : from;
    if (size < at_least) size = (at_least + CHUNK_MIN - 1) & ~(CHUNK_MIN - 1);
    if (from + size > mw.arena.memory.size) size = mw.arena.memory.size - from;
    if (size < at_least) return MW_ERR_LIMIT;
    char *watched = (char *)mw.arena.watched + from, *writable = watched + mw.arena.distance;
    if (shared_use(&mw.arena.memory, from, size) || !shared_view(&mw.arena.memory, watched, from, size, PROT_READ))
        return MW_ERR_NO_MEMORY;
    if (size <= CHUNK_MAX) { /* what is larger may never be used as a whole */
        madvise(writable, size, MADV_POPULATE_WRITE);
        madvise(watched, size, MADV_POPULATE_READ);
    }
    madvise(watched, size, MADV_DONTFORK);
    madvise(writable, size, MADV_DONTFORK);
    if (mw.tracker->arm(watched, size)) return MW_ERR_NO_MEMORY;
    atomic_store_explicit(&mw.arena.committed, from + size, memory_order_release);
    return MW_OK;
}

static unsigned order_of(size_t n) {
    unsigned order = 0;
    while (((size_t)1 << order) < n) order++;
    return order;
}

static void set_state(uint32_t first, uint32_t n, enum page_state state) {
    for (uint32_t i = first; i < first + n; i++) {
        mw.arena.idle += (uint64_t)(state == PAGE_FREE) - (page_state_of(i) == PAGE_FREE);
        mw.arena.pages[i].state = (uint8_t)state;
    }
}

/* Pages behind all that were ever in use. */
static int take_new(uint32_t count, uint32_t *first) {
    uint64_t end = ((uint64_t)mw.arena.bump + count) << PAGE_SHIFT;
    if (end > mw.arena.committed) {
        int error = commit(end - mw.arena.committed);
        if (error) return error;
    }
    *first = mw.arena.bump;
    for (uint32_t i = *first; i < *first + count; i++) mw.arena.pages[i].state = PAGE_USED; /* they weren't idle */
    mw.arena.bump += count;
    return MW_OK;
}

/* The first extent that is long enough, or its beginning. */
static bool take_extent(uint32_t count, uint32_t *first) {
    struct page *pages = mw.arena.pages;
    for (uint32_t *link = &mw.arena.extents; *link != NO_PAGE; link = &pages[*link].next_free) {
        uint32_t at = *link, length = pages[at].head, rest = at + count;
        if (length < count) continue;
        if (length > count) pages[rest].head = length - count, pages[rest].next_free = pages[at].next_free;
        *link = length > count ? rest : pages[at].next_free;
        *first = at;
        return true;
    }
    return false;
}

int arena_allocate(size_t n, uint32_t *first) {
    if (!n || n > mw.arena.reserved >> PAGE_SHIFT) return MW_ERR_LIMIT;
    unsigned order = n > LARGE ? ORDER_LARGE : order_of(n);
    uint32_t count = order == ORDER_LARGE ? (uint32_t)n : 1u << order, at = NO_PAGE;
    if (order != ORDER_LARGE && (at = mw.arena.free_head[order]) != NO_PAGE) {
        if (page_state_of(at) == PAGE_RETURNED) mw.arena.idle_again += count;
        mw.arena.free_head[order] = mw.arena.pages[at].next_free;
    } else if (order != ORDER_LARGE || !take_extent(count, &at)) {
        int error = take_new(count, &at);
        if (error) return error;
    }
    set_state(at, count, PAGE_USED);
    for (uint32_t i = 0; i < count; i++) {
        struct page *page = &mw.arena.pages[at + i];
        page->head = page->length = 0;
        page->guarded = page->told = false;
        page->order = (uint8_t)order;
    }
    mw.arena.pages[at].length = count;
    mw.arena.used += count;
    *first = at;
    return MW_OK;
}

/* Gives back the memory of the free ones among pages from..to. The watched view can't be written to meanwhile, as ever;
 * arming works without memory behind it, and the next read or write of the core brings zeros. */
static bool return_free(uint32_t from, uint32_t to) {
    char *watched = (char *)mw.arena.watched + ((uint64_t)from << PAGE_SHIFT);
    size_t size = (size_t)(to - from) << PAGE_SHIFT;
    bool done = !mprotect(watched, size, PROT_READ);
    for (uint32_t i = from, n; done && i < to; i += n + 1) {
        for (n = 0; i + n < to && page_state_of(i + n) == PAGE_FREE;) n++;
        if (n && (done = !madvise(arena_writable(i), (size_t)n << PAGE_SHIFT, MADV_REMOVE)))
            set_state(i, n, PAGE_RETURNED);
    }
    return !mw.tracker->arm(watched, size) && done; /* if not, they stay unwritable, and zeroed */
}

/* How many free pages may keep their memory: more if some that had been given back were asked for again since the last
 * time, less if none were. So a program that frees and takes the same pages again and again keeps them in the end.
 */
static uint64_t idle_kept(void) {
    uint64_t kept = mw.arena.bump / IDLE_PART > IDLE_MIN ? mw.arena.bump / IDLE_PART : IDLE_MIN;
    if (mw.arena.idle_extra > kept) mw.arena.idle_extra = kept;
    return kept + mw.arena.idle_extra;
}

static bool idle_too_many(void) {
    uint64_t kept = idle_kept(); /* in batches; and after a refusal, not before there are twice as many */
    return mw.arena.idle > kept + kept / 8 && mw.arena.idle / 2 >= mw.arena.idle_refused;
}

/* Gives back the memory of free pages beyond idle_kept(), going on where it stopped the last time. */
static void return_idle(void) {
    mw.arena.idle_extra = mw.arena.idle_again ? mw.arena.idle_extra + mw.arena.idle_again / 8
                                              : mw.arena.idle_extra - mw.arena.idle_extra / 8;
    mw.arena.idle_again = 0;
    uint32_t at = mw.arena.idle_hand;
    uint64_t kept = idle_kept();
    for (uint64_t walked = 0; mw.arena.idle > kept && walked < mw.arena.bump; walked++, at++) {
        if (at >= mw.arena.bump) at = 0;
        if (page_state_of(at) != PAGE_FREE) continue;
        uint64_t most = mw.arena.idle - kept;
        uint32_t end = at;
        for (uint32_t i = at; i < mw.arena.bump && i - end < IDLE_GAP && most; i++)
            if (page_state_of(i) == PAGE_FREE) end = i + 1, most--;
        if (!return_free(at, end)) {
            mw.arena.idle_refused = mw.arena.idle;
            return;
        }
        walked += end - 1 - at;
        at = end - 1;
    }
    mw.arena.idle_hand = at;
    mw.arena.idle_refused = 0;
}

bool arena_is_block(uint32_t first, size_t n) {
    const struct page *page = &mw.arena.pages[first];
    if (page_state_of(first) != PAGE_USED) return false;
    return page->order == ORDER_LARGE ? page->length == n : n <= LARGE && order_of(n) == page->order;
}

/* Puts free pages among the extents, which are in the order of their numbers, and makes one of those that meet. */
static void add_extent(uint32_t first, uint32_t count) {
    struct page *pages = mw.arena.pages;
    uint32_t *link = &mw.arena.extents, before = NO_PAGE;
    while (*link < first) before = *link, link = &pages[before].next_free; /* NO_PAGE is the largest number */
    uint32_t next = *link;
    if (next != NO_PAGE && first + count == next) count += pages[next].head, next = pages[next].next_free;
    if (before != NO_PAGE && before + pages[before].head == first) {
        pages[before].head += count;
        pages[before].next_free = next;
        return;
    }
    *link = first;
    pages[first].head = count;
    pages[first].next_free = next;
}

static void release_large(uint32_t first, uint32_t count) {
    set_state(first, count, PAGE_FREE);
    if (!return_free(first, first + count))
        for (uint32_t i = first; i < first + count; i++)
            if (page_state_of(i) == PAGE_FREE) memset(arena_writable(i), 0, MW_PAGE_SIZE);
    add_extent(first, count);
}

void arena_release(uint32_t first) {
    struct page *page = &mw.arena.pages[first];
    uint32_t count = page->length;
    mw.arena.used -= count;
    if (page->order == ORDER_LARGE) {
        release_large(first, count);
    } else {
        memset(arena_writable(first), 0, (size_t)count << PAGE_SHIFT);
        set_state(first, count, PAGE_FREE);
        page->next_free = mw.arena.free_head[page->order];
        mw.arena.free_head[page->order] = first;
    }
    if (idle_too_many()) return_idle();
}

/* ---- addresses ---- */

MW_SIGNAL_SAFE uint32_t arena_page_at(uintptr_t address) {
    uint64_t offset = address - mw.arena.watched;
    if (likely(offset < atomic_load_explicit(&mw.arena.committed, memory_order_acquire))) {
        uint32_t page = (uint32_t)(offset >> PAGE_SHIFT);
        return likely(page_state_of(page) == PAGE_USED) ? page : NO_PAGE;
    }
    if (!atomic_load_explicit(&mw.adopted_pages.count, memory_order_acquire)) return NO_PAGE;
    return adopted_find(address >> PAGE_SHIFT);
}

void *mw_write_view(const void *watched) {
    if (!mw.started) return NULL;
    uint32_t page = arena_page_at((uintptr_t)watched);
    return page == NO_PAGE ? NULL : arena_writable(page) + ((uintptr_t)watched & PAGE_MASK);
}

/* ---- fork ---- */

int arena_copy(struct shared *copy) {
    int error = shared_open(copy, NULL, mw.arena.memory.size, false);
    if (error)
        error =
            shared_open(copy, NULL, mw.arena.committed, false); /* the child can watch no more than its parent does */
    if (!error) error = shared_use(copy, 0, mw.arena.committed);
    for (uint32_t i = 0; !error && i < mw.arena.bump; i++)
        if (page_state_of(i) == PAGE_USED)
            memcpy(copy->base + ((uint64_t)i << PAGE_SHIFT), arena_writable(i), MW_PAGE_SIZE);
    if (error) shared_close(copy);
    return error;
}

static bool map_fixed(void *at, size_t size, uint64_t from) {
    return shared_view(&mw.arena.memory, at, from, size, PROT_READ) && !madvise(at, size, MADV_DONTFORK);
}

/* A child would read zeros there, and not what its parent had. */
static int hide_gone(void) {
    for (uint32_t i = 0; i < mw.arena.bump; i++)
        if (page_state_of(i) == PAGE_GONE &&
            mprotect((char *)mw.arena.watched + ((uint64_t)i << PAGE_SHIFT), MW_PAGE_SIZE, PROT_NONE))
            return MW_ERR_NO_MEMORY;
    return MW_OK;
}

MW_SIGNAL_SAFE uint32_t arena_lose(void) {
    uint32_t lost = 0;
    for (uint32_t i = 0; i < mw.arena.bump; i++)
        if (page_state_of(i) == PAGE_USED) mw.arena.pages[i].state = PAGE_GONE, lost++;
    adopted_forget_all();
    mw.arena.used = 0;
    return lost;
}

int arena_replace(struct shared *copy) {
    char *watched = (char *)mw.arena.watched, *writable = watched + mw.arena.distance;
    if (shared_move(copy, writable)) return MW_ERR_NO_MEMORY;
    mw.arena.memory = *copy;
    *copy = (struct shared){0};
    if (mw.arena.committed &&
        (madvise(writable, mw.arena.committed, MADV_DONTFORK) || !map_fixed(watched, mw.arena.committed, 0) ||
         mw.tracker->arm(watched, mw.arena.committed)))
        return MW_ERR_NO_MEMORY;
    return hide_gone();
}
