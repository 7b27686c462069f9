/* sourcemap.h - what a compiler says of the file that it wrote (ECMA-426): which line of which source a position is. */
#ifndef MEMWATCH_SOURCEMAP_H
#define MEMWATCH_SOURCEMAP_H
#include <stdint.h>

#include <memory>
#include <string>
#include <vector>

struct source_map {
    struct row {                                    /* one segment; everything counts from 0 */
        int32_t line, column;                       /* in the generated file */
        int32_t source, source_line, source_column; /* source -1: nobody wrote this */
        int32_t name;                               /* -1: none */
    };
    std::vector<std::string> sources, names; /* a source that can't be told is empty */
    std::vector<row> rows;                   /* sorted */

    /* The segment that holds a position (from 1, as V8 counts); NULL if no source is known for it. Async-signal-safe.
     */
    const row *find(uint32_t line, uint32_t column) const;

    /* What the function was called that `called` generated characters at this position name; NULL if the map doesn't
     * say. The position is that of its parameters, where functions begin for V8. Async-signal-safe. */
    const std::string *name_before(uint32_t line, uint32_t column, size_t called) const;
};

/* The map that `url` (of a sourceMappingURL comment in `file`) leads to: data or a file, nothing else. NULL if there is
 * none, or none that is sound: then lines are the generated file's own. Never throws, never blocks on anything but a
 * regular file. */
std::unique_ptr<source_map> source_map_of(const std::string &file, const std::string &url);

/* The contents of a regular file of at most 64 MiB. */
bool read_source(const std::string &path, std::string *out);

#endif
