/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server as a whole: opening, one turn of the loop, deadlines, draining, closing. See grpc.h.
 *
 * A turn takes what epoll reports, lets each connection that has something to do write once, and looks at
 * deadlines when the earliest has passed, so that the cost of a turn is bounded however many clients
 * there are and whatever they want.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "core/diag.h"
#include "grpc/internal.h"

#define CLIENTS_DEFAULT 128
#define STREAMS_DEFAULT 64
#define QUEUE_DEFAULT	64
#define QUEUE_MAX	65536
#define IDLE_DEFAULT_NS (300 * EG_NSEC_PER_SEC)

void eg_grpc_wake_by(struct eg_grpc *g, uint64_t deadline_ns)
{
	if (deadline_ns < UINT64_MAX - EG_GRPC_STEP_NS)
		deadline_ns += EG_GRPC_STEP_NS - deadline_ns % EG_GRPC_STEP_NS;
	g->sweep_ns = EG_MIN(g->sweep_ns, deadline_ns);
}

/* ---- deadlines ---- */

static void expire(struct eg_grpc_conn *c, uint64_t now_ns)
{
	c->deadline_ns = UINT64_MAX;
	if (!c->greeted || c->lingering || c->goaway) {
		eg_grpc_conn_kill(c);
		return;
	}
	/* Idle. If even GOAWAY cannot leave, time is up after it. */
	eg_grpc_conn_retire(c);
	c->deadline_ns = now_ns + EG_GRPC_LINGER_NS;
}

static void sweep(struct eg_grpc *g, uint64_t now_ns)
{
	g->sweep_ns = UINT64_MAX;
	for (struct eg_grpc_conn *c = g->conns; c; c = c->next) {
		struct eg_grpc_call *next;

		for (struct eg_grpc_call *call = c->calls; call && !c->dead; call = next) {
			next = call->next;
			if (EG_MIN(call->deadline_ns, call->patience_ns) <= now_ns)
				eg_grpc_call_expire(call, now_ns);
			else
				eg_grpc_wake_by(g, EG_MIN(call->deadline_ns, call->patience_ns));
		}
		if (c->dead)
			continue;
		if (c->deadline_ns <= now_ns)
			expire(c, now_ns);
		eg_grpc_wake_by(g, c->deadline_ns);
	}
}

/* ---- listeners ---- */

static int watch(struct eg_grpc_listener *l)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &l->watch};

	return epoll_ctl(l->grpc->epoll_fd, EPOLL_CTL_ADD, l->fd, &ev) < 0 ? -errno : 0;
}

static void unwatch(struct eg_grpc_listener *l)
{
	(void)epoll_ctl(l->grpc->epoll_fd, EPOLL_CTL_DEL, l->fd, NULL);
}

int eg_grpc_adopt(struct eg_grpc *g, int fd, bool tls, const char *address)
{
	int r = -EMFILE;

	if (g->stats.clients < g->max_clients && !g->draining)
		r = eg_grpc_conn_open(g, fd, tls, address);
	if (r < 0) {
		close(fd);
		g->stats.refused++;
	}
	return r;
}

static void accept_clients(struct eg_grpc_listener *l)
{
	for (unsigned i = 0; i < EG_GRPC_ACCEPTS; i++) {
		struct sockaddr_storage sa = {0};
		socklen_t len = sizeof(sa);
		char address[EG_TCP_ADDRESS_MAX];
		int fd = accept4(l->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			/* What cannot be accepted waits in the kernel's queue for a moment. */
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			    errno == ENOMEM) {
				unwatch(l);
				l->resume_ns = eg_clock_real_ns() + EG_GRPC_PAUSE_NS;
			}
			return;
		}
		eg_tcp_address((struct sockaddr *)&sa, address);
		(void)eg_grpc_adopt(l->grpc, fd, l->tls, address);
	}
}

static void resume_listener(struct eg_grpc_listener *l, uint64_t now_ns)
{
	if (!l->resume_ns || now_ns < l->resume_ns)
		return;
	l->resume_ns = watch(l) < 0 ? now_ns + EG_GRPC_PAUSE_NS : 0;
}

static void close_listener(struct eg_grpc_listener *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
	l->resume_ns = 0;
}

static int open_listener(struct eg_grpc_listener *l, const char *text, struct eg_strbuf *why)
{
	l->fd = eg_tcp_listen(text, l->address, why);
	return l->fd < 0 ? l->fd : watch(l);
}

/* ---- opening ---- */

static bool is_set(const char *s)
{
	return s && *s;
}

