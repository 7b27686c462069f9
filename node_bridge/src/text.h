/* text.h - whether a script is what the file says that it is named after. Who compiles in memory (test runners,
 * loaders, bundlers) names scripts as their sources; without a map, their lines are nobody's. V8 doesn't hand out a
 * script's text, but tells where each of its lines begins. */
#ifndef MEMWATCH_TEXT_H
#define MEMWATCH_TEXT_H
#include <string>

#include <v8.h>

class script_text {
  public:
    /* When the script is met; reads nothing. */
    void note(v8::Isolate *isolate, v8::Local<v8::UnboundScript> script, const std::string &file);

    /* Reads the file if need be; the first call counts. */
    void compare(v8::Isolate *isolate);

    /* Until compared, or where there is no such file: true. Async-signal-safe. */
    bool has_lines_of_file() const { return lines_; }
    bool has_columns_of_file() const { return columns_; } /* of the first line */

  private:
    v8::Global<v8::UnboundScript> script_; /* weak; until compared */
    std::string path_;
    int length_ = -1; /* UTF-16 units */
    bool suspect_ = false, lines_ = true, columns_ = true;
};

#endif
