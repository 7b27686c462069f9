/* journal.c - the writer: appends fixed-size slots to a shared mapping of a file. docs/journal-format.md.
 *
 * Reserving is one compare-and-swap on the header, committing one release store to the slot; a writer that dies in
 * between leaves a slot that readers skip. Space is allocated on disk before it is handed out (segments.c), so a full
 * disk is an error here and never a SIGBUS in a store. */
#include "journal/journal.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/syscalls.h"
#include "base/thread.h"
#include "journal/journal_file.h"
#include "journal/journal_format.h"
#include "journal/registry.h"
#include "journal/segments.h"
#include "memwatch.h"
#include "state.h"

static_assert(sizeof(mw_ending) == sizeof((struct mwj_slot *)NULL)->raw, "an ending fills its slot");
static_assert((int)MWJ_STACK_CUT == (int)MW_STACK_CUT && (int)MWJ_STACK_INEXACT == (int)MW_STACK_INEXACT, "as interned");
#define FIRST_PAYLOAD_STORE ((uint32_t)sizeof((struct mwj_slot *)NULL)->store.payload)
#define FIRST_PAYLOAD_BLOB ((uint32_t)sizeof((struct mwj_slot *)NULL)->blob.payload)
#define CONTINUATION_PAYLOAD ((uint32_t)sizeof((struct mwj_continuation *)NULL)->payload)
#define BLOB_MAX (FIRST_PAYLOAD_BLOB + (MWJ_RECORD_SLOTS_MAX - 1) * CONTINUATION_PAYLOAD)

MW_SIGNAL_SAFE static inline struct mwj_slot *slot_at(struct journal *j, uint64_t index) {
    struct mwj_slot *segment = atomic_load_explicit(&j->segments[index / MWJ_SEGMENT_SLOTS], memory_order_acquire);
    return segment + index % MWJ_SEGMENT_SLOTS;
}

/* n consecutive slots of one segment, the first of which gets number *first; NULL: the journal is full. own: slots that
 * are promised to this thread. */
MW_SIGNAL_SAFE static inline struct mwj_slot *reserve_at(struct journal *j, unsigned n, uint64_t own, uint64_t *first) {
    if (unlikely(!atomic_load_explicit(&mw.process->made, memory_order_acquire)) && !journal_file_make(j)) return NULL;
    uint64_t at = atomic_load_explicit(&j->header->reserved, memory_order_acquire), start, end;
    for (;;) {
        MW_STEP("capacity", at);
        uint64_t capacity = atomic_load_explicit(&j->capacity, memory_order_acquire), behind = at % MWJ_SEGMENT_SLOTS;
        start = at;
        if (unlikely(!behind || n > MWJ_SEGMENT_SLOTS - behind)) { /* the next segment, behind the copies in it */
            uint64_t next = (at + MWJ_SEGMENT_SLOTS - 1) / MWJ_SEGMENT_SLOTS * MWJ_SEGMENT_SLOTS, begin = j->begin;
            start = begin > next ? begin : next;
        }
        end = start + n;
        uint64_t needed = end + atomic_load_explicit(&j->promised, memory_order_acquire) - own;
        if (unlikely(needed > capacity)) {
            if (!segments_grow(j, needed)) return NULL;
            at = atomic_load_explicit(&j->header->reserved, memory_order_acquire);
            continue;
        }
        MW_STEP("reserve", at);
        if (likely(atomic_compare_exchange_weak_explicit(&j->header->reserved, &at, end, memory_order_acq_rel,
                                                         memory_order_acquire)))
            break;
    }
    for (; unlikely(at < start && at % MWJ_SEGMENT_SLOTS); at++) {
        MW_STEP("pad", at);
        atomic_store_explicit(&slot_at(j, at)->word, MWJ_WORD(MWJ_PAD, 1, 0, 0), memory_order_release);
    }
    *first = start;
    return slot_at(j, start);
}

MW_SIGNAL_SAFE static inline struct mwj_slot *reserve(struct journal *j, unsigned n, uint64_t own) {
    uint64_t first;
    return reserve_at(j, n, own, &first);
}

MW_SIGNAL_SAFE static int full(struct journal *j) {
    uint32_t refused = atomic_load(&mw.process->made) ? 0 : atomic_load(&j->refused);
    if (refused && refused != ENOSPC) {
        errno = (int)refused;
        return MW_ERR_JOURNAL_OPEN;
    }
    segments_report_full(j);
    return MW_ERR_JOURNAL_FULL;
}

/* ---- records ---- */

