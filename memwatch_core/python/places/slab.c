/* slab.c - see slab.h. */
#include "places/slab.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/hash.h"
#include "breaks/breaks.h"
#include "errors.h"
#include "origins/frames.h"

enum { CELLS_OF_PAGE = MW_PAGE_SIZE / MWPY_CELL, SLAB_PAGES_MAX = 1 << 16 };
static_assert((uint64_t)SLAB_PAGES_MAX * CELLS_OF_PAGE <= 1u << MWPY_INDEX_BITS, "a cell's number holds its place");
static_assert(MWPY_SLABS < 1 << (32 - MWPY_INDEX_BITS), "and its slab's");

static void drop(mwpy_slab_of_cells *slab, const mw_ending *ending) {
    if (slab->id) mw_end_watch(slab->id, ending); /* NO_VARIABLE: its session is closed */
    if (slab->page) mw_page_free(slab->page, slab->pages);
    PyMem_Free(slab->told);
    *slab = (mwpy_slab_of_cells){0};
}

/* What the first slab says of itself, or of which one it is a part. */
static int describe(const mwpy_cells *cells, const mwpy_slab_of_cells *slab) {
    size_t n = (size_t)PyBytes_GET_SIZE(cells->metadata);
    char *text = PyMem_Malloc(n + 64);
    if (!text) return MW_ERR_NO_MEMORY;
    memcpy(text, PyBytes_AS_STRING(cells->metadata), n);
    if (slab != cells->slab) n += (size_t)snprintf(text + n, 64, ",\"first\":%u", cells->slab[0].id);
    text[n++] = '}';
    int error = mw_update_metadata(slab->id, text, n);
    PyMem_Free(text);
    return error;
}

/* All conditions, of one slab. */
static int judge(const mwpy_cells *cells, const mwpy_slab_of_cells *slab) {
    int error = MW_OK;
    for (Py_ssize_t i = 0; cells->judged && !error && i < PyList_GET_SIZE(cells->judged); i++) {
        PyObject *one = PyList_GET_ITEM(cells->judged, i), *program = PyTuple_GET_ITEM(one, 0);
        uint32_t handle = (uint32_t)PyLong_AsUnsignedLong(PyTuple_GET_ITEM(one, 1));
        error = mw_set_condition(slab->id, PyBytes_AS_STRING(program), (size_t)PyBytes_GET_SIZE(program), MWPY_CELL,
                                 handle);
    }
    return error;
}

static int grow(mwpy_cells *cells, size_t pages) {
    if (cells->slabs == MWPY_SLABS) return MW_ERR_LIMIT;
    mwpy_slab_of_cells *slab = &cells->slab[cells->slabs];
    *slab = (mwpy_slab_of_cells){.pages = pages < SLAB_PAGES_MAX ? pages : SLAB_PAGES_MAX};
    slab->told = PyMem_Calloc(slab->pages * CELLS_OF_PAGE, sizeof *slab->told);
    slab->page = slab->told ? mw_page_alloc(slab->pages) : NULL;
    slab->cells = slab->page ? mw_write_view(slab->page) : NULL;
    int64_t id = slab->page ? mw_register_page(slab->page, slab->pages * MW_PAGE_SIZE, cells->flags, MW_DEPTH_FULL)
                            : (errno == EFBIG ? MW_ERR_FILE_SIZE : MW_ERR_NO_MEMORY);
    int error = id < 0 ? (int)id : MW_OK;
    if (!error) {
        slab->id = (mw_variable_id)id;
        error = describe(cells, slab);
        if (!error) error = judge(cells, slab);
    }
    if (error)
        drop(slab, NULL);
    else
        cells->slabs++;
    return error;
}

int mwpy_cells_open(mwpy_cells *cells, size_t count) {
    int error = grow(cells, count / CELLS_OF_PAGE + 1);
    return error ? mwpy_raise(error, cells->name) : 0;
}

