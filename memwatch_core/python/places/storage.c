/* storage.c - see storage.h.
 *
 * A container reallocates and frees its memory by PyMem_Realloc() and PyMem_Free(). pymalloc hands on what isn't its
 * own to the allocator below it, which costs nobody else anything: there, we take what is ours. With another allocator
 * (PYTHONMALLOC=debug, malloc, mimalloc), we stand before it instead. */
#define Py_BUILD_CORE_MODULE 1
#include "places/storage.h"

#include <assert.h>
#include <string.h>

#include "base/compiler.h"
#include "places/node_table.h"
#include "places/reports.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#include "internal/pycore_pymem.h"
#include "internal/pycore_runtime.h"
#pragma GCC diagnostic pop

typedef struct mwpy_node mwpy_node;

uintptr_t mwpy_storage_low, mwpy_storage_size, mwpy_storage_distance;

/* ---- shelves: pages that several small containers share ---------------------------------------------------------- */

enum { SMALLEST = 128, SIZES = 5, LARGEST = SMALLEST << (SIZES - 1), PLACES = MW_PAGE_SIZE / SMALLEST };
static_assert(LARGEST == MW_PAGE_SIZE / 2, "two of the largest ones fill a page");
static_assert(PLACES <= 32, "a bit of `used` for each place");

typedef struct shelf {
    unsigned char *at;
    unsigned size;      /* of a place */
    uint32_t used;      /* a bit for each */
    struct shelf *next; /* of those of its size that have room */
    mwpy_node *nodes[PLACES];
} shelf;
static shelf *shelves[SIZES];

/* The table of nodes has the shelf of a page, marked by the lowest bit. */
static mwpy_node *marked(shelf *s) { return (mwpy_node *)((uintptr_t)s | 1); }
static shelf *shelf_of(mwpy_node *found) {
    return (uintptr_t)found & 1 ? (shelf *)((uintptr_t)found & ~(uintptr_t)1) : NULL;
}

static uint32_t all_places(unsigned size) { return (uint32_t)((1ull << (MW_PAGE_SIZE / size)) - 1); }
static shelf **shelves_of(unsigned size) { return &shelves[__builtin_ctz(size / SMALLEST)]; }

static void widen(const unsigned char *at, size_t size) {
    uintptr_t start = (uintptr_t)at, end = start + size;
    uintptr_t low = mwpy_storage_size ? mwpy_storage_low : start, high = low + mwpy_storage_size;
    if (start < low) low = start;
    if (end > high) high = end;
    mwpy_storage_distance = (uintptr_t)mw_write_view(at) - start;
    mwpy_storage_low = low;
    mwpy_storage_size = high - low;
}

static void *guarded_pages(size_t n) {
    unsigned char *at = mw_page_alloc(n);
    if (!at) return NULL;
    if (mw_page_guard(at, n)) {
        mw_page_free(at, n);
        return NULL;
    }
    widen(at, n * MW_PAGE_SIZE);
    return at;
}

static shelf *new_shelf(unsigned size) {
    shelf *made = PyMem_RawCalloc(1, sizeof *made);
    if (!made) return NULL;
    made->at = guarded_pages(1);
    made->size = size;
    if (!made->at || mwpy_table_put(made->at, marked(made))) {
        if (made->at) mw_page_free(made->at, 1);
        PyMem_RawFree(made);
        return NULL;
    }
    made->next = *shelves_of(size);
    return *shelves_of(size) = made;
}

static void unlink_shelf(shelf *gone) {
    shelf **link = shelves_of(gone->size);
    while (*link && *link != gone) link = &(*link)->next;
    if (*link) *link = gone->next;
}

static unsigned char *take_place(unsigned size, mwpy_node *node) {
    shelf *s = *shelves_of(size);
    if (!s && !(s = new_shelf(size))) return NULL;
    unsigned place = (unsigned)__builtin_ctz(~s->used);
    s->used |= 1u << place;
    s->nodes[place] = node;
    if (s->used == all_places(size)) *shelves_of(size) = s->next; /* it is the first one */
    return s->at + (size_t)place * size;
}

