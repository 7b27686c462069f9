/* condition_texts.c - see condition_texts.h. Thread names and statements are kept as they are told, so that a fault
 * needs no lock for them: an entry that is being written just isn't known. */
#include "journal/condition_texts.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/digits.h"
#include "base/syscalls.h"
#include "base/thread.h"
#include "journal/sites.h"
#include "memwatch.h"
#include "state.h"

enum { LINE_DIGITS = 20, NAME_OF_THREAD = 16 };

/* Odd: somebody writes. */
MW_SIGNAL_SAFE static bool begin(_Atomic uint32_t *sequence, uint32_t *seen) {
    *seen = atomic_load_explicit(sequence, memory_order_acquire);
    return !(*seen & 1) && atomic_compare_exchange_strong(sequence, seen, *seen + 1);
}

MW_SIGNAL_SAFE static size_t characters_within(const char *text, size_t length, size_t most) {
    if (length <= most) return length;
    while (most && ((uint8_t)text[most] & 0xC0) == 0x80) most--;
    return most;
}

/* ---- threads ---- */

MW_SIGNAL_SAFE void condition_names_thread(uint32_t tid, const char *name, size_t length) {
    struct named_thread *t = &mw.condition_texts.threads[tid % THREADS_NAMED];
    uint32_t seen;
    if (!begin(&t->sequence, &seen)) return;
    t->tid = tid;
    t->length = (uint32_t)characters_within(name, length, sizeof t->name);
    memcpy(t->name, name, t->length);
    atomic_store_explicit(&t->sequence, seen + 2, memory_order_release);
    atomic_fetch_add(&mw.condition_texts.named, 1);
}

/* The name that the kernel knows, of a thread that has no other. */
MW_SIGNAL_SAFE static struct value name_of_this(char room[THREAD_ROOM]) {
    size_t n = 0;
    raw_syscall4(SYS_prctl, PR_GET_NAME, (long)room, 0, 0);
    while (n < NAME_OF_THREAD && room[n]) n++;
    return value_text(V_TEXT, room, n);
}

MW_SIGNAL_SAFE struct value text_of_thread(uint32_t tid, char room[THREAD_ROOM], bool *passing) {
    struct named_thread *t = &mw.condition_texts.threads[tid % THREADS_NAMED];
    uint32_t seen = atomic_load_explicit(&t->sequence, memory_order_acquire), length = t->length;
    bool ours = !(seen & 1) && t->tid == tid && length <= THREAD_ROOM;
    if (ours) memcpy(room, t->name, length);
    atomic_thread_fence(memory_order_acquire);
    if (ours && seen == atomic_load_explicit(&t->sequence, memory_order_relaxed))
        return value_text(V_TEXT, room, length);
    *passing = true;
    return tid == thread_id() ? name_of_this(room) : value_of(V_UNKNOWN);
}

/* ---- places ---- */

MW_SIGNAL_SAFE struct value text_of_site(uint32_t id, enum predicate_op op, char room[SITE_ROOM]) {
    if (!id || id > mw.sites.count) return value_of(V_UNKNOWN);
    const struct site *site = &mw.sites.rows[mw.sites.order[id]];
    uint32_t n = site->file_length;
    if (op == P_LINE) return value_int(site->line);
    if (op == P_FILE) return value_text(V_TEXT, site->text, n);
    if (op == P_FUNCTION) return value_text(V_TEXT, site->text + n, site->function_length);
    uint32_t skipped = n > SITE_ROOM - LINE_DIGITS - 1 ? n - (SITE_ROOM - LINE_DIGITS - 1) : 0;
    memcpy(room, site->text + skipped, n - skipped);
    room[n - skipped] = ':';
    return value_text(V_TEXT, room, (uint64_t)(put_decimal(room + (n - skipped) + 1, site->line) - room));
}

void mw_set_subject(const char *path, size_t length) {
    mw_thread.subject = path;
    mw_thread.subject_length = (uint32_t)length;
    mw_thread.subject_path = NULL;
    mw_thread.subject_number = 0;
}

void mw_set_subject_by(mw_path_hook path, uint64_t number) {
    mw_thread.subject = NULL;
    mw_thread.subject_path = path;
    mw_thread.subject_number = number;
}

MW_SIGNAL_SAFE const char *path_of_subject(uint32_t *length) {
    if (!mw_thread.subject && mw_thread.subject_path) {
        size_t n = 0;
        mw_thread.subject = mw_thread.subject_path(&n);
        mw_thread.subject_length = (uint32_t)n;
    }
    *length = mw_thread.subject ? mw_thread.subject_length : 0;
    return mw_thread.subject;
}

MW_SIGNAL_SAFE struct value text_of_path(bool announced) {
    uint32_t length;
    const char *path = announced ? path_of_subject(&length) : NULL;
    return path ? value_text(V_TEXT, path, length) : value_of(V_UNKNOWN);
}

/* ---- statements ---- */

void mw_context_says(uint32_t context, const char *text, size_t length) {
    struct kept_statement *s = &mw.condition_texts.statements[context % STATEMENTS_KEPT];
    uint32_t seen;
    if (!begin(&s->sequence, &seen)) return;
    s->context = context;
    s->length = (uint16_t)characters_within(text, length, sizeof s->text);
    s->cut = s->length < length;
    memcpy(s->text, text, s->length);
    atomic_store_explicit(&s->sequence, seen + 2, memory_order_release);
}

MW_SIGNAL_SAFE struct value text_of_statement(uint32_t context, char room[STATEMENT_ROOM]) {
    if (!context) return value_of(V_NONE);
    struct kept_statement *s = &mw.condition_texts.statements[context % STATEMENTS_KEPT];
    uint32_t seen = atomic_load_explicit(&s->sequence, memory_order_acquire), length = s->length;
    bool ours = !(seen & 1) && s->context == context && length <= STATEMENT_ROOM, cut = s->cut;
    if (ours) memcpy(room, s->text, length);
    atomic_thread_fence(memory_order_acquire);
    if (!ours || seen != atomic_load_explicit(&s->sequence, memory_order_relaxed)) return value_of(V_UNKNOWN);
    struct value v = value_text(V_TEXT, room, length);
    v.cut = cut;
    return v;
}
