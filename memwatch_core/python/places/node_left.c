/* node_left.c - what nodes hold and don't follow: counted by why, and by type where that is why. */
#include <string.h>

#include "places/attributes.h"
#include "places/known_types.h"
#include "places/node.h"
#include "places/slab.h"
#include "places/value.h"
#include "places/words.h"

enum { KINDS_MOST = 12, ITEMS_LOOKED_AT = 16, TUPLES_LOOKED_INTO = 2 };
enum { ROWS = KINDS_MOST + 1 + MWPY_LEFT_MEMORY };

static_assert(offsetof(struct mwpy_left, unused) + sizeof(uint16_t) == MWPY_LEFT_HEAD, "as the journal has it");

struct row {
    struct mwpy_left head;
    uint64_t told;
    char type[64];
};
struct mwpy_left_rows {
    uint64_t stamp; /* of the journal that has the counts */
    size_t n, kinds;
    struct row row[ROWS];
};

bool mwpy_left_known;

static void say(mwpy_root *root, struct row *row, const char *path, size_t n) {
    static char what[MWPY_LEFT_HEAD + sizeof row->type + MWPY_PATH + MWPY_KEY_TEXT];
    size_t at = MWPY_LEFT_HEAD + row->head.type;
    memcpy(what, &row->head, MWPY_LEFT_HEAD);
    memcpy(what + MWPY_LEFT_HEAD, row->type, row->head.type);
    memcpy(what + at, path, n);
    if (!mw_not_followed_record(root->cells.slab[0].id, what, at + n)) row->told = row->head.count;
}

static struct row *find(struct mwpy_left_rows *left, enum mwpy_why_left why, const mwpy_words *type) {
    for (size_t i = 0; i < left->n; i++) {
        struct row *row = &left->row[i];
        if (row->head.why == why && row->head.type == type->n && !memcmp(row->type, type->at, type->n)) return row;
    }
    return NULL;
}

/* The row of a reason; beyond some types, one for all others. NULL: no memory. */
static struct row *row_of(mwpy_root *root, PyObject *value, enum mwpy_why_left why) {
    mwpy_words type = mwpy_no_words(sizeof((struct row *)0)->type);
    if (why == MWPY_LEFT_KIND) mwpy_say_type_name(&type, Py_TYPE(value));
    struct mwpy_left_rows *left = root->left;
    if (!left && !(left = root->left = PyMem_RawCalloc(1, sizeof *left))) return NULL;
    if (!left->n) left->stamp = mw_journal_stamp();
    struct row *found = find(left, why, &type);
    if (!found && left->kinds == KINDS_MOST && type.n) {
        type.n = 0;
        found = find(left, why, &type);
    }
    if (found) return found;
    struct row *made = &left->row[left->n++];
    made->head = (struct mwpy_left){.why = (uint8_t)why, .type = (uint8_t)type.n};
    memcpy(made->type, type.at, type.n);
    left->kinds += type.n != 0;
    return made;
}

/* One more; whether that is told. */
static struct row *count(mwpy_node *node, PyObject *value, enum mwpy_why_left why) {
    struct row *row = mwpy_left_known ? NULL : row_of(node->root, value, why);
    if (!row) return NULL;
    uint64_t n = ++row->head.count;
    return n & (n - 1) ? NULL : row;
}

void mwpy_node_leaves(mwpy_node *node, PyObject *key, PyObject *value, enum mwpy_why_left why) {
    struct row *row = count(node, value, why);
    if (!row) return;
    static char path[MWPY_PATH + MWPY_KEY_TEXT];
    size_t n = mwpy_node_path(node, NULL, path);
    say(node->root, row, path, n + mwpy_node_link_text(node, key, path + n));
}

void mwpy_root_is_unmet(mwpy_root *root, const char *near, size_t n) {
    struct row row = {.head = {.count = 1, .why = MWPY_LEFT_UNMET}};
    if (n <= sizeof row.type) {
        row.head.type = (uint8_t)n;
        memcpy(row.type, near, n);
    }
    say(root, &row, "", 0);
}

void mwpy_root_tells_left(mwpy_root *root) {
    uint64_t stamp = mw_journal_stamp();
    for (size_t i = 0; root->left && i < root->left->n; i++) {
        struct row *row = &root->left->row[i];
        if (row->told != row->head.count || root->left->stamp != stamp) say(root, row, "", 0);
    }
    if (root->left) root->left->stamp = stamp;
}

/* ---- what can't be followed -------------------------------------------------------------------------------------- */

/* A program changes what is in it, or attributes of it, and nobody tells: a deque, an array, an exception, an object
 * whose class keeps something in memory of C. Not what is called, goes through something, or is a value. */
static bool is_unseen(const mwpy_root *root, PyObject *value, int level) {
    const PyTypeObject *type = Py_TYPE(value);
    const char *why;
    if (type->tp_call || PyIter_Check(value) || type->tp_descr_get || PyType_Check(value) || PyModule_Check(value))
        return false;
    bool items = (type->tp_as_sequence && type->tp_as_sequence->sq_ass_item) ||
                 (type->tp_as_mapping && type->tp_as_mapping->mp_ass_subscript);
    if (level > root->depth || (level == root->depth && !items)) return false;
    if (!items && !mwpy_has_dict(value) && !mwpy_has_slots(value)) return false;
    return !mwpy_has_attributes(value, &why) && !mwpy_is_declared(value);
}

static bool holds_left(const mwpy_root *root, PyObject *tuple, int level, int deep);

static bool is_left(const mwpy_root *root, PyObject *value, int level, int deep) {
    if (!mwpy_may_be_followed(value)) return false;
    if (PyTuple_Check(value) && deep && holds_left(root, value, level + 1, deep - 1)) return true;
    return mwpy_is_followed(root, value, level) || is_unseen(root, value, level);
}

/* A tuple stays what it is, but what it holds needn't: as far as it is looked into. level: of its items. */
static bool holds_left(const mwpy_root *root, PyObject *tuple, int level, int deep) {
    Py_ssize_t n = PyTuple_GET_SIZE(tuple);
    for (Py_ssize_t i = 0; i < n && i < ITEMS_LOOKED_AT; i++)
        if (is_left(root, PyTuple_GET_ITEM(tuple, i), level, deep)) return true;
    return false;
}

void mwpy_node_leaves_kind(mwpy_node *node, PyObject *key, PyObject *value, int level) {
    const mwpy_root *root = node->root; /* level: less the classes on the way */
    if (mwpy_left_known || PyDict_Check(value) || PyList_Check(value) || PySet_Check(value)) return;
    if (PyTuple_Check(value) ? holds_left(root, value, level + 1, TUPLES_LOOKED_INTO) : is_unseen(root, value, level))
        mwpy_node_leaves(node, key, value, MWPY_LEFT_KIND);
}

void mwpy_node_leaves_member(mwpy_node *node, PyObject *member) {
    if (!is_left(node->root, member, node->level + 1 - node->classes, TUPLES_LOOKED_INTO)) return;
    struct row *row = count(node, member, MWPY_LEFT_MEMBER);
    if (!row) return;
    static char path[MWPY_PATH];
    say(node->root, row, path, mwpy_node_path(node, NULL, path));
}
