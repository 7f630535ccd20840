/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of the agent that are no API: metrics, health, and a page that says where to look. */
#include <string.h>

#include "agent/internal.h"
#include "base/version.h"
#include "codec/html.h"
#include "codec/number.h"

static void reply(struct eg_http_request *req, unsigned status, const char *type, const char *text)
{
	eg_http_reply(req,
		      &(struct eg_http_answer){
			      .status = status, .type = type, .data = text, .len = strlen(text)});
}

static void plain(struct eg_http_request *req, unsigned status, const char *text)
{
	reply(req, status, "text/plain; charset=utf-8", text);
}

static void refresh_facts(struct agent *a)
{
	struct eg_agent_facts *f = &a->facts;
	struct eg_http_stats http = {0};
	struct eg_store_status st;

	eg_self_look(a->self, a->fine, f);
	eg_http_get_stats(a->http, &http);
	f->http_requests = http.requests;
	f->http_refused = http.refused;
	f->http_clients = http.clients;
	f->streams = http.streams;
	f->stream_drops = http.dropped;
	f->scrapes = a->scrapes;
	f->windows = eg_api_windows(a->api);
	f->snapshots_skipped = a->fine->skipped;
	f->diagnostics_dropped = a->fine->diags_dropped;
	f->log_lines_dropped = eg_log_dropped();
	f->store_enabled = a->store != NULL;
	if (!a->store)
		return;
	eg_store_get_status(a->store, &st);
	f->log_bytes = st.log_bytes;
	f->log_pending_uj = st.pending_uj;
	f->log_failed_flushes = st.failed_flushes;
	f->log_compactions = st.compactions;
	f->last_flush_unix_ns = st.last_flush_unix_ns;
	f->log_failing = st.last_error != 0;
	f->log_damaged_records = eg_store_report(a->store)->log_damaged;
}

/* Facts of the machine for the rows that all-smi shows; world-readable files, so rights do not matter. */
static int open_stats(struct agent *a)
{
	struct eg_cpu cpu;
	int r = eg_cpu_read(&a->env, &cpu);

	return eg_stats_open(&a->env, r == 0 ? &cpu : NULL, &a->stats);
}

int eg_agent_metrics(struct agent *a, const struct eg_view *v, enum eg_metrics_format format,
		     bool to_collector)
{
	struct eg_metrics_options opt = {.format = format,
					 .all_smi = a->cfg->compat.all_smi,
					 .all_smi_rows = a->cfg->compat.all_smi_rows,
					 .node_exporter = a->cfg->compat.node_exporter &&
							  !to_collector,
					 .dcgm = a->cfg->compat.dcgm,
					 .estimates = a->cfg->compat.estimates};
	struct eg_device_facts devices = eg_devices_get(a->devices);
	struct eg_host_facts host;

	refresh_facts(a);
	if (opt.all_smi_rows && !a->stats)
		(void)!open_stats(a);
	if (opt.all_smi_rows && a->stats)
		eg_stats_read(a->stats, &host);
	eg_strbuf_reset(&a->body);
	return eg_metrics_write(a->metrics, &opt, v, &a->facts, &devices,
				opt.all_smi_rows && a->stats ? &host : NULL,
				eg_clock_ns(&a->env.clock), &a->body);
}

static void metrics(struct agent *a, struct eg_http_request *req, enum eg_access access)
{
	enum eg_metrics_format format = eg_metrics_negotiate(eg_http_header(req, "Accept"));
	const struct eg_view *v = eg_agent_view(a, access, true);

	a->scrapes++;
	if (!v) {
		plain(req, 503, "the first sample is not there yet\n");
		return;
	}
	if (eg_agent_metrics(a, v, format, false) < 0) {
		plain(req, 500, "the page is larger than its ceiling, or there is no memory\n");
		return;
	}
	eg_http_reply(req, &(struct eg_http_answer){.status = 200,
						    .type = eg_metrics_content_type(format),
						    .data = eg_strbuf_get(&a->body),
						    .len = a->body.len,
						    .gzip = true});
}

static void index_page(struct agent *a, struct eg_http_request *req)
{
	struct eg_strbuf *b = &a->body;

	eg_strbuf_reset(b);
	eg_strbuf_puts(
		b, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Ergon</title>"
		   "<style>body{font:16px/1.5 system-ui,sans-serif;margin:3em auto;max-width:40em;"
		   "padding:0 1em}td,th{text-align:left;padding:.1em 1.5em .1em 0}"
		   "</style><h1>Ergon " EG_VERSION "</h1><p>The energy of ");
	eg_html_text(b, a->host);
	eg_strbuf_puts(
		b,
		".</p><table><tr><td><a href=\"metrics\">/metrics</a><td>for Prometheus"
		"<tr><td><a href=\"api/v1\">/api/v1</a><td>for programs (JSON)"
		"<tr><td><a href=\"api/v1/totals\">/api/v1/totals</a><td>joules of each device"
		"<tr><td><a href=\"api/v1/sensors\">/api/v1/sensors</a><td>what is measured, and "
		"why the rest is not"
		"<tr><td><a href=\"-/healthy\">/-/healthy</a>, <a href=\"-/ready\">/-/ready</a>"
		"<td>for supervisors</table></html>\n");
	if (eg_strbuf_error(b) < 0)
		plain(req, 500, "no memory\n");
	else
		reply(req, 200, "text/html; charset=utf-8", eg_strbuf_get(b));
}

static bool is_get(const struct eg_http_request *req)
{
	return strcmp(req->method, "GET") == 0 || strcmp(req->method, "HEAD") == 0;
}

void eg_agent_handle(void *arg, struct eg_http_request *req)
{
	struct agent *a = arg;
	const char *path = req->path;
	enum eg_access access;

	if (!a->api) {
		plain(req, 503, "the agent is stopping\n");
		return;
	}
	if (strcmp(path, "/api/v1") == 0 || strncmp(path, "/api/v1/", 8) == 0) {
		eg_api_handle(a->api, req);
		return;
	}
	if (!is_get(req)) {
		eg_http_reply(req, &(struct eg_http_answer){.status = 405,
							    .type = "text/plain; charset=utf-8",
							    .data = "only GET here\n",
							    .len = 14,
							    .allow = "GET, HEAD"});
		return;
	}
	if (strcmp(path, "/-/healthy") == 0) {
		plain(req, 200, "ok\n");
		return;
	}
	if (strcmp(path, "/-/ready") == 0) {
		plain(req, a->have_view ? 200 : 503,
		      a->have_view ? "ready\n" : "the first sample is not there yet\n");
		return;
	}
	access = eg_api_access(a->api, req);
	if (access == EG_ACCESS_NONE)
		plain(req, req->peer.local || req->peer.authenticated ? 403 : 401,
		      "not for you; the administrator decides in [access] of the configuration\n");
	else if (strcmp(path, "/metrics") == 0)
		metrics(a, req, access);
	else if (strcmp(path, "/") == 0)
		index_page(a, req);
	else
		plain(req, 404, "nothing here; see / for what there is\n");
}
