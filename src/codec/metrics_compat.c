/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Families of other programs, under their names: all-smi, node_exporter, dcgm-exporter. Their labels
 * cannot tell provenance, so that only measured values are in them unless the user allows estimates
 * (contracts/efficiency-and-exports.md E24); and only devices that a channel of this process reads.
 * Sources: contracts/all-smi-compat.md Parts 1 to 3; node_exporter 1.5 collector/rapl_linux.go and
 * dcgm-exporter etc/default-counters.csv for names, labels and help.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "codec/metrics_private.h"
#include "codec/utf8.h"

/* ---- which devices ---- */

static bool is_counted(const struct eg_metrics *m, const struct eg_view_channel *vc)
{
	return vc->account >= 0 && (size_t)vc->account < m->n_accounts;
}

/* "gpu-GPU-1" is GPU-1, "pci-0000:03:00.0" is 0000:03:00.0. */
static const char *gpu_uuid(const struct eg_channel *ch)
{
	bool prefix = strncmp(ch->device, "gpu-", 4) == 0 || strncmp(ch->device, "pci-", 4) == 0;

	return prefix && ch->device[4] ? ch->device + 4 : ch->device;
}

/* A tile or the package of a card that is there as a whole: DEVICE-PART beside DEVICE. */
static bool is_inside_another(const struct eg_view *v, const struct eg_channel *ch)
{
	for (size_t i = 0; ch->part_of >= 0 && i < v->n_channels; i++) {
		const struct eg_channel *whole = v->channel[i].ch;
		size_t n = strlen(whole->device);

		if (whole->component == ch->component && ch->device[n] == '-' &&
		    strncmp(ch->device, whole->device, n) == 0)
			return true;
	}
	return false;
}

static bool scope_of(const struct eg_channel *ch, enum eg_smi_scope *ret)
{
	switch (ch->component) {
	case EG_COMPONENT_GPU:
		*ret = EG_SMI_GPU;
		return true;
	case EG_COMPONENT_PACKAGE:
		*ret = EG_SMI_CPU;
		return true;
	case EG_COMPONENT_CHASSIS: /* a sensor of the whole machine; power supplies are parts */
		*ret = EG_SMI_CHASSIS;
		return ch->boundary == EG_BOUNDARY_NODE;
	default:
		return false;
	}
}

/* The item that shows the same device, or NULL. There is one chassis. */
static struct eg_smi_item *find_item(struct eg_metrics *m, const struct eg_view *v,
				     enum eg_smi_scope scope, const char *device)
{
	for (size_t i = 0; i < m->n_smi; i++)
		if (m->smi[i].scope == scope &&
		    (scope == EG_SMI_CHASSIS ||
		     strcmp(v->channel[m->smi[i].channel].ch->device, device) == 0))
			return &m->smi[i];
	return NULL;
}

static bool index_taken(const struct eg_metrics *m, unsigned index)
{
	for (size_t i = 0; i < m->n_smi; i++)
		if (m->smi[i].scope == EG_SMI_GPU && m->smi[i].index == index)
			return true;
	return false;
}

/* The driver's number, "gpu-3"; where another driver's card has it, the next that is free. */
static unsigned gpu_index(const struct eg_metrics *m, const struct eg_channel *ch)
{
	uint64_t index = 0;

	if (strncmp(ch->domain, "gpu-", 4) != 0 ||
	    eg_parse_u64(ch->domain + 4, strspn(ch->domain + 4, "0123456789"), &index) < 0 ||
	    index > EG_CHANNELS_MAX)
		index = 0;
	while (index_taken(m, (unsigned)index))
		index++;
	return (unsigned)index;
}

static void find_devices(struct eg_metrics *m, const struct eg_view *v)
{
	m->n_smi = 0;
	for (size_t i = 0; i < v->n_channels; i++) {
		const struct eg_channel *ch = v->channel[i].ch;
		struct eg_smi_item *item;
		enum eg_smi_scope scope;

		if (!is_counted(m, &v->channel[i]) || !scope_of(ch, &scope) ||
		    is_inside_another(v, ch))
			continue;
		item = find_item(m, v, scope, ch->device);
		if (item) { /* measured before modeled before estimated */
			if (ch->provenance < v->channel[item->channel].ch->provenance)
				item->channel = i;
			continue;
		}
		item = &m->smi[m->n_smi];
		*item = (struct eg_smi_item){.scope = scope, .channel = i};
		if (scope == EG_SMI_GPU)
			item->index = gpu_index(m, ch);
		m->n_smi++;
	}
}

