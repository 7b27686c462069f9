/* conditions.c - memwatch.h: which events an adapter wants to be told of at once. A variable's conditions are read
 * under the locks of its pages, and changed under all of them. */
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "base/thread.h"
#include "journal/conditions.h"
#include "journal/predicate.h"
#include "journal/registry.h"
#include "journal/remembered.h"
#include "memory/arena.h"
#include "memory/fork_copy.h"
#include "memwatch.h"
#include "state.h"

static_assert(MW_CONDITION_MAX == PREDICATE_MAX, "one limit");

static uint32_t pages_of(const struct variable *v) {
    return (uint32_t)(((v->address & PAGE_MASK) + v->size + PAGE_MASK) >> PAGE_SHIFT);
}

static void lock_pages(const struct variable *v) {
    for (uint32_t i = 0; i < pages_of(v); i++) lock_take(&mw.arena.pages[v->page + i].lock, thread_id());
}

static void release_pages(const struct variable *v) {
    for (uint32_t i = pages_of(v); i--;) lock_release(&mw.arena.pages[v->page + i].lock);
}

static int set(mw_variable_id id, struct variable_condition *made) {
    struct variable *v = registry_find(id);
    if (!v) return MW_ERR_NO_VARIABLE;
    if (!mw.conditions.of) mw.conditions.of = arena_table(mw.registry.most * sizeof *mw.conditions.of);
    if (!mw.conditions.of) return MW_ERR_NO_MEMORY;
    lock_pages(v);
    made->next = mw.conditions.of[id];
    mw.conditions.of[id] = made;
    v->flags |= MW_JUDGED;
    release_pages(v);
    return MW_OK;
}

static struct variable_condition *make(const void *program, size_t length, uint32_t unit, uint32_t handle) {
    uint8_t code[REMEMBERING_MAX];
    unsigned parts;
    size_t n = remembering(program, length, code, &parts);
    size_t rows = (sizeof(struct variable_condition) + n + 7) & ~(size_t)7;
    struct variable_condition *made = calloc(1, rows + parts * sizeof *made->remembered);
    if (!made) return NULL;
    *made = (struct variable_condition){.handle = handle, .unit = unit, .length = (uint32_t)n};
    made->remembered = (struct remembered *)((uint8_t *)made + rows);
    memcpy(made->program, code, n);
    return made;
}

int mw_set_condition(mw_variable_id id, const void *program, size_t length, uint32_t unit, uint32_t handle) {
    if (!mw.started || !process_is_whole()) return MW_ERR_NO_VARIABLE;
    if (!predicate_is_valid(program, length) || unit & (unit - 1)) return MW_ERR_FLAGS;
    struct variable_condition *made = make(program, length, unit, handle);
    if (!made) return MW_ERR_NO_MEMORY;
    bool taken = core_take();
    int error = set(id, made);
    core_release(taken);
    if (error) free(made);
    return error;
}

int mw_drop_condition(mw_variable_id id, uint32_t handle) {
    if (!mw.started || !process_is_whole()) return MW_ERR_NO_VARIABLE;
    struct variable_condition *dropped = NULL;
    bool taken = core_take();
    struct variable *v = registry_find(id);
    if (v && v->flags & MW_JUDGED) {
        lock_pages(v);
        for (struct variable_condition **link = &mw.conditions.of[id]; *link;) {
            struct variable_condition *one = *link;
            if (one->handle != handle) {
                link = &one->next;
                continue;
            }
            *link = one->next;
            one->next = dropped;
            dropped = one;
        }
        if (!mw.conditions.of[id]) v->flags &= ~MW_JUDGED;
        release_pages(v);
    }
    core_release(taken);
    for (struct variable_condition *next; dropped; dropped = next) {
        next = dropped->next;
        free(dropped);
    }
    return v ? MW_OK : MW_ERR_NO_VARIABLE;
}

void mw_set_hit_hooks(mw_hit_hook met, mw_hits_hook settled) {
    __atomic_store_n(&mw.conditions.settled, settled, __ATOMIC_RELEASE);
    __atomic_store_n(&mw.conditions.met, met, __ATOMIC_RELEASE);
}
