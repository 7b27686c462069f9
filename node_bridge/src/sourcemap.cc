/* sourcemap.cc - reads source maps. Whoever wrote one may have made mistakes, or mean ill: every number is checked,
 * what isn't sound is no map at all. */
#include "sourcemap.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace {

constexpr size_t MAP_MAX = 64u << 20; /* bytes */
constexpr size_t ROWS_MAX = 8u << 20;
constexpr size_t NAME_MAX_BYTES = 4096;
constexpr int64_t POSITION_MAX = 1 << 30; /* a line, a column; of two the sum fits too */
constexpr int NESTED_MAX = 64;

/* ---- JSON, as far as maps go ------------------------------------------------------------------------------------- */

class json {
    const char *at, *stop;
    int nested = 0;

    char next() {
        while (at < stop && strchr(" \t\r\n", *at) && *at) at++;
        return at < stop ? *at : 0;
    }
    bool take(char c) { return next() == c && at++; }

    /* Members or items up to `end`. */
    template <typename F> bool list(char begin, char end, F one) {
        if (!take(begin) || ++nested > NESTED_MAX) return false;
        if (!take(end)) {
            do
                if (!one()) return false;
            while (take(','));
            if (!take(end)) return false;
        }
        nested--;
        return true;
    }

    bool hex(uint32_t *code) {
        if (stop - at < 4) return false;
        *code = 0;
        for (int i = 0; i < 4; i++, at++) {
            char c = *at;
            int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
            if (digit < 0) return false;
            *code = *code << 4 | (uint32_t)digit;
        }
        return true;
    }

    bool escaped(std::string *out) {
        static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
        if (at >= stop) return false;
        char c = *at++;
        if (const char *known = c ? strchr(from, c) : nullptr) {
            *out += to[known - from];
            return true;
        }
        uint32_t code, low;
        if (c != 'u' || !hex(&code)) return false;
        if (code >= 0xd800 && code < 0xe000) { /* half of a pair, or alone */
            bool pair = code < 0xdc00 && stop - at > 6 && at[0] == '\\' && at[1] == 'u';
            if (pair) {
                at += 2;
                if (!hex(&low)) return false;
                if (low < 0xdc00 || low > 0xdfff) return false;
                code = 0x10000 + ((code - 0xd800) << 10 | (low - 0xdc00));
            } else {
                code = 0xfffd;
            }
        }
        if (code < 0x80) {
            *out += (char)code;
        } else if (code < 0x800) {
            *out += {(char)(0xc0 | code >> 6), (char)(0x80 | (code & 63))};
        } else if (code < 0x10000) {
            *out += {(char)(0xe0 | code >> 12), (char)(0x80 | (code >> 6 & 63)), (char)(0x80 | (code & 63))};
        } else {
            *out += {(char)(0xf0 | code >> 18), (char)(0x80 | (code >> 12 & 63)), (char)(0x80 | (code >> 6 & 63)),
                     (char)(0x80 | (code & 63))};
        }
        return true;
    }

  public:
    explicit json(const std::string &text) : at(text.data()), stop(text.data() + text.size()) {}

    char kind() { return next(); }
    bool ended() { return !next() && at == stop; }

    bool string(std::string *out) {
        if (!take('"')) return false;
        out->clear();
        while (at < stop && *at != '"') {
            const char *plain = at;
            while (at < stop && *at != '"' && *at != '\\') at++;
            out->append(plain, at - plain);
            if (at < stop && *at == '\\' && (at++, !escaped(out))) return false;
        }
        return at < stop && at++;
    }

    bool word(const char *w) {
        size_t n = strlen(w);
        return next() && (size_t)(stop - at) >= n && !memcmp(at, w, n) && (at += n);
    }

    bool whole(int64_t *out) { /* anything else that JSON calls a number is -1 */
        if (!next()) return false;
        const char *from = at;
        *out = 0;
        while (at < stop && *at && strchr("+-.0123456789eE", *at)) {
            *out = *at >= '0' && *at <= '9' && *out >= 0 && *out < POSITION_MAX ? *out * 10 + (*at - '0') : -1;
            at++;
        }
        return at > from;
    }

    template <typename F> bool array(F item) { return list('[', ']', item); }

    template <typename F> bool object(F member) {
        std::string key;
        return list('{', '}', [&] { return string(&key) && take(':') && member(key); });
    }

    bool skip() {
        std::string text;
        int64_t number;
        switch (kind()) {
        case '"': return string(&text);
        case '[': return array([this] { return skip(); });
        case '{': return object([this](const std::string &) { return skip(); });
        default: return word("null") || word("true") || word("false") || whole(&number);
        }
    }
};

/* ---- text -------------------------------------------------------------------------------------------------------- */

