/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-sent events (WHATWG HTML, 9.2): one snapshot a sample to every peer that listens; to those
 * who may see only coarsely, one a coarse sample. A snapshot is written once and handed to all.
 * Who reads too slowly loses whole events, and the next one says how many. Access is looked up
 * for each event, so that a changed policy holds for streams that are open.
 */
#include <errno.h>
#include <string.h>

#include "agent/api_internal.h"

#define TAIL_MAX 64 /* bytes after the shared part of an event */

static const char event_stream[] = "text/event-stream";

struct eg_api_stream {
	struct eg_api_stream *next;
	struct eg_http_stream *http; /* NULL: it has ended */
	struct eg_http_peer peer;
	struct eg_api_owner owner;
	bool trusted;
	uint64_t interval_ns, last_ns; /* of its last event; 0 none */
	uint64_t dropped_told;
};

static void gone(void *arg, struct eg_http_stream *http)
{
	((struct eg_api_stream *)arg)->http = NULL;
}

/* Takes out the streams that have ended. */
static void sweep(struct eg_api *api)
{
	struct eg_api_stream **at = &api->streams, *s;

	while ((s = *at)) {
		if (s->http) {
			at = &s->next;
			continue;
		}
		*at = s->next;
		free(s);
	}
}

static void end(struct eg_api_stream *s, const char *reason)
{
	struct eg_http_stream *http = s->http;
	struct eg_strbuf out = EG_STRBUF_INIT(256);

	eg_strbuf_printf(&out, "event: end\ndata: {\"reason\":\"%s\"}\n\n", reason);
	s->http = NULL;
	(void)!eg_http_stream_write(http, eg_strbuf_get(&out), out.len);
	eg_http_stream_close(http);
	eg_strbuf_free(&out);
}

/* ---- one event ---- */

static void put_channels(struct eg_json *j, const struct eg_view *v)
{
	eg_json_array(j, "channels");
	for (size_t i = 0; i < v->n_channels; i++) {
		const struct eg_view_channel *ch = &v->channel[i];

		eg_json_object(j, NULL);
		eg_json_text(j, "name", ch->name);
		eg_api_put_micro(j, "joules", eg_api_channel_uj(v, ch));
		eg_api_put_micro(j, "watts", eg_api_channel_uw(ch));
		eg_json_text(j, "status", eg_status_word(ch->status));
		if (ch->t_ns)
			eg_json_nano(j, "age_seconds", v->t_ns - EG_MIN(v->t_ns, ch->t_ns));
		else
			eg_json_null(j, "age_seconds");
		eg_json_end(j);
	}
	eg_json_end(j);
}

static void put_totals(struct eg_json *j, const struct eg_view *v)
{
	uint64_t uj = 0, uw = 0;
	bool any = false;

	for (size_t i = 0; i < v->n_channels; i++) {
		const struct eg_view_channel *ch = &v->channel[i];

		if (ch->role != EG_ROLE_TOTAL)
			continue;
		any = true;
		uj = eg_add_sat(uj, eg_api_channel_uj(v, ch)); /* what is not known stays so */
		uw = eg_add_sat(uw, eg_api_channel_uw(ch));
	}
	eg_api_put_micro(j, "total_joules", any ? uj : UINT64_MAX);
	eg_api_put_micro(j, "total_watts", any ? uw : UINT64_MAX);
}

/* The shared part, up to the last member: a stream adds what it lost, and the end. */
static bool put_event(struct eg_strbuf *out, const struct eg_view *v, bool channels)
{
	struct eg_strbuf text = EG_STRBUF_INIT(EG_HTTP_QUEUE_MAX - TAIL_MAX - 128);
	struct eg_json j;
	bool whole;

	eg_json_init(&j, &text, false);
	eg_json_object(&j, NULL);
	eg_json_text(&j, "schema", "ergon.snapshot/1");
	eg_json_u64(&j, "seq", v->seq);
	eg_json_nano(&j, "unix_seconds", v->unix_ns);
	eg_json_u64(&j, "boot_ns", v->t_ns);
	put_totals(&j, v);
	if (channels)
		put_channels(&j, v);
	else
		eg_json_null(&j, "channels");
	whole = eg_strbuf_error(&text) == 0;
	eg_strbuf_reset(out);
	eg_strbuf_printf(out, "event: snapshot\nid: %llu\ndata: %s", (unsigned long long)v->seq,
			 eg_strbuf_get(&text));
	eg_strbuf_free(&text);
	return whole && eg_strbuf_error(out) == 0;
}

/* Makes the shared part. Of a machine whose channels do not fit into an event only the total. */
static bool make_event(struct eg_api *api, const struct eg_view *v)
{
	return put_event(&api->event, v, true) || put_event(&api->event, v, false);
}

