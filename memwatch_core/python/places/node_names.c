/* node_names.c - how the places of a node are called: by the path that the first of its spots says, and by those that
 * lead there otherwise. */
#include <stdio.h>
#include <string.h>

#include "places/cell.h"
#include "places/node.h"
#include "places/node_items.h"
#include "places/slab.h"

enum { CHAIN_MOST = 1000 };

/* Whether an entry of an object's dict isn't what its attribute of this name is: a slot is. */
static bool is_hidden(const mwpy_node *node, PyObject *key) {
    size_t slots = node->layout && PyUnicode_CheckExact(key) ? node->layout->count : 0;
    for (size_t i = 0; i < slots; i++)
        if (node->layout->slots[i].name && !PyUnicode_Compare(node->layout->slots[i].name, key)) return true;
    return false;
}

/* Of a place the variable's name says it. */
size_t mwpy_node_key_text(const mwpy_node *node, PyObject *key, char out[MWPY_KEY_TEXT]) {
    static const char dict[] = ".__dict__";
    if (node->place) return 0;
    if (!is_hidden(node, key)) return mwpy_key_text(out, MWPY_KEY_TEXT, key, node->attributes);
    memcpy(out, dict, sizeof dict - 1);
    return sizeof dict - 1 + mwpy_key_text(out + sizeof dict - 1, MWPY_KEY_TEXT - (sizeof dict - 1), key, false);
}

/* The same of what a node's links have: the address of an item of a list. index: which; -1: its first. */
static size_t link_text(const mwpy_node *node, PyObject *key, Py_ssize_t index, char out[MWPY_KEY_TEXT]) {
    if (!node->items || node->place) return mwpy_node_key_text(node, key, out);
    if (index < 0) index = mwpy_items_index(node, PyLong_AsVoidPtr(key), 0);
    int n = snprintf(out, MWPY_KEY_TEXT, "[%zd]", index);
    return n < 0 ? 0 : (size_t)n;
}

size_t mwpy_node_link_text(const mwpy_node *node, PyObject *key, char out[MWPY_KEY_TEXT]) {
    return link_text(node, key, -1, out);
}

/* An instance whose class is watched: "#7". */
static size_t number_text(const mwpy_node *node, char out[MWPY_KEY_TEXT]) {
    int n = node->number ? snprintf(out, MWPY_KEY_TEXT, "#%u", node->number) : 0;
    return n < 0 ? 0 : (size_t)n;
}

size_t mwpy_node_path(const mwpy_node *node, PyObject *key, char out[MWPY_PATH]) {
    size_t start = MWPY_PATH;
    char text[MWPY_KEY_TEXT];
    size_t n = key ? mwpy_node_key_text(node, key, text) : 0;
    for (int i = 0; i < CHAIN_MOST && n <= start; i++) {
        start -= n;
        memcpy(out + start, text, n);
        const mwpy_spot *spot = mwpy_node_is_top(node) ? NULL : node->spots;
        if (!spot) {
            n = number_text(node, text);
            if (n > start) break;
            start -= n;
            memcpy(out + start, text, n);
            break;
        }
        n = link_text(spot->parent, spot->key, -1, text);
        node = spot->parent;
    }
    memmove(out, out + start, MWPY_PATH - start);
    return MWPY_PATH - start;
}

/* ---- other names -------------------------------------------------------------------------------------------------
 *
 * Looked for from the node upwards, the shortest first; none goes by the same spot twice, so that those of a cycle are
 * few. Interpreter lock held: all of it is memory of one thread at a time, and none of a signal handler's stack. */

enum { NAMES_MOST = 8, STEPS_MOST = 64 };

static struct step {
    const mwpy_node *node; /* where it leads to */
    const mwpy_spot *spot; /* by which; NULL: it is the node itself */
    Py_ssize_t index;      /* of a list's item; -1: the first */
    unsigned below;        /* the step before */
    bool first;            /* it leads on as what names the node does */
} steps[STEPS_MOST];

static struct names {
    uint32_t more; /* as docs/journal-format.md has it: there are more than follow */
    char at[MW_ALIASES_MAX - sizeof(uint32_t)];
} names;
static size_t names_n, count;

/* Whether anything on the way up from a node is found twice. */
static bool has_others(const mwpy_node *node) {
    for (int i = 0; i < CHAIN_MOST && mwpy_aliases.links; i++) {
        if (mwpy_node_is_top(node)) return node->spots;
        if (!node->spots) return false;
        if (node->spots->next || node->spots->times > 1) return true;
        node = node->spots->parent;
    }
    return mwpy_aliases.links;
}

static bool is_gone_by(unsigned step, const mwpy_spot *spot) {
    for (; steps[step].spot; step = steps[step].below)
        if (steps[step].spot == spot) return true;
    return false;
}

