/* journal.c - the writer: appends fixed-size slots to a shared mapping of a file. docs/journal-format.md.
 *
 * Reserving is one compare-and-swap on the header, committing one release store to the slot; a writer that dies in
 * between leaves a slot that readers skip. Space is allocated on disk before it is handed out (segments.c), so a full
 * disk is an error here and never a SIGBUS in a store. */
#include "journal/journal.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/hash.h"
#include "base/lock.h"
#include "base/syscalls.h"
#include "base/thread.h"
#include "journal/brief.h"
#include "journal/journal_file.h"
#include "journal/journal_format.h"
#include "journal/masks.h"
#include "journal/registry.h"
#include "journal/segments.h"
#include "memwatch.h"
#include "state.h"

static_assert(sizeof(mw_ending) == sizeof((struct mwj_slot *)NULL)->raw, "an ending fills its slot");
static_assert((int)MWJ_STACK_CUT == (int)MW_STACK_CUT && (int)MWJ_STACK_INEXACT == (int)MW_STACK_INEXACT,
              "as interned");
#define FIRST_PAYLOAD_STORE ((uint32_t)sizeof((struct mwj_slot *)NULL)->store.payload)
#define FIRST_PAYLOAD_BLOB ((uint32_t)sizeof((struct mwj_slot *)NULL)->blob.payload)
#define CONTINUATION_PAYLOAD ((uint32_t)sizeof((struct mwj_continuation *)NULL)->payload)
#define BLOB_MAX (FIRST_PAYLOAD_BLOB + (MWJ_RECORD_SLOTS_MAX - 1) * CONTINUATION_PAYLOAD)

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

/* ---- what a STORE names and is recorded before it ---- */

/* A call stack, or a request. */
struct ahead {
    unsigned kind, slots;
    uint32_t id, length;
    const void *payload;
    uint64_t reach;      /* where its last record is; known before slots are: it lies ahead of them */
    mw_request *request; /* NULL: a stack */
    uint64_t serial;     /* of the request */
    bool changed;        /* it says something else by now, and wasn't recorded */
};

/* Which records may name one that is recorded in this slot: those behind it in the same journal and segment, so that
 * they stay and go together, and readers may forget it. Of stacks, which are few, all in a journal without a limit. */
MW_SIGNAL_SAFE static inline uint64_t reach_of(const struct journal *j, const struct ahead *a, uint64_t slot) {
    bool near = a->request || unlikely(j->segments_max);
    uint64_t reach = (uint64_t)j->generation << 32 | (near ? slot / MWJ_SEGMENT_SLOTS + 1 : 1);
    return a->request ? reach ^ a->serial * HASH_FACTOR : reach; /* of the request that it is by now, and no other */
}

MW_SIGNAL_SAFE static struct ahead stack_ahead(uint32_t id) {
    struct stack *stack = &mw.stacks.rows[id];
    const uint32_t *words = mw.stacks.words + stack->at;
    struct ahead a = {.kind = MWJ_STACK, .id = id, .length = 4 + 4 * words[0], .payload = words + 1};
    a.reach = atomic_load_explicit(&stack->told, memory_order_acquire);
    a.slots = slots_for(a.length, FIRST_PAYLOAD_BLOB);
    return a;
}

/* A signal handler that interrupts this one may store as well, and change the request: then nothing is said of it. */
MW_SIGNAL_SAFE static void put_ahead(const struct journal *j, struct mwj_slot *slot, uint64_t at, struct ahead *a) {
    slot->tid = thread_id();
    slot->time = clock_now();
    slot->id = a->id;
    slot->blob.length = a->length;
    put(slot, slot->blob.payload, FIRST_PAYLOAD_BLOB, 0, a->payload, a->length);
    atomic_signal_fence(memory_order_seq_cst);
    a->changed = a->request && a->request->serial != a->serial;
    commit(slot, a->changed ? MWJ_PAD : a->kind, a->slots, 0, 0);
    MW_STEP("told", a->id);
    if (!a->request)
        atomic_store_explicit(&mw.stacks.rows[a->id].told, reach_of(j, a, at), memory_order_release);
    else if (!a->changed)
        a->request->told = reach_of(j, a, at);
}

