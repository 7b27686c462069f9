/* core.h - what the files of the core share. The one struct that holds all state, and one block of prototypes per file.
 *
 *   state.c      mw_start, counters, errors           arena.c      pages and their two views
 *   registry.c   variables on pages, announced writes tracker*.c   how a store becomes a signal
 *   form.c       instruction bytes -> struct form     code.c       executable blocks
 *   executor.c   runs a form                          emulate.c    the forms that can't be run elsewhere
 *   exception.c  floating-point exceptions of stores  fault.c      the signal handler
 *   signals.c    whose signals they are               interpose.c  import tables of loaded modules
 *   calls.c      libc calls that have memory written  bounce.c     memory in which such a call leaves its bytes
 *   journal.c    the writer                           room.c       its segments, their limit, what is lost
 *   begin.c      its file, made at the first record   fork.c       what is a process's own, after a fork too
 *   site.c       places in source code                clock.c      the time of day
 *   process.c    libc calls that fork, or change user  shared.c     memory mapped more than once
 *   uffd.c       userfaultfd descriptors
 *   kernel.c     pages that the kernel writes to by itself
 *   descriptors.c  what stays open, and isn't mistaken for something else
 *   breakpoint.c the instruction beneath a breakpoint
 *   folder.c     files of a session, in a folder that is this user's alone
 *
 * Whatever may run in the signal handler is marked MW_SIGNAL_SAFE: it calls nothing but its like, takes no lock but
 * mw_lock, allocates nothing. A test follows the calls of the built objects and holds us to it. */
#ifndef MEMWATCH_CORE_H
#define MEMWATCH_CORE_H
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <ucontext.h>

#include "journal_format.h"
#include "lock.h"
#include "memwatch.h"

#define MW_SIGNAL_SAFE __attribute__((section(".text.mw_signal_safe")))
#define MW_TLS __thread __attribute__((tls_model("initial-exec")))
#define MW_HIDDEN __attribute__((visibility("hidden")))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define PAGE_SHIFT 12
#define PAGE_MASK ((uintptr_t)MW_PAGE_SIZE - 1)
#define NO_PAGE UINT32_MAX
#define ARENA_ORDERS 23
#define FORMS_MAX 16384u
#define FORM_CACHE 8192u
#define SEGMENTS_MAX (1u << 20)
#define SITES_MAX (1u << 20)
#define PATH_LONGEST 4096u
#define STORE_MAX 64u       /* bytes that an instruction of the ordinary kind writes */
#define WIDE_MAX (1u << 16) /* bytes that xsave and its kind may write */

/* ---- pages (arena.c) ---- */
enum page_state {
    PAGE_FREE = 0,
    PAGE_USED = 1,
    PAGE_RETURNED = 2, /* free, and without memory */
    PAGE_GONE = 3      /* was in use in the parent of this process, and didn't come along: fork.c */
};
struct page {
    mw_lock lock;
    uint32_t head;      /* first variable on this page, 0 for none */
    uint32_t state;     /* enum page_state | order << 8 */
    uint32_t next_free; /* free list of its order */
};

struct adopted {             /* a page of the adapter's own: an entry of an open-addressed hash by page number */
    _Atomic uint64_t number; /* address >> 12; 0 free, 1 deleted */
    uint32_t page;           /* its page in the arena */
};
#define ADOPTED_MAX (1u << 16)

/* ---- variables (registry.c) ---- */
struct variable {
    uint64_t address; /* in the watched view */
    uint64_t size;
    uint64_t depth_start, depth_stop;
    uint32_t page; /* first page */
    uint32_t next; /* next variable on a shared page */
    uint32_t flags;
    _Atomic uint32_t live; /* enum life */
    void *metadata;        /* for a forked child's journal */
    uint32_t metadata_length;
    _Atomic uint32_t ended; /* segment of the journal that says so, + 1; 1 if it couldn't */
};
enum life { ENDED = 0, LIVE = 1, LIVE_UNTOLD = 2 /* in a forked child, whose journal doesn't describe it yet */ };
#define VARIABLES_MOST ((uint64_t)1 << 24) /* RLIMIT_AS may allow less: mw.variables_most */

