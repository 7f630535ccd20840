/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layouts of gpu_metrics (drivers/gpu/drm/amd/include/kgd_pp_interface.h of Linux): header u16 size,
 * u8 format, u8 content, then a struct of its own for each version, little-endian. A table of any
 * other size than its version's is refused: the kernel would have changed the layout.
 *
 * Two things are left out because nobody says their unit: the energy of 1.1 to 1.3 and the power of
 * 2.1 to 2.3. The hwmon chip of those cards tells power in microwatts.
 */
#include "drivers/amdgpu/gpu_metrics.h"

#include <errno.h>
#include <string.h>

enum { HEADER_SIZE = 4 };

struct layout {
	uint8_t format, content;
	uint16_t size;
	uint16_t power;	     /* offset */
	uint8_t power_bytes; /* 2 or 4; 0: not usable */
	uint32_t power_unit_uw;
	uint16_t energy; /* offset; 0: none, or its unit is unknown */
	uint16_t clock;	 /* offset */
};

static const struct layout layouts[] = {
	{1, 1, 96, 22, 2, 1000000, 0, 32},    {1, 2, 104, 22, 2, 1000000, 0, 32},
	{1, 3, 120, 22, 2, 1000000, 0, 32},   {1, 4, 288, 10, 2, 1000000, 24, 32},
	{1, 5, 360, 10, 2, 1000000, 88, 96},  {1, 6, 1664, 10, 2, 1000000, 16, 24},
	{1, 7, 2208, 10, 2, 1000000, 24, 32}, {1, 8, 3872, 10, 2, 1000000, 24, 32},
	{2, 1, 120, 40, 0, 0, 0, 32},	      {2, 2, 128, 40, 0, 0, 0, 32},
	{2, 3, 152, 40, 0, 0, 0, 32},	      {2, 4, 168, 40, 2, 1000, 0, 32},
	{3, 0, 264, 112, 4, 1000, 0, 104},
};

/* Little-endian; *ret_absent when every byte is ones. */
static uint64_t get(const uint8_t *p, unsigned bytes, bool *ret_absent)
{
	uint64_t v = 0;
	bool ones = true;

	for (unsigned i = 0; i < bytes; i++) {
		v |= (uint64_t)p[i] << (8 * i);
		ones &= p[i] == 0xff;
	}
	*ret_absent = ones;
	return v;
}

int eg_amdgpu_metrics_decode(const void *data, size_t size, struct eg_amdgpu_metrics *ret)
{
	const uint8_t *p = data;
	const struct layout *l = NULL;
	struct eg_amdgpu_metrics m = {0};
	size_t declared;
	bool absent;

	if (size < HEADER_SIZE)
		return -EMSGSIZE;
	declared = p[0] | (size_t)p[1] << 8;
	m.format = p[2];
	m.content = p[3];
	for (size_t i = 0; i < EG_ARRAY_SIZE(layouts); i++)
		if (layouts[i].format == m.format && layouts[i].content == m.content)
			l = &layouts[i];
	if (!l)
		return -ENOTSUP;
	if (declared != l->size || size != l->size)
		return -EPROTO;
	if (l->power_bytes) {
		m.power_uw = get(p + l->power, l->power_bytes, &absent) * l->power_unit_uw;
		m.have_power = !absent;
	}
	if (l->energy) {
		m.energy = get(p + l->energy, 8, &absent);
		m.have_energy = !absent;
	}
	m.clock_ns = get(p + l->clock, 8, &absent);
	m.have_clock = !absent;
	if (!m.have_power)
		m.power_uw = 0;
	if (!m.have_energy)
		m.energy = 0;
	if (!m.have_clock)
		m.clock_ns = 0;
	*ret = m;
	return 0;
}

bool eg_amdgpu_metrics_is_apu(const void *data, size_t size)
{
	const uint8_t *p = data;

	return size >= HEADER_SIZE && (p[2] == 2 || p[2] == 3);
}
