/* node.h - the objects and dicts that are watched: at which paths they are, and the cells of what they hold.
 *
 * A node has a dict (a plain one, or the one in which an instance, a class or a module keeps its attributes), or an
 * owner with slots, or both. It holds no reference to dict, owner, or values: they live and die as if nobody watched.
 * Everything here wants the interpreter
 * lock, runs no code of the program's, and leaves no exception set unless it says so. */
#ifndef MEMWATCH_PYTHON_NODE_H
#define MEMWATCH_PYTHON_NODE_H
#include "places/cell.h"
#include "places/layout.h"
#include "places/slab.h"

typedef struct mwpy_node mwpy_node;

/* Which places a watch is of. Strong references, or NULL: no such choice. */
typedef struct mwpy_choice {
    PyObject *fields, *skip; /* frozenset of str: keys of the object itself */
    PyObject *pattern;       /* bytes, as glob.h has it, several with a 0 between them: of the object itself, only the
                                names that one is of */
    PyObject *module;        /* str: classes that this module has defined are followed, and their `skip` left out */
    bool quiet; /* that a function, a class or a module gets its first name isn't told, only what takes its place */
} mwpy_choice;

/* One call of watch(). */
typedef struct mwpy_root {
    mwpy_cells cells;
    mwpy_node *top;     /* of the object itself; NULL: it has ended */
    mwpy_node *nodes;   /* all of them */
    bool kept;          /* only who asked for it ends it, not the program */
    size_t count, most; /* nodes */
    int depth;          /* levels below the object that are followed */
    mwpy_choice choice;
    size_t ended;                /* nodes, so far */
    size_t absent;               /* cells of keys that are gone and may come again */
    size_t refused;              /* objects that weren't followed: `most` was reached, or there was no memory */
    struct mwpy_left_rows *left; /* what isn't followed; NULL: nothing */
    PyObject *info;              /* what variable() returns; strong */
    char *called;                /* its name, UTF-8 */
    size_t called_n;
    struct mwpy_route *route; /* where the object is found by its names; NULL: it was given */
    struct mwpy_root *next, **link;
} mwpy_root;

/* Where a node is found: as the value of a key of another one. */
typedef struct mwpy_spot {
    mwpy_node *parent, *child;
    PyObject *key;                  /* strong, plain: what is under another key isn't followed; of a list: the address
                                       of the item */
    size_t times;                   /* of a list: how often it holds the item */
    bool uncounted;                 /* it is a list, and `times` isn't known yet */
    bool other;                     /* there was another one, or the child is watched itself, when this one came */
    struct mwpy_spot *next, **link; /* of the child's spots; link: what points to it */
} mwpy_spot;

enum { MWPY_RECENT = 4 };

struct mwpy_node {
    PyObject *place;          /* strong, plain: the key that is watched alone; NULL: all are */
    int step;                 /* of the route of its watch, from 1; 0: it is no part of it */
    unsigned number;          /* of an instance whose class's attribute is watched; 0: it is none */
    PyObject *dict;           /* NULL: there is none */
    PyObject *owner;          /* whose attributes they are; NULL: it is a dict of its own, or has outlived its owner */
    mwpy_layout *layout;      /* of the owner's class, whose end is told; NULL: it isn't, and there are no slots */
    struct mwpy_items *items; /* of the owner, which is a list; NULL: it is none */
    struct mwpy_items *indexed;   /* of the list of which its place is one item; NULL: it is none of a list's */
    mwpy_node *next_indexed;      /* of those of the same list */
    const PyObject *item;         /* what lay at the end of a route when it was last looked at; it may be gone */
    struct mwpy_members *members; /* of the owner, which is a set; NULL: it is none */
    struct mwpy_entries *entries; /* of a node that is none: see dict_entries.c */
    mwpy_cell_number *slots;      /* the cell of each of layout->slots; MWPY_NO_CELL: it isn't watched */
    bool attributes;              /* its keys are attributes */
    mwpy_root *root;
    mwpy_node *before, *after; /* in root->nodes */
    mwpy_node *next_dying;     /* of those that are about to end, or have lost their way */
    bool dying, lost;
    mwpy_node *next_way, **way; /* of those to which as short a way is known; way: what points to it; NULL: none is */
    mwpy_spot *spots;           /* where it is found; the first one names it */
    PyObject *links; /* dict: key -> address of the spot of what is followed there; NULL: there was none yet */
    int level;       /* steps of the shortest way to it: one more than its first spot's parent has */
    int classes;     /* how many of these lead to a class: they don't count as depth */
    PyObject *cells; /* dict: plain key of `dict` -> number of its cell */
    struct mwpy_recent {
        PyObject *key; /* strong, a str; NULL: none */
        mwpy_cell_number number;
    } recent[MWPY_RECENT];   /* of `cells`, those last asked for */
    PyObject *odd;           /* dict: address of any other key -> number of its cell; NULL: there was none */
    size_t audit;            /* the last one of all nodes that looked at it */
    bool suspect;            /* it may hold what its cells don't say: a key came that can't be compared */
    bool secret;             /* what it holds is: node_secrets.h */
    mwpy_node *next_turning; /* of those that become secrets */
    bool strange; /* of a node with a place: there are keys in the dict that may be compared by code of their own */
};

