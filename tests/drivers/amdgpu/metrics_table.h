/* SPDX-License-Identifier: Apache-2.0 */
/* gpu_metrics tables for tests: sizes and offsets written down apart from the decoder's. */
#ifndef EG_TESTS_METRICS_TABLE_H
#define EG_TESTS_METRICS_TABLE_H

#include <stdint.h>
#include <string.h>

struct table {
	unsigned format, content, size;
	unsigned power, power_bytes, uw; /* uw 0: unit unknown */
	unsigned energy;		 /* 0: none */
	unsigned clock;
};

static const struct table tables[] = {
	{1, 1, 96, 22, 2, 1000000, 0, 32},    {1, 2, 104, 22, 2, 1000000, 0, 32},
	{1, 3, 120, 22, 2, 1000000, 0, 32},   {1, 4, 288, 10, 2, 1000000, 24, 32},
	{1, 5, 360, 10, 2, 1000000, 88, 96},  {1, 6, 1664, 10, 2, 1000000, 16, 24},
	{1, 7, 2208, 10, 2, 1000000, 24, 32}, {1, 8, 3872, 10, 2, 1000000, 24, 32},
	{2, 1, 120, 40, 2, 0, 0, 32},	      {2, 2, 128, 40, 2, 0, 0, 32},
	{2, 3, 152, 40, 2, 0, 0, 32},	      {2, 4, 168, 40, 2, 1000, 0, 32},
	{3, 0, 264, 112, 4, 1000, 0, 104},
};

static inline const struct table *table_of(unsigned format, unsigned content)
{
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		if (tables[i].format == format && tables[i].content == content)
			return &tables[i];
	return NULL;
}

static inline void table_put(uint8_t *p, unsigned bytes, uint64_t v)
{
	for (unsigned i = 0; i < bytes; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

/* Every byte not set is 0x5a, so that a wrong offset shows. */
static inline size_t table_make(const struct table *t, uint8_t *out, uint64_t power,
				uint64_t energy, uint64_t clock_ns)
{
	memset(out, 0x5a, t->size);
	table_put(out, 2, t->size);
	out[2] = (uint8_t)t->format;
	out[3] = (uint8_t)t->content;
	table_put(out + t->power, t->power_bytes, power);
	if (t->energy)
		table_put(out + t->energy, 8, energy);
	table_put(out + t->clock, 8, clock_ns);
	return t->size;
}

#endif
