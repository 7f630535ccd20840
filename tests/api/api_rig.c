/* SPDX-License-Identifier: Apache-2.0 */
/* See api_rig.h. */
#include "api_rig.h"

#include <math.h>
#include <stdlib.h>

struct api_rig *ar;

const struct eg_http_peer root = {.local = true, .uid = 0, .gid = 0, .pid = 10};
const struct eg_http_peer agent = {.local = true, .uid = AGENT_UID, .gid = AGENT_UID, .pid = 11};
const struct eg_http_peer alice = {.local = true, .uid = 1000, .gid = SOCKET_GID, .pid = 12};
const struct eg_http_peer bob = {.local = true, .uid = 1001, .gid = SOCKET_GID, .pid = 13};
const struct eg_http_peer eve = {.local = true, .uid = 1002, .gid = 1002, .pid = 14};
const struct eg_http_peer carol = {.authenticated = true, .user = "carol"};
const struct eg_http_peer dave = {.authenticated = true, .user = "dave"};
const struct eg_http_peer anon = {0};

static const struct eg_config *config(void *arg)
{
	return &ar->cfg;
}

/* ---- views, as src/agent/tick.c takes them ---- */

static uint64_t now_ns(void)
{
	return ar->rig->clock.boot_ns - RIG_T0;
}

static void sample(void)
{
	if (!ar->sampled)
		assert_int_equal(eg_meter_begin_running(ar->rig->meter, EG_METER_SINCE_OPEN), 0);
	else
		eg_meter_sample(ar->rig->meter, false);
	ar->sampled = true;
	eg_view_take(ar->full, ar->rig->meter);
}

static bool coarse_is_due(void)
{
	return !ar->have_coarse ||
	       now_ns() + ar->cfg.access.coarse_interval_ns / 8 >= ar->coarse_next_ns;
}

static void renew_coarse(void)
{
	eg_view_take(ar->coarse, ar->rig->meter);
	ar->have_coarse = ar->coarse_is_new = true;
	ar->coarse_next_ns =
		EG_MAX(ar->coarse_next_ns, now_ns()) + ar->cfg.access.coarse_interval_ns;
	ar->renewals++;
}

static const struct eg_view *view(void *arg, enum eg_access access, bool fresh)
{
	assert_ptr_equal(arg, ar);
	assert_int_not_equal(access, EG_ACCESS_NONE);
	if (fresh) {
		assert_int_equal(access, EG_ACCESS_FULL);
		ar->fresh++;
		sample();
	}
	if (!ar->sampled)
		return NULL;
	if (access == EG_ACCESS_COARSE && coarse_is_due()) {
		sample();
		renew_coarse();
	}
	return access == EG_ACCESS_FULL ? ar->full : ar->coarse;
}

/* ---- the loop ---- */

int api_setup(void **state)
{
	ar = calloc(1, sizeof(*ar));
	assert_non_null(ar);
	ar->rig = rig_new();
	ar->cfg.agent.interval_ns = SECOND;
	ar->cfg.agent.history_ns = 600 * SECOND;
	ar->cfg.energy.currency = "USD";
	ar->cfg.energy.show_cost = true;
	ar->cfg.access.anonymous = EG_ACCESS_COARSE;
	ar->cfg.access.authenticated = EG_ACCESS_FULL;
	ar->cfg.access.group = EG_ACCESS_FULL;
	ar->cfg.access.others = EG_ACCESS_COARSE;
	ar->cfg.access.coarse_interval_ns = SECOND;
	ar->cfg.access.max_windows = 256;
	ar->cfg.access.window_expiry_ns = 86400 * SECOND;
	return 0;
}

int api_teardown(void **state)
{
	assert_null(eg_api_free(ar->api));
	eg_view_free(ar->full);
	eg_view_free(ar->coarse);
	rig_free(ar->rig);
	free(ar);
	ar = NULL;
	return 0;
}

void api_open(void)
{
	struct eg_api_host host = {.arg = ar,
				   .config = config,
				   .view = view,
				   .socket_gid = SOCKET_GID,
				   .uid = AGENT_UID};

	if (ar->rig->n == 0) {
		rig_counter(ar->rig, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "100W")
			->ch.update_ns = 0;
		rig_counter(ar->rig, "core", "cpu-0", EG_COMPONENT_CORE, "60W")->ch.update_ns = 0;
		rig_counter(ar->rig, "dram-0", "cpu-0", EG_COMPONENT_DRAM, "25W")->ch.update_ns = 0;
		rig_gauge(ar->rig, "gpu-0", "gpu-x", EG_COMPONENT_GPU, "200W");
		for (size_t i = 0; i < 3; i++)
			ar->rig->c[i].ch.resolution_uj = 1;
	}
	rig_open(ar->rig, &ar->meter);
	assert_int_equal(eg_view_new(ar->rig->meter, &ar->full), 0);
	assert_int_equal(eg_view_new(ar->rig->meter, &ar->coarse), 0);
	host.meter = ar->rig->meter;
	host.env = &ar->rig->env;
	assert_int_equal(eg_api_new(&host, &ar->api), 0);
}

