/* text.cc - see text.h. What can't be read or understood contradicts nobody. */
#include "text.h"

#include <sys/stat.h>

#include <algorithm>
#include <vector>

#include "sourcemap.h"

namespace {

constexpr int LENGTH_MAX = 1 << 29;   /* units of a string of V8's */
constexpr int APPENDED_LINES_MAX = 3; /* by whoever wraps a module in a function */

using unbound = v8::Local<v8::UnboundScript>;

/* Both are -1 behind the script's end; one alone can be, where lines or columns are counted from elsewhere. */
bool is_in(unbound script, int position) {
    return script->GetLineNumber(position) != -1 || script->GetColumnNumber(position) != -1;
}

/* The first position in [from, to] for which it holds, which is so for all behind it; to + 1 if there is none. */
template <typename F> int first_of(int from, int to, F holds) {
    while (from <= to) {
        int middle = from + (to - from) / 2;
        if (holds(middle))
            to = middle - 1;
        else
            from = middle + 1;
    }
    return from;
}

int length_of(unbound script) {
    int limit = 1024;
    while (limit < LENGTH_MAX && is_in(script, limit)) limit *= 2;
    return first_of(0, limit, [&](int at) { return !is_in(script, at); }) - 1;
}

struct file_lines {
    std::vector<int> starts; /* of the second line, the third, ..., in UTF-16 units */
    int length = 0;
};

/* Lines as ECMA-262 has them; a byte order mark is no part of the text. */
file_lines lines_of(const std::string &text) {
    file_lines found;
    size_t at = text.compare(0, 3, "\xef\xbb\xbf") ? 0 : 3, n = text.size();
    while (at < n) {
        unsigned char c = (unsigned char)text[at];
        size_t bytes = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        bool separator = bytes == 3 && (!text.compare(at, 3, "\xe2\x80\xa8") || !text.compare(at, 3, "\xe2\x80\xa9"));
        bool ends = c == '\n' || separator || (c == '\r' && (at + 1 == n || text[at + 1] != '\n'));
        found.length += bytes == 4 ? 2 : 1;
        at += bytes;
        if (ends) found.starts.push_back(found.length);
    }
    return found;
}

/* Whether each line but the first, in which a wrapper may begin, lies where the file has it. */
bool same_lines(unbound script, int length, const file_lines &file) {
    auto line = [&](int position) { return script->GetLineNumber(position); };
    int last = (int)file.starts.size(),
        from = first_of(0, length, [&](int at) { return line(at) >= 1; }); /* the second */
    if (line(length) > last + APPENDED_LINES_MAX) return false;
    if (!last) return from > file.length;
    if (from + file.length - file.starts[0] > length) return false;
    for (int i = 0; i < last; i++) {
        int start = from + file.starts[i] - file.starts[0];
        if (line(start) != i + 1 || (start && line(start - 1) != i)) return false;
    }
    return true;
}

bool is_path(const std::string &name) {
    return name[0] == '/' || (name.find(':') == std::string::npos && name[0] != '<');
}

bool is_file(const std::string &path, off_t *size) {
    struct stat info;
    if (stat(path.c_str(), &info) || !S_ISREG(info.st_mode)) return false;
    *size = info.st_size;
    return true;
}

/* "webpack://app/./a.js": what a bundler calls a source that it has compiled. */
bool is_bundlers_name(const std::string &name) {
    size_t scheme = name.find("://");
    return scheme != std::string::npos && scheme > 1 && name.find_first_of("/?# ") > scheme &&
           name.compare(0, 5, "data:");
}

} // namespace

script_text text_of(unbound script, const std::string &file) {
    script_text is;
    std::string path = file, text;
    off_t size;
    if (is_bundlers_name(file)) is.has_lines_of_file = is.has_columns_of_file = false;
    if (!is_path(file)) return is;
    if (!is_file(path, &size)) { /* "/app/a.vue?type=script" */
        path.resize(std::min(path.find('?'), path.size()));
        if (path.size() == file.size() || !is_file(path, &size)) return is;
    }
    int length = length_of(script);
    if (length == size || !read_source(path, &text)) return is; /* nearly always the same */
    file_lines lines = lines_of(text);
    is.has_columns_of_file = lines.length == length;
    is.has_lines_of_file = is.has_columns_of_file || same_lines(script, length, lines);
    return is;
}