int mwpy_cells_describe(mwpy_cells *cells, PyObject *metadata) {
    Py_SETREF(cells->metadata, Py_NewRef(metadata));
    int error = describe(cells, cells->slab);
    return error ? mwpy_raise(error, cells->name) : 0;
}

static int judge_by(mwpy_cells *cells, PyObject *program, uint32_t handle) {
    PyObject *one = Py_BuildValue("(OI)", program, handle);
    if (!cells->judged) cells->judged = PyList_New(0);
    int failed = !one || !cells->judged || PyList_Append(cells->judged, one);
    Py_XDECREF(one);
    int error = MW_OK;
    for (unsigned i = 0; !failed && !error && i < cells->slabs; i++)
        error = mw_set_condition(cells->slab[i].id, PyBytes_AS_STRING(program), (size_t)PyBytes_GET_SIZE(program),
                                 MWPY_CELL, handle);
    return failed ? -1 : error ? mwpy_raise(error, cells->name) : 0;
}

int mwpy_cells_judge(mwpy_cells *cells, PyObject *program, uint32_t handle) {
    if (program) return judge_by(cells, program, handle);
    for (Py_ssize_t i = cells->judged ? PyList_GET_SIZE(cells->judged) : 0; i--;)
        if (PyLong_AsUnsignedLong(PyTuple_GET_ITEM(PyList_GET_ITEM(cells->judged, i), 1)) == handle &&
            PyList_SetSlice(cells->judged, i, i + 1, NULL))
            return -1;
    for (unsigned i = 0; i < cells->slabs; i++) mw_drop_condition(cells->slab[i].id, handle);
    if (cells->judged && !PyList_GET_SIZE(cells->judged)) Py_CLEAR(cells->judged);
    return 0;
}

void mwpy_cells_close(mwpy_cells *cells) {
    while (cells->slabs) drop(&cells->slab[--cells->slabs], &cells->ending);
    PyMem_Free(cells->free);
    Py_CLEAR(cells->name);
    Py_CLEAR(cells->judged);
    Py_CLEAR(cells->metadata);
}

/* In the midst of a write of the program's, where nothing of Python may run. */
static void refuse(mwpy_cells *cells, int error) {
    if (cells->exhausted) return;
    cells->exhausted = true;
    char text[512];
    const char *name = PyUnicode_IS_ASCII(cells->name) ? (const char *)PyUnicode_1BYTE_DATA(cells->name) : "an object";
    int n =
        snprintf(text, sizeof text, "memwatch: new places of %.100s aren't watched: %s\n", name, mw_strerror(error));
    static const struct mwpy_left left = {.count = 1, .why = MWPY_LEFT_MEMORY};
    mw_not_followed_record(cells->slab[0].id, &left, MWPY_LEFT_HEAD);
    if (write(STDERR_FILENO, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1) < 0) return;
}

mwpy_cell_number mwpy_cell_take(mwpy_cells *cells) {
    if (cells->free_n) return cells->free[--cells->free_n];
    mwpy_slab_of_cells *last = &cells->slab[cells->slabs - 1];
    if (last->used == last->pages * CELLS_OF_PAGE) {
        int error = grow(cells, 2 * last->pages);
        if (error) {
            refuse(cells, error);
            return MWPY_NO_CELL;
        }
        last = &cells->slab[cells->slabs - 1];
    }
    return (cells->slabs - 1) << MWPY_INDEX_BITS | last->used++;
}

void mwpy_cell_give_back(mwpy_cells *cells, mwpy_cell_number number) {
    if (cells->free_n == cells->free_most) {
        size_t most = cells->free_most ? 2 * cells->free_most : 64;
        uint32_t *grown = PyMem_Realloc(cells->free, most * sizeof *grown);
        if (!grown) return; /* it isn't used again */
        cells->free = grown;
        cells->free_most = most;
    }
    mwpy_cell_untell(cells, number); /* its next path is another one */
    cells->free[cells->free_n++] = number;
}

