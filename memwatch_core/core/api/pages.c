/* pages.c - memwatch.h: pages of the arena, asked for and given back. */
#include <errno.h>

#include "memory/adoption.h"
#include "memory/arena.h"
#include "memory/fork_copy.h"
#include "memwatch.h"
#include "process/fork.h"
#include "state.h"
#include "stores/kernel_writes.h"

void *mw_page_alloc(size_t n) {
    if (!mw.started) {
        errno = ENODEV;
        return NULL;
    }
    uint32_t first;
    int error = fork_settle();
    if (!error) {
        bool taken = core_take();
        error = arena_allocate(n, &first);
        core_release(taken);
    }
    if (error) {
        errno = error == MW_ERR_FILE_SIZE ? EFBIG : ENOMEM;
        return NULL;
    }
    return (void *)(mw.arena.watched + ((uint64_t)first << PAGE_SHIFT));
}

int mw_page_guard(void *page, size_t n) {
    uintptr_t offset = (uintptr_t)page - mw.arena.watched;
    if (!mw.started || !process_is_whole() || offset >= mw.arena.committed || offset & PAGE_MASK) return MW_ERR_PAGE;
    uint32_t first = (uint32_t)(offset >> PAGE_SHIFT);
    bool taken = core_take();
    bool block = arena_is_block(first, n);
    for (uint32_t i = 0; block && i < n; i++) mw.arena.pages[first + i].guarded = true;
    core_release(taken);
    return block ? MW_OK : MW_ERR_PAGE;
}

int mw_page_fill(void *page, const void *bytes, size_t size) {
    uintptr_t offset = (uintptr_t)page - mw.arena.watched;
    if (!mw.started || !process_is_whole() || offset >= mw.arena.committed || offset & PAGE_MASK) return MW_ERR_PAGE;
    uint32_t first = (uint32_t)(offset >> PAGE_SHIFT);
    for (size_t i = 0, n = (size + PAGE_MASK) >> PAGE_SHIFT; i < n; i++)
        if (first + i >= mw.arena.bump || page_state_of(first + (uint32_t)i) != PAGE_USED ||
            mw.arena.pages[first + i].head)
            return MW_ERR_PAGE;
    adoption_copy(arena_writable(first), (uintptr_t)bytes, size);
    return MW_OK;
}

void mw_set_guard_hook(mw_guard_hook hook) { __atomic_store_n(&mw.guard_hook, hook, __ATOMIC_RELEASE); }

int mw_page_free(void *page, size_t n) {
    uintptr_t offset = (uintptr_t)page - mw.arena.watched;
    if (!mw.started || !process_is_whole() || offset >= mw.arena.committed || offset & PAGE_MASK) return MW_ERR_PAGE;
    uint32_t first = (uint32_t)(offset >> PAGE_SHIFT);
    int error = MW_OK;
    bool taken = core_take();
    if (!arena_is_block(first, n)) error = MW_ERR_PAGE;
    for (uint32_t i = 0; !error && i < n; i++)
        if (mw.arena.pages[first + i].head) error = MW_ERR_PAGE;
    if (!error) {
        kernel_forget(first, n);
        arena_release(first);
    }
    core_release(taken);
    return error;
}
