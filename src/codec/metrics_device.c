/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes of devices as families: a numeric one whose name ends in its unit is a gauge
 * ergon_device_NAME, the text ones of a device are the labels of ergon_device_info. Which attributes
 * there are depends on the drivers, so that these families are made from what is there; their texts are
 * kept until other attributes come. Those of a part of a GPU, "mig_N_NAME", are NAME with a label mig.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "codec/metrics_private.h"

#define MIG_PREFIX "mig_"

/* Units as attributes end in them, and as Prometheus names them. */
static const struct {
	const char *suffix, *unit;
} units[] = {
	{"_celsius", "celsius"}, {"_bytes", "bytes"},	{"_ratio", "ratio"},
	{"_hz", "hertz"},	 {"_watts", "watts"},	{"_joules", "joules"},
	{"_seconds", "seconds"}, {"_volts", "volts"},	{"_amperes", "amperes"},
	{"_rpm", "rpm"},	 {"_meters", "meters"},
};

static bool is_name(const char *s)
{
	return s[0] >= 'a' && s[0] <= 'z' &&
	       s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_")] == '\0';
}

/* The name without "mig_N_", and N as text ("" none). */
static const char *split_mig(const char *name, char mig[8])
{
	size_t n;

	mig[0] = '\0';
	if (strncmp(name, MIG_PREFIX, sizeof(MIG_PREFIX) - 1) != 0)
		return name;
	n = strspn(name + sizeof(MIG_PREFIX) - 1, "0123456789");
	if (n == 0 || n > 6 || name[sizeof(MIG_PREFIX) - 1 + n] != '_')
		return name;
	memcpy(mig, name + sizeof(MIG_PREFIX) - 1, n);
	mig[n] = '\0';
	return name + sizeof(MIG_PREFIX) - 1 + n + 1;
}

static void add_device(struct eg_strbuf *b, const char *device, const char *mig)
{
	eg_expo_labels_add(b, "device", device);
	if (mig[0])
		eg_expo_labels_add(b, "mig", mig);
}

static void add_number(struct eg_metrics *m, size_t attribute)
{
	const struct eg_attribute *a = &m->fact[attribute];
	struct eg_attribute_item *item = &m->number[m->n_numbers];
	char mig[8];
	const char *name = split_mig(a->name, mig);
	size_t n = strlen(name), begin;

	if (!is_name(name))
		return;
	for (size_t i = 0; i < EG_ARRAY_SIZE(units); i++) {
		size_t k = strlen(units[i].suffix);

		if (n <= k || strcmp(name + n - k, units[i].suffix) != 0)
			continue;
		snprintf(item->name, sizeof(item->name), "ergon_device_%.*s_%s", (int)(n - k), name,
			 units[i].unit);
		item->unit = units[i].unit;
		item->attribute = attribute;
		begin = eg_expo_labels_begin(&m->facts);
		add_device(&m->facts, a->device, mig);
		item->labels = eg_metrics_span_end(&m->facts, begin);
		m->n_numbers++;
		return;
	}
}

static int compare_numbers(const void *a, const void *b, void *arg)
{
	const struct eg_attribute_item *x = a, *y = b;
	const char *text = arg;
	int r = strcmp(x->name, y->name);

	if (r == 0)
		r = memcmp(text + x->labels.at, text + y->labels.at,
			   EG_MIN(x->labels.n, y->labels.n));
	if (r == 0)
		r = (x->labels.n > y->labels.n) - (x->labels.n < y->labels.n);
	return r ? r : (x->attribute > y->attribute) - (x->attribute < y->attribute);
}

/* Families together, devices in order; of two drivers that tell one attribute the first stays. */
static void sort_numbers(struct eg_metrics *m)
{
	size_t k = 0;

	if (m->n_numbers < 2)
		return;
	qsort_r(m->number, m->n_numbers, sizeof(*m->number), compare_numbers, m->facts.s);
	for (size_t i = 0; i < m->n_numbers; i++) {
		const struct eg_attribute_item *last = k > 0 ? &m->number[k - 1] : NULL;

		if (last && strcmp(last->name, m->number[i].name) == 0 &&
		    last->labels.n == m->number[i].labels.n &&
		    memcmp(m->facts.s + last->labels.at, m->facts.s + m->number[i].labels.at,
			   last->labels.n) == 0)
			continue;
		m->number[k++] = m->number[i];
	}
	m->n_numbers = k;
}

