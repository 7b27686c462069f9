/* memwatch.h - the ABI between an adapter and the core.
 *
 * The core keeps pages that a program can read but never write, runs each store that is tried on them against a second,
 * writable mapping of the same memory, and appends what changed to a journal. It knows pages, byte ranges, flags and
 * opaque ids; what a value means is the adapter's business. This header is all that an adapter needs.
 *
 * Life of an adapter:
 *     mw_start(MW_TRACKER_AUTO)                    once per process
 *     mw_journal_open(path, "python", session)     where events go
 *     p  = mw_page_alloc(1)                        zeroed memory, not yet watched: fill it through mw_write_view(p)
 *     id = mw_register_page(p, 4096, flags, depth) from here on every store to p makes an event
 *     mw_update_metadata(id, json, n)              opaque to the core, copied to the journal
 *     mw_write(id, offset, bytes, n)               an announced write: no fault, the same event
 *     mw_unregister_page(id); mw_page_free(p, 1)
 *
 * Calls of libc that have the kernel write (read(2) and its kind, made by any module that is loaded) are redirected
 * from the first registration on: they fill watched memory too, with events. What bypasses libc fails with EFAULT
 * there.
 *
 * Adapter guarantees (the specification's): a page is touched before it is registered; it lives at least as long as its
 * watch, or the watch ends with it; all writes to the watched value hit the page.
 *
 * Errors: every call returns 0 (or an id, or a pointer) or a negative mw_error; mw_strerror() gives a sentence that
 * says what to do. Calls may come from any thread. Async-signal-safe are only mw_set_context, mw_intern_site,
 * mw_intern_stack, mw_request_serial, mw_request_kept and mw_hash_secret. */
#ifndef MEMWATCH_H
#define MEMWATCH_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

#define MW_ABI_VERSION 1
#define MW_PAGE_SIZE 4096u
#define MW_EVENT_MAX 4096u /* bytes that one event can carry; a longer write makes several, in order */

typedef enum mw_error {
    MW_OK = 0,
    MW_ERR_PLATFORM = -1,      /* not Linux on x86-64, or a CPU or kernel without FSGSBASE */
    MW_ERR_NOT_STARTED = -2,   /* mw_start has not succeeded in this process */
    MW_ERR_NO_MEMORY = -3,     /* address space, memory or memfd refused */
    MW_ERR_NO_TRACKER = -4,    /* the tracker that was asked for doesn't work here */
    MW_ERR_SIGNALS = -5,       /* signal handlers couldn't be installed */
    MW_ERR_EXECUTABLE = -6,    /* executable memory refused (a sandbox or SELinux) */
    MW_ERR_ALIGNMENT = -7,     /* page_base or size is not a multiple of 4096 */
    MW_ERR_NOT_MAPPED = -8,    /* page_base is not mapped readable and writable */
    MW_ERR_NOT_TOUCHED = -9,   /* page_base was never written or read: touch it first */
    MW_ERR_SHARED = -10,       /* page_base is a shared mapping: adopting it would cut it off from its other users */
    MW_ERR_REGISTERED = -11,   /* the range is, in part, registered already */
    MW_ERR_NOT_ARENA = -12,    /* the range isn't inside pages from mw_page_alloc */
    MW_ERR_NO_VARIABLE = -13,  /* no variable has this id (any more) */
    MW_ERR_RANGE = -14,        /* offset or length outside the variable */
    MW_ERR_FLAGS = -15,        /* unknown flag, a mask that doesn't fit, or an empty mutation depth */
    MW_ERR_LIMIT = -16,        /* too many variables or pages */
    MW_ERR_NO_JOURNAL = -17,   /* no journal is open */
    MW_ERR_JOURNAL_OPEN = -18, /* a journal is open already, or the file couldn't be created: see errno */
    MW_ERR_JOURNAL_FULL = -19, /* no room on the disk or within the limit: nothing was written, no record is lost */
    MW_ERR_TOO_LONG = -20,     /* metadata, a name or a record is longer than the journal can carry */
    MW_ERR_PAGE = -21,         /* the pointer is not a page of the arena, or the page still has variables */
    MW_ERR_INTERPOSE = -22,    /* a loaded module's import table couldn't be patched */
    MW_ERR_POLICY = -23,       /* max_bytes is neither 0 nor at least MW_JOURNAL_MIN, or there is no such policy */
    MW_ERR_DESCRIPTOR = -24,   /* no such descriptor */
    MW_ERR_FILE_SIZE = -25,    /* the memfd behind the pages may not grow: RLIMIT_FSIZE, or ftruncate refused */
    MW_ERR_EMULATED = -26,     /* valgrind runs the program, on a CPU of its own */
    MW_ERR_FOLDER = -27,       /* the folder is another user's, or others may write to it, or it is a symbolic link */
    MW_ERR_THREAD = -28,       /* the tracker's thread couldn't be started: see errno */
} mw_error;

