/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The routes of zeusd 0.5 and the form of their answers: maps from a device's number, as a text, to its
 * figure. Which devices a request means is in ?gpu_ids= or ?cpu_ids=; one of those without a figure now is
 * an error, and where none is named the answer holds those that have one. An error is
 * {"error": message, "cure": what helps}; a number that no device has is 400, as zeusd says it.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/zeusd_internal.h"
#include "base/parse.h"

struct route {
	const char *path;
	void (*answer)(struct eg_zeusd_call *c);
	enum eg_zeusd_kind kind;
	bool open; /* needs no rights */
	bool needs_view;
	bool fresh;  /* on a sample taken for it */
	bool energy; /* takes ?cpu= and ?dram= of a CPU */
};

static const char *const ids_name[] = {[EG_ZEUSD_GPU] = "gpu_ids", [EG_ZEUSD_CPU] = "cpu_ids"};
static const char *const kind_name[] = {[EG_ZEUSD_GPU] = "GPU", [EG_ZEUSD_CPU] = "CPU"};

/* ---- answers ---- */

static void put_error(struct eg_http_request *req, unsigned status, const char *cure,
		      const char *message, const char *allow)
{
	struct eg_strbuf out = EG_STRBUF_INIT(4096);
	struct eg_json j;

	eg_json_init(&j, &out, false);
	eg_json_object(&j, NULL);
	eg_json_text(&j, "error", message);
	eg_json_text(&j, "cure", cure);
	eg_json_end(&j);
	if (eg_json_finish(&j) < 0)
		eg_strbuf_reset(&out);
	eg_http_reply(req, &(struct eg_http_answer){
				   .status = status,
				   .type = "application/json",
				   .data = eg_strbuf_get(&out),
				   .len = out.len,
				   .allow = allow,
				   .retry_after_s = status == 503 || status == 429 ? 1 : 0});
	eg_strbuf_free(&out);
}

