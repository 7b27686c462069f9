/* node_table.h - from the address of a dict or an owner to its nodes: one as a rule, more where places of it are
 * watched, or where owners share a dict. */
#ifndef MEMWATCH_PYTHON_NODE_TABLE_H
#define MEMWATCH_PYTHON_NODE_TABLE_H
#include "adapter.h"

struct mwpy_node;

struct mwpy_node *mwpy_table_get(const void *address); /* the first one; NULL: none */
/* How many nodes hang behind others: as a rule 0, and nobody need ask for the next one. */
extern size_t mwpy_table_others;
/* The one that was put behind `node`; NULL: none, or that one isn't there any more. */
struct mwpy_node *mwpy_table_next(const void *address, const struct mwpy_node *node);
int mwpy_table_put(const void *address, struct mwpy_node *node); /* 0, or -1: no memory */
void mwpy_table_take(const void *address, const struct mwpy_node *node);
#endif
