/* stacks.c - the call stack of the calling thread: without the GIL, without allocating, without references.
 *
 * Most stores come from where the last one came from, or from one of a few places. So each thread keeps its last stack,
 * frame by frame: as long as each frame lies where it lay and stands at the same instruction, the stack is the same,
 * and no code object has to be looked at. All frames have to be compared: an address is used for one frame after
 * another, so equal frames can have other callers. Of some stacks before the last one a hash of all instructions is
 * kept.
 *
 * That an instruction at this address belongs to the code that was there before is known by a generation (freed.h):
 * another code object can't lie there, on this thread's stack, before the next one. */
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#define Py_BUILD_CORE_MODULE 1
#include "origins/freed.h"
#include "origins/interrupted.h"
#include "origins/owned.h"
#include "origins/sites.h"
#include "origins/stacks.h"

enum { THREADS = 128 };
enum { LEVELS = 2 * MWPY_STACK_MOST + 8 }; /* where C calls Python, an entry frame comes between */
enum { LEFT_OUT = 8 };
enum { NEAR_BITS = 9, TURN_BITS = 8, WHOLE_BITS = 9 };

struct level {
    const mwpy_frame *frame;
    const _Py_CODEUNIT *instruction;
    uint32_t site;
    bool skipped; /* an incomplete frame, or left out: as if it weren't there */
};

struct near { /* the site of an instruction */
    const _Py_CODEUNIT *instruction;
    const PyCodeObject *code;
    uint64_t generation;
    uint32_t site;
};

struct turn { /* the same frames by the sites of the callers */
    uint64_t sum[2];
    uint32_t callers;
};

struct whole {              /* a stack by its instructions, those of incomplete frames too */
    uint64_t hash[2], rest; /* of the first frames, as many as the limit; of those after them */
    uint64_t generation;
    mwpy_stack stack;
    uint16_t levels;
    bool cut;
};

struct recent {     /* what a thread keeps */
    uint32_t owner; /* thread id; 0: free */
    bool busy;      /* it is being changed: a signal handler that stores does without */
    uint64_t generation;
    unsigned levels; /* of the last stack; 0: none */
    bool cut;        /* it has more frames */
    bool sited;      /* the sites of its levels are known */
    mwpy_stack stack;
    uint64_t sum[2];         /* if sited: of the sites of the callers */
    const struct whole *met; /* the last one that was found by its hash, and its innermost frame */
    const mwpy_frame *met_at;
    struct level level[LEVELS]; /* the innermost first */
    struct near near[1 << NEAR_BITS];
    struct turn turn[1 << TURN_BITS];
    struct whole whole[1 << WHOLE_BITS];
};

unsigned mwpy_stack_limit = 1;

static struct recent *recents; /* THREADS of them; a forked child finds zeros here */
static mwpy_freed codes;
static uint64_t keys[3][LEVELS]; /* of the hashes: odd, random */
static destructor free_code;
static PyObject *left_out[LEFT_OUT]; /* strong: code objects */
static unsigned left_out_n;

MWPY_THREAD mwpy_owner mine;

static void forget_code(PyObject *code) {
    mwpy_forget(&codes, code);
    free_code(code);
}

/* ---- what a thread keeps ----------------------------------------------------------------------------------------- */

static void begin(void *row) {
    ((struct recent *)row)->generation = 0;
    ((struct recent *)row)->busy = false;
}

static inline struct recent *own(void) {
    struct recent *r = mwpy_own_row(&mine);
    return __builtin_expect(r != NULL, 1) ? r : mwpy_claim_row(&mine, recents, THREADS, sizeof *r, begin);
}

/* ---- a stack from its frames ------------------------------------------------------------------------------------- */

/* The sites of the callers: of all levels that count but the first. */
static uint32_t callers_of(const struct level *levels, unsigned n, bool cut) {
    uint32_t sites[MWPY_STACK_MOST];
    unsigned count = 0;
    for (const struct level *at = levels, *end = levels + n; at < end && count < MWPY_STACK_MOST; at++)
        if (!at->skipped) sites[count++] = at->site;
    return count ? mw_intern_stack(sites + 1, count - 1, cut ? MW_STACK_CUT : 0) : 0;
}