static void give_place_back(shelf *s, const unsigned char *at) {
    unsigned place = (unsigned)(at - s->at) / s->size;
    if (s->used == all_places(s->size)) {
        s->next = *shelves_of(s->size);
        *shelves_of(s->size) = s;
    }
    s->used &= ~(1u << place);
    s->nodes[place] = NULL;
    if (s->used) return;
    unlink_shelf(s);
    mwpy_table_take(s->at, marked(s));
    mw_page_free(s->at, 1);
    PyMem_RawFree(s);
}

/* ---- storages ---------------------------------------------------------------------------------------------------- */

static unsigned char *page_of(const void *address) {
    uintptr_t at = (uintptr_t)address;
    if (at - mwpy_storage_low >= mwpy_storage_size) at -= mwpy_storage_distance;
    return (unsigned char *)(at & ~(uintptr_t)(MW_PAGE_SIZE - 1));
}

mwpy_node *mwpy_storage_node(const void *address) {
    if (!mwpy_storage_has(address)) return NULL;
    mwpy_node *found = mwpy_table_get(page_of(address));
    shelf *s = shelf_of(found);
    return s ? s->nodes[((uintptr_t)address & (MW_PAGE_SIZE - 1)) / s->size] : found;
}

static void free_pages(unsigned char *at, size_t size, const mwpy_node *node) {
    for (size_t i = 0; node && i < size; i += MW_PAGE_SIZE) mwpy_table_take(at + i, node);
    mw_page_free(at, size / MW_PAGE_SIZE);
}

/* What the program still has of containers that aren't watched any more. */
typedef struct left_over {
    mwpy_storage storage;
    struct left_over *next;
} left_over;
static left_over *left_overs;

static void release(const mwpy_storage *storage, const mwpy_node *node) {
    shelf *s = shelf_of(mwpy_table_get(page_of(storage->at)));
    if (s)
        give_place_back(s, storage->at);
    else
        free_pages(storage->at, storage->size, node);
}

/* ---- the interpreter's allocator --------------------------------------------------------------------------------- */

static PyMemAllocatorEx plain, plain_of_objects;

static left_over **find_left(const void *address) {
    left_over **link = &left_overs;
    while (*link && address != (*link)->storage.at && address != (*link)->storage.view) link = &(*link)->next;
    return link;
}

static void free_left(left_over **link) {
    left_over *gone = *link;
    if (!gone) return;
    *link = gone->next;
    release(&gone->storage, NULL);
    PyMem_RawFree(gone);
}

static void *resize(void *context, void *address, size_t bytes) {
    if (likely(!mwpy_storage_has(address))) return plain.realloc(context, address, bytes);
    if (mwpy_storage_node(address)) return mwpy_report.storage_resized(address, bytes);
    left_over **link = find_left(address);
    size_t size = *link ? (*link)->storage.size : 0;
    void *moved = plain.malloc(context, bytes ? bytes : 1);
    if (!moved) return NULL;
    memcpy(moved, address, bytes < size ? bytes : size);
    free_left(link);
    return moved;
}

static void given_back(void *address) {
    if (mwpy_storage_node(address))
        mwpy_report.storage_freed(address);
    else
        free_left(find_left(address));
}

static void give_back(void *context, void *address) {
    if (likely(!mwpy_storage_has(address)))
        plain.free(context, address);
    else
        given_back(address);
}

/* Tables of dicts (dict_entries.c) are given back as objects are. */
static void give_object_back(void *context, void *address) {
    if (likely(!mwpy_storage_has(address)))
        plain_of_objects.free(context, address);
    else
        given_back(address);
}

/* tracemalloc, which puts back what was there before it, when it stops: what it hands on to is ours then. It keeps
 * three of them, one behind the other: MEM, RAW, OBJ. */
static PyMemAllocatorEx *below_tracemalloc(void) {
    PyMemAllocatorEx now, raw, objects;
    PyMem_GetAllocator(PYMEM_DOMAIN_MEM, &now);
#if PY_VERSION_HEX >= 0x030C0000
    (void)raw, (void)objects;
    return now.ctx == &_PyRuntime.tracemalloc.allocators.mem ? now.ctx : NULL;
#else
    PyMemAllocatorEx *below = now.ctx;
    PyMem_GetAllocator(PYMEM_DOMAIN_RAW, &raw);
    PyMem_GetAllocator(PYMEM_DOMAIN_OBJ, &objects);
    bool is_it = _Py_tracemalloc_config.tracing && raw.ctx == below + 1 && objects.ctx == below + 2;
    return is_it ? below : NULL;
#endif
}

