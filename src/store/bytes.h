/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers in a file: little-endian, at any offset, whatever the machine. Compilers make each of these
 * one load or store where the machine is little-endian too.
 */
#ifndef EG_STORE_BYTES_H
#define EG_STORE_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t eg_get_u32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static inline uint64_t eg_get_u64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static inline void eg_put_u32(uint8_t *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static inline void eg_put_u64(uint8_t *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

#endif
