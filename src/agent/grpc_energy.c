/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ergon.v1.Energy: what the HTTP API tells, as messages, behind the same policy. Streams hold energy since the
 * agent's start, which no ledger has to keep safe first; totals come from views that were checkpointed. A
 * window begins and ends on a sample: one taken for it, where its owner may see finely, else the next coarse one.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "agent/api_internal.h"
#include "agent/grpc_internal.h"
#include "codec/utf8.h"
#include "ergon/v1/energy.pb-c.h" /* generated */

#define INTERVAL_MS   1000 /* where the request names none */
#define FLAGS_MAX     32
#define REQUEST_WRONG "the request is no message of this method"

struct eg_energy_stream {
	struct eg_energy_stream *next, **link;
	struct eg_grpc_call *call;
	bool coarse;
	uint64_t interval_ns, due_ns;
};

struct eg_energy_window {
	struct eg_energy_window *next, **link;
	char id[EG_API_ID_MAX], name[EG_WINDOW_NAME_MAX];
	bool authenticated, coarse;
	char user[64];
	bool open; /* begun */
	uint64_t expires_ns;
	struct eg_grpc_call *call; /* that waits for its begin or end; NULL none */
	unsigned missed;
};

/* ---- messages ---- */

static char *word(const char *s)
{
	return (char *)s;
}

/* Packs and sends; the memory is the call's own. */
static void reply(struct eg_grpc_call *call, const ProtobufCMessage *m, bool finish)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	eg_autofree uint8_t *bytes = malloc(n + 1);

	if (!bytes || n > EG_GRPC_MESSAGE_MAX) {
		eg_grpc_finish(call, EG_GRPC_RESOURCE_EXHAUSTED, "the answer finds no room");
		return;
	}
	protobuf_c_message_pack(m, bytes);
	eg_grpc_send(call, bytes, n);
	if (finish)
		eg_grpc_finish(call, EG_GRPC_OK, NULL);
}

/* The access of a caller who may see something; EG_ACCESS_NONE: an error has been sent. */
static enum eg_access admit(const struct agent *a, struct eg_grpc_call *call)
{
	const struct eg_grpc_peer *peer = eg_grpc_peer(call);
	enum eg_access access = eg_agent_grpc_access(a, peer);

	if (access == EG_ACCESS_NONE)
		eg_grpc_finish(call,
			       peer->authenticated ? EG_GRPC_PERMISSION_DENIED :
						     EG_GRPC_UNAUTHENTICATED,
			       "the administrator decides in [access] of the configuration");
	return access;
}

static const struct eg_view *view_for(struct agent *a, struct eg_grpc_call *call)
{
	enum eg_access access = admit(a, call);
	const struct eg_view *v = NULL;

	if (access == EG_ACCESS_NONE)
		return NULL;
	v = eg_agent_view(a, access, true);
	if (!v)
		eg_grpc_finish(call, EG_GRPC_UNAVAILABLE, "there is no sample yet");
	return v;
}

static void no_memory(struct eg_grpc_call *call)
{
	eg_grpc_finish(call, EG_GRPC_RESOURCE_EXHAUSTED, "out of memory");
}

/* A request of this type, or an error has been sent. */
static ProtobufCMessage *unpack(struct eg_grpc_call *call, const ProtobufCMessageDescriptor *type,
				const void *request, size_t len)
{
	ProtobufCMessage *m = protobuf_c_message_unpack(type, NULL, len, request);

	if (!m)
		eg_grpc_finish(call, EG_GRPC_INVALID_ARGUMENT, REQUEST_WRONG);
	return m;
}

/* ---- ListChannels ---- */

static void fill_channel(const struct eg_view_channel *v, Ergon__V1__Channel *ret)
{
	const struct eg_channel *ch = v->ch;

	ergon__v1__channel__init(ret);
	ret->name = word(v->name);
	ret->device = word(ch->device);
	ret->component = word(eg_component_word(ch->component));
	ret->source = word(eg_source_word(ch->source));
	ret->boundary = word(eg_boundary_word(ch->boundary));
	ret->provenance = word(eg_provenance_word(ch->provenance));
	ret->quantity = word(eg_quantity_word(ch->quantity));
	ret->role = word(eg_role_word(v->role));
	ret->label = word(ch->label);
	ret->origin = word(ch->origin);
	ret->resolution_joules = (double)ch->resolution_uj / 1e6;
	ret->update_period_seconds = (double)ch->update_ns / 1e9;
	ret->accuracy_relative = ch->accuracy.rel_ppm / 1e6;
	ret->accuracy_watts = (double)ch->accuracy.abs_uw / 1e6;
	ret->accuracy_citation = word(ch->accuracy.citation ? ch->accuracy.citation : "");
}

