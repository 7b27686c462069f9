/* page_span.h - a store's destination, which lies on one page or two: locked, read, recorded, published. */
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
    bool missing[2]; /* the piece is on no page of the core's, and can't be read */
};

/* Locks the pages of [at, at + size), in the order of their numbers. False: a page was unregistered meanwhile. */
MW_HIDDEN bool page_span_lock(struct page_span *span, uintptr_t at, unsigned size);
MW_HIDDEN void page_span_unlock(struct page_span *span);
MW_HIDDEN void page_span_read(struct page_span *span, uintptr_t at, uint8_t *to);
/* Writes the pieces that lie on no page of the core's. False: one can't be written, and the whole store must fault.
 * `written` as in registry_record(): of a masked store, only the bytes from the first to the last one that it writes.
 */
MW_HIDDEN bool page_span_write_beyond(const struct page_span *span, uintptr_t at, const uint8_t *bytes,
                                      uint64_t written);
MW_HIDDEN void page_span_publish(const struct page_span *span, const uint8_t *after);
/* Writes the bytes `after` to `at`: locks, records, publishes. More than STORE_MAX bytes only if all of them lie on
 * pages of the core's that are neighbours in the writable view. `call`: the call of libc that wrote them; NULL: an
 * instruction. False: a part on other memory can't be written, or a page was unregistered meanwhile. */
MW_HIDDEN bool page_span_apply(uintptr_t at, const uint8_t *after, unsigned size, const mw_origin *origin,
                               const struct mwj_call *call);
/* Copies from and to memory that may not be there, by the kernel; false if it isn't. */
MW_HIDDEN bool safe_read(void *to, uintptr_t from, size_t n);
MW_HIDDEN bool safe_write(uintptr_t to, const void *from, size_t n);
#endif
