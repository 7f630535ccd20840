/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows of the local API. Each is a window of the meter whose name there is a random id; the name
 * that its owner gave, the owner and the expiry are kept here. Who is not the owner is told that there
 * is no such window, whether there is one or not. A window that has ended stays known for a
 * minute, with its result, for an owner whose answer was lost or whose window expired.
 *
 * TCP peers without a name own what they own together: the id is what they know of their windows,
 * so those are not listed, and all of them share one limit.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include <sys/random.h>

#include "agent/api_internal.h"
#include "codec/report.h"

/* ---- the list ---- */

static size_t windows_of(const struct eg_api *api, const struct eg_api_owner *owner)
{
	size_t n = 0;

	for (const struct eg_api_window *w = api->first; w; w = w->next)
		n += eg_api_same_owner(&w->owner, owner);
	return n;
}

static struct eg_api_window *find(const struct eg_api *api, const char *id)
{
	struct eg_api_window *w = api->first;

	while (w && strcmp(w->id, id) != 0)
		w = w->next;
	return w;
}

static struct eg_api_window *add(struct eg_api *api, const char *id)
{
	struct eg_api_window *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	memcpy(w->id, id, EG_API_ID_MAX);
	w->prev = api->last;
	*(w->prev ? &w->prev->next : &api->first) = w;
	api->last = w;
	api->n_windows++;
	return w;
}

static void drop(struct eg_api *api, struct eg_api_window *w)
{
	*(w->prev ? &w->prev->next : &api->first) = w->next;
	*(w->next ? &w->next->prev : &api->last) = w->prev;
	api->n_windows--;
	free(w);
}

int eg_api_make_id(char id[EG_API_ID_MAX])
{
	static const char hex[] = "0123456789abcdef";
	unsigned char bytes[(EG_API_ID_MAX - 1) / 2];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return -EIO;
	for (size_t i = 0; i < sizeof(bytes); i++) {
		id[2 * i] = hex[bytes[i] >> 4];
		id[2 * i + 1] = hex[bytes[i] & 15];
	}
	id[EG_API_ID_MAX - 1] = '\0';
	return 0;
}

/* ---- those that have ended ---- */

static void forget(struct eg_api_kept *k)
{
	eg_result_free(k->result);
	*k = (struct eg_api_kept){0};
}

/* A free place: of too many of one owner his oldest goes, else the oldest of all. */
static struct eg_api_kept *place_for(struct eg_api *api, const struct eg_api_owner *owner)
{
	struct eg_api_kept *room = NULL, *oldest = NULL, *own = NULL;
	size_t n_own = 0;

	for (size_t i = 0; i < EG_API_KEPT_MAX; i++) {
		struct eg_api_kept *k = &api->kept[i];

		if (!k->id[0]) {
			room = k;
			continue;
		}
		if (!oldest || k->since_ns < oldest->since_ns)
			oldest = k;
		if (!eg_api_same_owner(&k->owner, owner))
			continue;
		n_own++;
		if (!own || k->since_ns < own->since_ns)
			own = k;
	}
	if (n_own >= EG_API_KEPT_PEER)
		room = own;
	else if (!room)
		room = oldest;
	forget(room);
	return room;
}

/* The window has ended: it leaves the list, its result (or NULL) is kept. */
static void retire(struct eg_api *api, struct eg_api_window *w, struct eg_result *result,
		   bool expired)
{
	struct eg_api_kept *k = place_for(api, &w->owner);

	memcpy(k->id, w->id, sizeof(k->id));
	memcpy(k->name, w->name, sizeof(k->name));
	k->owner = w->owner;
	k->expired = expired;
	k->since_ns = eg_api_now_ns(api);
	k->result = result;
	drop(api, w);
}

static const struct eg_api_kept *find_kept(const struct eg_api *api, const char *id,
					   const struct eg_api_owner *owner)
{
	uint64_t now_ns = eg_api_now_ns(api);

	for (size_t i = 0; i < EG_API_KEPT_MAX && id[0]; i++) {
		const struct eg_api_kept *k = &api->kept[i];

		if (strcmp(k->id, id) == 0 && eg_api_same_owner(&k->owner, owner) &&
		    now_ns < k->since_ns + EG_API_KEPT_NS)
			return k;
	}
	return NULL;
}

