/* reader_region.h - part of reader.c: which bytes of a variable a run of stores wrote, in constant memory.
 *
 * Stores that touch each other are one block. Blocks of one length at one distance are a row, rows of one length at one
 * distance a grid: so a slice, a column and a block of a matrix each are described exactly, whatever their size. What
 * is no grid is kept as up to PIECES pieces, and beyond that as the range that all of it lies within. */
#ifndef MEMWATCH_READER_REGION_H
#define MEMWATCH_READER_REGION_H
#include <stdint.h>
#include <stdlib.h>

#define PIECES 16
#define ROWS_TRIED 64 /* rows that are looked at one by one; of more, one is assumed to meet */
enum region_shape { REGION_GRID, REGION_PIECES, REGION_WITHIN };

typedef struct piece {
    int64_t start, stop;
} Piece;

/* The bytes [start + i * stride[0] + j * stride[1], + length), for i below count[0] and j below count[1]. */
typedef struct span {
    int64_t start, length, stride[2], count[2];
} Span;

typedef struct region {
    int64_t low, high; /* all of it lies in [low, high) */
    Piece open;        /* GRID: the block that the last store belongs to */
    Span row, rows;    /* GRID: the complete blocks of the last row; the complete rows. count[0] 0: none */
    Piece pieces[PIECES];
    unsigned count; /* of pieces */
    enum region_shape shape;
} Region;

static void region_begin(Region *region, int64_t start, int64_t stop) {
    *region = (Region){.low = start, .high = stop, .open = {start, stop}};
}

static int piece_meets(const Piece *piece, int64_t start, int64_t stop) {
    return piece->start < stop && start < piece->stop;
}

static int blocks_meet(int64_t first, int64_t length, int64_t stride, int64_t count, int64_t start, int64_t stop) {
    if (stride < 0) {
        first += stride * (count - 1);
        stride = -stride;
    }
    if (count == 1 || stride == 0) return first < stop && start < first + length;
    int64_t before = start - length - first, at = before < 0 ? 0 : before / stride + 1; /* the first that ends behind */
    return at < count && first + at * stride < stop;
}

static int64_t magnitude(int64_t number) { return number < 0 ? -number : number; }

/* Whether [start, stop) has bytes of a span; 1 as well if that would take long to say. */
static int span_meets(const Span *span, int64_t start, int64_t stop) {
    if (span->count[0] == 0) return 0;
    if (span->count[1] == 1)
        return blocks_meet(span->start, span->length, span->stride[0], span->count[0], start, stop);
    int outer = magnitude(span->stride[1]) >= magnitude(span->stride[0]), inner = !outer;
    int64_t first = span->start, stride = span->stride[outer], count = span->count[outer];
    int64_t reach = (span->count[inner] - 1) * span->stride[inner]; /* from a row's first block to its last */
    int64_t low = reach < 0 ? reach : 0, width = magnitude(reach) + span->length;
    if (stride < 0) {
        first += stride * (count - 1);
        stride = -stride;
    }
    if (stride == 0) return blocks_meet(first, span->length, span->stride[inner], span->count[inner], start, stop);
    int64_t before = start - width - low - first, at = before < 0 ? 0 : before / stride + 1;
    for (int64_t tried = 0; at < count && first + low + at * stride < stop; at++, tried++)
        if (tried == ROWS_TRIED ||
            blocks_meet(first + at * stride, span->length, span->stride[inner], span->count[inner], start, stop))
            return 1;
    return 0;
}

/* Whether the region may have bytes of [start, stop): of a grid or of pieces exactly. */
static int region_meets(const Region *region, int64_t start, int64_t stop) {
    if (region->low >= stop || start >= region->high) return 0;
    if (region->shape == REGION_GRID)
        return piece_meets(&region->open, start, stop) || span_meets(&region->row, start, stop) ||
               span_meets(&region->rows, start, stop);
    for (unsigned i = 0; region->shape == REGION_PIECES && i < region->count; i++)
        if (piece_meets(&region->pieces[i], start, stop)) return 1;
    return region->shape == REGION_WITHIN;
}

/* Whether all of [start, stop) was written. Of a grid's complete blocks, and of what is known by its range only, any
 * byte counts as all. */
static int region_has(const Region *region, int64_t start, int64_t stop) {
    if (region->low >= stop || start >= region->high) return 0;
    if (region->shape == REGION_GRID)
        return (region->open.start <= start && stop <= region->open.stop) || span_meets(&region->row, start, stop) ||
               span_meets(&region->rows, start, stop);
    for (unsigned i = 0; region->shape == REGION_PIECES && i < region->count; i++)
        if (region->pieces[i].start <= start && stop <= region->pieces[i].stop) return 1;
    return region->shape == REGION_WITHIN;
}

