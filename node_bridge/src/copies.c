/* copies.c - one addon serves a process, however many copies of the package are installed, and in whatever threads and
 * realms they are loaded: two cores in one process would each take the other's faults for the program's own. JavaScript
 * can't tell (test runners show it copies of `process`); the list of loaded objects can. dl_iterate_phdr(3). */
#include "addon.h"

#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

#define ADDON memwatch_addon_1 /* what such copies agree on: the functions of addon.c */
#define STRING_OF(name) #name
#define NAME_OF(name) STRING_OF(name)

extern addon_init ADDON;

enum { OBJECTS_MAX = 256 };

struct objects {
    char *names[OBJECTS_MAX];
    size_t n;
};

/* Addons, in the order in which they were loaded. The loader's lock is held: they are opened later. */
static int note_addon(struct dl_phdr_info *info, size_t size, void *to) {
    struct objects *found = to;
    size_t length = strlen(info->dlpi_name);
    (void)size;
    if (length > 5 && !strcmp(info->dlpi_name + length - 5, ".node") && found->n < OBJECTS_MAX)
        if ((found->names[found->n] = strdup(info->dlpi_name))) found->n++;
    return 0;
}

addon_init *serving_addon(void) {
    struct objects loaded = {.n = 0};
    addon_init *first = NULL;
    dl_iterate_phdr(note_addon, &loaded);
    for (size_t i = 0; i < loaded.n; i++) {
        void *object = first ? NULL : dlopen(loaded.names[i], RTLD_LAZY | RTLD_NOLOAD);
        if (object) {
            *(void **)&first = dlsym(object, NAME_OF(ADDON));
            dlclose(object); /* it stays: -z nodelete */
        }
        free(loaded.names[i]);
    }
    return first ? first : ADDON;
}
