/* codes.cc - the code map. V8 tells of all code that it makes and moves: bytecode with the source position of each
 * instruction, optimised code with that of most machine instructions. */
#include "codes.h"

#include <algorithm>
#include <string_view>

#include "inlining.h"

namespace memwatch {

namespace {

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
        bool internal = !name.compare(0, 5, "node:") || (!s->own.empty() && !name.compare(0, s->own.size(), s->own));
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

} // namespace

code *code_at(state *s, uintptr_t pc) {
    auto next = s->codes.upper_bound(pc);
    if (next == s->codes.begin()) return nullptr;
    code *c = std::prev(next)->second.get();
    return pc - c->start < c->size ? c : nullptr;
}

namespace {

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
    if (handler) s->handlers.learn(c->start, name == "BytecodeHandler:DebugBreak0Handler");
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

} // namespace

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

} // namespace memwatch
