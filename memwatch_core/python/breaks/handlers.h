/* handlers.h - the exception handler of the instruction that stored, for an exception that is raised before the next
 * one.
 *
 * The last store of a "try" or "with" block is noticed when the block is left already: there, its handler wouldn't
 * catch what the store raises. Needs the GIL, for all functions; for files that define Py_BUILD_CORE_MODULE. */
#ifndef MEMWATCH_PYTHON_HANDLERS_H
#define MEMWATCH_PYTHON_HANDLERS_H
#include "interpreter.h"

/* The calling thread stands at the instruction that stores. The first of several counts, until it is forgotten. */
void mwpy_handlers_note(const mwpy_frame *frame);
void mwpy_handlers_forget(void);

/* An exception is about to leave the frame's instruction at `unit`, at once: it shall go to the handler that it would
 * have gone to from the noted one. True: then mwpy_handlers_restore() must be called at the next instruction. */
bool mwpy_handlers_redirect(const mwpy_frame *frame, int unit);
bool mwpy_handlers_restore(void);
#endif