/* ---- forms (form.c) ---- */
enum form_kind {
    FORM_REFUSED = 0, /* can't be run safely: loud */
    FORM_RUN,         /* run on a scratch copy of its destination */
    FORM_WIDE,        /* likewise, size known at run time: xsave and its kind */
    FORM_STRING,      /* movs, stos */
    FORM_SCATTER,     /* several destinations: vpscatter* */
    FORM_MOVDIR64B,   /* destination in a register, without a segment */
    FORM_CLZERO,      /* destination is the cache line of RAX */
    FORM_PUSH,        /* destination is the stack */
    FORM_CALL,
};
enum { REG_NONE = 16 };
struct form {
    uint8_t length, bytes[15];
    uint8_t kind;
    uint16_t size;         /* bytes written, 0: known at run time; of one element for FORM_STRING and FORM_SCATTER */
    uint8_t base, index;   /* 0..15 in encoding order (rax rcx rdx rbx rsp rbp rsi rdi r8..), or REG_NONE */
    uint8_t scale;         /* 0, 1, 2, 4, 8 */
    uint8_t segment;       /* 0 none, 1 fs, 2 gs */
    uint8_t address_bytes; /* 8 or 4 */
    uint8_t relative;      /* RIP-relative: `base` is a register the instruction doesn't use, holding the next RIP */
    uint8_t bit_offset;    /* bts and its kind: operand bytes of the bit offset register, else 0 */
    uint8_t source;        /* register operand: bit offset, element mask, value pushed, source of a string operation */
    uint8_t conditional;   /* enum condition: may store nothing */
    uint8_t masked;        /* a mask says which bytes it stores; 2: the others can fault as well */
    uint8_t repeat;        /* rep prefix */
    uint8_t moves;         /* FORM_STRING: movs, not stos */
    uint8_t source_kind;   /* FORM_PUSH, FORM_CALL: enum operand_kind */
    uint8_t mxcsr_back;    /* may change MXCSR, or raise an exception that it unmasks */
    uint8_t x87_back;      /* changes the x87 state */
    uint8_t elements;      /* FORM_SCATTER: how many */
    uint8_t index_bytes;   /* FORM_SCATTER: 4 or 8 */
    uint8_t vector, vector_index; /* FORM_SCATTER: numbers of the data and the index register */
    uint32_t restore;             /* xsave components that it reads */
    uint32_t next;                /* chain of the content hash */
    int64_t displacement;
    int64_t immediate;
    void *block; /* executable copy, GS-prefixed, ending in a jump to the leave thunk */
};
enum condition {
    ALWAYS,
    IF_EQUAL,  /* cmpxchg: not if ZF is clear afterwards */
    IF_NUMERIC /* x87: not if it has noted an exception that the program has unmasked */
};
enum operand_kind { OPERAND_REGISTER, OPERAND_IMMEDIATE, OPERAND_MEMORY, OPERAND_FLAGS, OPERAND_SEGMENT };

enum { XSTATE_LEGACY_SIZE = 512, XSTATE_HEADER_SIZE = 64 };

/* ---- per thread: addressed through FS by generated code, so its layout is code.c's business too ---- */
struct thread {
    uint64_t regs[16]; /* encoding order */
    uint64_t flags;
    uint64_t handler_rsp;
    void *block, *leave;
    uint32_t tid;
    uint32_t failures; /* faults in a row that were announced by signal, at `failed`, and couldn't be run */
    uint64_t failed;
    uint32_t context;
    uint32_t exceptions; /* of the instruction that ran last, if it may change MXCSR */
    uint32_t named;      /* journal generation in which this thread's name was recorded */
    uint32_t written;    /* announced writes */
    uint64_t promised;   /* of journal.promised, this thread's */
    uint32_t not_waited; /* the turn at the modules that this thread doesn't wait for any more: interpose.c */
    uint32_t forking;    /* bit 0: whether the fork that is under way was prepared; the bits above: those around it */
    uintptr_t fault;     /* where a store that reaches beyond our pages would have faulted by itself; 0: nowhere */
};

struct tracker {
    const char *name;
    mw_tracker id;
    int protection; /* of the armed watched view */
    int (*open)(void);
    int (*arm)(void *start, size_t size); /* start..size is mapped PROT_READ; afterwards stores to it make signals */
    void (*close)(void);
    int (*serve)(void); /* once pages can be armed, and again in a forked child; NULL: there is nothing to do */
};

/* ---- what the kernel writes by itself (kernel.c) ---- */
struct asker {            /* who wants to write, and in which system call */
    uint32_t tid;         /* 0: not known */
    bool holdable;        /* a signal that is pending doesn't cut this call short */
    struct mwj_call call; /* its name is MWJ_CALL_KERNEL + the number of the system call */
};
#define HOLDS 64u
struct admitted { /* a page that the kernel has been let write to; guarded by the page's lock */
    struct asker asker;
    uint64_t moment; /* ns that it was open for, the last time */
    uint64_t since;  /* ns: when it last asked, or was last seen to have written */
    uint16_t offset; /* in the page: where it asked to write */
    bool compared;   /* from time to time, and before anybody else writes */
    bool listed;     /* the tracker's thread alone */
    bool unseen;     /* nothing has come of it yet */
};

struct shared { /* shared.c */
    uint8_t *base;
    uint64_t size;
};

struct own { /* a descriptor (descriptors.c) */
    _Atomic int number;
    int flags;
    uint64_t device, inode;
    char path[PATH_LONGEST + 64]; /* where it can be opened again; empty: nowhere */
};
enum own_kind { OWN_UFFD, OWN_JOURNAL, OWN_READER, OWN_PUT_ASIDE, OWN_KEPT, OWNS = OWN_KEPT + 16 };

struct journal {
    _Atomic uint32_t open;
    uint32_t generation;
    struct mwj_header *header;
    _Atomic(struct mwj_slot *) *segments;
    _Atomic uint64_t capacity; /* slots up to here exist; those from `first` segments on still do */
    _Atomic uint64_t begin;    /* with a limit: of what can be used in the last segment, behind the copies in it */
    _Atomic uint64_t promised; /* slots that writes of several records may still need: journal_promise() */
    mw_lock grow;
    uint64_t first;        /* under `grow` */
    uint64_t segments_max; /* 0: no limit */
    uint64_t max_bytes;    /* of the journals opened from now on */
    mw_policy policy;
    _Atomic uint32_t full_reported, waiting_reported, refusal_reported;
    bool unreachable;             /* it can't grow because the program has closed its descriptor */
    mw_lock make;                 /* held by who makes the file */
    _Atomic uint32_t refused;     /* errno: why it couldn't be made, the last time */
    char folder[PATH_LONGEST];    /* where a forked child makes its own */
    char path[PATH_LONGEST + 64]; /* of the file, or of what it would be now */
    char reader_path[PATH_LONGEST + 16];
    uint32_t name;   /* where the file's name begins in `path` */
    uint32_t stem;   /* length of `path` before its number and its end */
    uint32_t number; /* of journals of a process with this id that were there before */
    char runtime[16];
    uint8_t session[16];
};