/* Of callers: whether it is one of those that run the program. */
static bool is_left_out_code(const PyObject *code) {
    for (unsigned i = 0; i < left_out_n; i++)
        if (code == left_out[i]) return true;
    return false;
}

static bool is_left_out(const mwpy_frame *f) { return is_left_out_code(mwpy_frame_executable(f)); }

static inline struct near *near_at(struct recent *r, const _Py_CODEUNIT *instruction) {
    return &r->near[((uintptr_t)instruction >> 1) * HASH_FACTOR >> (64 - NEAR_BITS)];
}

static uint32_t learn_near(struct near *near, const _Py_CODEUNIT *instruction, const mwpy_place *at, uint64_t now) {
    uint32_t site = mwpy_site_of(at);
    mwpy_keep(&codes, at->code, now);
    if (site) *near = (struct near){instruction, at->code, now, site}; /* else there may be room later */
    return site;
}

static uint32_t near_site(struct recent *r, const mwpy_frame *f, uint64_t now) {
    const _Py_CODEUNIT *instruction = mwpy_frame_instruction(f);
    struct near *near = near_at(r, instruction);
    if (near->instruction == instruction && near->generation == now) return near->site;
    mwpy_place at = mwpy_place_in(f);
    return learn_near(near, instruction, &at, now);
}

static mwpy_stack without_caches(const mwpy_frame *f) {
    uint32_t sites[MWPY_STACK_MOST];
    unsigned count = 0, limit = mwpy_stack_limit;
    for (; f; f = f->previous) {
        if (mwpy_frame_is_incomplete(f) || (count && is_left_out(f))) continue;
        if (count == limit) break;
        mwpy_place at = mwpy_place_in(f);
        sites[count++] = mwpy_site_of(&at);
    }
    return count ? (mwpy_stack){sites[0], mw_intern_stack(sites + 1, count - 1, f ? MW_STACK_CUT : 0)}
                 : (mwpy_stack){0, 0};
}

/* Whether a frame counts is known by its instruction alone, but for frames that have just begun. */
static inline bool has_begun(const mwpy_frame *f) {
    PyObject *code = mwpy_frame_executable(f);
    return code && PyCode_Check(code) && mwpy_frame_instruction(f) >= mwpy_first_traceable(code);
}

/* The frames as levels, without sites. Returns how many; *usable: whether the caches may keep them. */
static unsigned walk(const mwpy_frame *f, struct level *levels, bool *cut, bool *usable) {
    unsigned n = 0, count = 0, limit = mwpy_stack_limit;
    *usable = true;
    for (; f && n < LEVELS; f = f->previous, n++) {
        bool skipped = mwpy_frame_is_incomplete(f) || (count && is_left_out(f));
        if (!skipped && count++ == limit) break;
        levels[n] = (struct level){f, mwpy_frame_instruction(f), 0, skipped};
        *usable &= mwpy_frame_is_entry(f) || has_begun(f);
    }
    *cut = f;
    return n;
}

/* ---- known by a hash --------------------------------------------------------------------------------------------- */

/* The hashes are multilinear: whoever doesn't know the keys can't choose instructions whose hashes are equal. */
static inline void mix(uint64_t hash[2], uint64_t number, unsigned i) {
    hash[0] += number * keys[0][i];
    hash[1] += number * keys[1][i];
}

static inline size_t place_of(const uint64_t hash[2], unsigned bits) {
    return (hash[0] ^ hash[1] >> 7) * HASH_FACTOR >> (64 - bits);
}

/* These three change what is kept. False in *usable: it can't be used. */

static __attribute__((noinline)) mwpy_stack anew(struct recent *r, const mwpy_frame *top, uint64_t now, bool *usable) {
    unsigned limit = mwpy_stack_limit, n = walk(top, r->level, &r->cut, usable);
    r->stack = (mwpy_stack){0, 0};
    r->sum[0] = r->sum[1] = n << 1 | r->cut;
    for (unsigned i = 0, count = 0; i < n; i++) {
        if (r->level[i].skipped) continue;
        uint32_t site = r->level[i].site = near_site(r, r->level[i].frame, now);
        *usable &= site != 0;
        if (!count++)
            r->stack.site = site;
        else
            mix(r->sum, site, i);
    }
    r->stack.callers = callers_of(r->level, n, r->cut);
    r->levels = n;
    if (!*usable) return r->stack;
    r->sited = true;
    uint64_t hash[2] = {0, 0}, rest = 0;
    for (unsigned i = 0; i < n; i++)
        if (i < limit)
            mix(hash, (uintptr_t)r->level[i].instruction, i);
        else
            rest += (uintptr_t)r->level[i].instruction * keys[2][i];
    r->whole[place_of(hash, WHOLE_BITS)] = (struct whole){{hash[0], hash[1]}, rest, now, r->stack, (uint16_t)n, r->cut};
    return r->stack;
}

