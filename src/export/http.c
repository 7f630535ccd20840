/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server as a whole: opening, one turn of the loop, closing. See http.h and http_internal.h.
 *
 * libmicrohttpd's own time-out is one of inactivity, which a client that sends a byte a second never
 * meets. So each client also has a deadline: for its first request, for what follows, for taking its
 * answer. Where it is missed the socket is shut down, and libmicrohttpd finds it closed.
 */
#include "export/http_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "core/diag.h"
#include "export/tcp.h"

#define IDLE_DEFAULT_S 15

/* ---- clients ---- */

/* Deadlines are rounded up to whole seconds, so that a sweep over all clients is made once a second. */
void eg_http_set_deadline(struct eg_http_client *c, uint64_t deadline_ns)
{
	struct eg_http *h = c->listener->http;

	if (deadline_ns < UINT64_MAX - EG_NSEC_PER_SEC)
		deadline_ns += EG_NSEC_PER_SEC - deadline_ns % EG_NSEC_PER_SEC;
	c->deadline_ns = deadline_ns;
	h->sweep_ns = EG_MIN(h->sweep_ns, deadline_ns);
}

static void sweep(struct eg_http *h, uint64_t now_ns)
{
	uint64_t next_ns = UINT64_MAX;

	for (struct eg_http_client *c = h->clients; c; c = c->next) {
		if (c->deadline_ns <= now_ns) {
			c->deadline_ns = UINT64_MAX;
			(void)shutdown(c->fd, SHUT_RDWR);
		}
		next_ns = EG_MIN(next_ns, c->deadline_ns);
	}
	h->sweep_ns = next_ns;
}

void eg_http_suspend(struct eg_http_client *c)
{
	struct epoll_event ev = {.events = EPOLLRDHUP, .data.ptr = &c->watch};

	MHD_suspend_connection(c->connection);
	c->suspended = true;
	/* Not watched (no memory in the kernel): its end is noticed when something is sent. */
	c->watched = epoll_ctl(c->listener->http->epoll_fd, EPOLL_CTL_ADD, c->fd, &ev) == 0;
}

void eg_http_wake(struct eg_http_client *c)
{
	if (c->watched)
		(void)epoll_ctl(c->listener->http->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
	c->watched = c->suspended = false;
	MHD_resume_connection(c->connection);
	/* MHD_get_timeout() does not tell of it. */
	c->listener->http->woken = true;
}

static void client_started(struct eg_http_listener *l, struct MHD_Connection *connection,
			   void **socket_context)
{
	struct eg_http *h = l->http;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct eg_http_client *c = calloc(1, sizeof(*c));
	bool good = c && info;

	l->clients++;
	if (!info) {
		free(c);
		return;
	}
	if (good) {
		c->watch = EG_WATCH_CLIENT;
		c->listener = l;
		c->connection = connection;
		c->fd = info->connect_fd;
		c->uri = EG_STRBUF_INIT(EG_HTTP_URI_MAX);
		c->text = EG_STRBUF_INIT(EG_HTTP_URI_MAX + 2 * EG_HTTP_QUERY_MAX + 2);
		c->body = EG_STRBUF_INIT(EG_HTTP_BODY_MAX);
		good = eg_peer_read(c->fd, l->local, &c->peer) == 0;
	}
	/* A reload may have changed the time-out since the daemon started. */
	good = good &&
	       MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT,
					 (unsigned)(h->idle_ns / EG_NSEC_PER_SEC)) == MHD_YES;
	if (good && l->tls) {
		info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
		c->tls = eg_tls_ref(h->tls);
		good = info && eg_tls_attach(c->tls, info->tls_session);
	}
	if (!good) {
		/* Shut down, it is closed by libmicrohttpd at its next turn. */
		(void)shutdown(MHD_get_connection_info(connection,
						       MHD_CONNECTION_INFO_CONNECTION_FD)
				       ->connect_fd,
			       SHUT_RDWR);
		if (c)
			eg_tls_unref(c->tls);
		free(c);
		return;
	}
	c->next = h->clients;
	if (c->next)
		c->next->prev = c;
	h->clients = c;
	*socket_context = c;
	c->idle_ns = h->idle_ns;
	eg_http_set_deadline(c, eg_clock_real_ns() + c->idle_ns);
}

