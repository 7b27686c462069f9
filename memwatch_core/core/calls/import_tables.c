/* import_tables.c - redirects calls of the loaded modules to a few libc functions, by patching their import tables
 * (GOT).
 *
 * Three groups: those that could take our signals or descriptors from us, fork, or change the user (process_calls.c),
 * from mw_start on; those that have memory written (reading_calls.c), from the first registration on; and those that do
 * away with memory (memory_calls.c), from the first adoption on. What a program fetches with dlsym is redirected there.
 * A module that is loaded later is patched at the next dlsym or registration: as a rule, before anybody can call what
 * is in it. Calls inside libc are not seen. A table entry that leads to somebody else's function of that name is left
 * alone. Patches stay for the life of the process: the replacements do what they stand for, whether or not anything is
 * watched. What they call themselves must never lead back to them: own_slot(), core_turn.
 *
 * A module that another thread is loading now must not be touched: the loader is about to fill its table, and to
 * protect it. dlsym waits for such a load to end: so the modules are counted, then dlsym is called, and then those that
 * were counted are patched. elf(5), dl_iterate_phdr(3). */
#include "calls/import_tables.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/lock.h"
#include "base/thread.h"
#include "calls/descriptor_calls.h"
#include "calls/memory_calls.h"
#include "calls/module_tables.h"
#include "calls/process_calls.h"
#include "calls/reading_calls.h"
#include "calls/signal_calls.h"
#include "memwatch.h"
#include "state.h"

/* dlsym looks at its caller (for RTLD_NEXT and the namespace), so we leave no frame behind. */
MW_HIDDEN void *(*interpose_dlsym)(void *, const char *);
MW_HIDDEN void replaced_dlsym(void);
MW_HIDDEN void *interpose_look_up(void *handle, const char *name);
__asm__(".text\n"
        ".hidden replaced_dlsym\n"
        ".type replaced_dlsym, @function\n"
        "replaced_dlsym:\n"
        "    .cfi_startproc\n"
        "    endbr64\n"
        "    push %rdi\n"
        "    push %rsi\n"
        "    sub $8, %rsp\n"
        "    .cfi_adjust_cfa_offset 24\n"
        "    call interpose_look_up\n"
        "    add $8, %rsp\n"
        "    pop %rsi\n"
        "    pop %rdi\n"
        "    .cfi_adjust_cfa_offset -24\n"
        "    test %rax, %rax\n"
        "    jnz 1f\n"
        "    jmp *interpose_dlsym(%rip)\n"
        "1:  ret\n"
        "    .cfi_endproc\n"
        ".size replaced_dlsym, . - replaced_dlsym\n");

