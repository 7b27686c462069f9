/* requests.h - on whose behalf a store happens: the label in force, and OpenTelemetry's span.
 *
 * Both are what an AsyncLocalStorage holds: lib/requests.js tells what each of such objects says. From Node 24 on they
 * lie in V8's continuation-preserved data, which is a Map from storages to what they hold: there they are looked up at
 * the store. Before, JavaScript mirrors their numbers. Belongs to one isolate. */
#ifndef MEMWATCH_REQUESTS_H
#define MEMWATCH_REQUESTS_H
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <node.h>

#include "addon.h"
#include "marked.h"
#include "memwatch.h"

namespace memwatch {

class requests {
  public:
    enum kind { SPAN, LABEL, KINDS };

    explicit requests(v8::Isolate *isolate) : parts_(isolate), isolate_(isolate) {}
    requests(const requests &) = delete;
    requests &operator=(const requests &) = delete;

    /* What is in force is what storages hold: the label's, `value` now. */
    enum pulled pull(v8::Local<v8::Value> storage, v8::Local<v8::Value> value);
    void follow_spans(v8::Local<v8::Value> storage);

    /* The object says this, members of a JSON object. Returns its number, until it is collected. */
    uint32_t tell(v8::Local<v8::Value> object, std::string json);

    /* What is in force now; NULL: nothing is, or it isn't known. Async-signal-safe. */
    mw_request *find();

    enum { EXECUTING = KINDS, MIRRORED };
    const double *executing = nullptr; /* where Node has the id of the callback that runs; NULL: not known */
    uint32_t mirrored[MIRRORED] = {}; /* numbers of what is in force, and in which callback, where JavaScript says so */

  private:
    struct part {
        uint64_t serial; /* no other one has it */
        std::string json;
        uint32_t number;
        requests *of;
        ~part() {
            of->numbers_[number] = nullptr;
            of->free_.push_back(number);
        }
    };
    enum { KNOWN_BITS = 4 };

    std::vector<part *> numbers_{nullptr}; /* from 1 */
    std::vector<uint32_t> free_;           /* of objects that were collected */
    marked<std::unique_ptr<part>> parts_;
    v8::Isolate *isolate_;
    v8::Global<v8::Value> storages_[KINDS];
    uint32_t hashes_[KINDS] = {};
    bool pulls_ = false, busy_ = false; /* busy: changing; a signal handler that stores says nothing */
    uint16_t type_ = 0;                 /* V8's, of such a Map */
    uintptr_t table_ = 0;               /* of what its entries are in */
    uint64_t serials_ = 0;
    uint64_t last_[KINDS] = {};
    mw_request *last_request_ = nullptr;
    mw_request known_[1 << KNOWN_BITS] = {}; /* by a hash of the text */

    void look_for(kind of, v8::Local<v8::Value> storage);
    uintptr_t value_of(uintptr_t map, uintptr_t key, uint32_t hash) const;
    uintptr_t held(kind of) const;
    bool is_executing() const;
};

} // namespace memwatch
#endif