MW_SIGNAL_SAFE static void leave_empty(struct mwj_slot *slot, unsigned n, uint64_t at) {
    (void)at;
    for (unsigned i = 0; i < n; i++) {
        MW_STEP("pad", at + i);
        atomic_store_explicit(&slot[i].word, MWJ_WORD(MWJ_PAD, 1, 0, 0), memory_order_release);
    }
}

/* Slots for the STORE, and before it for what it names, unless that is recorded already. */
MW_SIGNAL_SAFE static __attribute__((noinline)) struct mwj_slot *
reserve_with(struct journal *j, unsigned slots, uint64_t own, struct ahead *ahead, unsigned n) {
    bool made = atomic_load_explicit(&mw.process->made, memory_order_acquire);
    uint64_t at = made ? atomic_load_explicit(&j->header->reserved, memory_order_relaxed) : 0;
    for (;;) {
        bool told[2] = {true, true};
        unsigned more = 0;
        for (unsigned i = 0; i < n; i++) {
            told[i] = ahead[i].reach == reach_of(j, &ahead[i], at);
            if (!told[i]) more += ahead[i].slots;
        }
        struct mwj_slot *slot = reserve_at(j, more + slots, own, &at);
        if (!slot) return NULL;
        bool another = false; /* segment has begun */
        for (unsigned i = 0; i < n; i++) another |= told[i] && ahead[i].reach != reach_of(j, &ahead[i], at);
        if (unlikely(another)) {
            leave_empty(slot, more + slots, at);
            continue;
        }
        for (unsigned i = 0; i < n; i++) {
            if (told[i]) continue;
            put_ahead(j, slot, at, &ahead[i]);
            slot += ahead[i].slots;
        }
        return slot;
    }
}

/* Slots for a STORE whose request is recorded already, in the segment that they are in. NULL: it isn't there. */
MW_SIGNAL_SAFE static inline struct mwj_slot *reserve_told(struct journal *j, unsigned slots, uint64_t own,
                                                           const struct ahead *request) {
    if (unlikely(!atomic_load_explicit(&mw.process->made, memory_order_acquire))) return NULL;
    uint64_t at = atomic_load_explicit(&j->header->reserved, memory_order_relaxed);
    if (unlikely(request->reach != reach_of(j, request, at))) return NULL;
    struct mwj_slot *slot = reserve_at(j, slots, own, &at);
    if (likely(!slot || request->reach == reach_of(j, request, at))) return slot;
    leave_empty(slot, slots, at); /* another segment has begun */
    return NULL;
}

/* ---- requests ---- */

#define ROUND_SHIFT 31 /* half of what an id can tell apart: who is of an older round gets another id */

MW_SIGNAL_SAFE uint64_t mw_request_serial(void) {
    uint64_t serial;
    do serial = atomic_fetch_add_explicit(&mw.requests, 1, memory_order_relaxed) + 1;
    while (!(uint32_t)serial);
    return serial;
}

MW_SIGNAL_SAFE mw_request *mw_request_kept(mw_request *kept, unsigned bits, const char *json, size_t length) {
    uint64_t hash = length;
    for (size_t i = 0; i < length; i++) hash = (hash ^ (unsigned char)json[i]) * 0x100000001B3u; /* FNV-1a's factor */
    mw_request *request = &kept[hash_to_bits(hash, bits)];
    if (request->serial && request->length == length && !memcmp(request->json, json, length)) return request;
    request->serial = mw_request_serial(); /* first: whoever has taken the old one sees that it is gone */
    atomic_signal_fence(memory_order_seq_cst);
    request->told = 0;
    request->length = (uint32_t)length;
    memcpy(request->json, json, length);
    return request;
}