static void client_closed(struct eg_http_listener *l, struct eg_http_client *c)
{
	struct eg_http *h = l->http;

	l->clients--;
	if (!c)
		return;
	if (c->prev)
		c->prev->next = c->next;
	else
		h->clients = c->next;
	if (c->next)
		c->next->prev = c->prev;
	eg_stream_free(c->stream);
	eg_strbuf_free(&c->uri);
	eg_strbuf_free(&c->text);
	eg_strbuf_free(&c->body);
	eg_tls_unref(c->tls);
	free(c);
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
			  enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		client_started(cls, connection, socket_context);
	else
		client_closed(cls, *socket_context);
}

/* ---- listeners ---- */

static int watch(struct eg_http *h, int fd, enum eg_http_watch *what)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = what};

	return epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

static int start_daemon(struct eg_http *h, struct eg_http_listener *l)
{
	unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME |
			 (l->tls ? MHD_USE_TLS : 0);
	struct MHD_OptionItem tls[] = {
		{MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)EG_TLS_PRIORITIES},
		{MHD_OPTION_HTTPS_CERT_CALLBACK, 0, eg_tls_no_certificate()},
		{MHD_OPTION_END, 0, NULL},
	};
	struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
	const union MHD_DaemonInfo *info;

	l->daemon = MHD_start_daemon(flags, 0, NULL, NULL, eg_http_on_request, h,
				     MHD_OPTION_NOTIFY_CONNECTION, on_connection, l,
				     MHD_OPTION_URI_LOG_CALLBACK, eg_http_on_uri, h,
				     MHD_OPTION_NOTIFY_COMPLETED, eg_http_on_completed, h,
				     MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)EG_HTTP_POOL,
				     MHD_OPTION_CONNECTION_LIMIT, UINT32_MAX,
				     MHD_OPTION_CONNECTION_TIMEOUT,
				     (unsigned)(h->idle_ns / EG_NSEC_PER_SEC), MHD_OPTION_ARRAY,
				     l->tls ? tls : none, MHD_OPTION_END);
	if (!l->daemon)
		return -ENOMEM;
	info = MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info)
		return -EIO;
	return watch(h, info->epoll_fd, &l->daemon_watch);
}

static void hand_over(struct eg_http_listener *l, int fd, const struct sockaddr *sa, socklen_t len)
{
	unsigned before = l->clients;

	/* Some versions call client_started() at once, others at their next turn. Closes fd on failure. */
	if (MHD_add_connection(l->daemon, fd, sa, len) == MHD_YES && l->clients == before)
		l->adding++;
}

/* What cannot be accepted for want of descriptors or memory waits in the kernel's queue for a moment. */
static void pause_listener(struct eg_http_listener *l)
{
	(void)epoll_ctl(l->http->epoll_fd, EPOLL_CTL_DEL, l->fd, NULL);
	l->resume_ns = eg_clock_real_ns() + EG_HTTP_PAUSE_NS;
}

static void accept_clients(struct eg_http_listener *l)
{
	struct eg_http *h = l->http;

	for (unsigned i = 0; i < EG_HTTP_ACCEPTS; i++) {
		struct sockaddr_storage sa;
		socklen_t len = sizeof(sa);
		int fd = accept4(l->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			    errno == ENOMEM)
				pause_listener(l);
			else if (errno == EINTR || errno == ECONNABORTED)
				continue;
			return;
		}
		if (l->clients + l->adding >= h->max_clients) {
			close(fd);
			h->stats.refused++;
			continue;
		}
		hand_over(l, fd, (struct sockaddr *)&sa, len);
	}
}

int eg_http_adopt(struct eg_http *h, bool local, int fd)
{
	struct eg_http_listener *l = local ? &h->local : &h->tcp;
	struct sockaddr sa = {.sa_family = AF_UNIX};
	int r;

	if (!l->daemon) {
		r = start_daemon(h, l);
		if (r < 0) {
			close(fd);
			return r;
		}
	}
	hand_over(l, fd, &sa, sizeof(sa));
	return 0;
}

/* ---- opening and closing ---- */

static bool is_set(const char *s)
{
	return s && *s;
}

static int load_auth(const struct eg_http_config *cfg, struct eg_auth **ret, struct eg_strbuf *why)
{
	*ret = NULL;
	if (!is_set(cfg->basic_auth_file) && !is_set(cfg->token_file))
		return 0;
	return eg_auth_new(cfg->basic_auth_file, cfg->token_file, ret, why);
}

