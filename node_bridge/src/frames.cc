/* frames.cc - see frames.h.
 *
 * At a store the thread stands still in our signal handler, so its own map and its own stack do too: the program
 * counter lies in optimised code, or a frame up the chain of frame pointers is an interpreted one and says how far it
 * has come. Where a frame belongs to a function that the map doesn't know (a debugger's copy of one, say), what is
 * found above is its caller: inexact.
 *
 * Call stacks. Above the store, the same chain goes on: each frame is one of the interpreter, of optimised code, which
 * stands for the functions inlined in it too, of a builtin, which is left out, or the one by which C++ has entered
 * JavaScript, which has where JavaScript had called C++ before. */
#include "frames.h"

#include <sys/uio.h>
#include <unistd.h>

namespace memwatch {

bool is_builtin(const state *s, uintptr_t pc) { return within(s->text[2], pc) || within(s->text[1], pc); }

bool is_on_stack(const state *s, uintptr_t frame, uintptr_t sp) {
    return frame >= sp && frame + 16 <= s->stack_top && !(frame & 7);
}

namespace {

bool is_code(state *s, uintptr_t pc) {
    for (const range &r : s->text)
        if (within(r, pc)) return true;
    return code_at(s, pc) != nullptr;
}

/* The program's code there; nothing is looked up for node's own and for V8's builtins. */
code *program_code_at(state *s, uintptr_t pc) {
    return within(s->text[0], pc) || within(s->text[2], pc) ? nullptr : code_at(s, pc);
}

bool is_interpreter(const state *s, uintptr_t pc) {
    return within(s->interpreter[0], pc) || within(s->interpreter[1], pc);
}

/* Whether what isn't in the map is machine code that V8 has made and not told of. What goes on where optimised code was
 * left is called by nobody: its frame returns to where a builtin begins. */
bool is_untold(state *s, uintptr_t pc) {
#if V8_MAJOR_VERSION < 12 /* it has a copy of its builtins there, and doesn't tell where */
    (void)s, (void)pc;
    return false;
#else
    return within(s->text[1], pc) && !within(s->text[2], pc) && !code_at(s, pc + 1);
#endif
}

/* The instruction at which a frame of the interpreter is, 0 if it can't be one. That has its context at -8, where what
 * is no function has a small integer; the bytecode array at -32 and the offset, a small integer, at -40. */
uintptr_t bytecode_of(uintptr_t frame, uintptr_t *array) {
    uintptr_t context = *(uintptr_t *)(frame - 8), offset = *(uintptr_t *)(frame - 40);
    *array = *(uintptr_t *)(frame - 32);
    return (context & 3) == 1 && (*array & 3) == 1 && !(offset & 0xffffffff) ? *array + (offset >> 32) : 0;
}

const code *function_of(const code *c, const place *p) {
    return p->call < 0 ? c->own.get() : c->calls[(size_t)p->call].function.get();
}

/* What stands at `pc` in machine code: its function, or those inlined in it up to its function. */
bool take_machine_code(state *s, code *c, uintptr_t pc, bool calls, finding *found) {
    const uint8_t *next = (const uint8_t *)pc + 1;
    place *p = place_in(c, pc);
    /* A call that will come back to where the code is left, since it is no longer valid: at another place than it was
     * made from. */
    bool left = calls && next[0] == 0x41 && next[1] == 0xff && (next[2] & 0xbf) == 0x15, told = c->told;
    if (told && (left || p == &c->whole || (!found->best && !can_store(s, function_of(c, p), p)))) told = false;
    if (!told) {
        bool done = found->take(c->told || left ? resolve_whole(c) : resolve(s, c, pc));
        if (!done && !c->alone) found->miss();
        return done;
    }
    for (;; p = &c->calls[(size_t)p->call].at) {
        const code *function = function_of(c, p);
        if (!p->known) resolve_inlined(c, function, p);
        if (!function) found->miss();
        if (found->take(p)) return true;
        if (p->call < 0) return false;
    }
}

/* The array is believed only if the map knows it: at `c` lies its first instruction, or what V8 didn't tell of has come
 * where another has lain. */
bool is_of(state *s, const code *c, uintptr_t array) {
    if (!c || !c->bytecode || !c->from) return false;
    if (!s->header) s->header = c->start - array;
    return c->start - array == s->header;
}

/* What a bytecode array begins with: how long it is, and its tables. By a system call, since it may be gone. */
struct head {
    enum {
        TABLES = V8_MAJOR_VERSION < 12 ? 2 : 3,
        WORDS = TABLES + 3
    }; /* from 12 on, a word of its own is before them */
    uintptr_t words[WORDS];
    bool read(uintptr_t array) {
        struct iovec here = {words, sizeof words}, there = {(void *)(array - 1), sizeof words};
        return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == (ssize_t)sizeof words;
    }
    uintptr_t length() const { return words[1] >> 32; }
    bool operator==(const head &other) const {
        return words[1] == other.words[1] && !memcmp(words + TABLES, other.words + TABLES, 3 * sizeof *words);
    }
};

/* Where a debugger stops, the function runs from a copy of its bytecode, which V8 doesn't tell of: that has the
 * original's tables. */
code *original_of(state *s, uintptr_t array) {
    head copy, other;
    if (!s->header || !copy.read(array)) return nullptr;
    for (auto &entry : s->codes) {
        code *c = entry.second.get();
        if (!c->bytecode || !c->from || c->size != copy.length()) continue;
        if (other.read(c->start - s->header) && other == copy) return c;
    }
    return nullptr;
}

/* Asked where the interpreter runs alone: in a frame of a builtin or of C++, what one that is gone has left may still
 * lie there. */
place *interpreted(state *s, uintptr_t frame, finding *found) {
    uintptr_t array, pc = bytecode_of(frame, &array);
    if (!pc) return nullptr;
    auto &recent = s->recent_of(pc);
    if (recent.pc == pc) return recent.at;
    code *c = code_at(s, pc);
    if (!is_of(s, c, array)) {
        c = original_of(s, array);
        found->copied |= c != nullptr;
        if (c) return resolve(s, c, c->start + (pc - array - s->header));
        found->miss();
        return nullptr;
    }
    place *p = resolve(s, c, pc);
    if (p->known) s->keep(recent, {pc, c, p});
    return p;
}

/* A frame of no function has a mark, small and even, where others have their context. */
bool has_mark(uintptr_t frame) {
    enum { MARKS = 128 };
    uintptr_t mark = *(uintptr_t *)(frame - 8);
    return mark < MARKS && !(mark & 1);
}

/* By this frame C++ has entered JavaScript. */
bool is_entry(const state *s, uintptr_t pc, uintptr_t frame) {
    uintptr_t mark = *(uintptr_t *)(frame - 8);
    return (mark == 2 || mark == 4) && is_builtin(s, pc);
}

/* From there, the frame by which JavaScript had called C++ before; 0: it hadn't. False: not known. */
bool left_from(const state *s, uintptr_t frame, uintptr_t *exit) {
    enum { EXIT = 64, FAST = 72 };
    *exit = *(uintptr_t *)(frame - EXIT);
#if V8_MAJOR_VERSION >= 13 /* a call that leaves no frame */
    if (*(uintptr_t *)(frame - FAST)) return false;
#endif
    if (!*exit) return true;
    if (*exit <= frame || *exit + 16 > s->stack_top || *exit & 7) return false;
    return has_mark(*exit) && is_code(const_cast<state *>(s), *(uintptr_t *)(*exit + 8) - 1);
}

/* What stands in a frame of V8's builtins: those of the interpreter have one of the interpreter's. At the top, a
 * builtin without a frame of its own has its caller's, and on the stack where it returns to. */
bool take_builtin(state *s, struct level *at, uintptr_t sp, bool top, finding *found, struct stack *kept) {
    bool looks = top && !is_interpreter(s, at->pc);
    uintptr_t owner = looks ? *(uintptr_t *)sp - 1 : at->pc;
    if (kept && looks) kept->looks = true, kept->above = owner;
    if (is_interpreter(s, owner)) {
        if (bytecode_of(at->frame, &at->array)) at->offset = *(uintptr_t *)(at->frame - 40);
        if (!at->offset) at->array = 0;
        place *p = interpreted(s, at->frame, found);
        return p && found->take(p);
    }
    code *caller = looks && !has_mark(at->frame) ? program_code_at(s, owner) : nullptr;
    if (!caller || caller->bytecode || !caller->from) return false;
    found->miss(); /* or that lies there from before, and the frame is the builtin's own */
    return take_machine_code(s, caller, owner, true, found);
}

} // namespace

/* Up the chain of frame pointers. False if it broke before all was found that is asked for. */
bool walk(state *s, const ucontext_t *context, finding *found, struct stack *kept) {
    uintptr_t sp = (uintptr_t)context->uc_mcontext.gregs[REG_RSP],
              frame = (uintptr_t)context->uc_mcontext.gregs[REG_RBP];
    struct level at = {(uintptr_t)context->uc_mcontext.gregs[REG_RIP], frame, 0, 0, frame};
    unsigned most = found->most ? UINT16_MAX : 64;
    for (unsigned depth = 0; depth < most; depth++) {
        code *c = program_code_at(s, at.pc);
        bool in_stack = is_on_stack(s, at.frame, sp), done = false;
        if (c && !c->bytecode && c->from) {
            done = take_machine_code(s, c, at.pc, depth, found);
        } else if (!c && is_untold(s, at.pc)) {
            found->miss();
        } else if (in_stack && at.frame - 40 >= sp - 128 && is_builtin(s, at.pc)) {
            done = take_builtin(s, &at, sp, !depth, found, kept);
        }
        if (!in_stack) return done;
        if (!done && is_entry(s, at.pc, at.frame) && !left_from(s, at.frame, &at.up)) return false;
        if (kept && depth < KEPT_LEVELS) kept->level[depth] = at;
        if (kept) kept->levels = depth < KEPT_LEVELS ? depth + 1 : 0;
        if (done) return true;
        if (!at.up) return found->best || found->internal;
        uintptr_t up = *(uintptr_t *)at.up, pc = *(uintptr_t *)(at.up + 8) - 1; /* the call, not what follows it */
        if (!is_code(s, pc)) return false;
        if (up <= at.frame) return found->internal && !found->best;
        at = {pc, up, 0, 0, up};
    }
    return false;
}

namespace {

/* The bytecode array of a frame on the stack that is at this instruction; 0: it is no bytecode. */
uintptr_t array_at(const state *s, uintptr_t pc, uintptr_t sp) {
    for (const range &r : s->text)
        if (within(r, pc)) return 0;
    for (uintptr_t frame = ((sp + 7) & ~(uintptr_t)7) + 40, array; frame < s->stack_top; frame += 8)
        if (bytecode_of(frame, &array) == pc) return array;
    return 0;
}

} // namespace

/* Where C++ used the frame pointer for something else: V8's own sampler knows where the last JavaScript frame is. */
void sample(state *s, const ucontext_t *context, finding *found) {
    v8::RegisterState registers;
    registers.pc = (void *)context->uc_mcontext.gregs[REG_RIP];
    registers.sp = (void *)context->uc_mcontext.gregs[REG_RSP];
    registers.fp = (void *)context->uc_mcontext.gregs[REG_RBP];
    v8::SampleInfo info;
    void *frames[LEVELS];
    size_t most = found->most ? LEVELS : 32;
    s->isolate->GetStackSample(registers, frames, most, &info);
    for (size_t i = 0; i < info.frames_count && i < most; i++) {
        uintptr_t pc = (uintptr_t)frames[i];
        code *c = code_at(s, pc);
        if (c && !c->bytecode) c = code_at(s, --pc);
        uintptr_t array = array_at(s, pc, (uintptr_t)registers.sp);
        if (array ? !is_of(s, c, array) : !c && is_untold(s, pc)) {
            found->miss();
        } else if (c && c->from) {
            if (c->bytecode ? found->take(resolve(s, c, pc)) : take_machine_code(s, c, pc, true, found)) return;
        }
    }
    if (found->most && info.frames_count >= most) found->cut = found->inexact = true;
}

namespace {

/* Where the stack was when C++ was called from this frame of V8's, in which JavaScript is left: behind the address that
 * the call comes back to. 0: it is no such frame. */
uintptr_t left_at(const state *s, uintptr_t frame, uintptr_t sp) {
    if (!is_on_stack(s, frame, sp) || frame - 16 < sp) return 0;
    uintptr_t left = *(uintptr_t *)(frame - 16);
    bool is = has_mark(frame) && left > sp && left < frame && !(left & 7);
    return is && is_builtin(s, *(uintptr_t *)(left - 8) - 1) ? left : 0;
}

} // namespace

/* Whether the chain of frame pointers leads from C++ to such a frame. Else C++ may use them for something else. */
bool leads_out(state *s, uintptr_t frame, uintptr_t sp) {
    enum { FRAMES_MOST = 32 };
    if (left_at(s, frame, sp)) return true;
    for (int i = 0; i < FRAMES_MOST && is_on_stack(s, frame, sp); i++) {
        uintptr_t up = *(uintptr_t *)frame, pc = *(uintptr_t *)(frame + 8) - 1;
        if (is_builtin(s, pc)) return left_at(s, up, sp) == frame + 16;
        if (up <= frame || !within(s->text[0], pc)) return false;
        frame = up;
    }
    return false;
}

} // namespace memwatch