void eg_zeusd_fail(struct eg_http_request *req, unsigned status, const char *cure, const char *fmt,
		   ...)
{
	char message[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	put_error(req, status, cure, message, NULL);
}

struct doc {
	struct eg_strbuf out;
	struct eg_json j;
};

static struct eg_json *open_doc(struct doc *d)
{
	d->out = EG_STRBUF_INIT(EG_ZEUSD_REPLY_MAX);
	eg_json_init(&d->j, &d->out, false);
	eg_json_object(&d->j, NULL);
	return &d->j;
}

static void send_doc(struct doc *d, struct eg_http_request *req)
{
	eg_json_end(&d->j);
	if (eg_json_finish(&d->j) < 0)
		eg_zeusd_fail(req, 503, "try again later", "there is no memory");
	else
		eg_http_reply(req, &(struct eg_http_answer){.status = 200,
							    .type = "application/json",
							    .data = eg_strbuf_get(&d->out),
							    .len = d->out.len});
	eg_strbuf_free(&d->out);
}

static void put_number(struct eg_json *j, unsigned id, uint64_t value)
{
	char key[16];

	snprintf(key, sizeof(key), "%u", id);
	eg_json_u64(j, key, value);
}

static void open_device(struct eg_json *j, unsigned id)
{
	char key[16];

	snprintf(key, sizeof(key), "%u", id);
	eg_json_object(j, key);
}

/* ---- what a request means ---- */

static bool is_param(const struct route *r, const char *name)
{
	if (strcmp(name, "cpu") == 0 || strcmp(name, "dram") == 0)
		return r->energy;
	return !r->open && strcmp(name, ids_name[r->kind]) == 0;
}

/* A parameter that means nothing, or comes twice, is a mistake that would be hidden. */
static bool check_params(const struct route *r, struct eg_http_request *req)
{
	const char *name;

	for (unsigned i = 0; (name = eg_http_query_name(req, i)); i++) {
		if (!is_param(r, name)) {
			eg_zeusd_fail(req, 400,
				      r->open	? "give no parameters" :
				      r->energy ? "give cpu=true&dram=true, and cpu_ids= for some" :
				      r->kind == EG_ZEUSD_GPU ?
						  "give gpu_ids=, or nothing for all" :
						  "give cpu_ids=, or nothing for all",
				      "%s takes no parameter '%.64s'", r->path, name);
			return false;
		}
		for (unsigned k = 0; k < i; k++)
			if (strcmp(eg_http_query_name(req, k), name) == 0) {
				eg_zeusd_fail(req, 400, "separate numbers by commas",
					      "'%.64s' is given twice", name);
				return false;
			}
	}
	return true;
}

static bool choose(struct eg_zeusd_call *c, const char *s, size_t n)
{
	static const char cure[] = "give numbers separated by commas, as GET /discover lists them";
	const struct eg_zeusd_device *d = c->z->devices.of[c->kind];
	uint64_t id;

	if (n == 0 || eg_parse_u64(s, n, &id) < 0) {
		eg_zeusd_fail(c->req, 400, cure, "%s: '%.*s' is no number of a %s",
			      ids_name[c->kind], (int)EG_MIN(n, (size_t)32), s, kind_name[c->kind]);
		return false;
	}
	for (size_t i = 0; i < c->z->devices.n[c->kind]; i++)
		if (d[i].id == id)
			return c->chosen[i] = true;
	eg_zeusd_fail(c->req, 400, cure, "%s %llu not found", kind_name[c->kind],
		      (unsigned long long)id);
	return false;
}

/* Which devices? False: it has been answered. */
static bool choose_all(struct eg_zeusd_call *c)
{
	const char *s = eg_http_query(c->req, ids_name[c->kind]);

	c->named = s != NULL;
	for (size_t i = 0; !c->named && i < c->z->devices.n[c->kind]; i++)
		c->chosen[i] = true;
	for (bool more = c->named; more;) {
		size_t n = strcspn(s, ","), lead = EG_MIN(strspn(s, " "), n), len = n - lead;

		while (len && s[lead + len - 1] == ' ')
			len--;
		if (!choose(c, s + lead, len))
			return false;
		more = s[n] == ',';
		s += n + more;
	}
	return true;
}

static void fail_reading(struct eg_zeusd_call *c, const struct eg_zeusd_device *d)
{
	const struct eg_view_channel *vc = &c->v->channel[d->channel];

	if (vc->status == EG_STATUS_OK && d->dram >= 0) /* then it is its memory */
		vc = &c->v->channel[d->dram];
	eg_zeusd_fail(c->req, 503, "`ergon doctor` says why a sensor cannot be read",
		      "%s %u has no reading now (%s: %s)", kind_name[c->kind], d->id, vc->name,
		      eg_status_word(vc->status));
}

/* Puts a device's figure; false: it has none now. */
typedef bool (*put_device)(const struct eg_zeusd_call *c, const struct eg_zeusd_device *d,
			   struct eg_json *j);

/* member: where the map is not all of the answer, its name, and the time is beside it. */
static void answer_map(struct eg_zeusd_call *c, const char *member, put_device put)
{
	const struct eg_zeusd_device *first = NULL;
	struct doc d;
	struct eg_json *j = open_doc(&d);
	size_t shown = 0;

	if (member) {
		eg_json_u64(j, "timestamp_ms", c->v->unix_ns / EG_NSEC_PER_MSEC);
		eg_json_object(j, member);
	}
	for (size_t i = 0; i < c->z->devices.n[c->kind]; i++) {
		const struct eg_zeusd_device *dev = &c->z->devices.of[c->kind][i];

		if (!c->chosen[i])
			continue;
		if (put(c, dev, j)) {
			shown++;
			continue;
		}
		first = first ? first : dev;
	}
	if (first && (shown == 0 || c->named)) {
		eg_strbuf_free(&d.out);
		fail_reading(c, first);
		return;
	}
	if (member)
		eg_json_end(j);
	send_doc(&d, c->req);
}

/* ---- energy and power ---- */

static bool put_gpu_energy(const struct eg_zeusd_call *c, const struct eg_zeusd_device *d,
			   struct eg_json *j)
{
	uint64_t uj;

	if (!eg_zeusd_uj(c->v, d->channel, c->z->agent->cfg->compat.estimates, &uj))
		return false;
	open_device(j, d->id);
	eg_json_u64(j, "energy_mj", uj / 1000);
	eg_json_end(j);
	return true;
}

static void get_gpu_energy(struct eg_zeusd_call *c)
{
	answer_map(c, NULL, put_gpu_energy);
}

static bool put_gpu_power(const struct eg_zeusd_call *c, const struct eg_zeusd_device *d,
			  struct eg_json *j)
{
	uint64_t mw;

	if (!eg_zeusd_mw(c->v, d->channel, &mw))
		return false;
	put_number(j, d->id, mw);
	return true;
}

static void get_gpu_power(struct eg_zeusd_call *c)
{
	answer_map(c, "power_mw", put_gpu_power);
}

static bool is_true(const struct eg_zeusd_call *c, const char *name)
{
	return strcmp(eg_http_query(c->req, name), "true") == 0;
}

static bool put_cpu_energy(const struct eg_zeusd_call *c, const struct eg_zeusd_device *d,
			   struct eg_json *j)
{
	bool estimates = c->z->agent->cfg->compat.estimates;
	bool cpu = is_true(c, "cpu"), dram = is_true(c, "dram") && d->dram >= 0;
	uint64_t cpu_uj, dram_uj;

	if ((cpu && !eg_zeusd_uj(c->v, d->channel, estimates, &cpu_uj)) ||
	    (dram && !eg_zeusd_uj(c->v, (size_t)d->dram, estimates, &dram_uj)))
		return false;
	open_device(j, d->id);
	if (cpu)
		eg_json_u64(j, "cpu_energy_uj", cpu_uj);
	else
		eg_json_null(j, "cpu_energy_uj");
	if (dram)
		eg_json_u64(j, "dram_energy_uj", dram_uj);
	else
		eg_json_null(j, "dram_energy_uj");
	eg_json_end(j);
	return true;
}

static void get_cpu_energy(struct eg_zeusd_call *c)
{
	answer_map(c, NULL, put_cpu_energy);
}

static bool put_cpu_power(const struct eg_zeusd_call *c, const struct eg_zeusd_device *d,
			  struct eg_json *j)
{
	uint64_t mw;

	if (!eg_zeusd_mw(c->v, d->channel, &mw))
		return false;
	open_device(j, d->id);
	eg_json_u64(j, "cpu_mw", mw);
	if (d->dram >= 0 && eg_zeusd_mw(c->v, (size_t)d->dram, &mw))
		eg_json_u64(j, "dram_mw", mw);
	else
		eg_json_null(j, "dram_mw");
	eg_json_end(j);
	return true;
}

static void get_cpu_power(struct eg_zeusd_call *c)
{
	answer_map(c, "power_mw", put_cpu_power);
}

/* ---- what a card tells beside energy ---- */

/* Every member of one card; names end with NULL. */
struct fact {
	const char *member, *attribute;
	bool flag; /* else watts, told in milliwatts */
};

static void answer_facts(struct eg_zeusd_call *c, const char *what, const struct fact *facts)
{
	struct agent *a = c->z->agent;
	struct eg_device_facts known = eg_devices_get(a->devices);
	struct doc d;
	struct eg_json *j = open_doc(&d);
	const struct eg_zeusd_device *silent = NULL;
	size_t shown = 0;

	for (size_t i = 0; i < c->z->devices.n[EG_ZEUSD_GPU]; i++) {
		const struct eg_zeusd_device *dev = &c->z->devices.of[EG_ZEUSD_GPU][i];
		const char *device = c->v->channel[dev->channel].ch->device;
		bool whole = true;

		for (const struct fact *f = facts; f->member; f++)
			whole &= eg_zeusd_attribute(&known, device, f->attribute) != NULL;
		if (!c->chosen[i])
			continue;
		if (!whole) {
			silent = silent ? silent : dev;
			continue;
		}
		shown++;
		open_device(j, dev->id);
		for (const struct fact *f = facts; f->member; f++) {
			double v = eg_zeusd_attribute(&known, device, f->attribute)->value;

			if (f->flag)
				eg_json_bool(j, f->member, v != 0);
			else
				eg_json_u64(j, f->member, (uint64_t)llround(v * 1e3));
		}
		eg_json_end(j);
	}
	if (!silent || (shown && !c->named)) {
		send_doc(&d, c->req);
		return;
	}
	eg_strbuf_free(&d.out);
	if (eg_devices_number(a->devices) == 0)
		eg_zeusd_fail(c->req, 503, "try again in a second",
			      "the cards have not told yet what they are");
	else
		eg_zeusd_fail(c->req, 501, "ask the card's own tool, such as nvidia-smi",
			      "GPU %u does not tell its %s", silent->id, what);
}

static void get_limit(struct eg_zeusd_call *c)
{
	static const struct fact facts[] = {{"power_limit_mw", "power_limit_watts", false}, {0}};

	answer_facts(c, "power limit", facts);
}

static void get_constraints(struct eg_zeusd_call *c)
{
	static const struct fact facts[] = {{"min_power_limit_mw", "power_limit_min_watts", false},
					    {"max_power_limit_mw", "power_limit_max_watts", false},
					    {0}};

	answer_facts(c, "lowest and highest power limit", facts);
}

static void get_persistence(struct eg_zeusd_call *c)
{
	static const struct fact facts[] = {{"enabled", "persistence_mode", true}, {0}};

	answer_facts(c, "persistence mode", facts);
}

/* ---- the server ---- */

static void put_groups(const struct eg_zeusd *z, struct eg_json *j, const char *key)
{
	eg_json_array(j, key);
	if (z->agent->cfg->zeusd.claim_control)
		eg_json_text(j, NULL, "gpu-control");
	eg_json_text(j, NULL, "gpu-read");
	eg_json_text(j, NULL, "cpu-read");
	eg_json_end(j);
}

static const char *text_of(const struct eg_attribute *a)
{
	return a && a->is_text && a->text[0] ? a->text : NULL;
}

static void put_gpu(const struct eg_zeusd_call *c, const struct eg_zeusd_device *d,
		    const struct eg_device_facts *known, struct eg_json *j)
{
	const struct eg_channel *ch = c->v->channel[d->channel].ch;
	const char *name = text_of(eg_zeusd_attribute(known, ch->device, "name"));

	eg_json_object(j, NULL);
	eg_json_u64(j, "id", d->id);
	eg_json_text(j, "name", name ? name : ch->label[0] ? ch->label : ch->domain);
	eg_json_text(j, "pci_address", text_of(eg_zeusd_attribute(known, ch->device, "pci_id")));
	eg_json_bool(j, "cumulative_energy_available",
		     c->v->account[c->v->channel[d->channel].account].shown);
	eg_json_end(j);
}

/* auth_required: may this peer read nothing unless he sends a token? */
static void get_discover(struct eg_zeusd_call *c)
{
	struct eg_device_facts known = eg_devices_get(c->z->agent->devices);
	const struct eg_zeusd_devices *l = &c->z->devices;
	const struct eg_config *cfg = c->z->agent->cfg;
	struct doc d;
	struct eg_json *j = open_doc(&d);

	eg_json_array(j, "gpus");
	for (size_t i = 0; i < l->n[EG_ZEUSD_GPU]; i++)
		put_gpu(c, &l->of[EG_ZEUSD_GPU][i], &known, j);
	eg_json_end(j);
	eg_json_array(j, "cpus");
	for (size_t i = 0; i < l->n[EG_ZEUSD_CPU]; i++) {
		const struct eg_zeusd_device *dev = &l->of[EG_ZEUSD_CPU][i];

		eg_json_object(j, NULL);
		eg_json_u64(j, "id", dev->id);
		eg_json_bool(j, "dram_available", dev->dram >= 0);
		eg_json_end(j);
	}
	eg_json_end(j);
	put_groups(c->z, j, "enabled_api_groups");
	eg_json_bool(j, "auth_required",
		     !c->req->peer.local && cfg->access.anonymous == EG_ACCESS_NONE);
	send_doc(&d, c->req);
}

static void get_time(struct eg_zeusd_call *c)
{
	struct doc d;

	eg_json_u64(open_doc(&d), "timestamp_ms",
		    eg_clock_unix_ns(&c->z->agent->env.clock) / EG_NSEC_PER_MSEC);
	send_doc(&d, c->req);
}

static void get_whoami(struct eg_zeusd_call *c)
{
	const struct eg_http_peer *peer = &c->req->peer;
	bool tokens = !peer->local && *c->z->agent->cfg->zeusd.token_file;
	struct doc d;

	if (!tokens) {
		eg_zeusd_fail(c->req, 404, "none is needed: [access] decides what one may see",
			      "there is no authentication here");
		return;
	}
	if (!peer->authenticated) {
		eg_zeusd_fail(c->req, 401, "send a token (ZEUSD_TOKEN)", "no token was sent");
		return;
	}
	eg_json_text(open_doc(&d), "sub", peer->user);
	put_groups(c->z, &d.j, "scopes");
	send_doc(&d, c->req);
}

static const struct route routes[] = {
	{"/discover", get_discover, .open = true, .needs_view = true},
	{"/time", get_time, .open = true},
	{"/auth/whoami", get_whoami, .open = true},
	{"/gpu/get_cumulative_energy", get_gpu_energy, EG_ZEUSD_GPU, .needs_view = true,
	 .fresh = true},
	{"/gpu/get_power", get_gpu_power, EG_ZEUSD_GPU, .needs_view = true},
	{"/gpu/stream_power", eg_zeusd_stream_open, EG_ZEUSD_GPU, .needs_view = true},
	{"/gpu/get_power_limit", get_limit, EG_ZEUSD_GPU, .needs_view = true},
	{"/gpu/get_power_limit_constraints", get_constraints, EG_ZEUSD_GPU, .needs_view = true},
	{"/gpu/get_persistence_mode", get_persistence, EG_ZEUSD_GPU, .needs_view = true},
	{"/cpu/get_cumulative_energy", get_cpu_energy, EG_ZEUSD_CPU, .needs_view = true,
	 .fresh = true, .energy = true},
	{"/cpu/get_power", get_cpu_power, EG_ZEUSD_CPU, .needs_view = true},
	{"/cpu/stream_power", eg_zeusd_stream_open, EG_ZEUSD_CPU, .needs_view = true},
};

/* Of what zeusd can set. */
static bool would_change(const char *path)
{
	static const char *const starts[] = {"/gpu/set_", "/gpu/reset_", "/cpu/set_",
					     "/cpu/reset_"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(starts); i++)
		if (strncmp(path, starts[i], strlen(starts[i])) == 0)
			return true;
	return false;
}

static bool is_get(const struct eg_http_request *req)
{
	return strcmp(req->method, "GET") == 0 || strcmp(req->method, "HEAD") == 0;
}

/* The route; NULL: it has been answered. */
static const struct route *find_route(struct eg_http_request *req)
{
	if (would_change(req->path)) {
		put_error(req, 403, "let a zeusd of its own set it, or the card's own tool",
			  "Ergon only reads: it changes no setting of any device", NULL);
		return NULL;
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(routes); i++) {
		if (strcmp(routes[i].path, req->path) != 0)
			continue;
		if (is_get(req))
			return &routes[i];
		put_error(req, 405, "use GET", "Ergon only reads", "GET, HEAD");
		return NULL;
	}
	eg_zeusd_fail(req, 404, "GET /discover tells what there is",
		      "zeusd's read-only API has no %.128s", req->path);
	return NULL;
}

static bool check_switch(struct eg_http_request *req, const char *name)
{
	const char *v = eg_http_query(req, name);

	if (v && (strcmp(v, "true") == 0 || strcmp(v, "false") == 0))
		return true;
	eg_zeusd_fail(req, 400, "give cpu=true&dram=true", "'%s' must be true or false", name);
	return false;
}

static bool may_see(struct eg_zeusd_call *c, const struct route *r)
{
	c->access = eg_api_access(c->z->agent->api, c->req);
	if (c->access != EG_ACCESS_NONE || r->open)
		return true;
	if (!c->req->peer.local && !c->req->peer.authenticated)
		eg_zeusd_fail(c->req, 401, "send a token (ZEUSD_TOKEN)",
			      "a client without a token may see nothing here");
	else
		eg_zeusd_fail(c->req, 403, "ask the administrator for [access]",
			      "you may see nothing here");
	return false;
}

/* The view to answer from; whoever may see nothing may still learn what there is. */
static bool take_view(struct eg_zeusd_call *c, bool fresh)
{
	struct agent *a = c->z->agent;

	if (c->access == EG_ACCESS_NONE)
		c->v = a->have_view ? a->fine : NULL;
	else
		c->v = eg_agent_view(a, c->access, fresh);
	if (c->v && eg_zeusd_devices_find(&c->z->devices, c->v, a->cfg->compat.estimates) < 0) {
		eg_zeusd_fail(c->req, 503, "try again later", "there is no memory");
		return false;
	}
	if (!c->v)
		eg_zeusd_fail(c->req, 503, "try again in a second", "there is no sample yet");
	return c->v != NULL;
}

static void handle(struct eg_zeusd *z, struct eg_http_request *req, bool may_wait)
{
	struct eg_zeusd_call c = {.z = z, .req = req};
	const struct route *r = find_route(req);
	bool fresh;

	if (!r || !may_see(&c, r) || !check_params(r, req))
		return;
	if (r->energy && (!check_switch(req, "cpu") || !check_switch(req, "dram")))
		return;
	c.kind = r->kind;
	fresh = r->fresh && c.access == EG_ACCESS_FULL;
	if (r->needs_view && !take_view(&c, fresh && !z->waits_for_samples))
		return;
	if (r->needs_view && !r->open && !choose_all(&c))
		return;
	if (fresh && z->waits_for_samples && may_wait)
		eg_zeusd_wait(z, req);
	else
		r->answer(&c);
}

void eg_zeusd_handle(void *arg, struct eg_http_request *req)
{
	struct eg_zeusd *z = arg;

	if (z->stopping)
		eg_zeusd_fail(req, 503, "try again later", "the agent is stopping");
	else
		handle(z, req, true);
}

void eg_zeusd_resume(struct eg_zeusd *z, struct eg_http_request *req, bool fresh)
{
	if (fresh)
		handle(z, req, false);
	else
		eg_zeusd_fail(req, 503, "try again later", "the agent is stopping");
}
