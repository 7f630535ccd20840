/* SPDX-License-Identifier: Apache-2.0 */
/* See pbuf.h. */
#include "grpc/pbuf.h"

#include <errno.h>

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

#define VARINT_BYTES 10
#define NUMBER_MAX   ((1u << 29) - 1)

static int get_varint(struct eg_pbuf *p, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < VARINT_BYTES && p->at < p->end; i++) {
		uint8_t b = *p->at++;

		v |= (uint64_t)(b & 0x7f) << (7 * i);
		if (!(b & 0x80)) {
			*ret = v;
			return 0;
		}
	}
	return -EPROTO;
}

static int get_fixed(struct eg_pbuf *p, size_t n, uint64_t *ret)
{
	if ((size_t)(p->end - p->at) < n)
		return -EPROTO;
	*ret = 0;
	for (size_t i = 0; i < n; i++)
		*ret |= (uint64_t)p->at[i] << (8 * i);
	p->at += n;
	return 0;
}

int eg_pbuf_next(struct eg_pbuf *p, struct eg_pbuf_field *ret)
{
	struct eg_pbuf_field f = {0};
	uint64_t key;
	int r;

	if (p->at == p->end)
		return 0;
	r = get_varint(p, &key);
	if (r < 0)
		return r;
	if (key >> 3 == 0 || key >> 3 > NUMBER_MAX)
		return -EPROTO;
	f.number = (uint32_t)(key >> 3);
	switch (key & 7) {
	case VARINT:
		r = get_varint(p, &f.value);
		break;
	case FIXED64:
		r = get_fixed(p, 8, &f.value);
		break;
	case FIXED32:
		r = get_fixed(p, 4, &f.value);
		break;
	case BYTES:
		r = get_varint(p, &f.value);
		if (r == 0 && f.value > (uint64_t)(p->end - p->at))
			r = -EPROTO;
		if (r == 0) {
			f.bytes = true;
			f.data = p->at;
			f.len = (size_t)f.value;
			p->at += f.len;
		}
		break;
	default:
		r = -EPROTO;
	}
	if (r < 0)
		return r;
	*ret = f;
	return 1;
}

static void put(struct eg_strbuf *b, uint64_t v)
{
	while (v >= 0x80) {
		eg_strbuf_putc(b, (char)(v | 0x80));
		v >>= 7;
	}
	eg_strbuf_putc(b, (char)v);
}

void eg_pbuf_put_varint(struct eg_strbuf *b, uint32_t number, uint64_t value)
{
	put(b, (uint64_t)number << 3 | VARINT);
	put(b, value);
}

void eg_pbuf_put_key(struct eg_strbuf *b, uint32_t number, size_t len)
{
	put(b, (uint64_t)number << 3 | BYTES);
	put(b, len);
}

void eg_pbuf_put_bytes(struct eg_strbuf *b, uint32_t number, const void *data, size_t len)
{
	eg_pbuf_put_key(b, number, len);
	eg_strbuf_append(b, data, len);
}
