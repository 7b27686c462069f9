/* leaving_threads.c - threads of an owner map, watch, store to, read into, free and map anew, all at once: no byte of
 * one thread's is another's, nobody is killed, and each watch ends once.
 *
 *   leaving_threads TRACKER FOLDER */
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"
#include "events.h"
#include "memwatch.h"
#include "tracker.h"

enum { PAGE = MW_PAGE_SIZE, THREADS = 4, ROUNDS = 250 };
static _Atomic unsigned watches;

static void *own(void *number) {
    uint64_t state = (uintptr_t)number * 2654435761u + 1;
    uint8_t mark = (uint8_t)((uintptr_t)number * 16), bytes[64];
    int fds[2];
    REQUIRE(!pipe(fds));
    for (int round = 0; round < ROUNDS; round++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        size_t pages = 1 + state % 20, size = pages * PAGE;
        uint8_t *p = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *q = p;
        REQUIRE(p != MAP_FAILED);
        memset(p, mark, size);
        int64_t id = mw_register_page(p, size, 0, MW_DEPTH_FULL);
        check(id, "mw_register_page");
        watches++;
        for (size_t i = 0; i < pages; i++) p[i * PAGE + 1] = mark + 1;
        memset(bytes, mark + 2, sizeof bytes);
        REQUIRE(write(fds[1], bytes, 64) == 64 && read(fds[0], p + size - 64, 64) == 64);
        for (size_t i = 0; i < pages; i++) REQUIRE(p[i * PAGE] == mark && p[i * PAGE + 1] == mark + 1);
        REQUIRE(p[size - 1] == mark + 2);
        switch (state >> 32 & 7) {
        case 0: REQUIRE(!mw_unregister_page((mw_variable_id)id)); break;
        case 1: q = mremap(p, size, 2 * size, MREMAP_MAYMOVE); break;
        case 2: REQUIRE(!mprotect(p, size, PROT_READ | PROT_WRITE)); break;
        case 3: REQUIRE(!madvise(p, size, MADV_DONTNEED)); break;
        case 4:
            REQUIRE(mmap(p, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
            break;
        case 5: REQUIRE(!syscall(SYS_munmap, p, size)); continue;
        case 6: { /* as libc does by itself */
            long result;
            __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_munmap), "D"(p), "S"(size) : "rcx", "r11", "memory");
            REQUIRE(!result);
            if (round % 2) mw_unregister_page((mw_variable_id)id);
            continue;
        }
        default: REQUIRE(!munmap(p, size)); continue;
        }
        REQUIRE(q != MAP_FAILED);
        memset(q, mark + 3, size);
        for (size_t i = 0; i < size; i += 97) REQUIRE(q[i] == mark + 3);
        REQUIRE(!munmap(q, q == p ? size : 2 * size) || q == p);
    }
    return NULL;
}

static void *fork_on(void *unused) {
    for (int i = 0; i < 10; i++) {
        int status;
        pid_t child = fork();
        if (!child) _exit(0);
        REQUIRE(waitpid(child, &status, 0) == child && !status);
        usleep(20000);
    }
    return unused;
}

int main(int argc, char **argv) {
    static const uint8_t session[16] = {1};
    char path[4096];
    pthread_t threads[THREADS + 1];
    if (argc != 3) return 2;
    alarm(300);
    snprintf(path, sizeof path, "%s/journal", argv[2]);
    check(mw_start(tracker_named(argv[1])), "mw_start");
    check(mw_journal_open(path, "test", session), "mw_journal_open");
    for (uintptr_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, own, (void *)(i + 1));
    pthread_create(&threads[THREADS], NULL, fork_on, NULL);
    for (int i = 0; i <= THREADS; i++) pthread_join(threads[i], NULL);
    check(mw_journal_close(), "mw_journal_close");
    struct events e;
    unsigned begun = 0, ended = 0;
    events_open(&e, path, 0);
    for (uint64_t at = 0, n; at < e.end; at += n) {
        const struct mwj_slot *slot = (const void *)(e.file + MWJ_HEADER_SIZE + at * MWJ_SLOT_SIZE);
        n = MWJ_SLOTS_OF(slot->word);
        begun += MWJ_KIND_OF(slot->word) == MWJ_VARIABLE;
        ended += MWJ_KIND_OF(slot->word) == MWJ_UNREGISTERED;
    }
    REQUIRE(begun == watches && ended == begun);
    return 0;
}
