/* state.c - see state.h. */
#include "state.h"

struct mw_core mw = {.descriptors.own = {[0 ... DESCRIPTORS - 1] = {.number = -1}}};
MW_TLS struct thread mw_thread;
