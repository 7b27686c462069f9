/* variables.h - the end of all watches. */
#ifndef MEMWATCH_VARIABLES_H
#define MEMWATCH_VARIABLES_H
#include "base/compiler.h"

MW_HIDDEN void variables_end_all(void); /* caller holds mw.lock */
#endif
