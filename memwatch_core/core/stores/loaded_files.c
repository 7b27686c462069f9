/* loaded_files.c - see loaded_files.h.
 *
 * The loader says where a file begins (_dl_find_object, which may be called in signal handlers); the kernel, what the
 * file's name is. A file may be unloaded, and another one be loaded at the same addresses: so its head and its build id
 * are compared each time. elf(5), proc(5). */
#include "stores/loaded_files.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>

#include "base/digits.h"
#include "base/hash.h"
#include "base/lock.h"
#include "base/syscalls.h"
#include "base/thread.h"
#include "memory/arena.h"
#include "memwatch.h"
#include "state.h"

#define FILES (1u << FILES_BITS)

struct object { /* struct dl_find_object */
    unsigned long long flags;
    void *start, *end;
    struct link_map *link_map;
    void *frames;
    unsigned long long reserved[7];
};

/* ---- text -------------------------------------------------------------------------------------------------------- */

struct text {
    char *at, *end;
};

MW_SIGNAL_SAFE static void put(struct text *t, const char *string) {
    while (*string && t->at < t->end) *t->at++ = *string++;
}

MW_SIGNAL_SAFE static void put_number(struct text *t, uint64_t number) {
    char digits[21];
    *put_decimal(digits, number) = 0;
    put(t, digits);
}

MW_SIGNAL_SAFE static void put_bytes(struct text *t, const uint8_t *bytes, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        char two[3];
        *put_hexadecimal(two, bytes[i], 2) = 0;
        put(t, two);
    }
}

/* ---- what it begins with ----------------------------------------------------------------------------------------- */

MW_SIGNAL_SAFE static bool has_head(uintptr_t start) {
    const Elf64_Ehdr *head = (const Elf64_Ehdr *)start;
    return !memcmp(head->e_ident, ELFMAG, SELFMAG) && head->e_phoff == sizeof *head &&
           head->e_phentsize == sizeof(Elf64_Phdr) && sizeof *head + head->e_phnum * sizeof(Elf64_Phdr) <= HEAD_MOST;
}

MW_SIGNAL_SAFE static bool is_readable(const Elf64_Phdr *segments, unsigned count, const Elf64_Phdr *part) {
    for (unsigned i = 0; i < count; i++)
        if (segments[i].p_type == PT_LOAD && segments[i].p_flags & PF_R && part->p_vaddr >= segments[i].p_vaddr &&
            part->p_vaddr + part->p_filesz <= segments[i].p_vaddr + segments[i].p_filesz)
            return true;
    return false;
}

MW_SIGNAL_SAFE static void find_build_id(struct loaded_file *file, const Elf64_Phdr *segment) {
    const uint8_t *at = (const uint8_t *)(file->bias + segment->p_vaddr), *end = at + segment->p_filesz;
    const size_t align = segment->p_align == 8 ? 8 : 4;
    while ((size_t)(end - at) >= sizeof(Elf64_Nhdr)) {
        const Elf64_Nhdr *note = (const Elf64_Nhdr *)at;
        size_t name = (note->n_namesz + align - 1) & ~(align - 1), said = (note->n_descsz + align - 1) & ~(align - 1);
        const uint8_t *id = at + sizeof *note + name;
        if (name > (size_t)(end - at) || said > (size_t)(end - at) - sizeof *note - name) return;
        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && !memcmp(note + 1, "GNU", 4) &&
            note->n_descsz <= sizeof file->id) {
            file->id_at = id;
            file->id_length = note->n_descsz;
            memcpy(file->id, id, note->n_descsz);
            return;
        }
        at = id + said;
    }
}

