/* isolate.cc - following an isolate: what begins and ends with it, what is asked of its scripts, buffers over pages of
 * ours. */
#include "isolate.h"

#include <dlfcn.h>
#include <link.h>

#include <algorithm>

#include "breaks.h"
#include "codes.h"

using namespace memwatch;

pthread_mutex_t memwatch::states_lock = PTHREAD_MUTEX_INITIALIZER;
state *memwatch::states;
__thread state *memwatch::self __attribute__((tls_model("initial-exec")));

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

/* lib/ of the package in whose prebuilds/<system>/ this addon lies. */
static std::string own_scripts(void) {
    Dl_info info;
    if (!dladdr((const void *)&states_lock, &info) || !info.dli_fname) return "";
    std::string path = info.dli_fname;
    for (int up = 0; up < 3; up++) {
        size_t slash = path.rfind('/');
        if (slash == std::string::npos) return "";
        path.resize(slash);
    }
    return path + "/lib/";
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
    s->own = own_scripts();
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
    breaks_detach();
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
