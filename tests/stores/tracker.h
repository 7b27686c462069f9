/* tracker.h - the tracker that a test program is told to use. */
#ifndef TRACKER_H
#define TRACKER_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memwatch.h"

static inline mw_tracker tracker_named(const char *name) {
    static const char *const names[] = {"auto", "uffd-sigbus", "readonly", "uffd-queue"};
    for (int i = 0; i < 4; i++)
        if (!strcmp(name, names[i])) return (mw_tracker)i;
    fprintf(stderr, "no tracker is called %s\n", name);
    exit(2);
}
#endif
