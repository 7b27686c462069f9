/* glob.c - see glob.h. */
#include "places/glob.h"

static char folded(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c; }

static bool is_same(char a, char b, bool fold) { return a == b || (fold && folded(a) == folded(b)); }

bool mwpy_glob(const char *pattern, size_t n, const char *name, size_t length, bool fold) {
    size_t p = 0, at = 0, star = n, from = 0;
    while (at < length) {
        if (p < n && pattern[p] == '*') {
            star = p++;
            from = at;
        } else if (p < n && (pattern[p] == '?' || is_same(pattern[p], name[at], fold))) {
            at++;
            while (pattern[p] == '?' && at < length && ((unsigned char)name[at] & 0xC0) == 0x80) at++;
            p++;
        } else if (star < n) {
            p = star + 1;
            at = ++from;
        } else {
            return false;
        }
    }
    while (p < n && pattern[p] == '*') p++;
    return p == n;
}
