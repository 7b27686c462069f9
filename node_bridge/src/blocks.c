/* blocks.c - pages behind ArrayBuffers: who holds them, and when they go. */
#include "addon.h"
#include "breaks.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *blocks;

static void insert(struct block *block) {
    pthread_mutex_lock(&lock);
    block->next = blocks;
    block->link = &blocks;
    if (blocks) blocks->link = &block->next;
    blocks = block;
    pthread_mutex_unlock(&lock);
}

struct block *block_new(const void *from, size_t size, uint32_t flags, mw_depth depth, int *error) {
    struct block *block = calloc(1, sizeof *block);
    *error = MW_ERR_NO_MEMORY;
    if (!block) return NULL;
    block->size = size;
    block->pages = (size + MW_PAGE_SIZE - 1) / MW_PAGE_SIZE;
    block->holders = 1;
    block->bytes = mw_page_alloc(block->pages);
    if (!block->bytes && errno == EFBIG) *error = MW_ERR_FILE_SIZE;
    if (block->bytes) {
        memcpy(mw_write_view(block->bytes), from, size);
        int64_t id = mw_register_page(block->bytes, block->pages * MW_PAGE_SIZE, flags, depth);
        if (id > 0) {
            block->id = (mw_variable_id)id;
            insert(block);
            return block;
        }
        *error = (int)id;
        mw_page_free(block->bytes, block->pages);
    }
    free(block);
    return NULL;
}

/* The one whose watch goes on. */
static struct block *find(mw_variable_id id) {
    struct block *block = blocks;
    while (block && (block->id != id || block->ended)) block = block->next;
    return block;
}

struct block *block_hold(mw_variable_id id) {
    pthread_mutex_lock(&lock);
    struct block *block = find(id);
    if (block) block->holders++;
    pthread_mutex_unlock(&lock);
    return block;
}

void block_release(struct block *block) {
    pthread_mutex_lock(&lock);
    bool last = --block->holders == 0;
    if (last) {
        *block->link = block->next;
        if (block->next) block->next->link = block->link;
    }
    pthread_mutex_unlock(&lock);
    if (!last) return;
    if (!mw_unregister_page(block->id)) breaks_forget(block->id); /* NO_VARIABLE after unwatch() */
    mw_page_free(block->bytes, block->pages);
    free(block);
}

bool block_share(mw_variable_id id) {
    pthread_mutex_lock(&lock);
    struct block *block = find(id);
    if (block && !block->shared) {
        block->shared = true;
        block->holders++;
    }
    pthread_mutex_unlock(&lock);
    return block != NULL;
}

bool block_end(mw_variable_id id) {
    if (mw_unregister_page(id)) return false;
    breaks_forget(id);
    pthread_mutex_lock(&lock);
    struct block *block = find(id);
    bool held = block && block->shared;
    if (block) block->ended = true;
    if (held) block->shared = false;
    pthread_mutex_unlock(&lock);
    if (held) block_release(block);
    return true;
}
