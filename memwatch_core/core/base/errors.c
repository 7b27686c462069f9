/* errors.c - what errors say. */
#include <stddef.h>

#include "base/compiler.h"
#include "memwatch.h"

static const char *const sentences[] = {
    [-MW_OK] = "no error",
    [-MW_ERR_PLATFORM] =
        "this machine can't run MemWatch: it needs Linux on x86-64 with FSGSBASE (kernel 5.9 or later, "
        "any CPU since 2013), which emulators of a CPU don't bring",
    [-MW_ERR_NOT_STARTED] = "the core is not started: call mw_start() first",
    [-MW_ERR_NO_MEMORY] = "the kernel refused memory: raise RLIMIT_AS (ulimit -v), or watch less",
    [-MW_ERR_NO_TRACKER] = "the tracker that was asked for doesn't work here: use 'auto', or see 'memwatch doctor'",
    [-MW_ERR_SIGNALS] = "the handlers for SIGSEGV and SIGBUS couldn't be installed",
    [-MW_ERR_EXECUTABLE] = "executable memory was refused (SELinux, a seccomp filter or noexec memfd): allow memfd "
                           "mappings with PROT_EXEC",
    [-MW_ERR_ALIGNMENT] = "page_base and size must be multiples of 4096 and not 0",
    [-MW_ERR_NOT_MAPPED] = "page_base is not mapped readable and writable from end to end",
    [-MW_ERR_NOT_TOUCHED] = "the page was never touched: write to it (or read it) before registering it",
    [-MW_ERR_SHARED] = "page_base is a shared mapping; watching it would cut it off from its other users: copy it to "
                       "private memory first",
    [-MW_ERR_REGISTERED] = "the range, or a part of it, is watched already: unregister that first",
    [-MW_ERR_NOT_ARENA] =
        "the range is not inside one page from mw_page_alloc(): use mw_register_page() for other memory",
    [-MW_ERR_NO_VARIABLE] = "no variable has this id: it was never registered, or its watch has ended",
    [-MW_ERR_RANGE] = "offset and length reach outside the variable",
    [-MW_ERR_FLAGS] =
        "unknown flag, a mask that doesn't fit the variable, or a mutation depth that contains no byte of it",
    [-MW_ERR_LIMIT] =
        "too many variables, or pages, for one process; where RLIMIT_AS (ulimit -v) is set, raising it allows more",
    [-MW_ERR_NO_JOURNAL] = "no journal is open: the session was never opened, or is closed",
    [-MW_ERR_JOURNAL_OPEN] =
        "the journal couldn't be created, or one is open already: it needs a session's folder that "
        "this process's user may write to",
    [-MW_ERR_DESCRIPTOR] = "there is no such descriptor",
    [-MW_ERR_JOURNAL_FULL] =
        "the journal can't grow, the disk is full or journal.max_bytes or RLIMIT_FSIZE (ulimit -f) is reached: nothing "
        "was written, and nothing "
        "recorded before is lost; free some space, set journal.folder to another disk, or raise the limit",
    [-MW_ERR_TOO_LONG] = "the metadata, name or record is longer than a journal can carry",
    [-MW_ERR_PAGE] = "not a page from mw_page_alloc(), or a variable is still registered on it",
    [-MW_ERR_POLICY] = "the limit of a journal must be 0 or at least 4194304 bytes, its policy block, drop or rotate",
    [-MW_ERR_FILE_SIZE] = "the file in memory that watched pages are in may not grow: raise RLIMIT_FSIZE (ulimit -f), "
                          "which counts for it "
                          "too, or let the sandbox allow ftruncate",
    [-MW_ERR_EMULATED] =
        "valgrind runs this program on a CPU of its own, without FSGSBASE and the faults that MemWatch needs: watch "
        "without valgrind",
    [-MW_ERR_FOLDER] =
        "the session's folder must be a folder, no symbolic link, that belongs to the user who runs this "
        "process and that nobody else may write to: set journal.folder to one of your own",
    [-MW_ERR_THREAD] =
        "the tracker needs a thread of its own, which was refused: raise RLIMIT_NPROC (ulimit -u) or pids.max, or "
        "choose another tracker (core.tracker)",
    [-MW_ERR_INTERPOSE] = "the import table of a loaded module couldn't be read or patched",
};

MW_SIGNAL_SAFE const char *mw_strerror(int error) {
    unsigned i = error <= 0 ? (unsigned)-error : sizeof sentences;
    return i < sizeof sentences / sizeof *sentences && sentences[i] ? sentences[i] : "unknown error";
}
