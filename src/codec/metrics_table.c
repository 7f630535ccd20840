/* SPDX-License-Identifier: Apache-2.0 */
/* The table of families as the writer takes it, and docs/metrics.md written from it. */
#include "codec/metrics_table.h"

#include "codec/metrics.h"

const struct eg_expo_family eg_metrics_family[EG_MF_COUNT] = {
#define X(id, kind, n, u, labels, h) \
	[EG_MF_##id] = {.name = n, .help = h, .unit = u, .type = EG_EXPO_##kind},
#define X_AGENT(id, kind, n, u, h, ...) X(id, kind, n, u, "", h)
	EG_METRICS_OWN(X) EG_METRICS_AGENT(X_AGENT) EG_METRICS_PAGE(X) EG_METRICS_ALL_SMI(X)
		EG_METRICS_ALL_SMI_ROWS(X) EG_METRICS_DCGM(X)
#undef X
};

static void put_row(struct eg_strbuf *out, enum eg_metrics_family id, const char *labels)
{
	static const char *const types[] = {
		[EG_EXPO_GAUGE] = "gauge",
		[EG_EXPO_COUNTER] = "counter",
		[EG_EXPO_INFO] = "info",
		[EG_EXPO_FOREIGN_COUNTER] = "counter",
	};
	const struct eg_expo_family *f = &eg_metrics_family[id];

	eg_strbuf_printf(out, "| `%s%s` | %s | %s | %s |\n", f->name,
			 f->type == EG_EXPO_COUNTER ? "_total" :
			 f->type == EG_EXPO_INFO    ? "_info" :
						      "",
			 types[f->type], labels, f->help);
}

static const char head[] =
	"# Metrics\n\n<!-- Written by `ergon docs metrics` from src/codec/metrics_table.h. -->\n\n"
	"`GET /metrics` answers in Prometheus text 0.0.4 or, where the client prefers it, in OpenMetrics\n"
	"1.0. Both have the same values; OpenMetrics adds `# UNIT` and, to counters, `_created`: the Unix\n"
	"time from which the counter counts. No sample has a time stamp: `ergon_reading_age_seconds` says\n"
	"how old a reading was when the page was written.\n\n"
	"* **Absent is absent.** A sensor without a valid reading has no energy and no power series. From\n"
	"  its first reading on there is one, from 0, and it never falls: through wraps, counter resets,\n"
	"  restarts and reboots.\n"
	"* **A device that is gone** keeps its energy series. It has no `ergon_sensor_up`, and its\n"
	"  `ergon_reading_age_seconds` grows.\n"
	"* **No double counting.** Series of one family overlap: a package contains its cores, the node its\n"
	"  parts. Sums that are safe:\n\n"
	"      sum(rate(ergon_energy_joules_total{component=\"gpu\"}[5m]))\n"
	"      sum(rate(ergon_energy_joules_total{component=~\"package|dram\"}[5m]))\n"
	"      sum(rate(ergon_energy_joules_total{component=\"chassis\"}[5m]))\n\n"
	"  Each of them with all provenances: `estimated` is the energy held over lost readings, which the\n"
	"  measured series of the same device does not contain, and, where estimates are allowed, that of a\n"
	"  model for a component that no sensor measures.\n"
	"* **Provenance is a label.** Nothing modeled or estimated is under `measured`. Families of other\n"
	"  programs have no such label: they hold measured values only, unless the configuration allows\n"
	"  estimates in them.\n\n";

static const char attributes[] =
	"\nNumeric attributes of devices are `ergon_device_NAME` with the label `device` (and `mig` for a\n"
	"part of a GPU), such as `ergon_device_temperature_celsius`, `ergon_device_memory_used_bytes`,\n"
	"`ergon_device_utilization_ratio`, `ergon_device_clock_sm_hertz`. Only those whose name ends in\n"
	"their unit are shown. At most 4096 attributes and 16 text labels a device.\n\n";

static const char rapl[] =
	"\n### node_exporter\n\n"
	"`node_rapl_{package,core,uncore,dram,psys}_joules_total`, labels `index` and `path` as\n"
	"node_exporter 1.5 writes them; dies have families of their own there too\n"
	"(`node_rapl_package_0_die_1_joules_total`). Only zones that Ergon reads through powercap. The\n"
	"value is the account's total: it rises as node_exporter's does, but it counts from the first\n"
	"reading of Ergon's ledger instead of the last boot, and neither a wrap nor a reboot lets it fall.\n\n"
	"### dcgm-exporter\n\n"
	"NVIDIA GPUs. The energy has a name without `_total`; in OpenMetrics, which allows no such counter,\n"
	"its type is `unknown`, so that the name stays.\n\n"
	"| family | type | labels | what it is |\n|---|---|---|---|\n";

static const char table_head[] = "| family | type | labels | what it is |\n|---|---|---|---|\n";

void eg_metrics_write_docs(struct eg_strbuf *out)
{
#define X(id, kind, n, u, labels, h) put_row(out, EG_MF_##id, labels);
	eg_strbuf_puts(out, head);
	eg_strbuf_puts(out, table_head);
	EG_METRICS_OWN(X)
	eg_strbuf_puts(out, attributes);
	eg_strbuf_puts(out, "## The agent about itself\n\nWhat is not known has no series.\n\n");
	eg_strbuf_puts(out, table_head);
	EG_METRICS_AGENT(X_AGENT)
	EG_METRICS_PAGE(X)
	eg_strbuf_puts(
		out,
		"\n`ergon_agent_energy_joules_total` has the label "
		"`provenance=\"modeled\"`.\n\n## Families of other programs\n\n"
		"Chosen by `[compat]` in the configuration. Only devices that are here now.\n\n"
		"### all-smi, on by default\n\n");
	eg_strbuf_puts(out, table_head);
	EG_METRICS_ALL_SMI(X)
	eg_strbuf_puts(
		out, "\n`scope` is `gpu`, `cpu` (one series a package) or `chassis`: a sensor of "
		     "the whole machine, never a\nsum of parts. `chassis` contains the others.\n\n"
		     "### all-smi, the rows that its viewer shows\n\n");
	eg_strbuf_puts(out, table_head);
	EG_METRICS_ALL_SMI_ROWS(X)
	eg_strbuf_puts(out, rapl);
	EG_METRICS_DCGM(X)
#undef X
}