/* One sentence: what happened and what to do about it. Never NULL; static storage. Async-signal-safe. */
const char *mw_strerror(int error);

/* ---- start ------------------------------------------------------------------------------------------------------ */

typedef enum mw_tracker {
    MW_TRACKER_AUTO = 0,        /* the first of the following that works */
    MW_TRACKER_UFFD_SIGBUS = 1, /* userfaultfd write-protect, delivered as SIGBUS in the writing thread */
    MW_TRACKER_READONLY = 2,    /* the watched view is mapped read-only: SIGSEGV in the writing thread */
    MW_TRACKER_UFFD_QUEUE = 3,  /* userfaultfd messages to a thread of ours, which has the writing thread run its store;
                                   sees what the kernel writes too. Needs privilege, and is slower: never by AUTO */
} mw_tracker;

/* Makes the arena, takes SIGSEGV and SIGBUS (chaining to whoever had them), arms the tracker. A second call with the
 * same or MW_TRACKER_AUTO is a no-op. Errors: PLATFORM, EMULATED, NO_MEMORY, FILE_SIZE, NO_TRACKER, SIGNALS,
 * EXECUTABLE. */
int mw_start(mw_tracker wanted);

/* "uffd-sigbus", "uffd-queue", "readonly", or "none" before mw_start. Static storage. */
const char *mw_tracker_name(void);

/* Why the trackers before the chosen one were passed over; "" if none was. Static storage, one line. */
const char *mw_tracker_reason(void);

/* Tries a tracker on a page of its own and takes it down again: 0, or NO_TRACKER with errno set. For diagnosis. */
int mw_tracker_probe(mw_tracker tracker);

/* ---- pages ------------------------------------------------------------------------------------------------------ */

/* n contiguous zeroed pages of the arena: the WATCHED address, or NULL (errno ENOMEM; EFBIG for FILE_SIZE). Until a
 * page is registered, a store to it runs and makes no event. No system call, but for the first page of a chunk. */
void *mw_page_alloc(size_t n);

/* Gives back what mw_page_alloc gave. Errors: PAGE (not such a pointer, or a variable is still registered on it). */
int mw_page_free(void *page, size_t n);

/* The writable view of an address inside the arena or an adopted page; NULL for any other. For filling a page before it
 * is registered: a write through it later makes no event. */
void *mw_write_view(const void *watched);

/* Copies bytes of the program's to pages from mw_page_alloc that are still zeros and have no variable: no event. Large
 * memory that was never touched stays so: it takes neither time nor room, and reads as zeros there. Errors: PAGE. */
int mw_page_fill(void *page, const void *bytes, size_t size);

/* Has the adapter told of each store to pages from mw_page_alloc, instead of recording it: the program's own memory,
 * of which the adapter records what a store means, in a page that shadows it (mw_write_shadow). Until mw_page_free().
 * Errors: PAGE. */
int mw_page_guard(void *page, size_t n);

/* Called in the storing thread, after the store, on the stack that the program was on, in the signal handler: all
 * signals are masked. It may do what the interrupted code could have done at this store, where the adapter knows what
 * that is; none of its own stores may fault. Calls of libc that have the kernel write aren't told. */
typedef void (*mw_guard_hook)(const void *address, size_t length);
void mw_set_guard_hook(mw_guard_hook hook);

/* ---- variables -------------------------------------------------------------------------------------------------- */