/* The highest power of a window is that of one sample, finer than who sees coarsely may see. */
static void blur(struct eg_result *r)
{
	r->total_max_w = NAN;
	for (size_t i = 0; i < r->n; i++)
		r->channel[i].max_w = NAN;
}

/* ---- documents ---- */

static void put_units(struct eg_json *j, const struct eg_result *r)
{
	eg_json_array(j, "units");
	for (size_t i = 0; i < r->n_units; i++) {
		const struct eg_result_units *u = &r->units[i];

		eg_json_object(j, NULL);
		eg_json_text(j, "unit", u->name);
		eg_json_u64(j, "count", u->count);
		if (r->has_total && u->count) {
			eg_json_double(j, "joules_per_unit",
				       (double)r->total_uj / 1e6 / (double)u->count);
			eg_json_double(j, "uncertainty_joules_per_unit",
				       (double)r->total_uncertainty.total_uj / 1e6 /
					       (double)u->count);
		} else {
			eg_json_null(j, "joules_per_unit");
			eg_json_null(j, "uncertainty_joules_per_unit");
		}
		eg_json_end(j);
	}
	eg_json_end(j);
}

/* The members of ergon.window/1 with a value, into an open object. */
static void put_result(struct eg_json *j, const struct eg_api *api, const char *id,
		       const char *name, const char *state, const struct eg_result *r)
{
	eg_json_text(j, "id", id);
	eg_json_text(j, "name", name);
	eg_json_text(j, "state", state);
	eg_json_nano(j, "seconds", r->seconds_ns);
	eg_json_u64(j, "begin_boot_ns", r->begin_ns);
	eg_json_u64(j, "end_boot_ns", r->end_ns);
	eg_json_nano(j, "begin_unix_seconds", r->begin_unix_ns);
	eg_json_nano(j, "end_unix_seconds", r->end_unix_ns);
	eg_report_json_total(j, r);
	if (r->has_total)
		eg_api_put_money(j, api->host.config(api->host.arg), r->total_uj);
	put_units(j, r);
	eg_report_json_channels(j, r);
	eg_report_json_flags(j, "flags", r->flags);
}

static void put_begun(struct eg_json *j, const struct eg_api *api, const struct eg_api_window *w)
{
	uint64_t now_ns = eg_api_now_ns(api);

	eg_json_text(j, "id", w->id);
	eg_json_text(j, "name", w->name);
	eg_json_text(j, "state", "open");
	eg_json_u64(j, "begin_boot_ns", w->begin_ns);
	eg_json_nano(j, "begin_unix_seconds", w->begin_unix_ns);
	eg_json_nano(j, "expires_in_seconds", w->expires_ns - EG_MIN(w->expires_ns, now_ns));
}

/* ---- errors ---- */

static void fail_gone(struct eg_api *api, struct eg_http_request *req, const struct eg_api_kept *k)
{
	struct eg_strbuf out = EG_STRBUF_INIT(EG_API_REPLY_MAX);
	struct eg_json j;

	eg_json_init(&j, &out, false);
	eg_json_object(&j, NULL);
	eg_json_object(&j, "error");
	eg_json_text(&j, "code", k->expired ? "expired" : "ended");
	eg_json_text(&j, "message", k->expired ? "the window has expired" : "the window has ended");
	eg_json_text(&j, "cure", "begin another; result holds the value it ended with");
	eg_json_end(&j);
	if (k->result) {
		eg_json_object(&j, "result");
		eg_json_text(&j, "schema", "ergon.window/1");
		put_result(&j, api, k->id, k->name, k->expired ? "expired" : "ended", k->result);
		eg_json_end(&j);
	} else {
		eg_json_null(&j, "result");
	}
	eg_json_end(&j);
	if (eg_json_finish(&j) < 0)
		eg_api_fail_memory(req);
	else
		eg_http_reply(req, &(struct eg_http_answer){.status = 410,
							    .type = "application/json",
							    .data = eg_strbuf_get(&out),
							    .len = out.len,
							    .gzip = true});
	eg_strbuf_free(&out);
}