static void list_channels(void *arg, struct eg_grpc_call *call, const void *request, size_t len)
{
	struct agent *a = arg;
	Ergon__V1__ListChannelsResponse m = ERGON__V1__LIST_CHANNELS_RESPONSE__INIT;
	const struct eg_view *v = view_for(a, call);
	eg_autofree Ergon__V1__Channel *item = NULL;
	eg_autofree Ergon__V1__Channel **list = NULL;

	if (!v)
		return;
	item = calloc(v->n_channels + 1, sizeof(*item));
	list = calloc(v->n_channels + 1, sizeof(*list));
	if (!item || !list) {
		no_memory(call);
		return;
	}
	for (size_t i = 0; i < v->n_channels; i++) {
		fill_channel(&v->channel[i], &item[i]);
		list[i] = &item[i];
	}
	m.n_channels = v->n_channels;
	m.channels = list;
	reply(call, &m.base, true);
}

/* ---- GetTotals ---- */

static double node_joules(const struct eg_view *v)
{
	uint64_t uj[EG_CHANNELS_MAX], total;

	for (size_t i = 0; i < v->n_channels && i < EG_CHANNELS_MAX; i++)
		uj[i] = eg_api_channel_uj(v, &v->channel[i]);
	total = eg_api_total_of(v, uj, 1);
	return total == UINT64_MAX ? NAN : (double)total / 1e6;
}

static void get_totals(void *arg, struct eg_grpc_call *call, const void *request, size_t len)
{
	struct agent *a = arg;
	Ergon__V1__Totals m = ERGON__V1__TOTALS__INIT;
	const struct eg_view *v = view_for(a, call);
	eg_autofree Ergon__V1__Total *item = NULL;
	eg_autofree Ergon__V1__Total **list = NULL;

	if (!v)
		return;
	item = calloc(v->n_accounts + 1, sizeof(*item));
	list = calloc(v->n_accounts + 1, sizeof(*list));
	if (!item || !list) {
		no_memory(call);
		return;
	}
	m.boot_ns = v->t_ns;
	m.unix_ns = (int64_t)v->unix_ns;
	if (!isnan(node_joules(v))) {
		m.has_node_joules_case = ERGON__V1__TOTALS__HAS_NODE_JOULES_NODE_JOULES;
		m.node_joules = node_joules(v);
	}
	for (size_t k = 0; k < v->n_accounts; k++) {
		const struct eg_view_account *va = &v->account[k];
		Ergon__V1__Total *t = &item[m.n_totals];

		if (!va->shown)
			continue;
		ergon__v1__total__init(t);
		t->device = word(va->a.device);
		t->component = word(eg_component_word(va->a.component));
		t->provenance = word(eg_provenance_word(va->a.provenance));
		t->source = word(eg_source_word(va->a.source));
		t->channel = word(va->channel < 0 ? "" : v->channel[va->channel].name);
		t->joules = (double)va->a.uj / 1e6;
		t->created_unix_ns = (int64_t)va->a.created_unix_ns;
		list[m.n_totals++] = t;
	}
	m.totals = list;
	reply(call, &m.base, true);
}

/* ---- StreamReadings ---- */

static void fill_reading(const struct eg_view_channel *v, Ergon__V1__Reading *ret)
{
	ergon__v1__reading__init(ret);
	ret->name = word(v->name);
	ret->source = word(eg_source_word(v->ch->source));
	ret->provenance = word(eg_provenance_word(v->ch->provenance));
	ret->status = word(eg_status_word(v->status));
	ret->read_ns = v->t_ns;
	ret->held_joules = (double)v->est_uj / 1e6;
	ret->gap_seconds = (double)v->gap_ns / 1e9;
	if (v->samples) {
		ret->has_joules_case = ERGON__V1__READING__HAS_JOULES_JOULES;
		ret->joules = (double)v->uj / 1e6;
		ret->has_uncertainty_case = ERGON__V1__READING__HAS_UNCERTAINTY_UNCERTAINTY_JOULES;
		ret->uncertainty_joules = (double)v->uncertainty_uj / 1e6;
	}
	if (eg_api_channel_uw(v) != UINT64_MAX) {
		ret->has_watts_case = ERGON__V1__READING__HAS_WATTS_WATTS;
		ret->watts = (double)v->uw / 1e6;
	}
}

