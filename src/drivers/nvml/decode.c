/* SPDX-License-Identifier: Apache-2.0 */
/* See decode.h. */
#include "drivers/nvml/decode.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

#define MW_MAX ((uint64_t)INT64_MAX)

int eg_nvml_value_mw(uint32_t type, const union nvml_value *v, uint64_t *ret_mw)
{
	uint64_t mw;

	switch (type) {
	case NVML_DOUBLE:
		if (!isfinite(v->d) || v->d < 0 || v->d >= 0x1p63)
			return -ERANGE;
		mw = (uint64_t)(v->d + 0.5);
		break;
	case NVML_U32:
		mw = v->ui;
		break;
	case NVML_ULONG:
		mw = v->ul;
		break;
	case NVML_U64:
		mw = v->ull;
		break;
	case NVML_S64:
		if (v->sll < 0)
			return -ERANGE;
		mw = (uint64_t)v->sll;
		break;
	case NVML_S32:
		if (v->si < 0)
			return -ERANGE;
		mw = (uint64_t)v->si;
		break;
	case NVML_U16:
		mw = v->us;
		break;
	default:
		return -EPROTO;
	}
	if (mw > MW_MAX)
		return -ERANGE;
	*ret_mw = mw;
	return 0;
}

/* Puts p into the rising list of n points unless its time is there; rings come in order, so this
 * is one comparison a sample. */
static size_t insert(struct eg_nvml_point *list, size_t n, struct eg_nvml_point p)
{
	size_t i = n;

	while (i > 0 && list[i - 1].t_ns > p.t_ns)
		i--;
	if (i > 0 && list[i - 1].t_ns == p.t_ns)
		return n;
	for (size_t k = n; k > i; k--)
		list[k] = list[k - 1];
	list[i] = p;
	return n + 1;
}

int eg_nvml_ring_decode(const struct nvml_sample *samples, size_t n, uint32_t type,
			uint64_t after_ns, uint64_t now_ns, uint64_t unix_ns,
			struct eg_nvml_point *ret)
{
	uint64_t unix_us = unix_ns / 1000;
	size_t count = 0;

	if (type > NVML_U16)
		return -EPROTO;
	for (size_t i = 0; i < n; i++) {
		struct eg_nvml_point p = {0};
		uint64_t age_us;

		/* 0 is a slot that was never written; a stamp ahead of the clock is from before
		 * the clock was set back. */
		if (samples[i].timestamp_us == 0 || samples[i].timestamp_us > unix_us)
			continue;
		age_us = unix_us - samples[i].timestamp_us;
		if (age_us > now_ns / 1000)
			continue;
		p.t_ns = now_ns - age_us * 1000;
		if (p.t_ns <= after_ns)
			continue;
		p.bad = eg_nvml_value_mw(type, &samples[i].value, &p.mw) < 0;
		count = insert(ret, count, p);
	}
	return (int)count;
}

void eg_nvml_pci_text(const struct nvml_pci_info *pci, char *ret, size_t cap)
{
	snprintf(ret, cap, "%04x:%02x:%02x.0", pci->domain, pci->bus, pci->device);
}

void eg_nvml_text(char *s, size_t cap)
{
	s[cap - 1] = '\0';
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || (unsigned char)*s >= 0x7f)
			*s = '?';
}
