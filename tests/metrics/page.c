/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints a page for the tests that read it with other programs' parsers:
 *
 *	metrics-page MACHINE text|openmetrics [FAMILY]...
 *
 * MACHINE: server, empty, hostile, many, or a directory with a powercap tree, whose zones get the
 * values of their counters as totals. FAMILY: own (nothing else), rows, node, dcgm, estimates.
 */
#include <stdio.h>
#include <string.h>

#include "core/meter.h"
#include "rig.h"

static struct rig *from_tree(const char *root)
{
	const struct eg_meter_config cfg = {.select = "rapl"};
	struct rig *r = rig_new();
	struct eg_meter *m;
	struct eg_env env;

	if (eg_env_open(&env, root) < 0 || eg_meter_open(&env, eg_drivers, &cfg, &m, NULL) < 0)
		return NULL;
	for (size_t i = 0; i < eg_meter_count(m); i++) {
		const struct eg_channel *ch = eg_meter_channel(m, i);
		uint64_t uj;
		int k = rig_channel(r, eg_meter_driver(m, i)->name, ch->domain, ch->device,
				    ch->component, ch->source);

		memcpy(r->ch[k].origin, ch->origin, sizeof(ch->origin));
		if (eg_fs_read_u64(&env.fs, ch->origin, &uj) < 0)
			return NULL;
		rig_read(r, k, uj, 1000000);
	}
	if (!eg_meter_close(m))
		eg_env_close(&env);
	return r;
}

int main(int argc, char **argv)
{
	struct eg_metrics_options opt = {.all_smi = true};
	struct eg_strbuf out = EG_STRBUF_INIT(EG_METRICS_MAX);
	struct eg_metrics *m;
	struct rig *r;
	int code;

	if (argc < 3)
		return 2;
	r = strcmp(argv[1], "server") == 0  ? rig_server() :
	    strcmp(argv[1], "empty") == 0   ? rig_new() :
	    strcmp(argv[1], "hostile") == 0 ? rig_hostile() :
	    strcmp(argv[1], "many") == 0    ? rig_many(EG_CHANNELS_MAX) :
					      from_tree(argv[1]);
	if (!r)
		return 1;
	if (strcmp(argv[2], "openmetrics") == 0)
		opt.format = EG_METRICS_OPENMETRICS;
	for (int i = 3; i < argc; i++) {
		if (strcmp(argv[i], "own") == 0)
			opt.all_smi = false;
		opt.all_smi_rows |= strcmp(argv[i], "rows") == 0;
		opt.node_exporter |= strcmp(argv[i], "node") == 0;
		opt.dcgm |= strcmp(argv[i], "dcgm") == 0;
		opt.estimates |= strcmp(argv[i], "estimates") == 0;
	}
	code = eg_metrics_new(&r->v, &r->agent, &m);
	if (code == 0)
		code = eg_metrics_write(m, &opt, &r->v, &r->agent, &r->devices, &r->host,
					r->v.t_ns + 500 * EG_NSEC_PER_MSEC, &out);
	if (code == 0)
		fwrite(out.s, 1, out.len, stdout);
	eg_metrics_free(m);
	eg_strbuf_free(&out);
	free(r);
	return code < 0;
}
