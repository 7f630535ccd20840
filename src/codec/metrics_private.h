/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the page share: label texts made once, in one buffer, and where each is. A series
 * without a text (n 0) is not written.
 */
#ifndef EG_CODEC_METRICS_PRIVATE_H
#define EG_CODEC_METRICS_PRIVATE_H

#include "codec/metrics.h"
#include "codec/metrics_table.h"

#define EG_METRICS_TEXT_MAX	  (16u << 20) /* bytes of all label texts */
#define EG_METRICS_ATTRIBUTES_MAX 4096	      /* of all devices on one page */
#define EG_METRICS_INFO_LABELS	  16	      /* text attributes shown of one device */
#define EG_METRICS_VALUE_MAX	  128	      /* bytes of a label value in an all-smi row */

struct eg_span {
	uint32_t at, n;
};

struct eg_account_item {
	struct eg_span labels; /* L_ACCOUNT */
	struct eg_span sensor; /* L_SENSOR, of an account that no channel feeds now */
	/* What the texts were made from: one that changes asks for new texts. */
	enum eg_source source;
	enum eg_boundary boundary;
	int channel;
};

struct eg_channel_item {
	struct eg_span sensor; /* L_SENSOR */
	struct eg_span power;  /* L_ACCOUNT */
};

/* A device of the all-smi families. The channel is the best of the device's. */
enum eg_smi_scope { EG_SMI_GPU, EG_SMI_CPU, EG_SMI_CHASSIS };
enum eg_smi_attribute {
	EG_SMI_UTILIZATION,
	EG_SMI_MEMORY_USED,
	EG_SMI_MEMORY_TOTAL,
	EG_SMI_CLOCK,
	EG_SMI_CLOCK_SM,
	EG_SMI_LIMIT,
	EG_SMI_CELSIUS,
	EG_SMI_PCI,
	EG_SMI_DRIVER_VERSION,
	EG_SMI_ATTRIBUTES
};
struct eg_smi_item {
	enum eg_smi_scope scope;
	size_t channel;
	unsigned index;		    /* of a GPU */
	struct eg_span energy, gpu; /* labels of the energy; of a GPU's rows */
	/* Of the facts now; spans in m->facts. -1: not there. */
	int attribute[EG_SMI_ATTRIBUTES];
	struct eg_span info, dcgm;
};

/* A zone of node_exporter. Its name makes the family. */
struct eg_rapl_item {
	struct eg_expo_family family;
	char name[96], help[96], path[EG_CHANNEL_NAME_MAX];
	char zone[64];
	unsigned index;
	size_t channel;
	struct eg_span labels;
};

/* A numeric attribute: its family is made from its name. */
struct eg_attribute_item {
	size_t attribute; /* index in the facts */
	char name[EG_ATTRIBUTE_NAME_MAX + 24];
	const char *unit;
	struct eg_span labels;
};

struct eg_metrics {
	struct eg_strbuf text, facts; /* label texts: of the view; of the devices' facts */
	char host[256], version[64], revision[64];
	size_t n_channels, n_accounts, room_accounts;
	struct eg_channel_item *channel;
	struct eg_account_item *account;
	size_t n_smi, n_rapl;
	struct eg_smi_item *smi;
	struct eg_rapl_item *rapl;
	struct eg_span build;
	size_t left_out, facts_left_out;
	bool ready;

	/* The facts that the texts of `facts` were made from. */
	bool facts_ready;
	size_t n_facts, n_numbers, n_infos;
	struct eg_attribute *fact;
	struct eg_attribute_item *number; /* by family */
	struct eg_span *info;
	struct eg_span cpu, cpu_info, memory; /* labels of the all-smi rows of the host */
	char cpu_model[96], architecture[32];
};

/* What one page is written from. */
struct eg_page {
	struct eg_expo expo;
	struct eg_metrics *m;
	const struct eg_metrics_options *opt;
	const struct eg_view *v;
	const struct eg_agent_facts *agent;
	const struct eg_device_facts *devices;
	const struct eg_host_facts *host;
	uint64_t now_ns, unix_ns; /* the moment of the page on both clocks */
};

static inline void eg_page_family(struct eg_page *p, enum eg_metrics_family id)
{
	eg_expo_family(&p->expo, &eg_metrics_family[id]);
}

/* metrics_prepare.c */
int eg_metrics_prepare(struct eg_metrics *m, const struct eg_view *v) EG_MUST_CHECK;
bool eg_metrics_is_prepared(const struct eg_metrics *m, const struct eg_view *v);
/* Gives every text but the first of equal ones up; returns how many. -ENOMEM. */
int eg_metrics_drop_twins(const struct eg_strbuf *text, struct eg_span **spans,
			  size_t n) EG_MUST_CHECK;
void eg_metrics_account_labels(struct eg_strbuf *b, const char *device, enum eg_component component,
			       enum eg_source source, enum eg_provenance provenance,
			       enum eg_boundary boundary);
struct eg_span eg_metrics_span_end(struct eg_strbuf *b, size_t begin);

/* metrics_device.c */
int eg_metrics_take_facts(struct eg_metrics *m, const struct eg_view *v,
			  const struct eg_device_facts *devices,
			  const struct eg_host_facts *host) EG_MUST_CHECK;
void eg_metrics_write_devices(struct eg_page *p);

/* metrics_compat.c */
int eg_metrics_prepare_compat(struct eg_metrics *m, const struct eg_view *v) EG_MUST_CHECK;
/* Labels that depend on facts: of GPUs and of the host. */
void eg_metrics_compat_facts(struct eg_metrics *m, const struct eg_view *v,
			     const struct eg_host_facts *host);
void eg_metrics_write_compat(struct eg_page *p);

#endif