/* Copies n bytes to position `at` of a record's payload, of which the first slot holds `room` bytes at `first`. */
MW_SIGNAL_SAFE static void put(struct mwj_slot *slot, uint8_t *first, uint32_t room, uint32_t at, const void *bytes,
                               uint32_t n) {
    const uint8_t *from = bytes;
    while (n) {
        uint8_t *to;
        uint32_t space;
        if (at < room) {
            to = first + at;
            space = room - at;
        } else {
            uint32_t behind = at - room;
            struct mwj_continuation *c = (struct mwj_continuation *)slot + 1 + behind / CONTINUATION_PAYLOAD;
            to = c->payload + behind % CONTINUATION_PAYLOAD;
            space = CONTINUATION_PAYLOAD - behind % CONTINUATION_PAYLOAD;
        }
        uint32_t now_n = n < space ? n : space;
        memcpy(to, from, now_n);
        at += now_n, from += now_n, n -= now_n;
    }
}

MW_SIGNAL_SAFE static inline unsigned slots_for(uint32_t payload, uint32_t room) {
    return payload <= room ? 1 : 1 + (payload - room + CONTINUATION_PAYLOAD - 1) / CONTINUATION_PAYLOAD;
}

MW_SIGNAL_SAFE static inline void commit(struct mwj_slot *slot, unsigned kind, unsigned slots, unsigned origin,
                                         unsigned flags) {
    for (unsigned i = 1; i < slots; i++)
        atomic_store_explicit(&slot[i].word, MWJ_WORD(MWJ_CONTINUATION, 1, 0, 0), memory_order_relaxed);
    MW_STEP("commit", 0);
    atomic_store_explicit(&slot->word, MWJ_WORD(kind, slots, origin, flags), memory_order_release);
}

/* The first event of a thread is preceded by the name that the kernel knows it by, unless an adapter has given one. */
MW_SIGNAL_SAFE static __attribute__((noinline)) void introduce_thread(struct journal *j) {
    char name[16] = "";
    raw_syscall4(SYS_prctl, PR_GET_NAME, (long)name, 0, 0);
    size_t n = 0;
    while (n < sizeof name && name[n]) n++;
    if (!journal_blob(MWJ_THREAD, MWJ_INEXACT, thread_id(), 0, NULL, 0, name, n)) mw_thread.named = j->generation;
}

MW_SIGNAL_SAFE static bool has_none(struct journal *j) {
    return !atomic_load(&mw.process->made) && j->refused != ENOSPC;
}

MW_SIGNAL_SAFE static bool refuses(struct journal *j) { return !j->segments_max && !j->unreachable && !has_none(j); }

/* There is no slot for the record. A store has been made: it is counted. An announced write is an error, and isn't
 * made, if the disk is full; if the journal has a limit, or there is none that could be made or reached, it is made and
 * counted, like a store. */
MW_SIGNAL_SAFE static __attribute__((noinline)) int unrecorded(struct journal *j, const struct store *store) {
    if (!mw.registry.variables[store->variable].live) return MW_ERR_NO_VARIABLE; /* fork_notice() */
    if (store->refusable && refuses(j)) return full(j);
    segments_count_lost(j, store->variable);
    if (has_none(j))
        journal_file_report_refusal(j);
    else
        segments_report_full(j);
    return MW_OK;
}

/* ---- call stacks ---- */

/* Which records may name a stack that is recorded in this slot: those behind it in the same journal; if that has a
 * limit, in the same segment, so that they stay and go together. */
MW_SIGNAL_SAFE static inline uint64_t reach_of(const struct journal *j, uint64_t slot) {
    return (uint64_t)j->generation << 32 | (unlikely(j->segments_max) ? slot / MWJ_SEGMENT_SLOTS + 1 : 1);
}

MW_SIGNAL_SAFE static inline uint32_t stack_payload(const struct stack *stack) {
    return 4 + 4 * mw.stacks.words[stack->at];
}

MW_SIGNAL_SAFE static void put_stack(struct mwj_slot *slot, unsigned slots, uint32_t id, const struct stack *stack) {
    slot->tid = thread_id();
    slot->time = clock_now();
    slot->id = id;
    slot->blob.length = stack_payload(stack);
    put(slot, slot->blob.payload, FIRST_PAYLOAD_BLOB, 0, mw.stacks.words + stack->at + 1, slot->blob.length);
    commit(slot, MWJ_STACK, slots, 0, 0);
}

