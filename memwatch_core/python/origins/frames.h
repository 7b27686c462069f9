/* frames.h - the line of Python that makes a store. */
#ifndef MEMWATCH_PYTHON_FRAMES_H
#define MEMWATCH_PYTHON_FRAMES_H
#include "adapter.h"

/* Once, before all others. 0, or -1 with an exception. Needs the GIL. */
int mwpy_prepare_origins(void);

/* Takes note of what the program has imported: a store without the GIL can't look. Needs the GIL. */
void mwpy_note_imports(void);

/* Looks up the site (and, if sql, the context) of the calling thread's Python frame, for the next announced write.
 * Needs the GIL. Runs no Python code, so that nothing comes between an operator's read and its write. */
void mwpy_announce(bool sql);

/* The site of the calling thread's Python frame, as an announced write would have it; 0: it has none. Needs the GIL. */
uint32_t mwpy_site_now(void);

/* Call after mw_write: drops the site and context. May run destructors. */
void mwpy_announced(void);

/* What mwpy_announce() looks up, for mw_write_shadow_from(). No destructor runs: code objects that the cache drops are
 * released later, by the interpreter's main thread. activation: of a name of a function, which call it is; 0: of
 * anything else, or not known. */
void mwpy_origin_now(mw_origin *origin, bool sql, uint32_t activation);

/* The site of an instruction, given by its code unit; 0: the table of sites is full. */
uint32_t mwpy_site_at(PyCodeObject *code, int unit);

/* The core's origin provider (memwatch.h says when it is called, and what it must not do). */
void mwpy_origin(const void *ucontext, mw_origin *origin);

/* Releases the code objects in the cache of announced writes. Needs the GIL. */
void mwpy_forget_sites(void);
#endif