enum {
    MW_TRACK_THREADS = 1u << 0,  /* events carry the writer's thread id (otherwise 0) */
    MW_TRACK_SQL = 1u << 1,      /* events carry the context id (otherwise 0) */
    MW_TRACK_ALL_VARS = 1u << 2, /* adapter-defined; stored with the variable */
    MW_TRACK_LOCALS = 1u << 3,   /* adapter-defined; stored with the variable */
    /* Its value is a secret: what it holds must not be found in the journal. Either the adapter writes nothing but
     * hashes to it (mw_hash_secret), or, with one of the next two, what is recorded of its bytes is masked by a key
     * that never leaves the process: equal bytes at one place of one variable look equal, and nothing more is told. */
    MW_SECRET = 1u << 4,
    MW_MASK_BYTES = 1u << 5, /* each byte by itself, so that it is seen which ones a store has changed */
    MW_MASK_WHOLE = 1u << 6, /* of a variable of 8 bytes: all of them as one, whichever a store touches */
};
#define MW_FLAGS_ALL (MW_TRACK_THREADS | MW_TRACK_SQL | MW_TRACK_ALL_VARS | MW_TRACK_LOCALS)
#define MW_FLAGS_SECRET (MW_SECRET | MW_MASK_BYTES | MW_MASK_WHOLE)

/* MUTATION_DEPTH: the bytes [start, stop) of the variable whose mutation makes an event. A store that touches none of
 * them runs and is not reported. */
typedef struct mw_depth {
    uint64_t start, stop;
} mw_depth;
#define MW_DEPTH_FULL ((mw_depth){0, UINT64_MAX})

typedef uint32_t mw_variable_id; /* 1, 2, 3, ...: never used twice in a process */

/* Registers whole pages: page_base and size are multiples of 4096. Pages from mw_page_alloc are registered without a
 * system call; memory of the adapter's own is adopted in place: same address, same contents, remapped as a watched view
 * (no other thread may write to it during this call). The contents at this moment are recorded: of more than 128 KiB,
 * page by page, each before its first store. At most 4 GiB - 1.
 * Returns the id (> 0). Errors: NOT_STARTED, NO_JOURNAL, ALIGNMENT, NOT_MAPPED, NOT_TOUCHED, SHARED, REGISTERED, FLAGS,
 * LIMIT, NO_MEMORY, FILE_SIZE, JOURNAL_FULL, INTERPOSE. */
int64_t mw_register_page(void *page_base, size_t size, uint32_t flags, mw_depth depth);

/* Registers a part of pages from mw_page_alloc, for adapters that put several variables on one page: a store is known
 * to the byte, so nothing is ambiguous. The range may go over several pages of one block. Errors as above, and
 * NOT_ARENA. */
int64_t mw_register_range(void *start, size_t size, uint32_t flags, mw_depth depth);

/* Ends a watch. An adopted page becomes ordinary memory again, in place; if it isn't there any more, or another has it,
 * that stays as it is. Its owner may free, move, resize, unmap or protect it at any time: its watch ends then, or as
 * soon as that is noticed, with a record (MW_END_RELEASED, MW_END_TAKEN). docs/decisions/adopted-memory.md. Errors:
 * NO_VARIABLE. */
int mw_unregister_page(mw_variable_id id);

