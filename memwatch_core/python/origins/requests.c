/* requests.c - see requests.h.
 *
 * What is in force is looked up at each store: nobody tells when a task goes on, or another context comes into force.
 * Usually it is what it was at the last store, which is found by comparing; then nothing is written anew. Everything is
 * compared by what it says, never by its address: addresses are used again. */
#define Py_BUILD_CORE_MODULE 1
#include "origins/requests.h"

#include <string.h>

#include "origins/context.h"
#include "origins/freed.h"
#include "origins/imported.h"
#include "origins/labels.h"
#include "origins/owned.h"
#include "origins/peek.h"
#include "origins/spans.h"
#include "origins/tasks.h"
#include "origins/utf8.h"

enum { THREADS = 1024, KNOWN_BITS = 5 };
enum { NAME_MOST = 120, NAME_BYTES = 4 * NAME_MOST }; /* characters of a task's name */
enum { LABEL_MOST = 200, LABEL_ROOM = 400, TASK_ROOM = 200, LABELS_AROUND = 8, LABEL_LEAST = 64 };

/* ---- what is in force -------------------------------------------------------------------------------------------- */

enum { NO_TASK = 0, NUMBERED = 8 }; /* otherwise, it has a name */

struct task {
    const unsigned char *name; /* not compared by address */
    uint64_t number;           /* or the length of the name */
    uint64_t kind;             /* bytes of a character of the name; or one of the above */
};

struct work {
    const mwpy_label *innermost; /* borrowed; not compared */
    uint64_t label, left_early;  /* its serial; 0: none */
    mwpy_span span;
    struct task task;
};

static MWPY_PEEK bool take_number(bool held, PyObject *name, struct task *t) {
    digit digits[2];
    size_t n = mwpy_digits_of(held, name, digits, Py_ARRAY_LENGTH(digits));
    if (!n) return false;
    t->kind = NUMBERED;
    while (n--) t->number = t->number << PyLong_SHIFT | digits[n];
    return true;
}

static inline bool has_name(const struct task *t) { return t->kind != NO_TASK && t->kind != NUMBERED; }

static inline size_t name_bytes(const struct task *t) {
    return (t->number < NAME_MOST ? t->number : NAME_MOST) * t->kind;
}

/* A str that lies in one piece, as all do that Python makes. copy: of a name that may go meanwhile. */
static MWPY_PEEK void take_name(bool held, PyObject *name, struct task *t, unsigned char *copy) {
    PyASCIIObject head;
    if (!mwpy_get(held, &head, name, sizeof head) || !PyUnicode_CheckExact(&head) || !head.state.compact) return;
    t->name = (unsigned char *)name + (head.state.ascii ? sizeof(PyASCIIObject) : sizeof(PyCompactUnicodeObject));
    t->number = head.length > 0 ? (uint64_t)head.length : 0;
    t->kind = head.state.kind;
    if (!t->number || (!held && !mwpy_get(held, copy, t->name, name_bytes(t)))) {
        t->number = t->kind = 0;
        return;
    }
    if (!held) t->name = copy;
}

static MWPY_PEEK struct task task_now(PyThreadState *thread, bool held, unsigned char *copy) {
    struct task t = {0};
    PyObject *name = mwpy_may_have_task(thread, held) ? mwpy_task_name(thread, held) : NULL;
    if (name && !take_number(held, name, &t)) take_name(held, name, &t, copy);
    return t;
}

static inline bool is_same_task(const struct task *a, const struct task *b) {
    return a->number == b->number && a->kind == b->kind && (!has_name(a) || !memcmp(a->name, b->name, name_bytes(a)));
}

/* What a thread's context variables said the last time. They say the same as long as they are the same: the entries of
 * their map, what OpenTelemetry keeps in it, and its ids, are never changed. */
struct variables {
    const PyContext *context;
    PyHamtObject *map;
    uint64_t generation; /* of mwpy_maps; 0: nothing is known */
};

MWPY_THREAD struct {
    struct variables variables;
    const mwpy_label *innermost;
    uint64_t left_early;
    mwpy_span span;
    uint64_t turn; /* of the thread's row, which says it; 0: none does */
    bool left;     /* the label's block; who has inherited it goes on under it */
} said;

static inline struct variables variables_now(const PyThreadState *thread) {
    const PyContext *context = (const PyContext *)thread->context;
    return (struct variables){context, context ? context->ctx_vars : NULL, mwpy_generation(&mwpy_maps)};
}

static inline bool is_as_said(const struct variables *now) {
    return now->generation == said.variables.generation && now->context == said.variables.context &&
           now->map == said.variables.map && said.left_early == mwpy_labels_left_early &&
           (!said.innermost || said.innermost->left == said.left);
}

