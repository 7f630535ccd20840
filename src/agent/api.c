/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local API's table of routes, who may see what, and the form of every answer (see api.h). An
 * answer is one JSON document with a schema, an error is {"error": {code, message, cure}}.
 */
#include "agent/api.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/api_internal.h"
#include "base/version.h"
#include "codec/money.h"
#include "codec/number.h"

static void get_index(struct eg_api_call *c);

/* docs/openapi.yaml describes each; tests/api compares. */
const struct eg_api_route eg_api_routes[] = {
	{"GET", "/", get_index, EG_ACCESS_COARSE, "what there is, and what you may see of it"},
	{"GET", "/sensors", eg_api_get_sensors, EG_ACCESS_COARSE,
	 "channels and drivers, or why there is none"},
	{"GET", "/totals", eg_api_get_totals, EG_ACCESS_COARSE,
	 "energy of every account, and of the node"},
	{"GET", "/power", eg_api_get_power, EG_ACCESS_COARSE, "power of every channel"},
	{"POST", "/sample", eg_api_post_sample, EG_ACCESS_FULL, "takes a sample, then as /totals"},
	{"GET", "/history", eg_api_get_history, EG_ACCESS_COARSE,
	 "energy and power of the last minutes"},
	{"GET", "/events", eg_api_get_events, EG_ACCESS_COARSE,
	 "server-sent events: a snapshot a sample"},
	{"GET", "/windows", eg_api_get_windows, EG_ACCESS_COARSE, "your open windows"},
	{"POST", "/windows", eg_api_post_windows, EG_ACCESS_COARSE, "begins a window"},
	{"GET", "/windows/{id}", eg_api_get_window, EG_ACCESS_COARSE, "its value so far"},
	{"DELETE", "/windows/{id}", eg_api_delete_window, EG_ACCESS_COARSE, "forgets it"},
	{"POST", "/windows/{id}/units", eg_api_post_units, EG_ACCESS_COARSE,
	 "notes work done inside it"},
	{"POST", "/windows/{id}/end", eg_api_post_end, EG_ACCESS_COARSE,
	 "ends it and gives the result"},
	{NULL},
};

/* ---- answers ---- */

void eg_api_fail(struct eg_http_request *req, const struct eg_api_problem *p, const char *fmt, ...)
{
	struct eg_strbuf out = EG_STRBUF_INIT(4096);
	char message[512];
	struct eg_json j;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	eg_json_init(&j, &out, false);
	eg_json_object(&j, NULL);
	eg_json_object(&j, "error");
	eg_json_text(&j, "code", p->code);
	eg_json_text(&j, "message", message);
	eg_json_text(&j, "cure", p->cure);
	eg_json_end(&j);
	eg_json_end(&j);
	if (eg_json_finish(&j) < 0)
		eg_strbuf_reset(&out);
	eg_http_reply(req, &(struct eg_http_answer){.status = p->status,
						    .type = "application/json",
						    .data = eg_strbuf_get(&out),
						    .len = out.len,
						    .allow = p->allow,
						    .retry_after_s = p->retry_after_s});
	eg_strbuf_free(&out);
}

void eg_api_fail_memory(struct eg_http_request *req)
{
	eg_api_fail(req,
		    &(struct eg_api_problem){503, "no_memory", "try again later",
					     .retry_after_s = 10},
		    "there is no memory for the answer");
}

void eg_api_doc_open(struct eg_api_doc *d, const char *schema)
{
	d->out = EG_STRBUF_INIT(EG_API_REPLY_MAX);
	eg_json_init(&d->json, &d->out, false);
	eg_json_object(&d->json, NULL);
	eg_json_text(&d->json, "schema", schema);
}

void eg_api_doc_send(struct eg_api_doc *d, struct eg_http_request *req, unsigned status)
{
	eg_json_end(&d->json);
	if (eg_json_finish(&d->json) < 0)
		eg_api_fail_memory(req);
	else
		eg_http_reply(req, &(struct eg_http_answer){.status = status,
							    .type = "application/json",
							    .data = eg_strbuf_get(&d->out),
							    .len = d->out.len,
							    .gzip = true});
	eg_strbuf_free(&d->out);
}

const char *eg_api_granularity(enum eg_access access)
{
	return access == EG_ACCESS_FULL ? "full" : "coarse";
}

void eg_api_put_micro(struct eg_json *j, const char *key, uint64_t v)
{
	if (v == UINT64_MAX)
		eg_json_null(j, key);
	else
		eg_json_micro(j, key, v);
}

bool eg_api_shows_cost(const struct eg_config *cfg)
{
	return cfg->energy.has_price && cfg->energy.show_cost && cfg->energy.price_per_kwh > 0 &&
	       isfinite(cfg->energy.price_per_kwh);
}

void eg_api_put_money(struct eg_json *j, const struct eg_config *cfg, uint64_t uj)
{
	char text[EG_MONEY_TEXT_MAX];
	double cost;

	eg_json_double(j, "kwh", eg_money_kwh(uj));
	if (!eg_api_shows_cost(cfg))
		return;
	cost = eg_money_cost(uj, cfg->energy.price_per_kwh);
	eg_json_double(j, "cost", cost);
	eg_money_text(text, cost, cfg->energy.currency);
	eg_json_text(j, "cost_text", text);
}

