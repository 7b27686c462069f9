/* tokens.h - statements whose token nobody holds any more: see lib/sql/tracer.js. A FinalizationRegistry would tell,
 * but only after a full collection: until then V8 keeps what is registered, and copies it. Belongs to one isolate. */
#ifndef MEMWATCH_TOKENS_H
#define MEMWATCH_TOKENS_H
#include <cstdint>
#include <memory>
#include <vector>

#include <v8.h>

class tokens {
  public:
    explicit tokens(v8::Isolate *isolate) : isolate_(isolate) {}
    tokens(const tokens &) = delete;
    tokens &operator=(const tokens &) = delete;

    void follow(v8::Local<v8::Value> token, v8::Local<v8::Value> statement) {
        std::unique_ptr<pair> p(new pair{{isolate_, token}, {isolate_, statement}, held_.size(), this});
        p->token.SetWeak(p.get(), on_dead, v8::WeakCallbackType::kParameter);
        held_.push_back(std::move(p));
    }

    /* Those of whose tokens that is so since it was asked last. */
    v8::Local<v8::Array> take() {
        std::vector<v8::Local<v8::Value>> statements;
        for (const auto &p : gone_) statements.push_back(p->statement.Get(isolate_));
        gone_.clear();
        count = 0;
        return v8::Array::New(isolate_, statements.data(), statements.size());
    }

    uint32_t count = 0; /* of gone_: read by JavaScript */

  private:
    struct pair {
        v8::Global<v8::Value> token, statement;
        size_t at; /* in held_ */
        tokens *of;
    };

    v8::Isolate *isolate_;
    std::vector<std::unique_ptr<pair>> held_, gone_;

    /* In the middle of a collection. */
    static void on_dead(const v8::WeakCallbackInfo<pair> &info) {
        pair *dead = info.GetParameter();
        tokens *of = dead->of;
        size_t at = dead->at;
        dead->token.Reset();
        of->held_[at].swap(of->held_.back());
        of->held_[at]->at = at;
        of->gone_.push_back(std::move(of->held_.back()));
        of->held_.pop_back();
        of->count++;
    }
};

#endif
