/* creators.c - see creators.h.
 *
 * A task factory would be seen by the program, and be lost where it sets one of its own. So the function that
 * initialises a task of asyncio's type is led through here: whoever makes one, with whatever factory or loop, comes by.
 * What is kept of a task lies in a table of our own, by its address, until it is freed: that is led through here as
 * well.
 *
 * It is noted after the task was initialised: what an eager one does in there has its creator on its stack. */
#define Py_BUILD_CORE_MODULE 1
#include "origins/creators.h"

#include <string.h>

#include "base/hash.h"
#include "origins/stacks.h"
#include "origins/tasks.h"

enum { SET_BITS = 14, WAYS = 4, JOIN_BITS = 12, ID_BITS = 18 };

static struct {
    PyObject *task; /* not held */
    uint32_t creators;
} noted[1 << SET_BITS][WAYS];

static uint64_t joins[1 << JOIN_BITS]; /* two ids of stacks, and that of both together, in one word */
static PyTypeObject *task_type;        /* strong */
static initproc init_task;
static destructor free_task;

#define ID_MASK ((1u << ID_BITS) - 1)

static inline size_t set_of(const PyObject *task) { return hash_to_bits((uintptr_t)task >> 4, SET_BITS); }

/* Whoever runs a task reads what was noted before it ran; others only look at the address. */
static void note(PyObject *task, uint32_t creators) {
    size_t set = set_of(task), way = 0;
    while (way < WAYS - 1 && noted[set][way].task && noted[set][way].task != task) way++;
    if (noted[set][way].task && noted[set][way].task != task) way = ((uintptr_t)task >> 6) % WAYS; /* no room */
    __atomic_store_n(&noted[set][way].task, NULL, __ATOMIC_RELEASE);
    __atomic_store_n(&noted[set][way].creators, creators, __ATOMIC_RELEASE);
    __atomic_store_n(&noted[set][way].task, task, __ATOMIC_RELEASE);
}

static void forget(const PyObject *task) {
    size_t set = set_of(task);
    for (size_t way = 0; way < WAYS; way++)
        if (noted[set][way].task == task) __atomic_store_n(&noted[set][way].task, NULL, __ATOMIC_RELEASE);
}

/* 0: it isn't known. */
static uint32_t creators_of(const PyObject *task) {
    size_t set = set_of(task);
    for (size_t way = 0; way < WAYS; way++)
        if (__atomic_load_n(&noted[set][way].task, __ATOMIC_ACQUIRE) == task)
            return __atomic_load_n(&noted[set][way].creators, __ATOMIC_ACQUIRE);
    return 0;
}

static uint32_t mark(void) {
    static const char file[] = "<asyncio>", what[] = "task created at";
    return mw_intern_site(file, sizeof file - 1, what, sizeof what - 1, 0, 0);
}

static int note_creator(PyObject *task, PyObject *args, PyObject *keywords) {
    int failed = init_task(task, args, keywords);
    if (failed || mwpy_stack_limit <= 1) return failed;
    PyThreadState *thread = mwpy_current_thread();
    const PyObject *running = mwpy_may_have_task(thread, true) ? mwpy_current_task(thread, true) : NULL;
    mwpy_stack stack = mwpy_with_creators(mwpy_stack_of(thread), running);
    uint32_t sites[] = {mark(), stack.site};
    if (sites[0] && sites[1]) note(task, mw_join_stacks(0, sites, 2, stack.callers, mwpy_stack_limit));
    return failed;
}

static void forget_creator(PyObject *task) {
    forget(task);
    free_task(task);
}

/* Types derived from it, and super().__init__(), get the slot's function from the wrapper of it that is __init__. */
void mwpy_note_creators(PyTypeObject *type, PyObject *init) {
    PyWrapperDescrObject *wrapper = (PyWrapperDescrObject *)init;
    if (task_type || !type->tp_dealloc || strcmp(type->tp_name, "_asyncio.Task") != 0) return;
    if (!init || Py_TYPE(init) != &PyWrapperDescr_Type || wrapper->d_wrapped != (void *)type->tp_init) return;
    task_type = (PyTypeObject *)Py_NewRef(type);
    init_task = type->tp_init;
    free_task = type->tp_dealloc;
    type->tp_dealloc = forget_creator;
    type->tp_init = note_creator;
    wrapper->d_wrapped = (void *)note_creator;
}

static uint32_t joined(uint32_t callers, uint32_t creators) {
    if (callers > ID_MASK || creators > ID_MASK) return callers;
    uint64_t key = (uint64_t)1 << 63 | (uint64_t)creators << ID_BITS | callers, found;
    uint64_t *place = &joins[hash_to_bits(key, JOIN_BITS)];
    found = __atomic_load_n(place, __ATOMIC_RELAXED);
    if ((found & ~((uint64_t)ID_MASK << 2 * ID_BITS)) == key) return (uint32_t)(found >> 2 * ID_BITS) & ID_MASK;
    uint32_t id = mw_join_stacks(callers, NULL, 0, creators, 2 * MWPY_STACK_MOST - 1);
    if (id <= ID_MASK) __atomic_store_n(place, key | (uint64_t)id << 2 * ID_BITS, __ATOMIC_RELAXED);
    return id;
}

mwpy_stack mwpy_with_creators(mwpy_stack stack, const PyObject *task) {
    uint32_t creators = task && stack.site && stack.callers ? creators_of(task) : 0;
    if (creators) stack.callers = joined(stack.callers, creators);
    return stack;
}