/* The message of a view, once for all who get it now. */
struct packed {
	Ergon__V1__Reading *item;
	Ergon__V1__Reading **list;
	uint8_t *bytes;
	size_t len;
};

static void pack_readings(const struct agent *a, const struct eg_view *v, struct packed *ret)
{
	Ergon__V1__Readings m = ERGON__V1__READINGS__INIT;
	uint64_t now = eg_clock_ns(&a->env.clock), unix_ns = eg_clock_unix_ns(&a->env.clock);

	ret->item = calloc(v->n_channels + 1, sizeof(*ret->item));
	ret->list = calloc(v->n_channels + 1, sizeof(*ret->list));
	if (!ret->item || !ret->list)
		return;
	for (size_t i = 0; i < v->n_channels; i++) {
		fill_reading(&v->channel[i], &ret->item[i]);
		ret->list[i] = &ret->item[i];
	}
	m.boot_ns = v->t_ns;
	m.unix_ns = (int64_t)(unix_ns - EG_MIN(now - EG_MIN(v->t_ns, now), unix_ns));
	m.n_readings = v->n_channels;
	m.readings = ret->list;
	ret->len = ergon__v1__readings__get_packed_size(&m);
	ret->bytes = malloc(ret->len + 1);
	if (ret->bytes)
		ergon__v1__readings__pack(&m, ret->bytes);
}

static void free_packed(struct packed *p)
{
	free(p->item);
	free(p->list);
	free(p->bytes);
}

/* Sends a view to the streams of this sight whose turn it is. */
static void send_readings(struct agent *a, const struct eg_view *v, bool coarse)
{
	EG_CLEANUP(free_packed) struct packed p = {0};
	struct eg_energy_stream *next;

	for (struct eg_energy_stream *s = a->grpc->streams; s; s = next) {
		/* A coarse view comes when it may: an eighth early is no miss. */
		uint64_t slack = coarse ? s->interval_ns / 8 : 0;

		next = s->next;
		if (s->coarse != coarse || v->t_ns + slack < s->due_ns)
			continue;
		if (!p.bytes)
			pack_readings(a, v, &p);
		if (!p.bytes)
			return;
		s->due_ns = v->t_ns >= s->due_ns + s->interval_ns ? v->t_ns + s->interval_ns :
								    s->due_ns + s->interval_ns;
		eg_grpc_send(s->call, p.bytes, p.len);
	}
}

static void begin_stream(void *arg, struct eg_grpc_call *call, const void *request, size_t len)
{
	struct agent *a = arg;
	struct eg_agent_grpc *g = a->grpc;
	Ergon__V1__StreamReadingsRequest *m;
	enum eg_access access = admit(a, call);
	struct eg_energy_stream *s;
	uint64_t ms;

	if (access == EG_ACCESS_NONE)
		return;
	m = (void *)unpack(call, &ergon__v1__stream_readings_request__descriptor, request, len);
	if (!m)
		return;
	ms = m->interval_ms ? m->interval_ms : INTERVAL_MS;
	ergon__v1__stream_readings_request__free_unpacked(m, NULL);
	s = calloc(1, sizeof(*s));
	if (!s) {
		no_memory(call);
		return;
	}
	*s = (struct eg_energy_stream){.next = g->streams,
				       .link = &g->streams,
				       .call = call,
				       .coarse = access != EG_ACCESS_FULL,
				       .interval_ns = ms * EG_NSEC_PER_MSEC,
				       .due_ns = eg_clock_ns(&a->env.clock)};
	if (s->coarse) {
		s->interval_ns = EG_MAX(s->interval_ns, a->cfg->access.coarse_interval_ns);
		s->due_ns = 0;
	}
	if (g->streams)
		g->streams->link = &s->next;
	g->streams = s;
	eg_grpc_set_data(call, s);
}