MW_SIGNAL_SAFE static void look_at_head(struct loaded_file *file, const struct object *object) {
    uintptr_t start = (uintptr_t)object->start;
    const Elf64_Phdr *segments = mw.loaded_files.segments;
    unsigned count = mw.loaded_files.segment_count;
    file->bias = object->link_map->l_addr;
    file->head_length = file->id_length = 0; /* what a thread of a forking parent has begun */
    if (has_head(start)) {
        const Elf64_Ehdr *head = (const Elf64_Ehdr *)start;
        segments = (const Elf64_Phdr *)(head + 1);
        count = head->e_phnum;
        file->head_length = (uint32_t)(sizeof *head + count * sizeof *segments);
        memcpy(file->head, head, file->head_length);
    }
    for (unsigned i = 0; i < count && !file->id_length; i++)
        if (segments[i].p_type == PT_NOTE && is_readable(segments, count, &segments[i]))
            find_build_id(file, &segments[i]);
}

/* Equal heads have the build id at the same place. */
MW_SIGNAL_SAFE static bool is_still(const struct loaded_file *file, uintptr_t start) {
    return !memcmp(file->head, (const void *)start, file->head_length) &&
           (!file->id_length || !memcmp(file->id, file->id_at, file->id_length));
}

/* ---- its name ---------------------------------------------------------------------------------------------------- */

MW_SIGNAL_SAFE static uint64_t take_number(const char **at, unsigned base) {
    uint64_t number = 0;
    for (;; ++*at) {
        unsigned c = (unsigned char)**at;
        unsigned digit = c - '0' < 10 ? c - '0' : base == 16 && c - 'a' < 6 ? c - 'a' + 10 : 16;
        if (digit >= base) return number;
        number = number * base + digit;
    }
}

MW_SIGNAL_SAFE static const char *behind_space(const char *at) {
    while (*at && *at != ' ') at++;
    while (*at == ' ') at++;
    return at;
}

