/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local API: /api/v1 as docs/openapi.yaml describes it, for local programs over the Unix socket
 * and for TCP clients behind the same authentication. Runs in the agent's loop.
 *
 * Who may see what, and how finely, is decided here once (eg_access); the rest of the agent only hands
 * over views. Windows are the meter's own, owned by uid (or the TCP user) and a random id.
 */
#ifndef EG_AGENT_API_H
#define EG_AGENT_API_H

#include "agent/config.h"
#include "core/view.h"
#include "export/http.h"

struct eg_api_host {
	void *arg;
	struct eg_meter *meter;
	const struct eg_env *env;
	/* Borrowed; the configuration may be replaced by a reload: ask each time. */
	const struct eg_config *(*config)(void *arg);
	/*
	 * The view a peer of this access may see. FULL with fresh: a sample is taken now (and
	 * checkpointed) first. COARSE: at most as fresh as access.coarse_interval. NULL before the
	 * first sample.
	 */
	const struct eg_view *(*view)(void *arg, enum eg_access access, bool fresh);
	gid_t socket_gid; /* (gid_t)-1 none */
	uid_t uid;	  /* of the agent */
};

struct eg_api;
int eg_api_new(const struct eg_api_host *host, struct eg_api **ret) EG_MUST_CHECK;
struct eg_api *eg_api_free(struct eg_api *api); /* answers what is deferred with 503 */
enum eg_access eg_api_access(const struct eg_api *api, const struct eg_http_request *req);
/* Paths below /api/v1; answers every request it is given. */
void eg_api_handle(struct eg_api *api, struct eg_http_request *req);
/*
 * After each sample of the loop: history, streams, windows that wait for a coarse edge, expiry. fine:
 * the newest view. coarse: the one for coarse readers, where it was renewed since the last call
 * (it may be older than fine by now); NULL: it was not.
 */
void eg_api_tick(struct eg_api *api, const struct eg_view *fine, const struct eg_view *coarse);
/* Would somebody have the coarse view renewed by the next tick (a stream, a window that expires)? */
bool eg_api_wants_coarse(const struct eg_api *api);
/* Does a request wait for it: should it be renewed as soon as it may be? */
bool eg_api_waits_coarse(const struct eg_api *api);
/* A descriptor to wait for, readable when work done by the API's thread is to be answered; -1 none. */
int eg_api_fd(const struct eg_api *api);
void eg_api_run(struct eg_api *api);
/* Has a sample taken that waits for slow drivers, on the thread; false: there is none. */
bool eg_api_sample(struct eg_api *api);
/* Has one been taken since the last call? */
bool eg_api_sampled(struct eg_api *api);
size_t eg_api_windows(const struct eg_api *api);

#endif
