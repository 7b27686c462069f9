/* racing.c - every call of memwatch.h from several threads at once, on pages of their own and on a common one, with a
 * journal that rotates. It checks nothing but that calls succeed: ThreadSanitizer and AddressSanitizer do (make
 * sanitize).
 *
 *   racing TRACKER JOURNAL COUNT */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memwatch.h"
#include "tracker.h"

enum { PAGE = 4096, KINDS = 5, EACH = 2 };
static unsigned long count;
static uint8_t *common;
static mw_variable_id common_id;

#define CHECK(x)                                                                                                       \
    do {                                                                                                               \
        int64_t result = (x);                                                                                          \
        if (result < 0) {                                                                                              \
            fprintf(stderr, "%s: %s\n", #x, mw_strerror((int)result));                                                 \
            exit(2);                                                                                                   \
        }                                                                                                              \
    } while (0)

static mw_variable_id watch(uint8_t **page) {
    int64_t id;
    *page = mw_page_alloc(1);
    CHECK(*page ? 0 : MW_ERR_NO_MEMORY);
    CHECK(id = mw_register_page(*page, PAGE, MW_TRACK_THREADS | MW_TRACK_SQL, MW_DEPTH_FULL));
    return (mw_variable_id)id;
}

static void *announce(void *argument) {
    uint8_t *page, bytes[300] = {0};
    mw_variable_id id = watch(&page);
    (void)argument;
    for (unsigned long i = 0; i < count; i++) {
        memcpy(bytes, &i, sizeof i);
        CHECK(mw_write(id, i % 1000, bytes, i % 50 ? 8 : sizeof bytes));
        CHECK(mw_write(common_id, 8, bytes, 8));
    }
    return NULL;
}

static void *store(void *argument) {
    uint8_t *page;
    (void)argument;
    watch(&page);
    for (unsigned long i = 0; i < count; i++) {
        *(volatile uint64_t *)(page + i % 500 * 8) = i;
        __atomic_store_n((uint64_t *)(common + 64), i, __ATOMIC_RELAXED);
        __atomic_fetch_add((uint64_t *)(common + 128), 1, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

static void *come_and_go(void *argument) {
    (void)argument;
    for (unsigned long i = 0; i < count / 10; i++) {
        uint8_t *page;
        mw_variable_id id = watch(&page);
        CHECK(mw_update_metadata(id, "{\"name\": \"x\"}", 13));
        page[7] = (uint8_t)i;
        CHECK(mw_write(id, 0, &i, sizeof i));
        CHECK(mw_unregister_page(id));
        CHECK(mw_page_free(page, 1));
    }
    return NULL;
}

static void *describe(void *argument) {
    (void)argument;
    for (unsigned long i = 0; i < count / 10; i++) {
        char function[32];
        int n = snprintf(function, sizeof function, "f%lu", i % 200);
        mw_stats stats;
        mw_intern_site("file.c", 6, function, (size_t)n, (uint32_t)i % 7, 0);
        mw_set_context((uint32_t)i);
        CHECK(mw_context_record((uint32_t)i, "{}", 2));
        CHECK(mw_outcome_record((uint32_t)i, "{}", 2));
        CHECK(mw_thread_name(0, function, (size_t)n));
        mw_get_stats(&stats);
    }
    return NULL;
}

static void *adopt(void *argument) { /* memory of the program's own */
    (void)argument;
    for (unsigned long i = 0; i < count / 100; i++) {
        uint8_t *page = aligned_alloc(PAGE, PAGE);
        int64_t id;
        memset(page, 1, PAGE);
        CHECK(id = mw_register_page(page, PAGE, MW_TRACK_THREADS, (mw_depth){0, 64}));
        page[1] = (uint8_t)i;
        CHECK(mw_unregister_page((mw_variable_id)id));
        page[2] = 3;
        free(page);
    }
    return NULL;
}

int main(int argc, char **argv) {
    void *(*const kinds[KINDS])(void *) = {announce, store, come_and_go, describe, adopt};
    uint8_t session[16] = {0};
    pthread_t threads[KINDS * EACH];
    if (argc != 4) return 2;
    count = strtoul(argv[3], NULL, 10);
    CHECK(mw_start(tracker_named(argv[1])));
    CHECK(mw_journal_limit(MW_JOURNAL_MIN, MW_POLICY_ROTATE));
    CHECK(mw_journal_open(argv[2], "test", session));
    common_id = watch(&common);
    for (int i = 0; i < KINDS * EACH; i++) pthread_create(&threads[i], NULL, kinds[i % KINDS], NULL);
    for (int i = 0; i < KINDS * EACH; i++) pthread_join(threads[i], NULL);
    CHECK(mw_journal_close());
    return 0;
}
