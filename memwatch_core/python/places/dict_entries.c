/* dict_entries.c - see dict_entries.h.
 *
 * A dict keeps its entries in a table, which lies in guarded memory here: each store to it is told, whoever makes it,
 * and becomes the report that CPython 3.12 would have made; but when it is done. What the interpreter does to a table
 * as a whole:
 *
 * - It gives it up (dict.clear(), the end of the dict): its count of references, which stands in the table, becomes 0.
 *   That is a store too, made before anything that the table holds is let go.
 * - It makes a larger one, and frees this one.
 * - It copies another dict's table for a dict that is empty. This one is given up before the copy takes its place,
 *   which would tell nothing. But values that the dict has of its own (as instances do) are freed afterwards: so it
 *   gets some, in guarded memory.
 *
 * A table of eight entries, the smallest, would be kept for another dict instead of freed: ours are larger.
 */
#define Py_BUILD_CORE_MODULE 1
#include "places/dict_entries.h"

#include <string.h>

#include "base/compiler.h"
#include "places/reports.h"
#include "places/storage.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#include "internal/pycore_dict.h"
#pragma GCC diagnostic pop

#if PY_VERSION_HEX < 0x030C0000

enum { LOG_SIZE_LEAST = 4, PERTURB_SHIFT = 5, VALUES_PREFIX = 16 };

typedef struct entry {
    PyObject *key, *value; /* both or none of them are there, but in the midst of a change */
} entry;

typedef struct mwpy_entries {
    mwpy_node node; /* by which its memory is found: of no watch, but of all that the dict is in */
    mwpy_storage storage;
    mwpy_storage values; /* those that the dict frees when it has a copy of another one's table */
    entry *seen;         /* as last told, compared by address */
    size_t room;
    unsigned busy; /* reports under way */
    bool over;     /* no longer watched */
} mwpy_entries;

PyObject *mwpy_dict_before;
static PyDictKeysObject *no_table; /* that of all dicts that are empty */

static PyDictObject *dict_of(const mwpy_entries *e) { return (PyDictObject *)e->node.dict; }
static PyDictKeysObject *watched(const mwpy_entries *e) { return (PyDictKeysObject *)e->storage.at; }

static mwpy_entries *entries_of(PyObject *dict) {
    mwpy_node *node = mwpy_storage_node(((PyDictObject *)dict)->ma_keys);
    return node ? node->entries : NULL;
}

/* ---- tables, as dictobject.c lays them out ----------------------------------------------------------------------- */

static size_t room_of(const PyDictKeysObject *table) { return ((size_t)2 << table->dk_log2_size) / 3; }
static size_t entry_size(const PyDictKeysObject *table) {
    return DK_IS_UNICODE(table) ? sizeof(PyDictUnicodeEntry) : sizeof(PyDictKeyEntry);
}
static size_t entries_offset(const PyDictKeysObject *table) {
    return offsetof(PyDictKeysObject, dk_indices) + ((size_t)1 << table->dk_log2_index_bytes);
}
static size_t size_of(const PyDictKeysObject *table) {
    return entries_offset(table) + room_of(table) * entry_size(table);
}

static entry entry_at(const PyDictKeysObject *table, size_t i) {
    if (DK_IS_UNICODE(table)) {
        const PyDictUnicodeEntry *at = DK_UNICODE_ENTRIES(table) + i;
        return (entry){at->me_key, at->me_value};
    }
    const PyDictKeyEntry *at = DK_ENTRIES(table) + i;
    return (entry){at->me_key, at->me_value};
}

static Py_hash_t hash_at(const PyDictKeysObject *table, size_t i) {
    if (!DK_IS_UNICODE(table)) return DK_ENTRIES(table)[i].me_hash;
    return ((PyASCIIObject *)DK_UNICODE_ENTRIES(table)[i].me_key)->hash;
}

static void put_index(PyDictKeysObject *table, size_t slot, size_t i) {
    unsigned width = table->dk_log2_index_bytes - table->dk_log2_size;
    if (width == 0)
        ((int8_t *)table->dk_indices)[slot] = (int8_t)i;
    else if (width == 1)
        ((int16_t *)table->dk_indices)[slot] = (int16_t)i;
    else if (width == 2)
        ((int32_t *)table->dk_indices)[slot] = (int32_t)i;
    else
        ((int64_t *)table->dk_indices)[slot] = (int64_t)i;
}