static void end_stream(void *arg, struct eg_grpc_call *call)
{
	struct eg_energy_stream *s = eg_grpc_data(call);

	if (!s)
		return;
	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
	free(s);
}

/* ---- windows ---- */

static struct eg_energy_window *find_window(struct eg_agent_grpc *g, const char *id)
{
	struct eg_energy_window *w = g->windows;

	while (w && strcmp(w->id, id) != 0)
		w = w->next;
	return w;
}

static bool owns(const struct eg_energy_window *w, const struct eg_grpc_peer *peer)
{
	return w->authenticated == peer->authenticated && strcmp(w->user, peer->user) == 0;
}

static void drop_window(struct eg_agent_grpc *g, struct eg_energy_window *w)
{
	*w->link = w->next;
	if (w->next)
		w->next->link = w->link;
	g->n_windows--;
	free(w);
}

static void drop_expired(struct agent *a, uint64_t now_ns)
{
	struct eg_energy_window *next;

	for (struct eg_energy_window *w = a->grpc->windows; w; w = next) {
		next = w->next;
		if (w->open && !w->call && w->expires_ns <= now_ns) {
			(void)!eg_meter_cancel(a->meter, w->id);
			drop_window(a->grpc, w);
		}
	}
}

static size_t windows_of(const struct eg_agent_grpc *g, const struct eg_grpc_peer *peer)
{
	size_t n = 0;

	for (const struct eg_energy_window *w = g->windows; w; w = w->next)
		n += owns(w, peer);
	return n;
}

static void add_window(struct agent *a, struct eg_grpc_call *call, const char *name, bool coarse)
{
	struct eg_agent_grpc *g = a->grpc;
	const struct eg_grpc_peer *peer = eg_grpc_peer(call);
	struct eg_energy_window *w;

	drop_expired(a, eg_clock_ns(&a->env.clock));
	if (windows_of(g, peer) >= a->cfg->access.max_windows) {
		eg_grpc_finish(call, EG_GRPC_RESOURCE_EXHAUSTED,
			       "you have as many windows open as one may; end one");
		return;
	}
	w = calloc(1, sizeof(*w));
	if (!w || eg_api_make_id(w->id) < 0) {
		free(w);
		no_memory(call);
		return;
	}
	(void)eg_copy(w->name, sizeof(w->name), name);
	(void)eg_copy(w->user, sizeof(w->user), peer->user);
	w->authenticated = peer->authenticated;
	w->coarse = coarse;
	w->call = call;
	w->next = g->windows;
	w->link = &g->windows;
	if (g->windows)
		g->windows->link = &w->next;
	g->windows = w;
	g->n_windows++;
	eg_grpc_set_data(call, w);
}

static void begin_window(void *arg, struct eg_grpc_call *call, const void *request, size_t len)
{
	struct agent *a = arg;
	enum eg_access access = admit(a, call);
	Ergon__V1__BeginWindowRequest *m;

	if (access == EG_ACCESS_NONE)
		return;
	m = (void *)unpack(call, &ergon__v1__begin_window_request__descriptor, request, len);
	if (!m)
		return;
	if (strlen(m->name) >= EG_WINDOW_NAME_MAX || !eg_utf8_is_valid(m->name))
		eg_grpc_finish(call, EG_GRPC_INVALID_ARGUMENT,
			       "a name has at most 127 bytes of UTF-8");
	else
		add_window(a, call, m->name, access != EG_ACCESS_FULL);
	ergon__v1__begin_window_request__free_unpacked(m, NULL);
}

static void end_window(void *arg, struct eg_grpc_call *call, const void *request, size_t len)
{
	struct agent *a = arg;
	enum eg_access access = admit(a, call);
	Ergon__V1__EndWindowRequest *m;
	struct eg_energy_window *w;

	if (access == EG_ACCESS_NONE)
		return;
	m = (void *)unpack(call, &ergon__v1__end_window_request__descriptor, request, len);
	if (!m)
		return;
	w = find_window(a->grpc, m->id);
	ergon__v1__end_window_request__free_unpacked(m, NULL);
	if (!w || !w->open || w->call || !owns(w, eg_grpc_peer(call))) {
		eg_grpc_finish(call, EG_GRPC_NOT_FOUND, "you have no open window with this id");
		return;
	}
	w->coarse |= access != EG_ACCESS_FULL; /* the policy may have changed since its begin */
	w->call = call;
	eg_grpc_set_data(call, w);
}

