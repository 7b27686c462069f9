/* corpus_run.c - runs whole functions on plain memory, then on the same memory while it is watched.
 *
 *   corpus_run TRACKER JOURNAL
 *
 * LEVEL_LIST is given by the compiler's command line: X(table) for each table of functions.
 *
 * The results must be the same, and the journal's events, replayed over the memory as it was, must add up to the memory
 * as it is: a write that was missed would show. One line for each function that fails; a summary at the end. */
#include "check.h"
#include "corpus.h"
#include "events.h"
#include "tracker.h"

#define X(name) extern const struct corpus_entry name[];
LEVEL_LIST
#undef X
static const struct {
    const char *name;
    const struct corpus_entry *table;
} levels[] = {
#define X(name) {#name, name},
    LEVEL_LIST
#undef X
};

static uint8_t initial[CORPUS_BYTES], plain[CORPUS_BYTES];

__attribute__((noinline)) static void call(const struct corpus_entry *entry, uint8_t *memory, uint32_t seed) {
    entry->run(memory, seed);
    __asm__ volatile("" ::: "memory");
}

int main(int argc, char **argv) {
    static const uint8_t session[16] = {2};
    unsigned failures = 0, functions = 0;
    uint64_t events = 0;
    struct events reader;
    struct event event;
    if (argc != 3) return 2;
    check(mw_start(tracker_named(argv[1])), "mw_start");
    check(mw_journal_open(argv[2], "corpus", session), "mw_journal_open");
    uint8_t *memory = mmap(0, CORPUS_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t l = 0; l < sizeof levels / sizeof *levels; l++)
        for (const struct corpus_entry *entry = levels[l].table; entry->name; entry++, functions++) {
            uint32_t seed = 0x2545f491u * (functions + 1), x = seed;
            for (size_t i = 0; i < CORPUS_BYTES; i += 4) {
                x ^= x << 13, x ^= x >> 17, x ^= x << 5;
                uint32_t v = i >= 8192 && i < 12288 ? (x & 0x807fffff) | 0x42000000 : x; /* floats of a moderate size */
                memcpy(initial + i, &v, 4);
            }
            memcpy(memory, initial, CORPUS_BYTES);
            call(entry, memory, seed);
            memcpy(plain, memory, CORPUS_BYTES);
            memcpy(memory, initial, CORPUS_BYTES);
            int64_t id = mw_register_page(memory, CORPUS_BYTES, MW_FLAGS_ALL, MW_DEPTH_FULL);
            check(id, "mw_register_page");
            events_open(&reader, argv[2], 0);
            reader.slot = reader.end;
            uint64_t from = reader.end;
            events_close(&reader);
            call(entry, memory, seed);
            uint64_t own = 0;
            events_open(&reader, argv[2], from);
            while (events_next(&reader, &event)) {
                if (event.variable != (uint32_t)id) continue;
                own++;
                if (event.offset + event.length > CORPUS_BYTES || event.flags || event.origin != MWJ_BY_STORE ||
                    memcmp(initial + event.offset, event.before, event.length)) {
                    printf("%s %s: event %llu at %u+%u doesn't fit what was there (flags %u, origin %u)\n",
                           levels[l].name, entry->name, (unsigned long long)own, event.offset, event.length,
                           event.flags, event.origin);
                    failures++;
                    break;
                }
                memcpy(initial + event.offset, event.after, event.length);
            }
            events_close(&reader);
            events += own;
            if (memcmp(memory, plain, CORPUS_BYTES)) {
                size_t at = 0;
                while (memory[at] == plain[at]) at++;
                printf("%s %s: byte %zu is %02x, on plain memory %02x\n", levels[l].name, entry->name, at, memory[at],
                       plain[at]);
                failures++;
            } else if (memcmp(memory, initial, CORPUS_BYTES)) {
                size_t at = 0;
                while (memory[at] == initial[at]) at++;
                printf("%s %s: byte %zu is %02x, the events say %02x: a write was missed\n", levels[l].name,
                       entry->name, at, memory[at], initial[at]);
                failures++;
            }
            if (!own && strcmp(entry->name, "streaming"))
                printf("%s %s: no event\n", levels[l].name, entry->name), failures++;
            check(mw_unregister_page((mw_variable_id)id), "mw_unregister_page");
            fflush(stdout);
        }
    check(mw_journal_close(), "mw_journal_close");
    printf("functions %u, events %llu, failures %u\n", functions, (unsigned long long)events, failures);
    return failures ? 1 : 0;
}