/* So many were begun, those that were given back to the disk included. */
MW_SIGNAL_SAFE static inline uint64_t journal_segments(const struct journal *j) {
    return (j->capacity + MWJ_SEGMENT_SLOTS - 1) / MWJ_SEGMENT_SLOTS;
}

#define NAMES_MOST 1024u
struct thread_name { /* told before the journal was made */
    uint32_t tid;
    uint32_t length;
    char text[256];
};

/* On a page that reads as zeros in every forked child, whoever forked it and how: MADV_WIPEONFORK. */
struct process {
    _Atomic uint32_t state; /* enum process_state */
    _Atomic uint32_t made;  /* the journal of this very process has a file, and describes what is watched */
    mw_lock lock;           /* held while `state` changes */
};
enum process_state {
    PROCESS_UNNOTICED = 0, /* forked behind our back: all that we hold is the parent's */
    PROCESS_BARE = 1,      /* the parent's is let go; what is our own is made when it is needed */
    PROCESS_WHOLE = 2,
};
struct latest { /* of the names of a thread or a variable in the oldest segment (room.c) */
    uint32_t kind, id;
    uint32_t first, last; /* slots */
    bool open;            /* the last one goes on in the next segment */
};
#define LATEST 1024u

struct clock { /* one sample, guarded by `version`: odd while it is written */
    _Atomic uint32_t version;
    bool usable;
    _Atomic uint64_t at, ns;
    _Atomic uint64_t rate; /* ns a tick, times 2^32; 0 until it is known */
};

struct site {
    _Atomic uint64_t hash;
    _Atomic uint32_t id;
    uint32_t line, column;
    uint16_t file_length, function_length;
    const char *text; /* file, then function */
};

struct mw_core {
    _Atomic uint32_t started;
    struct process *process;
    mw_lock lock; /* start, page allocation, registration, adoption, journal open and close */
    const struct tracker *tracker;
    char tracker_reason[256];

    /* arena: [watched, watched + reserved) is what the program sees, + distance (modulo 2^64) what the core writes */
    uintptr_t watched;
    uint64_t distance, reserved;
    _Atomic uint64_t committed;
    struct shared arena;
    uint64_t address_space; /* bytes of it that RLIMIT_AS had left when the core started */
    struct page *pages;
    uint32_t bump;
    uint32_t free_head[ARENA_ORDERS];
    _Atomic uint64_t pages_used;
    uint64_t pages_idle;   /* free, and still with memory */
    uint64_t idle_refused; /* so many of them there were when the kernel refused to take any */
    uint64_t idle_again;   /* given back, and asked for again since some were given back */
    uint64_t idle_extra;   /* more of them that are kept, for that reason */
    uint32_t idle_hand;    /* the page behind the last that was given back */
    struct adopted *adopted;
    _Atomic uint32_t adopted_count;

    struct variable *variables;
    uint64_t variables_most;
    _Atomic uint32_t variable_last;
    _Atomic uint64_t variables_live;

    mw_lock forms_lock;
    struct form *forms;
    _Atomic uint32_t form_count;
    _Atomic uint32_t *form_buckets;     /* content hash -> form + 1 */
    _Atomic(struct form *) *form_cache; /* instruction address -> form, verified by content */
    uint8_t *code_write, *code_run;     /* two views of the same executable memory */
    size_t code_used;
    void (*enter)(void *xstate, uint64_t mask);
    void *leave;
    mw_lock overflow_lock, wide_lock;
    struct form overflow_form;
    uint8_t *wide; /* WIDE_MAX bytes of scratch, under wide_lock */
    struct {       /* where a component of the extended state lies in a signal frame: CPUID leaf 13 */
        uint32_t offset, size, aligned;
    } xstate[32];
    uint32_t xstate_enabled; /* XCR0, low half */

    struct {                       /* of uffd-queue: the last store that a thread was told to run */
        _Atomic uint32_t tid, met; /* met: how many have arrived where they were meant to */
        _Atomic uintptr_t instruction, address;
    } announced;
    struct {                          /* of uffd-queue */
        _Atomic uint32_t thread;      /* that takes the messages; 0: there is none */
        _Atomic uint32_t compared;    /* pages that are: 0 almost always */
        struct admitted *pages;       /* by number */
        uint8_t *known, *fresh;       /* their bytes, as recorded, and room for as many */
        uint32_t *list, count;        /* of the tracker's thread */
        uint32_t not_told;            /* generation of the journal that says: it couldn't learn who stores */
        _Atomic uint32_t held[HOLDS]; /* threads that will meet a signal at the end of their system call, by tid, */
        struct asker holders[HOLDS];  /* and that call */
    } kernel;

