/* node_items.c - see node_items.h.
 *
 * A list keeps its items in guarded memory, so each store to it is told, whoever makes it (mwpy_list_stored). It has
 * no cell for each item: a few that are given to whichever items change. What the value was before is read from the
 * item itself, which lives as long as it is being replaced. What list methods do to many items at once is told when
 * it is done, as what it means (list_methods.c).
 *
 * That a list only becomes shorter is no store. But its memory is so much larger than it need be that its own code
 * always asks for less then (listobject.c, list_resize): mwpy_list_resized. */
#define Py_BUILD_CORE_MODULE 1
#include "places/node_items.h"

#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "interpreter.h"
#include "origins/frames.h"
#include "places/cell.h"
#include "places/list_methods.h"
#include "places/node.h"
#include "places/node_route.h"
#include "places/node_secrets.h"
#include "places/node_spots.h"
#include "places/slab.h"
#include "places/storage.h"

enum { RECENT = 16, ROOM_FIRST = 8, LAST = 8 };

/* Items that a list has room for, at least: CPython 3.14 and later don't ask for less memory where it is for 32 of them
 * or fewer. */
enum { ROOM_LEAST = PY_VERSION_HEX >= 0x030E0000 ? 40 : 8 };

typedef struct recent {
    mwpy_cell_number cell;
    Py_ssize_t index;
    uint64_t moves;
} recent;

typedef struct mwpy_items {
    PyListObject *list;
    mwpy_node *places; /* of each one item is the place; the first is told of the list, if nobody watches the whole */
    mwpy_storage storage;
    PyObject **seen; /* the items as last told; the objects may be gone, but where they are `held` or being replaced */
    Py_ssize_t n, room;
    uint64_t changes, moves; /* moves: how often indexes have become those of other items */
    unsigned quiet, held;    /* turns under way */
    bool astray;             /* it was stored to while its own code had the items in hand */
    recent *recent;          /* RECENT of them; NULL: no item has changed yet */
    mwpy_cell_number whole;  /* of the list as one value */
} mwpy_items;

/* A list that asked for less memory, and shall be told as soon as it has become shorter: what it held at its end, and
 * who asked. NULL: none has. */
static struct shrink {
    mwpy_node *node;
    const PyThreadState *thread;
    uint32_t site;
    Py_ssize_t first, end;
    mwpy_cell was[LAST];
} shrink;

static PyListObject *list_of(const mwpy_node *node) { return node->items->list; }
static PyObject **watched(const mwpy_items *items) { return (PyObject **)items->storage.at; }
static PyObject **view(const mwpy_items *items) { return (PyObject **)items->storage.view; }
static Py_ssize_t capacity(const mwpy_items *items) { return (Py_ssize_t)(items->storage.size / sizeof(PyObject *)); }

/* Its own code has the items in hand: list.sort(). */
static bool is_away(const mwpy_node *node) {
    PyObject **now = list_of(node)->ob_item;
    return now != watched(node->items) && now != view(node->items);
}

/* A list that holds less than half of what it has room for, as it thinks, asks for less memory when it becomes
 * shorter; one that thinks it is full asks for more before it becomes longer. */
static void say_room(mwpy_node *node) {
    PyListObject *list = list_of(node);
    Py_ssize_t all = capacity(node->items);
    if (!is_away(node)) list->allocated = 2 * (Py_SIZE(list) + 1) < all ? all : Py_SIZE(list);
}

/* ---- what an item is --------------------------------------------------------------------------------------------- */

static PyObject *address_key(const void *item) { return PyLong_FromVoidPtr((void *)item); }

/* Another index may be the first one. */
void mwpy_spot_counts(mwpy_spot *spot, size_t times) {
    size_t before = spot->times > 1 && !spot->uncounted ? spot->times : 1, now = times > 1 ? times : 1;
    spot->times = times;
    spot->uncounted = false;
    if (before == now) return;
    mwpy_aliases_change((ptrdiff_t)now - (ptrdiff_t)before);
    mwpy_cells_rename(&spot->child->root->cells);
}