/* False: a signal handler has changed it since the provider was asked. */
MW_SIGNAL_SAFE static inline bool request_ahead(const struct store *store, struct ahead *a) {
    mw_request *request = store->request;
    uint64_t serial = store->request_serial;
    *a = (struct ahead){.kind = MWJ_REQUEST, .length = request->length, .request = request, .reach = request->told};
    atomic_signal_fence(memory_order_seq_cst);
    if (unlikely(request->serial != serial || a->length > MW_REQUEST_MAX)) return false;
    if (unlikely(atomic_load_explicit(&mw.requests, memory_order_relaxed) >> ROUND_SHIFT != serial >> ROUND_SHIFT)) {
        request->told = a->reach = 0;
        request->serial = serial = mw_request_serial();
    }
    a->serial = serial;
    a->id = (uint32_t)serial;
    a->payload = request->json;
    a->slots = slots_for(a->length, FIRST_PAYLOAD_BLOB);
    return true;
}

MW_SIGNAL_SAFE static inline void put_id(struct mwj_slot *slot, uint32_t *at, uint32_t id) {
    if (likely(*at + sizeof id <= FIRST_PAYLOAD_STORE))
        memcpy(slot->store.payload + *at, &id, sizeof id);
    else
        put(slot, slot->store.payload, FIRST_PAYLOAD_STORE, *at, &id, sizeof id);
    *at += (uint32_t)sizeof id;
}

/* ---- secrets ---- */

/* The bytes of a store to a secret, both sides, in front of which a payload has `head` bytes. They are masked on the
 * way: a process may end at any time, and what is in a slot by then is in the file. */
MW_SIGNAL_SAFE static __attribute__((noinline)) void put_masked(struct mwj_slot *slot, uint32_t head,
                                                                const struct store *store, const uint8_t *before,
                                                                const uint8_t *after) {
    uint8_t was[CONTINUATION_PAYLOAD], is[CONTINUATION_PAYLOAD];
    for (uint32_t at = 0, n; at < store->length; at += n) {
        n = store->length - at < sizeof was ? store->length - at : (uint32_t)sizeof was;
        for (uint32_t i = 0; i < n; i++) {
            struct mask mask = mask_of(mw.secret_key, store->variable, store->offset + at + i);
            was[i] = mask_byte(&mask, before[at + i]);
            is[i] = mask_byte(&mask, after[at + i]);
        }
        put(slot, slot->store.payload, FIRST_PAYLOAD_STORE, head + at, was, n);
        put(slot, slot->store.payload, FIRST_PAYLOAD_STORE, head + store->length + at, is, n);
    }
}

/* The bytes before and after, behind the call. */
MW_SIGNAL_SAFE static inline void put_both(struct mwj_slot *slot, uint32_t head, const struct store *store,
                                           const uint8_t *before, const uint8_t *after) {
    uint32_t n = store->length;
    if (head) memcpy(slot->store.payload, store->call, sizeof *store->call);
    if (unlikely(store->mask)) {
        put_masked(slot, head, store, before, after);
    } else if (likely(n == 8 && !head)) {
        memcpy(slot->store.payload, before, 8);
        memcpy(slot->store.payload + 8, after, 8);
    } else if (likely(n == 12 && !head)) { /* a number in a cell */
        memcpy(slot->store.payload, before, 12);
        memcpy(slot->store.payload + 12, after, 12);
    } else {
        put(slot, slot->store.payload, FIRST_PAYLOAD_STORE, head, before, n);
        put(slot, slot->store.payload, FIRST_PAYLOAD_STORE, head + n, after, n);
    }
}

/* A store to a part of a secret of which all bytes count as one. */
MW_SIGNAL_SAFE static __attribute__((noinline)) int store_whole(const struct store *store, const uint8_t *before,
                                                                const uint8_t *after) {
    const struct variable *v = &mw.registry.variables[store->variable];
    uint8_t was[8], is[8];
    memcpy(was, arena_writable(v->page) + (v->address & PAGE_MASK), sizeof was);
    memcpy(is, was, sizeof is);
    memcpy(was + store->offset, before, store->length);
    memcpy(is + store->offset, after, store->length);
    uint64_t hashes[] = {mask_hash(mw.secret_key, store->variable, was, sizeof was),
                         mask_hash(mw.secret_key, store->variable, is, sizeof is)};
    struct store whole = *store;
    whole.offset = whole.mask = 0;
    whole.length = sizeof was;
    return journal_store(&whole, (uint8_t *)hashes, (uint8_t *)(hashes + 1));
}