static void lead(PyMemAllocatorEx *below, PyMemAllocatorDomain domain, PyMemAllocatorEx *as_it_was,
                 void (*give)(void *, void *)) {
    if (below)
        *as_it_was = *below;
    else
        PyMem_GetAllocator(domain, as_it_was);
    PyMemAllocatorEx ours = *as_it_was;
    if (as_it_was == &plain) ours.realloc = resize;
    ours.free = give;
    if (below)
        *below = ours;
    else
        PyMem_SetAllocator(domain, &ours);
}

/* Other threads may call the allocator now: what they find is one or the other, with the same context. */
static int hook(void) {
    if (plain.free) return 0;
    const char *name = _PyMem_GetCurrentAllocatorName();
    PyMemAllocatorEx *below = below_tracemalloc();
    PyMemAllocatorDomain domain = name && !strcmp(name, "pymalloc") ? PYMEM_DOMAIN_RAW : PYMEM_DOMAIN_MEM;
    if (!name && !below) {
        PyErr_SetString(PyExc_TypeError,
                        "another tool has hooked the allocator of Python, and would undo what watching "
                        "a list needs: watch it before that tool starts");
        return -1;
    }
    lead(below, domain, &plain, give_back);
    if (PY_VERSION_HEX < 0x030C0000 && domain == PYMEM_DOMAIN_MEM)
        lead(below ? below + 2 : NULL, PYMEM_DOMAIN_OBJ, &plain_of_objects, give_object_back);
    return 0;
}

/* ---- opened and closed ----------------------------------------------------------------------------------------------
 */

int mwpy_storage_open(mwpy_storage *storage, size_t bytes, mwpy_node *node) {
    if (hook()) return -1;
    size_t size = SMALLEST;
    while (size < bytes && size < MW_PAGE_SIZE) size *= 2;
    if (size < bytes) size = (bytes + MW_PAGE_SIZE - 1) & ~(size_t)(MW_PAGE_SIZE - 1);
    unsigned char *at = size <= LARGEST ? take_place((unsigned)size, node) : guarded_pages(size / MW_PAGE_SIZE);
    for (size_t i = 0; at && size > LARGEST && i < size; i += MW_PAGE_SIZE)
        if (mwpy_table_put(at + i, node)) {
            free_pages(at, size, node);
            at = NULL;
        }
    if (!at) return -1;
    *storage = (mwpy_storage){at, mw_write_view(at), size};
    return 0;
}

static void disown(const mwpy_storage *storage, const mwpy_node *node) {
    shelf *s = shelf_of(mwpy_table_get(page_of(storage->at)));
    if (s) s->nodes[(storage->at - s->at) / s->size] = NULL;
    for (size_t i = 0; !s && i < storage->size; i += MW_PAGE_SIZE) mwpy_table_take(storage->at + i, node);
}

void mwpy_storage_hand_over(const mwpy_storage *storage, const mwpy_node *from, mwpy_node *to) {
    shelf *s = shelf_of(mwpy_table_get(page_of(storage->at)));
    if (s) s->nodes[(storage->at - s->at) / s->size] = to;
    for (size_t i = 0; !s && i < storage->size; i += MW_PAGE_SIZE) { /* there is room where one was taken out */
        mwpy_table_take(storage->at + i, from);
        mwpy_table_put(storage->at + i, to);
    }
}

void mwpy_storage_close(mwpy_storage *storage, const mwpy_node *node, bool left) {
    left_over *kept = left ? PyMem_RawMalloc(sizeof *kept) : NULL;
    if (left)
        disown(storage, node);
    else
        release(storage, node);
    if (kept) {
        *kept = (left_over){*storage, left_overs};
        left_overs = kept;
    }
    *storage = (mwpy_storage){0};
}