/* Nobody learns the id of a window that has not begun: it goes. One that waits for its end stays. */
static void window_caller_gone(void *arg, struct eg_grpc_call *call)
{
	struct agent *a = arg;
	struct eg_energy_window *w = eg_grpc_data(call);

	if (!w)
		return;
	w->call = NULL;
	if (!w->open)
		drop_window(a->grpc, w);
}

static size_t flag_words(uint32_t flags, char *ret[FLAGS_MAX])
{
	size_t n = 0;

	for (int f = 0; f < EG_FLAG_COUNT && n < FLAGS_MAX; f++)
		if (flags & EG_FLAG_BIT(f))
			ret[n++] = word(eg_flag_word((enum eg_flag)f));
	return n;
}

static void fill_window_channel(const struct eg_result_channel *c, char *flags[FLAGS_MAX],
				Ergon__V1__WindowChannel *ret)
{
	ergon__v1__window_channel__init(ret);
	ret->name = word(c->name);
	ret->source = word(eg_source_word(c->ch->source));
	ret->provenance = word(eg_provenance_word(c->provenance));
	ret->role = word(eg_role_word(c->role));
	if (c->has_value) {
		ret->has_joules_case = ERGON__V1__WINDOW_CHANNEL__HAS_JOULES_JOULES;
		ret->joules = (double)c->uj / 1e6;
		ret->held_joules = (double)c->est_uj / 1e6;
		ret->uncertainty_joules = (double)c->uncertainty.total_uj / 1e6;
	}
	if (isfinite(c->mean_w)) {
		ret->has_watts_case = ERGON__V1__WINDOW_CHANNEL__HAS_WATTS_MEAN_WATTS;
		ret->mean_watts = c->mean_w;
	}
	ret->gap_seconds = (double)c->gap_ns / 1e9;
	ret->samples = c->samples;
	ret->n_flags = flag_words(c->flags, flags);
	ret->flags = flags;
}

static void send_result(struct eg_grpc_call *call, const struct eg_energy_window *w,
			const struct eg_result *r)
{
	Ergon__V1__WindowResult m = ERGON__V1__WINDOW_RESULT__INIT;
	eg_autofree Ergon__V1__WindowChannel *item = calloc(r->n + 1, sizeof(*item));
	eg_autofree Ergon__V1__WindowChannel **list = calloc(r->n + 1, sizeof(*list));
	eg_autofree char *(*flags)[FLAGS_MAX] = calloc(r->n + 1, sizeof(*flags));

	if (!item || !list || !flags) {
		no_memory(call);
		return;
	}
	for (size_t i = 0; i < r->n; i++) {
		fill_window_channel(&r->channel[i], flags[i], &item[i]);
		list[i] = &item[i];
	}
	m.id = word(w->id);
	m.name = word(w->name);
	m.seconds = (double)r->seconds_ns / 1e9;
	m.begin_unix_ns = (int64_t)r->begin_unix_ns;
	m.end_unix_ns = (int64_t)r->end_unix_ns;
	if (r->has_total) {
		m.has_joules_case = ERGON__V1__WINDOW_RESULT__HAS_JOULES_JOULES;
		m.joules = (double)r->total_uj / 1e6;
		m.held_joules = (double)r->total_est_uj / 1e6;
		m.uncertainty_joules = (double)r->total_uncertainty.total_uj / 1e6;
		m.provenance = word(eg_provenance_word(r->total_provenance));
	}
	if (isfinite(r->total_mean_w)) {
		m.has_watts_case = ERGON__V1__WINDOW_RESULT__HAS_WATTS_MEAN_WATTS;
		m.mean_watts = r->total_mean_w;
	}
	m.n_flags = flag_words(r->flags, flags[r->n]);
	m.flags = flags[r->n];
	m.n_channels = r->n;
	m.channels = list;
	reply(call, &m.base, true);
}

static void answer_begun(struct agent *a, struct eg_energy_window *w, const struct eg_result *r)
{
	Ergon__V1__Window m = ERGON__V1__WINDOW__INIT;
	struct eg_grpc_call *call = eg_take_ptr(w->call);

	w->open = true;
	w->expires_ns = eg_add_sat(r->begin_ns, a->cfg->access.window_expiry_ns);
	m.id = w->id;
	m.name = w->name;
	m.begin_boot_ns = r->begin_ns;
	m.begin_unix_ns = (int64_t)r->begin_unix_ns;
	reply(call, &m.base, true);
}

