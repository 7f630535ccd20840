/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GPUs and CPUs as clients of zeusd number them, and their figures. A GPU's number is NVML's; cards of
 * other vendors come after those. CPUs are the packages in their order, from 0: what a driver left out
 * as the mirror of another, and the platform's counter (psys), are none. A graphics unit that draws from
 * its package is no GPU, or its energy would be there twice.
 *
 * zeusd's answers cannot tell provenance, so that estimates are in them only where compat.estimates
 * allows it, as in the other compatible faces.
 */
#include <errno.h>
#include <string.h>

#include "agent/zeusd_internal.h"
#include "base/parse.h"

#define NUMBER_MAX 1000000 /* of a device */

struct place {
	unsigned group, number, die;
	size_t channel;
};

/* Takes the digits at *s; false: there are none, or too many. */
static bool take_number(const char **s, unsigned *ret)
{
	size_t n = strspn(*s, "0123456789");
	uint64_t v;

	if (n == 0 || eg_parse_u64(*s, n, &v) < 0 || v > NUMBER_MAX)
		return false;
	*s += n;
	*ret = (unsigned)v;
	return true;
}

/* "cpu-0", "cpu-0-die-1", "gpu-3": what follows the word; false: another name. */
static bool number_of(const char *name, const char *word, struct place *p)
{
	static const char die[] = "-die-";
	size_t n = strlen(word);

	if (strncmp(name, word, n) != 0)
		return false;
	name += n;
	if (!take_number(&name, &p->number))
		return false;
	if (strncmp(name, die, strlen(die)) == 0) {
		name += strlen(die);
		if (!take_number(&name, &p->die))
			return false;
	}
	return *name == '\0';
}

static bool is_of(const struct eg_view_channel *vc, enum eg_component component, bool estimates)
{
	return vc->ch->component == component && vc->ch->boundary == EG_BOUNDARY_COMPONENT &&
	       vc->account >= 0 && vc->ch->part_of < 0 && !vc->ch->integrated_gpu &&
	       (estimates || vc->ch->provenance == EG_PROVENANCE_MEASURED);
}

static int by_place(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->group != y->group)
		return x->group < y->group ? -1 : 1;
	if (x->number != y->number)
		return x->number < y->number ? -1 : 1;
	if (x->die != y->die)
		return x->die < y->die ? -1 : 1;
	return x->channel < y->channel ? -1 : x->channel > y->channel;
}

/* Where the device stands in the order of its kind; what has no number comes last. */
static struct place place_of(const struct eg_view_channel *vc, enum eg_zeusd_kind kind)
{
	struct place p = {0};
	bool numbered = kind == EG_ZEUSD_GPU ? number_of(vc->ch->domain, "gpu-", &p) :
					       number_of(vc->ch->device, "cpu-", &p);

	if (!numbered)
		p = (struct place){.group = 2};
	else if (kind == EG_ZEUSD_GPU && vc->ch->source != EG_SOURCE_NVML)
		p.group = 1;
	return p;
}

static bool is_known(const struct eg_view *v, const struct place *p, size_t n, const char *device)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(v->channel[p[i].channel].ch->device, device) == 0)
			return true;
	return false;
}

static int find_dram(const struct eg_view *v, const char *device, bool estimates)
{
	for (size_t i = 0; i < v->n_channels; i++)
		if (is_of(&v->channel[i], EG_COMPONENT_DRAM, estimates) &&
		    strcmp(v->channel[i].ch->device, device) == 0)
			return (int)i;
	return -1;
}

static int find(struct eg_zeusd_devices *d, enum eg_zeusd_kind kind, const struct eg_view *v,
		bool estimates)
{
	static const enum eg_component components[] = {
		[EG_ZEUSD_GPU] = EG_COMPONENT_GPU, [EG_ZEUSD_CPU] = EG_COMPONENT_PACKAGE};
	eg_autofree struct place *p = calloc(v->n_channels + 1, sizeof(*p));
	struct eg_zeusd_device *list;
	unsigned next = 0;
	size_t n = 0;

	if (!p)
		return -ENOMEM;
	for (size_t i = 0; i < v->n_channels; i++) {
		const struct eg_view_channel *vc = &v->channel[i];

		if (!is_of(vc, components[kind], estimates) || is_known(v, p, n, vc->ch->device))
			continue;
		p[n] = place_of(vc, kind);
		p[n++].channel = i;
	}
	qsort(p, n, sizeof(*p), by_place);
	list = calloc(n + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		bool nvml = kind == EG_ZEUSD_GPU && p[i].group == 0;

		list[i] = (struct eg_zeusd_device){.id = nvml ? EG_MAX(next, p[i].number) : next,
						   .channel = p[i].channel,
						   .dram = -1};
		next = list[i].id + 1;
		if (kind == EG_ZEUSD_CPU)
			list[i].dram = find_dram(v, v->channel[p[i].channel].ch->device, estimates);
	}
	free(d->of[kind]);
	d->of[kind] = list;
	d->n[kind] = n;
	return 0;
}

int eg_zeusd_devices_find(struct eg_zeusd_devices *d, const struct eg_view *v, bool estimates)
{
	int r = 0;

	for (int kind = 0; !d->found && kind < EG_ZEUSD_KINDS && r == 0; kind++)
		r = find(d, (enum eg_zeusd_kind)kind, v, estimates);
	d->found = r == 0;
	d->estimates = estimates;
	return r;
}

void eg_zeusd_devices_forget(struct eg_zeusd_devices *d)
{
	for (int kind = 0; kind < EG_ZEUSD_KINDS; kind++)
		free(d->of[kind]);
	*d = (struct eg_zeusd_devices){0};
}

/* ---- figures ---- */

/* A counter that was reset goes on in its account. The meter calls a driver that hangs an error. */
static bool is_read(const struct eg_view_channel *vc)
{
	return vc->status == EG_STATUS_OK || vc->status == EG_STATUS_RESET;
}

bool eg_zeusd_uj(const struct eg_view *v, size_t channel, bool estimates, uint64_t *ret_uj)
{
	const struct eg_view_channel *vc = &v->channel[channel];
	const struct eg_view_account *a = &v->account[vc->account];
	uint64_t uj = a->a.uj;

	if (!is_read(vc) || !a->shown)
		return false;
	if (estimates && vc->est_account >= 0 && vc->est_account != vc->account)
		uj = eg_add_sat(uj, v->account[vc->est_account].a.uj);
	*ret_uj = uj;
	return true;
}

bool eg_zeusd_mw(const struct eg_view *v, size_t channel, uint64_t *ret_mw)
{
	uint64_t uw = eg_api_channel_uw(&v->channel[channel]);

	if (uw == UINT64_MAX)
		return false;
	*ret_mw = uw / 1000 + (uw % 1000 >= 500);
	return true;
}

const struct eg_attribute *eg_zeusd_attribute(const struct eg_device_facts *facts,
					      const char *device, const char *name)
{
	for (size_t i = 0; i < facts->n; i++)
		if (strcmp(facts->attribute[i].device, device) == 0 &&
		    strcmp(facts->attribute[i].name, name) == 0)
			return &facts->attribute[i];
	return NULL;
}