static int load_tls(const struct eg_http_config *cfg, struct eg_tls **ret, struct eg_strbuf *why)
{
	*ret = NULL;
	if (!is_set(cfg->tls_certificate) && !is_set(cfg->tls_key)) {
		if (!is_set(cfg->tls_client_ca))
			return 0;
		eg_strbuf_puts(why, "an authority for client certificates needs TLS: name a "
				    "certificate and its key as well");
		return -EINVAL;
	}
	if (!is_set(cfg->tls_certificate) || !is_set(cfg->tls_key)) {
		eg_strbuf_puts(why, "TLS needs both a certificate and its key; name the other one");
		return -EINVAL;
	}
	if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES) {
		eg_strbuf_puts(why, "libmicrohttpd was built without TLS; take the TLS options out "
				    "or install a build with GnuTLS");
		return -ENOTSUP;
	}
	return eg_tls_new(cfg->tls_certificate, cfg->tls_key, cfg->tls_client_ca, ret, why);
}

static void take_limits(struct eg_http *h, const struct eg_http_config *cfg)
{
	h->max_clients = cfg->max_clients ? cfg->max_clients : EG_HTTP_CLIENTS_MAX;
	h->idle_ns = (cfg->idle_timeout_s ? cfg->idle_timeout_s : IDLE_DEFAULT_S) * EG_NSEC_PER_SEC;
	h->require_auth = cfg->require_auth;
}

static int open_listeners(struct eg_http *h, const struct eg_http_config *cfg,
			  struct eg_strbuf *why)
{
	char address[EG_TCP_ADDRESS_MAX] = "";
	int r = 0;

	if (is_set(cfg->listen)) {
		h->tcp.tls = h->tls != NULL;
		h->tcp.fd = eg_tcp_listen(cfg->listen, address, why);
		r = h->tcp.fd < 0 ? h->tcp.fd : start_daemon(h, &h->tcp);
		snprintf(h->url, sizeof(h->url), "http%s://%s", h->tcp.tls ? "s" : "", address);
		if (r == 0)
			r = watch(h, h->tcp.fd, &h->tcp.watch);
	}
	if (r == 0 && is_set(cfg->socket)) {
		char *path = strdup(cfg->socket);

		if (!path)
			return -ENOMEM;
		h->local.fd = eg_listen_local(cfg, &h->socket_dev, &h->socket_ino, why);
		if (h->local.fd < 0) {
			free(path);
			return h->local.fd;
		}
		h->socket_path = path;
		r = start_daemon(h, &h->local);
		if (r == 0)
			r = watch(h, h->local.fd, &h->local.watch);
	}
	return r;
}

int eg_http_open(const struct eg_http_config *cfg, eg_http_handler handler, void *arg,
		 struct eg_http **ret, struct eg_strbuf *why)
{
	struct eg_http *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return -ENOMEM;
	h->handler = handler;
	h->arg = arg;
	h->sweep_ns = UINT64_MAX;
	h->tcp = (struct eg_http_listener){
		.watch = EG_WATCH_LISTENER, .daemon_watch = EG_WATCH_DAEMON, .http = h, .fd = -1};
	h->local = h->tcp;
	h->local.local = true;
	take_limits(h, cfg);
	h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	r = h->epoll_fd < 0 ? -errno : load_tls(cfg, &h->tls, why);
	if (r == 0)
		r = load_auth(cfg, &h->auth, why);
	if (r == 0)
		r = open_listeners(h, cfg, why);
	if (r < 0) {
		if (!*eg_strbuf_get(why))
			eg_strbuf_printf(why, "the HTTP server cannot start: %s", eg_errno_text(r));
		eg_http_close(h);
		return r;
	}
	*ret = h;
	return 0;
}

static void close_listener(struct eg_http_listener *l)
{
	if (l->fd >= 0)
		close(l->fd);
	if (l->daemon)
		MHD_stop_daemon(l->daemon);
}