/* ---- label texts ---- */

/*
 * all-smi's readers split at quotes, braces and commas more simply than the format allows, and lose
 * lines above 1024 bytes of labels: their values have none of these characters, and are short.
 */
static void add_plain(struct eg_strbuf *b, const char *name, const char *value)
{
	char plain[EG_METRICS_VALUE_MAX + 1];
	size_t n = 0, skip, left = strlen(value);

	while (left > 0) {
		size_t len = eg_utf8_sequence(value, left, &skip);

		if (n + EG_MAX(len, (size_t)1) > EG_METRICS_VALUE_MAX)
			break;
		if (len > 1) {
			memcpy(plain + n, value, len);
			n += len;
		} else if (len == 0 || (unsigned char)*value < 0x20 || *value == 0x7f ||
			   strchr("{}\"\\,", *value)) {
			plain[n++] = '_';
		} else {
			plain[n++] = *value;
		}
		value += len ? len : skip;
		left -= len ? len : skip;
	}
	plain[n] = '\0';
	eg_expo_labels_add(b, name, plain);
}

static void add_gpu(struct eg_strbuf *b, const struct eg_metrics *m, const struct eg_smi_item *item,
		    const struct eg_channel *ch)
{
	char index[16];

	snprintf(index, sizeof(index), "%u", item->index);
	add_plain(b, "gpu", ch->label[0] ? ch->label : ch->device);
	add_plain(b, "instance", m->host);
	add_plain(b, "gpu_uuid", gpu_uuid(ch));
	eg_expo_labels_add(b, "gpu_index", index);
}

static void label_device(struct eg_metrics *m, const struct eg_view *v, struct eg_smi_item *item)
{
	static const char *const scopes[] = {
		[EG_SMI_GPU] = "gpu", [EG_SMI_CPU] = "cpu", [EG_SMI_CHASSIS] = "chassis"};
	const struct eg_channel *ch = v->channel[item->channel].ch;
	size_t begin = eg_expo_labels_begin(&m->text);
	char index[16];

	add_plain(&m->text, "host", m->host);
	eg_expo_labels_add(&m->text, "scope", scopes[item->scope]);
	if (item->scope == EG_SMI_GPU) {
		snprintf(index, sizeof(index), "%u", item->index);
		eg_expo_labels_add(&m->text, "gpu_index", index);
		add_plain(&m->text, "gpu_uuid", gpu_uuid(ch));
	} else if (item->scope == EG_SMI_CPU) {
		add_plain(&m->text, "package",
			  strncmp(ch->device, "cpu-", 4) == 0 ? ch->device + 4 : ch->device);
	}
	item->energy = eg_metrics_span_end(&m->text, begin);
	if (item->scope != EG_SMI_GPU)
		return;
	begin = eg_expo_labels_begin(&m->text);
	add_gpu(&m->text, m, item, ch);
	item->gpu = eg_metrics_span_end(&m->text, begin);
}

/* ---- node_exporter ---- */

/* "sys/class/powercap/intel-rapl:0:1/energy_uj" -> "intel-rapl:0:1"; false elsewhere. */
static bool zone_of(const struct eg_channel *ch, char *ret, size_t cap)
{
	const char *slash = strrchr(ch->origin, '/'), *begin = slash;

	if (!slash || !strstr(ch->origin, "powercap/"))
		return false;
	while (begin > ch->origin && begin[-1] != '/')
		begin--;
	if (slash == begin || (size_t)(slash - begin) >= cap)
		return false;
	memcpy(ret, begin, (size_t)(slash - begin));
	ret[slash - begin] = '\0';
	return true;
}

/*
 * The zone's name as the kernel has it, told from channel and device: packages by number, dies with
 * both numbers, subzones without any. node_exporter takes the number behind the only '-' as the index
 * and makes the rest the family; what has no number is counted, in the order of the paths.
 */