/* Slots for the STORE, and before it for the STACK that it names, unless that is recorded already. */
MW_SIGNAL_SAFE static __attribute__((noinline)) struct mwj_slot *reserve_with_stack(struct journal *j, unsigned slots,
                                                                                    uint64_t own, uint32_t id) {
    struct stack *stack = &mw.stacks.rows[id];
    bool made = atomic_load_explicit(&mw.process->made, memory_order_acquire);
    uint64_t at = made ? atomic_load_explicit(&j->header->reserved, memory_order_relaxed) : 0;
    unsigned ahead = slots_for(stack_payload(stack), FIRST_PAYLOAD_BLOB);
    uint64_t reach =
        atomic_load_explicit(&stack->told, memory_order_acquire); /* known before slots are: it lies ahead */
    for (bool told = reach == reach_of(j, at);; told = false) {
        struct mwj_slot *slot = reserve_at(j, told ? slots : ahead + slots, own, &at);
        if (!slot) return NULL;
        if (!told) {
            put_stack(slot, ahead, id, stack);
            MW_STEP("told", id);
            atomic_store_explicit(&stack->told, reach_of(j, at), memory_order_release);
            return slot + ahead;
        }
        if (likely(reach == reach_of(j, at))) return slot;
        for (unsigned i = 0; i < slots; i++) { /* another segment has begun */
            MW_STEP("pad", at + i);
            atomic_store_explicit(&slot[i].word, MWJ_WORD(MWJ_PAD, 1, 0, 0), memory_order_release);
        }
    }
}

/* Whether no STORE needs to say it once more. In a journal with a limit, that depends on the slot. */
MW_SIGNAL_SAFE static inline bool is_told(const struct journal *j, uint32_t stack) {
    return !stack || stack == MW_STACK_UNKNOWN ||
           (!j->segments_max &&
            atomic_load_explicit(&mw.stacks.rows[stack].told, memory_order_acquire) == reach_of(j, 0));
}

MW_SIGNAL_SAFE int journal_store(const struct store *store, const uint8_t *before, const uint8_t *after) {
    struct journal *j = &mw.journal;
    if (unlikely(!atomic_load_explicit(&j->open, memory_order_acquire))) return MW_ERR_NO_JOURNAL;
    if (unlikely(mw_thread.named != j->generation)) introduce_thread(j);
    uint32_t n = store->length, head = store->call ? (uint32_t)sizeof *store->call : 0;
    uint32_t stack = store->stack, end = head + 2 * n;
    uint64_t own = store->refusable ? mw_thread.promised : 0;
    unsigned slots = slots_for(stack ? end + (uint32_t)sizeof stack : end, FIRST_PAYLOAD_STORE);
    struct mwj_slot *slot =
        likely(is_told(j, stack)) ? reserve(j, slots, own) : reserve_with_stack(j, slots, own, stack);
    if (unlikely(!slot)) return unrecorded(j, store);
    slot->tid = store->tid;
    slot->time = clock_now();
    slot->id = store->variable;
    slot->store.offset = store->offset;
    slot->store.length = n;
    slot->store.site = store->site;
    slot->store.context = store->context;
    if (likely(n == 8 && !head)) {
        memcpy(slot->store.payload, before, 8);
        memcpy(slot->store.payload + 8, after, 8);
    } else if (likely(n == 12 && !head)) { /* a number in a cell */
        memcpy(slot->store.payload, before, 12);
        memcpy(slot->store.payload + 12, after, 12);
    } else {
        if (head) memcpy(slot->store.payload, store->call, sizeof *store->call);
        put(slot, slot->store.payload, FIRST_PAYLOAD_STORE, head, before, n);
        put(slot, slot->store.payload, FIRST_PAYLOAD_STORE, head + n, after, n);
    }
    if (stack && likely(end + sizeof stack <= FIRST_PAYLOAD_STORE))
        memcpy(slot->store.payload + end, &stack, sizeof stack);
    else if (stack)
        put(slot, slot->store.payload, FIRST_PAYLOAD_STORE, end, &stack, sizeof stack);
    commit(slot, MWJ_STORE, slots, store->how, store->flags | (stack ? MWJ_HAS_STACK : 0));
    return MW_OK;
}

uint64_t journal_slots_for(uint64_t length) {
    uint64_t whole = length / MW_EVENT_MAX, rest = length % MW_EVENT_MAX;
    return whole * slots_for(2 * MW_EVENT_MAX + 4, FIRST_PAYLOAD_STORE) +
           (rest ? slots_for(2 * (uint32_t)rest + 4, FIRST_PAYLOAD_STORE) : 0);
}

