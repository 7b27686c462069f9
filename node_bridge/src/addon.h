/* addon.h - what the Node adapter's files share.
 *
 *   addon.c     the functions that lib/ calls (N-API): of the process and the thread
 *   variables.c  of what is watched
 *   flows.c     of whose flow runs
 *   copies.c    which addon serves, where several copies of the package are installed
 *   files.c     small files of a session, where nobody else can have put them
 *   blocks.c    pages behind ArrayBuffers: who holds them, and when they go
 *   sql.c       what a SQL statement says, hashes of its parameters, and the records of its beginning and end
 *   isolate.cc  what N-API has no words for (V8's own API): following an isolate, external buffers
 *   codes.cc    the code map, of all code that V8 has made
 *   conditions.c  of what is done where a condition is met
 *   breaks.cc   what is done there, at the next point where that is safe
 *   dispatch.cc  the next bytecode that the interpreter comes to
 *   hits.c      what was met, until then
 *   told.cc     what is printed of it
 *   stopping.cc  a debugger stops
 *   mailbox.cc  asking another thread to do something, from a signal handler too
 *   symbols.c   functions of Node's that it doesn't export
 *   places.cc   from an instruction to a line
 *   frames.cc   the frames of a thread that stands still at a store
 *   origins.cc  which line stores, and who called it: what the core asks
 *   contexts.cc  whose async flow runs
 *   requests.cc  on whose behalf
 *   inlining.cc  what V8 has inlined in optimised code
 *   text.cc     whether a script is what the file says that it is named after
 *   sourcemap.cc  the lines of generated files, as their compiler's maps have them
 *
 * One process has one core and one table of blocks; each isolate (the main thread, a worker) has an isolate_state. */
#ifndef MEMWATCH_ADDON_H
#define MEMWATCH_ADDON_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef NAPI_VERSION
#define NAPI_VERSION 8
#endif
#include <node_api.h>

