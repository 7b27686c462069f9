/* state.c - the one struct, starting up, counters, and what errors say. */
#include "core.h"

#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <unistd.h>

#ifndef HWCAP2_FSGSBASE
#define HWCAP2_FSGSBASE (1 << 1) /* asm/hwcap2.h, kernel 5.9 */
#endif

struct mw_core mw = {.own = {[0 ... OWNS - 1] = {.number = -1}}};
MW_TLS struct thread mw_thread;

MW_SIGNAL_SAFE uint32_t thread_first(void) { return mw_thread.tid = (uint32_t)raw_syscall4(SYS_gettid, 0, 0, 0, 0); }

static const char *const sentences[] = {
    [-MW_OK] = "no error",
    [-MW_ERR_PLATFORM] =
        "this machine can't run MemWatch: it needs Linux on x86-64 with FSGSBASE (kernel 5.9 or later, "
        "any CPU since 2013), which emulators of a CPU don't bring",
    [-MW_ERR_NOT_STARTED] = "the core is not started: call mw_start() first",
    [-MW_ERR_NO_MEMORY] = "the kernel refused memory: raise RLIMIT_AS (ulimit -v), or watch less",
    [-MW_ERR_NO_TRACKER] = "the tracker that was asked for doesn't work here: use 'auto', or see 'memwatch doctor'",
    [-MW_ERR_SIGNALS] = "the handlers for SIGSEGV and SIGBUS couldn't be installed",
    [-MW_ERR_EXECUTABLE] = "executable memory was refused (SELinux, a seccomp filter or noexec memfd): allow memfd "
                           "mappings with PROT_EXEC",
    [-MW_ERR_ALIGNMENT] = "page_base and size must be multiples of 4096 and not 0",
    [-MW_ERR_NOT_MAPPED] = "page_base is not mapped readable and writable from end to end",
    [-MW_ERR_NOT_TOUCHED] = "the page was never touched: write to it (or read it) before registering it",
    [-MW_ERR_SHARED] = "page_base is a shared mapping; watching it would cut it off from its other users: copy it to "
                       "private memory first",
    [-MW_ERR_REGISTERED] = "the range, or a part of it, is watched already: unregister that first",
    [-MW_ERR_NOT_ARENA] =
        "the range is not inside one page from mw_page_alloc(): use mw_register_page() for other memory",
    [-MW_ERR_NO_VARIABLE] = "no variable has this id: it was never registered, or its watch has ended",
    [-MW_ERR_RANGE] = "offset and length reach outside the variable",
    [-MW_ERR_FLAGS] = "unknown flag, or a mutation depth that contains no byte of the variable",
    [-MW_ERR_LIMIT] =
        "too many variables, or pages, for one process; where RLIMIT_AS (ulimit -v) is set, raising it allows more",
    [-MW_ERR_NO_JOURNAL] = "no journal is open: the session was never opened, or is closed",
    [-MW_ERR_JOURNAL_OPEN] =
        "the journal couldn't be created, or one is open already: it needs a session's folder that "
        "this process's user may write to",
    [-MW_ERR_DESCRIPTOR] = "there is no such descriptor",
    [-MW_ERR_JOURNAL_FULL] =
        "the journal can't grow, the disk is full or journal.max_bytes or RLIMIT_FSIZE (ulimit -f) is reached: nothing "
        "was written, and nothing "
        "recorded before is lost; free some space, set journal.folder to another disk, or raise the limit",
    [-MW_ERR_TOO_LONG] = "the metadata, name or record is longer than a journal can carry",
    [-MW_ERR_PAGE] = "not a page from mw_page_alloc(), or a variable is still registered on it",
    [-MW_ERR_POLICY] = "the limit of a journal must be 0 or at least 4194304 bytes, its policy block, drop or rotate",
    [-MW_ERR_FILE_SIZE] = "the file in memory that watched pages are in may not grow: raise RLIMIT_FSIZE (ulimit -f), "
                          "which counts for it "
                          "too, or let the sandbox allow ftruncate",
    [-MW_ERR_EMULATED] =
        "valgrind runs this program on a CPU of its own, without FSGSBASE and the faults that MemWatch needs: watch "
        "without valgrind",
    [-MW_ERR_FOLDER] =
        "the session's folder must be a folder, no symbolic link, that belongs to the user who runs this "
        "process and that nobody else may write to: set journal.folder to one of your own",
    [-MW_ERR_THREAD] =
        "the tracker needs a thread of its own, which was refused: raise RLIMIT_NPROC (ulimit -u) or pids.max, or "
        "choose another tracker (core.tracker)",
    [-MW_ERR_INTERPOSE] = "the import table of a loaded module couldn't be read or patched",
};