/* The name that the way up to a watched object is; false: there is no room for it. */
static bool put_name(unsigned step, const char *text, size_t n) {
    const uint32_t id = steps[step].node->root->cells.slab[0].id;
    size_t start = names_n + sizeof id + sizeof(uint16_t), end = start;
    if (count == NAMES_MOST || start > sizeof names.at) return false;
    char number[MWPY_KEY_TEXT];
    size_t more = number_text(steps[step].node, number);
    if (more > sizeof names.at - end) return false;
    memcpy(names.at + end, number, more);
    end += more;
    for (; steps[step].spot; step = steps[step].below) {
        char key[MWPY_KEY_TEXT];
        more = link_text(steps[step].node, steps[step].spot->key, steps[step].index, key);
        if (more > sizeof names.at - end) return false;
        memcpy(names.at + end, key, more);
        end += more;
    }
    if (n > sizeof names.at - end) return false;
    memcpy(names.at + end, text, n);
    uint16_t length = (uint16_t)(end + n - start);
    memcpy(names.at + names_n, &id, sizeof id);
    memcpy(names.at + names_n + sizeof id, &length, sizeof length);
    names_n = end + n;
    count++;
    return true;
}

/* The way up by a spot; of an item that a list holds several times, one for each. Returns how many steps there are. */
static unsigned step_up(unsigned from, unsigned n, const mwpy_spot *spot, bool first) {
    Py_ssize_t index = -1;
    for (size_t i = 0; i < (spot->times > 1 ? spot->times : 1); i++) {
        if (spot->times > 1) index = mwpy_items_index(spot->parent, PyLong_AsVoidPtr(spot->key), index + 1);
        if (i && index < 0) break;
        if (n == STEPS_MOST) {
            names.more = 1;
            break;
        }
        steps[n++] = (struct step){spot->parent, spot, index, from, first && !i};
    }
    return n;
}

static void collect(const mwpy_node *node, const char *text, size_t length) {
    names.more = 0;
    names_n = count = 0;
    steps[0] = (struct step){node, NULL, -1, 0, true};
    for (unsigned i = 0, n = 1; i < n; i++) {
        const mwpy_node *at = steps[i].node;
        bool top = mwpy_node_is_top(at) || at->number, first = steps[i].first;
        if (top && !first && !put_name(i, text, length)) {
            names.more = 1;
            return;
        }
        for (const mwpy_spot *spot = at->spots; spot; spot = spot->next)
            if (!is_gone_by(i, spot)) n = step_up(i, n, spot, first && !top && spot == at->spots);
    }
}

static bool is_called(const mwpy_root *root, const char *path, size_t n, bool (*is)(const char *, size_t)) {
    static char name[MWPY_CALLED + MW_ALIASES_MAX];
    memcpy(name, root->called, root->called_n);
    memcpy(name + root->called_n, path, n);
    return is(name, root->called_n + n);
}

/* ---- for conditions ---- */

static struct {
    const mwpy_node *node;
    PyObject *key;         /* NULL: the place of a list as a whole, or */
    const mwpy_cell *says; /* that of a member of a set */
} subject;

static const char *subject_path(size_t *length) {
    static char name[MWPY_CALLED + MWPY_PATH + MWPY_KEY_TEXT];
    char text[MWPY_KEY_TEXT];
    const mwpy_node *node = subject.node;
    size_t start = node->root->called_n;
    size_t n = subject.says  ? mwpy_member_text(text, sizeof text, subject.says)
               : subject.key ? mwpy_node_key_text(node, subject.key, text)
                             : 0;
    memcpy(name, node->root->called, start);
    start += mwpy_node_path(node, NULL, name + start);
    memcpy(name + start, text, n);
    *length = start + n;
    return name;
}

void mwpy_node_is_subject(const mwpy_node *node, PyObject *key, const mwpy_cell *says, mwpy_cell_number number) {
    subject.node = node;
    subject.key = key;
    subject.says = says;
    mw_set_subject_by(subject_path, mwpy_cell_path(&node->root->cells, number));
}

/* ---- whether a pattern names it ---- */

bool mwpy_node_is_called(const mwpy_node *node, const char *text, size_t n, bool (*is)(const char *, size_t)) {
    static char path[MWPY_PATH + MWPY_KEY_TEXT];
    size_t start = mwpy_node_path(node, NULL, path);
    if (start > MWPY_PATH - MWPY_KEY_TEXT) return true; /* it may be the end of a longer one */
    memcpy(path + start, text, n);
    if (is_called(node->root, path, start + n, is)) return true;
    if (!has_others(node)) return false;
    collect(node, text, n);
    for (size_t at = 0, i = 0; i < count; i++) {
        uint32_t id;
        uint16_t length;
        memcpy(&id, names.at + at, sizeof id);
        memcpy(&length, names.at + at + sizeof id, sizeof length);
        at += sizeof id + sizeof length;
        const mwpy_root *root = mwpy_roots;
        while (root && root->cells.slab[0].id != id) root = root->next;
        if (root && is_called(root, names.at + at, length, is)) return true;
        at += length;
    }
    return names.more;
}

void mwpy_node_tell(mwpy_node *node, mwpy_cell_number number, const char *text, size_t n) {
    mwpy_cells *cells = &node->root->cells;
    if (!mwpy_cell_has_path(cells, number)) {
        char path[MWPY_PATH + MWPY_KEY_TEXT];
        size_t start = mwpy_node_path(node, NULL, path);
        memcpy(path + start, text, n);
        mwpy_cell_tell(cells, number, path, start + n);
        if (!mwpy_cell_has_path(cells, number)) return;
    }
    bool others = has_others(node);
    if (others) collect(node, text, n);
    others = others && (count || names.more);
    mwpy_cell_tell_aliases(cells, number, (const char *)&names, others ? sizeof names.more + names_n : 0);
}