int digit64(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64(const std::string &text, std::string *out) {
    uint32_t bits = 0, held = 0;
    for (char c : text) {
        if (c == '=') break;
        int digit = digit64(c);
        if (digit < 0) return false;
        bits = bits << 6 | (uint32_t)digit;
        if ((held += 6) >= 8) *out += (char)(bits >> (held -= 8));
    }
    return true;
}

std::string percent_decoded(const std::string &text) {
    std::string out;
    for (size_t i = 0; i < text.size(); i++) {
        char *end, two[3] = {};
        if (text[i] == '%' && i + 2 < text.size()) memcpy(two, text.data() + i + 1, 2);
        long code = isxdigit((unsigned char)two[0]) ? strtol(two, &end, 16) : 0;
        if (code && end == two + 2) i += 2;
        out += code && end == two + 2 ? (char)code : text[i];
    }
    return out;
}

/* "webpack://app/", "file:///": a scheme of at least two letters. */
bool has_scheme(const std::string &url) {
    size_t n = 0;
    while (n < url.size() && (isalnum((unsigned char)url[n]) || strchr("+-.", url[n]))) n++;
    return n > 1 && isalpha((unsigned char)url[0]) && n < url.size() && url[n] == ':';
}

/* A path of it, "." and ".." taken out; as it is if it belongs to no folder. */
std::string within(const std::string &folder, const std::string &path) {
    if (path.empty() || (path[0] != '/' && folder.empty())) return path;
    std::string whole = path[0] == '/' ? path : folder + "/" + path, out;
    for (size_t from = 0; from <= whole.size();) {
        size_t stop = std::min(whole.find('/', from), whole.size());
        std::string part = whole.substr(from, stop - from);
        from = stop + 1;
        if (part == "..") {
            out.resize(std::min(out.rfind('/'), out.size()));
        } else if (!part.empty() && part != ".") {
            out += "/" + part;
        }
    }
    return out;
}

std::string folder_of(const std::string &file) {
    return file.empty() || file[0] != '/' ? "" : file.substr(0, file.rfind('/'));
}

/* Names go into journals and onto terminals. */
bool is_presentable(const std::string &name) {
    for (unsigned char c : name)
        if (c < ' ' || c == 0x7f) return false;
    return name.size() <= NAME_MAX_BYTES;
}

/* A source's name as people know it: a path, or what the bundler calls it; empty if there is none to be had. */
std::string source_name(const std::string &folder, const std::string &root, const std::string &source) {
    std::string name = source;
    if (!root.empty() && !has_scheme(source) && source[0] != '/')
        name = root + (root.back() == '/' ? "" : "/") + source;
    if (has_scheme(name)) name.resize(std::min(name.find_first_of("?#"), name.size())); /* "?066e" of webpack's */
    if (!name.compare(0, 7, "file://")) name = name.substr(std::min(name.find('/', 7), name.size()));
    if (!has_scheme(name)) name = within(folder, percent_decoded(name));
    return is_presentable(name) ? name : "";
}

/* ---- mappings ---------------------------------------------------------------------------------------------------- */

struct mappings {
    source_map *map;
    size_t first_source, first_name; /* of this section */
    int64_t line, column;            /* where it begins */

    static bool number(const char *&at, const char *stop, int64_t *to) {
        int64_t value = 0;
        for (int shift = 0; at < stop && shift <= 30; shift += 5) {
            int digit = digit64(*at);
            if (digit < 0) return false;
            at++;
            value |= (int64_t)(digit & 31) << shift;
            if (digit & 32) continue;
            *to += value & 1 ? -(value >> 1) : value >> 1;
            return *to >= 0 && *to < POSITION_MAX;
        }
        return false;
    }

    bool decode(const std::string &text, size_t sources, size_t names) {
        int64_t at_line = 0, at_column = 0, source = 0, source_line = 0, source_column = 0, name = 0;
        const char *at = text.data(), *stop = at + text.size();
        while (at < stop) {
            if (*at == ';' || *at == ',') {
                if (*at == ';') at_line++, at_column = 0;
                at++;
                continue;
            }
            source_map::row row{(int32_t)(line + at_line), 0, -1, 0, 0, -1};
            if (!number(at, stop, &at_column) || at_line >= POSITION_MAX || map->rows.size() >= ROWS_MAX) return false;
            row.column = (int32_t)(at_column + (at_line ? 0 : column));
            if (at < stop && *at != ',' && *at != ';') {
                if (!number(at, stop, &source) || !number(at, stop, &source_line) || !number(at, stop, &source_column))
                    return false;
                if ((size_t)source >= sources) return false;
                row.source = (int32_t)(first_source + source);
                row.source_line = (int32_t)source_line;
                row.source_column = (int32_t)source_column;
                if (map->sources[row.source].empty()) row.source = -1;
                if (at < stop && *at != ',' && *at != ';') {
                    if (!number(at, stop, &name) || (size_t)name >= names) return false;
                    row.name = (int32_t)(first_name + name);
                }
            }
            map->rows.push_back(row);
        }
        return true;
    }
};

/* One map, or, at the top, sections of them. */
bool read_map(json &in, const std::string &folder, int64_t line, int64_t column, bool top, source_map *map) {
    mappings rows{map, map->sources.size(), map->names.size(), line, column};
    std::vector<std::string> sources;
    std::string root, text;
    bool sectioned = false;
    bool sound = in.object([&](const std::string &key) {
        if (key == "sourceRoot" && in.kind() == '"') return in.string(&root);
        if (key == "mappings") return in.string(&text);
        if (key == "sources" || key == "names")
            return in.array([&] {
                std::string name;
                if (in.kind() == '"' ? !in.string(&name) : !in.word("null")) return false;
                if (key == "sources")
                    sources.push_back(name);
                else
                    map->names.push_back(is_presentable(name) ? name : "");
                return true;
            });
        if (key == "sections" && top)
            return sectioned = in.array([&] {
                int64_t from_line = -1, from_column = -1;
                bool found = false;
                return in.object([&](const std::string &part) {
                    if (part == "offset")
                        return in.object([&](const std::string &axis) {
                            return axis == "line"     ? in.whole(&from_line)
                                   : axis == "column" ? in.whole(&from_column)
                                                      : in.skip();
                        });
                    if (part != "map") return in.skip();
                    if (from_line < 0 || from_line > POSITION_MAX || from_column < 0 || from_column > POSITION_MAX)
                        return false; /* the offset comes first, whoever writes it */
                    return found = read_map(in, folder, from_line, from_column, false, map);
                }) && found;
            });
        return in.skip();
    });
    if (!sound) return false;
    if (sectioned) return true;
    for (const std::string &source : sources)
        map->sources.push_back(source.empty() ? "" : source_name(folder, root, source));
    return rows.decode(text, sources.size(), map->names.size() - rows.first_name);
}

/* ---- where maps are ---------------------------------------------------------------------------------------------- */

bool read_data(const std::string &url, std::string *out) {
    size_t comma = url.find(',');
    if (comma == std::string::npos || url.compare(0, 21, "data:application/json")) return false;
    std::string head = url.substr(0, comma), body = percent_decoded(url.substr(comma + 1));
    bool encoded = head.size() > 7 && !head.compare(head.size() - 7, 7, ";base64");
    if (!encoded) out->swap(body);
    return !encoded || base64(body, out);
}

} // namespace

