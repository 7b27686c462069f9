/* activations.h - which call of a function a frame is, by its number: 1, 2, 3, ...
 *
 * Wants the interpreter lock. Keeps nothing alive: an address is given to another frame, which says so when it begins.
 */
#ifndef MEMWATCH_PYTHON_ACTIVATIONS_H
#define MEMWATCH_PYTHON_ACTIVATIONS_H
#include "adapter.h"

/* What lies at an address from now on: a frame of a function, or a cell that one of its frames has made. */
void mwpy_activation_begins(const void *at, const void *function, uint32_t number);
/* Which of a function's activations it is, or belongs to; 0: it isn't known. */
uint32_t mwpy_activation_at(const void *at, const void *function);
/* Forgets all. */
void mwpy_activations_forget(void);
#endif
