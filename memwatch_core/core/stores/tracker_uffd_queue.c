/* tracker_uffd_queue.c - userfaultfd write-protect, delivered as a message to a thread of ours.
 *
 * Who writes waits meanwhile, in user code or in a system call. In user code: it is sent a signal, and runs its store
 * in the handler, as with the other trackers. In a system call (or another process): the kernel is let write
 * (kernel_writes.c). Which of the two it is, the message doesn't tell; /proc does.
 *
 * All user code that is known to wait is sent for before the kernel is let in anywhere: what waits at an opened page
 * would go on by itself. */
#include "stores/tracker_uffd_queue.h"

#include <dirent.h>
#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/descriptors.h"
#include "base/lock.h"
#include "base/syscalls.h"
#include "base/thread.h"
#include "journal/journal.h"
#include "journal/journal_format.h"
#include "journal/registry.h"
#include "memory/arena.h"
#include "memory/tracker.h"
#include "memory/userfaultfd.h"
#include "memwatch.h"
#include "state.h"
#include "stores/kernel_writes.h"

#ifndef UFFD_FEATURE_EXACT_ADDRESS
#define UFFD_FEATURE_EXACT_ADDRESS (1 << 11)
#endif

enum {
    BATCH = 64,
    LONGEST_WAIT = 100, /* ms */
    LOOKS = 4,          /* at a thread that is on its way */
    FUTILE_MOST = 64,   /* signals in a row that don't arrive */
    DOUBTFUL_MOST = 64, /* messages in a row from one that can't be found waiting */
};

static int queue_open(void) {
    struct kernel_caller self = {.tid = thread_id()};
    uintptr_t instruction;
    if (kernel_where(&self, &instruction) != IN_SYSTEM_CALL) return -1; /* that of asking; else /proc can't be asked */
    return uffd_open(UFFD_FEATURE_THREAD_ID | UFFD_FEATURE_EXACT_ADDRESS, true);
}

struct waiting {
    uintptr_t address;
    struct kernel_caller caller;
};

/* How often in a row the same thread has asked for the same page, and nothing came of it. */
struct patience {
    uint32_t tid, futile, doubtful, met;
    uintptr_t page;
};

/* Whether it is a copy of an instruction that a uprobe is on: it takes no signal before it has stored. The kernel keeps
 * those above the stack, if there is room; `futile`: a signal hasn't arrived. */
static bool is_uprobed(uintptr_t instruction, bool futile) {
    char line[512];
    unsigned long from, to;
    bool found = false;
    if (!futile && instruction < getauxval(AT_RANDOM)) return false;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && !found && fgets(line, sizeof line, maps))
        found = strstr(line, "[uprobes]") && sscanf(line, "%lx-%lx", &from, &to) == 2 && instruction - from < to - from;
    if (maps) fclose(maps);
    return found;
}

/* Its store goes unseen as such: what it leaves is compared. */
static void record_not_told(void) {
    static const char why[] = "no descriptor was left to ask who stores: stores were let through, and several of them "
                              "may be one event";
    uint64_t some = 1;
    if (!atomic_load(&mw.journal.open) || mw.kernel_writes.not_told == mw.journal.generation) return;
    mw.kernel_writes.not_told = mw.journal.generation;
    journal_blob(MWJ_LOST, 0, thread_id(), 0, &some, 8, why, sizeof why - 1);
}

/* True if the kernel is to be let write; otherwise all that can be done has been. A message may be stale: a signal woke
 * who waited, and it will ask again, or has gone on to something else. One that a signal finds in a system call is
 * woken too, but asks again for ever, without waiting. */
static bool is_kernel(struct waiting *w, struct patience *patience) {
    struct timespec moment = {0, 20000};
    uintptr_t instruction;
    uint32_t met = atomic_load_explicit(&mw.queued_store.met, memory_order_relaxed);
    if (patience->tid != w->caller.tid || patience->page != (w->address & ~PAGE_MASK))
        *patience = (struct patience){.tid = w->caller.tid, .page = w->address & ~PAGE_MASK, .met = met - 1};
    for (int look = 0; look < LOOKS; look++) switch (kernel_where(&w->caller, &instruction)) {
        case GONE: return false;
        case IN_OTHER_PROCESS: return true;
        case NOT_TOLD: record_not_told(); return true;
        case IN_USER_CODE:
            patience->doubtful = 0;
            patience->futile = patience->met == met ? patience->futile + 1 : 0;
            patience->met = met;
            return patience->futile > FUTILE_MOST || is_uprobed(instruction, patience->futile) ||
                   !uffd_signal(w->caller.tid, STORE_QUEUED, w->address, instruction);
        case IN_SYSTEM_CALL: {
            struct kernel_caller again = {.tid = w->caller.tid};
            if (!kernel_waits(w->caller.tid)) return ++patience->doubtful > DOUBTFUL_MOST;
            if (kernel_where(&again, &instruction) == IN_SYSTEM_CALL && again.call.name == w->caller.call.name)
                return true;
            break;
        }
        case ON_ITS_WAY: /* one that is held can't be anywhere but in its system call */
            if (atomic_load(kernel_hold_of(w->caller.tid)) == w->caller.tid) {
                w->caller = mw.kernel_writes.holders[w->caller.tid % HOLDS];
                return true;
            }
            nanosleep(&moment, NULL);
        }
    patience->doubtful += kernel_interrupted(w->caller.tid);
    return patience->doubtful > DOUBTFUL_MOST;
}