static bool name_zone(const struct eg_channel *ch, struct eg_rapl_item *item, bool *ret_numbered)
{
	const char *number, *die = strstr(ch->device, "-die-");
	uint64_t n;

	*ret_numbered = false;
	switch (ch->component) {
	case EG_COMPONENT_PACKAGE:
	case EG_COMPONENT_PSYS:
		if (die && ch->component == EG_COMPONENT_PACKAGE) {
			snprintf(item->zone, sizeof(item->zone), "package-%.40s",
				 ch->device + strlen("cpu-"));
			return true;
		}
		(void)eg_copy(item->zone, sizeof(item->zone), eg_component_word(ch->component));
		number = strrchr(ch->domain, '-');
		if (number && eg_parse_u64(number + 1, strlen(number + 1), &n) == 0 &&
		    n <= UINT32_MAX) {
			item->index = (unsigned)n;
			*ret_numbered = true;
		}
		return true;
	case EG_COMPONENT_CORE:
	case EG_COMPONENT_UNCORE:
	case EG_COMPONENT_DRAM:
		(void)eg_copy(item->zone, sizeof(item->zone), eg_component_word(ch->component));
		return true;
	default:
		return false;
	}
}

static int compare_zones(const void *a, const void *b)
{
	const struct eg_rapl_item *x = a, *y = b;
	int r = strcmp(x->zone, y->zone);

	return r ? r : strcmp(x->path, y->path);
}

static void prepare_rapl(struct eg_metrics *m, const struct eg_view *v)
{
	bool numbered[EG_CHANNELS_MAX + 1] = {0};
	char text[EG_ORIGIN_MAX + 32];
	unsigned next = 0;

	m->n_rapl = 0;
	for (size_t i = 0; i < v->n_channels; i++) {
		struct eg_rapl_item *item = &m->rapl[m->n_rapl];
		const struct eg_channel *ch = v->channel[i].ch;

		*item = (struct eg_rapl_item){.channel = i};
		if (is_counted(m, &v->channel[i]) && ch->source == EG_SOURCE_RAPL &&
		    zone_of(ch, item->path, sizeof(item->path)) &&
		    name_zone(ch, item, &numbered[i]))
			m->n_rapl++;
	}
	if (m->n_rapl > 1)
		qsort(m->rapl, m->n_rapl, sizeof(*m->rapl), compare_zones);
	for (size_t i = 0; i < m->n_rapl; i++) {
		struct eg_rapl_item *item = &m->rapl[i];
		size_t begin = eg_expo_labels_begin(&m->text);

		if (i == 0 || strcmp(item->zone, m->rapl[i - 1].zone) != 0)
			next = 0;
		if (!numbered[item->channel])
			item->index = next++;
		snprintf(item->name, sizeof(item->name), "node_rapl_%s_joules", item->zone);
		for (char *p = item->name; *p; p++)
			if (*p == '-')
				*p = '_';
		snprintf(item->help, sizeof(item->help), "Current RAPL %s value in joules",
			 item->zone);
		item->family = (struct eg_expo_family){.name = item->name,
						       .help = item->help,
						       .unit = "joules",
						       .type = EG_EXPO_COUNTER};
		snprintf(text, sizeof(text), "%u", item->index);
		eg_expo_labels_add(&m->text, "index", text);
		snprintf(text, sizeof(text), "/sys/class/powercap/%s", item->path);
		eg_expo_labels_add(&m->text, "path", text);
		item->labels = eg_metrics_span_end(&m->text, begin);
	}
}

int eg_metrics_prepare_compat(struct eg_metrics *m, const struct eg_view *v)
{
	eg_autofree struct eg_span **spans = calloc(2 * v->n_channels + 1, sizeof(*spans));
	size_t n = 0;
	int dropped;

	if (!spans)
		return -ENOMEM;
	if (v->n_channels > EG_CHANNELS_MAX)
		return -E2BIG;
	find_devices(m, v);
	for (size_t i = 0; i < m->n_smi; i++)
		label_device(m, v, &m->smi[i]);
	prepare_rapl(m, v);
	for (size_t i = 0; i < m->n_smi; i++)
		spans[n++] = &m->smi[i].energy;
	for (size_t i = 0; i < m->n_rapl; i++) /* of one zone below two folders */
		spans[n++] = &m->rapl[i].labels;
	if (eg_strbuf_error(&m->text) < 0)
		return eg_strbuf_error(&m->text);
	dropped = eg_metrics_drop_twins(&m->text, spans, n);
	if (dropped > 0)
		m->left_out += (size_t)dropped;
	return EG_MIN(dropped, 0);
}

/* ---- texts that depend on facts ---- */

