/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32C (Castagnoli, polynomial 0x1EDC6F41 reflected; RFC 3720 appendix B.4): finds every change of
 * up to 3 bits and every burst of up to 32 in the lengths used here. By the processor's instruction
 * where it has one, found at run time, else eight bytes a step from tables.
 */
#ifndef EG_STORE_CRC32C_H
#define EG_STORE_CRC32C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* crc: 0 to begin, or the result over what comes before. */
uint32_t eg_crc32c(uint32_t crc, const void *data, size_t n);
/* The same from tables, whatever the processor has. */
uint32_t eg_crc32c_portable(uint32_t crc, const void *data, size_t n);
/* Does the processor's instruction do the work? */
bool eg_crc32c_by_hardware(void);

#endif