struct mwpy_aliases mwpy_aliases;

bool mwpy_cell_is_told(const mwpy_cells *cells, mwpy_cell_number number) {
    return mwpy_cell_has_path(cells, number) &&
           mwpy_slab_of(cells, number)->told[mwpy_index_of(number)].turn == mwpy_aliases.turn;
}

void mwpy_cell_untell(mwpy_cells *cells, mwpy_cell_number number) {
    struct mwpy_told *told = &cells->slab[number >> MWPY_INDEX_BITS].told[mwpy_index_of(number)];
    told->stamp = told->judged = 0;
}

uint64_t *mwpy_cell_judged(const mwpy_cells *cells, mwpy_cell_number number) {
    return &mwpy_slab_of(cells, number)->told[mwpy_index_of(number)].judged;
}

static uint64_t paths; /* told so far, of all watches */

void mwpy_cell_tell(mwpy_cells *cells, mwpy_cell_number number, const char *path, size_t n) {
    const mwpy_slab_of_cells *slab = mwpy_slab_of(cells, number);
    uint32_t index = mwpy_index_of(number);
    uint64_t stamp =
        mw_journal_stamp(); /* before: a journal that goes on to its next part meanwhile has it told again */
    if (!mw_place_record(slab->id, (uint64_t)index * MWPY_CELL, path, n))
        slab->told[index] = (struct mwpy_told){
            .stamp = stamp, .path = ++paths, .renames = cells->renames, .judged = slab->told[index].judged};
}

static uint64_t digest(const char *bytes, size_t n) {
    uint64_t hash = n;
    for (size_t i = 0; i < n; i++) hash = (hash ^ (uint8_t)bytes[i]) * HASH_FACTOR;
    return n ? hash | 1 : 0;
}

void mwpy_cell_tell_aliases(mwpy_cells *cells, mwpy_cell_number number, const char *names, size_t n) {
    static const uint32_t none;
    const mwpy_slab_of_cells *slab = mwpy_slab_of(cells, number);
    struct mwpy_told *told = &slab->told[mwpy_index_of(number)];
    uint64_t now = digest(names, n);
    if (now != told->aliases) {
        uint64_t offset = (uint64_t)mwpy_index_of(number) * MWPY_CELL;
        if (mw_alias_record(slab->id, offset, n ? names : (const char *)&none, n ? n : sizeof none)) return;
        told->aliases = now;
    }
    told->turn = mwpy_aliases.turn;
}

void mwpy_cell_write(mwpy_cells *cells, mwpy_cell_number number, mwpy_cell *now, mw_shadow why, uint32_t activation) {
    const mwpy_slab_of_cells *slab = mwpy_slab_of(cells, number);
    uint32_t index = mwpy_index_of(number);
    size_t before = mwpy_cell_size(&slab->cells[index]), after = mwpy_cell_size(now);
    size_t n = before > after ? before : after;
    if (before > after) memset((char *)now + after, 0, before - after); /* no bytes of an older value stay behind */
    if (likely(why == MW_SHADOW_NOW)) {
        mw_origin origin;
        mwpy_origin_now(&origin, cells->flags & MW_TRACK_SQL, activation);
        mw_write_shadow_from(slab->id, (uint64_t)index * MWPY_CELL, now, n, &origin);
    } else {
        mw_write_shadow(slab->id, (uint64_t)index * MWPY_CELL, now, n, why);
    }
    if (!cells->acts_itself) mwpy_act_later();
}

void mwpy_cell_empty(mwpy_cells *cells, mwpy_cell_number number) {
    mwpy_cell none = {0};
    if (number == MWPY_NO_CELL) return;
    mwpy_cell_write(cells, number, &none, MW_SHADOW_SILENT, 0);
    mwpy_cell_give_back(cells, number);
}
