/* module_tables.c - see module_tables.h. elf(5), dl_iterate_phdr(3). */
#include "calls/module_tables.h"

#include <string.h>
#include <sys/mman.h>

#include "memory/arena.h"

struct module module_of(const struct dl_phdr_info *info) {
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

bool module_read(struct module *m) {
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

bool module_open(struct module *m, uintptr_t slot) {
    if (m->opened || slot < m->relro || slot >= m->relro_end) return true;
    m->opened = !mprotect((void *)m->relro, m->relro_end - m->relro, PROT_READ | PROT_WRITE);
    return m->opened;
}

void module_close(struct module *m) {
    if (m->opened) mprotect((void *)m->relro, m->relro_end - m->relro, PROT_READ);
    m->opened = false;
}

/* ---- cores ---- */

__attribute__((used)) uint32_t core_turn; /* named in the note alone, for a compiler that looks at all files */

/* Every core has a note by which others know it, and which says where its turn is. */
#define NOTE_NAME "MemWatch"
#define NOTE_TYPE 1u
__asm__(".pushsection .note.memwatch, \"a\", @note\n"
        "    .balign 4\n"
        "    .long 9, 8, 1\n" /* the sizes of its name and of what it says, its type */
        "    .asciz \"MemWatch\"\n"
        "    .balign 4\n"
        "    .quad core_turn - .\n"
        ".popsection\n");

static uint32_t turn_in(uintptr_t at, uintptr_t end) {
    while (end - at >= sizeof(ElfW(Nhdr))) {
        const ElfW(Nhdr) *note = (const void *)at;
        uintptr_t name = at + sizeof *note, says = name + ((note->n_namesz + 3) & ~(uintptr_t)3);
        uintptr_t next = says + ((note->n_descsz + 3) & ~(uintptr_t)3);
        int64_t distance;
        if (next > end || next <= at) break;
        if (note->n_type == NOTE_TYPE && note->n_namesz == sizeof NOTE_NAME && note->n_descsz == sizeof distance &&
            !memcmp((const void *)name, NOTE_NAME, sizeof NOTE_NAME)) {
            memcpy(&distance, (const void *)says, sizeof distance);
            return __atomic_load_n((const uint32_t *)(says + (uintptr_t)distance), __ATOMIC_ACQUIRE);
        }
        at = next;
    }
    return 0;
}

uint32_t core_turn_of(const struct dl_phdr_info *info) {
    uint32_t turn = 0;
    for (int i = 0; i < info->dlpi_phnum && !turn; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_NOTE && segment->p_align <= 4) turn = turn_in(start, start + segment->p_memsz);
    }
    return turn;
}

/* Only one thread looks at the loader's list at a time: so no two cores take the same turn. */
static int take(struct dl_phdr_info *info, size_t size, void *first) {
    (void)size;
    uint32_t turn = core_turn_of(info);
    if (*(bool *)first) core_turn = 1;
    *(bool *)first = false;
    struct module m = module_of(info);
    if (turn >= core_turn && !module_has(&m, (uintptr_t)&core_turn)) core_turn = turn + 1;
    return 0;
}

void core_turn_take(void) {
    bool first = true;
    if (!core_turn) dl_iterate_phdr(take, &first);
}
