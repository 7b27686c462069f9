/* origins.cc - what an event says of where a store came from: the core's origin provider. Some stacks are kept as they
 * lay there: of a thread that comes back, the frames are compared and nothing is looked up. Async-signal-safe. */
#include <algorithm>

#include "contexts.h"
#include "frames.h"

using namespace memwatch;

static unsigned callers_most; /* for each event; 0: none are asked for */

static void tell(state *s, const finding &found, mw_origin *origin) {
    place *p = found.best ? found.best : found.internal;
    origin->site = p ? p->site : 0;
    origin->inexact = !p || !p->exact || found.unknown;
    if (origin->inexact) s->counts.inexact++;
}

/* Whether the stack is the one that was found before. A frame's words are read only once it is known that it lay
 * there before. */
static bool is_kept(const struct stack *kept, const ucontext_t *context) {
    uintptr_t pc = (uintptr_t)context->uc_mcontext.gregs[REG_RIP],
              frame = (uintptr_t)context->uc_mcontext.gregs[REG_RBP];
    if (!kept->levels || (kept->looks && *(uintptr_t *)context->uc_mcontext.gregs[REG_RSP] - 1 != kept->above))
        return false;
    const struct level *end = kept->level + kept->levels - 1;
    for (const struct level *l = kept->level;; l++) {
        if (l->frame != frame || l->pc != pc) return false;
        if (l->array && (*(uintptr_t *)(frame - 32) != l->array || *(uintptr_t *)(frame - 40) != l->offset))
            return false;
        if (l->up != frame && *(uintptr_t *)(frame - 64) != l->up) return false;
        if (l == end) return true;
        frame = *(uintptr_t *)l->up;
        pc = *(uintptr_t *)(l->up + 8) - 1;
    }
}

/* Where a stack is kept: by where it stands and where its caller does. */
static struct stack *kept_at(state *s, const ucontext_t *context) {
    uintptr_t pc = (uintptr_t)context->uc_mcontext.gregs[REG_RIP], sp = (uintptr_t)context->uc_mcontext.gregs[REG_RSP],
              frame = (uintptr_t)context->uc_mcontext.gregs[REG_RBP], key = pc ^ frame << 20;
    if (!is_on_stack(s, frame, sp)) return nullptr;
    uintptr_t up = *(uintptr_t *)frame;
    key += *(uintptr_t *)(frame + 8) * 3;
    if (is_on_stack(s, up, sp)) key += *(uintptr_t *)(up - 40) >> 29;
    return &s->stacks[hash_to_bits(key, STACK_BITS)];
}

/* The site and its callers. */
static void whole_origin(state *s, const ucontext_t *context, mw_origin *origin) {
    struct stack *kept = s->stacks_busy ? nullptr : kept_at(s, context);
    if (kept && is_kept(kept, context)) {
        origin->site = kept->site->site;
        origin->stack = kept->callers;
        origin->inexact = !kept->exact;
        if (origin->inexact) s->counts.inexact++;
        return;
    }
    finding found;
    found.best = found.internal = nullptr;
    found.unknown = found.cut = found.inexact = found.copied = false;
    found.count = 0;
    found.most = callers_most;
    s->counts.walks++;
    uintptr_t pc = (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
    if (!is_builtin(s, pc) && !code_at(s, pc) &&
        !leads_out(s, (uintptr_t)context->uc_mcontext.gregs[REG_RBP], (uintptr_t)context->uc_mcontext.gregs[REG_RSP])) {
        kept = nullptr;
        sample(s, context, &found);
    }
    if (kept) {
        s->stacks_busy = s->recent_any = true;
        kept->levels = 0;
        kept->looks = false;
    }
    if (!found.best) {
        bool whole = walk(s, context, &found, kept);
        if (!whole && !found.best) sample(s, context, &found);
        found.inexact |= !whole;
    }
    tell(s, found, origin);
    uint32_t flags = (found.cut ? MW_STACK_CUT : 0) | (found.inexact || origin->inexact ? MW_STACK_INEXACT : 0);
    origin->stack = mw_intern_stack(found.sites, found.count, flags);
    if (!kept) return;
    if (found.inexact || found.unknown || found.copied || !found.best || !found.best->known) kept->levels = 0;
    kept->site = found.best;
    kept->callers = origin->stack;
    kept->exact = !origin->inexact;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    s->stacks_busy = false;
}

unsigned memwatch::callers_of_store(state *s, const ucontext_t *after, uint32_t *sites, unsigned most, bool *cut) {
    ucontext_t at;
    at.uc_mcontext = after->uc_mcontext;
    at.uc_mcontext.gregs[REG_RIP]--; /* within the instruction that has stored, or the call */
    finding found{};
    found.most = std::min(most, (unsigned)CALLERS_MOST);
    uintptr_t pc = (uintptr_t)at.uc_mcontext.gregs[REG_RIP];
    bool leads = is_builtin(s, pc) || code_at(s, pc) ||
                 leads_out(s, (uintptr_t)at.uc_mcontext.gregs[REG_RBP], (uintptr_t)at.uc_mcontext.gregs[REG_RSP]);
    if (!leads) sample(s, &at, &found);
    if (!found.best && !walk(s, &at, &found, nullptr) && !found.best) sample(s, &at, &found);
    memcpy(sites, found.sites, found.count * sizeof *sites);
    *cut = found.cut;
    return found.count;
}

int isolate_keep_callers(unsigned most) {
    int error = most ? mw_keep_stacks() : MW_OK;
    if (!error) __atomic_store_n(&callers_most, std::min(most, (unsigned)CALLERS_MOST), __ATOMIC_RELEASE);
    return error;
}

extern "C" void isolate_origin(const void *ucontext, mw_origin *origin) {
    state *s = self;
    if (!s || !ucontext) return; /* a thread without JavaScript: no line of the program */
    const ucontext_t *context = (const ucontext_t *)ucontext;
    origin->context = context_of(s);
    if (s->asked && (origin->request = s->asked->find())) origin->request_serial = origin->request->serial;
    if (callers_most) return whole_origin(s, context, origin);
    uintptr_t pc = (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
    auto &recent = s->recent_of(pc);
    finding found{};
    if (recent.pc == pc) {
        found.best = recent.at;
    } else {
        s->counts.walks++;
        if (!walk(s, context, &found, nullptr) && !found.best) sample(s, context, &found);
        code *c = code_at(s, pc);
        if (found.best && c && !c->bytecode && c->from) { /* optimised code: the same place whenever it stores here */
            place *p = place_in(c, pc);
            if (p == found.best) s->keep(recent, {pc, c, p});
        }
    }
    tell(s, found, origin);
}
