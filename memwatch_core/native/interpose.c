/* interpose.c - redirects calls of the loaded modules to a few libc functions, by patching their import tables (GOT).
 *
 * Two groups: those that could take our signals from us, from mw_start on; and those that have memory written
 * (calls.c), from the first registration on. What a program fetches with dlsym is redirected there. A module that is
 * loaded later is patched at the next dlsym, dlopen or registration behind the dlopen: before anybody can call what is
 * in it, but for its own constructors. Calls inside libc are not seen. A table entry that leads to somebody else's
 * function of that name is left alone, and patches stay for the life of the process: the replacements work without a
 * watched page too.
 *
 * A module that another thread is loading now must not be touched: the loader hasn't filled its table yet, or is about
 * to, and closes it itself. dlsym waits for such a load to end; so the modules are counted first, then dlsym is called,
 * and then those that were counted are patched. elf(5), dl_iterate_phdr(3). */
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <time.h>

#include "core.h"

/* dlopen and dlsym look at their caller (for RUNPATH, RTLD_NEXT and the namespace), so we leave no frame behind. */
MW_HIDDEN void *(*interpose_dlopen)(const char *, int);
MW_HIDDEN void *(*interpose_dlsym)(void *, const char *);
MW_HIDDEN void replaced_dlopen(void);
MW_HIDDEN void replaced_dlsym(void);
MW_HIDDEN void *interpose_opening(void);
MW_HIDDEN void *interpose_look_up(void *handle, const char *name);

