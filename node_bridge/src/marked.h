/* marked.h - objects of V8's that stand for something, found by address where no function of V8's can be called.
 *
 * They may be many between two collections (each callback that a driver runs in a flow makes a new piece of
 * continuation-preserved data, say); so they are found by hash. A collection moves them: the table is made anew at its
 * end. Belongs to one isolate, whose thread alone calls; of() is async-signal-safe, and interrupts none of the others,
 * which store to nothing that is watched. */
#ifndef MEMWATCH_MARKED_H
#define MEMWATCH_MARKED_H
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <v8.h>

template <typename T> class marked {
  public:
    explicit marked(v8::Isolate *isolate) : isolate_(isolate), table_(64) {
        isolate->AddGCPrologueCallback(on_collecting, this);
        isolate->AddGCEpilogueCallback(on_collected, this);
    }
    ~marked() {
        isolate_->RemoveGCPrologueCallback(on_collecting, this);
        isolate_->RemoveGCEpilogueCallback(on_collected, this);
    }
    marked(const marked &) = delete;
    marked &operator=(const marked &) = delete;

    /* The object stands for `what` from now on; with T{}, for nothing. What it stands for, until it is collected. */
    T *set(v8::Local<v8::Value> object, T what) {
        const entry &known = table_[find(**(uintptr_t **)&object)]; /* a Local is a pointer to a slot */
        if (known.of) known.of->what = std::move(what);
        if (known.of) return &known.of->what;
        std::unique_ptr<mark> m;
        if (spare_.empty()) {
            m.reset(new mark{{}, {}, 0, this});
        } else {
            m = std::move(spare_.back());
            spare_.pop_back();
        }
        m->object.Reset(isolate_, object);
        m->what = std::move(what);
        m->at = marks_.size();
        m->object.SetWeak(m.get(), on_dead, v8::WeakCallbackType::kParameter);
        marks_.push_back(std::move(m));
        T *result = &marks_.back()->what;
        if (marks_.size() * 2 > table_.size())
            build();
        else
            put(*marks_.back());
        return result;
    }

    /* What the object at an address stands for; NULL: nothing is known of it. */
    const T *of(uintptr_t object) const {
        const entry &found = table_[find(object)];
        return found.of ? &found.of->what : nullptr;
    }

    uint32_t collections = 0; /* until now */
    bool collecting = false;  /* objects are on the move: what refers to them can't be read */

  private:
    struct mark {
        v8::Global<v8::Value> object;
        T what;
        size_t at; /* in marks_ */
        marked *of;
    };
    struct entry {
        uintptr_t object;
        mark *of;
    };

    v8::Isolate *isolate_;
    std::vector<std::unique_ptr<mark>> marks_, spare_;
    std::vector<entry> table_; /* open addressing, at least twice as large as marks_; a power of two */

    /* Where it is in the table, or would be. */
    size_t find(uintptr_t object) const {
        size_t at = (object >> 3) * 0x9e3779b97f4a7c15u >> 20 & (table_.size() - 1);
        while (table_[at].object && table_[at].object != object) at = (at + 1) & (table_.size() - 1);
        return at;
    }

    void put(mark &m) {
        const uintptr_t *slot = *(uintptr_t *const *)&m.object; /* a Global is one too */
        if (slot) table_[find(*slot)] = {*slot, &m};
    }

    void build() {
        size_t size = 64;
        while (size < marks_.size() * 4) size *= 2;
        table_.assign(size, entry{});
        for (const auto &m : marks_) put(*m);
    }

    static void on_collecting(v8::Isolate *, v8::GCType, v8::GCCallbackFlags, void *data) {
        ((marked *)data)->collecting = true;
    }

    static void on_collected(v8::Isolate *, v8::GCType, v8::GCCallbackFlags, void *data) {
        ((marked *)data)->collections++;
        ((marked *)data)->build();
        ((marked *)data)->collecting = false;
    }

    static void on_dead(const v8::WeakCallbackInfo<mark> &info) {
        mark *gone = info.GetParameter();
        marked *of = gone->of;
        size_t at = gone->at;
        gone->object.Reset();
        gone->what = T{};
        of->marks_[at].swap(of->marks_.back());
        of->marks_[at]->at = at;
        of->spare_.push_back(std::move(of->marks_.back()));
        of->marks_.pop_back();
    }
};

#endif
