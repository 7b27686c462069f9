/* hashes.h - the keyed hashes of SQL statements and parameters, the same as Python's (hashlib.blake2b, siphash.h). */
#ifndef MEMWATCH_HASHES_H
#define MEMWATCH_HASHES_H
#include <stddef.h>
#include <stdint.h>

enum { BLAKE2B_MOST = 64 };

/* BLAKE2b (RFC 7693) with a key of at most 64 bytes (NULL: none), a digest of `size` <= 64 bytes, and the 16 bytes of
 * personalisation that the RFC's reference implementation has. */
void blake2b(uint8_t *digest, size_t size, const void *data, size_t n, const void *key, size_t key_size,
             const uint8_t person[16]);

#endif