static void gain(mwpy_node *node, PyObject *item) {
    PyObject *key = item && !node->indexed && mwpy_may_be_followed(item) ? address_key(item) : NULL;
    if (key) {
        mwpy_spot *spot = mwpy_node_spot(node, key);
        if (!spot) mwpy_node_follow(node, key, item);
        if (spot || (spot = mwpy_node_spot(node, key))) mwpy_spot_counts(spot, spot->times + 1);
        Py_DECREF(key);
    }
    PyErr_Clear();
}

/* The item may be gone: it is only an address. */
static void let_go(mwpy_node *node, const PyObject *item) {
    PyObject *key = item && node->links && !node->indexed ? address_key(item) : NULL;
    mwpy_spot *spot = key ? mwpy_node_spot(node, key) : NULL;
    if (spot && spot->times > 1)
        mwpy_spot_counts(spot, spot->times - 1);
    else if (spot)
        mwpy_node_lose(node, key);
    Py_XDECREF(key);
    PyErr_Clear();
}

Py_ssize_t mwpy_items_index(const mwpy_node *node, const void *item, Py_ssize_t from) {
    for (Py_ssize_t i = from; i < node->items->n; i++)
        if (node->items->seen[i] == item) return i;
    return -1;
}

/* Items have other indexes now, and what is found in them other paths. */
static void rename_items(mwpy_node *node) {
    node->items->moves++;
    if (!node->indexed && node->links && PyDict_GET_SIZE(node->links)) mwpy_cells_rename(&node->root->cells);
}

/* ---- cells ------------------------------------------------------------------------------------------------------- */

static void describe_unknown(mwpy_cell *cell) {
    static const char text[] = "<unknown>";
    *cell = (mwpy_cell){.kind = MWPY_SHOWN, .used = sizeof text - 1};
    memcpy(cell->payload, text, sizeof text - 1);
}

static void describe_before(mwpy_cell *cell, const mwpy_node *node, Py_ssize_t index, PyObject *before, bool alive) {
    if (alive || !before)
        mwpy_cell_describe(cell, before);
    else if (shrink.node == node && index >= shrink.first && index < shrink.end)
        *cell = shrink.was[index - shrink.first];
    else
        describe_unknown(cell);
}

/* One of the few that this index may have; NULL: no memory. */
static recent *recent_of(mwpy_node *node, Py_ssize_t index) {
    mwpy_items *items = node->items;
    if (!items->recent) {
        items->recent = PyMem_RawMalloc(RECENT * sizeof *items->recent);
        for (size_t i = 0; items->recent && i < RECENT; i++) items->recent[i].cell = MWPY_NO_CELL;
    }
    recent *found = items->recent ? &items->recent[index % RECENT] : NULL;
    if (found && found->cell == MWPY_NO_CELL) {
        found->cell = mwpy_cell_take(&node->root->cells);
        found->index = -1;
    }
    return found && found->cell != MWPY_NO_CELL ? found : NULL;
}

static void hide(mwpy_node *node, Py_ssize_t index, mwpy_cell_number number, mwpy_cell *cell) {
    char text[32];
    if (likely(!mwpy_secrets.on)) return;
    int n = snprintf(text, sizeof text, "[%zd]", index);
    mwpy_node_hide_called(node, text, (size_t)n, number, cell);
}

void mwpy_items_hide(mwpy_node *node, void (*hide_held)(mwpy_node *node, mwpy_cell_number number)) {
    mwpy_items *items = node->items;
    for (size_t i = 0; items->recent && i < RECENT; i++) hide_held(node, items->recent[i].cell);
    hide_held(node, items->whole);
}

/* A cell that says what was recorded of an item: the one that it has had, or one that is told so now. */
static mwpy_cell_number cell_of(mwpy_node *node, Py_ssize_t index, PyObject *before, bool alive) {
    mwpy_cells *cells = &node->root->cells;
    recent *given = recent_of(node, index);
    if (!given) return MWPY_NO_CELL;
    if (given->index == index && given->moves == node->items->moves) return given->cell;
    given->index = index;
    given->moves = node->items->moves;
    mwpy_cell was;
    describe_before(&was, node, index, before, alive);
    mwpy_cell_untell(cells, given->cell);
    hide(node, index, given->cell, &was);
    mwpy_cell_write(cells, given->cell, &was, MW_SHADOW_SILENT, 0);
    return given->cell;
}