/* Why a watch ended, as far as its adapter knows. */
typedef enum mw_end {
    MW_END_UNKNOWN = 0,
    MW_END_UNWATCHED = 1, /* unwatch() was called */
    MW_END_REBOUND = 2,   /* a name, an attribute or an item was given something else */
    MW_END_REPLACED = 3,  /* likewise, another watched value */
    MW_END_DELETED = 4,   /* a name, an attribute or an item was deleted */
    MW_END_LEFT = 5,      /* a function that held it has ended */
    MW_END_DROPPED = 6,   /* its last reference went away, in some other way */
    MW_END_COLLECTED = 7, /* that happened while a garbage collection ran */
    MW_END_EXIT = 8,      /* the runtime was being taken down */
    MW_END_CLOSED = 9,    /* the journal was closed: written by the core, as the next two are */
    MW_END_RELEASED = 10, /* its owner freed, moved, resized or unmapped the memory; `target` is the call: "munmap" */
    MW_END_TAKEN = 11,    /* the memory was found to be no longer there, or another's: since when isn't known */
    MW_END_MOVED = 12, /* what it was the memory of goes on in other memory: a library copied it, or was given other */
} mw_end;
enum {                      /* of REBOUND: what is known of the new value */
       MW_END_COMPUTED = 1, /* it was computed from the watched one: x = x + 1 */
       MW_END_PLAIN =
           2, /* it is a plain value, a number for instance, that could have been written to the watched one */
};
typedef struct mw_ending {
    uint32_t site; /* where, an id from mw_intern_site; 0 if unknown */
    uint8_t why, flags, length;
    char target[36]; /* UTF-8, `length` bytes: what was rebound or deleted: "limit", ".limit", "[]" */
} mw_ending;

/* As mw_unregister_page, and records why; NULL: it isn't known. */
int mw_end_watch(mw_variable_id id, const mw_ending *ending);

/* Attaches opaque bytes to a variable; the last one counts. At most MW_METADATA_MAX bytes. Errors: NO_VARIABLE,
 * TOO_LONG, JOURNAL_FULL. */
#define MW_METADATA_MAX 65536u
int mw_update_metadata(mw_variable_id id, const void *meta, size_t length);

/* A hash of bytes, keyed with the process's key for secrets, which its forked children have as well; another one for
 * each variable. Async-signal-safe. */
uint64_t mw_hash_secret(mw_variable_id id, const void *bytes, size_t length);

/* An announced write: takes the page's lock, copies through the writable view, appends the event. Same event as a store
 * makes, at a twentieth of the cost. On an error nothing was written. Errors: NO_VARIABLE, RANGE, JOURNAL_FULL. */
int mw_write(mw_variable_id id, uint64_t offset, const void *bytes, size_t length);

/* Several of them, in this order and from one site: room for the records of all is found before the first. */
typedef struct mw_piece {
    uint64_t offset;
    const void *bytes;
    size_t length;
} mw_piece;
int mw_write_pieces(mw_variable_id id, const mw_piece *pieces, size_t count);

/* A page may shadow a value that lies elsewhere. The write happens there, whatever this call returns: so it is never
 * refused, and what can't be recorded is counted as lost. Errors: NO_VARIABLE, RANGE (at most MW_EVENT_MAX bytes). */
typedef enum mw_shadow {
    MW_SHADOW_NOW = 0,    /* the value is being written to, by this thread */
    MW_SHADOW_FOUND = 1,  /* it was written to, unseen, at an unknown time: origin "found", inexact, without a site */
    MW_SHADOW_SILENT = 2, /* what it holds now is no change of a value: makes no event */
} mw_shadow;
int mw_write_shadow(mw_variable_id id, uint64_t offset, const void *bytes, size_t length, mw_shadow why);

/* What lies at an offset of a variable: the path of an attribute, a key, an item, behind the variable's name
 * (".customer.age"), UTF-8, opaque to the core. It must be recorded before the first store there, and again whenever
 * mw_journal_stamp() has changed since it was recorded: a forked child's journal, and one with a limit that has given
 * up its oldest part, don't have it. Of several for one offset, the last counts. Errors: NO_VARIABLE, TOO_LONG,
 * JOURNAL_FULL. */
#define MW_PLACE_MAX 4096u
int mw_place_record(mw_variable_id id, uint64_t offset, const char *path, size_t length);

/* The other names of what lies there, as docs/journal-format.md has them behind ALIAS's u32 offset, at most
 * MW_ALIASES_MAX bytes; behind its mw_place_record(), and again when they have become others. Errors: the same. */
#define MW_ALIASES_MAX 4096u
int mw_alias_record(mw_variable_id id, uint64_t offset, const void *names, size_t length);

/* Something that a variable holds isn't followed: a payload of NOT_FOLLOWED. Errors: the same. */
int mw_not_followed_record(mw_variable_id id, const void *what, size_t length);
uint64_t mw_journal_stamp(void);