/* One info of the device and part of attribute `first` and the texts after it. */
static void add_info(struct eg_metrics *m, size_t first, bool *taken)
{
	const char *used[EG_METRICS_INFO_LABELS], *name;
	size_t n = 0, begin = eg_expo_labels_begin(&m->facts);
	char mig[8], other[8];

	(void)split_mig(m->fact[first].name, mig);
	add_device(&m->facts, m->fact[first].device, mig);
	for (size_t i = first; i < m->n_facts; i++) {
		const struct eg_attribute *a = &m->fact[i];
		bool again = false;

		if (taken[i] || !a->is_text || strcmp(a->device, m->fact[first].device) != 0)
			continue;
		name = split_mig(a->name, other);
		if (strcmp(other, mig) != 0)
			continue;
		taken[i] = true;
		for (size_t k = 0; k < n; k++)
			again |= strcmp(used[k], name) == 0;
		if (again || !is_name(name) || strcmp(name, "device") == 0 ||
		    strcmp(name, "mig") == 0)
			continue;
		if (n == EG_METRICS_INFO_LABELS) {
			m->facts_left_out++;
			continue;
		}
		eg_expo_labels_add(&m->facts, name, a->text);
		used[n++] = name;
	}
	m->info[m->n_infos++] = eg_metrics_span_end(&m->facts, begin);
}

/* Devices whose names differ only in bytes that no label can show. */
static int drop_twins(struct eg_metrics *m)
{
	eg_autofree struct eg_span **spans = calloc(m->n_infos + 1, sizeof(*spans));
	int dropped;

	if (!spans)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_infos; i++)
		spans[i] = &m->info[i];
	dropped = eg_metrics_drop_twins(&m->facts, spans, m->n_infos);
	m->facts_left_out += (size_t)EG_MAX(dropped, 0);
	return EG_MIN(dropped, 0);
}

static bool same_facts(const struct eg_metrics *m, const struct eg_attribute *a, size_t n)
{
	if (!m->facts_ready || n != m->n_facts)
		return false;
	for (size_t i = 0; i < n; i++) {
		const struct eg_attribute *b = &m->fact[i];

		if (a[i].is_text != b->is_text || strcmp(a[i].name, b->name) != 0 ||
		    strcmp(a[i].device, b->device) != 0 ||
		    (b->is_text && strcmp(a[i].text, b->text) != 0))
			return false;
	}
	return true;
}

static bool same_host(const struct eg_metrics *m, const struct eg_host_facts *host)
{
	return !host || (strcmp(host->cpu_model, m->cpu_model) == 0 &&
			 strcmp(host->architecture, m->architecture) == 0);
}

static int make_room(struct eg_metrics *m, size_t n)
{
	free(m->fact);
	free(m->number);
	free(m->info);
	m->fact = calloc(n + 1, sizeof(*m->fact));
	m->number = calloc(n + 1, sizeof(*m->number));
	m->info = calloc(n + 1, sizeof(*m->info));
	return m->fact && m->number && m->info ? 0 : -ENOMEM;
}

int eg_metrics_take_facts(struct eg_metrics *m, const struct eg_view *v,
			  const struct eg_device_facts *devices, const struct eg_host_facts *host)
{
	size_t all = devices ? devices->n : 0, n = EG_MIN(all, (size_t)EG_METRICS_ATTRIBUTES_MAX);
	eg_autofree bool *taken = NULL;
	int r;

	if (same_facts(m, devices ? devices->attribute : NULL, n) && same_host(m, host))
		return 0;
	m->facts_ready = false;
	m->n_facts = m->n_numbers = m->n_infos = 0;
	taken = calloc(n + 1, sizeof(*taken));
	r = taken ? make_room(m, n) : -ENOMEM;
	if (r < 0)
		return r;
	eg_strbuf_reset(&m->facts);
	m->facts_left_out = all - n;
	m->n_facts = n;
	if (n > 0)
		memcpy(m->fact, devices->attribute, n * sizeof(*m->fact));
	for (size_t i = 0; i < n; i++)
		if (m->fact[i].is_text && !taken[i])
			add_info(m, i, taken);
		else if (!m->fact[i].is_text)
			add_number(m, i);
	eg_metrics_compat_facts(m, v, host);
	r = eg_strbuf_error(&m->facts);
	if (r == 0) {
		sort_numbers(m);
		r = drop_twins(m);
	}
	m->facts_ready = r == 0;
	return r;
}

void eg_metrics_write_devices(struct eg_page *p)
{
	const struct eg_metrics *m = p->m;
	struct eg_expo_family f = {0};
	char help[160];

	eg_page_family(p, EG_MF_DEVICE);
	for (size_t i = 0; i < m->n_infos; i++)
		if (m->info[i].n)
			eg_expo_scaled(&p->expo, m->facts.s + m->info[i].at, m->info[i].n, 1, 0);
	for (size_t i = 0; i < m->n_numbers; i++) {
		const struct eg_attribute_item *item = &m->number[i];

		if (!f.name || strcmp(f.name, item->name) != 0) {
			snprintf(help, sizeof(help),
				 "Attribute %s of a device, as its interface tells it.",
				 item->name + sizeof("ergon_device_") - 1);
			f = (struct eg_expo_family){
				.name = item->name, .help = help, .unit = item->unit};
			eg_expo_family(&p->expo, &f);
		}
		eg_expo_double(&p->expo, m->facts.s + item->labels.at, item->labels.n,
			       p->devices->attribute[item->attribute].value);
	}
}