/* NULL: there was, or is, no such item. alive: what it was can still be read. */
static void tell(mwpy_node *node, Py_ssize_t index, PyObject *before, PyObject *now, mw_shadow why, bool alive) {
    node->items->changes++;
    if (node->indexed) return; /* nobody watches the whole */
    mwpy_cell_number number = cell_of(node, index, before, alive);
    PyObject *key = number != MWPY_NO_CELL ? PyLong_FromSsize_t(index) : NULL;
    if (key) {
        mwpy_cell cell;
        mwpy_cell_describe(&cell, now);
        mwpy_node_write(node, key, number, &cell, why);
        Py_DECREF(key);
    }
    PyErr_Clear();
}

/* Room for what the list holds now. false: no memory. */
static bool make_room(mwpy_items *items, Py_ssize_t n) {
    if (n <= items->room) return true;
    Py_ssize_t room = n + n / 8 + ROOM_FIRST;
    PyObject **grown = PyMem_RawRealloc(items->seen, (size_t)room * sizeof *grown);
    if (!grown) return false;
    items->seen = grown;
    items->room = room;
    return true;
}

static void set(mwpy_node *node, Py_ssize_t index, PyObject *now, mw_shadow why, bool alive) {
    PyObject *before = node->items->seen[index];
    if (before == now) return;
    tell(node, index, before, now, why, alive);
    node->items->seen[index] = now;
    gain(node, now); /* before the other is let go: it may be the same object's container */
    let_go(node, before);
}

/* ---- comparing --------------------------------------------------------------------------------------------------- */

/* from: all before it is as it was. */
static size_t compare(mwpy_node *node, Py_ssize_t from, mw_shadow why, bool alive) {
    mwpy_items *items = node->items;
    PyObject **now = list_of(node)->ob_item;
    Py_ssize_t n = Py_SIZE(list_of(node)), before_n = items->n, to = n < before_n ? n : before_n, same = 0;
    if (is_away(node) || (n && !now)) return 0;
    alive |= items->held > 0;
    while (from < to && now[from] == items->seen[from]) from++;
    while (same < to - from && now[n - 1 - same] == items->seen[before_n - 1 - same]) same++;
    Py_ssize_t gone = before_n - from - same, come = n - from - same, both = gone < come ? gone : come;
    if ((!gone && !come) || !make_room(items, n)) return 0;
    for (Py_ssize_t i = from; i < from + both; i++) set(node, i, now[i], why, alive);
    for (Py_ssize_t i = from + gone - 1; i >= from + both; i--) { /* as if they went one by one */
        tell(node, i, items->seen[i], NULL, why, alive);
        let_go(node, items->seen[i]);
    }
    PyObject **end = items->seen + from + both;
    memmove(end + (come - both), end + (gone - both), (size_t)same * sizeof *end);
    items->n = n;
    if (same && gone != come) rename_items(node);
    for (Py_ssize_t i = from + both; i < from + come; i++) {
        items->seen[i] = NULL;
        set(node, i, now[i], why, alive);
    }
    return (size_t)(gone > come ? gone : come);
}

/* What lies at the indexes that are places may be other items now. */
static void look_at_places(const mwpy_items *items, mw_shadow why) {
    for (mwpy_node *place = items->places, *next; place; place = next) {
        next = place->next_indexed;
        mwpy_node_item_is(place, mwpy_items_at(place), why);
    }
}

/* Makes up for what wasn't told when it happened: from here on, all objects that `seen` refers to live. That a list
 * became shorter is told as a deed of the line that asked, where it is the same one still; otherwise it is seen too
 * late. */
