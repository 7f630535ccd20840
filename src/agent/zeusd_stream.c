/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /gpu/stream_power and /cpu/stream_power: server-sent events, one for each device whose power, in whole
 * milliwatts, is another than its listener was told last; the first tells what it is. Looked at after
 * every sample of the agent, for coarse readers after every coarse one. A device that cannot be read
 * tells nothing. Who reads too slowly misses events, and is told the newest value once he reads again.
 */
#include <string.h>

#include "agent/zeusd_internal.h"

#define EVENT_MAX 256 /* bytes */
#define UNTOLD	  UINT64_MAX

struct told {
	bool chosen;
	uint64_t mw, dram_mw; /* UNTOLD: nothing yet, or there is none */
};

struct eg_zeusd_stream {
	struct eg_zeusd_stream *next;
	struct eg_http_stream *http; /* NULL: it has ended */
	struct eg_http_peer peer;
	struct eg_api_owner owner;
	bool trusted;
	enum eg_zeusd_kind kind;
	size_t n;
	struct told told[];
};

static void gone(void *arg, struct eg_http_stream *http)
{
	((struct eg_zeusd_stream *)arg)->http = NULL;
}

static void sweep(struct eg_zeusd *z)
{
	struct eg_zeusd_stream **at = &z->streams, *s;

	while ((s = *at)) {
		if (s->http) {
			at = &s->next;
			continue;
		}
		*at = s->next;
		free(s);
	}
}

static void end(struct eg_zeusd_stream *s)
{
	struct eg_http_stream *http = s->http;

	s->http = NULL;
	eg_http_stream_close(http);
}

/* When the channel was read, in Unix time. */
static uint64_t read_ms(const struct eg_view *v, const struct eg_view_channel *vc)
{
	uint64_t age_ns = v->t_ns - EG_MIN(v->t_ns, vc->t_ns);

	return (v->unix_ns - EG_MIN(v->unix_ns, age_ns)) / EG_NSEC_PER_MSEC;
}

static void put_event(struct eg_strbuf *out, const struct eg_zeusd_stream *s, uint64_t ms,
		      unsigned id, const struct told *now)
{
	struct eg_strbuf text = EG_STRBUF_INIT(EVENT_MAX);
	struct eg_json j;

	eg_json_init(&j, &text, false);
	eg_json_object(&j, NULL);
	eg_json_u64(&j, "timestamp_ms", ms);
	eg_json_u64(&j, s->kind == EG_ZEUSD_GPU ? "gpu_id" : "cpu_id", id);
	eg_json_u64(&j, s->kind == EG_ZEUSD_GPU ? "power_mw" : "cpu_mw", now->mw);
	if (s->kind == EG_ZEUSD_CPU && now->dram_mw == UNTOLD)
		eg_json_null(&j, "dram_mw");
	else if (s->kind == EG_ZEUSD_CPU)
		eg_json_u64(&j, "dram_mw", now->dram_mw);
	eg_json_end(&j);
	if (eg_json_finish(&j) == 0) /* ends with a line feed */
		eg_strbuf_printf(out, "data: %s\n", eg_strbuf_get(&text));
	eg_strbuf_free(&text);
}

static void send(struct eg_zeusd *z, struct eg_zeusd_stream *s, const struct eg_view *v)
{
	for (size_t i = 0; i < s->n && s->http; i++) {
		const struct eg_zeusd_device *d = &z->devices.of[s->kind][i];
		struct told now = {.chosen = true, .mw = UNTOLD, .dram_mw = UNTOLD};
		struct eg_strbuf out = EG_STRBUF_INIT(EVENT_MAX + 32);

		if (!s->told[i].chosen)
			continue;
		if (!eg_zeusd_mw(v, d->channel, &now.mw)) {
			s->told[i] = now; /* is told when it is back */
			continue;
		}
		if (d->dram >= 0)
			(void)eg_zeusd_mw(v, (size_t)d->dram, &now.dram_mw);
		if (now.mw == s->told[i].mw && now.dram_mw == s->told[i].dram_mw)
			continue;
		put_event(&out, s, read_ms(v, &v->channel[d->channel]), d->id, &now);
		if (out.len && eg_strbuf_error(&out) == 0 &&
		    eg_http_stream_write(s->http, eg_strbuf_get(&out), out.len))
			s->told[i] = now;
		eg_strbuf_free(&out);
	}
}

static size_t streams_of(const struct eg_zeusd *z, const struct eg_api_owner *owner)
{
	size_t n = 0;

	for (const struct eg_zeusd_stream *s = z->streams; s; s = s->next)
		n += s->http && eg_api_same_owner(&s->owner, owner);
	return n;
}

void eg_zeusd_stream_open(struct eg_zeusd_call *c)
{
	static const char type[] = "text/event-stream";
	struct eg_zeusd *z = c->z;
	size_t n = z->devices.n[c->kind];
	struct eg_api_owner owner;
	struct eg_zeusd_stream *s;

	if (strcmp(c->req->method, "HEAD") == 0) {
		eg_http_reply(c->req,
			      &(struct eg_http_answer){.status = 200, .type = type, .data = ""});
		return;
	}
	sweep(z);
	eg_api_owner_of(&c->req->peer, &owner);
	if (streams_of(z, &owner) >= EG_ZEUSD_STREAMS_PEER) {
		eg_zeusd_fail(c->req, 429, "close one",
			      "you have %d streams open, as many as one may",
			      EG_ZEUSD_STREAMS_PEER);
		return;
	}
	s = calloc(1, sizeof(*s) + n * sizeof(s->told[0]));
	if (!s) {
		eg_zeusd_fail(c->req, 503, "try again later", "there is no memory");
		return;
	}
	s->peer = c->req->peer;
	s->owner = owner;
	s->trusted = eg_api_is_trusted(z->agent->api, c->req);
	s->kind = c->kind;
	s->n = n;
	for (size_t i = 0; i < n; i++)
		s->told[i] = (struct told){c->chosen[i], UNTOLD, UNTOLD};
	s->http = eg_http_stream_open(c->req, type, gone, s);
	if (!s->http) { /* has been answered */
		free(s);
		return;
	}
	s->next = z->streams;
	z->streams = s;
	send(z, s, c->v);
}

void eg_zeusd_streams_tick(struct eg_zeusd *z, const struct eg_view *fine,
			   const struct eg_view *coarse)
{
	for (struct eg_zeusd_stream *s = z->streams; s; s = s->next) {
		enum eg_access access;

		if (!s->http)
			continue;
		access = eg_api_access_by(z->agent->cfg, &s->peer, s->trusted);
		if (access == EG_ACCESS_NONE)
			end(s);
		else if (access == EG_ACCESS_FULL)
			send(z, s, fine);
		else if (coarse)
			send(z, s, coarse);
	}
	sweep(z);
}

bool eg_zeusd_streams_want_coarse(const struct eg_zeusd *z)
{
	for (const struct eg_zeusd_stream *s = z->streams; s; s = s->next)
		if (s->http &&
		    eg_api_access_by(z->agent->cfg, &s->peer, s->trusted) == EG_ACCESS_COARSE)
			return true;
	return false;
}

void eg_zeusd_streams_close(struct eg_zeusd *z)
{
	for (struct eg_zeusd_stream *s = z->streams; s; s = s->next)
		if (s->http)
			end(s);
	sweep(z);
}