/* The same frames as last time, but some stand at other instructions, the outermost of them at level `last`. */
static __attribute__((noinline)) mwpy_stack elsewhere(struct recent *r, unsigned last, uint64_t now, bool *usable) {
    bool first = true, called = false;
    for (unsigned i = 0; i <= last; i++) {
        struct level *at = &r->level[i];
        const _Py_CODEUNIT *instruction = mwpy_frame_instruction(at->frame);
        if (!at->skipped && at->instruction != instruction) {
            uint32_t before = at->site;
            at->site = near_site(r, at->frame, now);
            *usable &= at->site != 0;
            if (first) {
                r->stack.site = at->site;
            } else {
                mix(r->sum, (uint64_t)at->site - before, i);
                called = true;
            }
        }
        at->instruction = instruction;
        first &= at->skipped;
    }
    if (called) {
        struct turn *turn = &r->turn[place_of(r->sum, TURN_BITS)];
        if (turn->sum[0] != r->sum[0] || turn->sum[1] != r->sum[1])
            *turn = (struct turn){{r->sum[0], r->sum[1]}, callers_of(r->level, r->levels, r->cut)};
        r->stack.callers = turn->callers;
    }
    return r->stack;
}

/* Other frames than last time. Who is met twice in succession becomes the last stack: to copy it costs. */
static __attribute__((noinline)) mwpy_stack others(struct recent *r, const mwpy_frame *top, uint64_t now,
                                                   bool *usable) {
    unsigned n = 0, limit = mwpy_stack_limit;
    uint64_t hash[2] = {0, 0}, rest = 0;
    const mwpy_frame *f = top;
    for (; f && n < limit; f = f->previous, n++) mix(hash, (uintptr_t)mwpy_frame_instruction(f), n);
    const struct whole *w = &r->whole[place_of(hash, WHOLE_BITS)];
    if (w->hash[0] != hash[0] || w->hash[1] != hash[1] || w->levels < n || w->generation != now)
        return anew(r, top, now, usable);
    for (; f && n < w->levels; f = f->previous, n++) rest += (uintptr_t)mwpy_frame_instruction(f) * keys[2][n];
    if (n < w->levels || rest != w->rest || (!w->cut && f)) return anew(r, top, now, usable);
    if (r->met == w && r->met_at == top) {
        r->levels = walk(top, r->level, &r->cut, usable);
        r->stack = w->stack;
        r->sited = false;
    }
    r->met = w;
    r->met_at = top;
    return w->stack;
}

