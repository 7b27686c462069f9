/* clock.c - the time of day in ns, at half the price: CLOCK_REALTIME is read every millisecond, the time stamp counter
 * in between. Off by less than 0.2 us; the order of events is their order in the journal, not their time. */
#include "base/clock.h"

#include <cpuid.h>
#include <time.h>

#include "state.h"

#define TICKS_MEASURED (1u << 19) /* long enough to tell the counter's rate from */

MW_SIGNAL_SAFE static uint64_t time_of_day(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t); /* signal-safety(7) lists it; the vDSO serves it without a system call */
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void clock_open(void) {
    unsigned a, b, c, d = 0;
    mw.clock.usable = __get_cpuid(0x80000007u, &a, &b, &c, &d) && (d & 1u << 8); /* invariant TSC: Intel SDM 3, 18.17 */
}

/* Takes a new sample; whoever finds another thread at it asks the kernel and goes on. */
MW_SIGNAL_SAFE uint64_t clock_sample(uint32_t version) {
    struct clock *k = &mw.clock;
    uint64_t ns = time_of_day(), at = clock_ticks();
    if (!k->usable || version & 1 || !atomic_compare_exchange_strong(&k->version, &version, version + 1)) return ns;
    uint64_t elapsed = at - k->at, rate = k->rate;
    if (!k->at || elapsed >= TICKS_MEASURED) {
        if (k->at && elapsed < UINT32_MAX && ns > k->ns) {
            uint64_t measured = ((ns - k->ns) << 32) / elapsed;
            bool stepped =
                rate && (measured > rate + rate / 64 || measured < rate - rate / 64); /* somebody set the clock */
            k->rate = stepped ? rate : measured;
        }
        k->at = at;
        k->ns = ns;
    }
    atomic_store_explicit(&k->version, version + 2, memory_order_release);
    return ns;
}