/* How many of the messages that wait have been taken. The thread blocks all signals. */
static unsigned take(struct uffd_msg *messages, unsigned most) {
    int fd = descriptor_hold(DESCRIPTOR_UFFD);
    ssize_t got = fd < 0 ? -1 : read(fd, messages, most * sizeof *messages);
    descriptor_let_go();
    return got < 0 ? 0 : (unsigned)((size_t)got / sizeof *messages);
}

/* One whom a signal finds in a system call asks over and over. */
static bool is_listed(const struct waiting *list, unsigned count, const struct waiting *w) {
    while (count--)
        if (list[count].caller.tid == w->caller.tid && list[count].address == w->address) return true;
    return false;
}

/* False: userfaultfd is gone. While we wait, the kernel keeps it for us, even if the program closes it. If its number
 * has changed, a signal tells; but not if a raw system call has put another file there: woken, ppoll looks at that, and
 * goes on waiting. So it never waits for long. */
static bool wait_for_messages(void) {
    int most = kernel_compare();
    struct timespec timeout = {0, (most < 0 ? LONGEST_WAIT : most) * 1000000L};
    struct pollfd ready = {.fd = descriptor_hold(DESCRIPTOR_UFFD), .events = POLLIN};
    sigset_t mask;
    descriptor_let_go();
    sigfillset(&mask); /* but for those by which libc has every thread change its user */
    sigdelset(&mask, SIGBUS);
    if (ready.fd >= 0) ppoll(&ready, 1, &timeout, &mask);
    return ready.fd >= 0;
}

void queue_look_again(void) {
    siginfo_t info = {.si_signo = SIGBUS, .si_code = NUMBER_MOVED};
    uint32_t thread = atomic_load(&mw.kernel_writes.thread);
    if (thread) raw_syscall4(SYS_rt_tgsigqueueinfo, raw_syscall4(SYS_getpid, 0, 0, 0, 0), thread, SIGBUS, (long)&info);
}

/* Who waits for us still does if another process has a copy of userfaultfd. What a signal wakes stores once more. */
static void wake_all(void) {
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        uint32_t tid = (uint32_t)strtoul(task->d_name, NULL, 10);
        if (tid && kernel_waits(tid)) uffd_signal(tid, NUMBER_MOVED, 0, 0);
    }
    if (tasks) closedir(tasks);
}

static void *take_messages(void *unused) {
    struct uffd_msg messages[BATCH];
    struct waiting kernel[BATCH];
    struct patience patience = {0};
    (void)unused;
    atomic_store(&mw.kernel_writes.thread, thread_id());
    prctl(PR_SET_TIMERSLACK, 1000); /* ns: pauses are short */
    while (wait_for_messages()) {
        unsigned count = 0;
        for (unsigned taken = 0, more; taken < BATCH && (more = take(messages, BATCH - taken)); taken += more)
            for (unsigned i = 0; i < more; i++) {
                if (messages[i].event != UFFD_EVENT_PAGEFAULT) continue;
                struct waiting *w = &kernel[count];
                *w = (struct waiting){.address = (uintptr_t)messages[i].arg.pagefault.address,
                                      .caller = {.tid = messages[i].arg.pagefault.feat.ptid}};
                if (!is_listed(kernel, count, w)) count += is_kernel(w, &patience);
            }
        for (unsigned i = 0; i < count; i++) kernel_admit(kernel[i].address, &kernel[i].caller);
    }
    atomic_store(&mw.kernel_writes.thread, 0);
    lock_take(&mw.lock, thread_id());
    uffd_look();
    lock_release(&mw.lock);
    wake_all();
    return NULL;
}

static int queue_serve(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t kept, all;
    int error = kernel_open();
    atomic_store(&mw.kernel_writes.thread, 0); /* the parent's */
    if (error || mw.userfaultfd.without) return error;
    memset(&all, 0xff, sizeof all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 << 10);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &kept);
    int failed = pthread_create(&thread, &attributes, take_messages, NULL);
    pthread_sigmask(SIG_SETMASK, &kept, NULL);
    pthread_attr_destroy(&attributes);
    if (failed) {
        errno = failed;
        return MW_ERR_THREAD;
    }
    pthread_setname_np(thread, "memwatch");
    return MW_OK;
}

const struct tracker tracker_uffd_queue = {
    .name = "uffd-queue",
    .id = MW_TRACKER_UFFD_QUEUE,
    .protection = PROT_READ | PROT_WRITE,
    .open = queue_open,
    .arm = uffd_arm,
    .close = uffd_close,
    .serve = queue_serve,
};
