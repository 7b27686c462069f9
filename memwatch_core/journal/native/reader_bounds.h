/* reader_bounds.h - part of reader.c: the least and the greatest of the items that a run of stores found, or left. */
#ifndef MEMWATCH_READER_BOUNDS_H
#define MEMWATCH_READER_BOUNDS_H
#include "reader.h"

#include <stdint.h>
#include <string.h>

#define ITEM 8 /* bytes of the largest item */

/* Each of the three is an item's bytes. NaN is neither least nor greatest. */
typedef struct bounds {
    unsigned char first[ITEM], low[ITEM], high[ITEM];
    char some, same, numbers, nan; /* some: there is an item; same: all have the first's bytes; numbers: low and high */
} Bounds;

#define BOUND(NAME, TYPE)                                                                                              \
    static void NAME(Bounds *bounds, const unsigned char *items, uint64_t size) {                                      \
        TYPE low = 0, high = 0;                                                                                        \
        int numbers = bounds->numbers;                                                                                 \
        memcpy(&low, bounds->low, sizeof low);                                                                         \
        memcpy(&high, bounds->high, sizeof high);                                                                      \
        for (uint64_t at = 0; at < size; at += sizeof(TYPE)) {                                                         \
            TYPE item;                                                                                                 \
            memcpy(&item, items + at, sizeof item);                                                                    \
            if (item != item) {                                                                                        \
                bounds->nan = 1;                                                                                       \
                continue;                                                                                              \
            }                                                                                                          \
            if (!numbers || item < low) low = item;                                                                    \
            if (!numbers || item > high) high = item;                                                                  \
            numbers = 1;                                                                                               \
        }                                                                                                              \
        bounds->numbers = (char)numbers;                                                                               \
        memcpy(bounds->low, &low, sizeof low);                                                                         \
        memcpy(bounds->high, &high, sizeof high);                                                                      \
    }

BOUND(bound_i8, int8_t)
BOUND(bound_u8, uint8_t)
BOUND(bound_i16, int16_t)
BOUND(bound_u16, uint16_t)
BOUND(bound_i32, int32_t)
BOUND(bound_u32, uint32_t)
BOUND(bound_i64, int64_t)
BOUND(bound_u64, uint64_t)
BOUND(bound_f32, float)
BOUND(bound_f64, double)

typedef struct item {
    char letter; /* of the struct module */
    unsigned size;
    void (*bound)(Bounds *, const unsigned char *, uint64_t);
} Item;

static const Item items_known[] = {
    {'b', 1, bound_i8},  {'B', 1, bound_u8},  {'?', 1, bound_u8},  {'h', 2, bound_i16},
    {'H', 2, bound_u16}, {'i', 4, bound_i32}, {'I', 4, bound_u32}, {'q', 8, bound_i64},
    {'Q', 8, bound_u64}, {'f', 4, bound_f32}, {'d', 8, bound_f64},
};

/* The kind of item that a letter stands for; NULL: none that is known. */
static const Item *item_of(char letter) {
    for (size_t i = 0; i < sizeof items_known / sizeof *items_known; i++)
        if (items_known[i].letter == letter) return &items_known[i];
    return NULL;
}

/* Adds `size` bytes of whole items. */
static void bounds_add(Bounds *bounds, const Item *item, const unsigned char *items, uint64_t size) {
    if (size == 0) return;
    if (!bounds->some) memcpy(bounds->first, items, item->size);
    bounds->same = (char)((!bounds->some || bounds->same) && memcmp(bounds->first, items, item->size) == 0 &&
                          memcmp(items, items + item->size, size - item->size) == 0);
    if (!bounds->some || !bounds->same) {
        if (bounds->some && !bounds->numbers) item->bound(bounds, bounds->first, item->size);
        item->bound(bounds, items, size);
    }
    bounds->some = 1;
}

/* The tuple (first, low, high, same, nan); None if there is no item. low and high are b"" if all are NaN. */
static PyObject *bounds_tuple(const Bounds *bounds, const Item *item) {
    if (item == NULL || !bounds->some) return Py_NewRef(Py_None);
    Py_ssize_t size = item->size, known = bounds->numbers ? size : 0;
    return Py_BuildValue("y#y#y#NN", bounds->first, size, bounds->low, known, bounds->high, known,
                         PyBool_FromLong(bounds->same), PyBool_FromLong(bounds->nan));
}

#endif