MW_SIGNAL_SAFE const char *mw_strerror(int error) {
    unsigned i = error <= 0 ? (unsigned)-error : sizeof sentences;
    return i < sizeof sentences / sizeof *sentences && sentences[i] ? sentences[i] : "unknown error";
}

/* Asked as valgrind.h asks: instructions that do nothing anywhere else. */
static bool on_valgrind(void) {
    uint64_t running_on_valgrind[6] = {0x1001}, answer = 0;
    __asm__ volatile("rolq $3, %%rdi\n rolq $13, %%rdi\n rolq $61, %%rdi\n rolq $51, %%rdi\n xchgq %%rbx, %%rbx"
                     : "+d"(answer)
                     : "a"(running_on_valgrind)
                     : "cc", "memory");
    return answer != 0;
}

static int cpu_and_kernel_serve(void) {
    unsigned a, b, c, d;
    if (on_valgrind()) return MW_ERR_EMULATED;
    /* the executor reloads registers with xrstor */
    bool saves = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_OSXSAVE);
    return saves && getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE ? MW_OK : MW_ERR_PLATFORM;
}

static const struct tracker *const trackers[] = {&tracker_uffd_sigbus, &tracker_readonly, &tracker_uffd_queue};
enum { TRACKERS = sizeof trackers / sizeof *trackers, BY_ITSELF = 2 /* AUTO takes the first of so many */ };

static int choose_tracker(mw_tracker wanted) {
    for (int i = 0; i < TRACKERS; i++) {
        if (wanted == MW_TRACKER_AUTO ? i >= BY_ITSELF : trackers[i]->id != wanted) continue;
        if (trackers[i]->open() == 0) {
            mw.tracker = trackers[i];
            return MW_OK;
        }
        size_t used = strlen(mw.tracker_reason);
        snprintf(mw.tracker_reason + used, sizeof mw.tracker_reason - used, "%s%s: %s", used ? "; " : "",
                 trackers[i]->name, strerror(errno));
    }
    return MW_ERR_NO_TRACKER;
}

int mw_tracker_probe(mw_tracker tracker) {
    for (int i = 0; i < TRACKERS; i++)
        if (trackers[i]->id == tracker) {
            if (mw.tracker == trackers[i]) return MW_OK;
            bool taken = core_take();
            bool without = mw.without_uffd;
            own_rename(OWN_UFFD, OWN_PUT_ASIDE);
            int failed = trackers[i]->open(), why = errno;
            if (!failed) trackers[i]->close();
            own_rename(OWN_PUT_ASIDE, OWN_UFFD);
            mw.without_uffd = without;
            core_release(taken);
            errno = why;
            return failed ? MW_ERR_NO_TRACKER : MW_OK;
        }
    errno = EINVAL;
    return MW_ERR_NO_TRACKER;
}

static int start(mw_tracker wanted) {
    int error = cpu_and_kernel_serve();
    if (error) return error;
    thread_first();
    mw.own_pid = getpid();
    tell_open();
    clock_open();
    mw.tracker_reason[0] = 0;
    if ((error = fork_open()) || (error = choose_tracker(wanted)) || (error = arena_open()) || (error = code_open()) ||
        (error = form_open()) || (error = executor_open()) || (error = site_open()) || (error = signals_take()) ||
        (error = interpose_modules(false)) || (mw.tracker->serve && (error = mw.tracker->serve()))) {
        if (mw.tracker) mw.tracker->close();
        mw.tracker = NULL;
        arena_take_down();
        return error;
    }
    atomic_store(&mw.started, 1);
    return MW_OK;
}

int mw_start(mw_tracker wanted) {
    if (mw.started) fork_notice();
    bool taken = core_take();
    int error = MW_OK;
    if (!mw.started)
        error = start(wanted);
    else if (wanted != MW_TRACKER_AUTO && wanted != mw.tracker->id)
        error = MW_ERR_NO_TRACKER;
    core_release(taken);
    return error;
}

const char *mw_tracker_name(void) { return mw.tracker ? mw.tracker->name : "none"; }
const char *mw_tracker_reason(void) { return mw.tracker_reason; }

void mw_set_context(uint32_t context) { mw_thread.context = context; }
uint32_t mw_get_context(void) { return mw_thread.context; }
void mw_set_origin_provider(mw_origin_provider provider) { __atomic_store_n(&mw.provider, provider, __ATOMIC_RELEASE); }

void mw_get_stats(mw_stats *out) {
    *out = (mw_stats){
        .stores = mw.stores,
        .slots = mw.process && atomic_load(&mw.process->made) ? mw.journal.header->reserved : 0,
        .lost = mw.lost,
        .forms = mw.form_count,
        .chained = mw.chained,
        .variables = mw.variables_live,
        .pages = mw.pages_used,
    };
}
