/* stopping.cc - see stopping.h. */
#include "stopping.h"

#include <sys/resource.h>

#include <mutex>

#include "symbols.h"

namespace memwatch {

/* v8::debug::BreakRightNow(isolate, reasons): what the debugger's own interrupt calls. It stops in the function that
 * runs, and leaves no frame. reasons: a set of bits, of one int. */
static void (*break_right_now)(v8::Isolate *, int);

void stop_prepare() {
    static std::once_flag once;
    std::call_once(once, [] {
        *(void **)&break_right_now =
            symbol_of_program("_ZN2v85debug13BreakRightNowEPNS_7IsolateENS_4base7EnumSetINS0_11BreakReasonEiEE");
    });
}

/* How often this thread has waited for something. */
static long waits() {
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) ? 0 : usage.ru_nvcsw;
}

static void call(v8::Isolate *isolate, v8::Local<v8::Function> stop) {
    v8::Local<v8::Context> context = stop->GetCreationContextChecked();
    v8::Context::Scope inside(context);
    v8::TryCatch caught(isolate);
    v8::Local<v8::Value> nothing;
    nothing = stop->Call(context, v8::Undefined(isolate), 0, nullptr).FromMaybe(nothing);
}

/* A debugger that stops waits for somebody who says how it goes on. */
bool stop_here(v8::Isolate *isolate, v8::Local<v8::Function> stop, bool in_javascript) {
    long before = waits();
    if (in_javascript && break_right_now)
        break_right_now(isolate, 0);
    else
        call(isolate, stop);
    return waits() != before;
}

} // namespace memwatch
