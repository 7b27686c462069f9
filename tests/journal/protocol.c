/* protocol.c - the core's own code, built with MW_STEPS: two writers, stopped at every point that another thread, a
 * reader or a kill can tell apart, in every order. Each state that can be reached is printed once, as a kill would
 * leave it; test_protocol.py reads them all.
 *
 *   protocol <scenario> <journal>     orders of two writers
 *   protocol -i <scenario> <journal>  the second writer stopped at each of its points, the first after each instruction
 *
 * A search of states, each made anew from the beginning by going its way once more. A state is what is in memory, where
 * each writer stands, and the value that it stands there with. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "state.h"

enum { WRITERS = 2, SLOTS = 32, PATH = 200, LONGEST = 40, STATES = 1 << 16 };

static struct writer {
    pthread_t thread;
    sem_t go, arrived;
    const char *at; /* NULL: done */
    uint64_t value;
    bool stops;
    uint8_t *page;
    mw_variable_id variable;
    uint8_t after;
    unsigned length;
    bool by_store;
    mw_request request, before; /* before: as it was before the two writes */
} writers[WRITERS];
static __thread struct writer *self;
static bool by_instruction;

static struct state { /* what is printed */
    uint64_t reserved, size, capacity, front, stores_before[2];
    uint32_t done[WRITERS];
    uint8_t value[WRITERS][LONGEST];
    uint8_t slots[SLOTS][MWJ_SLOT_SIZE];
} now;
static uint64_t base, seen[STATES];
static unsigned long states, orders;
static uint32_t stack;  /* of all writes; 0: they have none */
static uint32_t call;   /* likewise, of a function that they are in */
static uint64_t told;   /* where it was recorded before the two writes */
static uint8_t *oldest; /* rotate: the contents of the segment that is given back */

#define CHECK(x)                                                                                                       \
    if (!(x)) {                                                                                                        \
        fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #x, strerror(errno));                                   \
        exit(1);                                                                                                       \
    }

static void wait_for(sem_t *semaphore) {
    while (sem_wait(semaphore)) {
    }
}

void mw_step(const char *what, uint64_t value) {
    if (!self || !self->stops) return;
    self->at = what;
    self->value = value;
    sem_post(&self->arrived);
    wait_for(&self->go);
}

/* ---- states ---- */

static void look(void) {
    struct journal *j = &mw.journal;
    memset(&now, 0, sizeof now);
    now.reserved = j->header->reserved;
    now.size = (uint64_t)lseek(mw.descriptors.own[DESCRIPTOR_JOURNAL].number, 0, SEEK_END);
    now.capacity = j->capacity;
    now.front = j->header->front;
    now.stores_before[0] = j->header->stores_before[0];
    now.stores_before[1] = j->header->stores_before[1];
    for (int i = 0; i < WRITERS; i++) {
        memcpy(now.value[i], writers[i].page, writers[i].length);
        now.done[i] = !writers[i].at;
    }
    for (uint64_t i = 0; i < SLOTS; i++) {
        struct mwj_slot *segment = j->segments[(base + i) / MWJ_SEGMENT_SLOTS];
        if (!segment || MWJ_HEADER_SIZE + (base + i + 1) * MWJ_SLOT_SIZE > now.size) continue;
        memcpy(now.slots[i], segment + (base + i) % MWJ_SEGMENT_SLOTS, MWJ_SLOT_SIZE);
        if (now.slots[i][0] != MWJ_CONTINUATION) memset(now.slots[i] + 8, 0, 8); /* the time differs from run to run */
    }
}

static uint64_t mix(uint64_t hash, const void *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) hash = (hash ^ ((const uint8_t *)bytes)[i]) * 0x100000001B3u;
    return hash;
}

static bool is_new(uint64_t hash) {
    size_t at = hash % STATES;
    for (; seen[at]; at = (at + 1) % STATES)
        if (seen[at] == hash) return false;
    seen[at] = hash;
    CHECK(++states < STATES / 2);
    return true;
}

/* What a reader may have taken stays as it is: it reads a slot again after it has seen it committed. */
static void check_unchanged(const struct state *before) {
    for (int i = 0; i < SLOTS; i++) {
        unsigned n = before->slots[i][0] == MWJ_PAD ? 1 : before->slots[i][1];
        if (!before->slots[i][0] || before->slots[i][0] == MWJ_CONTINUATION) continue;
        CHECK(!memcmp(before->slots[i], now.slots[i], n * MWJ_SLOT_SIZE));
    }
}

/* ---- writers ---- */

static void write_once(struct writer *w) {
    uint8_t bytes[LONGEST];
    memset(bytes, w->after, sizeof bytes);
    if (w->by_store)
        *(volatile uint64_t *)w->page = 0x0101010101010101u * w->after;
    else
        CHECK(!mw_write(w->variable, 0, bytes, w->length));
}