static const char *const attribute_names[EG_SMI_ATTRIBUTES] = {
	[EG_SMI_UTILIZATION] = "utilization_ratio",
	[EG_SMI_MEMORY_USED] = "memory_used_bytes",
	[EG_SMI_MEMORY_TOTAL] = "memory_total_bytes",
	[EG_SMI_CLOCK] = "clock_graphics_hz",
	[EG_SMI_CLOCK_SM] = "clock_sm_hz",
	[EG_SMI_LIMIT] = "power_limit_watts",
	[EG_SMI_CELSIUS] = "temperature_celsius",
	[EG_SMI_PCI] = "pci_id",
	[EG_SMI_DRIVER_VERSION] = "driver_version",
};

static void find_attributes(const struct eg_metrics *m, struct eg_smi_item *item,
			    const char *device)
{
	for (size_t k = 0; k < EG_SMI_ATTRIBUTES; k++)
		item->attribute[k] = -1;
	for (size_t i = 0; i < m->n_facts; i++) {
		const struct eg_attribute *a = &m->fact[i];

		if (strcmp(a->device, device) != 0)
			continue;
		for (size_t k = 0; k < EG_SMI_ATTRIBUTES; k++)
			if (item->attribute[k] < 0 && a->is_text == (k >= EG_SMI_PCI) &&
			    strcmp(a->name, attribute_names[k]) == 0)
				item->attribute[k] = (int)i;
	}
}

static const char *text_of(const struct eg_metrics *m, const struct eg_smi_item *item,
			   enum eg_smi_attribute k)
{
	return item->attribute[k] >= 0 ? m->fact[item->attribute[k]].text : "";
}

/* As NVML prints it to dcgm-exporter: "0000:1b:00.0" is "00000000:1B:00.0". */
static void bus_id(const char *pci, char ret[48])
{
	size_t domain = strcspn(pci, ":");

	if (domain > 8 || !pci[domain] || strlen(pci) > 24) {
		(void)eg_copy(ret, 48, pci);
		return;
	}
	snprintf(ret, 48, "%.*s%s", (int)(8 - domain), "00000000", pci);
	for (char *p = ret; *p; p++)
		if (*p >= 'a' && *p <= 'f')
			*p = (char)(*p - 'a' + 'A');
}

static void label_dcgm(struct eg_metrics *m, struct eg_smi_item *item, const struct eg_channel *ch)
{
	struct eg_strbuf *b = &m->facts;
	size_t begin = eg_expo_labels_begin(b);
	char text[64];

	snprintf(text, sizeof(text), "%u", item->index);
	eg_expo_labels_add(b, "gpu", text);
	eg_expo_labels_add(b, "UUID", gpu_uuid(ch));
	if (*text_of(m, item, EG_SMI_PCI)) {
		bus_id(text_of(m, item, EG_SMI_PCI), text);
		eg_expo_labels_add(b, "pci_bus_id", text);
	}
	snprintf(text, sizeof(text), "nvidia%u", item->index);
	eg_expo_labels_add(b, "device", text);
	eg_expo_labels_add(b, "modelName", ch->label);
	eg_expo_labels_add(b, "hostname", m->host);
	if (*text_of(m, item, EG_SMI_DRIVER_VERSION))
		eg_expo_labels_add(b, "DCGM_FI_DRIVER_VERSION",
				   text_of(m, item, EG_SMI_DRIVER_VERSION));
	item->dcgm = eg_metrics_span_end(b, begin);
}

static void label_gpu_info(struct eg_metrics *m, struct eg_smi_item *item,
			   const struct eg_channel *ch)
{
	size_t begin = eg_expo_labels_begin(&m->facts);

	add_gpu(&m->facts, m, item, ch);
	eg_expo_labels_add(&m->facts, "type", "GPU");
	if (*text_of(m, item, EG_SMI_DRIVER_VERSION))
		add_plain(&m->facts, "driver_version", text_of(m, item, EG_SMI_DRIVER_VERSION));
	if (*text_of(m, item, EG_SMI_PCI))
		add_plain(&m->facts, "pci_address", text_of(m, item, EG_SMI_PCI));
	item->info = eg_metrics_span_end(&m->facts, begin);
}

static const char *platform_of(const char *vendor)
{
	return strcmp(vendor, "GenuineIntel") == 0 ? "Intel" :
	       strcmp(vendor, "AuthenticAMD") == 0 ? "AMD" :
	       strcmp(vendor, "Arm") == 0	   ? "ARM" :
						     "Other";
}

