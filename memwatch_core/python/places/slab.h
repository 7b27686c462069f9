/* slab.h - the cells of one watched object: core variables, each twice as large as the one before. */
#ifndef MEMWATCH_PYTHON_SLAB_H
#define MEMWATCH_PYTHON_SLAB_H
#include "places/cell.h"

enum { MWPY_SLABS = 20, MWPY_INDEX_BITS = 26 }; /* of a cell's number: its place in its slab */

/* Why something that is held isn't followed, and the head of such a record: docs/journal-format.md. */
enum mwpy_why_left {
    MWPY_LEFT_KIND = 1,
    MWPY_LEFT_MOST = 2,
    MWPY_LEFT_OTHER_WATCH = 3,
    MWPY_LEFT_KEY = 4,
    MWPY_LEFT_MEMBER = 5,
    MWPY_LEFT_MEMORY = 6,
    MWPY_LEFT_UNMET = 7, /* its name was never there; as the type's name: one that is near */
};
struct mwpy_left {
    uint64_t count;
    uint8_t why, type; /* type: bytes of the type's name, which follows, and then the path */
    uint16_t unused;
};
enum { MWPY_LEFT_HEAD = 12 }; /* bytes of it that are recorded */

typedef struct mwpy_slab_of_cells {
    unsigned char *page;    /* the watched view */
    const mwpy_cell *cells; /* the same, by the addresses that the core writes to: where it has just written, the
                               processor finds the bytes at no others at once */
    size_t pages;
    mw_variable_id id;
    uint32_t used; /* cells handed out so far */
    struct mwpy_told {
        uint64_t stamp;   /* mw_journal_stamp() when its path was recorded; 0: never */
        uint64_t path;    /* which one, as mw_set_subject_by() has it */
        uint64_t renames; /* of the watch, at that time */
        uint64_t turn;    /* of mwpy_aliases, when its other names were looked at */
        uint64_t aliases; /* stands for those that were recorded; 0: none */
        uint64_t judged;  /* when it was asked whether it is a secret, and the answer: node_secrets.c */
    } *told;              /* for each cell */
} mwpy_slab_of_cells;

typedef struct mwpy_cells {
    PyObject *name;
    PyObject *metadata; /* bytes: a JSON object without its end, for each slab */
    uint32_t flags;
    unsigned slabs;
    uint64_t renames; /* how often paths have become others */
    bool exhausted;   /* a cell was refused: said once */
    PyObject *judged; /* list of (program, handle): conditions of all cells; NULL: there are none */
    bool acts_itself; /* whoever writes a cell acts on what has met a condition, by mwpy_act() */
    uint32_t *free;   /* cells given back */
    size_t free_n, free_most;
    mw_ending ending; /* why the watch ends, as far as it is known */
    mwpy_slab_of_cells slab[MWPY_SLABS];
} mwpy_cells;

/* Of all watches together. */
extern struct mwpy_aliases {
    size_t links;  /* that lead to what has another name already: 0: every place has one name */
    uint64_t turn; /* how often names may have become others */
} mwpy_aliases;

/* Paths of a watch have become others. */
static inline void mwpy_cells_rename(mwpy_cells *cells) {
    cells->renames++;
    mwpy_aliases.turn += mwpy_aliases.links != 0;
}
/* So many links more, or fewer. */
static inline void mwpy_aliases_change(ptrdiff_t links) {
    mwpy_aliases.turn += links || mwpy_aliases.links;
    mwpy_aliases.links += (size_t)links;
}

/* Which of an object's cells. */
typedef uint32_t mwpy_cell_number;
enum { MWPY_NO_CELL = UINT32_MAX };

/* Makes the first slab, with room for so many cells. 0, or -1 with an exception. */
int mwpy_cells_open(mwpy_cells *cells, size_t count);
/* Records another description of the object. 0, or -1 with an exception. */
int mwpy_cells_describe(mwpy_cells *cells, PyObject *metadata);
/* Has each event judged by a program (bytes) for conditions; program NULL: by those of this handle no more. 0, or -1
 * with an exception. */
int mwpy_cells_judge(mwpy_cells *cells, PyObject *program, uint32_t handle);
/* Ends the watch of all slabs and frees them. */
void mwpy_cells_close(mwpy_cells *cells);

/* MWPY_NO_CELL: there is no memory, and a line on stderr has said so. Sets no exception. */
mwpy_cell_number mwpy_cell_take(mwpy_cells *cells);
void mwpy_cell_give_back(mwpy_cells *cells, mwpy_cell_number number);
/* The same of one that may hold something, which it gives up without an event. MWPY_NO_CELL: nothing. */
void mwpy_cell_empty(mwpy_cells *cells, mwpy_cell_number number);

static inline const mwpy_slab_of_cells *mwpy_slab_of(const mwpy_cells *cells, mwpy_cell_number number) {
    return &cells->slab[number >> MWPY_INDEX_BITS];
}
static inline uint32_t mwpy_index_of(mwpy_cell_number number) { return number & ((1u << MWPY_INDEX_BITS) - 1); }
static inline const mwpy_cell *mwpy_cell_at(const mwpy_cells *cells, mwpy_cell_number number) {
    return &mwpy_slab_of(cells, number)->cells[mwpy_index_of(number)];
}
/* Whether the journal knows all names of a cell's place. */
bool mwpy_cell_is_told(const mwpy_cells *cells, mwpy_cell_number number);
/* Whether it knows the path; if not, mwpy_cell_tell() says it. */
static inline bool mwpy_cell_has_path(const mwpy_cells *cells, mwpy_cell_number number) {
    const struct mwpy_told *told = &mwpy_slab_of(cells, number)->told[mwpy_index_of(number)];
    return told->stamp == mw_journal_stamp() && told->renames == cells->renames;
}
/* Which path the journal knows, for mw_set_subject_by(). */
static inline uint64_t mwpy_cell_path(const mwpy_cells *cells, mwpy_cell_number number) {
    return mwpy_cell_has_path(cells, number) ? mwpy_slab_of(cells, number)->told[mwpy_index_of(number)].path : 0;
}
/* It is given to another place, whose path must be told. */
void mwpy_cell_untell(mwpy_cells *cells, mwpy_cell_number number);
void mwpy_cell_tell(mwpy_cells *cells, mwpy_cell_number number, const char *path, size_t n);
/* Says the other names of a place whose path is told, a payload of mw_alias_record(), unless the journal has them. 0
 * bytes: there are none. */
void mwpy_cell_tell_aliases(mwpy_cells *cells, mwpy_cell_number number, const char *names, size_t n);
/* Says a hash of it instead; false: it says one already, or that there is nothing. */
static inline bool mwpy_cell_hide(const mwpy_cells *cells, mwpy_cell *cell) {
    return mwpy_cell_hide_as(cell, cells->slab[0].id);
}
uint64_t *mwpy_cell_judged(const mwpy_cells *cells, mwpy_cell_number number);
/* Writes what the cell holds now; fills `now` with zeros as far as it held more. activation: as mwpy_origin_now() has
 * it. */
void mwpy_cell_write(mwpy_cells *cells, mwpy_cell_number number, mwpy_cell *now, mw_shadow why, uint32_t activation);
#endif