/* There is no such window for this peer: he had it, or it is none of his. */
static void fail_missing(struct eg_api *api, struct eg_http_request *req, const char *id,
			 const struct eg_api_owner *owner)
{
	const struct eg_api_kept *k = find_kept(api, id, owner);

	if (k)
		fail_gone(api, req, k);
	else
		eg_api_fail(req,
			    &(struct eg_api_problem){404, "no_such_window",
						     "GET " EG_API_PREFIX
						     "/windows lists yours that are open"},
			    "you have no window with this id");
}

static void fail_task(struct eg_http_request *req, int r)
{
	if (r == -ENOMEM)
		eg_api_fail_memory(req);
	else if (r == -ENOSPC)
		eg_api_fail(req,
			    &(struct eg_api_problem){503, "too_many_windows", "try again later",
						     .retry_after_s = 10},
			    "%d windows of all peers are open", EG_WINDOWS_MAX);
	else if (r == -ECANCELED)
		eg_api_fail(req,
			    &(struct eg_api_problem){503, "stopping", "ask the next agent",
						     .retry_after_s = 5},
			    "the agent stops");
	else if (r == -ENODATA || r == -EAGAIN)
		eg_api_fail(req,
			    &(struct eg_api_problem){503, "no_sample", "try again in a second",
						     .retry_after_s = 1},
			    "there was no sample to stand on");
	else
		eg_api_fail(req, &(struct eg_api_problem){500, "internal", NULL},
			    "the window could not be served: %s", eg_errno_text(r));
}

/* The caller's open window of the path; NULL: an error has been sent. */
static struct eg_api_window *own_window(struct eg_api_call *c)
{
	struct eg_api_window *w = find(c->api, c->id);
	struct eg_api_kept expired;
	struct eg_api_owner owner;

	eg_api_owner_of(&c->req->peer, &owner);
	if (!w || !w->open || !eg_api_same_owner(&w->owner, &owner)) {
		fail_missing(c->api, c->req, c->id, &owner);
		return NULL;
	}
	w->coarse |= c->access != EG_ACCESS_FULL; /* the policy may have changed since its begin */
	if (w->expires_ns > eg_api_now_ns(c->api))
		return w;
	expired = (struct eg_api_kept){.expired = true}; /* its end waits for the next sample */
	fail_gone(c->api, c->req, &expired);
	return NULL;
}

/* ---- begin, look, end ---- */

void eg_api_post_windows(struct eg_api_call *c)
{
	char id[EG_API_ID_MAX], name[EG_WINDOW_NAME_MAX] = "";
	uint64_t max_ns = c->cfg->access.window_expiry_ns, expiry_ns = max_ns;
	const struct eg_api_member members[] = {
		{"name", EG_API_TEXT, .max_len = sizeof(name), .to = name},
		{"expires_seconds", EG_API_SECONDS, .to = &expiry_ns}};
	struct eg_api_owner owner;
	struct eg_api_window *w;

	if (!eg_api_body(c, members, EG_ARRAY_SIZE(members)))
		return;
	if (expiry_ns > max_ns) {
		eg_api_fail(c->req, &(struct eg_api_problem){400, "bad_value", "ask for less"},
			    "'expires_seconds' may be %.15g at most", (double)max_ns / 1e9);
		return;
	}
	eg_api_owner_of(&c->req->peer, &owner);
	if (windows_of(c->api, &owner) >= c->cfg->access.max_windows) {
		eg_api_fail(c->req,
			    &(struct eg_api_problem){429, "too_many_windows",
						     "end one, or let them expire",
						     .retry_after_s = 10},
			    "you have %llu windows open, as many as one may",
			    (unsigned long long)c->cfg->access.max_windows);
		return;
	}
	if (eg_api_make_id(id) < 0 || !(w = add(c->api, id))) {
		eg_api_fail_memory(c->req);
		return;
	}
	memcpy(w->name, name, sizeof(name));
	w->owner = owner;
	w->coarse = c->access != EG_ACCESS_FULL;
	w->expires_ns = expiry_ns; /* from its begin on; see window_begun() */
	eg_api_window_task(c, EG_API_BEGIN, id);
}