/* ---- conditions -------------------------------------------------------------------------------------------------- */

/* Has every event of a variable judged, at the moment of the store and in the thread that makes it, by a program of
 * bytes: docs/architecture.md says how it is written. unit: 0, or the size of the cells that the variable consists of,
 * a power of two, each of which is judged by itself: numbers side by side, or, of 64 bytes, places of an object.
 * handle: what the adapter is told when it is met. A variable may have several; those of a forked child's are its
 * parent's. They end with the watch. Errors: NO_VARIABLE, FLAGS (it isn't such a program), NO_MEMORY. */
#define MW_CONDITION_MAX 4096u
int mw_set_condition(mw_variable_id id, const void *program, size_t length, uint32_t unit, uint32_t handle);
/* Ends those of a variable with this handle. Errors: NO_VARIABLE. */
int mw_drop_condition(mw_variable_id id, uint32_t handle);

/* An event that met a condition. */
#define MW_HIT_MAX 256u
typedef struct mw_hit {
    uint32_t variable, handle;
    uint32_t tid; /* of the thread that wrote; another one than the caller's if the kernel wrote for it */
    uint32_t site, stack, context;
    uint32_t offset; /* of the value within the variable: where its cell begins, or 0 */
    uint32_t size;   /* bytes of `before` and of `after`; 0: it is a secret. Of a value of more than MW_HIT_MAX bytes */
    uint32_t at, length; /* where in it the store went, and how many bytes it has written */
    uint32_t how;        /* mwj_origin of docs/journal-format.md */
    uint32_t unknown;    /* 1: it can't be known whether the condition is met; told once for each condition */
    uint64_t time;       /* ns since 1970 */
    const char *path;    /* as mw_set_subject() has said it; NULL */
    uint32_t path_length;
    const void *before, *after; /* the value, or the bytes of the store from `offset` + `at` on */
} mw_hit;

/* met: called in the thread that writes (of MW_KERNEL, in the tracker's), in the midst of the write: it copies what it
 * wants, and takes no lock. settled: after a write that met some, when it can be seen and nothing of the core is
 * locked; ucontext as for an origin provider. Both may be called in the signal handler; `settled` then on the stack
 * that the program was on. */
typedef void (*mw_hit_hook)(const mw_hit *hit);
typedef void (*mw_hits_hook)(const void *ucontext);
void mw_set_hit_hooks(mw_hit_hook met, mw_hits_hook settled);

/* The path of what this thread announces next, behind the variable's name, for conditions that ask for it: valid until
 * it is set to NULL. */
void mw_set_subject(const char *path, size_t length);
/* The same; the path is asked for when it is wanted, in the midst of the write: the hook takes none of the core's
 * locks, and what it returns is valid as long. number: which path it is, another one for each, so that what was judged
 * of it is known the next time; 0: not known. NULL: until then. */
typedef const char *(*mw_path_hook)(size_t *length);
void mw_set_subject_by(mw_path_hook path, uint64_t number);
/* What a statement is that a context stands for: for conditions. Only the last few are kept. */
void mw_context_says(uint32_t context, const char *text, size_t length);

/* ---- where and why ---------------------------------------------------------------------------------------------- */

/* This thread's context id (a SQL statement), 0 for none; used where no origin provider says otherwise. */
void mw_set_context(uint32_t context);
uint32_t mw_get_context(void);

/* A unit of work, on whose behalf stores happen: JSON, opaque to the core. It belongs to one thread, which may change
 * it between two stores. It is recorded with the first store that it is said of, and again where readers need it. */
#define MW_REQUEST_MAX 1000u
typedef struct mw_request {
    uint64_t serial; /* from mw_request_serial(): another one whenever the text is changed, written before it is */
    uint64_t told;   /* the core's; 0 at first */
    uint32_t length;
    char json[1000]; /* MW_REQUEST_MAX */
} mw_request;

/* A number that no other request of this process has. Async-signal-safe. */
uint64_t mw_request_serial(void);

/* The request with this text, of at most MW_REQUEST_MAX bytes, among the 2^bits (1 to 16; zeros at first) that a thread
 * keeps. Another one may give way to it. Async-signal-safe, but for a handler that comes in the midst of it and wants
 * the same table. */
