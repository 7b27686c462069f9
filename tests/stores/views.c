/* views.c - where the core has put its views, for who can read the process's maps: one line for each of them.
 *
 *   views TRACKER */
#include "check.h"
#include "tracker.h"

int main(int argc, char **argv) {
    char line[512];
    if (argc != 2) return 2;
    check(mw_start(tracker_named(argv[1])), "mw_start");
    uint8_t *page = mw_page_alloc(1);
    REQUIRE(page && mw_write_view(page));
    printf("watched %p writable %p\n", (void *)page, mw_write_view(page));
    FILE *maps = fopen("/proc/self/maps", "re");
    while (fgets(line, sizeof line, maps))
        if (strstr(line, "/dev/zero (deleted)") || strstr(line, "/memfd:memwatch")) fputs(line, stdout);
    return 0;
}