    struct sigaction before[2]; /* whom SIGSEGV and SIGBUS belong to in the program's eyes */
    struct {                    /* between the handlers of pthread_atfork, under `lock` */
        struct shared copy;     /* of the arena; only if `copied` */
        bool copied;
        int error;                  /* why they aren't */
        uint8_t *later;             /* pages that were written to since */
        bool stale;                 /* some were, and couldn't be kept */
        _Atomic uint32_t prepared;  /* forks of the thread that holds `lock`, one in a handler of the other */
        struct sigaction before[2]; /* as of the copy */
        void (*arrive)(void);
        int unwatched; /* why pthread_atfork refused */
    } fork;
    mw_lock signals_lock;
    mw_lock own_lock;
    struct own own[OWNS];
    int own_pid; /* whose numbers they are */
    struct {     /* what standard error is */
        _Atomic uint64_t device, inode;
    } told;
    bool without_uffd; /* pages are protected by mprotect from now on, whatever the tracker */
    struct { /* what of the loaded modules has been patched: the first `patched` of the list, as it was then */
        mw_lock lock;
        unsigned patched;
        unsigned long long loads, unloads;
        uint32_t turn; /* the number of the one that holds the lock, or held it last */
    } modules;
    bool calls_redirected; /* those of calls.c; the signals' are from the start */

    mw_origin_provider provider;
    struct journal journal;
    struct {
        mw_lock lock;
        uint32_t count;
        struct thread_name *rows;
    } names;
    struct latest latest[LATEST]; /* under journal.grow */
    struct clock clock;
    mw_lock sites_lock;
    struct site *sites;
    char *site_text;
    size_t site_text_used, site_text_most;
    _Atomic uint32_t site_count;
    uint32_t *site_order; /* id -> slot of sites */

    _Atomic uint64_t stores, lost, chained;
};
extern MW_HIDDEN struct mw_core mw;
extern MW_HIDDEN MW_TLS struct thread mw_thread;

/* Around what a handler that interrupts it must not meet half done. */
MW_SIGNAL_SAFE static inline uint64_t mask_signals(void) {
    uint64_t all = ~0ull, kept;
    raw_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&kept, 8);
    return kept;
}
MW_SIGNAL_SAFE static inline void unmask_signals(uint64_t kept) {
    raw_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&kept, 0, 8);
}

MW_HIDDEN uint32_t thread_first(void);
static inline uint32_t thread_id(void) { return likely(mw_thread.tid) ? mw_thread.tid : thread_first(); }

/* ---- arena.c ---- */
MW_HIDDEN int arena_open(void);
MW_HIDDEN void *arena_table(size_t size); /* zeroed, for good, paid for as it is touched; NULL if refused */
/* Address space at a random place, or where the kernel likes if none is found; alignment: a power of two. */
MW_HIDDEN void *arena_place(uint64_t size, uint64_t alignment);
MW_HIDDEN void arena_take_down(void);
MW_HIDDEN uint64_t arena_fit(uint64_t most, size_t size); /* entries of a table: less if RLIMIT_AS leaves little */
MW_HIDDEN int arena_copy(struct shared *copy);    /* the contents of all pages in use; caller holds every page lock */
MW_HIDDEN int arena_replace(struct shared *copy); /* maps and arms it in place of the present one, and owns it */
MW_HIDDEN uint32_t arena_lose(void);              /* what is in use isn't there any more; how many pages */
MW_HIDDEN int arena_allocate(size_t n, uint32_t *first); /* caller holds mw.lock */
MW_HIDDEN void arena_release(uint32_t first);
MW_HIDDEN int arena_adopt(uintptr_t start, size_t n, uint32_t *first);
MW_HIDDEN int arena_give_back(uintptr_t start, size_t n, uint32_t first);
/* The page that an address of a watched view belongs to, NO_PAGE if none is in use there. */
MW_HIDDEN uint32_t arena_page_at(uintptr_t address);
static inline uint8_t *arena_writable(uint32_t page) {
    return (uint8_t *)(mw.watched + mw.distance + ((uint64_t)page << PAGE_SHIFT));
}

/* ---- shared.c ---- */
/* Over `at`, or, if that is NULL, anywhere. */
MW_HIDDEN int shared_open(struct shared *s, void *at, uint64_t size, bool memfd);
MW_HIDDEN int shared_use(const struct shared *s, uint64_t from, size_t size); /* before, it can't even be read */
/* Maps bytes [from, from + size), which are in use, over `at`, or anywhere. NULL if it is refused. */
MW_HIDDEN void *shared_view(const struct shared *s, void *at, uint64_t from, size_t size, int protection);
MW_HIDDEN int shared_move(struct shared *s, void *at);
MW_HIDDEN void shared_close(struct shared *s); /* views stay */

/* ---- descriptors.c ---- */
struct own_turn {
    uint64_t mask;
    int number; /* -1: it is gone */
};
/* Whether it is still open, at this moment. */
MW_HIDDEN bool own_sound(enum own_kind kind);
/* Its number; until it is let go, it stays there. Signals must be blocked: a handler of the program's may need it. */
MW_HIDDEN int own_hold(enum own_kind kind);
MW_HIDDEN void own_let_go(void);
/* The same, and blocks them. */
MW_HIDDEN struct own_turn own_enter(enum own_kind kind);
MW_HIDDEN void own_leave(const struct own_turn *turn);
/* From now on it is ours, at another number. False: it isn't what is at `path`, if that is given; errno. */
MW_HIDDEN bool own_take(enum own_kind kind, int number, const char *path, int flags);
MW_HIDDEN void own_close(enum own_kind kind);
MW_HIDDEN void own_rename(enum own_kind from, enum own_kind to);
MW_HIDDEN void own_forget(enum own_kind kind); /* without closing it */
MW_HIDDEN void own_forked(void);               /* in the child, where the parent's lock is held */
MW_SIGNAL_SAFE static inline bool own_any(enum own_kind kind) { return atomic_load(&mw.own[kind].number) >= 0; }
MW_HIDDEN int replaced_close(int number);
MW_HIDDEN int replaced_dup2(int from, int to);
MW_HIDDEN int replaced_dup3(int from, int to, int flags);
MW_HIDDEN int replaced_close_range(unsigned first, unsigned last, int flags);
MW_HIDDEN void replaced_closefrom(int first);
MW_HIDDEN FILE *replaced_fdopen(int number, const char *mode);
MW_HIDDEN long replaced_syscall(long number, ...);

