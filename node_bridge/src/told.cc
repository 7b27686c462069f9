/* told.cc - see told.h. No code of the program's runs for it. */
#include "told.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

namespace memwatch {

namespace {

bool steers(uint32_t c) {
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x61c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

/* The length of a character of UTF-8 and its number; what is no UTF-8 is one of its own. */
size_t character(const std::string &text, size_t at, uint32_t *code) {
    unsigned char first = (unsigned char)text[at];
    size_t n = first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    *code = n == 1 ? first : first & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (at + i >= text.size() || ((unsigned char)text[at + i] & 0xc0) != 0x80) return *code = first, 1;
        *code = *code << 6 | ((unsigned char)text[at + i] & 0x3f);
    }
    return n;
}

/* lib/printed.js says what is escaped. */
std::string clean(const std::string &text) {
    std::string out;
    uint32_t code;
    for (size_t at = 0, n; at < text.size(); at += n) {
        n = character(text, at, &code);
        bool is_byte = n == 1 && code >= 0x80;
        char escape[16];
        if (!steers(code) && !is_byte) {
            out.append(text, at, n);
            continue;
        }
        snprintf(escape, sizeof escape, code < 0x100 ? "\\x%02x" : "\\u%04x", code);
        out += escape;
    }
    return out;
}

/* As it is from the working folder, if it is below that. */
std::string near(const std::string &file) {
    char folder[4096];
    if (!getcwd(folder, sizeof folder)) return file;
    std::string start = std::string(folder) + "/";
    return file.compare(0, start.size(), start) ? file : file.substr(start.size());
}

std::string text_of(const char *text, size_t n) { return text ? std::string(text, n) : std::string(); }

template <class T> T number_at(const uint8_t *bytes) {
    T number;
    memcpy(&number, bytes, sizeof number);
    return number;
}

/* As JavaScript writes it. */
std::string real(state *s, double number) {
    v8::HandleScope scope(s->isolate);
    v8::Local<v8::String> text;
    if (!v8::Number::New(s->isolate, number)->ToString(s->isolate->GetCurrentContext()).ToLocal(&text)) return "?";
    v8::String::Utf8Value utf8(s->isolate, text);
    return text_of(*utf8, (size_t)utf8.length());
}

double half(uint16_t bits) {
    uint64_t exponent = bits >> 10 & 31, fraction = bits & 1023;
    if (!exponent) return (bits & 0x8000 ? -0x1p-24 : 0x1p-24) * (double)fraction;
    uint64_t wide = (exponent == 31 ? 2047 : exponent + 1008) << 52 | fraction << 42 | (uint64_t)(bits & 0x8000) << 48;
    return number_at<double>((const uint8_t *)&wide);
}

std::string shown(state *s, char letter, const uint8_t *bytes) {
    switch (letter) {
    case 'b': return std::to_string(number_at<int8_t>(bytes));
    case 'B': return std::to_string(*bytes);
    case 'h': return std::to_string(number_at<int16_t>(bytes));
    case 'H': return std::to_string(number_at<uint16_t>(bytes));
    case 'i': return std::to_string(number_at<int32_t>(bytes));
    case 'I': return std::to_string(number_at<uint32_t>(bytes));
    case 'q': return std::to_string(number_at<int64_t>(bytes));
    case 'Q': return std::to_string(number_at<uint64_t>(bytes));
    case 'e': return real(s, half(number_at<uint16_t>(bytes)));
    case 'f': return real(s, (double)number_at<float>(bytes));
    default: return real(s, number_at<double>(bytes));
    }
}

struct site {
    std::string file, function;
    uint32_t line;
};

bool site_of(uint32_t id, site *out) {
    mw_site known;
    if (!id || mw_site_of(id, &known)) return false;
    *out = {text_of(known.file, known.file_length), text_of(known.function, known.function_length), known.line};
    return true;
}

/* Native code has no line here. */
std::string numbered(const std::string &file, uint32_t line) { return line ? file + ":" + std::to_string(line) : file; }

/* The line of the program's to which JavaScript has come. */
bool site_here(state *s, site *out) {
    v8::HandleScope scope(s->isolate);
    v8::Local<v8::StackTrace> stack = v8::StackTrace::CurrentStackTrace(s->isolate, 32);
    for (uint32_t i = 0; i < (uint32_t)stack->GetFrameCount(); i++) {
        v8::Local<v8::StackFrame> frame = stack->GetFrame(s->isolate, i);
        v8::String::Utf8Value name(s->isolate, frame->GetScriptNameOrSourceURL());
        std::string file = text_of(*name, (size_t)name.length());
        if (file.empty() || !file.compare(0, 5, "node:") ||
            (!s->own.empty() && !file.compare(0, s->own.size(), s->own)))
            continue;
        if (!file.compare(0, 7, "file://")) file = file.substr(7);
        uint32_t line = (uint32_t)frame->GetLineNumber(), column = (uint32_t)frame->GetColumn();
        const char *source;
        if (isolate_original(file.c_str(), &line, &column, &source) == ORIGINAL_FOUND) file = source;
        *out = {file, "", line};
        return true;
    }
    return false;
}

std::string where(state *s, const hit &hit, bool here) {
    site at, now;
    if (!site_of(hit.hit.site, &at))
        return hit.hit.how == HIT_BY_KERNEL ? " by the kernel"
                                            : " by " + std::string(hit.thread) + ", which runs no JavaScript there";
    std::string text = " at " + numbered(near(at.file), at.line) + " " + at.function;
    if (here && site_here(s, &now) && (now.line != at.line || now.file != at.file))
        text += ", noticed at " + (now.file == at.file ? "line " : near(now.file) + ":") + std::to_string(now.line);
    return text;
}

} // namespace

written written_of(const shape &shape, const hit &hit) {
    const mw_hit &h = hit.hit;
    uint32_t start = h.offset + h.at, length = h.length < hit.bytes ? h.length : hit.bytes;
    bool whole = h.size && h.size <= MW_HIT_MAX;
    uint32_t region = whole ? h.offset : start;
    written found = {-1, nullptr, nullptr, start, length};
    if (shape.letter) {
        found.index = start / shape.size;
        found.offset = (uint32_t)found.index * shape.size;
        found.bytes = shape.size;
    }
    if (!h.size || found.offset < region || found.offset + found.bytes > region + hit.bytes) return found;
    found.old = hit.before + (found.offset - region);
    found.after = hit.after + (found.offset - region);
    return found;
}

std::string told_line(state *s, const shape &shape, const hit &hit, bool here) {
    written w = written_of(shape, hit);
    std::string text = shape.name;
    if (w.index >= 0) text += "[" + std::to_string(w.index) + "]";
    if (w.index >= 0 && w.old)
        text += " " + shown(s, shape.letter, w.old) + " → " + shown(s, shape.letter, w.after);
    else
        text += " was written to";
    text += where(s, hit, here);
    if (shape.has_when) text += " (when " + shape.when + ")";
    if (hit.more) text += ", and " + std::to_string(hit.more) + " more like it";
    return told(text);
}

std::string told_stack(const hit &hit, const std::string &thread) {
    site at;
    std::string text = "Thread " + clean(thread) + " (most recent call first):\n";
    if (!site_of(hit.hit.site, &at)) return "";
    for (uint32_t i = 0; i <= hit.count; i++) {
        if (i && !site_of(hit.callers[i - 1], &at)) continue;
        text += "    at " + clean(at.function) + " (" + clean(numbered(at.file, at.line)) + ")\n";
    }
    if (hit.cut) text += "    ...\n";
    return text;
}

std::string told(const std::string &text) { return "memwatch: " + clean(text) + "\n"; }

void print(const std::string &lines) {
    enum { SECOND = 1000 /* ms */ };
    for (size_t at = 0; at < lines.size();) {
        ssize_t n = write(STDERR_FILENO, lines.data() + at, lines.size() - at);
        if (n > 0)
            at += (size_t)n;
        else if (errno == EAGAIN) {
            struct pollfd writable = {STDERR_FILENO, POLLOUT, 0};
            if (poll(&writable, 1, SECOND) == 0) return; /* nobody reads */
        } else if (errno != EINTR) {
            return;
        }
    }
}

} // namespace memwatch