static bool is_free(const PyDictKeysObject *table, size_t slot) {
    size_t width = (size_t)1 << (table->dk_log2_index_bytes - table->dk_log2_size);
    return ((const int8_t *)table->dk_indices)[slot * width + width - 1] < 0; /* all its bits are set */
}

static void build_index(PyDictKeysObject *table, size_t n) {
    size_t mask = ((size_t)1 << table->dk_log2_size) - 1;
    memset(table->dk_indices, 0xFF, (size_t)1 << table->dk_log2_index_bytes);
    for (size_t i = 0; i < n; i++) {
        if (!entry_at(table, i).value) continue;
        size_t hash = (size_t)hash_at(table, i), slot = hash & mask;
        for (size_t perturb = hash; !is_free(table, slot);) {
            perturb >>= PERTURB_SHIFT;
            slot = mask & (slot * 5 + perturb + 1);
        }
        put_index(table, slot, i);
    }
}

/* The head of a table that holds as much as another one. */
static void fill_head(PyDictKeysObject *table, const PyDictKeysObject *other, uint8_t log_size) {
    uint8_t width = log_size < 8 ? 0 : log_size < 16 ? 1 : log_size < 32 ? 2 : 3;
    table->dk_refcnt = 1;
    table->dk_log2_size = log_size;
    table->dk_log2_index_bytes = (uint8_t)(log_size + width);
    table->dk_kind = DK_IS_UNICODE(other) ? DICT_KEYS_UNICODE : DICT_KEYS_GENERAL;
}

/* ---- into guarded memory and out of it --------------------------------------------------------------------------- */

/* Room to remember what a table can hold. false: no memory. */
static bool make_room(mwpy_entries *e, size_t room) {
    if (room <= e->room) return true;
    entry *grown = PyMem_RawRealloc(e->seen, room * sizeof *grown);
    if (!grown) return false;
    e->seen = grown;
    e->room = room;
    return true;
}

static void see(mwpy_entries *e) {
    const PyDictKeysObject *table = watched(e);
    for (size_t i = 0; i < room_of(table); i++) e->seen[i] = entry_at(table, i);
}

/* Entries of an instance's dict, whose keys its class has: a dict that nobody sees takes over what it had. false: no
 * memory. */
static bool part_from_class(mwpy_entries *e, PyDictKeysObject *table) {
    PyDictObject *dict = dict_of(e), *heir = (PyDictObject *)PyDict_New();
    if (!heir) return false;
    PyDictUnicodeEntry *to = DK_UNICODE_ENTRIES(table);
    PyObject *key, *value;
    for (Py_ssize_t at = 0; PyDict_Next((PyObject *)dict, &at, &key, &value); to++)
        *to = (PyDictUnicodeEntry){Py_NewRef(key), Py_NewRef(value)};
    table->dk_nentries = dict->ma_used;
    PyDictKeysObject *others = heir->ma_keys;
    heir->ma_keys = dict->ma_keys;
    heir->ma_values = dict->ma_values;
    heir->ma_used = dict->ma_used;
    dict->ma_values = NULL;
    others->dk_refcnt--;
    Py_DECREF(heir);
    return true;
}

/* 0, or -1: no memory. In the midst of a resize, the table doesn't say yet how many entries it has. */
static int move_in(mwpy_entries *e) {
    PyDictObject *dict = dict_of(e);
    PyDictKeysObject *from = dict->ma_keys;
    uint8_t log_size = from->dk_log2_size < LOG_SIZE_LEAST ? LOG_SIZE_LEAST : from->dk_log2_size;
    PyDictKeysObject head = {0}, *table;
    mwpy_storage to;
    fill_head(&head, from, log_size);
    if (!make_room(e, room_of(&head)) || mwpy_storage_open(&to, size_of(&head), &e->node)) return -1;
    table = memset(to.view, 0, size_of(&head));
    fill_head(table, from, log_size);
    size_t n = (size_t)(from->dk_nentries ? from->dk_nentries : dict->ma_used);
    if (dict->ma_values && !e->values.at) {
        if (!part_from_class(e, table)) {
            mwpy_storage_close(&to, &e->node, false);
            return -1;
        }
        n = (size_t)table->dk_nentries;
    } else {
        memcpy((char *)table + entries_offset(table), (char *)from + entries_offset(from), n * entry_size(from));
        table->dk_nentries = from->dk_nentries;
        if (from == no_table)
            from->dk_refcnt--;
        else
            PyObject_Free(from);
    }
    build_index(table, n);
    table->dk_usable = (Py_ssize_t)room_of(table) - table->dk_nentries;
    dict->ma_keys = (PyDictKeysObject *)to.at;
    e->storage = to;
    return 0;
}