/* ---- who may see what ---- */

void eg_api_owner_of(const struct eg_http_peer *peer, struct eg_api_owner *ret)
{
	*ret = (struct eg_api_owner){.local = peer->local};
	if (peer->local) {
		ret->uid = peer->uid;
	} else if (peer->authenticated) {
		ret->authenticated = true;
		memcpy(ret->user, peer->user, sizeof(ret->user));
		ret->user[sizeof(ret->user) - 1] = '\0';
	}
}

bool eg_api_same_owner(const struct eg_api_owner *a, const struct eg_api_owner *b)
{
	return a->local == b->local && a->authenticated == b->authenticated && a->uid == b->uid &&
	       strcmp(a->user, b->user) == 0;
}

bool eg_api_is_trusted(const struct eg_api *api, const struct eg_http_request *req)
{
	return req->peer.local && (req->peer.uid == 0 || req->peer.uid == api->host.uid ||
				   (api->host.socket_gid != (gid_t)-1 &&
				    eg_http_peer_in_group(req, api->host.socket_gid)));
}

enum eg_access eg_api_access_by(const struct eg_config *cfg, const struct eg_http_peer *peer,
				bool trusted)
{
	if (peer->local)
		return trusted ? cfg->access.group : cfg->access.others;
	return peer->authenticated ? cfg->access.authenticated : cfg->access.anonymous;
}

enum eg_access eg_api_access(const struct eg_api *api, const struct eg_http_request *req)
{
	return eg_api_access_by(api->host.config(api->host.arg), &req->peer,
				eg_api_is_trusted(api, req));
}

static bool is_set(const char *s)
{
	return s && *s;
}

static bool has_authentication(const struct eg_config *cfg)
{
	return is_set(cfg->http.basic_auth_file) || is_set(cfg->http.token_file) ||
	       is_set(cfg->http.tls_client_ca);
}

/* What helps a peer to see more. */
static const char *access_cure(const struct eg_api_call *c)
{
	if (c->req->peer.local)
		return "join the group of the socket, or ask an administrator for [access]";
	return has_authentication(c->cfg) ?
		       "send a token or a password" :
		       "use the Unix socket, or have authentication configured under [http]";
}

static void refuse(struct eg_api_call *c, enum eg_access needed)
{
	bool anonymous = !c->req->peer.local && !c->req->peer.authenticated;
	const char *what = needed == EG_ACCESS_FULL ? "this takes full access" :
						      "this peer may see nothing";

	if (anonymous && has_authentication(c->cfg))
		eg_api_fail(c->req, &(struct eg_api_problem){401, "unauthorized", access_cure(c)},
			    "%s, and nobody is logged in", what);
	else
		eg_api_fail(c->req, &(struct eg_api_problem){403, "forbidden", access_cure(c)},
			    "%s", what);
}

/*
 * A page of some web site may make its reader's browser send a request here. It cannot read the
 * answer, but it shall not begin or end anything either.
 */
static bool is_foreign_page(const struct eg_http_request *req)
{
	const char *origin = eg_http_header(req, "Origin"), *host = eg_http_header(req, "Host");

	if (!origin)
		return false;
	origin = strstr(origin, "://");
	return !origin || !host || strcmp(origin + 3, host) != 0;
}

/* ---- routes ---- */

