/* places.cc - memory that is watched where it is: that of WebAssembly. V8 has put it on pages of its own, which stay
 * where they are when it grows, and frees them with the last that holds them. A place holds them too. */
#include "addon.h"

#include <cstring>
#include <memory>
#include <vector>

#include <v8.h>

namespace {

struct range {
    const char *start;
    size_t size;
    mw_variable_id id;
};

struct memory {
    std::shared_ptr<v8::BackingStore> store;
    std::vector<range> ranges;
};

/* Of this thread's isolate. Not freed by the thread's end but by places_end(): V8 frees the memory. */
thread_local std::vector<memory> *memories;

v8::Local<v8::ArrayBuffer> array_buffer(napi_value value) {
    v8::Local<v8::Value> local;
    memcpy(static_cast<void *>(&local), &value, sizeof value);
    return local.As<v8::ArrayBuffer>();
}

/* Ends the watches of memory that nobody else holds: collected, or left when it was moved. */
void on_collected(v8::Isolate *, v8::GCType, v8::GCCallbackFlags) {
    for (size_t i = memories->size(); i--;) {
        memory &m = (*memories)[i];
        if (m.store.use_count() > 1) continue;
        for (const range &r : m.ranges) mw_unregister_page(r.id);
        memories->erase(memories->begin() + (long)i);
    }
}

} // namespace

int64_t place_watch(napi_value buffer, size_t offset, size_t size, uint32_t flags, mw_depth depth) {
    std::shared_ptr<v8::BackingStore> store = array_buffer(buffer)->GetBackingStore();
    char *start = (char *)store->Data() + offset;
    for (size_t at = 0; at < size + MW_PAGE_SIZE; at += MW_PAGE_SIZE) /* touched, without a store */
        (void)*(volatile char *)(start + (at < size ? at : size - 1));
    int64_t id = mw_register_within(start, size, flags, depth);
    if (id < 0) return id;
    if (!memories) {
        memories = new std::vector<memory>;
        v8::Isolate::GetCurrent()->AddGCEpilogueCallback(on_collected);
    }
    memory *found = nullptr;
    for (memory &m : *memories)
        if (m.store == store) found = &m;
    if (!found) {
        memories->push_back({store, {}});
        found = &memories->back();
    }
    found->ranges.push_back({start, size, (mw_variable_id)id});
    return id;
}

mw_variable_id place_of(napi_value buffer, size_t offset, size_t size) {
    if (!memories) return 0;
    const char *start = (const char *)array_buffer(buffer)->Data() + offset;
    for (const memory &m : *memories)
        for (const range &r : m.ranges)
            if (start >= r.start && start + size <= r.start + r.size) return r.id;
    return 0;
}

bool place_end(mw_variable_id id) {
    bool ended = false;
    for (size_t i = memories ? memories->size() : 0; i--;) {
        std::vector<range> &ranges = (*memories)[i].ranges;
        for (size_t k = ranges.size(); k--;)
            if (ranges[k].id == id) {
                ended = !mw_unregister_page(id);
                ranges.erase(ranges.begin() + (long)k);
            }
        if (ranges.empty()) memories->erase(memories->begin() + (long)i);
    }
    return ended;
}

void places_end(void) {
    if (!memories) return;
    v8::Isolate::GetCurrent()->RemoveGCEpilogueCallback(on_collected);
    for (const memory &m : *memories)
        for (const range &r : m.ranges) mw_unregister_page(r.id);
    delete memories;
    memories = nullptr;
}