/* false: there is no memory, the dict keeps those pages. */
static bool move_out(mwpy_entries *e) {
    size_t size = size_of(watched(e));
    PyDictKeysObject *plain = PyObject_Malloc(size);
    if (!plain) return false;
    memcpy(plain, e->storage.view, size);
    plain->dk_version = 0;
    dict_of(e)->ma_keys = plain;
    return true;
}

/* left: the table is the interpreter's to free. */
static void leave(mwpy_entries *e, bool left) {
    if (e->storage.at) mwpy_storage_close(&e->storage, &e->node, left);
}

static void drop(mwpy_entries *e) {
    leave(e, true);
    if (e->values.at) mwpy_storage_close(&e->values, &e->node, true);
    PyMem_RawFree(e->seen);
    PyMem_RawFree(e);
}

static mwpy_entries *open_entries(PyObject *dict) {
    mwpy_entries *e = PyMem_RawCalloc(1, sizeof *e);
    if (!e) return NULL;
    e->node = (mwpy_node){.dict = dict, .entries = e};
    if (!move_in(e)) {
        see(e);
        return e;
    }
    drop(e);
    return NULL;
}

static bool dicts_tell;

int mwpy_dict_watch(PyObject *dict) {
    if (entries_of(dict)) return 0;
    return dicts_tell && open_entries(dict) ? 0 : -1;
}

void mwpy_dict_unwatch(PyObject *dict) {
    mwpy_entries *e = entries_of(dict);
    if (!e) return;
    e->over = true;
    if (e->busy) return;
    leave(e, !move_out(e));
    drop(e);
}

/* ---- reports ----------------------------------------------------------------------------------------------------- */

static void report(mwpy_entries *e, PyDict_WatchEvent event, PyObject *key, PyObject *now, PyObject *before) {
    PyObject *outer = mwpy_dict_before;
    mwpy_dict_before = before;
    mwpy_report.dict_changes(event, e->node.dict, key, now);
    mwpy_dict_before = outer;
}

static void look(mwpy_entries *e, size_t i) {
    entry now = entry_at(watched(e), i), before = e->seen[i];
    if (!now.key != !now.value || (now.key == before.key && now.value == before.value)) return;
    e->seen[i] = now;
    bool same = now.key == before.key;
    if (before.key && !same) report(e, PyDict_EVENT_DELETED, before.key, NULL, before.value);
    if (!now.key) return;
    report(e, same ? PyDict_EVENT_MODIFIED : PyDict_EVENT_ADDED, now.key, now.value, same ? before.value : NULL);
}

/* The dict is empty now, and has the table of all that are. What it held is still there. */
static void cleared(mwpy_entries *e) {
    PyDictObject *dict = dict_of(e);
    PyDictKeysObject *now = dict->ma_keys;
    dict->ma_keys = watched(e);
    report(e, PyDict_EVENT_CLEARED, NULL, NULL, NULL);
    dict->ma_keys = now;
    leave(e, true);
    if (!move_in(e)) see(e);
}

/* It is about to get a copy of another dict's table. */
static void await_copy(mwpy_entries *e) {
    leave(e, true);
    if (mwpy_storage_open(&e->values, 2 * VALUES_PREFIX, &e->node)) return; /* found when it is compared */
    e->values.view[VALUES_PREFIX - 1] = VALUES_PREFIX;
    dict_of(e)->ma_values = (PyDictValues *)(e->values.at + VALUES_PREFIX);
}

static void given_up(mwpy_entries *e) {
    PyDictObject *dict = dict_of(e);
    if (!Py_REFCNT(dict)) {
        report(e, PyDict_EVENT_DEALLOCATED, NULL, NULL, NULL);
        e->over = true;
    } else if (dict->ma_keys != watched(e)) {
        cleared(e);
    } else {
        await_copy(e);
    }
}

