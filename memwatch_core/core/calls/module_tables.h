/* module_tables.h - a loaded module as the loader sees it: where it lies, what it imports, and whether it is a core. */
#ifndef MEMWATCH_MODULE_TABLES_H
#define MEMWATCH_MODULE_TABLES_H
#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"

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

MW_HIDDEN struct module module_of(const struct dl_phdr_info *info);
MW_HIDDEN bool module_read(struct module *module); /* finds its tables; false: it has none */
static inline bool module_has(const struct module *m, uintptr_t address) {
    return address - m->start < m->end - m->start;
}
/* Makes a table entry writable, if the loader has protected it; all are protected again by the next. */
MW_HIDDEN bool module_open(struct module *module, uintptr_t slot);
MW_HIDDEN void module_close(struct module *module);

/* Several cores may be in a process: of two runtimes, say. Each takes its turn when it starts, the first is 1, and no
 * core redirects calls of one with an earlier turn: so calls go from later ones to earlier ones, and never in a circle.
 */
extern MW_HIDDEN uint32_t core_turn;                              /* of this one; 0: not yet */
MW_HIDDEN uint32_t core_turn_of(const struct dl_phdr_info *info); /* 0: it isn't a core, or has none yet */
MW_HIDDEN void core_turn_take(void);
#endif