/* The node of a dict, or of the owner of one, that is watched as a whole; NULL: it isn't. */
mwpy_node *mwpy_node_of(PyObject *dict_or_owner);
/* Its nodes of either kind, one after the other: the first for NULL. */
mwpy_node *mwpy_node_behind(PyObject *dict_or_owner, const mwpy_node *node);
/* Whose places a node's keys are: an object, a class, a module, or a dict by itself. */
PyObject *mwpy_node_whose(const mwpy_node *node);

/* Watches an object, and what it holds; or only what lies under `place`, as mwpy_node.place. NULL with an exception. */
mwpy_root *mwpy_root_open(PyObject *object, PyObject *name, PyObject *metadata, uint32_t flags, int depth, size_t most,
                          const mwpy_choice *choice, PyObject *place);
/* Ends the watch of an object, or what is left of one whose object is gone. */
void mwpy_root_close(mwpy_root *root);
/* The object's own dict is gone, or the object, if it has none. */
void mwpy_node_died(mwpy_node *node);
/* The owner is gone, and its slots with it; its dict is still there. */
void mwpy_node_leaves_owner(mwpy_node *node);
extern mwpy_root *mwpy_roots;

/* The value of a key changes to `now` (NULL: the key goes). added: the dict has no such key yet. */
void mwpy_node_change(mwpy_node *node, PyObject *key, PyObject *now, bool added);
/* All keys go. */
void mwpy_node_clear(mwpy_node *node);
/* Compares what dict and slots hold with the cells, and makes up for what was changed unseen. Returns how much that
 * was. */
size_t mwpy_node_audit(mwpy_node *node);
/* A watch is of the names of another pattern, too, or of all (NULL), and of a module's classes: what is there by now is
 * recorded, and isn't told. 0, or -1 with an exception. */
int mwpy_root_widen(mwpy_root *root, PyObject *pattern, PyObject *module);
/* The same for all nodes of a watch. */
size_t mwpy_root_audit(mwpy_root *root);
/* The owner has another dict now, of which the node becomes. `why`: MW_SHADOW_NOW, the program has just put it there.
 */
void mwpy_node_move(mwpy_node *node, PyObject *dict, mw_shadow why);

/* ---- used by both halves of a node: node.c, the dict, and node_slots.c, the slots ---- */

/* ---- node_names.c ---- */

/* The path of a key (NULL: of the node itself), or its end where it is too long. Returns how many bytes. */
enum { MWPY_PATH = 2048, MWPY_KEY_TEXT = 256, MWPY_CALLED = 4 * 1024 };
size_t mwpy_node_path(const mwpy_node *node, PyObject *key, char out[MWPY_PATH]);
/* What is announced next is in this place, of which conditions may want the path. key NULL: that of a list as a whole,
 * or of the member of a set that a cell says. Until mw_set_subject(NULL, 0). */
void mwpy_node_is_subject(const mwpy_node *node, PyObject *key, const mwpy_cell *says, mwpy_cell_number number);
/* How a key is written behind its node; and one of its links, which of a list is the address of an item. */
size_t mwpy_node_key_text(const mwpy_node *node, PyObject *key, char out[MWPY_KEY_TEXT]);
size_t mwpy_node_link_text(const mwpy_node *node, PyObject *key, char out[MWPY_KEY_TEXT]);
/* Records all names of a cell's place, as far as the journal doesn't know them. text: how it is written behind its
 * node. */
void mwpy_node_tell(mwpy_node *node, mwpy_cell_number number, const char *text, size_t n);
/* Whether one of a place's names, that of its variable and the path behind it, is one that is looked for; true too if
 * it has more names than are looked at, or a longer one. */