/* Whether it is still watched, after reports. */
static void end_reports(mwpy_entries *e) {
    if (--e->busy) return;
    if (e->over && e->storage.at && Py_REFCNT(dict_of(e))) leave(e, !move_out(e));
    if (e->over || !(e->storage.at || e->values.at)) drop(e);
}

void mwpy_dict_stored(mwpy_node *node, const void *address, size_t length) {
    mwpy_entries *e = node->entries;
    PyDictKeysObject *table = watched(e);
    size_t at = (size_t)((const unsigned char *)address - e->storage.at);
    if (at >= e->storage.size) return;
    e->busy++;
    if (!table->dk_refcnt) {
        given_up(e);
    } else if (dict_of(e)->ma_keys == table && at + length > entries_offset(table)) {
        size_t first = at < entries_offset(table) ? 0 : (at - entries_offset(table)) / entry_size(table);
        size_t end = (at + length - entries_offset(table) + entry_size(table) - 1) / entry_size(table);
        for (size_t i = first; i < end && i < room_of(table) && watched(e) == table; i++) look(e, i);
    }
    end_reports(e);
}

/* The copy is there. */
static void copied(mwpy_entries *e) {
    int failed = move_in(e);
    mwpy_storage_close(&e->values, &e->node, false);
    if (failed) return;
    for (size_t i = 0; i < room_of(watched(e)); i++) {
        e->seen[i] = (entry){NULL, NULL};
        look(e, i);
    }
}

/* The dict has another table, of the same entries; or it ends, and nobody is told any more. The new table lies
 * elsewhere than the old one: by that, an OrderedDict knows that its entries have other numbers. */
static void resized(mwpy_entries *e) {
    PyDictObject *dict = dict_of(e);
    bool given_up = dict->ma_keys == watched(e) || !Py_REFCNT(dict);
    mwpy_storage before = e->storage;
    e->storage = (mwpy_storage){0};
    if (!given_up && !move_in(e)) see(e);
    mwpy_storage_close(&before, &e->node, false);
}

void mwpy_dict_freed(mwpy_node *node, const void *address) {
    mwpy_entries *e = node->entries;
    e->busy++;
    if (address == e->values.at)
        copied(e);
    else
        resized(e);
    end_reports(e);
}

/* ---- tried once -------------------------------------------------------------------------------------------------- */

/* Whether all that a dict holds was told. */
static bool has_told(PyObject *dict, Py_ssize_t n) {
    const mwpy_entries *e = entries_of(dict);
    if (!e || ((PyDictObject *)dict)->ma_values || e->values.at || PyDict_GET_SIZE(dict) != n) return false;
    for (size_t i = 0; i < room_of(watched(e)); i++) {
        entry now = entry_at(watched(e), i);
        if (now.key != e->seen[i].key || now.value != e->seen[i].value) return false;
        n -= now.key != NULL;
    }
    return !n;
}

static bool try_dict(PyObject *dict, PyObject *other) {
    enum { MANY = 40 };
    bool told = !PyDict_Update(dict, other) && has_told(dict, 1); /* a copy of its table */
    for (long i = 0; told && i < MANY; i++) {
        PyObject *number = PyLong_FromLong(i);
        told = number && !PyDict_SetItem(dict, number, number) && has_told(dict, i + 2);
        told = told && !PyDict_SetItem(dict, number, Py_None) && has_told(dict, i + 2);
        Py_XDECREF(number);
    }
    told = told && !PyDict_DelItemString(dict, "key") && has_told(dict, MANY);
    PyDict_Clear(dict);
    told = told && has_told(dict, 0) && !PyDict_SetItemString(dict, "key", Py_None) && has_told(dict, 1);
    PyDict_Clear(dict);
    return told && has_told(dict, 0) && !PyDict_Update(dict, other) && has_told(dict, 1);
}

bool mwpy_dicts_tell(void) {
    static bool tried;
    if (tried) return dicts_tell;
    PyObject *dict = PyDict_New(), *other = PyDict_New();
    if (dict) no_table = ((PyDictObject *)dict)->ma_keys;
    if (dict && other && !PyDict_SetItemString(other, "key", Py_None) && open_entries(dict)) {
        dicts_tell = try_dict(dict, other);
        tried = !PyErr_Occurred();
        mwpy_dict_unwatch(dict);
    }
    Py_XDECREF(dict);
    Py_XDECREF(other);
    return dicts_tell;
}
#endif