static void settle(mwpy_node *node) {
    mwpy_items *items = node->items;
    Py_ssize_t n = Py_SIZE(list_of(node)), before_n = items->n;
    if (is_away(node)) return;
    bool same = shrink.node == node && n < items->n && shrink.thread == mwpy_current_thread() && shrink.site &&
                shrink.site == mwpy_site_now();
    for (Py_ssize_t i = items->n - 1; i >= n; i--) {
        tell(node, i, items->seen[i], NULL, same ? MW_SHADOW_NOW : MW_SHADOW_FOUND, items->held > 0);
        let_go(node, items->seen[i]);
    }
    if (n < items->n) items->n = n;
    bool shorter = n < before_n, astray = items->astray;
    if (shrink.node == node) shrink.node = NULL;
    if (astray) compare(node, 0, MW_SHADOW_FOUND, false);
    items->astray = false;
    say_room(node);
    if (shorter || astray) look_at_places(items, same ? MW_SHADOW_NOW : MW_SHADOW_FOUND);
}

size_t mwpy_items_compare(mwpy_node *node, mw_shadow why) {
    settle(node);
    size_t changed = compare(node, 0, why, false);
    say_room(node);
    if (changed) look_at_places(node->items, why);
    return changed;
}

/* As soon as the interpreter is free to. */
static bool is_due;
static int settle_now(void *unused) {
    (void)unused;
    is_due = false;
    int collected = mwpy_collector_stops();
    if (shrink.node) settle(shrink.node);
    mwpy_collector_goes_on(collected);
    return 0;
}

static void shrinks(mwpy_node *node) {
    PyObject **now = list_of(node)->ob_item;
    Py_ssize_t end = Py_SIZE(list_of(node)), first = end > LAST ? end - LAST : 0;
    if (shrink.node) settle(shrink.node);
    if (is_away(node)) return;
    shrink = (struct shrink){node, mwpy_current_thread(), mwpy_site_now(), first, end, {{0}}};
    for (Py_ssize_t i = first; i < end; i++) mwpy_cell_describe(&shrink.was[i - first], now[i]);
    if (!is_due) is_due = !Py_AddPendingCall(settle_now, NULL);
}

/* ---- a list comes and goes --------------------------------------------------------------------------------------- */

/* It is told of the list from now on, in place of another node. */
static void take_over(mwpy_node *node, mwpy_node *from) {
    mwpy_items *items = from->items;
    if (shrink.node == from) shrink.node = NULL;
    mwpy_storage_hand_over(&items->storage, from, node);
    node->items = items;
    from->items = NULL;
}

/* Whose items have been moved already; NULL: nobody's. */
static mwpy_node *told_of(const PyListObject *list) {
    mwpy_node *node = mwpy_storage_node(list->ob_item);
    return node && node->items && node->items->list == list ? node : NULL;
}

static int open_items(mwpy_node *node, PyListObject *list);

int mwpy_items_open(mwpy_node *node) {
    mwpy_node *other = told_of((PyListObject *)node->owner);
    if (!other) return open_items(node, (PyListObject *)node->owner);
    settle(other);
    take_over(node, other);
    return 0;
}

static int open_items(mwpy_node *node, PyListObject *list) {
    if (list->allocated < 0) {
        PyErr_SetString(PyExc_TypeError, "it is being sorted");
        return -1;
    }
    mwpy_items *items = PyMem_Calloc(1, sizeof *items);
    Py_ssize_t n = Py_SIZE(list);
    size_t bytes = (size_t)n * sizeof *items->seen;
    if (!items || !make_room(items, n + 1) ||
        mwpy_storage_open(&items->storage, 2 * bytes + ROOM_LEAST * sizeof *items->seen, node)) {
        if (items) PyMem_RawFree(items->seen);
        PyMem_Free(items);
        return -1;
    }
    if (n) memcpy(items->storage.view, list->ob_item, bytes);
    if (n) memcpy(items->seen, list->ob_item, bytes);
    items->n = n;
    items->list = list;
    items->whole = MWPY_NO_CELL;
    PyMem_Free(list->ob_item);
    list->ob_item = watched(items);
    node->items = items;
    say_room(node);
    mwpy_list_methods_take(Py_TYPE(list));
    return 0;
}

void mwpy_items_fill(mwpy_node *node) {
    for (Py_ssize_t i = 0; i < node->items->n; i++) gain(node, node->items->seen[i]);
}