/* The line of the kernel's list of mappings that this address is in, without the newline. */
MW_SIGNAL_SAFE static bool find_mapping(char *line, size_t room, uintptr_t address) {
    char piece[512];
    size_t used = 0;
    bool found = false;
    long got, fd = raw_syscall4(SYS_openat, AT_FDCWD, (long)"/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return false;
    while (!found && (got = raw_syscall4(SYS_read, fd, (long)piece, sizeof piece, 0)) > 0)
        for (long i = 0; i < got && !found; i++) {
            if (piece[i] != '\n') {
                if (used < room - 1) line[used++] = piece[i];
                continue;
            }
            line[used] = 0;
            used = 0;
            const char *at = line;
            uint64_t first = take_number(&at, 16);
            if (*at == '-') at++;
            found = address >= first && address < take_number(&at, 16);
        }
    raw_syscall4(SYS_close, fd, 0, 0, 0);
    return found;
}

/* A file without a build id is told by its inode, size and time of change, if it still lies where it was loaded from.
 */
MW_SIGNAL_SAFE static void put_file(struct text *t, const char *path, uint64_t inode) {
    struct stat about;
    if (raw_syscall4(SYS_newfstatat, AT_FDCWD, (long)path, (long)&about, 0) || about.st_ino != inode) return;
    put(t, " file=");
    put_number(t, inode);
    put(t, ",");
    put_number(t, (uint64_t)about.st_size);
    put(t, ",");
    put_number(t, (uint64_t)about.st_mtim.tv_sec * 1000000000u + (uint64_t)about.st_mtim.tv_nsec);
}

/* Where the kernel's list can't be read, the loader's name will do, though it may be relative to another folder. */
MW_SIGNAL_SAFE static void name_it(struct loaded_file *file, uintptr_t address, const struct link_map *loaded) {
    static const char deleted[] = " (deleted)";
    char *line = mw.loaded_files.line;
    struct text identity = {file->identity, file->identity + IDENTITY_MOST - 1};
    const char *path = loaded && loaded->l_name ? loaded->l_name : "";
    uint64_t inode = 0;
    if (find_mapping(line, sizeof mw.loaded_files.line, address)) {
        path = behind_space(behind_space(behind_space(behind_space(line)))); /* range, rights, offset, device */
        inode = take_number(&path, 10);
        while (*path == ' ') path++;
    }
    size_t n = strlen(path), end = sizeof deleted - 1;
    if (n > end && !memcmp(path + n - end, deleted, end)) n -= end;
    if (n > PATH_MOST - 1) n = PATH_MOST - 1;
    memcpy(file->path, path, n);
    file->path[n] = 0;
    file->path_length = (uint32_t)n;
    if (file->id_length) {
        put(&identity, " build-id=");
        put_bytes(&identity, file->id, file->id_length);
    } else if (n) {
        put_file(&identity, file->path, inode);
    }
    file->identity_length = (uint32_t)(identity.at - file->identity);
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

/* The row of the file that begins here, or a free one where it would go; NULL: there is none. */
MW_SIGNAL_SAFE static struct loaded_file *find(uintptr_t start) {
    uint32_t at = (uint32_t)hash_to_bits(start >> PAGE_SHIFT, FILES_BITS);
    for (uint32_t i = 0; i < FILES; i++, at = (at + 1) & (FILES - 1)) {
        struct loaded_file *file = &mw.loaded_files.rows[at];
        uintptr_t known = atomic_load_explicit(&file->start, memory_order_acquire);
        if (!known || (known == start && is_still(file, start))) return file;
    }
    return NULL;
}

MW_SIGNAL_SAFE static __attribute__((noinline)) const struct loaded_file *learn(const struct object *object,
                                                                                uintptr_t address) {
    uintptr_t start = (uintptr_t)object->start;
    lock_take(&mw.loaded_files.lock, thread_id());
    struct loaded_file *file = mw.loaded_files.count < FILES / 4 * 3 ? find(start) : NULL;
    if (file && !atomic_load(&file->start)) {
        look_at_head(file, object);
        name_it(file, address, object->link_map);
        mw.loaded_files.count++;
        atomic_store_explicit(&file->start, start, memory_order_release);
    }
    lock_release(&mw.loaded_files.lock);
    return file;
}

MW_SIGNAL_SAFE static bool is_loaded(uintptr_t address, struct object *object) {
    return mw.loaded_files.find && !mw.loaded_files.find((void *)address, object);
}

/* The loader may know each segment by itself. Those that have no head can't be told from others that are loaded at
 * their place later; but the program itself stays. */
MW_SIGNAL_SAFE const struct loaded_file *loaded_file_at(uintptr_t address, bool *loaded) {
    struct object object;
    *loaded = is_loaded(address, &object);
    if (!*loaded || (!has_head((uintptr_t)object.start) && object.link_map != mw.loaded_files.program)) return NULL;
    struct loaded_file *file = find((uintptr_t)object.start);
    if (!file || likely(atomic_load_explicit(&file->start, memory_order_relaxed))) return file;
    return learn(&object, address);
}

static uintptr_t start_of(uintptr_t address) {
    struct object object;
    return is_loaded(address, &object) ? (uintptr_t)object.start : 0;
}

int loaded_files_open(void) {
    mw.loaded_files.rows = arena_table(FILES * sizeof *mw.loaded_files.rows);
    if (!mw.loaded_files.rows) return MW_ERR_NO_MEMORY;
    void *found = dlsym(RTLD_DEFAULT, "_dl_find_object");
    memcpy(&mw.loaded_files.find, &found, sizeof found);
    struct object program;
    mw.loaded_files.segments = (const Elf64_Phdr *)getauxval(AT_PHDR);
    mw.loaded_files.segment_count = (unsigned)getauxval(AT_PHNUM);
    if (is_loaded((uintptr_t)getauxval(AT_ENTRY), &program)) mw.loaded_files.program = program.link_map;
    mw.loaded_files.libc = start_of((uintptr_t)dlsym(RTLD_DEFAULT, "memmove"));
    mw.loaded_files.ours = start_of((uintptr_t)loaded_files_open);
    return MW_OK;
}