static void send(struct eg_api *api, struct eg_api_stream *s, const struct eg_view *v)
{
	uint64_t dropped = eg_http_stream_dropped(s->http);
	size_t shared = api->event.len;

	eg_strbuf_printf(&api->event, ",\"dropped\":%llu}\n\n",
			 (unsigned long long)(dropped - s->dropped_told));
	if (eg_strbuf_error(&api->event) == 0 &&
	    eg_http_stream_write(s->http, api->event.s, api->event.len))
		s->dropped_told = dropped;
	s->last_ns = v->t_ns;
	api->event.len = shared;
	api->event.s[shared] = '\0';
}

/* ---- streams ---- */

static size_t streams_of(const struct eg_api *api, const struct eg_api_owner *owner)
{
	size_t n = 0;

	for (const struct eg_api_stream *s = api->streams; s; s = s->next)
		n += s->http && eg_api_same_owner(&s->owner, owner);
	return n;
}

void eg_api_get_events(struct eg_api_call *c)
{
	struct eg_api_owner owner;
	struct eg_api_stream *s;
	const struct eg_view *v;
	uint64_t interval_ns = 0;

	if (!eg_api_query_duration(c, "interval", EG_NSEC_PER_SEC, &interval_ns))
		return;
	if (strcmp(c->req->method, "HEAD") == 0) {
		eg_http_reply(c->req, &(struct eg_http_answer){
					      .status = 200, .type = event_stream, .data = ""});
		return;
	}
	sweep(c->api);
	eg_api_owner_of(&c->req->peer, &owner);
	if (streams_of(c->api, &owner) >= EG_API_STREAMS_PEER) {
		eg_api_fail(c->req,
			    &(struct eg_api_problem){429, "too_many_streams", "close one",
						     .retry_after_s = 10},
			    "you have %d streams open, as many as one may", EG_API_STREAMS_PEER);
		return;
	}
	s = calloc(1, sizeof(*s));
	if (!s) {
		eg_api_fail_memory(c->req);
		return;
	}
	s->peer = c->req->peer;
	s->owner = owner;
	s->trusted = eg_api_is_trusted(c->api, c->req);
	s->interval_ns = interval_ns;
	s->http = eg_http_stream_open(c->req, event_stream, gone, s);
	if (!s->http) { /* has been answered */
		free(s);
		return;
	}
	s->next = c->api->streams;
	c->api->streams = s;
	v = c->api->host.view(c->api->host.arg, c->access, false);
	if (v && make_event(c->api, v))
		send(c->api, s, v);
}

/* An interval is kept to the nearest sample, so that a little jitter skips none. */
static bool is_due(const struct eg_api_stream *s, uint64_t t_ns)
{
	return s->last_ns == 0 ||
	       (t_ns > s->last_ns &&
		t_ns + s->interval_ns / 8 >= eg_add_sat(s->last_ns, s->interval_ns));
}

/* To all streams of this access. */
static void send_to(struct eg_api *api, enum eg_access access, const struct eg_view *v)
{
	const struct eg_config *cfg = api->host.config(api->host.arg);
	bool made = false;

	for (struct eg_api_stream *s = api->streams; s; s = s->next) {
		if (!s->http || eg_api_access_by(cfg, &s->peer, s->trusted) != access ||
		    !is_due(s, v->t_ns))
			continue;
		if (!made && !make_event(api, v))
			return;
		made = true;
		send(api, s, v);
	}
}

void eg_api_streams_tick(struct eg_api *api, const struct eg_view *fine,
			 const struct eg_view *coarse)
{
	const struct eg_config *cfg = api->host.config(api->host.arg);

	for (struct eg_api_stream *s = api->streams; s; s = s->next)
		if (s->http && eg_api_access_by(cfg, &s->peer, s->trusted) == EG_ACCESS_NONE)
			end(s, "access");
	send_to(api, EG_ACCESS_FULL, fine);
	if (coarse)
		send_to(api, EG_ACCESS_COARSE, coarse);
	sweep(api);
}

bool eg_api_streams_want_coarse(const struct eg_api *api)
{
	const struct eg_config *cfg = api->host.config(api->host.arg);

	for (const struct eg_api_stream *s = api->streams; s; s = s->next)
		if (s->http && eg_api_access_by(cfg, &s->peer, s->trusted) != EG_ACCESS_FULL)
			return true;
	return false;
}

void eg_api_streams_free(struct eg_api *api)
{
	for (struct eg_api_stream *s = api->streams; s; s = s->next)
		if (s->http)
			end(s, "stopping");
	sweep(api);
}
