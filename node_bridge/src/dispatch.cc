/* dispatch.cc - see dispatch.h. */
#include "dispatch.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>

namespace memwatch {

/* By a system call: what is read may be no address at all. */
static bool read_words(uintptr_t from, uintptr_t *to, size_t n) {
    struct iovec here = {to, n * sizeof *to}, there = {(void *)from, n * sizeof *to};
    return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == (ssize_t)here.iov_len;
}

void dispatch::learn(uintptr_t handler, bool stops) {
    handlers.push_back(handler);
    if (stops) stop = handler;
}

/* V8's own data begin an isolate: among them is the table's address, for code that V8 makes. */
bool dispatch::find(const void *isolate) {
    enum { WORDS = 12288, FEWEST = 128 };
    if (table || !stop) return table != nullptr;
    std::sort(handlers.begin(), handlers.end());
    auto is_handler = [this](uintptr_t at) { return std::binary_search(handlers.begin(), handlers.end(), at); };
    for (size_t i = 0; i < WORDS; i++) {
        uintptr_t at, entries[BYTECODES];
        if (!read_words((uintptr_t)isolate + i * sizeof at, &at, 1)) return false;
        if (at < 4096 || at & 7 || !read_words(at, entries, 1) || !is_handler(entries[0])) continue;
        if (!read_words(at, entries, BYTECODES)) continue;
        count = (size_t)(std::find_if_not(entries, entries + BYTECODES, is_handler) - entries);
        if (count < FEWEST) continue;
        table = (uintptr_t *)at;
        std::copy(entries, entries + count, kept);
        return true;
    }
    return false;
}

void dispatch::divert() {
    if (!table || now.exchange(true)) return;
    for (size_t i = 0; i < count; i++) __atomic_store_n(&table[i], stop, __ATOMIC_RELAXED);
}

void dispatch::restore() {
    if (!now) return;
    for (size_t i = 0; i < count; i++) __atomic_store_n(&table[i], kept[i], __ATOMIC_RELAXED);
    now = false;
}

} // namespace memwatch
