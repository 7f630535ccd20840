/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The read-only API of zeusd 0.5, the daemon of Zeus, on listeners of its own, so that programs which
 * know Zeus alone read Ergon's accounts without a changed line and without root. Off unless configured.
 *
 * An energy is that of a sample taken for the request. Where a driver may block, the thread of the API takes
 * it, one for all the requests that came while the one before was being taken.
 */
#include <errno.h>
#include <string.h>

#include "agent/zeusd_internal.h"

#define LOG "zeusd"

struct eg_zeusd_wait {
	struct eg_zeusd_wait *next;
	struct eg_zeusd *z;
	struct eg_http_request *req; /* NULL: the peer has gone */
	struct eg_api_owner owner;
	bool under_way; /* the sample that is being taken is its own */
};

/* ---- samples that take a while ---- */

/* Begins a sample for all who wait, unless one is under way. */
static void want_sample(struct eg_zeusd *z)
{
	if (z->sampling || !z->waits)
		return;
	for (struct eg_zeusd_wait *w = z->waits; w; w = w->next)
		w->under_way = true;
	z->sampling = eg_api_sample(z->agent->api);
}

static void peer_gone(void *arg, struct eg_http_request *req)
{
	((struct eg_zeusd_wait *)arg)->req = NULL;
}

void eg_zeusd_wait(struct eg_zeusd *z, struct eg_http_request *req)
{
	struct eg_zeusd_wait *w;
	struct eg_api_owner owner;
	size_t own = 0;

	eg_api_owner_of(&req->peer, &owner);
	for (w = z->waits; w; w = w->next)
		own += eg_api_same_owner(&w->owner, &owner);
	if (own >= EG_ZEUSD_WAITS_PEER || z->n_waits >= EG_ZEUSD_WAITS_MAX) {
		eg_zeusd_fail(req, own >= EG_ZEUSD_WAITS_PEER ? 429 : 503, "wait for their answers",
			      "too many requests wait for a sample");
		return;
	}
	w = calloc(1, sizeof(*w));
	if (!w) {
		eg_zeusd_fail(req, 503, "try again later", "there is no memory");
		return;
	}
	*w = (struct eg_zeusd_wait){.next = z->waits, .z = z, .req = req, .owner = owner};
	z->waits = w;
	z->n_waits++;
	eg_http_defer(req, peer_gone, w);
	want_sample(z);
}

/* Answers those whose sample is there; all: also the others, that none will come. */
static void answer(struct eg_zeusd *z, bool all)
{
	struct eg_zeusd_wait **at = &z->waits, *w;

	while ((w = *at)) {
		struct eg_http_request *req = w->req;

		if (!w->under_way && !all) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		z->n_waits--;
		free(w);
		if (req)
			eg_zeusd_resume(z, req, !all);
	}
}

static void take_sample(struct eg_zeusd *z)
{
	if (!z->sampling || !eg_api_sampled(z->agent->api))
		return;
	z->sampling = false;
	eg_agent_publish(z->agent);
	answer(z, false);
	want_sample(z);
}

/* ---- life ---- */

static bool is_on(const char *s)
{
	return *s && strcmp(s, "off") != 0;
}

static struct eg_http_config http_config(const struct agent *a)
{
	const struct eg_config *c = a->cfg;

	return (struct eg_http_config){.listen = is_on(c->zeusd.listen) ? c->zeusd.listen : "",
				       .socket = a->places.zeusd,
				       .socket_mode = c->zeusd.mode,
				       .socket_group = a->socket_gid == (gid_t)-1 ? NULL :
										    c->socket.group,
				       .token_file = c->zeusd.token_file,
				       .max_clients = (unsigned)c->http.max_clients};
}

int eg_agent_zeusd_open(struct agent *a, struct eg_strbuf *why)
{
	struct eg_http_config cfg = http_config(a);
	struct eg_zeusd *z;

	if (!*cfg.listen && !*cfg.socket)
		return 0;
	z = a->zeusd = calloc(1, sizeof(*z));
	if (!z)
		return -ENOMEM;
	z->agent = a;
	/* A steered clock stands still: the loop waits for the drivers itself. */
	z->waits_for_samples = !a->steered && eg_meter_has_slow(a->meter);
	return eg_http_open(&cfg, eg_zeusd_handle, z, &z->http, why);
}

int eg_agent_zeusd_reload(struct agent *a, struct eg_strbuf *why)
{
	struct eg_http_config cfg = http_config(a);
	struct eg_zeusd *z = a->zeusd;
	int r = z ? eg_http_reload(z->http, &cfg, why) : 0;

	if (z && r == 0 && z->devices.estimates != a->cfg->compat.estimates) {
		eg_zeusd_streams_close(z); /* they know devices by their places in the list */
		eg_zeusd_devices_forget(&z->devices);
	}
	return r;
}

void eg_agent_zeusd_close(struct agent *a)
{
	struct eg_zeusd *z = a->zeusd;

	if (!z)
		return;
	z->stopping = true;
	answer(z, true);
	eg_zeusd_streams_close(z);
	if (z->http && a->have_view)
		eg_agent_goodbye(z->http);
	z->http = eg_http_close(z->http);
	eg_zeusd_devices_forget(&z->devices);
	free(z);
	a->zeusd = NULL;
}

size_t eg_agent_zeusd_fds(const struct agent *a, int fds[2])
{
	return a->zeusd ? eg_http_fds(a->zeusd->http, fds) : 0;
}

uint64_t eg_agent_zeusd_timeout_ns(const struct agent *a)
{
	return a->zeusd ? eg_http_timeout_ns(a->zeusd->http) : UINT64_MAX;
}

void eg_agent_zeusd_run(struct agent *a)
{
	if (!a->zeusd)
		return;
	take_sample(a->zeusd);
	eg_http_run(a->zeusd->http);
}

void eg_agent_zeusd_tick(struct agent *a)
{
	if (a->zeusd)
		eg_zeusd_streams_tick(a->zeusd, a->fine, a->coarse_is_new ? a->coarse : NULL);
}

bool eg_agent_zeusd_wants_coarse(const struct agent *a)
{
	return a->zeusd && eg_zeusd_streams_want_coarse(a->zeusd);
}

void eg_agent_zeusd_say(const struct agent *a)
{
	if (!a->zeusd)
		return;
	if (*eg_http_url(a->zeusd->http))
		eg_log(EG_LOG_INFO, LOG, "for clients of zeusd: ZEUSD_HOST_PORT=%s",
		       eg_http_url(a->zeusd->http) + strlen("http://"));
	if (*a->places.zeusd)
		eg_log(EG_LOG_INFO, LOG, "for clients of zeusd: ZEUSD_SOCK_PATH=%s",
		       a->places.zeusd);
}