static void label_host(struct eg_metrics *m, const struct eg_host_facts *host)
{
	const char *model = host->cpu_model[0] ? host->cpu_model : "unknown";
	struct eg_strbuf *b = &m->facts;
	size_t begin;

	(void)eg_copy(m->cpu_model, sizeof(m->cpu_model), host->cpu_model);
	(void)eg_copy(m->architecture, sizeof(m->architecture), host->architecture);
	for (int info = 0; info < 2; info++) {
		begin = eg_expo_labels_begin(b);
		add_plain(b, "cpu_model", model);
		add_plain(b, "instance", m->host);
		add_plain(b, "hostname", m->host);
		eg_expo_labels_add(b, "index", "0");
		if (info) {
			add_plain(b, "architecture", host->architecture);
			eg_expo_labels_add(b, "platform_type", platform_of(host->vendor));
		}
		*(info ? &m->cpu_info : &m->cpu) = eg_metrics_span_end(b, begin);
	}
	begin = eg_expo_labels_begin(b);
	add_plain(b, "instance", m->host);
	add_plain(b, "hostname", m->host);
	eg_expo_labels_add(b, "index", "0");
	m->memory = eg_metrics_span_end(b, begin);
}

void eg_metrics_compat_facts(struct eg_metrics *m, const struct eg_view *v,
			     const struct eg_host_facts *host)
{
	for (size_t i = 0; i < m->n_smi; i++) {
		struct eg_smi_item *item = &m->smi[i];
		const struct eg_channel *ch = v->channel[item->channel].ch;

		item->info = item->dcgm = (struct eg_span){0};
		if (item->scope != EG_SMI_GPU)
			continue;
		find_attributes(m, item, ch->device);
		label_gpu_info(m, item, ch);
		if (ch->source == EG_SOURCE_NVML || ch->source == EG_SOURCE_DCGM)
			label_dcgm(m, item, ch);
	}
	if (host)
		label_host(m, host);
}

/* ---- values ---- */

/* May this channel be shown without its provenance? */
static bool is_allowed(const struct eg_page *p, const struct eg_view_channel *vc)
{
	return vc->ch->provenance == EG_PROVENANCE_MEASURED || p->opt->estimates;
}

/* Total of a device: with estimates what was held is added, which its account does not contain. */
static bool energy_of(const struct eg_page *p, const struct eg_view_channel *vc, uint64_t *ret_uj,
		      uint64_t *ret_created)
{
	const struct eg_view_account *a = &p->v->account[vc->account];
	const struct eg_view_account *held = NULL;

	if (!is_allowed(p, vc) || !p->m->account[vc->account].labels.n)
		return false;
	if (p->opt->estimates && vc->est_account >= 0 && vc->est_account != vc->account)
		held = &p->v->account[vc->est_account];
	if (!a->shown && !(held && held->shown))
		return false;
	*ret_uj = a->a.uj;
	if (held && held->shown)
		*ret_uj = eg_add_sat(*ret_uj, held->a.uj);
	*ret_created = a->a.created_unix_ns;
	return true;
}

static bool power_of(const struct eg_page *p, const struct eg_view_channel *vc, uint64_t *ret_uw)
{
	if (!is_allowed(p, vc) || !vc->have_uw || vc->status != EG_STATUS_OK)
		return false;
	*ret_uw = vc->uw;
	return true;
}

static void put_text(struct eg_page *p, struct eg_span s, uint64_t v, unsigned digits)
{
	if (s.n)
		eg_expo_scaled(&p->expo, p->m->text.s + s.at, s.n, v, digits);
}

static void put_facts(struct eg_page *p, struct eg_span s, uint64_t v, unsigned digits)
{
	if (s.n)
		eg_expo_scaled(&p->expo, p->m->facts.s + s.at, s.n, v, digits);
}

/* To two places, as all-smi's readers take digits and a point only: no sign, no exponent. */
static bool hundredths(double v, uint64_t *ret)
{
	if (!(v >= 0) || v >= 1e15)
		return false;
	*ret = (uint64_t)(v * 100 + 0.5);
	return true;
}

static void write_energy(struct eg_page *p)
{
	eg_page_family(p, EG_MF_SMI_ENERGY);
	for (size_t i = 0; i < p->m->n_smi; i++) {
		const struct eg_smi_item *item = &p->m->smi[i];
		uint64_t uj, created;

		if (!item->energy.n || !energy_of(p, &p->v->channel[item->channel], &uj, &created))
			continue;
		put_text(p, item->energy, uj, 6);
		eg_expo_created(&p->expo, p->m->text.s + item->energy.at, item->energy.n, created);
	}
}