void eg_api_get_window(struct eg_api_call *c)
{
	if (own_window(c))
		eg_api_window_task(c, EG_API_PEEK, c->id);
}

void eg_api_post_end(struct eg_api_call *c)
{
	if (eg_api_body(c, NULL, 0) && own_window(c))
		eg_api_window_task(c, EG_API_END, c->id);
}

static void window_begun(struct eg_api *api, struct eg_http_request *req, struct eg_api_window *w,
			 int r, const struct eg_result *result)
{
	struct eg_api_doc d;

	if (r < 0 || !req) { /* nobody is there to learn the id: then it is of no use */
		if (r == 0)
			(void)!eg_meter_cancel(api->host.meter, w->id);
		drop(api, w);
		if (req)
			fail_task(req, r);
		return;
	}
	w->open = true;
	w->begin_ns = result->begin_ns;
	w->begin_unix_ns = result->begin_unix_ns;
	w->expires_ns = eg_add_sat(w->expires_ns, w->begin_ns);
	eg_api_doc_open(&d, "ergon.window/1");
	put_begun(&d.json, api, w);
	eg_api_doc_send(&d, req, 201);
}

void eg_api_window_done(struct eg_api *api, struct eg_http_request *req, enum eg_api_task task,
			const char *id, const struct eg_api_owner *owner, int r,
			struct eg_result *result)
{
	struct eg_api_window *w = find(api, id);
	struct eg_api_doc d;

	if (task == EG_API_BEGIN && w) {
		window_begun(api, req, w, r, result);
		eg_result_free(result);
		return;
	}
	if (r == 0 && w && w->coarse)
		blur(result);
	if (req && (r == -ENOENT || (r == 0 && !w))) {
		fail_missing(api, req, id, owner);
	} else if (req && r < 0) {
		fail_task(req, r);
	} else if (req) {
		eg_api_doc_open(&d, "ergon.window/1");
		put_result(&d.json, api, id, w->name, task == EG_API_END ? "ended" : "open",
			   result);
		if (task == EG_API_PEEK)
			eg_json_nano(&d.json, "expires_in_seconds",
				     w->expires_ns - EG_MIN(w->expires_ns, eg_api_now_ns(api)));
		eg_api_doc_send(&d, req, 200);
	}
	if (task == EG_API_END && r == 0 && w)
		retire(api, w, result, false);
	else
		eg_result_free(result);
}

/* ---- the rest ---- */

void eg_api_get_windows(struct eg_api_call *c)
{
	struct eg_api_owner owner;
	struct eg_api_doc d;
	bool anonymous;

	eg_api_owner_of(&c->req->peer, &owner);
	anonymous = !owner.local && !owner.authenticated;
	eg_api_doc_open(&d, "ergon.windows/1");
	eg_json_u64(&d.json, "max_windows", c->cfg->access.max_windows);
	eg_json_bool(&d.json, "listed", !anonymous);
	eg_json_array(&d.json, "windows");
	for (const struct eg_api_window *w = c->api->first; w && !anonymous; w = w->next) {
		if (!w->open || !eg_api_same_owner(&w->owner, &owner))
			continue;
		eg_json_object(&d.json, NULL);
		put_begun(&d.json, c->api, w);
		eg_json_end(&d.json);
	}
	eg_json_end(&d.json);
	eg_api_doc_send(&d, c->req, 200);
}

static void fail_units(struct eg_api_call *c, int r, const char *unit)
{
	static const char fewer[] = "count fewer kinds of units in one window";
	struct eg_api_owner owner;

	eg_api_owner_of(&c->req->peer, &owner);
	if (r == -ENOENT)
		fail_missing(c->api, c->req, c->id, &owner);
	else if (r == -ENOSPC)
		eg_api_fail(c->req, &(struct eg_api_problem){409, "too_many_units", fewer},
			    "a window counts %d kinds of units at most", EG_UNITS_MAX);
	else if (r == -EOVERFLOW)
		eg_api_fail(c->req,
			    &(struct eg_api_problem){409, "overflow", "begin another window"},
			    "the count of '%s' would pass 2^64 - 1", unit);
	else
		fail_task(c->req, r);
}

