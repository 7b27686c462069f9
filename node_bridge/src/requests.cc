/* requests.cc - see requests.h. Everything is compared by what it says, never by its address: addresses are used again.
 */
#include "requests.h"

#include <string.h>

#include "contexts.h"

namespace memwatch {

namespace {

/* What lies where in V8's objects, whose addresses have a 1 at the end. A Map has a table: an array of the numbers of
 * its entries, of those that are gone, and of buckets; the first entry of each bucket; then the entries, two a bucket:
 * key, value, the bucket's next entry.
 */
enum { TAG = 1, KIND = 0, MAP_TABLE = 24, BUCKETS = 32, FIRST = 40, ENTRY = 3, PER_BUCKET = 2 };
enum { BUCKETS_MOST = 1 << 24, IN_BUCKET_MOST = 256 };

bool is_object(uintptr_t value) { return (value & 3) == TAG; }

uintptr_t word(uintptr_t object, size_t offset) { return *(const uintptr_t *)(object - TAG + offset); }

/* Of a small integer. */
size_t number(uintptr_t value) { return value & 0xffffffff ? SIZE_MAX : value >> 32; }

uint16_t type_of(uintptr_t object) {
    return *(const uint16_t *)(word(object, KIND) - TAG + v8::internal::Internals::kMapInstanceTypeOffset);
}

uintptr_t address(v8::Local<v8::Value> value) { return **(uintptr_t **)&value; }

} // namespace

/* ---- what JavaScript tells --------------------------------------------------------------------------------------- */

uint32_t requests::tell(v8::Local<v8::Value> object, std::string json) {
    busy_ = true;
    if (free_.empty()) {
        free_.push_back((uint32_t)numbers_.size());
        numbers_.push_back(nullptr);
    }
    uint32_t number = free_.back();
    free_.pop_back();
    std::unique_ptr<part> p(new part{++serials_, std::move(json), number, this});
    numbers_[number] = p.get();
    parts_.set(object, std::move(p));
    busy_ = false;
    return number;
}

enum pulled requests::pull(v8::Local<v8::Value> storage, v8::Local<v8::Value> value) {
    v8::HandleScope scope(isolate_);
    v8::Local<v8::Value> frame = current_frame(isolate_);
    if (frame.IsEmpty() || !frame->IsObject()) return PULLED_NOWHERE;
    if (!frame->IsMap()) return PULLED_NOTHING;
    uintptr_t map = address(frame), table = word(map, MAP_TABLE);
    busy_ = true;
    look_for(LABEL, storage);
    type_ = type_of(map);
    table_ = is_object(table) ? word(table, KIND) : 0;
    pulls_ = held(LABEL) == address(value);
    busy_ = false;
    return pulls_ ? PULLED : PULLED_NOTHING;
}

void requests::look_for(kind of, v8::Local<v8::Value> storage) {
    storages_[of].Reset();
    if (!storage->IsObject()) return;
    storages_[of].Reset(isolate_, storage);
    hashes_[of] = (uint32_t)storage.As<v8::Object>()->GetIdentityHash(); /* by which V8's Maps have it */
}

void requests::follow_spans(v8::Local<v8::Value> storage) {
    busy_ = true;
    look_for(SPAN, storage);
    busy_ = false;
}

/* ---- at a store (async-signal-safe from here on) ------------------------------------------------------------------
 */

/* What such a Map has for a key; 0: nothing. */
uintptr_t requests::value_of(uintptr_t map, uintptr_t key, uint32_t hash) const {
    if (!is_object(map) || type_of(map) != type_) return 0;
    uintptr_t table = word(map, MAP_TABLE);
    if (!is_object(table) || word(table, KIND) != table_) return 0;
    size_t buckets = number(word(table, BUCKETS));
    if (!buckets || buckets > BUCKETS_MOST || buckets & (buckets - 1)) return 0;
    const uintptr_t *firsts = (const uintptr_t *)(table - TAG + FIRST), *entries = firsts + buckets;
    size_t at = number(firsts[hash & (buckets - 1)]);
    for (int i = 0; i < IN_BUCKET_MOST && at < buckets * PER_BUCKET; i++) { /* after the last: -1 */
        const uintptr_t *entry = entries + at * ENTRY;
        if (entry[0] == key) return entry[1];
        at = number(entry[2]);
    }
    return 0;
}

/* The object that a storage holds; 0: none. */
uintptr_t requests::held(kind of) const {
    const uintptr_t *storage = *(uintptr_t *const *)&storages_[of]; /* a Global is a pointer to a slot */
    const uintptr_t *frame = frame_of(isolate_);
    return storage && frame ? value_of(*frame, *storage, hashes_[of]) : 0;
}

/* Whether the callback runs in which JavaScript has mirrored: hooks of the program's may run before ours. */
bool requests::is_executing() const { return !executing || mirrored[EXECUTING] == (uint32_t)(int64_t)*executing; }

mw_request *requests::find() {
    const part *parts[KINDS];
    bool any = false, same = last_request_ != nullptr;
    if (busy_ || parts_.collecting) return nullptr;
    for (int of = 0; of < KINDS; of++) {
        if (pulls_) {
            uintptr_t object = held((kind)of);
            const std::unique_ptr<part> *known = object ? parts_.of(object) : nullptr;
            parts[of] = known ? known->get() : nullptr;
        } else {
            parts[of] = mirrored[of] < numbers_.size() ? numbers_[mirrored[of]] : nullptr;
            if (parts[of] && !is_executing()) parts[of] = nullptr;
        }
        any |= parts[of] != nullptr;
        same &= last_[of] == (parts[of] ? parts[of]->serial : 0);
    }
    if (!any || same) return any ? last_request_ : nullptr;
    char json[MW_REQUEST_MAX];
    size_t length = 0;
    for (const part *p : parts) {
        if (!p || length + p->json.size() + 2 > sizeof json) continue;
        json[length] = length ? ',' : '{';
        memcpy(json + length + 1, p->json.data(), p->json.size());
        length += 1 + p->json.size();
    }
    if (!length) return nullptr;
    json[length++] = '}';
    busy_ = true;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    last_request_ = mw_request_kept(known_, KNOWN_BITS, json, length);
    for (int of = 0; of < KINDS; of++) last_[of] = parts[of] ? parts[of]->serial : 0;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    busy_ = false;
    return last_request_;
}

} // namespace memwatch
