/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The /metrics page: Prometheus text 0.0.4 or OpenMetrics 1.0, from a view. Pure. One table names
 * every own family (name, type, unit, help, labels); docs/metrics.md comes from it.
 */
#ifndef EG_CODEC_METRICS_H
#define EG_CODEC_METRICS_H

#include "base/strbuf.h"
#include "core/host_facts.h"
#include "core/view.h"

#define EG_METRICS_MAX (16u << 20) /* bytes of a page: the ceiling of the caller's buffer */

enum eg_metrics_format { EG_METRICS_TEXT, EG_METRICS_OPENMETRICS };

/* The agent about itself. NaN or UINT64_MAX: unknown, no series. */
struct eg_agent_facts {
	const char *version, *revision;
	const char *host; /* name for all_smi labels `host` and `instance` */
	uint64_t start_unix_ns;
	uint64_t cpu_ns;  /* user + system of the process */
	uint64_t wakeups; /* of the event loop */
	uint64_t ticks, missed_ticks;
	uint64_t resident_bytes;
	uint64_t
		energy_uj; /* its own: share of the packages by CPU time, modeled; UINT64_MAX unknown */
	uint64_t http_requests, http_refused, http_clients, streams, stream_drops;
	uint64_t windows; /* open */
	uint64_t scrapes;
	uint64_t snapshots_skipped, log_lines_dropped, diagnostics_dropped;
	/* The ledger on disk. */
	bool store_enabled;
	uint64_t log_bytes, log_pending_uj, log_failed_flushes, log_compactions,
		log_damaged_records;
	uint64_t last_flush_unix_ns;
	bool log_failing;
	uint64_t accounts_refused; /* above the ceiling */
	bool config_reload_ok;
	uint64_t config_reload_unix_ns;
};

/* Facts about devices for `ergon_device_*` and the all-smi rows; refreshed now and then. */
struct eg_device_facts {
	size_t n;
	const struct eg_attribute *attribute;
};

struct eg_metrics_options {
	enum eg_metrics_format format;
	bool all_smi, all_smi_rows, node_exporter, dcgm, estimates;
};

struct eg_metrics; /* prepared label texts of one meter's channels and accounts */
/* Views of the same meter alone may be written with it. -ENOMEM. */
int eg_metrics_new(const struct eg_view *v, const struct eg_agent_facts *agent,
		   struct eg_metrics **ret) EG_MUST_CHECK;
struct eg_metrics *eg_metrics_free(struct eg_metrics *m);
/*
 * Appends the page. now_ns: interval clock of the scrape, for the age of readings. host, devices: may
 * be NULL. Allocates only where accounts or attributes came, or the buffer must grow. 0; -EINVAL a view
 * of another meter; -ENOMEM; the buffer's error. On failure nothing of the page is in the buffer.
 */
int eg_metrics_write(struct eg_metrics *m, const struct eg_metrics_options *opt,
		     const struct eg_view *v, const struct eg_agent_facts *agent,
		     const struct eg_device_facts *devices, const struct eg_host_facts *host,
		     uint64_t now_ns, struct eg_strbuf *out) EG_MUST_CHECK;

/* Chooses by the Accept header (NULL: text), with q values. */
enum eg_metrics_format eg_metrics_negotiate(const char *accept);
/* Content-Type of a format; static. */
const char *eg_metrics_content_type(enum eg_metrics_format format);
/* docs/metrics.md, from the table. */
void eg_metrics_write_docs(struct eg_strbuf *out);

#endif