/* Adds the last row to the grid. -1: it isn't like the others. */
static int region_end_row(Region *region) {
    Span *rows = &region->rows, *row = &region->row;
    if (rows->count[0] == 0) {
        *rows = *row;
        return 0;
    }
    if (row->count[0] != rows->count[0] || row->length != rows->length) return -1;
    if (rows->count[1] == 1) rows->stride[1] = row->start - rows->start;
    if (row->start != rows->start + rows->count[1] * rows->stride[1]) return -1;
    rows->count[1]++;
    return 0;
}

/* Adds the open block to its row, or begins the next one with it. -1: it fits neither. */
static int region_end_block(Region *region) {
    Span *rows = &region->rows, *row = &region->row;
    const Piece *open = &region->open;
    int64_t length = open->stop - open->start;
    if (row->count[0] != 0 && length != row->length) return -1;
    if (row->count[0] == 1 && rows->count[0] == 0) row->stride[0] = open->start - row->start;
    int is_full = rows->count[0] != 0 && row->count[0] == rows->count[0];
    if (row->count[0] != 0 && !is_full && open->start == row->start + row->count[0] * row->stride[0]) {
        row->count[0]++;
        return 0;
    }
    if (row->count[0] != 0 && region_end_row(region) < 0) return -1;
    *row = (Span){.start = open->start, .length = length, .stride = {rows->stride[0], 0}, .count = {1, 1}};
    return 0;
}

/* Adds a piece, joined with those that it touches. */
static void region_add_piece(Region *region, int64_t start, int64_t stop) {
    for (unsigned i = 0; i < region->count;) {
        Piece *piece = &region->pieces[i];
        if (piece->start > stop || start > piece->stop) {
            i++;
            continue;
        }
        if (piece->start <= start && stop <= piece->stop) return;
        start = piece->start < start ? piece->start : start;
        stop = piece->stop > stop ? piece->stop : stop;
        *piece = region->pieces[--region->count];
        i = 0;
    }
    if (region->count == PIECES)
        region->shape = REGION_WITHIN;
    else
        region->pieces[region->count++] = (Piece){start, stop};
}

static void region_add_span(Region *region, const Span *span) {
    for (int64_t j = 0; span->count[0] != 0 && j < span->count[1]; j++)
        for (int64_t i = 0; i < span->count[0] && region->shape == REGION_PIECES; i++) {
            int64_t start = span->start + i * span->stride[0] + j * span->stride[1];
            region_add_piece(region, start, start + span->length);
        }
}

/* It is no grid. */
static void region_break(Region *region) {
    const Span *row = &region->row, *rows = &region->rows;
    int64_t blocks = 1 + row->count[0] + rows->count[0] * rows->count[1];
    region->shape = blocks <= PIECES ? REGION_PIECES : REGION_WITHIN;
    if (region->shape == REGION_WITHIN) return;
    region_add_span(region, rows);
    region_add_span(region, row);
    region_add_piece(region, region->open.start, region->open.stop);
}

/* Adds the bytes of a store. */
static void region_add(Region *region, int64_t start, int64_t stop) {
    int is_inside = start < region->high && region->low < stop;
    if (start < region->low) region->low = start;
    if (stop > region->high) region->high = stop;
    if (region->shape == REGION_GRID) {
        Piece *open = &region->open;
        if (is_inside && (span_meets(&region->row, start, stop) || span_meets(&region->rows, start, stop))) {
            region_break(region);
        } else if (start <= open->stop && open->start <= stop) {
            if (start < open->start) open->start = start;
            if (stop > open->stop) open->stop = stop;
        } else if (region_end_block(region) == 0) {
            *open = (Piece){start, stop};
        } else {
            region_break(region);
        }
    }
    if (region->shape == REGION_PIECES) region_add_piece(region, start, stop);
}

static int piece_order(const void *one, const void *other) {
    int64_t a = ((const Piece *)one)->start, b = ((const Piece *)other)->start;
    return (a > b) - (a < b);
}

/* The region as spans that have no byte in common, at most PIECES; 0: only the range is known. A grid isn't used any
 * more then. */
static unsigned region_spans(Region *region, Span *spans) {
    unsigned count = 0;
    if (region->shape == REGION_GRID && region_end_block(region) < 0) region_break(region);
    if (region->shape == REGION_GRID) {
        if (region_end_row(region) == 0) region->row.count[0] = 0;
        if (region->rows.count[0] != 0) spans[count++] = region->rows;
        if (region->row.count[0] != 0) spans[count++] = region->row;
        return count;
    }
    if (region->shape == REGION_WITHIN) return 0;
    qsort(region->pieces, region->count, sizeof *region->pieces, piece_order);
    for (; count < region->count; count++) {
        const Piece *piece = &region->pieces[count];
        spans[count] = (Span){.start = piece->start, .length = piece->stop - piece->start, .count = {1, 1}};
    }
    return count;
}

#endif
