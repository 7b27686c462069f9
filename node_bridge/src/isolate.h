/* isolate.h - what the files share that know V8: what is kept of an isolate, its scripts and codes, its stacks. */
#ifndef MEMWATCH_ISOLATE_H
#define MEMWATCH_ISOLATE_H
#include <node.h>
#include <pthread.h>
#include <string.h>
#include <v8.h>

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "addon.h"
#include "dispatch.h"
#include "base/hash.h"
#include "marked.h"
#include "requests.h"
#include "sourcemap.h"
#include "text.h"
#include "tokens.h"

#if NODE_MODULE_VERSION != MW_NODE_ABI
#error "these headers are of another Node.js than the one that builds: npm_config_nodedir names the folder of its own"
#endif

namespace memwatch {

struct script {
    std::string name, file, map_url; /* as V8 names it; as people know it */
    bool internal;                   /* Node's own, or this package's */
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

struct todo;

struct state {
    v8::Isolate *isolate;
    std::map<uintptr_t, std::shared_ptr<code>> codes; /* by start */
    std::unordered_map<int, std::unique_ptr<script>> scripts;
    std::string own;                                           /* the folder of this package's scripts */
    bool watches;                                              /* maps have been read */
    std::unordered_map<uintptr_t, std::vector<place>> pending; /* positions come before the code that they belong to */
    bool operations[256];                                      /* of bytecode: those that store or call */
    bool operations_known;
    uintptr_t stack_top;
    range text[3];        /* where code may lie that isn't in the map */
    range interpreter[2]; /* its entries; its handlers. Anywhere, until V8 tells */
    dispatch handlers;
    uintptr_t header; /* how far from a bytecode array its first instruction is; 0: not known yet */
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
    uint32_t context;                        /* mirrored by JavaScript */
    std::unique_ptr<marked<uint32_t>> pulls; /* or by the piece of continuation-preserved data */
    std::unique_ptr<requests> asked;

    std::unique_ptr<tokens> statements;
    line_counts counts;
    bool asks, acts;   /* for an interrupt; on what met a condition: see breaks.cc, as for */
    struct todo *todo; /* NULL: nothing of it is used in this isolate */
    v8::Global<v8::Value> kept;
    state *next;
};

extern pthread_mutex_t states_lock;
extern state *states; /* of all threads */
extern __thread state *self __attribute__((tls_model("initial-exec")));

inline bool within(const range &r, uintptr_t pc) { return pc - r.start < r.stop - r.start; }

inline v8::Local<v8::Value> local(napi_value value) {
    static_assert(sizeof(v8::Local<v8::Value>) == sizeof value, "what Node's own js_native_api_v8.h does");
    v8::Local<v8::Value> result;
    memcpy((void *)&result, &value, sizeof value);
    return result;
}

inline napi_value of_node(v8::Local<v8::Value> value) {
    napi_value result;
    memcpy(&result, (void *)&value, sizeof result);
    return result;
}

} // namespace memwatch
#endif
