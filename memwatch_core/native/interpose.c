/* interpose.c - redirects calls of the loaded modules to a few libc functions, by patching their import tables (GOT).
 *
 * Modules loaded later are patched at the next registration after the program's dlopen. What a program fetches with
 * dlsym, or calls inside libc, is not seen. elf(5), dl_iterate_phdr(3). */
#include "core.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <sys/mman.h>

static int replaced_sigaction(int signal, const struct sigaction *wanted, struct sigaction *previous) {
    return signals_virtual(signal, wanted, previous);
}

static sighandler_t replaced_signal(int number, sighandler_t handler) {
    struct sigaction wanted = {.sa_handler = handler, .sa_flags = SA_RESTART}, previous;
    sigemptyset(&wanted.sa_mask);
    return signals_virtual(number, &wanted, &previous) ? SIG_ERR : previous.sa_handler;
}

static int replaced_pthread_sigmask(int how, const sigset_t *set, sigset_t *previous) {
    sigset_t spared;
    if (set && how != SIG_UNBLOCK) {
        spared = *set;
        signals_spare(&spared);
        set = &spared;
    }
    return pthread_sigmask(how, set, previous);
}

static int replaced_sigprocmask(int how, const sigset_t *set, sigset_t *previous) {
    int error = replaced_pthread_sigmask(how, set, previous);
    if (error) errno = error;
    return error ? -1 : 0;
}

/* dlopen looks at its caller (for RUNPATH and the namespace), so we leave no frame behind: note, and jump. */
MW_HIDDEN void *(*interpose_dlopen)(const char *, int);
MW_HIDDEN _Atomic uint32_t *interpose_pending;
MW_HIDDEN void *replaced_dlopen(const char *, int);
__asm__(".text\n"
        ".hidden replaced_dlopen\n"
        ".type replaced_dlopen, @function\n"
        "replaced_dlopen:\n"
        "    mov interpose_pending(%rip), %rax\n"
        "    movl $1, (%rax)\n"
        "    jmp *interpose_dlopen(%rip)\n"
        ".size replaced_dlopen, . - replaced_dlopen\n");

static const struct {
    const char *name;
    void *replacement;
} replacements[] = {
    {"sigaction", (void *)replaced_sigaction},     {"__sigaction", (void *)replaced_sigaction},
    {"signal", (void *)replaced_signal},           {"bsd_signal", (void *)replaced_signal},
    {"sigprocmask", (void *)replaced_sigprocmask}, {"pthread_sigmask", (void *)replaced_pthread_sigmask},
    {"dlopen", (void *)replaced_dlopen},
};

struct module {
    uintptr_t base;
    const ElfW(Sym) * symbols;
    const char *strings;
    uintptr_t relro, relro_end;
};

static int patch(const struct module *m, const ElfW(Rela) * table, size_t n) {
    for (size_t i = 0; i < n; i++) {
        unsigned type = ELF64_R_TYPE(table[i].r_info);
        if (type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT && type != R_X86_64_64) continue;
        const ElfW(Sym) *symbol = &m->symbols[ELF64_R_SYM(table[i].r_info)];
        if (symbol->st_shndx != SHN_UNDEF) continue;
        const char *name = m->strings + symbol->st_name;
        for (size_t k = 0; k < sizeof replacements / sizeof *replacements; k++) {
            if (strcmp(name, replacements[k].name)) continue;
            void **slot = (void **)(m->base + table[i].r_offset);
            if (*slot == replacements[k].replacement) break;
            void *page = (void *)((uintptr_t)slot & ~PAGE_MASK);
            bool read_only = (uintptr_t)slot >= m->relro && (uintptr_t)slot < m->relro_end;
            if (read_only && mprotect(page, MW_PAGE_SIZE, PROT_READ | PROT_WRITE)) return MW_ERR_INTERPOSE;
            __atomic_store_n(slot, replacements[k].replacement, __ATOMIC_RELEASE);
            if (read_only) mprotect(page, MW_PAGE_SIZE, PROT_READ);
            break;
        }
    }
    return MW_OK;
}

static bool is_exempt(const struct dl_phdr_info *info) {
    for (int i = 0; i < info->dlpi_phnum; i++) { /* our own module needs the real functions */
        uintptr_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        if (info->dlpi_phdr[i].p_type == PT_LOAD && (uintptr_t)&mw - start < info->dlpi_phdr[i].p_memsz) return true;
    }
    const char *name = strrchr(info->dlpi_name, '/');
    name = name ? name + 1 : info->dlpi_name;
    return !strncmp(name, "linux-vdso", 10) || !strncmp(name, "ld-linux", 8) || !strncmp(name, "libc.so", 7);
}

static int patch_module(struct dl_phdr_info *info, size_t size, void *result) {
    (void)size;
    mw.modules_seen = info->dlpi_adds;
    if (is_exempt(info)) return 0;
    const ElfW(Dyn) *dynamic = NULL;
    struct module m = {.base = info->dlpi_addr};
    for (int i = 0; i < info->dlpi_phnum; i++) {
        uintptr_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        if (info->dlpi_phdr[i].p_type == PT_DYNAMIC) dynamic = (const void *)start;
        if (info->dlpi_phdr[i].p_type == PT_GNU_RELRO) {
            m.relro = start & ~PAGE_MASK;
            m.relro_end = start + info->dlpi_phdr[i].p_memsz;
        }
    }
    const ElfW(Rela) *jumps = NULL, *data = NULL;
    size_t jump_bytes = 0, data_bytes = 0;
    for (; dynamic && dynamic->d_tag != DT_NULL; dynamic++) switch (dynamic->d_tag) {
        case DT_SYMTAB: m.symbols = (const void *)dynamic->d_un.d_ptr; break;
        case DT_STRTAB: m.strings = (const void *)dynamic->d_un.d_ptr; break;
        case DT_JMPREL: jumps = (const void *)dynamic->d_un.d_ptr; break;
        case DT_PLTRELSZ: jump_bytes = dynamic->d_un.d_val; break;
        case DT_RELA: data = (const void *)dynamic->d_un.d_ptr; break;
        case DT_RELASZ: data_bytes = dynamic->d_un.d_val; break;
        }
    if (!m.symbols || !m.strings) return 0;
    int error = jumps ? patch(&m, jumps, jump_bytes / sizeof *jumps) : MW_OK;
    if (!error && data) error = patch(&m, data, data_bytes / sizeof *data);
    if (error) *(int *)result = error;
    return 0;
}

int interpose_scan(void) {
    interpose_dlopen = (void *(*)(const char *, int))dlopen;
    interpose_pending = &mw.modules_pending;
    atomic_store(&mw.modules_pending, 0);
    int error = MW_OK;
    dl_iterate_phdr(patch_module, &error);
    return error;
}