int journal_promise(uint64_t *slots) {
    struct journal *j = &mw.journal;
    uint64_t n = *slots + (*slots / (MWJ_SEGMENT_SLOTS - MWJ_RECORD_SLOTS_MAX) + 2) * MWJ_RECORD_SLOTS_MAX;
    *slots = 0;
    if (!atomic_load_explicit(&j->open, memory_order_acquire)) return MW_ERR_NO_JOURNAL;
    if (unlikely(mw_thread.named != j->generation)) introduce_thread(j);
    if (!atomic_load_explicit(&mw.process->made, memory_order_acquire) && !journal_file_make(j))
        return refuses(j) ? full(j) : MW_OK;
    if (j->segments_max) return MW_OK; /* nothing is refused */
    mw_thread.promised += n;
    atomic_fetch_add(&j->promised, n);
    *slots = n;
    /* A thread that has read `promised` before this, and not reserved yet, must read it again: a slot is used up, so
     * that its compare-and-swap fails. */
    struct mwj_slot *slot = reserve(j, 1, 0);
    if (slot) {
        atomic_store_explicit(&slot->word, MWJ_WORD(MWJ_PAD, 1, 0, 0), memory_order_release);
        return MW_OK;
    }
    journal_release(*slots);
    *slots = 0;
    return refuses(j) ? full(j) : MW_OK;
}

void journal_release(uint64_t slots) {
    if (slots > mw_thread.promised) slots = mw_thread.promised; /* forked in the midst of it: none */
    mw_thread.promised -= slots;
    atomic_fetch_sub(&mw.journal.promised, slots);
}

MW_SIGNAL_SAFE int journal_blob(unsigned kind, unsigned flags, uint32_t tid, uint32_t id, const void *a,
                                size_t a_length, const void *b, size_t b_length) {
    struct journal *j = &mw.journal;
    if (!atomic_load_explicit(&j->open, memory_order_acquire)) return MW_ERR_NO_JOURNAL;
    const uint8_t *from = b;
    do {
        uint32_t n = (uint32_t)(b_length < BLOB_MAX - a_length ? b_length : BLOB_MAX - a_length);
        unsigned slots = slots_for((uint32_t)a_length + n, FIRST_PAYLOAD_BLOB);
        struct mwj_slot *slot = reserve(j, slots, 0);
        if (!slot) return full(j);
        slot->tid = tid;
        slot->time = clock_now();
        slot->id = id;
        slot->blob.length = (uint32_t)a_length + n;
        put(slot, slot->blob.payload, FIRST_PAYLOAD_BLOB, 0, a, (uint32_t)a_length);
        put(slot, slot->blob.payload, FIRST_PAYLOAD_BLOB, (uint32_t)a_length, from, n);
        b_length -= n, from += n, a_length = 0;
        commit(slot, kind, slots, 0, flags | (b_length ? MWJ_MORE : 0));
    } while (b_length);
    return MW_OK;
}

MW_SIGNAL_SAFE int journal_variable(uint32_t id, const struct variable *v) {
    struct journal *j = &mw.journal;
    struct mwj_slot *slot = reserve(j, 1, 0);
    if (!slot) return full(j);
    struct mwj_variable record = {.flags = v->flags};
    memcpy(record.size, &v->size, 8);
    memcpy(record.depth_start, &v->depth_start, 8);
    memcpy(record.depth_stop, &v->depth_stop, 8);
    memcpy(record.address, &v->address, 8);
    slot->tid = thread_id();
    slot->time = clock_now();
    slot->id = id;
    memcpy(slot->raw, &record, sizeof record);
    commit(slot, MWJ_VARIABLE, 1, 0, 0);
    return MW_OK;
}

int journal_unregistered(uint32_t id, struct variable *v, const mw_ending *ending) {
    struct mwj_slot *slot = reserve(&mw.journal, 1, 0);
    /* of the last segment so far, in which the record is, or the one before it */
    atomic_store(&v->ended, slot ? (uint32_t)journal_segments(&mw.journal) : 1);
    if (!slot) return full(&mw.journal);
    slot->tid = thread_id();
    slot->time = clock_now();
    slot->id = id;
    memcpy(slot->raw, ending, sizeof *ending); /* docs/journal-format.md has it as it lies in memory */
    commit(slot, MWJ_UNREGISTERED, 1, 0, 0);
    return MW_OK;
}

int mw_context_record(uint32_t context, const void *bytes, size_t length) {
    return length > MW_CONTEXT_MAX ? MW_ERR_TOO_LONG
                                   : journal_blob(MWJ_CONTEXT, 0, thread_id(), context, NULL, 0, bytes, length);
}

int mw_outcome_record(uint32_t context, const void *bytes, size_t length) {
    return length > MW_CONTEXT_MAX ? MW_ERR_TOO_LONG
                                   : journal_blob(MWJ_OUTCOME, 0, thread_id(), context, NULL, 0, bytes, length);
}
