/* inlining.cc - the tables that V8 keeps with optimised code, to find the frames of functions that it has inlined.
 *
 * JitCodeEvents tell where in the source each instruction comes from, but not from which of the inlined calls. V8's own
 * table of positions says it, and the data for leaving the code says whom each call calls. Where these lie differs from
 * version to version, and nobody promises it. So what is read is believed only if it agrees with what V8 has told of
 * the same code: where it begins, and each row of its positions. */
#include "inlining.h"

#include <string.h>
#include <v8.h>

#include <string>

namespace {

#if V8_MAJOR_VERSION == 11
enum { CODE = -8, TABLE = 24, DATA = 16, LITERALS = 2, CALLS = 7 };
#else
enum { CODE = -24, TABLE = 16, DATA = 8, LITERALS = 2, CALLS = V8_MAJOR_VERSION == 12 ? 7 : 8 };
#endif
enum { FUNCTIONS = 1, BEGIN = 40, LENGTH = 8, ELEMENTS = 16, MOST = 1 << 20 };

bool is_known_version() {
    static const bool known = [] {
        const std::string own = std::to_string(V8_MAJOR_VERSION) + "." + std::to_string(V8_MINOR_VERSION) + ".";
        constexpr int version = V8_MAJOR_VERSION * 100 + V8_MINOR_VERSION;
        return (version == 1103 || version == 1204 || version == 1306 || version == 1406) &&
               !strncmp(v8::V8::GetVersion(), own.c_str(), own.size());
    }();
    return known;
}

uintptr_t word(uintptr_t at) {
    uintptr_t value;
    memcpy(&value, (const void *)at, sizeof value);
    return value;
}

/* An object, from where V8 has its address; 0: that is none. */
uintptr_t object(uintptr_t at) {
    uintptr_t value = word(at);
    return (value & 3) == 1 && value >> 16 ? value - 1 : 0;
}

/* A small integer; -1: that is none. */
int64_t number(uintptr_t at) {
    uintptr_t value = word(at);
    return value & 0xffffffff ? -1 : (int64_t)value >> 32;
}

struct array {
    uintptr_t at = 0;
    int64_t length = 0;
    explicit array(uintptr_t place) : at(object(place)) {
        length = at ? number(at + LENGTH) : 0;
        if (length < 0 || length > MOST) length = 0;
    }
    uintptr_t element(int64_t i) const { return at + ELEMENTS + 8 * (uintptr_t)i; }
};

/* Numbers of any length, seven bits a byte, the sign in the lowest bit. */
struct reader {
    const uint8_t *at, *end;
    bool next(int64_t *value) {
        uint64_t bits = 0;
        for (int shift = 0; at < end && shift < 64; shift += 7) {
            bits |= (uint64_t)(*at & 127) << shift;
            if (*at++ & 128) continue;
            *value = (int64_t)(bits >> 1) ^ -(int64_t)(bits & 1);
            return true;
        }
        return false;
    }
};

/* A position as V8 has it: bit 0, it isn't JavaScript; 30 bits, where in the script, from 1; 16 bits, by which call,
 * from 1. */
int32_t place_of(int64_t position) { return (int32_t)(position >> 1 & 0x3fffffff) - 1; }
int call_of(int64_t position) { return (int)(position >> 31 & 0xffff) - 1; }

bool read_rows(uintptr_t code, const std::vector<position_row> &positions, inlining *found) {
    array table(code + TABLE);
    if (!table.length) return false;
    reader bytes{(const uint8_t *)table.element(0), (const uint8_t *)table.element(0) + table.length};
    int64_t offset = -1, position = 0, step, change;
    while (bytes.at < bytes.end) {
        if (found->rows.size() == positions.size() || !bytes.next(&step) || !bytes.next(&change)) return false;
#if V8_MAJOR_VERSION >= 14
        offset += step >> 1;
#else
        offset += step < 0 ? -step - 1 : step;
#endif
        position += change;
        const position_row &told = positions[found->rows.size()];
        if (told.offset != offset || told.position != place_of(position)) return false;
        found->rows.push_back(position & 1 ? -1 : call_of(position));
    }
    return found->rows.size() == positions.size();
}

bool read_calls(uintptr_t data, inlining *found) {
    array calls(data + ELEMENTS + 8 * CALLS);
    for (int64_t i = 0; 16 * i < calls.length; i++) {
        int64_t position = (int64_t)word(calls.element(2 * i));
        int32_t function = (int32_t)word(calls.element(2 * i + 1));
        if (call_of(position) >= i) return false;
        found->calls.push_back({place_of(position), call_of(position), function + 1});
    }
    for (int row : found->rows)
        if (row >= (int)found->calls.size()) return false;
    return true;
}

/* The code's own function comes first, then those that are inlined in it, by number. */
bool read_functions(uintptr_t data, inlining *found) {
    int64_t count = number(data + ELEMENTS + 8 * FUNCTIONS);
    array literals(data + ELEMENTS + 8 * LITERALS);
    int64_t first = V8_MAJOR_VERSION < 13 ? count : 0; /* behind as many other things, or in a list of their own */
    if (count < 0 || literals.length < first + count + 1) return false;
    for (int64_t i = first; i <= first + count; i++) {
        uintptr_t function = object(literals.element(i));
#if V8_MAJOR_VERSION == 12 /* wrapped */
        if (function) function = object(function + 8);
#endif
        if (!function) return false;
        found->functions.push_back(function + 1);
    }
    for (const inlined_call &call : found->calls)
        if (call.function < 0 || call.function > count) return false;
    return true;
}

} // namespace

bool read_inlining(uintptr_t code, const std::vector<position_row> &positions, inlining *found) {
    if (!is_known_version()) return false;
    uintptr_t described = object(code + CODE), data;
    if (!described || word(described + BEGIN) != code || !read_rows(described, positions, found)) return false;
    data = object(described + DATA);
    return data && number(data + LENGTH) > CALLS && read_calls(data, found) && read_functions(data, found);
}
