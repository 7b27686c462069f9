/* storage.h - memory in which a container of the program's keeps its items, in guarded pages: stores to it are told
 * (mw_page_guard), and so is that the container gives it back or wants more. */
#ifndef MEMWATCH_PYTHON_STORAGE_H
#define MEMWATCH_PYTHON_STORAGE_H
#include "adapter.h"

struct mwpy_node;

typedef struct mwpy_storage {
    unsigned char *at;   /* what the program reads, and stores to with a fault */
    unsigned char *view; /* the same memory, written to without one; NULL: there is none */
    size_t size;
} mwpy_storage;

/* Zeroed memory for at least so many bytes, of which node is found by mwpy_storage_node(). 0, or -1: no memory, or the
 * interpreter's allocator can't be hooked (then with an exception). */
int mwpy_storage_open(mwpy_storage *storage, size_t bytes, struct mwpy_node *node);
/* left: the program has it still, and frees it one day. */
void mwpy_storage_close(mwpy_storage *storage, const struct mwpy_node *node, bool left);

/* From now on it is another node's. */
void mwpy_storage_hand_over(const mwpy_storage *storage, const struct mwpy_node *from, struct mwpy_node *to);

/* The node of an address in either view; NULL: it is none's. */
struct mwpy_node *mwpy_storage_node(const void *address);

/* Whether an address is of such memory, or of other pages beside it: nobody else's memory lies between them. */
extern uintptr_t mwpy_storage_low, mwpy_storage_size, mwpy_storage_distance;
static inline bool mwpy_storage_has(const void *address) {
    uintptr_t offset = (uintptr_t)address - mwpy_storage_low;
    return offset < mwpy_storage_size || offset - mwpy_storage_distance < mwpy_storage_size;
}
#endif