static void say_stack(const void *ucontext, mw_origin *origin) {
    (void)ucontext;
    origin->stack = stack;
    origin->activation = call;
    if (!self || !self->request.serial) return;
    origin->request = &self->request;
    origin->request_serial = self->request.serial;
}

static void trap_flag(bool on) {
    __asm__ volatile("pushfq\n andq $~0x100, (%%rsp)\n orq %0, (%%rsp)\n popfq" ::"r"(on ? 0x100ul : 0ul)
                     : "cc", "memory");
}

static void after_instruction(int signal) {
    (void)signal;
    look();
    now.done[0] = 0;
    if (is_new(mix(14695981039346656037u, &now, sizeof now))) fwrite(&now, sizeof now, 1, stdout);
}

static void *work(void *argument) {
    struct writer *w = self = argument;
    write_once(w); /* from now on the journal knows this thread */
    for (;;) {
        w->at = NULL;
        sem_post(&w->arrived);
        wait_for(&w->go);
        if (by_instruction && w == writers) trap_flag(true);
        write_once(w);
        trap_flag(false);
    }
    return NULL;
}

static void go(struct writer *w) {
    sem_post(&w->go);
    wait_for(&w->arrived);
}

static bool can_go(const struct writer *w) {
    return w->at && (strcmp(w->at, "wait") || !*(const mw_lock *)(uintptr_t)w->value);
}

static void finish(void) {
    bool stopped[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        stopped[i] = writers[i].at;
        writers[i].stops = false;
    }
    for (int i = 0; i < WRITERS; i++)
        if (stopped[i]) sem_post(&writers[i].go);
    for (int i = 0; i < WRITERS; i++)
        if (stopped[i]) wait_for(&writers[i].arrived);
}

/* As it was before the two writes. */
static void reset(uint64_t capacity) {
    struct journal *j = &mw.journal;
    off_t end = MWJ_HEADER_SIZE + (off_t)capacity * MWJ_SLOT_SIZE;
    for (int i = 0; i < WRITERS; i++) memset(mw_write_view(writers[i].page), 0x10, LONGEST);
    for (uint64_t s = (capacity + MWJ_SEGMENT_SLOTS - 1) / MWJ_SEGMENT_SLOTS; s < journal_segments(j); s++) {
        munmap(j->segments[s], MWJ_SEGMENT_SIZE);
        j->segments[s] = NULL;
    }
    j->capacity = capacity;
    j->begin = 0;
    CHECK(!ftruncate(mw.descriptors.own[DESCRIPTOR_JOURNAL].number, end));
    if (j->first) {
        j->first = 0;
        j->header->front = j->header->stores_before[0] = j->header->stores_before[1] = 0;
        CHECK(pwrite(mw.descriptors.own[DESCRIPTOR_JOURNAL].number, oldest, MWJ_SEGMENT_SIZE, MWJ_HEADER_SIZE) ==
              (ssize_t)MWJ_SEGMENT_SIZE);
        void *p = mmap(NULL, MWJ_SEGMENT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                       mw.descriptors.own[DESCRIPTOR_JOURNAL].number, MWJ_HEADER_SIZE);
        CHECK(p != MAP_FAILED);
        j->segments[0] = p;
    }
    for (uint64_t i = base; i < capacity && i < base + SLOTS; i++)
        memset(j->segments[i / MWJ_SEGMENT_SLOTS] + i % MWJ_SEGMENT_SLOTS, 0, MWJ_SLOT_SIZE);
    j->header->reserved = base;
    if (stack) mw.stacks.rows[stack].told = told;
    for (int i = 0; i < WRITERS; i++) writers[i].request = writers[i].before;
}

/* ---- the search ---- */

static uint64_t capacity;

static void begin(void) {
    reset(capacity);
    for (int i = 0; i < WRITERS; i++) writers[i].stops = true;
    for (int i = 0; i < WRITERS; i++) go(&writers[i]); /* to its first point */
}

static void explore(const uint8_t *path, unsigned length, const struct state *before) {
    begin();
    for (unsigned i = 0; i < length; i++) go(&writers[path[i]]);
    look();
    struct state here = now;
    bool able[WRITERS], any = false;
    uint64_t hash = mix(14695981039346656037u, &here, sizeof here);
    for (int i = 0; i < WRITERS; i++) {
        able[i] = can_go(&writers[i]);
        any |= able[i];
        if (writers[i].at) hash = mix(mix(hash, writers[i].at, strlen(writers[i].at) + 1), &writers[i].value, 8);
    }
    CHECK(any || (now.done[0] && now.done[1])); /* no deadlock */
    finish();
    orders += !any;
    now = here;
    if (before) check_unchanged(before);
    if (!is_new(hash)) return;
    fwrite(&here, sizeof here, 1, stdout);
    CHECK(length + 1 < PATH);
    uint8_t next[PATH];
    memcpy(next, path, length);
    for (uint8_t i = 0; i < WRITERS; i++) {
        next[length] = i;
        if (able[i]) explore(next, length + 1, &here);
    }
}