/* A signal handler that stores may come anywhere in here: meanwhile what is kept is of no generation. */
static mwpy_stack different(struct recent *r, const mwpy_frame *top, unsigned last) {
    if (r->busy) return without_caches(top);
    __atomic_store_n(&r->busy, true, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    uint64_t before = r->generation, now = mwpy_generation(&codes);
    bool usable = true;
    __atomic_store_n(&r->generation, 0, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    mwpy_stack stack = before != now   ? anew(r, top, now, &usable)
                       : last < LEVELS ? elsewhere(r, last, now, &usable)
                                       : others(r, top, now, &usable);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (usable) __atomic_store_n(&r->generation, now, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&r->busy, false, __ATOMIC_RELAXED);
    return stack;
}

mwpy_stack mwpy_stack_of(PyThreadState *thread) {
    const mwpy_frame *top = mwpy_top_frame(thread), *f = top;
    struct recent *r = own();
    if (!r || !top) return without_caches(top);
    const struct level *at = r->level, *end = at + r->levels, *moved = NULL;
    if (__builtin_expect(r->generation != mwpy_generation(&codes), 0)) return different(r, top, LEVELS);
    for (; at < end; at++) {
        /* Equal, if the comparison says so, but the compiler mustn't know: then the processor goes on with this one at
         * once, and needn't wait for f->previous to arrive. */
        const mwpy_frame *expected = at->frame, *guess = expected;
        __asm__("" : "+r"(guess));
        if (f != expected) break;
        f = guess;
        if (mwpy_frame_instruction(f) != at->instruction) {
            if (!r->sited || at->skipped || mwpy_frame_is_entry(f) || !has_begun(f)) break;
            moved = at;
        }
        f = f->previous;
    }
    if (at < end || (f && !r->cut)) return different(r, top, LEVELS);
    if (moved) return different(r, top, (unsigned)(moved - r->level));
    return r->stack;
}

/* ---- by a signal handler ----------------------------------------------------------------------------------------- */

static bool is_near(const void *recent, const PyObject *code, const _Py_CODEUNIT *instruction) {
    const struct near *near = near_at((struct recent *)(uintptr_t)recent, instruction);
    return near->instruction == instruction && (const PyObject *)near->code == code &&
           near->generation == mwpy_generation(&codes);
}

static uint32_t interrupted_site(struct recent *r, const mwpy_place *at, uint64_t now) {
    if (!r) return mwpy_site_of(at);
    const _Py_CODEUNIT *instruction = _PyCode_CODE(at->code) + at->unit;
    return is_near(r, (PyObject *)at->code, instruction) ? near_at(r, instruction)->site
                                                         : learn_near(near_at(r, instruction), instruction, at, now);
}

mwpy_stack mwpy_stack_interrupted(PyThreadState *thread, bool *inexact) {
    uint32_t sites[MWPY_STACK_MOST];
    unsigned count = 0, limit = mwpy_stack_limit;
    struct recent *r = limit > 1 ? own() : NULL;
    if (r && r->busy) r = NULL;
    if (r) __atomic_store_n(&r->busy, true, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    mwpy_walk walk = {.thread = thread, .is_known = is_near, .known = r, .next = mwpy_top_frame(thread)};
    uint64_t now = mwpy_generation(&codes);
    mwpy_place at;
    bool more = false;
    while ((count < limit || limit > 1) && (more = mwpy_walk_on(&walk, &at))) {
        if (count && is_left_out_code((PyObject *)at.code)) continue;
        if (count == limit) break;
        sites[count++] = interrupted_site(r, &at, now);
    }
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (r) __atomic_store_n(&r->busy, false, __ATOMIC_RELAXED);
    *inexact = walk.inexact || (!count && walk.unsure);
    if (!count) return (mwpy_stack){0, 0};
    unsigned flags = (more ? MW_STACK_CUT : 0) | (walk.unsure ? MW_STACK_INEXACT : 0);
    return (mwpy_stack){sites[0], limit > 1 ? mw_intern_stack(sites + 1, count - 1, flags) : 0};
}

/* ---- on and off -------------------------------------------------------------------------------------------------- */

static int make_room(void) {
    void *p = mwpy_make_rows(THREADS * sizeof *recents);
    if (!p) return MW_ERR_NO_MEMORY;
    if (getrandom(keys, sizeof keys, 0) != sizeof keys) {
        munmap(p, THREADS * sizeof *recents);
        return MW_ERR_NO_MEMORY;
    }
    for (int row = 0; row < 3; row++)
        for (int i = 0; i < LEVELS; i++) keys[row][i] |= 1;
    recents = p;
    return MW_OK;
}

int mwpy_keep_stacks(unsigned limit) {
    if (limit > 1) {
        int error = mw_keep_stacks();
        if (!error && !recents) error = make_room();
        if (error) return error;
    }
    if (limit > 1 && !free_code) {
        free_code = PyCode_Type.tp_dealloc;
        PyCode_Type.tp_dealloc = forget_code;
    }
    mwpy_stack_limit = limit > MWPY_STACK_MOST ? MWPY_STACK_MOST : limit;
    mwpy_next_generation(&codes); /* what is kept was made with another limit */
    return MW_OK;
}

void mwpy_leave_out_callers(void) {
    for (const mwpy_frame *f = mwpy_top_frame(mwpy_current_thread()); f && left_out_n < LEFT_OUT; f = f->previous)
        if (!mwpy_frame_is_incomplete(f) && !is_left_out(f))
            left_out[left_out_n++] = Py_NewRef(mwpy_frame_executable(f));
    mwpy_next_generation(&codes);
}