static double gpu_number(const struct eg_page *p, const struct eg_smi_item *item,
			 enum eg_smi_attribute k)
{
	return item->attribute[k] >= 0 ? p->devices->attribute[item->attribute[k]].value : NAN;
}

/* Value of a GPU row; false: no line. */
static bool gpu_value(const struct eg_page *p, const struct eg_smi_item *item,
		      enum eg_metrics_family family, uint64_t *ret_v, unsigned *ret_digits)
{
	const struct eg_view_channel *vc = &p->v->channel[item->channel];
	double v = NAN;

	*ret_digits = 2;
	switch (family) {
	case EG_MF_SMI_GPU_UTIL:
		v = gpu_number(p, item, EG_SMI_UTILIZATION) * 100;
		break;
	case EG_MF_SMI_GPU_USED:
		v = floor(gpu_number(p, item, EG_SMI_MEMORY_USED));
		break;
	case EG_MF_SMI_GPU_TOTAL:
		v = floor(gpu_number(p, item, EG_SMI_MEMORY_TOTAL));
		/* One that shares the machine's memory has that: a viewer wants a total. */
		if (isnan(v) && vc->ch->integrated_gpu && p->host &&
		    p->host->memory_total_bytes != UINT64_MAX)
			v = (double)p->host->memory_total_bytes;
		break;
	case EG_MF_SMI_GPU_CELSIUS:
		v = vc->status == EG_STATUS_OK ? vc->celsius : NAN;
		if (isnan(v))
			v = gpu_number(p, item, EG_SMI_CELSIUS);
		return v > 0 && hundredths(v, ret_v);
	case EG_MF_SMI_GPU_MHZ:
		v = gpu_number(p, item, EG_SMI_CLOCK) / 1e6;
		if (isnan(v))
			v = gpu_number(p, item, EG_SMI_CLOCK_SM) / 1e6;
		return v > 0 && hundredths(v, ret_v);
	case EG_MF_SMI_GPU_LIMIT:
		v = gpu_number(p, item, EG_SMI_LIMIT);
		break;
	case EG_MF_SMI_GPU_WATTS:
		*ret_digits = 6;
		return power_of(p, vc, ret_v);
	default:
		break;
	}
	return hundredths(v, ret_v);
}

static void write_gpus(struct eg_page *p)
{
	for (enum eg_metrics_family f = EG_MF_SMI_GPU_UTIL; f <= EG_MF_SMI_GPU_INFO; f++) {
		eg_page_family(p, f);
		for (size_t i = 0; i < p->m->n_smi; i++) {
			const struct eg_smi_item *item = &p->m->smi[i];
			unsigned digits;
			uint64_t v;

			if (item->scope != EG_SMI_GPU || !item->energy.n)
				continue;
			if (f == EG_MF_SMI_GPU_INFO)
				put_facts(p, item->info, 1, 0);
			else if (gpu_value(p, item, f, &v, &digits))
				put_text(p, item->gpu, v, digits);
		}
	}
}

/* The packages together, where each of them has a power now. */
static bool cpu_power(const struct eg_page *p, uint64_t *ret_uw)
{
	uint64_t sum = 0, uw;
	bool any = false;

	for (size_t i = 0; i < p->m->n_smi; i++) {
		if (p->m->smi[i].scope != EG_SMI_CPU)
			continue;
		if (!power_of(p, &p->v->channel[p->m->smi[i].channel], &uw))
			return false;
		sum = eg_add_sat(sum, uw);
		any = true;
	}
	*ret_uw = sum;
	return any;
}

static double cpu_celsius(const struct eg_page *p)
{
	double hottest = p->host->cpu_celsius;

	for (size_t i = 0; i < p->m->n_smi; i++) {
		const struct eg_view_channel *vc = &p->v->channel[p->m->smi[i].channel];

		if (p->m->smi[i].scope == EG_SMI_CPU && !isnan(vc->celsius) &&
		    !(hottest >= vc->celsius))
			hottest = vc->celsius;
	}
	return hottest;
}

static void write_hundredths(struct eg_page *p, enum eg_metrics_family family, struct eg_span s,
			     double value)
{
	uint64_t v;

	eg_page_family(p, family);
	if (hundredths(value, &v))
		put_facts(p, s, v, 2);
}