/* ---- tell.c ---- */
MW_HIDDEN void tell_open(void);
MW_HIDDEN void tell_redirected(void);                  /* the program has put a file of its choice there */
MW_HIDDEN void tell(const char *text, size_t length);  /* to standard error; nothing if that isn't there any more */
MW_HIDDEN void tell_formatted(const char *format, ...) /* at most 511 bytes; not async-signal-safe */
    __attribute__((format(printf, 1, 2)));

/* ---- registry.c ---- */
struct piece { /* the part of a write that lies on one page, or on none of ours */
    uint32_t page;
    uint32_t offset; /* in the page */
    uint32_t length;
    uint32_t nested; /* the page's lock is held by the code that this thread interrupted */
    uint8_t *target;
};
/* Records what a write at watched address `at` does to each variable it touches. written: bit i is byte i, of a store
 * that leaves bytes out; ALL_WRITTEN otherwise. The caller holds the page locks. Returns 0 or MW_ERR_JOURNAL_FULL. */
#define ALL_WRITTEN UINT64_MAX
MW_HIDDEN int registry_record(uintptr_t at, const struct piece *pieces, unsigned count, const uint8_t *before,
                              const uint8_t *after, uint64_t written, const mw_origin *origin,
                              const struct mwj_call *call); /* NULL: an instruction's store */
/* Records by which bytes of the page differ what the kernel did to each variable, and, if `asked` is an offset in the
 * page and not -1, that it wrote there (0 says little if anything differs: what is pinned is asked for from there on).
 * The caller holds the page's lock. */
MW_HIDDEN void registry_record_kernel(uint32_t page, const uint8_t *before, const uint8_t *after, int asked,
                                      const struct asker *asker);
MW_HIDDEN void registry_end_all(void);
MW_HIDDEN void registry_record_unseen(const char *why); /* stores may have gone unseen: what there is now */
MW_HIDDEN void registry_untell(void);                   /* the journal doesn't describe any variable */
MW_HIDDEN int registry_tell(void);                      /* it does now */
MW_HIDDEN void registry_lose(void);                     /* they went with their pages */

/* ---- fork.c ---- */
MW_HIDDEN int fork_open(void);    /* at the start: what is here is ours */
MW_HIDDEN int fork_settle(void);  /* what we hold is this process's own from here on: before anything is asked for */
MW_HIDDEN void fork_begins(void); /* as pthread_atfork's handlers, around a fork that they aren't called for; */
/* Returns its argument, keeps errno. shares_files: the child has its parent's table of descriptors, by CLONE_FILES. */
MW_HIDDEN pid_t fork_ended(pid_t result, bool shares_files);
MW_HIDDEN void fork_copy(void); /* caller holds mw.lock */
/* In a child that another library's handler of pthread_atfork uses before ours has run: true if it is ready now. */
MW_HIDDEN bool fork_arrives(void);
MW_HIDDEN void fork_notice(void); /* lets go of what is the parent's, in a child that was forked behind our back */
MW_SIGNAL_SAFE static inline bool process_is_whole(void) {
    return likely(atomic_load_explicit(&mw.process->state, memory_order_relaxed) == PROCESS_WHOLE);
}

MW_HIDDEN void fork_follow(uint32_t page);
/* Of a page that may have been written to. */
static inline void page_release(uint32_t page) {
    if (unlikely(atomic_load_explicit(&mw.fork.prepared, memory_order_relaxed))) fork_follow(page);
    lock_release(&mw.pages[page].lock);
}

/* Whether this thread holds mw.lock because it is about to fork: in handlers of others, it may go on as if it didn't.
 */
static inline bool core_prepared(void) { return unlikely(mw.fork.prepared) && lock_held_by(&mw.lock, thread_id()); }
static inline bool core_take(void) { /* mw.lock; returns what core_release() takes */
    if (core_prepared()) return false;
    lock_take(&mw.lock, thread_id());
    return true;
}
static inline void core_release(bool taken) {
    if (likely(taken))
        lock_release(&mw.lock);
    else
        fork_copy(); /* pages may have come and gone */
}

/* ---- trackers ---- */
extern MW_HIDDEN const struct tracker tracker_uffd_sigbus, tracker_uffd_queue, tracker_readonly;

/* ---- uffd.c ---- */
MW_HIDDEN int uffd_open(uint64_t features, bool kernel_too); /* 0, or -1 with errno */
MW_HIDDEN int uffd_arm(void *start, size_t size);
MW_HIDDEN int uffd_protect(uintptr_t start, size_t size, bool on); /* off: and wakes who waits there */
MW_HIDDEN void uffd_close(void);
MW_HIDDEN void uffd_look(void);       /* whether it is still there; caller holds mw.lock */
MW_HIDDEN bool uffd_do_without(void); /* from now on; false: not now */
MW_HIDDEN void uffd_give_up(void);    /* the same, and closes it; nobody else uses it yet; keeps errno */
/* Codes of the signals that uffd-queue sends: run your store to address si_value, with the low half of the
 * instruction's in si_errno; don't go on before the page at si_value is protected again. */
