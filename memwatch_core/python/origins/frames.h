/* frames.h - which line of Python makes a store. */
#ifndef MEMWATCH_PYTHON_FRAMES_H
#define MEMWATCH_PYTHON_FRAMES_H
#include "adapter.h"

/* Looks up the site (and, if sql, the context) of the calling thread's Python frame for the next announced write.
 * Interpreter lock held; runs no Python code, so that nothing comes between the read and the write of an operator. */
void mwpy_announce(bool sql);

/* After mw_write: what was looked up is used no more. May run destructors. */
void mwpy_announced(void);

/* The same where no destructor may run: code objects that the cache lets go of are released later, by the interpreter's
 * main thread. */
void mwpy_announced_quietly(void);

/* The origin provider of the core (see memwatch.h for when it is called, and what it must not do). */
void mwpy_origin(const void *ucontext, mw_origin *origin);

/* Lets go of the code objects that the cache of announced writes holds. Interpreter lock held. */
void mwpy_forget_sites(void);
#endif