/* A signal handler that stores may come in the midst of it: it finds the same. */
static __attribute__((noinline)) void ask_variables(PyThreadState *thread, const struct variables *now) {
    mwpy_look_for_imports(thread);
    __atomic_store_n(&said.variables.generation, 0, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (now->map) mwpy_keep_map((PyObject *)now->map);
    said.span = mwpy_found.span_variable ? mwpy_span_of(thread, true) : (mwpy_span){{0, 0}, 0};
    said.innermost = mwpy_label_variable ? mwpy_label_of(thread) : NULL;
    said.left = said.innermost && said.innermost->left;
    said.left_early = mwpy_labels_left_early;
    said.variables.context = now->context;
    said.variables.map = now->map;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&said.variables.generation, now->generation, __ATOMIC_RELAXED);
}

static MWPY_PEEK void take_variables(PyThreadState *thread, bool held, struct work *w) {
    if (held) {
        struct variables now = variables_now(thread);
        if (unlikely(!is_as_said(&now))) ask_variables(thread, &now);
        w->span = said.span;
        w->innermost = said.innermost;
    } else if (thread->context) {
        if (mwpy_found.span_variable) w->span = mwpy_span_of(thread, false);
        w->innermost = mwpy_label_variable ? mwpy_label_of(thread) : NULL;
    }
    if (w->innermost) {
        w->label = w->innermost->serial;
        w->left_early = mwpy_labels_left_early;
    }
}

/* False: nothing is. */
static MWPY_PEEK bool look(PyThreadState *thread, bool held, struct work *w, unsigned char *copy) {
    *w = (struct work){0};
    take_variables(thread, held, w);
    w->task = task_now(thread, held, copy);
    return w->task.kind || w->label || w->span.span;
}

static inline bool is_same(const struct work *a, const struct work *b) {
    return a->label == b->label && a->left_early == b->left_early && a->span.span == b->span.span &&
           a->span.trace[0] == b->span.trace[0] && a->span.trace[1] == b->span.trace[1] &&
           is_same_task(&a->task, &b->task);
}

/* ---- as JSON ----------------------------------------------------------------------------------------------------- */

struct text {
    char *at, *end;
};

static void put(struct text *t, const char *string) {
    size_t n = strlen(string);
    if ((size_t)(t->end - t->at) < n) return;
    memcpy(t->at, string, n);
    t->at += n;
}

/* The inside of a JSON string. False: it didn't fit, and is cut off. */
static bool put_character(struct text *t, char *end, Py_UCS4 c) {
    char one[8];
    size_t n = 0;
    if (c == '"' || c == '\\') {
        one[n++] = '\\';
        one[n++] = (char)c;
    } else if (c < 0x20) {
        memcpy(one, "\\u00", 4);
        one[4] = "0123456789abcdef"[c >> 4];
        one[5] = "0123456789abcdef"[c & 15];
        n = 6;
    } else {
        n = mwpy_put_utf8(one, c >= 0xD800 && c < 0xE000 ? '?' : c);
    }
    if ((size_t)(end - t->at) < n + 3) return false; /* an ellipsis has to fit as well */
    memcpy(t->at, one, n);
    t->at += n;
    return true;
}

static void put_string(struct text *t, size_t room, int kind, const void *data, size_t length, size_t most) {
    char *end = (size_t)(t->end - t->at) < room ? t->end : t->at + room;
    size_t i = 0;
    while (i < length && i < most && put_character(t, end, PyUnicode_READ(kind, data, (Py_ssize_t)i))) i++;
    if (i < length) put(t, "…");
}

static void put_label(struct text *t, const mwpy_label *label, size_t room) {
    put(t, "\"");
    put_string(t, room, PyUnicode_KIND(label->text), PyUnicode_DATA(label->text),
               (size_t)PyUnicode_GET_LENGTH(label->text), LABEL_MOST);
    put(t, "\"");
}

/* The innermost first; those that there is no room for are left out. */
static void put_labels(struct text *t, const mwpy_label *label, PyThreadState *thread) {
    put(t, "\"label\":");
    put_label(t, label, LABEL_ROOM);
    bool any = false;
    for (int i = 0; i < LABELS_AROUND && t->end - t->at >= LABEL_LEAST; i++) {
        label = mwpy_label_around(label, thread);
        if (!label) break;
        put(t, any ? "," : ",\"outer\":[");
        put_label(t, label, (size_t)(t->end - t->at) - LABEL_LEAST / 4);
        any = true;
    }
    if (any) put(t, "]");
}

static void put_hex(struct text *t, uint64_t number) {
    char digits[17];
    for (int i = 15; i >= 0; i--, number >>= 4) digits[i] = "0123456789abcdef"[number & 15];
    digits[16] = 0;
    put(t, digits);
}

static void put_task(struct text *t, const struct task *task) {
    put(t, "\"task\":\"");
    if (has_name(task)) {
        put_string(t, TASK_ROOM, (int)task->kind, task->name, task->number, NAME_MOST);
    } else {
        char digits[24], *at = digits + sizeof digits - 1;
        uint64_t number = task->number;
        *at = 0;
        do *--at = (char)('0' + number % 10);
        while (number /= 10);
        put(t, "Task-");
        put(t, at);
    }
    put(t, "\"");
}

