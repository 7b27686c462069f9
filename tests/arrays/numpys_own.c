/* numpys_own.c - memory for numpy's arrays (NEP 49): watched pages of the core, for all of at most `relocated.most`
 * bytes, and malloc's for the others.
 *
 * Knows numpy's structure alone, and calls the core by the pointers that it is given: it is built without either. */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 4096 };
typedef struct depth {
    uint64_t start, stop;
} depth;
static struct core {
    void *(*alloc)(size_t pages);
    int (*free)(void *page, size_t pages);
    void *(*write_view)(const void *page);
    int64_t (*register_page)(void *page, size_t size, uint32_t flags, depth mutations);
    int (*unregister_page)(uint32_t id);
} core;

/* What is told: of all blocks so far, in number and in bytes. */
struct relocated {
    uint64_t most, arrays, bytes, others, other_bytes, refused, ended, resized;
} relocated;

struct block {
    char *at; /* NULL: free, or `gone` */
    size_t size;
    uint32_t id;
    bool gone;
};
static struct block *blocks;
static size_t room, used;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct block *place_of(const char *at) {
    for (size_t i = (uintptr_t)at / PAGE * 0x9e3779b97f4a7c15u >> 20;; i++) {
        struct block *block = &blocks[i & (room - 1)];
        if (block->at == at || (!block->at && !block->gone)) return block;
    }
}

static void grow(void) {
    struct block *old = blocks;
    size_t many = room;
    room = room ? room * 2 : 1 << 16;
    used = 0;
    blocks = calloc(room, sizeof *blocks);
    if (!blocks) abort();
    for (size_t i = 0; i < many; i++)
        if (old[i].at) {
            *place_of(old[i].at) = old[i];
            used++;
        }
    free(old);
}

static void keep(char *at, size_t size, uint32_t id) {
    pthread_mutex_lock(&lock);
    if (used * 2 >= room) grow();
    *place_of(at) = (struct block){at, size, id, false};
    used++;
    relocated.arrays++;
    relocated.bytes += size;
    pthread_mutex_unlock(&lock);
}

/* The block that begins here; of none, one without a place. */
static struct block found(const char *at, bool drop) {
    struct block block = {0};
    pthread_mutex_lock(&lock);
    if (room && at && (uintptr_t)at % PAGE == 0) {
        struct block *place = place_of(at);
        block = *place;
        if (place->at && drop) {
            *place = (struct block){.gone = true};
            relocated.ended++;
        }
    }
    pthread_mutex_unlock(&lock);
    return block;
}

static size_t pages_of(size_t size) { return (size + PAGE - 1) / PAGE; }

static void count(uint64_t *which, uint64_t more) { __atomic_fetch_add(which, more, __ATOMIC_RELAXED); }

/* Pages with these bytes at first, and zeros behind them. NULL: this is none of ours, or the core refuses. */
static void *relocate(size_t size, const void *bytes, size_t length) {
    if (size > relocated.most || !size) {
        count(&relocated.others, 1);
        count(&relocated.other_bytes, size);
        return NULL;
    }
    char *at = core.alloc(pages_of(size));
    if (at && length) memcpy(core.write_view(at), bytes, length);
    int64_t id = at ? core.register_page(at, pages_of(size) * PAGE, 1, (depth){0, UINT64_MAX}) : -1;
    if (id > 0) {
        keep(at, size, (uint32_t)id);
        return at;
    }
    if (at) core.free(at, pages_of(size));
    count(&relocated.refused, 1);
    return NULL;
}

static void *give(void *context, size_t size) {
    (void)context;
    void *at = relocate(size, NULL, 0);
    return at ? at : malloc(size);
}

static void *give_zeros(void *context, size_t number, size_t size) {
    (void)context;
    size_t all;
    void *at = __builtin_mul_overflow(number, size, &all) ? NULL : relocate(all, NULL, 0);
    return at ? at : calloc(number, size);
}

static void take(void *context, void *at, size_t size) {
    (void)context, (void)size;
    struct block block = found(at, true);
    if (!block.at) {
        free(at);
        return;
    }
    if (core.unregister_page(block.id) || core.free(at, pages_of(block.size))) abort();
}

static void *resize(void *context, void *old, size_t size) {
    struct block block = found(old, false);
    if (!block.at) return realloc(old, size);
    count(&relocated.resized, 1);
    size_t length = block.size < size ? block.size : size;
    void *at = relocate(size, old, length);
    if (!at && (at = malloc(size))) memcpy(at, old, length);
    if (at) take(context, old, block.size);
    return at;
}

/* PyDataMem_Handler of numpy/ndarraytypes.h. */
struct handler {
    char name[127];
    uint8_t version;
    void *context;
    void *(*malloc)(void *context, size_t size);
    void *(*calloc)(void *context, size_t number, size_t size);
    void *(*realloc)(void *context, void *at, size_t size);
    void (*free)(void *context, void *at, size_t size);
} handler = {"watched pages", 1, NULL, give, give_zeros, resize, take};

void begin(void *const *calls, uint64_t most) {
    memcpy(&core, calls, sizeof core);
    relocated.most = most;
}
