/* contexts.cc - which context is in force: mirrored by JavaScript, or pulled from V8's continuation-preserved data. */
#include "contexts.h"

using namespace memwatch;

uint32_t memwatch::context_of(const state *s) {
    if (!s->pulls) return s->context;
    const uint32_t *known = s->pulls->of(*frame_of(s->isolate));
    return known ? *known : 0;
}

uint32_t *isolate_context(void) { return self ? &self->context : nullptr; }

bool isolate_pull_contexts(void) {
#if V8_MAJOR_VERSION >= 12
    if (!self) return false;
    if (!self->pulls) self->pulls.reset(new marked<uint32_t>(self->isolate));
    return true;
#endif
    return false;
}

void *isolate_context_frame(uint32_t **collections) {
#if V8_MAJOR_VERSION >= 12
    if (!self || !self->pulls) return nullptr;
    *collections = &self->pulls->collections;
    return frame_of(self->isolate);
#else
    (void)collections;
    return nullptr;
#endif
}

v8::Local<v8::Value> memwatch::current_frame(v8::Isolate *isolate) {
#if V8_MAJOR_VERSION >= 14
    v8::Local<v8::Data> data = isolate->GetContinuationPreservedEmbedderDataV2();
    return data->IsValue() ? data.As<v8::Value>() : v8::Local<v8::Value>();
#elif V8_MAJOR_VERSION >= 12
    return isolate->GetContinuationPreservedEmbedderData();
#else
    (void)isolate;
    return {};
#endif
}

bool isolate_mark_context(uint32_t context) {
#if V8_MAJOR_VERSION >= 12
    state *s = self;
    if (!s) return false;
    v8::HandleScope scope(s->isolate);
    v8::Local<v8::Value> frame = current_frame(s->isolate);
    if (frame.IsEmpty() || !frame->IsObject()) return false;
    if (s->pulls && (context || s->pulls->of(**(uintptr_t **)&frame))) s->pulls->set(frame, context);
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

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static requests *asked_of(state *s) {
    if (!s->asked) s->asked.reset(new requests(s->isolate));
    return s->asked.get();
}

uint32_t isolate_tell_request(napi_value object, const char *json, size_t length) {
    return self ? asked_of(self)->tell(local(object), std::string(json, length)) : 0;
}

enum pulled isolate_pull_requests(napi_value storage, napi_value value) {
    return self ? asked_of(self)->pull(local(storage), local(value)) : PULLED_NOTHING;
}

void isolate_follow_spans(napi_value storage) {
    if (self) asked_of(self)->follow_spans(local(storage));
}

uint32_t *isolate_requests(const double *executing) {
    if (!self) return nullptr;
    if (executing) asked_of(self)->executing = executing;
    return asked_of(self)->mirrored;
}

/* ---- statements -------------------------------------------------------------------------------------------------- */

static tokens *tokens_of(state *s) {
    if (!s->statements) s->statements.reset(new tokens(s->isolate));
    return s->statements.get();
}

uint32_t *isolate_gone_tokens(void) { return self ? &tokens_of(self)->count : nullptr; }

void isolate_follow_token(napi_value token, napi_value statement) {
    if (self) tokens_of(self)->follow(local(token), local(statement));
}

napi_value isolate_gone_statements(void) { return self ? of_node(tokens_of(self)->take()) : nullptr; }