void eg_api_post_units(struct eg_api_call *c)
{
	char unit[sizeof(((struct eg_result_units *)0)->name)];
	struct eg_result *so_far = NULL;
	uint64_t count = 0;
	const struct eg_api_member members[] = {
		{"unit", EG_API_TEXT, .required = true, .max_len = sizeof(unit), .to = unit},
		{"count", EG_API_COUNT, .required = true, .to = &count}};
	struct eg_api_doc d;
	int r;

	if (!eg_api_body(c, members, EG_ARRAY_SIZE(members)) || !own_window(c))
		return;
	r = eg_meter_add_units(c->api->host.meter, c->id, unit, count);
	if (r == 0)
		r = eg_meter_peek_last(c->api->host.meter, c->id, &so_far);
	if (r < 0) {
		fail_units(c, r, unit);
		return;
	}
	eg_api_doc_open(&d, "ergon.window-units/1");
	eg_json_text(&d.json, "id", c->id);
	eg_json_array(&d.json, "units");
	for (size_t i = 0; i < so_far->n_units; i++) {
		eg_json_object(&d.json, NULL);
		eg_json_text(&d.json, "unit", so_far->units[i].name);
		eg_json_u64(&d.json, "count", so_far->units[i].count);
		eg_json_end(&d.json);
	}
	eg_json_end(&d.json);
	eg_result_free(so_far);
	eg_api_doc_send(&d, c->req, 200);
}

void eg_api_delete_window(struct eg_api_call *c)
{
	struct eg_api_window *w = own_window(c);
	struct eg_api_doc d;

	if (!w)
		return;
	if (eg_meter_cancel(c->api->host.meter, w->id) < 0) { /* the thread has just ended it */
		fail_missing(c->api, c->req, "", &w->owner);
		return;
	}
	eg_api_doc_open(&d, "ergon.window/1");
	eg_json_text(&d.json, "id", w->id);
	eg_json_text(&d.json, "name", w->name);
	eg_json_text(&d.json, "state", "cancelled");
	drop(c->api, w);
	eg_api_doc_send(&d, c->req, 200);
}

/* Those who see coarsely get an end that they may see; without it they would never expire. */
bool eg_api_windows_want_coarse(const struct eg_api *api)
{
	uint64_t now_ns = eg_api_now_ns(api);

	for (const struct eg_api_window *w = api->first; w; w = w->next)
		if (w->coarse && w->open && w->expires_ns <= now_ns)
			return true;
	return false;
}

void eg_api_windows_expire(struct eg_api *api, const struct eg_view *fine,
			   const struct eg_view *coarse)
{
	struct eg_api_window *next;

	for (size_t i = 0; i < EG_API_KEPT_MAX; i++)
		if (api->kept[i].id[0] && fine->t_ns >= api->kept[i].since_ns + EG_API_KEPT_NS)
			forget(&api->kept[i]);
	for (struct eg_api_window *w = api->first; w; w = next) {
		const struct eg_view *v = w->coarse ? coarse : fine;
		struct eg_result *result = NULL;
		int r;

		next = w->next;
		if (!v || !w->open || w->expires_ns > v->t_ns)
			continue;
		r = eg_api_task_at(api, EG_API_END, w->id, v->t_ns, &result);
		/* Another sample has come since; or the thread has just ended it, and will say so. */
		if (r == -EAGAIN || (r == -ENOENT && api->thread))
			continue;
		if (r < 0)
			(void)!eg_meter_cancel(api->host.meter, w->id);
		else if (w->coarse)
			blur(result);
		retire(api, w, result, true);
	}
}

void eg_api_windows_free(struct eg_api *api)
{
	while (api->first) {
		(void)!eg_meter_cancel(api->host.meter, api->first->id);
		drop(api, api->first);
	}
	for (size_t i = 0; i < EG_API_KEPT_MAX; i++)
		forget(&api->kept[i]);
}
