/* utf8.h - a character as UTF-8, without the interpreter. */
#ifndef MEMWATCH_PYTHON_UTF8_H
#define MEMWATCH_PYTHON_UTF8_H
#include "adapter.h"

/* Returns how many bytes, at most 4. A lone surrogate becomes three bytes, as with "surrogatepass". */
static inline size_t mwpy_put_utf8(char *out, Py_UCS4 c) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 63));
    out[0] = (char)((0xF00 >> n & 0xFF) | c);
    return n;
}
#endif
