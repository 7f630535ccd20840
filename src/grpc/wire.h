/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The texts of gRPC's protocol (grpc/doc/PROTOCOL-HTTP2.md): time-outs, content types, messages of a
 * status. Pure functions.
 */
#ifndef EG_GRPC_WIRE_H
#define EG_GRPC_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

#define EG_GRPC_PREFIX_BYTES 5	  /* of a message: compressed flag, length (big endian) */
#define EG_GRPC_TEXT_MAX     1024 /* bytes of a status's message as it is sent; longer ones are cut */

/* grpc-timeout: up to 8 digits and a unit of H M S m u n. -EINVAL for anything else. */
int eg_grpc_parse_timeout(const char *s, size_t n, uint64_t *ret_ns) EG_MUST_CHECK;
/* "application/grpc", alone or with +FORMAT or ;PARAMETERS, in any case. */
bool eg_grpc_is_content_type(const char *s, size_t n);
/* Percent-encodes what is not printable ASCII; cut before a character that does not fit. Returns its length. */
size_t eg_grpc_encode_text(const char *text, char out[EG_GRPC_TEXT_MAX]);
void eg_grpc_put_prefix(uint8_t out[EG_GRPC_PREFIX_BYTES], uint32_t len);
uint32_t eg_grpc_get_length(const uint8_t prefix[EG_GRPC_PREFIX_BYTES]);

#endif
