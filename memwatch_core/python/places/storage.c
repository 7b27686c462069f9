/* storage.c - see storage.h.
 *
 * A container reallocates and frees its memory by PyMem_Realloc() and PyMem_Free(). pymalloc hands on what isn't its
 * own to the allocator below it, which costs nobody else anything: there, we take what is ours. With another allocator
 * (PYTHONMALLOC=debug, malloc, mimalloc; tracemalloc), we stand before it instead. */
#define Py_BUILD_CORE_MODULE 1
#include "places/storage.h"

#include <string.h>

#include "base/compiler.h"
#include "places/node_table.h"
#include "places/reports.h"

#if PY_VERSION_HEX >= 0x030D0000
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include "internal/pycore_pymem.h"
#pragma GCC diagnostic pop
#endif

#if PY_VERSION_HEX >= 0x030C0000

typedef struct mwpy_node mwpy_node;

uintptr_t mwpy_storage_low, mwpy_storage_size, mwpy_storage_distance;

/* What the program still has of containers that aren't watched any more. */
typedef struct left_over {
    mwpy_storage storage;
    struct left_over *next;
} left_over;
static left_over *left_overs;

/* ---- the interpreter's allocator --------------------------------------------------------------------------------- */

static PyMemAllocatorEx plain;

static left_over **find_left(const void *address) {
    left_over **link = &left_overs;
    while (*link && address != (*link)->storage.at && address != (*link)->storage.view) link = &(*link)->next;
    return link;
}

static void free_left(left_over **link) {
    left_over *gone = *link;
    if (!gone) return;
    *link = gone->next;
    mw_page_free(gone->storage.at, gone->storage.pages);
    PyMem_RawFree(gone);
}

static void *resize(void *context, void *address, size_t bytes) {
    if (likely(!mwpy_storage_has(address))) return plain.realloc(context, address, bytes);
    if (mwpy_storage_node(address)) return mwpy_report.storage_resized(address, bytes);
    left_over **link = find_left(address);
    size_t size = *link ? (*link)->storage.pages * MW_PAGE_SIZE : 0;
    void *moved = plain.malloc(context, bytes ? bytes : 1);
    if (!moved) return NULL;
    memcpy(moved, address, bytes < size ? bytes : size);
    free_left(link);
    return moved;
}

static void give_back(void *context, void *address) {
    if (likely(!mwpy_storage_has(address)))
        plain.free(context, address);
    else if (mwpy_storage_node(address))
        mwpy_report.storage_freed(address);
    else
        free_left(find_left(address));
}

static bool is_pymalloc(void) {
    const char *name = _PyMem_GetCurrentAllocatorName();
    return name && !strcmp(name, "pymalloc");
}

/* Other threads may call the allocator now: what they find is one or the other, with the same context. */
static void hook(void) {
    if (plain.free) return;
    PyMemAllocatorDomain domain = is_pymalloc() ? PYMEM_DOMAIN_RAW : PYMEM_DOMAIN_MEM;
    PyMem_GetAllocator(domain, &plain);
    PyMemAllocatorEx ours = plain;
    ours.realloc = resize;
    ours.free = give_back;
    PyMem_SetAllocator(domain, &ours);
}

/* ---- pages ------------------------------------------------------------------------------------------------------- */

static void widen(const mwpy_storage *storage) {
    uintptr_t start = (uintptr_t)storage->at, end = start + storage->pages * MW_PAGE_SIZE;
    uintptr_t low = mwpy_storage_size ? mwpy_storage_low : start, high = low + mwpy_storage_size;
    if (start < low) low = start;
    if (end > high) high = end;
    mwpy_storage_distance = (uintptr_t)storage->view - start;
    mwpy_storage_low = low;
    mwpy_storage_size = high - low;
}

static void forget(const mwpy_storage *storage, const mwpy_node *node) {
    for (size_t i = 0; i < storage->pages; i++) mwpy_table_take(storage->at + i * MW_PAGE_SIZE, node);
    mwpy_table_take(storage->view, node);
}

int mwpy_storage_open(mwpy_storage *storage, size_t bytes, mwpy_node *node) {
    hook();
    mwpy_storage made = {.pages = bytes / MW_PAGE_SIZE + 1};
    made.at = mw_page_alloc(made.pages);
    if (!made.at) return -1;
    made.view = mw_write_view(made.at);
    int error = mw_page_guard(made.at, made.pages) || mwpy_table_put(made.view, node);
    for (size_t i = 0; i < made.pages && !error; i++) error = mwpy_table_put(made.at + i * MW_PAGE_SIZE, node);
    if (error) {
        forget(&made, node);
        mw_page_free(made.at, made.pages);
        return -1;
    }
    widen(&made);
    *storage = made;
    return 0;
}

void mwpy_storage_close(mwpy_storage *storage, const mwpy_node *node, bool left) {
    if (!storage->at) return;
    forget(storage, node);
    left_over *kept = left ? PyMem_RawMalloc(sizeof *kept) : NULL;
    if (kept) {
        *kept = (left_over){*storage, left_overs};
        left_overs = kept;
    } else if (!left) {
        mw_page_free(storage->at, storage->pages);
    }
    *storage = (mwpy_storage){0};
}

mwpy_node *mwpy_storage_node(const void *address) {
    if (!mwpy_storage_has(address)) return NULL;
    bool watched = (uintptr_t)address - mwpy_storage_low < mwpy_storage_size;
    return mwpy_table_get(watched ? (const void *)((uintptr_t)address & ~(uintptr_t)(MW_PAGE_SIZE - 1)) : address);
}
#endif
