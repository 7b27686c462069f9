/* instruction.c - instructions, found by their bytes: the address is only a hint, since just-in-time compilers use
 * addresses again. x86 encodings are prefix-free, so comparing a known instruction's bytes one after the other never
 * reads beyond the one that is there. */
#include "stores/instruction.h"

#include <string.h>

#include "base/hash.h"
#include "base/lock.h"
#include "base/thread.h"
#include "memory/arena.h"
#include "memwatch.h"
#include "state.h"
#include "stores/breakpoint.h"
#include "stores/code_blocks.h"
#include "stores/decoding.h"

#define BUCKET_BITS 14u
#define BUCKETS (1u << BUCKET_BITS)
#define CACHED (1u << INSTRUCTION_CACHE_BITS)

int instructions_open(void) {
    mw.instructions.rows = arena_table(INSTRUCTIONS_MAX * sizeof *mw.instructions.rows);
    mw.instructions.buckets = arena_table(BUCKETS * sizeof *mw.instructions.buckets);
    mw.instructions.cache = arena_table(CACHED * sizeof *mw.instructions.cache);
    return mw.instructions.rows && mw.instructions.buckets && mw.instructions.cache ? MW_OK : MW_ERR_NO_MEMORY;
}

MW_SIGNAL_SAFE static inline bool same(const struct instruction *instruction, const uint8_t *bytes) {
    for (unsigned i = 0; i < instruction->length; i++)
        if (instruction->bytes[i] != bytes[i]) return false;
    return true;
}

MW_SIGNAL_SAFE static uint32_t bucket_of(const struct instruction *instruction) {
    uint64_t h = instruction->length;
    for (unsigned i = 0; i < instruction->length; i++) h = (h ^ instruction->bytes[i]) * HASH_FACTOR;
    return (uint32_t)hash_to_bits(h, BUCKET_BITS);
}

MW_SIGNAL_SAFE static struct instruction *known(const struct instruction *fresh, uint32_t bucket) {
    struct instruction *rows = mw.instructions.rows;
    for (uint32_t i = mw.instructions.buckets[bucket]; i; i = rows[i - 1].next)
        if (rows[i - 1].length == fresh->length && same(&rows[i - 1], fresh->bytes)) return &rows[i - 1];
    return NULL;
}

MW_SIGNAL_SAFE static bool decode_at(uintptr_t ip, struct instruction *out, struct relocated *copy) {
    uint8_t bytes[INSTRUCTION_LONGEST];
    unsigned room = MW_PAGE_SIZE - (unsigned)(ip & PAGE_MASK), have = room < sizeof bytes ? room : sizeof bytes;
    memcpy(bytes, (const void *)ip, have);
    if (bytes[0] == INT3 && !breakpoint_lift(ip, bytes)) return false; /* int3 itself stores nothing */
    if (decode(out, bytes, have, copy)) return true;
    if (have == sizeof bytes) return false;
    /* it goes on on the next page, which must be there */
    memcpy(bytes + have, (const uint8_t *)ip + have, sizeof bytes - have);
    return decode(out, bytes, sizeof bytes, copy);
}

MW_SIGNAL_SAFE static __attribute__((noinline)) struct instruction *learn(uintptr_t ip, bool *overflow) {
    struct relocated copy;
    struct instruction fresh;
    if (!decode_at(ip, &fresh, &copy)) return NULL;
    uint32_t bucket = bucket_of(&fresh);
    lock_take(&mw.instructions.lock, thread_id());
    struct instruction *row = known(&fresh, bucket);
    if (!row && mw.instructions.count < INSTRUCTIONS_MAX) {
        if (copy.length) fresh.run.block = code_block_make(copy.bytes, copy.length);
        if (!copy.length || fresh.run.block) {
            row = &mw.instructions.rows[mw.instructions.count];
            *row = fresh;
            row->next = mw.instructions.buckets[bucket];
            mw.instructions.buckets[bucket] = ++mw.instructions.count;
        }
    }
    lock_release(&mw.instructions.lock);
    if (row) return row;
    /* The table is full, as just-in-time compilers can make it: one row that all threads take turns with. */
    lock_take(&mw.instructions.overflow_lock, thread_id());
    *overflow = true;
    mw.instructions.overflow = fresh;
    if (copy.length) mw.instructions.overflow.run.block = code_block_overflow(copy.bytes, copy.length);
    return &mw.instructions.overflow;
}

MW_SIGNAL_SAFE struct instruction *instruction_at(uintptr_t ip, bool *overflow) {
    _Atomic(struct instruction *) *cached = &mw.instructions.cache[hash_to_bits(ip, INSTRUCTION_CACHE_BITS)];
    struct instruction *instruction = atomic_load_explicit(cached, memory_order_acquire);
    *overflow = false;
    if (likely(instruction && same(instruction, (const uint8_t *)ip))) return instruction;
    instruction = learn(ip, overflow);
    if (instruction && !*overflow) atomic_store_explicit(cached, instruction, memory_order_release);
    return instruction;
}

MW_SIGNAL_SAFE void instruction_overflow_done(void) { lock_release(&mw.instructions.overflow_lock); }