#define STORE_ANNOUNCED (-77)
#define THREAD_HELD (-78)
#define NUMBER_MOVED (-79) /* to the tracker's own thread: userfaultfd has another number now */
MW_HIDDEN bool uffd_signal(uint32_t tid, int code, uintptr_t address, uintptr_t instruction); /* tracker_uffd_queue.c */
MW_HIDDEN void queue_look_again(void); /* its number has changed */

/* ---- kernel.c ---- */
enum whereabouts {
    IN_USER_CODE,
    IN_SYSTEM_CALL,
    ON_ITS_WAY, /* runs: it may be anywhere */
    IN_OTHER_PROCESS,
    NOT_TOLD, /* no descriptor is left to ask with */
    GONE,
};
/* asker->call for one in a system call, *instruction for one in user code. */
MW_HIDDEN enum whereabouts kernel_where(struct asker *asker, uintptr_t *instruction);
MW_HIDDEN bool kernel_waits(uint32_t tid);       /* for a fault to be served, at this moment */
MW_HIDDEN bool kernel_interrupted(uint32_t tid); /* a signal is pending that it would take, were it in user code */
static inline _Atomic uint32_t *kernel_hold_of(uint32_t tid) { return &mw.kernel.held[tid % HOLDS]; }
MW_HIDDEN int kernel_open(void);
/* Lets who waits at this watched address write to its page, protects it again, and records what came of it. */
MW_HIDDEN void kernel_admit(uintptr_t address, const struct asker *asker);
MW_HIDDEN int kernel_compare(void); /* all pages; returns after how many ms to do it again, -1: there are none */
/* Under a page's lock, before and after anybody else writes to it: records what the kernel has done meanwhile; what
 * changes now isn't its doing. */
MW_HIDDEN bool kernel_settle(uint32_t page); /* whether there was anything */
MW_HIDDEN void kernel_except(uint32_t page, uint32_t offset, const uint8_t *bytes, uint32_t length);
MW_HIDDEN void kernel_forget(uint32_t page); /* it isn't in use any more: takes its lock */
static inline bool kernel_writes(void) {
    return unlikely(atomic_load_explicit(&mw.kernel.compared, memory_order_relaxed));
}

/* ---- form.c, code.c, executor.c, emulate.c ---- */
MW_HIDDEN int code_open(void);
MW_HIDDEN int code_replace(void);                                                 /* in a forked child */
MW_HIDDEN void *code_block(const uint8_t *instruction, unsigned length);          /* caller holds mw.forms_lock */
MW_HIDDEN void *code_overflow_block(const uint8_t *instruction, unsigned length); /* caller holds overflow_lock */
MW_HIDDEN int form_open(void);
/* The form of the instruction at ip; NULL if it can't be read as one. overflow: the table is full, the caller must call
 * form_overflow_done() when it has run the form. */
MW_HIDDEN struct form *form_at(uintptr_t ip, bool *overflow);
MW_HIDDEN void form_overflow_done(void);

/* ---- breakpoint.c ---- */
#define INT3 0xccu
/* The first byte of the instruction at ip, where INT3 stands over it. False if it can't be known: the text is no
 * file's, or isn't as it is there, or the file can't be read. */
MW_HIDDEN bool breakpoint_lift(uintptr_t ip, uint8_t *first);

enum run_result {
    RUN_DONE,
    RUN_REFUSED,
    RUN_NOT_OURS,
    RUN_FAULT,  /* a part of the destination is not ours and can't be written: mw_thread.fault says where */
    RUN_RAISED, /* stored nothing: the program gets a signal at this instruction, which is on its way */
    RUN_LATER   /* stored nothing: the program goes on, and if it is to store, comes back (uffd-queue, guard.c) */
};
MW_HIDDEN enum run_result executor_run(ucontext_t *context, uintptr_t address);
MW_HIDDEN uint64_t register_read(const ucontext_t *context, unsigned reg);
MW_HIDDEN void register_write(ucontext_t *context, unsigned reg, uint64_t value);
MW_HIDDEN uintptr_t form_address(const struct form *form, const ucontext_t *context, uintptr_t *offset);
/* Applies `after`, what a write leaves at `at`: locks, records, publishes. At most STORE_MAX bytes, or in ours alone:
 * on one page or two, which lie side by side in the writable view too. `call` made it, or, NULL, an instruction. False
 * if a part of the range that isn't ours can't be written, or is no longer what it was. */
MW_HIDDEN bool executor_apply(uintptr_t at, const uint8_t *after, unsigned size, const mw_origin *origin,
                              const struct mwj_call *call);
MW_HIDDEN enum run_result emulate(const struct form *form, ucontext_t *context, const mw_origin *origin);
MW_HIDDEN bool safe_read(void *to, uintptr_t from, size_t n);
MW_HIDDEN bool safe_write(uintptr_t to, const void *from, size_t n);

/* ---- exception.c ---- */
MW_HIDDEN bool exception_x87_stored(const ucontext_t *context);
/* Around a run of a form with mxcsr_back: no exception may arrive in the handler. `mask` returns what `unmask` takes.
 */
MW_HIDDEN uint32_t exception_simd_mask(ucontext_t *context);
MW_HIDDEN void exception_simd_unmask(ucontext_t *context, uint32_t kept);
/* Behind it: notes what it found in the interrupted MXCSR. True if the CPU would have raised it, and stored nothing: it
 * is the program's signal now. */