static void write_count(struct eg_page *p, enum eg_metrics_family family, uint32_t n)
{
	eg_page_family(p, family);
	if (n > 0)
		put_facts(p, p->m->cpu, n, 0);
}

static void write_cpu(struct eg_page *p)
{
	const struct eg_host_facts *h = p->host;
	double celsius = cpu_celsius(p);
	uint64_t uw;

	write_hundredths(p, EG_MF_SMI_CPU_UTIL, p->m->cpu, h->cpu_utilization_ratio * 100);
	write_count(p, EG_MF_SMI_CPU_SOCKETS, h->sockets);
	write_count(p, EG_MF_SMI_CPU_CORES, h->cores);
	write_count(p, EG_MF_SMI_CPU_THREADS, h->threads);
	write_hundredths(p, EG_MF_SMI_CPU_MHZ, p->m->cpu,
			 h->cpu_frequency_hz > 0 ? h->cpu_frequency_hz / 1e6 : NAN);
	write_hundredths(p, EG_MF_SMI_CPU_CELSIUS, p->m->cpu, celsius > 0 ? celsius : NAN);
	eg_page_family(p, EG_MF_SMI_CPU_WATTS);
	if (cpu_power(p, &uw))
		put_facts(p, p->m->cpu, uw, 6);
	eg_page_family(p, EG_MF_SMI_CPU_INFO);
	put_facts(p, p->m->cpu_info, 1, 0);
}

static void write_memory(struct eg_page *p)
{
	const struct eg_host_facts *h = p->host;
	uint64_t used = UINT64_MAX, total = h->memory_total_bytes;

	if (total != UINT64_MAX && h->memory_available_bytes <= total)
		used = total - h->memory_available_bytes;
	const struct {
		enum eg_metrics_family family;
		uint64_t bytes;
	} rows[] = {
		{EG_MF_SMI_MEM_TOTAL, total},
		{EG_MF_SMI_MEM_USED, used},
		{EG_MF_SMI_MEM_AVAILABLE, h->memory_available_bytes},
		{EG_MF_SMI_MEM_FREE, h->memory_free_bytes},
		{EG_MF_SMI_MEM_BUFFERS, h->memory_buffers_bytes},
		{EG_MF_SMI_MEM_CACHED, h->memory_cached_bytes},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		eg_page_family(p, rows[i].family);
		if (rows[i].bytes != UINT64_MAX)
			put_facts(p, p->m->memory, rows[i].bytes, 0);
	}
	write_hundredths(p, EG_MF_SMI_MEM_UTIL, p->m->memory,
			 used != UINT64_MAX && total > 0 ? 100.0 * (double)used / (double)total :
							   NAN);
}

static void write_rapl(struct eg_page *p)
{
	const char *last = NULL;

	for (size_t i = 0; i < p->m->n_rapl; i++) {
		const struct eg_rapl_item *item = &p->m->rapl[i];
		uint64_t uj, created;

		if (!last || strcmp(last, item->name) != 0)
			eg_expo_family(&p->expo, &item->family);
		last = item->name;
		if (!item->labels.n || !energy_of(p, &p->v->channel[item->channel], &uj, &created))
			continue;
		put_text(p, item->labels, uj, 6);
		eg_expo_created(&p->expo, p->m->text.s + item->labels.at, item->labels.n, created);
	}
}

static void write_dcgm(struct eg_page *p)
{
	uint64_t v, created;

	eg_page_family(p, EG_MF_DCGM_POWER);
	for (size_t i = 0; i < p->m->n_smi; i++)
		if (power_of(p, &p->v->channel[p->m->smi[i].channel], &v))
			put_facts(p, p->m->smi[i].dcgm, v, 6);
	eg_page_family(p, EG_MF_DCGM_ENERGY);
	for (size_t i = 0; i < p->m->n_smi; i++)
		if (energy_of(p, &p->v->channel[p->m->smi[i].channel], &v, &created))
			put_facts(p, p->m->smi[i].dcgm, v, 3);
}

void eg_metrics_write_compat(struct eg_page *p)
{
	if (p->opt->all_smi)
		write_energy(p);
	if (p->opt->all_smi_rows) {
		write_gpus(p);
		if (p->host) {
			write_cpu(p);
			write_memory(p);
		}
	}
	if (p->opt->node_exporter)
		write_rapl(p);
	if (p->opt->dcgm)
		write_dcgm(p);
}