static size_t write_json(char *json, size_t room, const struct work *w, PyThreadState *thread) {
    struct text t = {json, json + room - 1};
    put(&t, "{");
    if (w->span.span) {
        put(&t, "\"trace_id\":\"");
        put_hex(&t, w->span.trace[0]);
        put_hex(&t, w->span.trace[1]);
        put(&t, "\",\"span_id\":\"");
        put_hex(&t, w->span.span);
        put(&t, "\"");
    }
    if (w->task.kind) {
        if (t.at[-1] != '{') put(&t, ",");
        put_task(&t, &w->task);
    }
    if (w->label) {
        if (t.at[-1] != '{') put(&t, ",");
        put_labels(&t, w->innermost, thread);
    }
    t.end++;
    put(&t, "}");
    return (size_t)(t.at - json);
}

/* ---- what a thread keeps ----------------------------------------------------------------------------------------- */

struct row {
    uint32_t owner; /* thread id; 0: free */
    bool busy;      /* it is being changed: a signal handler that stores says nothing */
    uint64_t turn;  /* goes up with each change: what was read before and after isn't of one piece */
    mw_request *last_request;
    struct work last; /* of which it was made */
    unsigned char name[NAME_BYTES];
    mw_request known[1 << KNOWN_BITS]; /* by a hash of the text */
};

static struct row *rows; /* THREADS of them */

MWPY_THREAD mwpy_owner mine;

static struct row *make_rows(void) {
    struct row *made = mwpy_make_rows(THREADS * sizeof *rows), *there = NULL;
    if (!made) return NULL;
    if (__atomic_compare_exchange_n(&rows, &there, made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) return made;
    munmap(made, THREADS * sizeof *rows);
    return there;
}

static void begin(void *row) {
    ((struct row *)row)->busy = false;
    ((struct row *)row)->last_request = NULL;
    ((struct row *)row)->turn++;
    said.turn = 0;
}

static inline struct row *own(void) {
    struct row *row = mwpy_own_row(&mine);
    if (likely(row)) return row;
    struct row *all = __atomic_load_n(&rows, __ATOMIC_ACQUIRE);
    return all || (all = make_rows()) ? mwpy_claim_row(&mine, all, THREADS, sizeof *all, begin) : NULL;
}

static __attribute__((noinline)) mwpy_request another(struct row *row, const struct work *w, PyThreadState *thread) {
    char json[MW_REQUEST_MAX];
    __atomic_store_n(&row->busy, true, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    mw_request *request = mw_request_kept(row->known, KNOWN_BITS, json, write_json(json, sizeof json, w, thread));
    row->turn++;
    row->last = *w;
    row->last.task.name = row->name;
    if (has_name(&w->task)) memcpy(row->name, w->task.name, name_bytes(&w->task));
    row->last_request = request;
    mwpy_request found = {request, request->serial};
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&row->busy, false, __ATOMIC_RELAXED);
    return found;
}

/* A signal handler may store anywhere in these two, and then the row says what it has found. */

static mwpy_request found_by(const struct work *w, PyThreadState *thread) {
    struct row *row = own();
    if (!row || row->busy) return (mwpy_request){NULL, 0};
    uint64_t turn = row->turn;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    mw_request *last = row->last_request;
    if (!last || !is_same(w, &row->last)) return another(row, w, thread);
    mwpy_request found = {last, last->serial};
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return likely(row->turn == turn) ? found : another(row, w, thread);
}

/* Where the variables say what they said, and that was the last that was told: nothing but the task has to be compared.
 * False: look. */
static inline bool find_again(PyThreadState *thread, mwpy_request *found) {
    struct variables now = variables_now(thread);
    if (unlikely(!is_as_said(&now))) return false;
    struct task task = task_now(thread, true, NULL);
    if (!said.turn) {
        *found = (mwpy_request){NULL, 0};
        return !task.kind && !said.innermost && !said.span.span;
    }
    const struct row *row = mwpy_own_row(&mine);
    if (unlikely(!row || row->busy || row->turn != said.turn || !is_same_task(&task, &row->last.task))) return false;
    *found = (mwpy_request){row->last_request, row->last_request->serial};
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return likely(row->turn == said.turn);
}

static __attribute__((noinline)) mwpy_request find_unheld(PyThreadState *thread) {
    unsigned char copy[NAME_BYTES];
    struct work w;
    return look(thread, false, &w, copy) ? found_by(&w, thread) : (mwpy_request){NULL, 0};
}

static __attribute__((noinline)) mwpy_request find_held(PyThreadState *thread) {
    struct work w;
    said.turn = 0;
    if (!look(thread, true, &w, NULL)) return (mwpy_request){NULL, 0};
    mwpy_request found = found_by(&w, thread);
    const struct row *row = mwpy_own_row(&mine);
    if (row && found.request) said.turn = row->turn;
    return found;
}

mwpy_request mwpy_find_request(PyThreadState *thread, bool held) {
    if (unlikely(!held)) return find_unheld(thread);
    mwpy_request found;
    return likely(find_again(thread, &found)) ? found : find_held(thread);
}

int mwpy_prepare_requests(void) {
    return mwpy_prepare_imports() || mwpy_prepare_tasks() || mwpy_prepare_spans() ? -1 : 0;
}