static int load_tokens(const struct eg_grpc_config *cfg, struct eg_tokens **ret,
		       struct eg_strbuf *why)
{
	*ret = NULL;
	return is_set(cfg->token_file) ? eg_tokens_new(cfg->token_file, ret, why) : 0;
}

static int load_credentials(const struct eg_grpc_config *cfg, struct eg_grpc_credentials **ret,
			    struct eg_strbuf *why)
{
	*ret = NULL;
	if (!is_set(cfg->tls_listen))
		return 0;
	if (!cfg->tls) {
		eg_strbuf_puts(why, "this program has no TLS for gRPC; take its TLS address out");
		return -EINVAL;
	}
	if (!is_set(cfg->tls_certificate) || !is_set(cfg->tls_key)) {
		eg_strbuf_puts(why, "gRPC with TLS needs a certificate and its key");
		return -EINVAL;
	}
	return cfg->tls->load(cfg->tls_certificate, cfg->tls_key, cfg->tls_client_ca, ret, why);
}

static int check(const struct eg_grpc_config *cfg, struct eg_strbuf *why)
{
	if (!is_set(cfg->listen) && !is_set(cfg->tls_listen)) {
		eg_strbuf_puts(why, "gRPC needs an address to listen on");
		return -EINVAL;
	}
	if (cfg->require_auth && !is_set(cfg->token_file) &&
	    !(is_set(cfg->tls_listen) && is_set(cfg->tls_client_ca))) {
		eg_strbuf_puts(why,
			       "gRPC requires credentials and has none to compare with; name a "
			       "file of tokens or an authority for client certificates");
		return -EINVAL;
	}
	if (cfg->queue > QUEUE_MAX) {
		eg_strbuf_printf(why, "a queue of more than %u messages", QUEUE_MAX);
		return -EINVAL;
	}
	return 0;
}

static void take_limits(struct eg_grpc *g, const struct eg_grpc_config *cfg)
{
	g->require_auth = cfg->require_auth;
	g->max_clients = cfg->max_clients ? cfg->max_clients : CLIENTS_DEFAULT;
	g->max_streams = cfg->max_streams ? cfg->max_streams : STREAMS_DEFAULT;
	g->queue = cfg->queue ? cfg->queue : QUEUE_DEFAULT;
	g->idle_ns = cfg->idle_ns ? cfg->idle_ns : IDLE_DEFAULT_NS;
}

static void explain(struct eg_strbuf *why, const char *what, int r)
{
	if (why && !*eg_strbuf_get(why))
		eg_strbuf_printf(why, "%s: %s", what, eg_errno_text(r));
}

int eg_grpc_open(const struct eg_grpc_config *cfg, const struct eg_grpc_method *methods, size_t n,
		 struct eg_grpc **ret, struct eg_strbuf *why)
{
	EG_CLEANUP(eg_strbuf_free) struct eg_strbuf unread = EG_STRBUF_INIT(1024);
	struct eg_grpc *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return -ENOMEM;
	why = why ? why : &unread;
	g->methods = methods;
	g->n_methods = n;
	g->ready_end = &g->ready;
	g->sweep_ns = UINT64_MAX;
	g->plain = (struct eg_grpc_listener){.watch = EG_GRPC_LISTENER, .grpc = g, .fd = -1};
	g->secure = g->plain;
	g->secure.tls = true;
	g->tls = cfg->tls;
	take_limits(g, cfg);
	g->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	r = g->epoll_fd < 0 ? -errno : check(cfg, why);
	if (r == 0)
		r = load_tokens(cfg, &g->tokens, why);
	if (r == 0)
		r = load_credentials(cfg, &g->credentials, why);
	if (r == 0 && is_set(cfg->listen))
		r = open_listener(&g->plain, cfg->listen, why);
	if (r == 0 && is_set(cfg->tls_listen))
		r = open_listener(&g->secure, cfg->tls_listen, why);
	if (r < 0) {
		explain(why, "the gRPC server cannot start", r);
		eg_grpc_close(g);
		return r;
	}
	*ret = g;
	return 0;
}

