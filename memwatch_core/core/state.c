/* state.c - see state.h. */
#include "state.h"

struct mw_core mw = {.descriptors.own = {[0 ... OWNS - 1] = {.number = -1}}};
MW_TLS struct thread mw_thread;
