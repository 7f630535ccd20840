/* SPDX-License-Identifier: Apache-2.0 */
/* See record.h. */
#include "store/record.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "store/bytes.h"
#include "store/crc32c.h"

/* Of the file's header. */
enum { HEADER_VERSION = 8, HEADER_WIDTH = 12, HEADER_UNIX = 16, HEADER_CRC = 252 };
/* Of every record: its CRC covers all that follows it. */
enum {
	AT_CRC = 0,
	AT_MARK = 4,
	AT_VERSION = 5,
	AT_TYPE = 6,
	AT_FLAGS = 7,
	AT_SESSION = 8,
	AT_UNIX = 16
};
enum { AT_KEY = 24, AT_TEXT = 32, AT_BOOT = 32, AT_DELTA = 32, AT_FEED = 40, AT_NUMBERS = 48 };
enum { FLAG_BASE = 1 };
enum { NUMBERS_COUNTER = 1 };

_Static_assert(AT_TEXT + EG_RECORD_TEXT_MAX == EG_RECORD_WIDTH, "a text ends with its record");
_Static_assert(AT_NUMBERS + EG_NUMBERS_BYTES <= EG_RECORD_WIDTH, "a delta fits its record");
_Static_assert(EG_STORE_KEY_TEXT_MAX <= EG_RECORD_TEXT_MAX, "a canonical string fits its record");
_Static_assert((int)EG_RECORD_MARK_AT == (int)AT_MARK, "");

uint64_t eg_fnv1a(const void *data, size_t n)
{
	const uint8_t *p = data;
	uint64_t h = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3ULL;
	return h;
}

uint32_t eg_feed_hash(const char *feed)
{
	return *feed ? eg_crc32c(0, feed, strlen(feed)) : 0;
}

const char *eg_record_word(enum eg_record_type type)
{
	static const char *const word[EG_RECORD_TYPE_END] = {
		[EG_RECORD_START] = "start",	 [EG_RECORD_STOP] = "stop",
		[EG_RECORD_ACCOUNT] = "account", [EG_RECORD_CHANNEL] = "channel",
		[EG_RECORD_DELTA] = "delta",
	};

	return (unsigned)type < EG_RECORD_TYPE_END && word[type] ? word[type] : "?";
}

/* ---- boot ids ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_uuid(const char *s, struct eg_boot *ret)
{
	size_t digits = 0;

	for (; *s; s++) {
		int v = hex_digit(*s);

		if (*s == '-')
			continue;
		if (v < 0 || digits == 2 * EG_BOOT_BYTES)
			return false;
		ret->id[digits / 2] = (uint8_t)(ret->id[digits / 2] << 4 | v);
		digits++;
	}
	return digits == 2 * EG_BOOT_BYTES;
}

struct eg_boot eg_boot_parse(const char *text)
{
	struct eg_boot b = {0};

	if (!text || !*text || parse_uuid(text, &b))
		return b;
	b = (struct eg_boot){0};
	eg_put_u64(b.id, eg_fnv1a(text, strlen(text)));
	return b;
}

bool eg_boot_known(const struct eg_boot *b)
{
	static const struct eg_boot none;

	return memcmp(b, &none, sizeof(none)) != 0;
}

bool eg_boot_equal(const struct eg_boot *a, const struct eg_boot *b)
{
	return eg_boot_known(a) && memcmp(a, b, sizeof(*a)) == 0;
}

void eg_boot_text(const struct eg_boot *b, char buf[EG_BOOT_TEXT_MAX])
{
	char *p = buf;

	for (size_t i = 0; eg_boot_known(b) && i < EG_BOOT_BYTES; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = "0123456789abcdef"[b->id[i] >> 4];
		*p++ = "0123456789abcdef"[b->id[i] & 15];
	}
	*p = '\0';
}

/* ---- the header ---- */

void eg_log_header_encode(uint8_t out[EG_RECORD_WIDTH], uint64_t unix_ns)
{
	memset(out, 0, EG_RECORD_WIDTH);
	memcpy(out, EG_LOG_MAGIC, 8);
	eg_put_u32(out + HEADER_VERSION, EG_LOG_VERSION);
	eg_put_u32(out + HEADER_WIDTH, EG_RECORD_WIDTH);
	eg_put_u64(out + HEADER_UNIX, unix_ns);
	eg_put_u32(out + HEADER_CRC, eg_crc32c(0, out, HEADER_CRC));
}

enum eg_log_header eg_log_header_decode(const uint8_t *in, size_t n, uint32_t *ret_version)
{
	if (n < 8 || memcmp(in, EG_LOG_MAGIC, 8) != 0)
		return EG_LOG_HEADER_FOREIGN;
	if (n < EG_RECORD_WIDTH || eg_get_u32(in + HEADER_CRC) != eg_crc32c(0, in, HEADER_CRC))
		return EG_LOG_HEADER_DAMAGED;
	*ret_version = eg_get_u32(in + HEADER_VERSION);
	return *ret_version == EG_LOG_VERSION && eg_get_u32(in + HEADER_WIDTH) == EG_RECORD_WIDTH ?
		       EG_LOG_HEADER_GOOD :
		       EG_LOG_HEADER_OTHER_VERSION;
}

/* ---- numbers ---- */