mw_request *mw_request_kept(mw_request *kept, unsigned bits, const char *json, size_t length);

/* What an adapter can say about a store. */
typedef struct mw_origin {
    uint32_t site;           /* id from mw_intern_site, 0 if unknown */
    uint32_t context;        /* preset to mw_get_context() */
    uint32_t inexact;        /* set to 1 if the site is not certain */
    uint32_t stack;          /* id from mw_intern_stack, of the callers of `site`; 0: not asked for */
    uint64_t request_serial; /* what request->serial is: if it is another one when the store is recorded, because a */
    mw_request *request;     /* signal handler has stored meanwhile, nothing is said. NULL: none */
    uint32_t native;         /* the core's: the site of the native code that stored; 0: it isn't known */
    uint32_t activation;     /* of an announced write to a name of a function: which call of it; 0: none */
} mw_origin;

/* Called in the writing thread for every store, announced write and libc call that fills watched memory, before the
 * page is locked and the bytes change. On the fault path ucontext is the interrupted state (ucontext_t *); of a libc
 * call it has the instruction, stack and frame pointers alone; for an announced write it is NULL. But for that one, the
 * provider must be async-signal-safe: no malloc, no lock, no interpreter lock. */
typedef void (*mw_origin_provider)(const void *ucontext, mw_origin *origin);
void mw_set_origin_provider(mw_origin_provider provider);

/* As mw_write_shadow, MW_SHADOW_NOW, by an adapter that has found out where the write comes from: no provider is asked.
 */
int mw_write_shadow_from(mw_variable_id id, uint64_t offset, const void *bytes, size_t length, const mw_origin *origin);

/* The id of a place in source code (UTF-8, not terminated; line 0 if unknown). The same place gives the same id. 0 when
 * the table or the journal is full. Async-signal-safe, lock-free for a place that is known. Cost: one hash of the
 * names, so keep the id. */
uint32_t mw_intern_site(const char *file, size_t file_length, const char *function, size_t function_length,
                        uint32_t line, uint32_t column);

/* What a site is; the texts stay where they are. Errors: RANGE (there is no such site). */
typedef struct mw_site {
    const char *file, *function; /* UTF-8, not terminated */
    uint32_t file_length, function_length, line;
} mw_site;
int mw_site_of(uint32_t site, mw_site *out);

/* A remark of the adapter's about a site, for readers: what is written there is added to what the variable holds after
 * a call, and not to what it held before, as of a plain number. Cheap for a site that is marked. Errors: RANGE (there
 * is no such site), JOURNAL_FULL. */
int mw_site_adds_call(uint32_t site);
/* Makes room for call stacks; an adapter that records none doesn't call it. Errors: NOT_STARTED, NO_MEMORY. */
int mw_keep_stacks(void);

/* The id of a call stack: the sites of the callers, the innermost first. The same stack gives the same id. 0 before
 * mw_keep_stacks(); MW_STACK_UNKNOWN if the table is full. Async-signal-safe, lock-free for a stack that is known. */
#define MW_STACK_CUT 1u     /* there were more callers */
#define MW_STACK_INEXACT 2u /* a caller may be missing, or have another line */
#define MW_STACK_MOST 255u
#define MW_STACK_UNKNOWN 0xffffffffu
uint32_t mw_intern_stack(const uint32_t *sites, size_t count, uint32_t flags);

/* The id of stack `inner`, then so many sites, then the callers of stack `outer`; of at most `most` sites. What is cut
 * off, or not known, stays so: nothing is put behind it. Async-signal-safe. */
uint32_t mw_join_stacks(uint32_t inner, const uint32_t *sites, size_t count, uint32_t outer, size_t most);

/* The name of thread tid (0: the caller) in the journal, at most 255 bytes. Errors: NO_JOURNAL, TOO_LONG. */
int mw_thread_name(uint32_t tid, const char *name, size_t length);

/* A context is opaque to the core: an id that the adapter chooses, and bytes. Errors: NO_JOURNAL, TOO_LONG,
 * JOURNAL_FULL. */