bool mwpy_node_is_called(const mwpy_node *node, const char *text, size_t n, bool (*is)(const char *name, size_t n));
static inline bool mwpy_node_is_top(const mwpy_node *node) { return node->root->top == node; }

/* ---- node_left.c ---- */

/* Something that a node holds isn't followed: counted, and recorded when that has doubled. */
void mwpy_node_leaves(mwpy_node *node, PyObject *key, PyObject *value, enum mwpy_why_left why);
/* The same of a value that can't be followed, if that is because of what it is. level: its own. */
void mwpy_node_leaves_kind(mwpy_node *node, PyObject *key, PyObject *value, int level);
/* The same of a member of a set, if it would be followed elsewhere. */
void mwpy_node_leaves_member(mwpy_node *node, PyObject *member);
/* The name that a watch is of was never there. near: a name that is like it, in UTF-8, or nothing. */
void mwpy_root_is_unmet(mwpy_root *root, const char *near, size_t n);
/* Records the counts as they are now, and forgets them. */
void mwpy_root_tells_left(mwpy_root *root);
/* Nothing is counted: what is held is compared. */
extern bool mwpy_left_known;
/* Whether a value is followed at a level, that of its node less the classes on the way, if there is room. */
bool mwpy_is_followed(const mwpy_root *root, PyObject *value, int level);
/* The same of one that is followed. */
bool mwpy_is_near(const mwpy_node *node, const mwpy_root *root, int level);

/* ---- node.c ---- */

bool mwpy_node_wants(const mwpy_node *node, PyObject *key);
/* A watch without nodes, or NULL with an exception. cells: how many it will need, as far as is known. */
mwpy_root *mwpy_root_make(PyObject *name, PyObject *metadata, uint32_t flags, int depth, size_t most,
                          const mwpy_choice *choice, size_t cells);
/* A node of nothing as yet; NULL: no memory. */
mwpy_node *mwpy_node_make(mwpy_root *root, PyObject *place);
/* It ends, with what only it leads to. alive: dict and owner are still there. */
void mwpy_node_end(mwpy_node *node, bool alive);
/* A cell for a key; MWPY_NO_CELL: no memory. */
mwpy_cell_number mwpy_node_take_cell(mwpy_node *node, PyObject *key);
/* It isn't the node of a dict any more. alive: the dict is still there. */
void mwpy_node_leave_dict(mwpy_node *node, bool alive);
/* What a key is about to hold, or has: it is written to its cell, and followed. */
void mwpy_node_holds(mwpy_node *node, PyObject *key, mwpy_cell_number number, PyObject *now, mw_shadow why);
void mwpy_node_write(mwpy_node *node, PyObject *key, mwpy_cell_number number, mwpy_cell *now, mw_shadow why);
/* false: no value of its type is ever followed. What is most often stored isn't looked up. */
static inline bool mwpy_may_be_followed(PyObject *value) {
    const PyTypeObject *type = Py_TYPE(value);
    return type != &PyLong_Type && type != &PyUnicode_Type && type != &PyFloat_Type && value != Py_None;
}
/* Watches the value of a key as well, if the depth says so, in place of what was found there. NULL: there is none. */
void mwpy_node_follow(mwpy_node *parent, PyObject *key, PyObject *value);
/* What lies under a key isn't found there any more. */
void mwpy_node_lose(mwpy_node *parent, PyObject *key);
/* What a place holds must be what its cell says. If not, it was changed unseen: `found` is what it holds, to be written
 * as `why` says, which becomes MW_SHADOW_SILENT of a container that is followed itself: its own events say what became
 * of it. */
bool mwpy_node_agrees(mwpy_node *node, PyObject *key, mwpy_cell_number number, PyObject *held, mwpy_cell *found,
                      mw_shadow *why);

/* Slots. 0, or -1: there is no memory, or the end of such an owner isn't told. */
int mwpy_slots_open(mwpy_node *node);
void mwpy_slots_fill(mwpy_node *node);
size_t mwpy_slots_compare(mwpy_node *node, mw_shadow why);
/* Nothing of them is watched any more. The layout is the caller's to give back: last of all. */
mwpy_layout *mwpy_slots_close(mwpy_node *node);

/* What is reported of slots: see reports.h. */
void mwpy_slot_changes(PyObject *object, Py_ssize_t offset, PyObject *now);
void mwpy_object_ends(PyObject *object);
void mwpy_class_changed(PyObject *object);
#endif
