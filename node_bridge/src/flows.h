/* flows.h - which context a flow has: the pieces of continuation-preserved data that stand for one, by address.
 *
 * Each callback that a driver runs in a flow makes a new piece, and they are many between two collections; so they are
 * found by hash. A collection moves them: the table is made anew at its end. Belongs to one isolate, whose thread alone
 * calls; of() is async-signal-safe, and interrupts none of the others, which store to nothing that is watched. */
#ifndef MEMWATCH_FLOWS_H
#define MEMWATCH_FLOWS_H
#include <cstdint>
#include <memory>
#include <vector>

#include <v8.h>

class flows {
  public:
    explicit flows(v8::Isolate *isolate) : isolate_(isolate), table_(64) {
        isolate->AddGCEpilogueCallback(on_collected, this);
    }
    ~flows() { isolate_->RemoveGCEpilogueCallback(on_collected, this); }
    flows(const flows &) = delete;
    flows &operator=(const flows &) = delete;

    /* `frame` stands for `context` from now on; 0: for none. */
    void set(v8::Local<v8::Value> frame, uint32_t context) {
        const entry &known = table_[find(**(uintptr_t **)&frame)]; /* a Local is a pointer to a slot */
        if (known.of) known.of->context = context;
        if (known.of || !context) return;
        std::unique_ptr<mark> m;
        if (spare_.empty()) {
            m.reset(new mark{{}, 0, 0, this});
        } else {
            m = std::move(spare_.back());
            spare_.pop_back();
        }
        m->frame.Reset(isolate_, frame);
        m->context = context;
        m->at = marks_.size();
        m->frame.SetWeak(m.get(), on_dead, v8::WeakCallbackType::kParameter);
        marks_.push_back(std::move(m));
        if (marks_.size() * 2 > table_.size())
            build();
        else
            put(*marks_.back());
    }

    /* The context of the piece at an address; 0: none. */
    uint32_t of(uintptr_t frame) const {
        const entry &found = table_[find(frame)];
        return found.of ? found.of->context : 0;
    }

    uint32_t collections = 0; /* until now */

  private:
    struct mark {
        v8::Global<v8::Value> frame;
        uint32_t context;
        size_t at; /* in marks_ */
        flows *of;
    };
    struct entry {
        uintptr_t frame;
        mark *of;
    };

    v8::Isolate *isolate_;
    std::vector<std::unique_ptr<mark>> marks_, spare_;
    std::vector<entry> table_; /* open addressing, at least twice as large as marks_; a power of two */

    /* Where it is in the table, or would be. */
    size_t find(uintptr_t frame) const {
        size_t at = (frame >> 3) * 0x9e3779b97f4a7c15u >> 20 & (table_.size() - 1);
        while (table_[at].frame && table_[at].frame != frame) at = (at + 1) & (table_.size() - 1);
        return at;
    }

    void put(mark &m) {
        const uintptr_t *slot = *(uintptr_t *const *)&m.frame; /* a Global is one too */
        if (slot) table_[find(*slot)] = {*slot, &m};
    }

    void build() {
        size_t size = 64;
        while (size < marks_.size() * 4) size *= 2;
        table_.assign(size, entry{});
        for (const auto &m : marks_) put(*m);
    }

    static void on_collected(v8::Isolate *, v8::GCType, v8::GCCallbackFlags, void *data) {
        ((flows *)data)->collections++;
        ((flows *)data)->build();
    }

    static void on_dead(const v8::WeakCallbackInfo<mark> &info) {
        mark *gone = info.GetParameter();
        flows *of = gone->of;
        size_t at = gone->at;
        gone->frame.Reset();
        of->marks_[at].swap(of->marks_.back());
        of->marks_[at]->at = at;
        of->spare_.push_back(std::move(of->marks_.back()));
        of->marks_.pop_back();
    }
};

#endif
