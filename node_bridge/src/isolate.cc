/* isolate.cc - what N-API has no words for: which line stores, whose async flow it is, buffers over pages of ours.
 *
 * Lines. V8 tells of all code that it makes and moves (SetJitCodeEventHandler): bytecode with the source position of
 * each instruction, optimised code with that of most machine instructions. From this the isolate keeps a code map. At a
 * store the thread stands still in our signal handler, so its own map and its own stack do too: the program counter
 * lies in optimised code, or a frame up the chain of frame pointers is an interpreted one and says how far it has come.
 * No V8 function runs, nothing is allocated; what was found for an instruction is kept with it. Where a frame belongs
 * to a function that the map doesn't know (a debugger's copy of one, say), what is found above is its caller: inexact.
 *
 * Optimised code may contain other functions, inlined, and V8 doesn't say which position belongs to which script. It is
 * certain if V8's own tables say it (inlining.cc), if only one script has a store or a call there, or if every position
 * of the code exists in its own script; what can't be decided is marked inexact, never guessed.
 *
 * Call stacks. Above the store, the same chain goes on: each frame is one of the interpreter, of optimised code, which
 * stands for the functions inlined in it too, of a builtin, which is left out, or the one by which C++ has entered
 * JavaScript, which has where JavaScript had called C++ before. Some stacks are kept as they lay there: of a
 * thread that comes back, the frames are compared and nothing is looked up. */
#include <link.h>
#include <node.h>
#include <pthread.h>
#include <string.h>
#include <ucontext.h>
#include <v8.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "addon.h"
#include "base/hash.h"
#include "flows.h"
#include "inlining.h"
#include "sourcemap.h"
#include "text.h"
#include "tokens.h"

#if NODE_MODULE_VERSION != MW_NODE_ABI
#error "these headers are of another Node.js than the one that builds: npm_config_nodedir names the folder of its own"
#endif

namespace {

struct script {
    std::string name, file, map_url; /* as V8 names it; as people know it */
    bool internal;                   /* Node's own */
    std::unique_ptr<source_map> map;
    script_text text;

