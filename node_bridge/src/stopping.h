/* stopping.h - a debugger, if there is one, stops now. */
#ifndef MEMWATCH_NODE_STOPPING_H
#define MEMWATCH_NODE_STOPPING_H
#include <v8.h>

namespace memwatch {

/* Looks for what V8's debugger has; takes some ms, once. */
void stop_prepare();
/* In the function that runs, if JavaScript does; else in `stop`, which consists of a `debugger` statement. Comes back
 * when the program goes on. False: nothing has stopped. */
bool stop_here(v8::Isolate *isolate, v8::Local<v8::Function> stop, bool in_javascript);

} // namespace memwatch
#endif