#define MW_CONTEXT_MAX 262144u
int mw_context_record(uint32_t context, const void *bytes, size_t length);
int mw_outcome_record(uint32_t context, const void *bytes, size_t length);

/* ---- journal ---------------------------------------------------------------------------------------------------- */

/* What a writer does when its journal has reached the limit and the oldest part of it isn't read yet. Where it doesn't
 * wait, stores run, announced writes are made, and both are counted for each variable in the journal's header. */
typedef enum mw_policy {
    MW_POLICY_BLOCK = 0,  /* waits as long as a reader lives; with none, as DROP */
    MW_POLICY_DROP = 1,   /* goes on, unrecorded, until the reader has freed room */
    MW_POLICY_ROTATE = 2, /* gives up the oldest part, read or not */
} mw_policy;

/* Bounds the journals that are opened from now on, those of forked children too: bytes on disk, 0 for no limit. A
 * writer may wait while it holds its runtime's lock: the reader must be another process. Errors: POLICY. */
#define MW_JOURNAL_MIN 4194304u
int mw_journal_limit(uint64_t max_bytes, mw_policy policy);

/* Starts recording. The file (mode 0600) is made at the first record, or never if there is none; where there is one of
 * this name already, a number is put before the end ".mwj". A forked child goes on in "<pid>-<runtime>.mwj" in the same
 * folder. Errors: NOT_STARTED, FOLDER (it isn't this user's alone), JOURNAL_OPEN (errno: it can't be written
 * to). What makes the first record may
 * return JOURNAL_OPEN or JOURNAL_FULL; a write is then made, and counted as lost. session: 16 bytes that all processes
 * of a session share. */
int mw_journal_open(const char *path, const char *runtime, const uint8_t session[16]);

/* Whether this process's journal has a record: what would only be worth a remark needn't make one. Async-signal-safe.
 */
int mw_journal_is_made(void);

/* The path of this process's journal; before its first record, what it would be now. Errors: NO_JOURNAL, TOO_LONG. */
int mw_journal_path(char *path, size_t size);

/* Opens a file of a session, which mw_journal_open's folder rules hold for as well: settings that somebody else may
 * have put there aren't read. flags: open(2)'s; what is made has mode 0600. Never waits. Returns a descriptor, or
 * -errno, which is -EPERM if it is no such folder, or no regular file. */
int mw_private_open(const char *folder, const char *name, int flags);

/* Marks the journal as complete and stops recording; registered variables are unregistered first. Stores to their
 * pages still run; they make no events. Errors: NO_JOURNAL. */
int mw_journal_close(void);

/* Lets go of what a closed journal leaves behind, for writers that were still on their way out: its mapping and its
 * descriptors; and gives SIGSEGV and SIGBUS back to whoever had them, until the next mw_journal_open(). Errors:
 * JOURNAL_OPEN; PAGE: pages are in use still, so the signals aren't given back. */
int mw_rest(void);

/* ---- descriptors -------------------------------------------------------------------------------------------------
 * A program that closes what it hasn't opened would have the adapter's files too, and their numbers given to its own.
 */

/* Moves a descriptor to a high number, where calls of libc spare it (close, close_range, closefrom); from then on it is
 * the core's. Returns that number. dup2 onto it takes it away: compare device and inode before use. Errors: DESCRIPTOR,
 * LIMIT (16 are kept). */
int mw_descriptor_keep(int number);
/* Closes one that is kept, if it is still there. Errors: DESCRIPTOR. */
int mw_descriptor_close(int number);

/* ---- counters --------------------------------------------------------------------------------------------------- */

typedef struct mw_stats {
    uint64_t stores;    /* faults whose instruction was run */
    uint64_t slots;     /* slots of the journal handed out */
    uint64_t lost;      /* writes that ran but couldn't be recorded; also in the journal's header */
    uint64_t forms;     /* distinct instructions met */
    uint64_t chained;   /* faults that weren't ours, handed to the handler before us */
    uint64_t variables; /* registered now */
    uint64_t pages;     /* allocated now */
} mw_stats;
void mw_get_stats(mw_stats *out);

#ifdef __cplusplus
}
#endif
#endif
