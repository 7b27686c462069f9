/* node_table.h - from the address of a dict or an owner to its node. */
#ifndef MEMWATCH_PYTHON_NODE_TABLE_H
#define MEMWATCH_PYTHON_NODE_TABLE_H
#include "adapter.h"

struct mwpy_node;

struct mwpy_node *mwpy_table_get(const void *address);           /* NULL: none */
int mwpy_table_put(const void *address, struct mwpy_node *node); /* 0, or -1: no memory */
void mwpy_table_take(const void *address, const struct mwpy_node *node);
#endif