bool read_source(const std::string &path, std::string *out) {
    struct stat info;
    int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file < 0) return false;
    bool whole = !fstat(file, &info) && S_ISREG(info.st_mode) && (size_t)info.st_size <= MAP_MAX;
    if (whole) {
        out->resize((size_t)info.st_size);
        size_t n = 0;
        ssize_t more = 1;
        while (n < out->size() && more > 0)
            if ((more = read(file, &(*out)[n], out->size() - n)) > 0) n += (size_t)more;
        whole = n == out->size();
    }
    close(file);
    return whole;
}

std::unique_ptr<source_map> source_map_of(const std::string &file, const std::string &url) {
    std::unique_ptr<source_map> map(new source_map);
    std::string text, folder = folder_of(file);
    if (url.empty() || url.size() > MAP_MAX) return nullptr;
    if (!url.compare(0, 5, "data:")) {
        if (!read_data(url, &text)) return nullptr;
    } else {
        std::string path = source_name(folder, "", url);
        if (path.empty() || path[0] != '/' || !read_source(path, &text)) return nullptr;
        folder = folder_of(path);
    }
    if (!text.compare(0, 3, ")]}")) text.erase(0, text.find('\n')); /* against inclusion as a script */
    json in(text);
    if (!read_map(in, folder, 0, 0, true, map.get()) || !in.ended()) return nullptr;
    std::stable_sort(map->rows.begin(), map->rows.end(), [](const source_map::row &a, const source_map::row &b) {
        return a.line < b.line || (a.line == b.line && a.column < b.column);
    });
    map->rows.shrink_to_fit();
    return map;
}

static const source_map::row *last_before(const source_map *map, int32_t line, int32_t column) {
    auto next =
        std::upper_bound(map->rows.begin(), map->rows.end(), column, [line](int32_t c, const source_map::row &r) {
            return line < r.line || (line == r.line && c < r.column);
        });
    return next != map->rows.begin() && std::prev(next)->line == line ? &*std::prev(next) : nullptr;
}

const source_map::row *source_map::find(uint32_t line, uint32_t column) const {
    const row *found = line ? last_before(this, (int32_t)line - 1, (int32_t)column - 1) : nullptr;
    return found && found->source >= 0 ? found : nullptr;
}

const std::string *source_map::name_before(uint32_t line, uint32_t column, size_t called) const {
    for (size_t between = 0; between < 2; between++) { /* "a(x)" of a function, "a=(x)" of an arrow */
        if (!line || column <= called + between) continue;
        int32_t wanted = (int32_t)(column - 1 - called - between);
        const row *found = last_before(this, (int32_t)line - 1, wanted);
        if (found && found->column == wanted && found->name >= 0 && !names[found->name].empty())
            return &names[found->name];
    }
    return nullptr;
}