static bool is_get(const char *method)
{
	return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

static bool method_fits(const struct eg_api_route *r, const char *method)
{
	return strcmp(r->method, is_get(method) ? "GET" : method) == 0;
}

/* Does the path fit? "{id}" takes one segment; what cannot be an id leaves c->id empty. */
static bool path_fits(const struct eg_api_route *r, const char *path, struct eg_api_call *c)
{
	const char *p = r->path;

	c->id[0] = '\0';
	while (*p) {
		size_t n;

		if (strncmp(p, "{id}", 4) != 0) {
			if (*p++ != *path++)
				return false;
			continue;
		}
		n = strcspn(path, "/");
		if (n == 0)
			return false;
		if (n == EG_API_ID_MAX - 1) {
			memcpy(c->id, path, n);
			c->id[n] = '\0';
		}
		path += n;
		p += 4;
	}
	return !*path;
}

static const char *below_prefix(const char *path)
{
	size_t n = strlen(EG_API_PREFIX);

	if (strncmp(path, EG_API_PREFIX, n) != 0)
		return NULL;
	if (!path[n])
		return "/";
	return path[n] == '/' ? path + n : NULL;
}

/* Finds the route; or answers 404 or 405. */
static const struct eg_api_route *find_route(struct eg_api_call *c)
{
	const char *path = below_prefix(c->req->path);
	char allow[64];
	int n = 0;

	for (const struct eg_api_route *r = eg_api_routes; path && r->method; r++) {
		if (!path_fits(r, path, c))
			continue;
		if (method_fits(r, c->req->method))
			return r;
		n += snprintf(allow + n, sizeof(allow) - (size_t)n, "%s%s", n ? ", " : "",
			      strcmp(r->method, "GET") == 0 ? "GET, HEAD" : r->method);
	}
	if (n)
		eg_api_fail(c->req,
			    &(struct eg_api_problem){405, "method_not_allowed",
						     "use one of the methods that Allow names",
						     .allow = allow},
			    "%s has no method %.20s", c->req->path, c->req->method);
	else
		eg_api_fail(c->req,
			    &(struct eg_api_problem){404, "not_found",
						     "GET " EG_API_PREFIX "/ lists the routes"},
			    "there is no %s", c->req->path);
	return NULL;
}

void eg_api_handle(struct eg_api *api, struct eg_http_request *req)
{
	struct eg_api_call c = {.api = api, .req = req, .cfg = api->host.config(api->host.arg)};
	const struct eg_api_route *r;

	c.access = eg_api_access(api, req);
	if (c.access == EG_ACCESS_NONE) {
		refuse(&c, EG_ACCESS_COARSE);
		return;
	}
	r = find_route(&c);
	if (!r)
		return;
	if (r->access > c.access)
		refuse(&c, r->access);
	else if (!is_get(req->method) && is_foreign_page(req))
		eg_api_fail(req,
			    &(struct eg_api_problem){403, "foreign_origin",
						     "send no Origin header, or that of the agent"},
			    "another site's page may change nothing here");
	else
		r->answer(&c);
}

const struct eg_view *eg_api_view(struct eg_api_call *c, bool fresh)
{
	const struct eg_view *v = c->api->host.view(c->api->host.arg, c->access, fresh);

	if (!v)
		eg_api_fail(c->req,
			    &(struct eg_api_problem){503, "no_sample", "try again in a second",
						     .retry_after_s = 1},
			    "there is no sample yet");
	return v;
}

static void get_index(struct eg_api_call *c)
{
	struct eg_api_doc d;
	struct eg_json *j = &d.json;

	eg_api_doc_open(&d, "ergon.api/1");
	eg_json_text(j, "version", EG_VERSION);
	eg_json_text(j, "access", eg_api_granularity(c->access));
	eg_json_nano(j, "interval_seconds", c->api->interval_ns);
	eg_json_nano(j, "coarse_interval_seconds", c->cfg->access.coarse_interval_ns);
	eg_json_nano(j, "history_seconds", c->api->history_ns);
	eg_json_u64(j, "max_windows", c->cfg->access.max_windows);
	eg_json_nano(j, "window_expiry_seconds", c->cfg->access.window_expiry_ns);
	eg_json_array(j, "routes");
	for (const struct eg_api_route *r = eg_api_routes; r->method; r++) {
		char path[64];

		snprintf(path, sizeof(path), "%s%s", EG_API_PREFIX, r->path);
		eg_json_object(j, NULL);
		eg_json_text(j, "method", r->method);
		eg_json_text(j, "path", path);
		eg_json_text(j, "access", eg_api_granularity(r->access));
		eg_json_text(j, "summary", r->summary);
		eg_json_end(j);
	}
	eg_json_end(j);
	eg_api_doc_send(&d, c->req, 200);
}

/* ---- life ---- */

uint64_t eg_api_now_ns(const struct eg_api *api)
{
	return eg_clock_ns(&api->host.env->clock);
}

int eg_api_new(const struct eg_api_host *host, struct eg_api **ret)
{
	const struct eg_config *cfg = host->config(host->arg);
	struct eg_api *api = calloc(1, sizeof(*api));
	int r;

	if (!api)
		return -ENOMEM;
	api->host = *host;
	api->n = eg_meter_count(host->meter);
	api->interval_ns = cfg->agent.interval_ns;
	api->history_ns = cfg->agent.history_ns;
	api->event = EG_STRBUF_INIT(EG_HTTP_QUEUE_MAX);
	r = eg_api_read_new(api);
	if (r == 0)
		r = eg_api_history_new(api);
	if (r == 0)
		r = eg_api_wait_new(api);
	if (r < 0) {
		eg_api_free(api);
		return r;
	}
	*ret = api;
	return 0;
}

struct eg_api *eg_api_free(struct eg_api *api)
{
	if (!api)
		return NULL;
	eg_api_streams_free(api);
	eg_api_wait_free(api);
	eg_api_windows_free(api);
	eg_api_history_free(api);
	eg_api_read_free(api);
	eg_strbuf_free(&api->event);
	free(api);
	return NULL;
}

void eg_api_tick(struct eg_api *api, const struct eg_view *fine, const struct eg_view *coarse)
{
	if (coarse) {
		eg_api_wait_coarse(api, coarse);
		eg_api_history_put(api, coarse, true);
	}
	eg_api_history_put(api, fine, false);
	eg_api_windows_expire(api, fine, coarse);
	eg_api_streams_tick(api, fine, coarse);
}

bool eg_api_wants_coarse(const struct eg_api *api)
{
	return eg_api_waits_coarse(api) || eg_api_streams_want_coarse(api) ||
	       eg_api_windows_want_coarse(api);
}

size_t eg_api_windows(const struct eg_api *api)
{
	return api->n_windows;
}
