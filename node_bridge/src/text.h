/* text.h - whether a script is what the file says that it is named after. Who compiles in memory (test runners,
 * loaders, bundlers) names scripts as their sources; without a map, their lines are nobody's. V8 doesn't hand out a
 * script's text, but tells where each of its lines begins. */
#ifndef MEMWATCH_TEXT_H
#define MEMWATCH_TEXT_H
#include <string>

#include <v8.h>

struct script_text {
    bool has_lines_of_file = true;   /* also where there is no such file */
    bool has_columns_of_file = true; /* of the first line */
};

/* When V8 tells of a script: later its text may be gone, and the file another one. Reads the file only if their lengths
 * differ. */
script_text text_of(v8::Local<v8::UnboundScript> script, const std::string &file);

#endif