/* The spot of what an item is; NULL: nothing is followed there. follow: now it is. */
static mwpy_spot *spot_at(mwpy_node *node, Py_ssize_t index, bool follow) {
    PyObject *item = node->items->seen[index], *key = item && mwpy_may_be_followed(item) ? address_key(item) : NULL;
    mwpy_spot *spot = key ? mwpy_node_spot(node, key) : NULL;
    if (key && follow) mwpy_node_follow(node, key, item);
    Py_XDECREF(key);
    PyErr_Clear();
    return spot;
}

/* Those that are followed anew are counted when all of them are there. */
void mwpy_items_follow(mwpy_node *node) {
    mwpy_spot *spot;
    for (Py_ssize_t i = 0; i < node->items->n; i++) spot_at(node, i, true);
    for (Py_ssize_t i = 0; i < node->items->n; i++)
        if ((spot = spot_at(node, i, false)) && spot->uncounted) spot->times++;
    for (Py_ssize_t i = 0; i < node->items->n; i++)
        if ((spot = spot_at(node, i, false)) && spot->uncounted) mwpy_spot_counts(spot, spot->times);
}

/* false: there is no memory, or the items are away: the list keeps those pages. */
static bool move_out(mwpy_node *node) {
    PyListObject *list = list_of(node);
    Py_ssize_t n = Py_SIZE(list);
    PyObject **plain = is_away(node) ? NULL : PyMem_Malloc((size_t)(n ? n : 1) * sizeof *plain);
    if (!plain) return false;
    memcpy(plain, list->ob_item, (size_t)n * sizeof *plain);
    list->ob_item = plain;
    list->allocated = n ? n : 1;
    return true;
}

static void give_back_cells(mwpy_node *node) {
    mwpy_items *items = node->items;
    if (node->root->top && !node->indexed) {
        for (size_t i = 0; items->recent && i < RECENT; i++) mwpy_cell_empty(&node->root->cells, items->recent[i].cell);
        mwpy_cell_empty(&node->root->cells, items->whole);
    }
    PyMem_RawFree(items->recent);
    items->recent = NULL;
    items->whole = MWPY_NO_CELL;
}

void mwpy_items_close(mwpy_node *node, bool alive) {
    mwpy_items *items = node->items;
    give_back_cells(node);
    if (alive && items->places) {
        take_over(items->places, node);
        return;
    }
    while (items->places) {
        mwpy_node *place = items->places;
        items->places = place->next_indexed;
        place->indexed = NULL;
        mwpy_node_strays(place, false);
    }
    mwpy_list_methods_give_back();
    mwpy_storage_close(&items->storage, node, alive && !move_out(node));
    if (shrink.node == node) shrink.node = NULL;
    PyMem_RawFree(items->seen);
    PyMem_Free(items);
    node->items = NULL;
}

/* ---- one item ---------------------------------------------------------------------------------------------------- */

PyObject *mwpy_items_list(const mwpy_node *node) { return node->indexed ? (PyObject *)node->indexed->list : NULL; }

PyObject *mwpy_items_at(const mwpy_node *node) {
    const mwpy_items *items = node->indexed;
    Py_ssize_t index = PyLong_AsSsize_t(node->place);
    if (index == -1 && PyErr_Occurred()) PyErr_Clear();
    if (index < 0) index += items->n;
    return index >= 0 && index < items->n ? items->seen[index] : NULL;
}

int mwpy_items_join(mwpy_node *node, PyObject *list) {
    if (!PyLong_CheckExact(node->place)) return -1;
    mwpy_node *other = told_of((PyListObject *)list);
    if (other) settle(other);
    if (!other && open_items(node, (PyListObject *)list)) return -1;
    node->indexed = other ? other->items : node->items;
    mwpy_node **end = &node->indexed->places;
    while (*end) end = &(*end)->next_indexed;
    *end = node;
    node->next_indexed = NULL;
    return 0;
}

void mwpy_items_leave(mwpy_node *node, bool alive) {
    mwpy_node **link = &node->indexed->places;
    while (*link && *link != node) link = &(*link)->next_indexed;
    if (*link) *link = node->next_indexed;
    if (node->items) mwpy_items_close(node, alive);
    node->indexed = NULL;
}