MW_HIDDEN bool exception_simd_raised(ucontext_t *context, const uint8_t *result, unsigned size, uint64_t written);

/* ---- fault.c, signals.c ---- */
MW_HIDDEN void mw_fault_handler(int signal, siginfo_t *info, void *context);
MW_HIDDEN int executor_open(void);
MW_HIDDEN int signals_take(void);
MW_HIDDEN int signals_virtual(int signal, const struct sigaction *wanted, struct sigaction *previous);
MW_HIDDEN void signals_spare(sigset_t *set);
/* met_again: the instruction, left as it is, would raise this very signal once more. */
MW_HIDDEN void signals_chain(int signal, siginfo_t *info, void *context, bool met_again);
/* The interrupted instruction raises a signal that isn't ours: the program gets it when our handler returns. */
MW_HIDDEN void signals_raise(int signal, int code, ucontext_t *context);
MW_HIDDEN int replaced_sigaction(int signal, const struct sigaction *wanted, struct sigaction *previous);
MW_HIDDEN sighandler_t replaced_signal(int number, sighandler_t handler);
MW_HIDDEN sighandler_t replaced_sysv_signal(int number, sighandler_t handler);
MW_HIDDEN int replaced_sigprocmask(int how, const sigset_t *set, sigset_t *previous);
MW_HIDDEN int replaced_pthread_sigmask(int how, const sigset_t *set, sigset_t *previous);

/* ---- interpose.c ---- */
/* Redirects what has been loaded since the last time; `calls`: those of calls.c too. MW_OK or MW_ERR_INTERPOSE. Takes
 * the loader's locks: not async-signal-safe. */
MW_HIDDEN int interpose_modules(bool calls);

/* ---- process.c ---- */
MW_HIDDEN pid_t replaced__Fork(void);
extern MW_HIDDEN pid_t (*process_Fork)(void); /* libc's */
MW_HIDDEN int replaced_clone(int (*function)(void *), void *stack, int flags, void *argument, ...);
MW_HIDDEN int replaced_setuid(uid_t user);
MW_HIDDEN int replaced_seteuid(uid_t user);
MW_HIDDEN int replaced_setreuid(uid_t real, uid_t effective);
MW_HIDDEN int replaced_setresuid(uid_t real, uid_t effective, uid_t saved);
MW_HIDDEN int replaced_chroot(const char *path);

/* ---- calls.c: read(2) and its kind, as the program's modules see them ---- */
MW_HIDDEN ssize_t replaced_read(int fd, void *buffer, size_t size);
MW_HIDDEN ssize_t replaced_pread(int fd, void *buffer, size_t size, off_t offset);
MW_HIDDEN ssize_t replaced_pread64(int fd, void *buffer, size_t size, off_t offset);
MW_HIDDEN ssize_t replaced_readv(int fd, const struct iovec *buffers, int count);
MW_HIDDEN ssize_t replaced_preadv(int fd, const struct iovec *buffers, int count, off_t offset);
MW_HIDDEN ssize_t replaced_preadv64(int fd, const struct iovec *buffers, int count, off_t offset);
MW_HIDDEN ssize_t replaced_preadv2(int fd, const struct iovec *buffers, int count, off_t offset, int flags);
MW_HIDDEN ssize_t replaced_recv(int fd, void *buffer, size_t size, int flags);
MW_HIDDEN ssize_t replaced_recvfrom(int fd, void *buffer, size_t size, int flags, struct sockaddr *from,
                                    socklen_t *from_size);
MW_HIDDEN ssize_t replaced_recvmsg(int fd, struct msghdr *message, int flags);
MW_HIDDEN int replaced_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout);
MW_HIDDEN ssize_t replaced_getrandom(void *buffer, size_t size, unsigned flags);
MW_HIDDEN int replaced_mprotect(void *start, size_t size, int protection);
MW_HIDDEN size_t replaced_fread(void *buffer, size_t size, size_t count, FILE *file);
MW_HIDDEN size_t replaced_fread_unlocked(void *buffer, size_t size, size_t count, FILE *file);
/* What -D_FORTIFY_SOURCE makes of them. */
MW_HIDDEN ssize_t replaced_read_chk(int fd, void *buffer, size_t size, size_t room);
MW_HIDDEN ssize_t replaced_pread_chk(int fd, void *buffer, size_t size, off_t offset, size_t room);
MW_HIDDEN ssize_t replaced_recv_chk(int fd, void *buffer, size_t size, size_t room, int flags);
MW_HIDDEN ssize_t replaced_recvfrom_chk(int fd, void *buffer, size_t size, size_t room, int flags,
                                        struct sockaddr *from, socklen_t *from_size);
MW_HIDDEN size_t replaced_fread_chk(void *buffer, size_t room, size_t size, size_t count, FILE *file);
MW_HIDDEN size_t replaced_fread_unlocked_chk(void *buffer, size_t room, size_t size, size_t count, FILE *file);

/* ---- guard.c ---- */
/* Copies `size` bytes, a multiple of 8; false if a part of them can't be read, or written. Async-signal-safe, but not
 * for the fault path. */
MW_HIDDEN bool guarded_copy(void *to, const void *from, size_t size);
MW_HIDDEN bool guard_returns(ucontext_t *context); /* a fault in guarded_copy(): it returns false */

