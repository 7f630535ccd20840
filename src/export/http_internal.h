/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the HTTP server share: the server, its listeners, and a client's connection with
 * the one request that it may have at a time.
 *
 * The server accepts connections itself and hands them to libmicrohttpd, one daemon for TCP and one
 * for the Unix socket, so that it can refuse and count those beyond the limit. libmicrohttpd takes a
 * suspended connection (a deferred reply, a stream with nothing to send) out of its own epoll set and
 * sees neither its end nor its time-out: `epoll_fd` watches those sockets, beside the listeners and
 * the daemons' epoll descriptors.
 */
#ifndef EG_EXPORT_HTTP_INTERNAL_H
#define EG_EXPORT_HTTP_INTERNAL_H

#include <microhttpd.h>

#include "base/clock.h"
#include "export/http.h"
#include "export/http_auth.h"
#include "export/http_gzip.h"
#include "export/http_tls.h"

#define EG_HTTP_URI_MAX	       (8u << 10) /* path and query, bytes; more: 414 */
#define EG_HTTP_POOL	       (20u << 10) /* libmicrohttpd's memory of one connection: headers; more: 431 */
#define EG_HTTP_DRAIN_MAX      (1u << 20) /* of a too large body, read so that its client sees the 413 */
#define EG_HTTP_EVENTS	       64	  /* of one eg_http_run() */
#define EG_HTTP_ACCEPTS	       64	  /* of one listener in one eg_http_run() */
#define EG_HTTP_PAUSE_NS       (100 * EG_NSEC_PER_MSEC) /* of accepting, where descriptors ran out */
/* A reply must have been taken within so many idle time-outs, however fast its reader trickles. */
#define EG_HTTP_REPLY_TIMEOUTS 4

/* What an event of our epoll set is about: the first member of each kind. */
enum eg_http_watch { EG_WATCH_LISTENER, EG_WATCH_DAEMON, EG_WATCH_CLIENT };

struct eg_http_listener {
	enum eg_http_watch watch;	 /* EG_WATCH_LISTENER */
	enum eg_http_watch daemon_watch; /* EG_WATCH_DAEMON */
	struct eg_http *http;
	struct MHD_Daemon *daemon;
	int fd; /* bound and listening; -1 none (tests add connections by hand) */
	bool local, tls;
	unsigned clients, adding; /* known to the daemon; handed over, and not yet known */
	uint64_t resume_ns;	  /* accepting pauses until then; 0 accepts */
};

enum eg_http_state {
	EG_REQ_NONE,
	EG_REQ_READING,	 /* until the body is whole */
	EG_REQ_HANDLED,	 /* the handler runs, or has to be called */
	EG_REQ_DEFERRED, /* its answer comes later */
	EG_REQ_STREAM,
	EG_REQ_ANSWERED, /* a response is with libmicrohttpd */
	EG_REQ_ABORTED,	 /* the peer has gone: libmicrohttpd is to close */
};

struct eg_http_client {
	enum eg_http_watch watch; /* EG_WATCH_CLIENT */
	struct eg_http_listener *listener;
	struct eg_http_client *prev, *next;
	struct MHD_Connection *connection;
	struct eg_tls *tls; /* the credentials that this connection began with */
	int fd;
	bool watched, suspended;
	uint64_t idle_ns;     /* the time-out that this connection began with */
	uint64_t deadline_ns; /* UINT64_MAX none */
	struct eg_http_peer peer;

	/* The request. */
	struct eg_http_request req;
	enum eg_http_state state;
	bool seen, too_large;  /* headers were looked at; body */
	struct eg_strbuf uri;  /* the target as it came */
	struct eg_strbuf text; /* decoded: path NUL, then n_query times name NUL value NUL */
	unsigned n_query;
	struct eg_strbuf body; /* its memory is given back after each request */
	size_t drained;
	void (*gone)(void *arg, struct eg_http_request *req);
	void *gone_arg;
	struct eg_http_stream *stream;
};

struct eg_http {
	int epoll_fd;
	struct eg_http_listener tcp, local; /* daemon NULL: none */
	struct eg_http_client *clients;
	eg_http_handler handler;
	void *arg;
	unsigned max_clients;
	uint64_t idle_ns;
	bool woken;	   /* a client was resumed: its answer waits for the next run */
	uint64_t sweep_ns; /* the earliest deadline of a client; UINT64_MAX none */
	bool require_auth;
	struct eg_auth *auth; /* NULL: none configured */
	struct eg_tls *tls;   /* NULL: plain text */
	struct eg_gzip *gzip; /* made at the first use */
	size_t replies_bytes; /* of answers that clients have not taken yet */
	struct eg_http_stats stats;
	char url[96];
	char *socket_path; /* the file that we made, with its identity */
	uint64_t socket_dev, socket_ino;
};

/* ---- http_listen.c ---- */
/* Makes, binds and starts to listen; returns the descriptor. why says what is wrong. */
int eg_listen_local(const struct eg_http_config *cfg, uint64_t *ret_dev, uint64_t *ret_ino,
		    struct eg_strbuf *why) EG_MUST_CHECK;
/* Removes the file if it is still the one of that identity. */
void eg_listen_remove(const char *path, uint64_t dev, uint64_t ino);
int eg_peer_read(int fd, bool local, struct eg_http_peer *ret) EG_MUST_CHECK;

/* ---- http.c ---- */
/* Hands a connected socket to the server, as if it had been accepted; takes fd. */
int eg_http_adopt(struct eg_http *h, bool local, int fd) EG_MUST_CHECK;
void eg_http_set_deadline(struct eg_http_client *c, uint64_t deadline_ns);
/* Takes the connection out of libmicrohttpd's hands until eg_http_wake(), watching for its end. */
void eg_http_suspend(struct eg_http_client *c);
void eg_http_wake(struct eg_http_client *c);

/* ---- http_request.c: callbacks of libmicrohttpd ---- */
void *eg_http_on_uri(void *cls, const char *uri, struct MHD_Connection *connection);
enum MHD_Result eg_http_on_request(void *cls, struct MHD_Connection *connection, const char *url,
				   const char *method, const char *version, const char *data,
				   size_t *size, void **con_cls);
void eg_http_on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
			  enum MHD_RequestTerminationCode toe);
/* The peer of a suspended request has gone: tells its owner and lets libmicrohttpd close. */
void eg_http_abort(struct eg_http_client *c);

/* ---- http_uri.c ---- */
/*
 * Splits a target into path and query and decodes them to text: path NUL, then *ret_n_query times name
 * NUL value NUL. Errors: -EINVAL, -E2BIG (too many parameters), -ENOMEM.
 */
int eg_uri_parse(const char *target, struct eg_strbuf *text, unsigned *ret_n_query) EG_MUST_CHECK;
const char *eg_uri_query(const struct eg_strbuf *text, unsigned n_query, const char *name);

/* ---- http_reply.c ---- */
/* The server's own answer: a line of text; the connection ends with it if close is set. */
enum MHD_Result eg_http_refuse(struct eg_http_client *c, unsigned status, bool close);
/* Headers that every answer has; false: no memory. */
bool eg_http_common_headers(struct MHD_Response *r, const char *type);

/* ---- http_stream.c ---- */
void eg_stream_abort(struct eg_http_stream *s); /* calls gone() */
void eg_stream_free(struct eg_http_stream *s);	/* calls gone() if nobody was told; takes NULL */

static inline struct eg_http_client *eg_client_of(const struct eg_http_request *req)
{
	return (struct eg_http_client *)((char *)(uintptr_t)req -
					 offsetof(struct eg_http_client, req));
}

#endif