static void step_through(void) {
    struct sigaction action = {.sa_handler = after_instruction};
    CHECK(!sigaction(SIGTRAP, &action, NULL));
    bool more = true;
    for (unsigned points = 0; more; points++) {
        reset(capacity);
        writers[1].stops = true;
        writers[0].stops = false;
        for (unsigned i = 0; i <= points; i++)
            if (!i || writers[1].at) go(&writers[1]);
        more = writers[1].at;
        by_instruction = true;
        go(&writers[0]);
        by_instruction = false;
        finish();
        orders++;
    }
}

/* ---- scenarios ---- */

static void fill(uint64_t until) { /* with records of one slot */
    uint64_t filler = 0;
    while (mw.journal.header->reserved < until) CHECK(!mw_write(writers[0].variable, 0, &filler, 8));
    CHECK(mw.journal.header->reserved == until);
}

int main(int argc, char **argv) {
    bool instructions = argc == 4 && !strcmp(argv[1], "-i");
    const char *scenario = argv[argc - 2];
    uint8_t session[16] = {0};
    CHECK(argc == 3 || instructions);
    CHECK(!mw_start(MW_TRACKER_READONLY));
    bool same = !strcmp(scenario, "same"), requests = strstr(scenario, "request"), stacks = strstr(scenario, "stack"),
         limited = !strcmp(scenario, "rotate") || !strcmp(scenario, "stack-border"), calls = strstr(scenario, "call");
    if (limited) CHECK(!mw_journal_limit(MW_JOURNAL_MIN, MW_POLICY_ROTATE));
    CHECK(!mw_journal_open(argv[argc - 1], "python", session));
    if (stacks) {
        CHECK(!mw_keep_stacks());
        CHECK((stack = mw_intern_stack((uint32_t[]){0, 0}, 2, 0)));
    }
    if (calls) call = 7;
    if (stacks || requests || calls) mw_set_origin_provider(say_stack);
    for (int i = 0; i < WRITERS; i++) {
        struct writer *w = &writers[i];
        *w = (struct writer){.after = (uint8_t)(0x80 + i), .length = i ? LONGEST : calls ? 12 : 8};
        w->page = mw_page_alloc(1);
        w->variable = (mw_variable_id)mw_register_page(w->page, MW_PAGE_SIZE, MW_TRACK_THREADS, MW_DEPTH_FULL);
        CHECK((int32_t)w->variable > 0);
        if (requests) {
            w->request = (mw_request){.serial = mw_request_serial(), .length = 14};
            memcpy(w->request.json, "{\"label\":\"ab\"}", 14);
        }
        sem_init(&w->go, 0, 0);
        sem_init(&w->arrived, 0, 0);
    }
    if (same) {
        writers[1].page = writers[0].page;
        writers[1].variable = writers[0].variable;
        writers[1].length = 8;
    }
    writers[0].by_store = !strcmp(scenario, "store");
    for (int i = 0; i < WRITERS; i++) {
        CHECK(!pthread_create(&writers[i].thread, NULL, work, &writers[i]));
        wait_for(&writers[i].arrived);
    }
    uint64_t end = strstr(scenario, "border") ? 1 : !strcmp(scenario, "rotate") ? 2 : 0;
    if (end) fill(end * MWJ_SEGMENT_SLOTS - 1);
    if (!strcmp(scenario, "piece")) fill(mw.journal.capacity - 1);
    base = mw.journal.header->reserved;
    capacity = mw.journal.capacity;
    if (end == 2) {
        CHECK(oldest = malloc(MWJ_SEGMENT_SIZE));
        memcpy(oldest, mw.journal.segments[0], MWJ_SEGMENT_SIZE);
    }
    if ((limited || calls) && stack) told = mw.stacks.rows[stack].told; /* else both may be the first to record it */
    for (int i = 0; i < WRITERS; i++) {
        writers[i].before = writers[i].request;
        if (!strstr(scenario, "border")) writers[i].before.told = 0; /* else in the segment that ends there */
    }
    fwrite(&base, 8, 1, stdout);
    if (instructions)
        step_through();
    else
        explore(NULL, 0, NULL);
    reset(capacity);
    fprintf(stderr, "%lu states, %lu ends\n", states, orders);
    fflush(stdout);
    _exit(0); /* as it is: nothing is closed */
}