/* ---- bounce.c ---- */
#define BOUNCE_SMALL 1536u
struct bounce {
    void *mapped; /* NULL: `small` is enough */
    size_t size;
    uint8_t *next, *end;
    uint8_t small[BOUNCE_SMALL] __attribute__((aligned(16)));
};
/* Whether a part of [start, start + size) may be watched. For any other memory: two comparisons. */
MW_HIDDEN bool adopted_within(uintptr_t start, size_t size);
static inline bool is_watched(const void *start, size_t size) {
    return (uintptr_t)start - mw.watched < mw.reserved ||
           (unlikely(atomic_load_explicit(&mw.adopted_count, memory_order_relaxed)) &&
            adopted_within((uintptr_t)start, size));
}
/* Room that the program's buffers need; 0: the kernel would refuse them as they are (what tells their places can't be
 * read, too many, too long). Then that much room, and in it a copy of what tells their places, and that again with the
 * watched ones replaced. */
MW_HIDDEN size_t bounce_needs(const struct iovec *buffers, size_t count);
MW_HIDDEN bool bounce_open(struct bounce *bounce, size_t needs); /* false: errno is ENOMEM */
MW_HIDDEN void *bounce_take(struct bounce *bounce, size_t size);
struct placement {
    const struct iovec *wanted, *placed; /* where the program wants it, and where the call brings it */
    size_t count;
};
/* False: another thread has changed them meanwhile, and there is no room for what they are now. */
MW_HIDDEN bool bounce_place(struct bounce *bounce, const struct iovec *buffers, size_t count, struct placement *out);
/* Brings call->bytes that the call has left in `placed` to where the program wants them, an event for each variable
 * and MW_EVENT_MAX bytes. Returns how many of them could be brought: fewer if memory behind a watched page can't be
 * written. Async-signal-safe; keeps errno. */
MW_HIDDEN size_t bounce_deliver(const struct placement *placement, const struct mwj_call *call);
MW_HIDDEN void bounce_close(void *bounce);

/* ---- clock.c ---- */
MW_HIDDEN void clock_open(void);
MW_HIDDEN uint64_t clock_now(void); /* ns since 1970 */

/* ---- room.c ---- */
MW_HIDDEN int room_open(struct journal *journal); /* the file exists, empty but for the header; 0 or errno */
MW_HIDDEN void room_limit(struct journal *journal);
MW_HIDDEN void room_close(struct journal *journal);
MW_HIDDEN void room_lost_before(struct journal *journal, uint64_t count); /* while there was no file */
MW_HIDDEN bool room_allocate(int fd, off_t from, off_t size);
/* Slots up to `end`; may wait for the reader. False: there is no room, on the disk or within the limit. */
MW_HIDDEN bool room_make(struct journal *journal, uint64_t end);
MW_HIDDEN void room_lost(struct journal *journal, uint32_t variable); /* counts a store that wasn't recorded */
MW_HIDDEN void room_report(struct journal *journal);                  /* says once that there is no room */

/* ---- folder.c ---- */
/* Opens `name` in a folder that belongs to this process's user and that nobody else may write to; flags are open(2)'s,
 * what is made has mode 0600. The descriptor or -errno; -EPERM: it is no such folder, or no regular file in it. */
MW_HIDDEN int private_open(const char *folder, const char *name, int flags);
MW_HIDDEN void private_remove(const char *folder, const char *name); /* where private_open would find it */
MW_HIDDEN int private_check(const char *folder);                     /* 0 or -errno, as private_open */

/* ---- journal.c ---- */
struct store {
    uint32_t variable, tid, offset, length, site, context;
    unsigned how, flags;
    const struct mwj_call *call; /* of MWJ_SYSCALL; otherwise NULL */
};
MW_HIDDEN int journal_store(const struct store *store, const uint8_t *before, const uint8_t *after);
/* Room for the records of a write of so many bytes; and for all records of one write, so that they find it whoever else
 * writes, until journal_release(). Without a limit only: with one, nothing is refused. *slots: those promised. */
MW_HIDDEN uint64_t journal_slots_for(uint64_t length);
MW_HIDDEN int journal_promise(uint64_t *slots);
MW_HIDDEN void journal_release(uint64_t slots);
MW_HIDDEN int journal_blob(unsigned kind, unsigned flags, uint32_t tid, uint32_t id, const void *a, size_t a_length,
                           const void *b, size_t b_length);
MW_HIDDEN int journal_variable(uint32_t id, const struct variable *variable);
MW_HIDDEN int journal_unregistered(uint32_t id, struct variable *variable);
MW_HIDDEN int journal_open_file(struct journal *journal);  /* 0 or errno */
MW_HIDDEN int journal_begin_file(struct journal *journal); /* its header, and room for the first records; 0 or errno */
MW_HIDDEN void journal_unmap(struct journal *journal);

/* ---- begin.c ---- */
MW_HIDDEN bool begin_make(struct journal *journal);   /* the file, if there is none; false: journal->refused */
MW_HIDDEN void begin_report(struct journal *journal); /* says once that there is none, and why */
MW_HIDDEN void begin_reserve(void);                   /* the file's place in the folder, while we may write to that */
MW_HIDDEN int begin_open(const char *path, const char *runtime, const uint8_t session[16]); /* no file yet */
MW_HIDDEN bool begin_keep_name(uint32_t tid, const char *name, size_t length); /* false: it is to be recorded */
MW_HIDDEN void begin_anew(struct journal *journal); /* in a forked child: the parent's is let go */
MW_HIDDEN void begin_end(struct journal *journal);  /* of the file, or of what was to become one */
MW_HIDDEN int site_open(void);
MW_HIDDEN int site_record_all(void);
#endif
