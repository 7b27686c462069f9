/* breakpoint.c - what an instruction is beneath a breakpoint.
 *
 * A debugger, and the kernel for a uprobe, put int3 over the first byte of an instruction. To get past it, they have
 * the instruction run without it, or run a copy of it elsewhere. When that store faults, the thread is back at the
 * instruction, and int3 stands there. What it stands over is in the file that the text is mapped from.
 *
 * Runs in the signal handler, and only where there is an int3. Nothing of it is kept: other text may be mapped there
 * the next time. proc(5), /proc/pid/maps. */
#include "stores/breakpoint.h"

#include <fcntl.h>
#include <string.h>

#include "base/syscalls.h"
#include "memory/arena.h"
#include "memwatch.h"

#define AROUND 32u    /* bytes of text on either side: the file's, */
#define CHANGED_MAX 8 /* but for an instruction or so that somebody has patched */
#define PATH 512u

struct source {
    char by_mapping[64], by_name[PATH]; /* the first leads to the very file, but not everybody may take it */
    uint64_t offset;
};

MW_SIGNAL_SAFE static uint64_t number(const char **at) {
    uint64_t value = 0;
    for (;; (*at)++) {
        char c = **at;
        if ((c < '0' || c > '9') && (c < 'a' || c > 'f')) return value;
        value = value << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
}

/* Whether this line of /proc/self/maps, "from-to r-xp offset device inode path", is of the memory at ip. */
MW_SIGNAL_SAFE static bool take_line(struct source *source, const char *line, uintptr_t ip) {
    static const char folder[] = "/proc/self/map_files/", permissions[] = " r-xp ";
    const char *at = line;
    uint64_t from = number(&at), to = (at++, number(&at));
    if (ip - from >= to - from) return false;
    char *end = source->by_mapping + sizeof folder - 1;
    memcpy(source->by_mapping, folder, sizeof folder - 1);
    for (bool leading = true; line < at; line++) { /* without zeros in front, there */
        if (leading && *line == '0') continue;
        leading = *line == '-';
        *end++ = *line;
    }
    *end = 0;
    at += sizeof permissions - 1;
    source->offset = number(&at) + (ip - from);
    while (*at && *at != '/') at++;
    for (end = source->by_name; *at;) *end++ = *at++;
    *end = 0;
    return source->by_name[0] != 0;
}

MW_SIGNAL_SAFE static bool find_source(struct source *source, uintptr_t ip) {
    char line[PATH], chunk[PATH];
    unsigned used = 0;
    bool found = false;
    long maps = raw_syscall4(SYS_open, (long)"/proc/self/maps", O_RDONLY | O_CLOEXEC, 0, 0), n = maps;
    while (!found && n >= 0 && (n = raw_syscall4(SYS_read, maps, (long)chunk, sizeof chunk, 0)) > 0)
        for (long i = 0; i < n && !found; i++) {
            if (chunk[i] != '\n') {
                line[used] = chunk[i];
                used += used < sizeof line - 1;
                continue;
            }
            line[used < sizeof line - 1 ? used : 0] = 0; /* none that is too long: its path would be another's */
            found = take_line(source, line, ip);
            used = 0;
        }
    if (maps >= 0) raw_syscall4(SYS_close, maps, 0, 0, 0);
    return found;
}

MW_SIGNAL_SAFE static bool read_source(const char *path, uint64_t offset, uint8_t *to, unsigned n) {
    long file = raw_syscall4(SYS_open, (long)path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0, 0);
    if (file < 0) return false;
    long got = raw_syscall4(SYS_pread64, file, (long)to, n, (long)offset);
    raw_syscall4(SYS_close, file, 0, 0, 0);
    return got == (long)n;
}

MW_SIGNAL_SAFE bool breakpoint_lift(uintptr_t ip, uint8_t *first) {
    struct source source;
    uint8_t bytes[2 * AROUND];
    unsigned before = (unsigned)(ip & PAGE_MASK), n = MW_PAGE_SIZE - before;
    if (before > AROUND) before = AROUND;
    n = before + (n < AROUND ? n : AROUND);
    const uint8_t *text = (const uint8_t *)ip - before;
    if (!find_source(&source, ip)) return false;
    if (!read_source(source.by_mapping, source.offset - before, bytes, n) &&
        !read_source(source.by_name, source.offset - before, bytes, n))
        return false;
    unsigned changed = 0;
    for (unsigned i = 0; i < n; i++) changed += text[i] != bytes[i] && text[i] != INT3;
    *first = bytes[before];
    return changed <= CHANGED_MAX && *first != INT3; /* else, it is another file of this name, or was no instruction */
}