    /* Once something is watched: reading maps takes time. */
    void read_map() {
        if (!map_url.empty()) map = source_map_of(file, map_url);
        map_url.clear();
    }
};

struct place { /* one instruction that has a source position */
    uint32_t offset;
    int32_t position;
    uint32_t line, column; /* from 1; 0 if V8 wasn't asked: optimised code */
    uint8_t operation;     /* of bytecode */
    bool known, exact, internal;
    uint32_t site;
    int call; /* the inlined call by which its function came here; -1: it is the code's own */
};

struct code;
struct inlined { /* a call */
    place at;
    std::shared_ptr<const code> function; /* who is called; NULL: not in the map */
};

struct code {
    uintptr_t start;
    size_t size;
    bool bytecode;
    const script *from; /* NULL: not of a script (a builtin, a stub) */
    std::string function;
    uint32_t line, column; /* where the function begins */
    std::vector<place> places;
    place whole; /* stands for the function where its places aren't known */
    bool alone;  /* machine code in which nothing is inlined */
    bool told;   /* or it is known what */
    std::vector<inlined> calls;
    std::shared_ptr<const code> own; /* its function's bytecode; NULL: not in the map */
};

struct range {
    uintptr_t start, stop;
};

enum { LEVELS = 256, KEPT_LEVELS = 64, STACK_BITS = 4, CALLERS_MOST = 127 };

struct level { /* a frame on the stack, whoever's */
    uintptr_t pc, frame;
    uintptr_t array, offset; /* of the interpreter's: where it is; else 0 */
    uintptr_t up;            /* where its caller's frame and pc are saved; 0: it is the last one */
};

struct stack {       /* as it was found before */
    unsigned levels; /* 0: none is kept */
    bool looks;      /* the frame at the top depends on what lies at the stack pointer, */
    uintptr_t above; /* this */
    place *site;
    uint32_t callers; /* id */
    bool exact;
    struct level level[KEPT_LEVELS];
};

struct state {
    v8::Isolate *isolate;
    std::map<uintptr_t, std::shared_ptr<code>> codes; /* by start */
    std::unordered_map<int, std::unique_ptr<script>> scripts;
    bool watches;                                              /* maps have been read */
    std::unordered_map<uintptr_t, std::vector<place>> pending; /* positions come before the code that they belong to */
    bool operations[256];                                      /* of bytecode: those that store or call */
    bool operations_known;
    uintptr_t stack_top;
    range text[3];        /* where code may lie that isn't in the map */
    range interpreter[2]; /* its entries; its handlers. Anywhere, until V8 tells */
    uintptr_t header;     /* how far from a bytecode array its first instruction is; 0: not known yet */
    enum { RECENT_BITS = 9 };
    struct recent {
        uintptr_t pc; /* of machine code, or of bytecode */
        const code *in;
        place *at;
    } recent[1 << RECENT_BITS];
    bool recent_any; /* a store has put something there: of the thousands of codes of a start, none forgets anything */
    struct stack stacks[1 << STACK_BITS]; /* by what is seen of them at once */
    bool stacks_busy;                     /* one is being changed: a signal handler that stores does without */
    void keep(struct recent &where, const struct recent &found) {
        where = found;
        recent_any = true;
    }
    struct recent &recent_of(uintptr_t pc) { return recent[hash_to_bits(pc, RECENT_BITS)]; }
    uint32_t context;             /* mirrored by JavaScript */
    std::unique_ptr<flows> pulls; /* or found in these */
    std::unique_ptr<tokens> statements;
    line_counts counts;
    v8::Global<v8::Value> kept;
    state *next;
};

pthread_mutex_t states_lock = PTHREAD_MUTEX_INITIALIZER;
state *states; /* of all threads */
__thread state *self __attribute__((tls_model("initial-exec")));

/* ---- names ------------------------------------------------------------------------------------------------------- */

int hexadecimal(char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* A script's name as people know it: modules go by URLs, bundlers' too. */
std::string file_of(const std::string &name) {
    if (!name.compare(0, 10, "webpack://")) return name.substr(0, name.find('?'));
    if (name.compare(0, 8, "file:///")) return name;
    std::string path;
    for (size_t i = 7; i < name.size(); i++) {
        int high = name[i] == '%' && i + 2 < name.size() ? hexadecimal(name[i + 1]) : -1;
        int low = high >= 0 ? hexadecimal(name[i + 2]) : -1;
        path += low >= 0 ? (char)(high << 4 | low) : name[i];
        if (low >= 0) i += 2;
    }
    return path.substr(0, path.find_first_of("?#"));
}

std::string utf8(v8::Isolate *isolate, v8::Local<v8::Value> value) {
    if (value.IsEmpty() || !value->IsString()) return "";
    v8::String::Utf8Value text(isolate, value);
    return std::string(*text ? *text : "", text.length());
}

const script *script_of(state *s, const v8::JitCodeEvent *event) {
    if (event->script.IsEmpty()) return nullptr;
    std::unique_ptr<script> &known = s->scripts[event->script->GetId()];
    if (!known) {
        std::string name = utf8(s->isolate, event->script->GetScriptName()),
                    url = utf8(s->isolate, event->script->GetSourceURL());
        bool internal = !name.compare(0, 5, "node:");
        std::string file = url.empty() ? name : url;
        known.reset(new script{name,
                               file.empty() ? "<eval>" : file_of(file),
                               utf8(s->isolate, event->script->GetSourceMappingURL()),
                               internal,
                               {},
                               {}});
        if (!internal) known->text = text_of(event->script, known->file);
        if (s->watches) known->read_map();
    }
    return known.get();
}

/* "JS:~add /app/orders.js:41:12": kind and tier, name, where it begins. */
void name_code(code *c, const char *text, size_t n) {
    std::string name(text, n);
    size_t colon = name.rfind(':'),
           before = colon == std::string::npos || !colon ? std::string::npos : name.rfind(':', colon - 1);
    if (before == std::string::npos) return;
    c->line = (uint32_t)strtoul(name.c_str() + before + 1, nullptr, 10);
    c->column = (uint32_t)strtoul(name.c_str() + colon + 1, nullptr, 10);
    size_t from = name.find(':');
    from = from == std::string::npos ? 0 : name.find_first_not_of("*+^~'", from + 1);
    size_t stop = name.find(' ', from);
    std::string ending = " " + c->from->name; /* a name with spaces in it: "get total" */
    size_t file = name.rfind(ending, before);
    if (file != std::string::npos && file + ending.size() == before && file >= from) stop = file;
    if (from != std::string::npos && stop != std::string::npos && stop > from)
        c->function = name.substr(from, stop - from);
    if (c->function.empty()) c->function = c->line == 1 && c->column == 1 ? "<module>" : "<anonymous>";
}

/* ---- the code map ------------------------------------------------------------------------------------------------ */

code *code_at(state *s, uintptr_t pc) {
    auto next = s->codes.upper_bound(pc);
    if (next == s->codes.begin()) return nullptr;
    code *c = std::prev(next)->second.get();
    return pc - c->start < c->size ? c : nullptr;
}

/* What lay there is gone: addresses are used again. */
void forget_codes(state *s, uintptr_t start, size_t size) {
    auto at = s->codes.upper_bound(start + (size ? size - 1 : 0));
    while (at != s->codes.begin()) {
        auto before = std::prev(at);
        if (before->first + before->second->size <= start) break;
        at = s->codes.erase(before);
    }
    if (s->recent_any) {
        memset(s->recent, 0, sizeof s->recent);
        for (struct stack &stack : s->stacks) stack.levels = 0;
    }
    s->recent_any = false;
}

void put_code(state *s, std::shared_ptr<code> c) {
    forget_codes(s, c->start, c->size);
    s->codes[c->start] = std::move(c);
}

/* The bytecode whose array V8 has at this address. */
std::shared_ptr<const code> bytecode_at(state *s, uintptr_t array) {
    enum { HEADER = V8_MAJOR_VERSION < 12 ? 53 : 63 };
    auto at = s->codes.find(array + HEADER);
    bool is = at != s->codes.end() && at->second->bytecode && at->second->from;
    return is ? at->second : nullptr;
}

/* Called with the places as V8 has told them. */
void learn_inlining(state *s, code *c) {
    std::vector<position_row> rows;
    for (const place &p : c->places) rows.push_back({p.offset, p.position});
    inlining read;
    if (rows.empty() || !read_inlining(c->start, rows, &read)) return;
    std::vector<std::shared_ptr<const code>> functions;
    for (uintptr_t array : read.functions) functions.push_back(bytecode_at(s, array));
    if (functions[0] &&
        (functions[0]->from != c->from || functions[0]->line != c->line || functions[0]->column != c->column))
        return;
    for (size_t i = 0; i < rows.size(); i++) c->places[i].call = read.rows[i];
    for (const inlined_call &call : read.calls) {
        place p{};
        p.position = call.position;
        p.call = call.caller;
        c->calls.push_back({p, functions[(size_t)call.function]});
    }
    c->own = functions[0];
    c->told = true;
}

/* What runs bytecode, and what enters it after optimised code was left: V8 keeps each of the two parts together. */
void learn_interpreter(state *s, const code *c, std::string_view name) {
    bool handler = name.rfind("BytecodeHandler:", 0) == 0;
    if (!handler && name.rfind("Builtin:Interpreter", 0) && name.rfind("Builtin:BaselineOrInterpreter", 0)) return;
    range &r = s->interpreter[handler];
    if (!r.start) r = {c->start, c->start};
    r = {std::min(r.start, c->start), std::max(r.stop, c->start + c->size)};
}

void add_code(state *s, const v8::JitCodeEvent *event) {
    if (event->code_type == v8::JitCodeEvent::WASM_CODE) return;
    std::shared_ptr<code> c(new code{});
    c->start = (uintptr_t)event->code_start;
    c->size = event->code_len;
    c->bytecode = event->code_type == v8::JitCodeEvent::BYTE_CODE;
    c->from = script_of(s, event);
    auto positions = s->pending.find(c->start);
    if (positions != s->pending.end()) {
        c->places.swap(positions->second);
        s->pending.erase(positions);
    }
    if (c->from) {
        name_code(c.get(), event->name.str, event->name.len);
        if (c->bytecode)
            for (place &p : c->places) {
                const uint8_t *operation = (const uint8_t *)event->code_start + p.offset;
                if (p.offset + 1 < c->size && *operation < 4) operation++; /* a prefix: wide operands */
                p.operation = p.offset < c->size ? *operation : 0;
                p.line = (uint32_t)event->script->GetLineNumber(p.position) + 1;
                p.column = (uint32_t)event->script->GetColumnNumber(p.position) + 1;
            }
        else if (event->name.len > 4 && !memcmp(event->name.str, "JS:*", 4))
            learn_inlining(s, c.get());
        c->alone = event->name.len > 4 && !memcmp(event->name.str, "JS:^", 4);
    } else {
        learn_interpreter(s, c.get(), {event->name.str, event->name.len});
    }
    put_code(s, std::move(c));
    s->counts.codes++;
}

/* A collection's helpers move code as well, several of them at once, while the isolate's own thread takes part or waits
 * for them. */
void move_code(const v8::JitCodeEvent *event) {
    pthread_mutex_lock(&states_lock);
    state *s = states;
    while (s && s->isolate != event->isolate) s = s->next;
    if (s) {
        uintptr_t from = (uintptr_t)event->code_start, to = (uintptr_t)event->new_code_start;
        auto at = s->codes.find(from);
        auto positions = s->pending.find(from);
        if (positions != s->pending.end()) { /* between its positions and itself being told */
            s->pending[to].swap(positions->second);
            s->pending.erase(from);
        }
        if (at == s->codes.end()) {
            forget_codes(s, to, event->code_len);
        } else {
            std::shared_ptr<code> c = std::move(at->second);
            s->codes.erase(at);
            c->start = to;
            put_code(s, std::move(c));
        }
    }
    pthread_mutex_unlock(&states_lock);
}

void on_code(const v8::JitCodeEvent *event) {
    if (event->type == v8::JitCodeEvent::CODE_MOVED) return move_code(event);
    state *s = self;
    if (!s || s->isolate != event->isolate) return;
    switch (event->type) {
    case v8::JitCodeEvent::CODE_ADDED: add_code(s, event); break;
    case v8::JitCodeEvent::CODE_START_LINE_INFO_RECORDING:
        const_cast<v8::JitCodeEvent *>(event)->user_data = new std::vector<place>;
        break;
    case v8::JitCodeEvent::CODE_ADD_LINE_POS_INFO: {
        auto *places = (std::vector<place> *)event->user_data;
        if (!places || event->line_info.position_type != v8::JitCodeEvent::POSITION) break;
        place p{};
        p.offset = (uint32_t)event->line_info.offset;
        p.position = (int32_t)event->line_info.pos;
        places->push_back(p);
        break;
    }
    case v8::JitCodeEvent::CODE_END_LINE_INFO_RECORDING: {
        std::unique_ptr<std::vector<place>> places((std::vector<place> *)event->user_data);
        if (places) s->pending[(uintptr_t)event->code_start].swap(*places);
        break;
    }
    default: break;
    }
}

/* ---- from an instruction to a line (async-signal-safe from here on) -----------------------------------------------
 */

place *place_in(code *c, uintptr_t pc) {
    uint32_t offset = (uint32_t)(pc - c->start);
    auto next = std::upper_bound(c->places.begin(), c->places.end(), offset,
                                 [](uint32_t o, const place &p) { return o < p.offset; });
    return next == c->places.begin() ? &c->whole : &*std::prev(next);
}

/* A place in a function; in the file that it was written in, if the generated one has a map that knows. */
void settle(place *p, const code *in, uint32_t line, uint32_t column, bool exact) {
    const std::string *file = &in->from->file, *function = &in->function;
    const source_map *map = in->from->map.get();
    const source_map::row *row = map ? map->find(line, column) : nullptr;
    if (map) {
        const std::string *name = row ? map->name_before(in->line, in->column, function->size()) : nullptr;
        if (row) {
            file = &map->sources[row->source];
            line = (uint32_t)row->source_line + 1;
            column = (uint32_t)row->source_column + 1;
        }
        if (name) function = name;
    }
    if (!row) { /* the script's own line: of the file only if that is what the file says */
        exact = exact && in->from->text.has_lines_of_file;
        if (line == 1 && !in->from->text.has_columns_of_file) column = 0;
    }
    p->site = mw_intern_site(file->data(), file->size(), function->data(), function->size(), line, column);
    p->exact = exact;
    p->internal = in->from->internal;
    p->known = p->site != 0;
}

const place *at_position(const code *c, int32_t position) {
    for (const place &p : c->places)
        if (p.position == position) return &p;
    return nullptr;
}

/* The place at `position` whose operation can store. */
const place *storing_at(const state *s, const code *c, int32_t position) {
    for (const place &p : c->places)
        if (p.position == position && (!s->operations_known || s->operations[p.operation])) return &p;
    return nullptr;
}

/* Whether all positions of optimised code occur in its own script: then nothing of another one was inlined. The first
 * is where the function itself begins. */
bool all_of_own_script(state *s, const code *c) {
    for (const place &p : c->places) {
        bool found = p.position < 0 || p.position == c->places.front().position;
        for (auto it = s->codes.begin(); !found && it != s->codes.end(); ++it)
            found = it->second->bytecode && it->second->from == c->from && at_position(it->second.get(), p.position);
        if (!found) return false;
    }
    return true;
}

/* Whether a function of another script, one place of which is at `position`, can be inlined in `c`. The code of a
 * module runs once, from C++. Of a longer function something else would have to be there too. */
bool may_be_inlined(const code *candidate, const code *c, int32_t position) {
    if (candidate->line == 1 && candidate->column == 1) return false;
    unsigned others = 0;
    for (const place &p : candidate->places) {
        if (p.position == position) continue;
        if (at_position(c, p.position)) return true;
        others++;
    }
    return others < 6;
}

void resolve_optimised(state *s, code *c, place *p) {
    const code *own = nullptr, *other = nullptr;
    bool several = false;
    for (auto &entry : s->codes) {
        const code *candidate = entry.second.get();
        if (!candidate->bytecode || !candidate->from || p == &c->whole) continue;
        if (!storing_at(s, candidate, p->position)) continue;
        if (candidate->from == c->from) {
            own = candidate;
        } else if (may_be_inlined(candidate, c, p->position)) {
            several |= other && other->from != candidate->from;
            other = candidate;
        }
    }
    const code *home = own ? own : other;
    if (own ? !other || all_of_own_script(s, c) : other && !several) {
        const place *q = storing_at(s, home, p->position);
        settle(p, home, q->line, q->column, true);
    } else {
        settle(p, c, c->line, c->column, false);
    }
}

/* A place of which V8's tables say whose it is. */
void resolve_inlined(const code *c, const code *function, place *p) {
    const place *q = function ? at_position(function, p->position) : nullptr;
    if (q)
        settle(p, function, q->line, q->column, true);
    else if (function)
        settle(p, function, function->line, function->column, false);
    else
        settle(p, c, c->line, c->column, false);
}

/* Whether a store can come from this place: not each instruction has a row of its own, but calls have. */
bool can_store(const state *s, const code *function, const place *p) {
    if (!function) return false;
    return storing_at(s, function, p->position) || (function->from->internal && function->places.empty());
}

place *resolve_whole(code *c) {
    if (!c->whole.known) settle(&c->whole, c, c->line, c->column, false);
    return &c->whole;
}

/* What is known of the place of `pc` in code of a script. */
place *resolve(state *s, code *c, uintptr_t pc) {
    place *p = place_in(c, pc);
    if (p->known) return p;
    if (!c->bytecode)
        resolve_optimised(s, c, p);
    else if (p == &c->whole)
        settle(p, c, c->line, c->column, false);
    else
        settle(p, c, p->line, p->column, true);
    return p;
}

bool within(const range &r, uintptr_t pc) { return pc - r.start < r.stop - r.start; }

bool is_code(state *s, uintptr_t pc) {
    for (const range &r : s->text)
        if (within(r, pc)) return true;
    return code_at(s, pc) != nullptr;
}

/* The program's code there; nothing is looked up for node's own and for V8's builtins. */
code *program_code_at(state *s, uintptr_t pc) {
    return within(s->text[0], pc) || within(s->text[2], pc) ? nullptr : code_at(s, pc);
}

/* V8's builtins: in its own place of node's code, or copied to where optimised code is. */
bool is_builtin(const state *s, uintptr_t pc) { return within(s->text[2], pc) || within(s->text[1], pc); }

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

struct finding {
    place *best;     /* the innermost place in the program's own source */
    place *internal; /* the innermost in Node's */
    bool unknown;    /* before these came a function that isn't in the map */
    unsigned most;   /* callers asked for */
    unsigned count;
    bool cut, inexact; /* there are more; one of them isn't certain, or isn't there */
    uint32_t sites[CALLERS_MOST];

    /* True: nothing more is asked for. */
    bool take(place *p) {
        if (p->internal) {
            if (!best && !internal) internal = p;
            return false;
        }
        if (!best) {
            best = p;
            return !most;
        }
        if (count == most) return cut = true;
        inexact |= !p->exact || !p->site;
        sites[count++] = p->site;
        return false;
    }
    void miss() { (best ? inexact : unknown) = true; }
};

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

/* Asked where the interpreter runs alone: in a frame of a builtin or of C++, what one that is gone has left may still
 * lie there. */
place *interpreted(state *s, uintptr_t frame, finding *found) {
    uintptr_t array, pc = bytecode_of(frame, &array);
    if (!pc) return nullptr;
    auto &recent = s->recent_of(pc);
    if (recent.pc == pc) return recent.at;
    code *c = code_at(s, pc);
    if (!is_of(s, c, array)) {
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

/* Up the chain of frame pointers. False if it broke before all was found that is asked for. */
bool walk(state *s, const ucontext_t *context, finding *found, struct stack *kept) {
    uintptr_t pc = (uintptr_t)context->uc_mcontext.gregs[REG_RIP], sp = (uintptr_t)context->uc_mcontext.gregs[REG_RSP],
              frame = (uintptr_t)context->uc_mcontext.gregs[REG_RBP];
    unsigned most = found->most ? UINT16_MAX : 64;
    for (unsigned depth = 0; depth < most; depth++) {
        code *c = program_code_at(s, pc);
        bool in_stack = frame >= sp && frame + 16 <= s->stack_top && !(frame & 7), done = false;
        struct level level = {pc, frame, 0, 0, frame};
        if (c && !c->bytecode && c->from) {
            done = take_machine_code(s, c, pc, depth, found);
        } else if (!c && is_untold(s, pc)) {
            found->miss();
        } else if (in_stack && frame - 40 >= sp - 128 && is_builtin(s, pc)) {
            /* a builtin without a frame of its own has its caller's, and on the stack where it returns to */
            bool looks = !depth && !is_interpreter(s, pc);
            uintptr_t owner = looks ? *(uintptr_t *)sp - 1 : pc;
            code *caller = looks ? program_code_at(s, owner) : nullptr;
            if (kept && looks) kept->looks = true, kept->above = owner;
            if (is_interpreter(s, owner)) {
                place *p = interpreted(s, frame, found);
                level.array = *(uintptr_t *)(frame - 32);
                level.offset = *(uintptr_t *)(frame - 40);
                done = p && found->take(p);
            } else if (caller && !caller->bytecode && caller->from && !has_mark(frame)) {
                found->miss(); /* or that lies there from before, and the frame is the builtin's own */
                done = take_machine_code(s, caller, owner, true, found);
            }
        }
        if (!in_stack) return done;
        bool entry = !done && is_entry(s, pc, frame);
        if (entry && !left_from(s, frame, &level.up)) return false;
        if (kept && depth < KEPT_LEVELS) kept->level[depth] = level;
        if (kept) kept->levels = depth < KEPT_LEVELS ? depth + 1 : 0;
        if (done) return true;
        if (!level.up) return found->best || found->internal;
        uintptr_t up = *(uintptr_t *)level.up;
        pc = *(uintptr_t *)(level.up + 8) - 1; /* the call, not what follows it */
        if (!is_code(s, pc)) return false;
        if (up <= frame) return found->internal && !found->best;
        frame = up;
    }
    return false;
}

/* Whether the stack is the one that was found before. A frame's words are read only once it is known that it lay
 * there before. */
bool is_kept(const struct stack *kept, const ucontext_t *context) {
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

/* The bytecode array of a frame on the stack that is at this instruction; 0: it is no bytecode. */
uintptr_t array_at(const state *s, uintptr_t pc, uintptr_t sp) {
    for (const range &r : s->text)
        if (within(r, pc)) return 0;
    for (uintptr_t frame = ((sp + 7) & ~(uintptr_t)7) + 40, array; frame < s->stack_top; frame += 8)
        if (bytecode_of(frame, &array) == pc) return array;
    return 0;
}

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

#if V8_MAJOR_VERSION >= 12
uintptr_t *frame_of(const state *s) {
    return (uintptr_t *)((uintptr_t)s->isolate + v8::internal::Internals::kContinuationPreservedEmbedderDataOffset);
}
#endif

uint32_t context_of(const state *s) {
#if V8_MAJOR_VERSION >= 12
    if (s->pulls) return s->pulls->of(*frame_of(s));
#endif
    return s->context;
}

} // namespace

static unsigned callers_most; /* for each event; 0: none are asked for */

static void tell(state *s, const finding &found, mw_origin *origin) {
    place *p = found.best ? found.best : found.internal;
    origin->site = p ? p->site : 0;
    origin->inexact = !p || !p->exact || found.unknown;
    if (origin->inexact) s->counts.inexact++;
}

bool is_on_stack(const state *s, uintptr_t frame, uintptr_t sp) {
    return frame >= sp && frame + 16 <= s->stack_top && !(frame & 7);
}

/* Where the stack was when C++ was called from this frame of V8's, in which JavaScript is left: behind the address that
 * the call comes back to. 0: it is no such frame. */
static uintptr_t left_at(const state *s, uintptr_t frame, uintptr_t sp) {
    if (!is_on_stack(s, frame, sp) || frame - 16 < sp) return 0;
    uintptr_t left = *(uintptr_t *)(frame - 16);
    bool is = has_mark(frame) && left > sp && left < frame && !(left & 7);
    return is && is_builtin(s, *(uintptr_t *)(left - 8) - 1) ? left : 0;
}

/* Whether the chain of frame pointers leads from C++ to such a frame. Else C++ may use them for something else. */
static bool leads_out(state *s, uintptr_t frame, uintptr_t sp) {
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
    found.unknown = found.cut = found.inexact = false;
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
    if (found.inexact || found.unknown || !found.best || !found.best->known) kept->levels = 0;
    kept->site = found.best;
    kept->callers = origin->stack;
    kept->exact = !origin->inexact;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    s->stacks_busy = false;
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

/* ---- attaching --------------------------------------------------------------------------------------------------- */

static int find_program(struct dl_phdr_info *info, size_t, void *result) {
    auto *text = (range *)result;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const auto &segment = info->dlpi_phdr[i];
        if (segment.p_type == PT_LOAD && segment.p_flags & PF_X) {
            text->start = std::min(text->start, (uintptr_t)(info->dlpi_addr + segment.p_vaddr));
            text->stop = std::max(text->stop, (uintptr_t)(info->dlpi_addr + segment.p_vaddr + segment.p_memsz));
        }
    }
    return 1; /* the first is the program itself: node */
}

bool isolate_attach(void) {
    if (self) return false;
    state *s = new state{};
    s->isolate = v8::Isolate::GetCurrent();
    pthread_attr_t attributes;
    if (!pthread_getattr_np(pthread_self(), &attributes)) {
        void *bottom;
        size_t size;
        pthread_attr_getstack(&attributes, &bottom, &size);
        s->stack_top = (uintptr_t)bottom + size;
        pthread_attr_destroy(&attributes);
    }
    for (range &r : s->interpreter) r = {0, UINTPTR_MAX};
    s->text[0] = {UINTPTR_MAX, 0};
    dl_iterate_phdr(find_program, &s->text[0]);
    void *start = nullptr;
    size_t size = 0;
    s->isolate->GetCodeRange(&start, &size);
    s->text[1] = {(uintptr_t)start, (uintptr_t)start + size};
    const void *embedded = nullptr;
    s->isolate->GetEmbeddedCodeRange(&embedded, &size);
    s->text[2] = {(uintptr_t)embedded, (uintptr_t)embedded + size};
    self = s;
    pthread_mutex_lock(&states_lock);
    s->next = states;
    states = s;
    pthread_mutex_unlock(&states_lock);
    s->isolate->SetJitCodeEventHandler(v8::kJitCodeEventEnumExisting, on_code);
    return true;
}

void isolate_detach(void *) {
    state *s = self;
    if (!s) return;
    s->isolate->SetJitCodeEventHandler(v8::kJitCodeEventDefault, nullptr);
    self = nullptr;
    pthread_mutex_lock(&states_lock);
    state **at = &states;
    while (*at != s) at = &(*at)->next;
    *at = s->next;
    pthread_mutex_unlock(&states_lock);
    delete s;
}

void isolate_flag(const char *flag, size_t length) { v8::V8::SetFlagsFromString(flag, length); }

/* The operations of a function that was just compiled and holds nothing but stores and calls. */
extern "C" bool isolate_learn_operations(const char *function) {
    state *s = self;
    if (!s) return false;
    for (auto &entry : s->codes) {
        const code *c = entry.second.get();
        if (!c->bytecode || c->function != function) continue;
        for (const place &p : c->places) s->operations[p.operation] = s->operations_known = true;
    }
    return s->operations_known;
}

void isolate_counts(struct line_counts *out) { *out = self ? self->counts : line_counts{}; }

enum original isolate_original(const char *file, uint32_t *line, uint32_t *column, const char **source) {
    state *s = self;
    const source_map::row *row = nullptr;
    enum original found = ORIGINAL_SAME;
    if (!s) return found;
    for (auto &entry : s->scripts) {
        script *known = entry.second.get();
        if (known->file != file) continue;
        known->read_map();
        if (known->map && (row = known->map->find(*line, *column))) {
            *source = known->map->sources[row->source].c_str();
            *line = (uint32_t)row->source_line + 1;
            *column = (uint32_t)row->source_column + 1;
            return ORIGINAL_FOUND;
        }
        if (!known->text.has_lines_of_file) found = ORIGINAL_UNKNOWN;
    }
    return found;
}

static v8::Local<v8::Value> local(napi_value value) {
    static_assert(sizeof(v8::Local<v8::Value>) == sizeof value, "what Node's own js_native_api_v8.h does");
    v8::Local<v8::Value> result;
    memcpy((void *)&result, &value, sizeof value);
    return result;
}

static napi_value of_node(v8::Local<v8::Value> value) {
    napi_value result;
    memcpy(&result, (void *)&value, sizeof result);
    return result;
}

/* ---- flows ------------------------------------------------------------------------------------------------------- */

uint32_t *isolate_context(void) { return self ? &self->context : nullptr; }

bool isolate_pull_contexts(void) {
#if V8_MAJOR_VERSION >= 12
    if (!self) return false;
    if (!self->pulls) self->pulls.reset(new flows(self->isolate));
    return true;
#endif
    return false;
}

void *isolate_context_frame(uint32_t **collections) {
#if V8_MAJOR_VERSION >= 12
    if (!self || !self->pulls) return nullptr;
    *collections = &self->pulls->collections;
    return frame_of(self);
#else
    (void)collections;
    return nullptr;
#endif
}

#if V8_MAJOR_VERSION >= 14
/* Empty if that is nothing that JavaScript could have. */
static v8::Local<v8::Value> current_frame(v8::Isolate *isolate) {
    v8::Local<v8::Data> data = isolate->GetContinuationPreservedEmbedderDataV2();
    return data->IsValue() ? data.As<v8::Value>() : v8::Local<v8::Value>();
}
#elif V8_MAJOR_VERSION >= 12
static v8::Local<v8::Value> current_frame(v8::Isolate *isolate) {
    return isolate->GetContinuationPreservedEmbedderData();
}
#endif

bool isolate_mark_context(uint32_t context) {
#if V8_MAJOR_VERSION >= 12
    state *s = self;
    if (!s) return false;
    v8::HandleScope scope(s->isolate);
    v8::Local<v8::Value> frame = current_frame(s->isolate);
    if (frame.IsEmpty() || !frame->IsObject()) return false;
    if (s->pulls) s->pulls->set(frame, context);
    return true;
#else
    (void)context;
    return false;
#endif
}

napi_value isolate_current_frame(void) {
#if V8_MAJOR_VERSION >= 12
    v8::Local<v8::Value> frame = current_frame(v8::Isolate::GetCurrent());
    return of_node(frame.IsEmpty() ? v8::Null(v8::Isolate::GetCurrent()).As<v8::Value>() : frame);
#else
    return nullptr;
#endif
}

void isolate_restore_frame(napi_value frame) {
#if V8_MAJOR_VERSION >= 14
    v8::Isolate::GetCurrent()->SetContinuationPreservedEmbedderDataV2(local(frame));
#elif V8_MAJOR_VERSION >= 12
    v8::Isolate::GetCurrent()->SetContinuationPreservedEmbedderData(local(frame));
#else
    (void)frame;
#endif
}

static tokens *tokens_of(state *s) {
    if (!s->statements) s->statements.reset(new tokens(s->isolate));
    return s->statements.get();
}

uint32_t *isolate_gone_tokens(void) { return self ? &tokens_of(self)->count : nullptr; }

void isolate_follow_token(napi_value token, napi_value statement) {
    if (self) tokens_of(self)->follow(local(token), local(statement));
}

napi_value isolate_gone_statements(void) { return self ? of_node(tokens_of(self)->take()) : nullptr; }

/* ---- buffers ----------------------------------------------------------------------------------------------------- */

napi_value isolate_kept(void) {
    return self && !self->kept.IsEmpty() ? of_node(self->kept.Get(self->isolate)) : nullptr;
}

void isolate_keep(napi_value value) {
    if (self) self->kept.Reset(self->isolate, local(value));
}

napi_value isolate_buffer(napi_env, struct block *block) {
    v8::Isolate *isolate = v8::Isolate::GetCurrent();
    if (self && !self->watches) {
        self->watches = true;
        for (auto &entry : self->scripts) entry.second->read_map();
    }
    auto store = v8::ArrayBuffer::NewBackingStore(
        block->bytes, block->size, [](void *, size_t, void *held) { block_release((struct block *)held); }, block);
    v8::Local<v8::ArrayBuffer> buffer = v8::ArrayBuffer::New(isolate, std::move(store));
#if V8_MAJOR_VERSION >= 13 /* before, Node aborts when it meets the key: see lib/pin.js */
    buffer->SetDetachKey(v8::Symbol::New(isolate));
#endif
    return of_node(buffer);
}

bool isolate_is_detachable(napi_value buffer) { return local(buffer).As<v8::ArrayBuffer>()->IsDetachable(); }
