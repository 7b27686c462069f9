/* dict_entries.h - dicts of CPython 3.11, which doesn't report their changes as later versions do. */
#ifndef MEMWATCH_PYTHON_DICT_ENTRIES_H
#define MEMWATCH_PYTHON_DICT_ENTRIES_H
#include "places/node.h"

#if PY_VERSION_HEX < 0x030C0000
/* Whether dicts tell of their changes here: tried once, with a dict of our own, stores to which fault. May leave an
 * exception: there is no memory for it. */
bool mwpy_dicts_tell(void);

/* What is reported of a dict's memory: see reports.h. */
void mwpy_dict_stored(mwpy_node *node, const void *address, size_t length);
void mwpy_dict_freed(mwpy_node *node, const void *address);
#endif
#endif
