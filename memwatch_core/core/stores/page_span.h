/* page_span.h - the destination of a store, page by page: locked, read, recorded, published. */
#ifndef MEMWATCH_PAGE_SPAN_H
#define MEMWATCH_PAGE_SPAN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "memwatch.h"
#include "base/compiler.h"
#include "journal/registry.h"

struct page_span {
    struct page_piece piece[2];
    unsigned count;
    bool missing[2]; /* a part that isn't ours, and can't be read */
};

/* Locks the pages of [at, at + size), in the order of their numbers. False if one of them was unregistered meanwhile.
 */
MW_HIDDEN bool page_span_lock(struct page_span *span, uintptr_t at, unsigned size);
MW_HIDDEN void page_span_unlock(struct page_span *span);
MW_HIDDEN void page_span_read(struct page_span *span, uintptr_t at, uint8_t *to);
/* Writes the part that lies beyond our pages, or learns that it can't be: then the whole store must fault. Of a store
 * that leaves bytes out, from the first to the last byte that it writes there. */
MW_HIDDEN bool page_span_write_beyond(const struct page_span *span, uintptr_t at, const uint8_t *bytes,
                                      uint64_t written);
MW_HIDDEN void page_span_publish(const struct page_span *span, const uint8_t *after);
/* Applies `after`, what a write leaves at `at`: locks, records, publishes. At most STORE_MAX bytes, or in ours alone:
 * on one page or two, which lie side by side in the writable view too. `call` made it, or, NULL, an instruction. False
 * if a part of the range that isn't ours can't be written, or is no longer what it was. */
MW_HIDDEN bool page_span_apply(uintptr_t at, const uint8_t *after, unsigned size, const mw_origin *origin,
                               const struct mwj_call *call);
MW_HIDDEN bool safe_read(void *to, uintptr_t from, size_t n);
MW_HIDDEN bool safe_write(uintptr_t to, const void *from, size_t n);
#endif
