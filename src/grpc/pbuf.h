/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protocol buffers' wire format (protobuf.dev/programming-guides/encoding), as much of it as health checks
 * and reflection need: fields one after another, without a schema. Reading allocates nothing and borrows.
 */
#ifndef EG_GRPC_PBUF_H
#define EG_GRPC_PBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"

struct eg_pbuf {
	const uint8_t *at, *end;
};

struct eg_pbuf_field {
	uint32_t number;
	bool bytes; /* length-delimited: data and len; else value */
	const uint8_t *data;
	size_t len;
	uint64_t value;
};

#define EG_PBUF(data_, len_) \
	((struct eg_pbuf){(const uint8_t *)(data_), (const uint8_t *)(data_) + (len_)})

/* 1: *ret is the next field; 0: there is none; -EPROTO: what comes is no field. */
int eg_pbuf_next(struct eg_pbuf *p, struct eg_pbuf_field *ret) EG_MUST_CHECK;
void eg_pbuf_put_varint(struct eg_strbuf *b, uint32_t number, uint64_t value);
void eg_pbuf_put_bytes(struct eg_strbuf *b, uint32_t number, const void *data, size_t len);
/* The key and length of a field of len bytes that the caller appends. */
void eg_pbuf_put_key(struct eg_strbuf *b, uint32_t number, size_t len);

#endif