/* Bytes of a variable as they stand in its CONTENT records. */
MW_SIGNAL_SAFE void journal_mask(uint32_t id, uint32_t masks, uint64_t offset, uint8_t *bytes, size_t n) {
    if (masks & MW_MASK_WHOLE) {
        uint64_t hash = mask_hash(mw.secret_key, id, bytes, n);
        memcpy(bytes, &hash, sizeof hash);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct mask mask = mask_of(mw.secret_key, id, offset + i);
        bytes[i] = mask_byte(&mask, bytes[i]);
    }
}

MW_SIGNAL_SAFE uint64_t mw_hash_secret(mw_variable_id id, const void *bytes, size_t length) {
    return mask_hash(mw.secret_key, id, bytes, length);
}

MW_SIGNAL_SAFE int journal_store(const struct store *store, const uint8_t *before, const uint8_t *after) {
    struct journal *j = &mw.journal;
    if (unlikely(store->mask & MW_MASK_WHOLE)) return store_whole(store, before, after);
    if (unlikely(!atomic_load_explicit(&j->open, memory_order_acquire))) return MW_ERR_NO_JOURNAL;
    if (unlikely(mw_thread.named != j->generation)) introduce_thread(j);
    uint32_t n = store->length, head = store->call ? (uint32_t)sizeof *store->call : 0;
    uint32_t stack = store->stack, end = head + 2 * n, size = end;
    uint64_t own = store->refusable ? mw_thread.promised : 0;
    struct ahead ahead[2];
    unsigned count = 0;
    if (stack) {
        size += (uint32_t)sizeof stack;
        if (unlikely(!is_told(j, stack))) ahead[count++] = stack_ahead(stack);
    }
    struct ahead *request = &ahead[count];
    if (likely(!store->request) || unlikely(!request_ahead(store, request))) {
        request = NULL;
    } else {
        size += (uint32_t)sizeof request->id;
        count++;
    }
    if (store->native) size += (uint32_t)sizeof store->native;
    if (store->activation) size += (uint32_t)sizeof store->activation;
    unsigned slots = slots_for(size, FIRST_PAYLOAD_STORE);
    struct mwj_slot *slot = likely(!count)          ? reserve(j, slots, own)
                            : count == 1 && request ? reserve_told(j, slots, own, request)
                                                    : NULL;
    if (unlikely(!slot) && count) slot = reserve_with(j, slots, own, ahead, count);
    if (unlikely(!slot)) return unrecorded(j, store);
    slot->tid = store->tid;
    slot->time = clock_now();
    slot->id = store->variable;
    slot->store.offset = store->offset;
    slot->store.length = n;
    slot->store.site = store->site;
    slot->store.context = store->context;
    put_both(slot, head, store, before, after);
    unsigned flags = store->flags;
    if (stack) {
        put_id(slot, &end, stack);
        flags |= MWJ_HAS_STACK;
    }
    if (request && likely(!request->changed)) {
        put_id(slot, &end, request->id);
        flags |= MWJ_HAS_REQUEST;
    }
    if (store->native) {
        put_id(slot, &end, store->native);
        flags |= MWJ_NATIVE;
    }
    if (store->activation) {
        put_id(slot, &end, store->activation);
        flags |= MWJ_OF_ACTIVATION;
    }
    commit(slot, MWJ_STORE, slots, store->how, flags);
    return MW_OK;
}

uint64_t journal_slots_for(uint64_t length) {
    uint64_t whole = length / MW_EVENT_MAX, rest = length % MW_EVENT_MAX;
    return whole * slots_for(2 * MW_EVENT_MAX + 8, FIRST_PAYLOAD_STORE) +
           (rest ? slots_for(2 * (uint32_t)rest + 8, FIRST_PAYLOAD_STORE) : 0);
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
    struct mwj_variable record = {.flags = v->flags & ~MW_OWN_FLAGS};
    if (v->flags & MW_LATER) record.flags |= MWJ_UNTOLD | MWJ_LATER;
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

MW_SIGNAL_SAFE int journal_unregistered(uint32_t id, struct variable *v, const mw_ending *ending) {
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
