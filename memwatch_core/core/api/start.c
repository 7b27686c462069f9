/* start.c - memwatch.h: the core starts, and says how it does. */
#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/descriptors.h"
#include "base/messages.h"
#include "base/signals.h"
#include "base/syscalls.h"
#include "base/thread.h"
#include "calls/import_tables.h"
#include "journal/registry.h"
#include "journal/sites.h"
#include "memory/arena.h"
#include "memory/fork_copy.h"
#include "memory/tracker.h"
#include "memwatch.h"
#include "process/fork.h"
#include "state.h"
#include "stores/code_blocks.h"
#include "stores/executor.h"
#include "stores/fault.h"
#include "stores/instruction.h"
#include "stores/loaded_files.h"
#include "stores/native_sites.h"
#include "text/siphash.h"

#ifndef HWCAP2_FSGSBASE
#define HWCAP2_FSGSBASE (1 << 1) /* asm/hwcap2.h, kernel 5.9 */
#endif

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
            bool without = mw.userfaultfd.without;
            descriptor_rename(DESCRIPTOR_UFFD, DESCRIPTOR_PUT_ASIDE);
            int failed = trackers[i]->open(), why = errno;
            if (!failed) trackers[i]->close();
            descriptor_rename(DESCRIPTOR_PUT_ASIDE, DESCRIPTOR_UFFD);
            mw.userfaultfd.without = without;
            core_release(taken);
            errno = why;
            return failed ? MW_ERR_NO_TRACKER : MW_OK;
        }
    errno = EINVAL;
    return MW_ERR_NO_TRACKER;
}

/* The kernel has always some bytes for a program, where a sandbox refuses it more. */
static void make_secret_key(void) {
    size_t size = sizeof mw.secret_key;
    if (raw_syscall4(SYS_getrandom, (long)mw.secret_key, (long)size, GRND_NONBLOCK, 0) == (long)size) return;
    memcpy(mw.secret_key, (const void *)getauxval(AT_RANDOM), size);
    mw.secret_key[0] = siphash(mw.secret_key, (const unsigned char *)&mw.clock, sizeof mw.clock);
}

static int start(mw_tracker wanted) {
    int error = cpu_and_kernel_serve();
    if (error) return error;
    thread_first();
    mw.descriptors.pid = getpid();
    tell_open();
    clock_open();
    make_secret_key();
    mw.tracker_reason[0] = 0;
    mw.userfaultfd.lost = registry_record_unseen;
    if ((error = fork_open()) || (error = choose_tracker(wanted)) || (error = arena_open()) ||
        (error = registry_open()) || (error = code_blocks_open()) || (error = instructions_open()) ||
        (error = executor_open()) || (error = sites_open()) || (error = loaded_files_open()) ||
        (error = native_sites_open()) || (error = signals_take(mw_fault_handler)) ||
        (error = interpose_modules(CALLS_ON_PROCESS)) || (mw.tracker->serve && (error = mw.tracker->serve()))) {
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
void mw_set_origin_provider(mw_origin_provider provider) {
    __atomic_store_n(&mw.origin_provider, provider, __ATOMIC_RELEASE);
}

void mw_get_stats(mw_stats *out) {
    *out = (mw_stats){
        .stores = mw.stores,
        .slots = mw.process && atomic_load(&mw.process->made) ? mw.journal.header->reserved : 0,
        .lost = mw.lost,
        .forms = mw.instructions.count,
        .chained = mw.chained,
        .variables = mw.registry.live,
        .pages = mw.arena.used,
    };
}