int eg_grpc_reload(struct eg_grpc *g, const struct eg_grpc_config *cfg, struct eg_strbuf *why)
{
	EG_CLEANUP(eg_strbuf_free) struct eg_strbuf unread = EG_STRBUF_INIT(1024);
	struct eg_grpc_credentials *credentials = NULL;
	struct eg_tokens *tokens = NULL;
	int r;

	why = why ? why : &unread;
	r = check(cfg, why);
	if (r == 0 && is_set(cfg->tls_listen) != (g->credentials != NULL)) {
		eg_strbuf_puts(why,
			       "TLS for gRPC cannot be switched on or off while the server runs; "
			       "restart it");
		r = -EINVAL;
	}
	if (r == 0)
		r = load_tokens(cfg, &tokens, why);
	if (r == 0)
		r = load_credentials(cfg, &credentials, why);
	if (r < 0) {
		explain(why, "the gRPC server keeps its settings", r);
		eg_tokens_free(tokens);
		return r;
	}
	eg_tokens_free(g->tokens);
	g->tokens = tokens;
	if (g->credentials)
		g->tls->unload(g->credentials);
	g->credentials = credentials;
	take_limits(g, cfg);
	return 0;
}

/* ---- the loop ---- */

/*
 * Each connection that has something to do gets one go; what that leads to waits for the next turn. The
 * dead are freed here, where nothing else looks at them, once they stand in no list.
 */
static void flush(struct eg_grpc *g)
{
	struct eg_grpc_conn *c = g->ready, *next;

	g->ready = NULL;
	g->ready_end = &g->ready;
	for (; c; c = next) {
		next = c->ready_next;
		c->ready = false;
		if (!c->dead)
			eg_grpc_conn_flush(c);
		if (c->dead && !c->ready)
			eg_grpc_conn_free(c);
	}
}

void eg_grpc_run(struct eg_grpc *g)
{
	struct epoll_event events[EG_GRPC_EVENTS];
	int n = epoll_wait(g->epoll_fd, events, EG_GRPC_EVENTS, 0);
	uint64_t now_ns = eg_clock_real_ns();

	for (int i = 0; i < n; i++) {
		enum eg_grpc_watch *what = events[i].data.ptr;

		if (*what == EG_GRPC_LISTENER)
			accept_clients((struct eg_grpc_listener *)what);
		else
			eg_grpc_conn_event((struct eg_grpc_conn *)what, events[i].events);
	}
	if (now_ns >= g->sweep_ns)
		sweep(g, now_ns);
	resume_listener(&g->plain, now_ns);
	resume_listener(&g->secure, now_ns);
	flush(g);
}

static uint64_t until(uint64_t deadline_ns, uint64_t now_ns)
{
	return deadline_ns > now_ns ? deadline_ns - now_ns : 0;
}

uint64_t eg_grpc_timeout_ns(const struct eg_grpc *g)
{
	uint64_t now_ns = eg_clock_real_ns(), timeout_ns = UINT64_MAX;

	if (g->ready)
		return 0;
	if (g->sweep_ns != UINT64_MAX)
		timeout_ns = until(g->sweep_ns, now_ns);
	if (g->plain.resume_ns)
		timeout_ns = EG_MIN(timeout_ns, until(g->plain.resume_ns, now_ns));
	if (g->secure.resume_ns)
		timeout_ns = EG_MIN(timeout_ns, until(g->secure.resume_ns, now_ns));
	return timeout_ns;
}

int eg_grpc_fd(const struct eg_grpc *g)
{
	return g->epoll_fd;
}

const char *eg_grpc_address(const struct eg_grpc *g, bool tls)
{
	return tls ? g->secure.address : g->plain.address;
}

void eg_grpc_get_stats(const struct eg_grpc *g, struct eg_grpc_stats *ret)
{
	*ret = g->stats;
}

/* ---- the end ---- */

void eg_grpc_drain(struct eg_grpc *g)
{
	close_listener(&g->plain);
	close_listener(&g->secure);
	g->draining = true;
	for (struct eg_grpc_conn *c = g->conns; c; c = c->next)
		eg_grpc_conn_retire(c);
}

bool eg_grpc_is_idle(const struct eg_grpc *g)
{
	return g->conns == NULL;
}

struct eg_grpc *eg_grpc_close(struct eg_grpc *g)
{
	if (!g)
		return NULL;
	close_listener(&g->plain);
	close_listener(&g->secure);
	/* Methods are told of all before any is freed: they may still speak of one in the gone() of another. */
	for (struct eg_grpc_conn *c = g->conns; c; c = c->next)
		eg_grpc_conn_kill(c);
	while (g->conns)
		eg_grpc_conn_free(g->conns);
	if (g->credentials)
		g->tls->unload(g->credentials);
	eg_tokens_free(g->tokens);
	if (g->epoll_fd >= 0)
		close(g->epoll_fd);
	free(g);
	return NULL;
}