static void tell(void)
{
	eg_api_tick(ar->api, ar->full, ar->coarse_is_new ? ar->coarse : NULL);
	ar->coarse_is_new = false;
}

void api_tick(uint64_t t_ns)
{
	rig_at(ar->rig, t_ns);
	sample();
	if (eg_api_wants_coarse(ar->api) && coarse_is_due())
		renew_coarse();
	tell();
}

void api_turn(void)
{
	eg_api_run(ar->api);
	if (ar->coarse_is_new)
		tell();
	if (eg_api_waits_coarse(ar->api) && coarse_is_due())
		api_tick(now_ns());
}

void api_run(uint64_t until_ns, uint64_t step_ns)
{
	uint64_t t = now_ns();

	while (t + step_ns <= until_ns) {
		t += step_ns;
		api_tick(t);
	}
}

/* ---- requests ---- */

struct fake_request *api_send(const struct eg_http_peer *peer, const char *method,
			      const char *target, const char *body)
{
	char full[256];
	struct fake_request *f;

	snprintf(full, sizeof(full), "%s%s", target[0] == '!' ? "" : "/api/v1",
		 target + (target[0] == '!'));
	f = fake_request(method, full, body, body ? strlen(body) : 0, peer);
	eg_api_handle(ar->api, &f->req);
	if (!ar->busy)
		api_turn();
	return f;
}

json_t *api_answer(struct fake_request *f, unsigned status)
{
	json_error_t err;
	json_t *j;

	if (!f->answered)
		fail_msg("%s %s: no answer", f->req.method, f->req.path);
	if (f->status != status)
		fail_msg("%s %s: status %u, expected %u: %s", f->req.method, f->req.path, f->status,
			 status, f->data ? f->data : "");
	assert_string_equal(f->type, "application/json");
	j = json_loads(f->data, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &err);
	if (!j)
		fail_msg("%s %s: no JSON: %s", f->req.method, f->req.path, err.text);
	if (status == 429 || status == 503)
		assert_true(f->retry_after_s > 0);
	fake_free(f);
	return j;
}

json_t *api_call(const struct eg_http_peer *peer, const char *method, const char *target,
		 const char *body, unsigned status)
{
	return api_answer(api_send(peer, method, target, body), status);
}

const char *api_begin(const struct eg_http_peer *peer, const char *body, char id[33])
{
	json_t *j = api_call(peer, "POST", "/windows", body, 201);

	assert_text(j, "schema", "ergon.window/1");
	assert_text(j, "state", "open");
	assert_int_equal(strlen(text_at(j, "id")), 32);
	memcpy(id, text_at(j, "id"), 33);
	json_decref(j);
	return id;
}

struct fake_request *api_ask(const struct eg_http_peer *peer, const char *method, const char *id,
			     const char *what, const char *body)
{
	char target[128];

	snprintf(target, sizeof(target), "/windows/%s%s", id, what);
	return api_send(peer, method, target, body);
}

json_t *api_end(const struct eg_http_peer *peer, const char *id)
{
	json_t *j = api_answer(api_ask(peer, "POST", id, "/end", NULL), 200);

	assert_text(j, "state", "ended");
	assert_text(j, "id", id);
	return j;
}

void api_fails(const struct eg_http_peer *peer, const char *method, const char *target,
	       const char *body, unsigned status, const char *code)
{
	json_t *j = api_call(peer, method, target, body, status);

	assert_text(j, "error.code", code);
	assert_true(strlen(text_at(j, "error.message")) > 5);
	assert_true(has(j, "error.cure"));
	json_decref(j);
}

/* ---- values ---- */

static json_t *find(json_t *j, const char *path)
{
	char word[64];

	while (j && *path) {
		size_t n = strcspn(path, ".");

		assert_true(n < sizeof(word));
		memcpy(word, path, n);
		word[n] = '\0';
		j = json_is_array(j) ? json_array_get(j, strtoul(word, NULL, 10)) :
				       json_object_get(j, word);
		path += n + (path[n] == '.');
	}
	return j;
}

json_t *at(json_t *j, const char *path)
{
	json_t *v = find(j, path);

	if (!v)
		fail_msg("there is no %s", path);
	return v;
}

bool has(json_t *j, const char *path)
{
	return find(j, path) != NULL;
}

double number_at(json_t *j, const char *path)
{
	json_t *v = at(j, path);

	if (!json_is_number(v))
		fail_msg("%s is no number", path);
	return json_number_value(v);
}

const char *text_at(json_t *j, const char *path)
{
	json_t *v = at(j, path);

	if (!json_is_string(v))
		fail_msg("%s is no text", path);
	return json_string_value(v);
}

json_t *pick(json_t *array, const char *key, const char *value)
{
	size_t i;
	json_t *e;

	json_array_foreach(array, i, e)
	{
		const char *s = json_string_value(json_object_get(e, key));

		if (s && strcmp(s, value) == 0)
			return e;
	}
	fail_msg("no element with %s %s", key, value);
	return NULL;
}