#include "memwatch.h"
#ifdef __cplusplus
extern "C" {
#endif

/* ---- addon.c ------------------------------------------------------------------------------------------------------
 */

/* Throws what the core refuses; returns NULL. */
napi_value throw_core(napi_env env, int error);

/* ---- copies.c ---------------------------------------------------------------------------------------------------- */

typedef napi_value addon_init(napi_env env, napi_value exports);

/* The addon that this process loaded first: this one, or that of another copy of the package. */
addon_init *serving_addon(void);

/* ---- files.c ----------------------------------------------------------------------------------------------------- */

/* 0 or -errno, as mw_private_open says. *bytes is to be freed. */
int file_read(const char *folder, const char *name, size_t most, uint8_t **bytes, size_t *length);
int file_make(const char *folder, const char *name, const uint8_t *bytes, size_t length);

/* ---- blocks.c ---------------------------------------------------------------------------------------------------- */

/* Pages of one watched variable. Lives as long as an ArrayBuffer over them, in any isolate, or a share. */
struct block {
    void *bytes; /* the watched view */
    size_t size, pages;
    mw_variable_id id;
    uint32_t holders; /* ArrayBuffers, and 1 if shared */
    bool shared, ended;
    struct block *next, **link; /* the list of all blocks */
};

/* A block with a copy of `from`, registered; one holder. NULL with *error set. Any thread. */
struct block *block_new(const void *from, size_t size, uint32_t flags, mw_depth depth, int *error);

/* The block of a variable, with one holder more; NULL if its watch has ended. */
struct block *block_hold(mw_variable_id id);

/* One holder less; the last one ends the watch and frees the pages. Called by V8 from any thread of its own. */
void block_release(struct block *block);

/* Keeps the block until block_end (or the process ends), so that another thread can hold it. */
bool block_share(mw_variable_id id);

/* Ends the watch and the share; buffers that are out stay valid. False if it had ended. */
bool block_end(mw_variable_id id);

/* ---- sql.c ------------------------------------------------------------------------------------------------------- */

/* (text, dialect) -> [text without literals and comments, action, savepoint, whether the case of that one counts] */
napi_value sql_read_statement(napi_env env, napi_callback_info info);

/* (key, form | number | text) -> 16 hexadecimal digits; undefined: its form has to be made in JavaScript */
napi_value sql_hash_form(napi_env env, napi_callback_info info);
napi_value sql_hash_number(napi_env env, napi_callback_info info);
napi_value sql_hash_text(napi_env env, napi_callback_info info);

/* What is recorded of a statement: lib/native.js says what they take. */
napi_value sql_begin_statement(napi_env env, napi_callback_info info);
napi_value sql_end_statement(napi_env env, napi_callback_info info);

/* The time of day as the journal has it, in whole us since 1970. */
napi_value sql_now(napi_env env, napi_callback_info info);

/* ---- V8 --------------------------------------------------------------------------------------------------------- */

/* Starts following this isolate's code. The calling thread's; false if it is followed already. */
bool isolate_attach(void);
void isolate_detach(void *unused);

/* Sets a flag of V8's. */
void isolate_flag(const char *flag, size_t length);

/* A value that lives as long as this isolate is followed: NULL until one was kept. */
napi_value isolate_kept(void);
void isolate_keep(napi_value value);

/* An ArrayBuffer over a block, which takes over one holder. With it the buffer can be neither transferred nor detached.
 */
napi_value isolate_buffer(napi_env env, struct block *block);

/* Whether a buffer's memory can leave it: false for that of a WebAssembly.Memory. */
bool isolate_is_detachable(napi_value buffer);

/* The context id of this thread's current flow: see lib/contexts.js. A Uint32Array over it, for a mirror in JavaScript.
 */
uint32_t *isolate_context(void);

/* Pulls the id from V8's continuation-preserved data instead. False where that isn't how AsyncLocalStorage works. */
bool isolate_pull_contexts(void);
/* Where V8 has the address of what is current; and how often a collection may have moved that. NULL if not pulled. */
void *isolate_context_frame(uint32_t **collections);
/* What is current now stands for `context`. False if nothing is current. */
bool isolate_mark_context(uint32_t context);
/* What is current now, with which JavaScript does nothing but hand it back: then it is current again. null: it can't be
 * handed out. */
napi_value isolate_current_frame(void);
void isolate_restore_frame(napi_value frame);

/* What an object of a storage says: see lib/requests.js. Returns its number. */
uint32_t isolate_tell_request(napi_value object, const char *json, size_t length);
/* What a storage of labels holds, `value` now, is found by looking at what V8 continues with; it isn't, though it is
 * there; this Node has nothing there. */
enum pulled { PULLED, PULLED_NOTHING, PULLED_NOWHERE };
enum pulled isolate_pull_requests(napi_value storage, napi_value value);
/* The storage of OpenTelemetry's contexts. */
void isolate_follow_spans(napi_value storage);
/* Else, numbers of the span and the label in force. A Uint32Array over them, for a mirror in JavaScript. */
uint32_t *isolate_requests(const double *executing);

/* Tells of statements whose token nobody holds any more: how many there are since they were taken, and an array of
 * them. */
void isolate_follow_token(napi_value token, napi_value statement);
uint32_t *isolate_gone_tokens(void);
napi_value isolate_gone_statements(void);

/* Where a position (from 1) in a script comes from: elsewhere, as its map says (*source lives as long as the isolate);
 * where it is; or nobody knows, since the file says something else than the script that bears its name. */
enum original { ORIGINAL_SAME, ORIGINAL_FOUND, ORIGINAL_UNKNOWN };
enum original isolate_original(const char *file, uint32_t *line, uint32_t *column, const char **source);

/* Learns which operations of bytecode store or call, from a function of that name that does nothing else. */
bool isolate_learn_operations(const char *function);

/* From now on each event carries so many callers at most, in all threads; 0: none. */
int isolate_keep_callers(unsigned most);

/* The origin provider of the core: async-signal-safe. */
void isolate_origin(const void *ucontext, mw_origin *origin);

struct line_counts {
    uint64_t codes, walks, inexact;
};
void isolate_counts(struct line_counts *out);

#ifdef __cplusplus
}
#endif
#endif