void eg_numbers_encode(uint8_t *out, const struct eg_numbers *n)
{
	const uint64_t first[] = {n->uj, n->recovered_uj, n->gap_ns, n->resets, n->created_unix_ns};
	const struct eg_standing *l = &n->last;
	const uint64_t rest[] = {l->raw,      l->t_ns,	  l->awake_ns,
				 l->unix_ns,  l->rem,	  l->unit_num,
				 l->unit_den, l->modulus, l->counter ? NUMBERS_COUNTER : 0};

	for (size_t i = 0; i < EG_ARRAY_SIZE(first); i++)
		eg_put_u64(out + 8 * i, first[i]);
	memcpy(out + 40, n->boot.id, EG_BOOT_BYTES);
	for (size_t i = 0; i < EG_ARRAY_SIZE(rest); i++)
		eg_put_u64(out + 56 + 8 * i, rest[i]);
}

void eg_numbers_decode(const uint8_t *in, struct eg_numbers *ret)
{
	*ret = (struct eg_numbers){
		.uj = eg_get_u64(in),
		.recovered_uj = eg_get_u64(in + 8),
		.gap_ns = eg_get_u64(in + 16),
		.resets = eg_get_u64(in + 24),
		.created_unix_ns = eg_get_u64(in + 32),
		.last = {.raw = eg_get_u64(in + 56),
			 .t_ns = eg_get_u64(in + 64),
			 .awake_ns = eg_get_u64(in + 72),
			 .unix_ns = eg_get_u64(in + 80),
			 .rem = eg_get_u64(in + 88),
			 .unit_num = eg_get_u64(in + 96),
			 .unit_den = eg_get_u64(in + 104),
			 .modulus = eg_get_u64(in + 112),
			 .counter = (eg_get_u64(in + 120) & NUMBERS_COUNTER) != 0},
	};
	memcpy(ret->boot.id, in + 40, EG_BOOT_BYTES);
}

/* ---- records ---- */

void eg_record_encode(uint8_t out[EG_RECORD_WIDTH], const struct eg_record *r)
{
	memset(out, 0, EG_RECORD_WIDTH);
	out[AT_MARK] = EG_RECORD_MARK;
	out[AT_VERSION] = EG_LOG_VERSION;
	out[AT_TYPE] = (uint8_t)r->type;
	eg_put_u64(out + AT_SESSION, r->session);
	eg_put_u64(out + AT_UNIX, r->unix_ns);
	switch (r->type) {
	case EG_RECORD_ACCOUNT:
	case EG_RECORD_CHANNEL:
		eg_put_u64(out + AT_KEY, r->key);
		memcpy(out + AT_TEXT, r->text, strnlen(r->text, EG_RECORD_TEXT_MAX - 1));
		break;
	case EG_RECORD_DELTA:
		out[AT_FLAGS] = r->base ? FLAG_BASE : 0;
		eg_put_u64(out + AT_KEY, r->key);
		eg_put_u64(out + AT_DELTA, r->delta_uj);
		eg_put_u32(out + AT_FEED, r->feed);
		eg_numbers_encode(out + AT_NUMBERS, &r->n);
		break;
	case EG_RECORD_START:
	case EG_RECORD_STOP:
	case EG_RECORD_TYPE_END:
		memcpy(out + AT_BOOT, r->n.boot.id, EG_BOOT_BYTES);
		break;
	}
	eg_put_u32(out + AT_CRC, eg_crc32c(0, out + AT_MARK, EG_RECORD_WIDTH - AT_MARK));
}

bool eg_record_is_whole(const uint8_t in[EG_RECORD_WIDTH])
{
	return in[AT_MARK] == EG_RECORD_MARK && in[AT_VERSION] == EG_LOG_VERSION &&
	       in[AT_TYPE] >= EG_RECORD_START && in[AT_TYPE] < EG_RECORD_TYPE_END &&
	       eg_get_u32(in + AT_CRC) == eg_crc32c(0, in + AT_MARK, EG_RECORD_WIDTH - AT_MARK);
}

enum eg_record_type eg_record_peek(const uint8_t in[EG_RECORD_WIDTH])
{
	return (enum eg_record_type)in[AT_TYPE];
}

int eg_record_decode(const uint8_t in[EG_RECORD_WIDTH], struct eg_record *ret)
{
	const char *text = (const char *)in + AT_TEXT;
	size_t len;

	ret->type = eg_record_peek(in);
	ret->session = eg_get_u64(in + AT_SESSION);
	ret->unix_ns = eg_get_u64(in + AT_UNIX);
	ret->key = eg_get_u64(in + AT_KEY);
	switch (ret->type) {
	case EG_RECORD_DELTA:
		ret->base = in[AT_FLAGS] & FLAG_BASE;
		ret->delta_uj = eg_get_u64(in + AT_DELTA);
		ret->feed = eg_get_u32(in + AT_FEED);
		eg_numbers_decode(in + AT_NUMBERS, &ret->n);
		return 0;
	case EG_RECORD_ACCOUNT:
	case EG_RECORD_CHANNEL:
		len = strnlen(text, EG_RECORD_TEXT_MAX);
		if (len == 0 || len == EG_RECORD_TEXT_MAX)
			return -EPROTO;
		memcpy(ret->text, text, len + 1);
		if (ret->type == EG_RECORD_ACCOUNT &&
		    (len >= EG_STORE_KEY_TEXT_MAX || ret->key != eg_fnv1a(text, len)))
			return -EPROTO;
		return 0;
	case EG_RECORD_START:
	case EG_RECORD_STOP:
		memcpy(ret->n.boot.id, in + AT_BOOT, EG_BOOT_BYTES);
		return 0;
	case EG_RECORD_TYPE_END:
		break;
	}
	return -EPROTO;
}