/* ---- reports ----------------------------------------------------------------------------------------------------- */

/* In a signal handler, at a store in code that has the interpreter's lock and is done with its own memory. */
void mwpy_list_stored(mwpy_node *node, const void *address, size_t length) {
    mwpy_items *items = node->items;
    if (is_away(node)) { /* it is being sorted by code in C */
        items->astray = true;
        return;
    }
    size_t at = (size_t)((const unsigned char *)address - items->storage.at), word = sizeof(PyObject *);
    Py_ssize_t first = (Py_ssize_t)(at / word), end = (Py_ssize_t)((at + length + word - 1) / word);
    settle(node);
    if (make_room(items, end)) {
        while (items->n < end) items->seen[items->n++] = NULL; /* not yet stored to */
        for (Py_ssize_t i = first; i < end; i++) set(node, i, watched(items)[i], MW_SHADOW_NOW, true);
    }
    PyListObject *list = list_of(node);
    Py_ssize_t n = Py_SIZE(list) > end ? Py_SIZE(list) : end, all = capacity(items);
    if (list->allocated >= 0) list->allocated = 2 * (n + 1) < all ? all : n;
    look_at_places(items, MW_SHADOW_NOW);
}

void *mwpy_list_resized(void *address, size_t bytes) {
    mwpy_node *node = mwpy_storage_node(address);
    mwpy_items *items = node->items;
    bool in_view = address == items->storage.view;
    size_t size = items->storage.size;
    if (2 * bytes > size) {
        mwpy_storage larger, before = items->storage;
        if (mwpy_storage_open(&larger, 2 * bytes + ROOM_LEAST * sizeof(PyObject *), node)) return NULL;
        memcpy(larger.view, before.view, size);
        items->storage = larger;
        mwpy_storage_close(&before, node, false);
    }
    if (!items->quiet) { /* it may be a list that becomes longer: then there will be nothing to tell */
        mwpy_aside aside = mwpy_set_aside();
        shrinks(node);
        mwpy_put_back(aside);
    }
    return in_view ? items->storage.view : items->storage.at;
}

/* The list has given its memory back, but lives. What it holds now was made by a destructor of an item, meanwhile. */
static void take_back(mwpy_node *node) {
    mwpy_items *items = node->items;
    PyListObject *list = list_of(node);
    PyObject **others = list->ob_item;
    size_t bytes = (size_t)Py_SIZE(list) * sizeof *others;
    if (bytes > items->storage.size) {
        mwpy_storage larger;
        if (mwpy_storage_open(&larger, 2 * bytes + ROOM_LEAST * sizeof *others, node)) {
            mwpy_node_died(node);
            return;
        }
        mwpy_storage_close(&items->storage, node, false);
        items->storage = larger;
    }
    if (others) memcpy(items->storage.view, others, bytes);
    PyMem_Free(others);
    list->ob_item = items->quiet ? view(items) : watched(items);
    if (items->quiet) return;
    compare(node, 0, MW_SHADOW_NOW, false);
    say_room(node);
    look_at_places(items, MW_SHADOW_NOW);
}

/* By list_clear(), whose last deed it is; by list.sort(), which throws away what it had; or by the end of the list. */
void mwpy_list_freed(mwpy_node *node) {
    if (!Py_REFCNT(list_of(node)))
        mwpy_node_died(node);
    else if (list_of(node)->allocated >= 0)
        take_back(node);
}

/* ---- turns ------------------------------------------------------------------------------------------------------- */

static void hold(mwpy_list_turn *turn, mwpy_node *node) {
    Py_ssize_t from = turn->index >= 0 ? turn->index : 0, end = turn->index >= 0 ? turn->index + 1 : turn->n;
    turn->held = PyMem_RawMalloc((size_t)(end - from) * sizeof *turn->held);
    if (!turn->held) return;
    for (Py_ssize_t i = from; i < end; i++) turn->held[turn->held_n++] = Py_XNewRef(node->items->seen[i]);
    node->items->held++;
}