#define KEEPING_THE_CALLER(name, first, next)                                                                          \
    __asm__(".text\n"                                                                                                  \
            ".hidden " #name "\n"                                                                                      \
            ".type " #name ", @function\n" #name ":\n"                                                                 \
            "    .cfi_startproc\n"                                                                                     \
            "    endbr64\n"                                                                                            \
            "    push %rdi\n"                                                                                          \
            "    push %rsi\n"                                                                                          \
            "    sub $8, %rsp\n"                                                                                       \
            "    .cfi_adjust_cfa_offset 24\n"                                                                          \
            "    call " #first "\n"                                                                                    \
            "    add $8, %rsp\n"                                                                                       \
            "    pop %rsi\n"                                                                                           \
            "    pop %rdi\n"                                                                                           \
            "    .cfi_adjust_cfa_offset -24\n"                                                                         \
            "    test %rax, %rax\n"                                                                                    \
            "    jnz 1f\n"                                                                                             \
            "    jmp *" #next "(%rip)\n"                                                                               \
            "1:  ret\n"                                                                                                \
            "    .cfi_endproc\n"                                                                                       \
            ".size " #name ", . - " #name "\n")
KEEPING_THE_CALLER(replaced_dlopen, interpose_opening, interpose_dlopen);
KEEPING_THE_CALLER(replaced_dlsym, interpose_look_up, interpose_dlsym);

#define ENTRY(name_, replacement_, writes_)                                                                            \
    {.name = #name_, .replacement = (void *)replaced_##replacement_, .writes = writes_}
#define LOADER(name) ENTRY(name, name, false)
#define SIGNALS(name, replacement) ENTRY(name, replacement, false)
#define CALLS(name, replacement) ENTRY(name, replacement, true)
static struct {
    const char *name;
    void *replacement;
    bool writes; /* has memory written: of the second group */
    void *own;   /* where calls of our own module lead: libc's function, or that of a library that comes before it */
    void *libc;
} entries[] = {
    LOADER(dlopen),
    LOADER(dlsym),
    SIGNALS(sigaction, sigaction),
    SIGNALS(__sigaction, sigaction),
    SIGNALS(signal, signal),
    SIGNALS(bsd_signal, signal),
    SIGNALS(ssignal, signal),
    SIGNALS(sysv_signal, sysv_signal),
    SIGNALS(__sysv_signal, sysv_signal),
    SIGNALS(sigprocmask, sigprocmask),
    SIGNALS(pthread_sigmask, pthread_sigmask),
    CALLS(read, read),
    CALLS(__read, read),
    CALLS(__read_chk, read_chk),
    CALLS(pread, pread),
    CALLS(pread64, pread),
    CALLS(__pread64, pread),
    CALLS(__pread_chk, pread_chk),
    CALLS(__pread64_chk, pread_chk),
    CALLS(readv, readv),
    CALLS(preadv, preadv),
    CALLS(preadv64, preadv),
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
};
enum { ENTRIES = sizeof entries / sizeof *entries };

static int entry_of(const char *name) {
    for (int k = 0; k < ENTRIES; k++)
        if (!strcmp(name, entries[k].name)) return k;
    return -1;
}

/* ---- modules ---- */

struct module {
    uintptr_t base, start, end;
    const ElfW(Dyn) * dynamic;
    const ElfW(Sym) * symbols;
    const char *strings;
    const ElfW(Rela) * jumps, *data;
    size_t jump_count, data_count;
    uintptr_t relro, relro_end;
    bool opened; /* its RELRO pages are writable now */
};

static struct module module_of(const struct dl_phdr_info *info) {
    struct module m = {.base = info->dlpi_addr, .start = UINTPTR_MAX};
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + segment->p_vaddr, end = start + segment->p_memsz;
        if (segment->p_type == PT_DYNAMIC) m.dynamic = (const void *)start;
        if (segment->p_type == PT_LOAD) {
            m.start = start < m.start ? start : m.start;
            m.end = end > m.end ? end : m.end;
        }
        if (segment->p_type == PT_GNU_RELRO) { /* whole pages, as the loader protects them */
            m.relro = start & ~PAGE_MASK;
            m.relro_end = end & ~PAGE_MASK;
        }
    }
    return m;
}

static bool read_dynamic(struct module *m) {
    for (const ElfW(Dyn) *d = m->dynamic; d && d->d_tag != DT_NULL; d++) switch (d->d_tag) {
        case DT_SYMTAB: m->symbols = (const void *)d->d_un.d_ptr; break;
        case DT_STRTAB: m->strings = (const void *)d->d_un.d_ptr; break;
        case DT_JMPREL: m->jumps = (const void *)d->d_un.d_ptr; break;
        case DT_PLTRELSZ: m->jump_count = d->d_un.d_val / sizeof *m->jumps; break;
        case DT_RELA: m->data = (const void *)d->d_un.d_ptr; break;
        case DT_RELASZ: m->data_count = d->d_un.d_val / sizeof *m->data; break;
        }
    return m->symbols && m->strings;
}

/* The kernel's and libc's own need no redirection, and must not have it. */
static bool is_exempt(const struct dl_phdr_info *info) {
    const char *name = strrchr(info->dlpi_name, '/');
    name = name ? name + 1 : info->dlpi_name;
    return !strncmp(name, "linux-vdso", 10) || !strncmp(name, "ld-linux", 8) || !strncmp(name, "libc.so", 7) ||
           !strncmp(name, "libpthread.so", 13);
}

static bool is_ours(const struct module *m) { return (uintptr_t)&mw - m->start < m->end - m->start; }

/* A table entry of `type` that holds `target`: would a call through it arrive at the function that we stand for? One
 * that isn't bound yet leads back into its own module. */
static bool leads_there(const struct module *m, unsigned type, uintptr_t target, int k) {
    if (!target) return false;
    return target == (uintptr_t)entries[k].libc || target == (uintptr_t)entries[k].own ||
           (type == R_X86_64_JUMP_SLOT && target - m->start < m->end - m->start);
}

static bool open_table(struct module *m, uintptr_t slot) {
    if (m->opened || slot < m->relro || slot >= m->relro_end) return true;
    m->opened = !mprotect((void *)m->relro, m->relro_end - m->relro, PROT_READ | PROT_WRITE);
    return m->opened;
}

static int patch(struct module *m, const ElfW(Rela) * table, size_t n) {
    bool ours = is_ours(m);
    for (size_t i = 0; i < n; i++) {
        unsigned type = ELF64_R_TYPE(table[i].r_info);
        if (type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT && type != R_X86_64_64) continue;
        const ElfW(Sym) *symbol = &m->symbols[ELF64_R_SYM(table[i].r_info)];
        if (symbol->st_shndx != SHN_UNDEF) continue;
        int k = entry_of(m->strings + symbol->st_name);
        if (k < 0) continue;
        uintptr_t *slot = (uintptr_t *)(m->base + table[i].r_offset);
        uintptr_t target = __atomic_load_n(slot, __ATOMIC_RELAXED);
        if (ours) {
            if (type == R_X86_64_JUMP_SLOT) entries[k].own = (void *)target;
        } else if ((!entries[k].writes || mw.calls_redirected) && leads_there(m, type, target, k)) {
            if (!open_table(m, (uintptr_t)slot)) return MW_ERR_INTERPOSE;
            __atomic_compare_exchange_n(slot, &target, (uintptr_t)entries[k].replacement, false, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED);
        }
    }
    return MW_OK;
}

/* ---- scanning ---- */

struct scan {
    unsigned counted, visited;
    unsigned long long unloads; /* how many modules had been unloaded when they were counted */
    bool patching, repeat;
    int error;
};

static int visit(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size;
    struct scan *scan = data;
    struct module m = module_of(info);
    if (!scan->patching) {
        scan->unloads = info->dlpi_subs;
        scan->counted++;
        if (is_ours(&m) && read_dynamic(&m) && m.jumps) patch(&m, m.jumps, m.jump_count);
        return 0;
    }
    if (scan->unloads != info->dlpi_subs || scan->visited++ >= scan->counted) { /* the list has changed meanwhile */
        scan->repeat = true;
        return 1;
    }
    if (is_ours(&m) || is_exempt(info) || !read_dynamic(&m)) return 0;
    if (m.jumps) scan->error = patch(&m, m.jumps, m.jump_count);
    if (m.data && !scan->error) scan->error = patch(&m, m.data, m.data_count);
    if (m.opened) mprotect((void *)m.relro, m.relro_end - m.relro, PROT_READ);
    return scan->error;
}

/* Waits for a load that is under way in another thread. The addresses are those of libc for good. */
static void wait_for_loads(void) {
    static bool known;
    void *libc = known ? NULL : dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    for (int k = known ? ENTRIES : 0; k < ENTRIES; k++)
        entries[k].libc = dlsym(libc ? libc : RTLD_DEFAULT, entries[k].name);
    if (libc) dlclose(libc);
    known = true;
    dlsym(RTLD_DEFAULT, "dlsym"); /* succeeds: no error of ours is left for dlerror */
}

/* Not for ever: with a load of one's own under way, whoever is at it may be waiting for us. */
static bool take_turn(void) {
    struct timespec pause = {0, 1000000};
    for (int i = 0; !lock_try(&mw.modules_lock, thread_id()); i++) {
        if (i == 50) return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

int interpose_scan(void) {
    if (!take_turn()) return MW_OK; /* it stays pending */
    struct scan scan;
    unsigned attempts = 0;
    do {
        atomic_store(&mw.modules_pending, 0);
        scan = (struct scan){0};
        dl_iterate_phdr(visit, &scan);
        wait_for_loads();
        interpose_dlopen = (void *(*)(const char *, int))(entries[0].own ? entries[0].own : entries[0].libc);
        interpose_dlsym = (void *(*)(void *, const char *))(entries[1].own ? entries[1].own : entries[1].libc);
        scan.patching = true;
        dl_iterate_phdr(visit, &scan);
    } while (scan.repeat && ++attempts < 3);
    if (scan.repeat || scan.error) atomic_store(&mw.modules_pending, 1);
    lock_release(&mw.modules_lock);
    return scan.error;
}

static void scan_if_needed(void) {
    if (unlikely(atomic_load_explicit(&mw.modules_pending, memory_order_relaxed))) interpose_scan();
}

/* dlopen is about to be called. NULL: go on there. */
void *interpose_opening(void) {
    scan_if_needed();
    atomic_store(&mw.modules_pending, 1);
    return NULL;
}

/* What dlsym shall return instead of asking; NULL: ask. RTLD_NEXT is for those who stand in for a function themselves:
 * they get what comes next, or we would go round in circles. */
void *interpose_look_up(void *handle, const char *name) {
    scan_if_needed();
    int k = handle == RTLD_NEXT ? -1 : entry_of(name);
    return k >= 0 && entries[k].libc && dlsym(handle, name) == entries[k].libc ? entries[k].replacement : NULL;
}