#define ENTRY(name_, replacement_, group_)                                                                             \
    {.name = #name_, .replacement = (void *)replaced_##replacement_, .group = group_}
#define SIGNALS(name, replacement) ENTRY(name, replacement, CALLS_ON_PROCESS)
#define CALLS(name, replacement) ENTRY(name, replacement, CALLS_THAT_WRITE)
#define MEMORY(name, replacement) ENTRY(name, replacement, CALLS_ON_MEMORY)
static struct {
    const char *name;
    void *replacement;
    enum call_group group;
    void *own; /* where calls of our own module lead: libc's function, or that of a library that comes before it */
    void *libc;
    uintptr_t stub;    /* the address that the program has it have everywhere; 0: its own */
    void *behind_stub; /* where that leads; NULL: not known yet */
} entries[] = {
    ENTRY(dlsym, dlsym, CALLS_ON_PROCESS), /* the first */
    SIGNALS(sigaction, sigaction),
    SIGNALS(__sigaction, sigaction),
    SIGNALS(signal, signal),
    SIGNALS(bsd_signal, signal),
    SIGNALS(ssignal, signal),
    SIGNALS(sysv_signal, sysv_signal),
    SIGNALS(__sysv_signal, sysv_signal),
    SIGNALS(sigprocmask, sigprocmask),
    SIGNALS(pthread_sigmask, pthread_sigmask),
    ENTRY(close, close, CALLS_ON_PROCESS),
    ENTRY(__close, close, CALLS_ON_PROCESS),
    ENTRY(close_range, close_range, CALLS_ON_PROCESS),
    ENTRY(closefrom, closefrom, CALLS_ON_PROCESS),
    ENTRY(dup2, dup2, CALLS_ON_PROCESS),
    ENTRY(__dup2, dup2, CALLS_ON_PROCESS),
    ENTRY(dup3, dup3, CALLS_ON_PROCESS),
    ENTRY(fdopen, fdopen, CALLS_ON_PROCESS),
    ENTRY(syscall, syscall, CALLS_ON_PROCESS),
    ENTRY(_Fork, _Fork, CALLS_ON_PROCESS),
    ENTRY(clone, clone, CALLS_ON_PROCESS),
    ENTRY(__clone, clone, CALLS_ON_PROCESS),
    ENTRY(setuid, setuid, CALLS_ON_PROCESS),
    ENTRY(seteuid, seteuid, CALLS_ON_PROCESS),
    ENTRY(setreuid, setreuid, CALLS_ON_PROCESS),
    ENTRY(setresuid, setresuid, CALLS_ON_PROCESS),
    ENTRY(chroot, chroot, CALLS_ON_PROCESS),
    CALLS(read, read),
    CALLS(__read, read),
    CALLS(__read_chk, read_chk),
    CALLS(pread, pread),
    CALLS(pread64, pread64),
    CALLS(__pread64, pread),
    CALLS(__pread_chk, pread_chk),
    CALLS(__pread64_chk, pread_chk),
    CALLS(readv, readv),
    CALLS(preadv, preadv),
    CALLS(preadv64, preadv64),
    CALLS(preadv2, preadv2),
    CALLS(preadv64v2, preadv2),
    CALLS(recv, recv),
    CALLS(__recv_chk, recv_chk),
    CALLS(recvfrom, recvfrom),
    CALLS(__recvfrom_chk, recvfrom_chk),
    CALLS(recvmsg, recvmsg),
    CALLS(recvmmsg, recvmmsg),
    CALLS(getrandom, getrandom),
    CALLS(fread, fread),
    CALLS(fread_unlocked, fread_unlocked),
    CALLS(__fread_chk, fread_chk),
    CALLS(__fread_unlocked_chk, fread_unlocked_chk),
    MEMORY(free, free),
    MEMORY(cfree, free),
    MEMORY(realloc, realloc),
    MEMORY(reallocarray, reallocarray),
    MEMORY(munmap, munmap),
    MEMORY(mmap, mmap),
    MEMORY(mmap64, mmap),
    MEMORY(mremap, mremap),
    MEMORY(madvise, madvise),
    MEMORY(mprotect, mprotect),
    MEMORY(pkey_mprotect, pkey_mprotect),
    MEMORY(brk, brk),
    MEMORY(sbrk, sbrk),
};
enum { ENTRIES = sizeof entries / sizeof *entries, PATIENCE = 1000 /* ms */ };

static int entry_of(const char *name) {
    for (int k = 0; k < ENTRIES; k++)
        if (!strcmp(name, entries[k].name)) return k;
    return -1;
}

/* ---- modules ---- */

/* The kernel's and libc's own need no redirection, and must not have it. */
static bool is_exempt(const struct dl_phdr_info *info) {
    const char *name = strrchr(info->dlpi_name, '/');
    name = name ? name + 1 : info->dlpi_name;
    return !strncmp(name, "linux-vdso", 10) || !strncmp(name, "ld-linux", 8) || !strncmp(name, "libc.so", 7) ||
           !strncmp(name, "libpthread.so", 13);
}

/* A table entry of `type` that holds `target`: would a call through it arrive at the function that we stand for? One
 * that isn't bound yet leads back into its own module. */
static bool leads_there(const struct module *m, unsigned type, uintptr_t target, int k) {
    if (!target) return false;
    return target == (uintptr_t)entries[k].libc || target == (uintptr_t)entries[k].own ||
           (type == R_X86_64_JUMP_SLOT && module_has(m, target));
}

/* Our own slots. A program that isn't position-independent and takes a function's address has a stub of its own for it,
 * and all modules have the stub's address where they don't just call: it leads through the program's table, and so back
 * to us once that is patched. Calls of ours must not: they lead where calls of the program did before. */
static int own_slot(struct module *m, unsigned type, uintptr_t *slot, int k) {
    uintptr_t target = *slot, stub = entries[k].stub;
    if (type != R_X86_64_JUMP_SLOT && stub && target == stub) {
        target = (uintptr_t)(entries[k].behind_stub ? entries[k].behind_stub : entries[k].libc);
        if (!target || !module_open(m, (uintptr_t)slot)) return MW_ERR_INTERPOSE;
        __atomic_store_n(slot, target, __ATOMIC_RELEASE);
    }
    entries[k].own = (void *)target;
    return MW_OK;
}

/* What the program's own stub stands for, before its table is patched. */
static void program_slot(const struct module *m, const ElfW(Sym) * symbol, const uintptr_t *slot, int k) {
    uintptr_t target = *slot;
    if (!symbol->st_value || entries[k].stub) return;
    entries[k].stub = m->base + symbol->st_value;
    entries[k].behind_stub = module_has(m, target) ? NULL : (void *)target; /* not bound yet */
}

static int other_slot(struct module *m, unsigned type, uintptr_t *slot, int k, bool *unbound) {
    uintptr_t target = __atomic_load_n(slot, __ATOMIC_RELAXED);
    if (entries[k].group > mw.modules.group || !leads_there(m, type, target, k)) return MW_OK;
    if (!module_open(m, (uintptr_t)slot)) return MW_ERR_INTERPOSE;
    *unbound |= module_has(m, target);
    __atomic_compare_exchange_n(slot, &target, (uintptr_t)entries[k].replacement, false, __ATOMIC_RELEASE,
                                __ATOMIC_RELAXED);
    return MW_OK;
}

/* Whose slots are looked at. */
enum whose { OURS, PROGRAMS, OTHERS };

/* Learns from a table of ours or of the program, or leads another one's to us. *unbound: some weren't bound yet. */
static int patch(struct module *m, enum whose whose, const ElfW(Rela) * table, size_t n, bool *unbound) {
    int error = MW_OK;
    for (size_t i = 0; i < n && !error; i++) {
        unsigned type = ELF64_R_TYPE(table[i].r_info);
        if (type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT && type != R_X86_64_64) continue;
        const ElfW(Sym) *symbol = &m->symbols[ELF64_R_SYM(table[i].r_info)];
        if (symbol->st_shndx != SHN_UNDEF) continue;
        int k = entry_of(m->strings + symbol->st_name);
        if (k < 0) continue;
        uintptr_t *slot = (uintptr_t *)(m->base + table[i].r_offset);
        if (whose == OTHERS)
            error = other_slot(m, type, slot, k, unbound);
        else if (whose == OURS)
            error = own_slot(m, type, slot, k);
        else if (type == R_X86_64_JUMP_SLOT)
            program_slot(m, symbol, slot, k);
    }
    return error;
}

static int patch_all(struct module *m, enum whose whose, bool *unbound) {
    int error = MW_OK;
    if (m->jumps) error = patch(m, whose, m->jumps, m->jump_count, unbound);
    if (m->data && !error) error = patch(m, whose, m->data, m->data_count, unbound);
    module_close(m);
    return error;
}

/* ---- scanning ---- */

struct scan {
    unsigned long long loads, unloads; /* how many there had been when the modules were counted */
    unsigned first, counted, visited;
    bool changed; /* the list of modules isn't any more what was counted */
    bool unbound;
    int error;
};

static int look(struct dl_phdr_info *info, size_t size, void *loads) {
    (void)size;
    *(unsigned long long *)loads = info->dlpi_adds;
    return 1;
}

static int count(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size;
    struct scan *scan = data;
    scan->loads = info->dlpi_adds;
    scan->unloads = info->dlpi_subs;
    scan->counted++;
    return 0;
}

/* Before anything is patched for the first time, and whenever another core may have patched ours: the program is the
 * first of the list, so what its stubs stand for is known when ours come. */
static int learn(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size;
    struct scan *scan = data;
    struct module m = module_of(info);
    bool first = !scan->visited++, ours = module_has(&m, (uintptr_t)&mw);
    if ((!first && !ours) || !module_read(&m)) return 0;
    if (first && !mw.modules.learned) scan->error = patch_all(&m, PROGRAMS, &scan->unbound);
    if (ours && !scan->error) scan->error = patch_all(&m, OURS, &scan->unbound);
    return scan->error;
}

static int visit(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size;
    struct scan *scan = data;
    unsigned number = scan->visited++;
    scan->changed |= info->dlpi_subs != scan->unloads || number >= scan->counted;
    if (scan->changed) return 1;
    if (number < scan->first || is_exempt(info)) return 0;
    struct module m = module_of(info);
    if (module_has(&m, (uintptr_t)&mw) || !module_read(&m)) return 0;
    uint32_t turn = core_turn_of(info);
    if (turn && turn < core_turn) return 0;
    scan->error = patch_all(&m, OTHERS, &scan->unbound);
    return scan->error;
}

/* Others' tables will lead here for the life of the process. */
static void stay(void) {
    Dl_info own;
    if (dladdr(&mw, &own) && own.dli_fname) dlopen(own.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

/* Waits for a load that is under way in another thread. The addresses are those of libc for good. */
static void wait_for_loads(void) {
    if (!entries[0].libc) {
        void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
        for (int k = ENTRIES; k--;) entries[k].libc = dlsym(libc ? libc : RTLD_DEFAULT, entries[k].name);
        if (libc) dlclose(libc);
        stay();
        core_turn_take();
    }
    dlsym(RTLD_DEFAULT, "dlsym"); /* succeeds: no error of ours is left for dlerror */
}

/* Counted, waited, patched; and patched again if another thread may have been binding an entry meanwhile. */
static struct scan scan(void) {
    struct scan found = {0};
    dl_iterate_phdr(count, &found);
    if (found.unloads == mw.modules.unloads)
        found.first = mw.modules.patched; /* new ones come at the end of the list */
    wait_for_loads();
    dl_iterate_phdr(learn, &found);
    if (found.error) return found;
    mw.modules.learned = true;
    interpose_dlsym = (void *(*)(void *, const char *))(entries[0].own ? entries[0].own : entries[0].libc);
    process_Fork = (pid_t (*)(void))entries[entry_of("_Fork")].libc;
    mw.modules.libc_frees = entries[entry_of("free")].libc == entries[entry_of("free")].own;
    for (int pass = 0; pass < 2 && (!pass || found.unbound) && !found.changed && !found.error; pass++) {
        found.visited = 0;
        dl_iterate_phdr(visit, &found);
    }
    return found;
}

/* Not for ever: with a load of one's own under way, whoever is at it may be waiting for us. Then its turn is waited for
 * once, not at each dlsym of that load. */
static bool take_turn(void) {
    struct timespec pause = {0, 1000000};
    if (lock_held_by(&mw.modules.lock, thread_id())) return false; /* about to fork, in somebody's handler */
    for (int i = 0; !lock_try(&mw.modules.lock, thread_id()); i++) {
        uint32_t turn = __atomic_load_n(&mw.modules.turn, __ATOMIC_RELAXED);
        if (mw_thread.not_waited == turn) return false;
        if (i == PATIENCE) mw_thread.not_waited = turn;
        nanosleep(&pause, NULL);
    }
    __atomic_add_fetch(&mw.modules.turn, 1, __ATOMIC_RELAXED);
    return true;
}

int interpose_modules(enum call_group group) {
    unsigned long long loads;
    dl_iterate_phdr(look, &loads);
    if (likely(loads == mw.modules.loads && group <= mw.modules.group)) return MW_OK;
    if (!take_turn()) return MW_OK; /* the next one will see to it */
    if (group > mw.modules.group) {
        mw.modules.loads = 0; /* whoever comes meanwhile waits for its turn */
        mw.modules.group = group;
        mw.modules.patched = 0;
    }
    struct scan found;
    unsigned attempts = 0;
    do found = scan();
    while (found.changed && ++attempts < 3);
    if (!found.changed && !found.error) {
        mw.modules.loads = found.loads;
        mw.modules.unloads = found.unloads;
        mw.modules.patched = found.counted;
    }
    lock_release(&mw.modules.lock);
    return found.error;
}

/* Calls that write are replaced there from the start: who asks now may call after the first watch. Those on memory are
 * compared by some programs with their own, to find out which allocator they have. */
static enum call_group reach_of_dlsym(void) {
    return mw.modules.group > CALLS_THAT_WRITE ? mw.modules.group : CALLS_THAT_WRITE;
}

/* What dlsym shall return instead of asking; NULL: ask. RTLD_NEXT is for those who stand in for a function themselves:
 * they get what comes next, or we would go round in circles. */
void *interpose_look_up(void *handle, const char *name) {
    interpose_modules(mw.modules.group);
    int k = handle == RTLD_NEXT ? -1 : entry_of(name);
    if (k < 0 || !entries[k].libc || entries[k].group > reach_of_dlsym()) return NULL;
    void *found = dlsym(handle, name);
    return found == entries[k].libc || (found && found == entries[k].own) ? entries[k].replacement : NULL;
}