/* Does what a window waits for, on the sample of this time. */
static void serve_window(struct agent *a, struct eg_energy_window *w, uint64_t t_ns)
{
	struct eg_agent_grpc *g = a->grpc;
	enum eg_api_task task = w->open ? EG_API_END : EG_API_BEGIN;
	struct eg_result *result = NULL;
	struct eg_grpc_call *call = w->call;
	int r = eg_api_task_at(a->api, task, w->id, t_ns, &result);

	if (r == -EAGAIN && ++w->missed <= EG_API_MISSED_MAX)
		return; /* another sample has come since: the next one */
	w->missed = 0;
	if (r == 0 && task == EG_API_BEGIN) {
		answer_begun(a, w, result);
	} else if (r == 0) {
		send_result(call, w, result);
		drop_window(g, w);
	} else {
		w->call = NULL;
		eg_grpc_finish(call,
			       r == -ENOSPC || r == -ENOMEM ? EG_GRPC_RESOURCE_EXHAUSTED :
							      EG_GRPC_UNAVAILABLE,
			       "there was no sample to stand on; try again");
		if (!w->open)
			drop_window(g, w);
	}
	eg_result_free(result);
}

static void serve_windows(struct agent *a, const struct eg_view *v, bool coarse)
{
	struct eg_energy_window *next;

	for (struct eg_energy_window *w = a->grpc->windows; w; w = next) {
		next = w->next;
		if (w->coarse == coarse && w->call)
			serve_window(a, w, v->t_ns);
	}
	drop_expired(a, v->t_ns);
}

static bool any_waits(const struct eg_agent_grpc *g, bool coarse)
{
	for (const struct eg_energy_window *w = g->windows; w; w = w->next)
		if (w->call && w->coarse == coarse)
			return true;
	return false;
}

/* ---- in the loop ---- */

uint64_t eg_agent_energy_due_ns(const struct eg_agent_grpc *g)
{
	uint64_t due = any_waits(g, false) ? 0 : UINT64_MAX;

	for (const struct eg_energy_stream *s = g->streams; s; s = s->next)
		if (!s->coarse)
			due = EG_MIN(due, s->due_ns);
	return due;
}

void eg_agent_energy_fine(struct agent *a)
{
	send_readings(a, a->grpc->live, false);
	serve_windows(a, a->grpc->live, false);
}

bool eg_agent_energy_wants_coarse(const struct eg_agent_grpc *g)
{
	for (const struct eg_energy_stream *s = g->streams; s; s = s->next)
		if (s->coarse)
			return true;
	return any_waits(g, true);
}

void eg_agent_energy_coarse(struct agent *a)
{
	send_readings(a, a->coarse, true);
	serve_windows(a, a->coarse, true);
}

size_t eg_agent_energy_methods(struct eg_agent_grpc *g, struct eg_grpc_method *ret)
{
	const struct eg_grpc_method methods[EG_ENERGY_METHODS] = {
		{.path = "/ergon.v1.Energy/ListChannels", .begin = list_channels},
		{.path = "/ergon.v1.Energy/GetTotals", .begin = get_totals},
		{.path = "/ergon.v1.Energy/StreamReadings",
		 .begin = begin_stream,
		 .gone = end_stream},
		{.path = "/ergon.v1.Energy/BeginWindow",
		 .begin = begin_window,
		 .gone = window_caller_gone},
		{.path = "/ergon.v1.Energy/EndWindow",
		 .begin = end_window,
		 .gone = window_caller_gone},
	};

	for (size_t i = 0; i < EG_ENERGY_METHODS; i++) {
		ret[i] = methods[i];
		ret[i].arg = g->agent;
	}
	return EG_ENERGY_METHODS;
}

void eg_agent_energy_close(struct eg_agent_grpc *g)
{
	while (g->windows) {
		if (g->windows->open)
			(void)!eg_meter_cancel(g->agent->meter, g->windows->id);
		drop_window(g, g->windows);
	}
	while (g->streams) {
		struct eg_energy_stream *s = g->streams;

		g->streams = s->next;
		free(s);
	}
}