bool mwpy_list_begins(mwpy_list_turn *turn, PyObject *list, unsigned how, Py_ssize_t index) {
    mwpy_node *node = mwpy_storage_node(((PyListObject *)list)->ob_item);
    if (!node || !node->items || (PyObject *)node->items->list != list || is_away(node) || node->items->quiet)
        return false;
    mwpy_items *items = node->items;
    mwpy_aside aside = mwpy_set_aside();
    settle(node);
    *turn = (mwpy_list_turn){list, how, index < items->n ? index : -1, items->n, items->changes, NULL, 0, {0}};
    if (how & MWPY_LIST_MOVES) mwpy_cell_describe_items((mwpy_cell *)turn->before, watched(items), items->n);
    if (how & MWPY_LIST_LOSES) hold(turn, node);
    if (how & MWPY_LIST_QUIET) {
        ((PyListObject *)list)->ob_item = view(items);
        items->quiet++;
    }
    mwpy_put_back(aside);
    return true;
}

/* The list as one value: the same items in another order. */
static void tell_order(mwpy_node *node, const mwpy_list_turn *turn) {
    mwpy_items *items = node->items;
    mwpy_cells *cells = &node->root->cells;
    PyObject **now = list_of(node)->ob_item;
    size_t bytes = (size_t)items->n * sizeof *now;
    if (Py_SIZE(list_of(node)) != items->n || !memcmp(now, items->seen, bytes)) return;
    if (items->whole == MWPY_NO_CELL && !node->indexed) items->whole = mwpy_cell_take(cells);
    memcpy(items->seen, now, bytes);
    items->changes++;
    rename_items(node);
    if (items->whole == MWPY_NO_CELL) return;
    mwpy_cell cell;
    memcpy(&cell, turn->before, sizeof cell);
    mwpy_node_hide_called(node, "", 0, items->whole, &cell);
    mwpy_cell_write(cells, items->whole, &cell, MW_SHADOW_SILENT, 0);
    mwpy_cell_describe_items(&cell, now, items->n);
    cell.flags |= MWPY_CELL_MOVED;
    mwpy_node_write(node, NULL, items->whole, &cell, MW_SHADOW_NOW);
}

static void tell_turn(const mwpy_list_turn *turn, mwpy_node *node) {
    mwpy_items *items = node->items;
    if (turn->how & MWPY_LIST_QUIET) {
        items->quiet--;
        if (list_of(node)->ob_item == view(items)) list_of(node)->ob_item = watched(items);
    }
    bool undisturbed = items->changes == turn->changes && items->n == turn->n;
    Py_ssize_t from = !undisturbed ? 0 : turn->index >= 0 ? turn->index : turn->how & MWPY_LIST_GROWS ? turn->n : 0;
    if (turn->how & MWPY_LIST_MOVES) tell_order(node, turn);
    bool replaced = undisturbed && turn->index >= 0 && Py_SIZE(turn->list) == turn->n;
    if (replaced)
        set(node, turn->index, watched(items)[turn->index], MW_SHADOW_NOW, true);
    else
        compare(node, from, MW_SHADOW_NOW,
                turn->how & MWPY_LIST_QUIET && (turn->held || !(turn->how & MWPY_LIST_LOSES)));
    if (shrink.node == node) shrink.node = NULL;
    say_room(node);
    look_at_places(items, MW_SHADOW_NOW);
}

void mwpy_list_ends(mwpy_list_turn *turn) {
    mwpy_node *node = mwpy_node_of(turn->list);
    if (!node) node = told_of((PyListObject *)turn->list);
    mwpy_aside aside = mwpy_set_aside();
    if (node && node->items) {
        tell_turn(turn, node);
        if (turn->held && node->items->held) node->items->held--;
    }
    mwpy_put_back(aside);
    for (Py_ssize_t i = 0, n = turn->held_n; i < n; i++) /* destructors run in the order that they would run in */
        Py_XDECREF(turn->held[turn->how & MWPY_LIST_FIRST ? i : n - 1 - i]);
    PyMem_RawFree(turn->held);
}