struct eg_http *eg_http_close(struct eg_http *h)
{
	if (!h)
		return NULL;
	if (h->socket_path)
		eg_listen_remove(h->socket_path, h->socket_dev, h->socket_ino);
	/* libmicrohttpd cannot stop while a connection sleeps. */
	for (struct eg_http_client *c = h->clients; c; c = c->next)
		if (c->suspended)
			eg_http_abort(c);
	close_listener(&h->tcp);
	close_listener(&h->local);
	if (h->epoll_fd >= 0)
		close(h->epoll_fd);
	eg_auth_free(h->auth);
	eg_tls_unref(h->tls);
	eg_gzip_free(h->gzip);
	free(h->socket_path);
	free(h);
	return NULL;
}

int eg_http_reload(struct eg_http *h, const struct eg_http_config *cfg, struct eg_strbuf *why)
{
	struct eg_auth *auth = NULL;
	struct eg_tls *tls = NULL;
	int r = load_tls(cfg, &tls, why);

	if (r == 0 && h->tcp.daemon && !tls != !h->tcp.tls) {
		eg_strbuf_puts(why, "TLS cannot be switched on or off while the server runs; "
				    "restart it");
		r = -EINVAL;
	}
	if (r == 0)
		r = load_auth(cfg, &auth, why);
	if (r < 0) {
		if (!*eg_strbuf_get(why))
			eg_strbuf_puts(why, eg_errno_text(r));
		eg_tls_unref(tls);
		return r;
	}
	eg_tls_unref(h->tls);
	h->tls = tls;
	eg_auth_free(h->auth);
	h->auth = auth;
	take_limits(h, cfg);
	return 0;
}

/* ---- the loop ---- */

size_t eg_http_fds(const struct eg_http *h, int fds[2])
{
	fds[0] = h->epoll_fd;
	return 1;
}

static uint64_t listener_timeout_ns(const struct eg_http_listener *l, uint64_t now_ns)
{
	uint64_t timeout_ns = UINT64_MAX;
	MHD_UNSIGNED_LONG_LONG ms;

	if (l->daemon && MHD_get_timeout(l->daemon, &ms) == MHD_YES)
		timeout_ns = ms * EG_NSEC_PER_MSEC;
	if (l->resume_ns)
		timeout_ns = EG_MIN(timeout_ns, l->resume_ns > now_ns ? l->resume_ns - now_ns : 0);
	return timeout_ns;
}

uint64_t eg_http_timeout_ns(struct eg_http *h)
{
	uint64_t now_ns = eg_clock_real_ns(), timeout_ns;

	if (h->woken)
		return 0;
	timeout_ns = EG_MIN(listener_timeout_ns(&h->tcp, now_ns),
			    listener_timeout_ns(&h->local, now_ns));
	if (h->sweep_ns != UINT64_MAX)
		timeout_ns = EG_MIN(timeout_ns, h->sweep_ns > now_ns ? h->sweep_ns - now_ns : 0);
	return timeout_ns;
}

static void run_listener(struct eg_http_listener *l, uint64_t now_ns)
{
	if (l->resume_ns && now_ns >= l->resume_ns) {
		l->resume_ns = 0;
		if (watch(l->http, l->fd, &l->watch) < 0)
			l->resume_ns = now_ns + EG_HTTP_PAUSE_NS;
	}
	if (l->daemon)
		MHD_run(l->daemon);
	l->adding = 0;
}

void eg_http_run(struct eg_http *h)
{
	struct epoll_event events[EG_HTTP_EVENTS];
	int n = epoll_wait(h->epoll_fd, events, EG_HTTP_EVENTS, 0);
	uint64_t now_ns = eg_clock_real_ns();

	h->woken = false;

	/* Nothing here frees a client; that happens in MHD_run() below. */
	for (int i = 0; i < n; i++) {
		enum eg_http_watch *what = events[i].data.ptr;

		if (*what == EG_WATCH_LISTENER) {
			accept_clients((struct eg_http_listener *)what);
		} else if (*what == EG_WATCH_CLIENT) {
			struct eg_http_client *c = (struct eg_http_client *)what;

			if (c->suspended)
				eg_http_abort(c);
		}
	}
	if (now_ns >= h->sweep_ns)
		sweep(h, now_ns);
	run_listener(&h->tcp, now_ns);
	run_listener(&h->local, now_ns);
}

const char *eg_http_url(const struct eg_http *h)
{
	return h->url;
}

void eg_http_get_stats(const struct eg_http *h, struct eg_http_stats *ret)
{
	*ret = h->stats;
	ret->clients = h->tcp.clients + h->local.clients;
}
