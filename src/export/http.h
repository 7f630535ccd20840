/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/1.1 server inside the caller's event loop: libmicrohttpd without threads of its own, on a
 * TCP address (TLS, client certificates, basic auth and bearer tokens where configured), on a Unix
 * socket, or on both. It knows requests and answers, and nothing about energy.
 *
 * Everything happens in the thread that calls eg_http_run(). Every list and buffer has a ceiling; a
 * slow or hostile client costs itself.
 */
#ifndef EG_EXPORT_HTTP_H
#define EG_EXPORT_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/strbuf.h"
#include "base/util.h"

#define EG_HTTP_BODY_MAX    (64u << 10) /* of a request; more: 413 */
#define EG_HTTP_CLIENTS_MAX 256		/* default of max_clients */
#define EG_HTTP_STREAMS_MAX 64		/* open event streams; more: 503 */
#define EG_HTTP_QUEUE_MAX   (64u << 10) /* bytes waiting for one stream; more: dropped, counted */
#define EG_HTTP_QUERY_MAX   64		/* parameters of one query; more: 400 */
#define EG_HTTP_REPLIES_MAX \
	(32u << 20) /* bytes of all answers not yet taken by clients; more, unless alone: 503 */
#define EG_HTTP_REPLY_SMALL (16u << 10)	 /* an answer up to this is given in any case */
#define EG_HTTP_GZIP_MIN    1024	 /* shorter answers are not compressed */
#define EG_HTTP_OPEN_PATH   "/-/healthy" /* needs no credentials, and none are looked at */

/* Credentials and certificates are read from files named in the configuration, once per open. */
struct eg_http_config {
	const char *listen;	  /* "127.0.0.1:9102", "[::1]:0"; NULL or "": no TCP */
	const char *socket;	  /* path of a Unix socket; NULL or "": none */
	unsigned socket_mode;	  /* 0660 */
	const char *socket_group; /* name or number; NULL: unchanged */
	const char *tls_certificate, *tls_key, *tls_client_ca; /* PEM files; NULL: none */
	const char
		*basic_auth_file; /* lines USER:HASH, hash as crypt(3) knows it ($2b$, $6$, $y$) */
	const char *token_file;	  /* one bearer token a line; '#' begins a comment */
	/*
	 * With a password or token file: answer 401 to a TCP request without credentials, except of
	 * EG_HTTP_OPEN_PATH. False: it reaches the handler as not authenticated. Wrong credentials are
	 * answered 401 in any case, and 429 where too many are tried. Where there is tls_client_ca
	 * nobody gets through the handshake without a certificate of it, and that counts as
	 * credentials.
	 */
	bool require_auth;
	unsigned max_clients;	 /* of each listener, so that TCP cannot lock out local programs;
				    0: EG_HTTP_CLIENTS_MAX */
	unsigned idle_timeout_s; /* 0: 15 */
};

struct eg_http_peer {
	bool local; /* came over the Unix socket: uid, gid, pid are of SO_PEERCRED */
	uid_t uid;
	gid_t gid;
	pid_t pid;
	bool authenticated; /* over TCP: by password, token or client certificate */
	char user[64];	    /* "" none: name of basic auth, "token", CN of the certificate */
};

struct eg_http_request {
	const char *method, *path; /* path decoded, without the query; begins with '/' */
	const char *body;	   /* NUL terminated; "" none */
	size_t body_len;
	struct eg_http_peer peer;
};
/* A value of the query, decoded (first of the name), or NULL; borrowed until the reply. */
const char *eg_http_query(const struct eg_http_request *req, const char *name);
/* The name of the i-th parameter, decoded, from 0; NULL: there are no more. */
const char *eg_http_query_name(const struct eg_http_request *req, unsigned i);
const char *eg_http_header(const struct eg_http_request *req, const char *name);
/* Is the local peer's process a member of the group (primary or supplementary)? */
bool eg_http_peer_in_group(const struct eg_http_request *req, gid_t gid);

struct eg_http_answer {
	unsigned status;
	const char *type; /* Content-Type, static text */
	const char *data; /* copied */
	size_t len;
	bool gzip;		/* may be compressed where the client takes it */
	const char *allow;	/* 405: methods; else NULL */
	unsigned retry_after_s; /* 429, 503; 0 none */
};
/*
 * The handler calls exactly one of these, now or (after defer) later from the same thread. HEAD and
 * Content-Length are the server's business, and so is WWW-Authenticate with 401. A reply to a peer
 * that has gone is dropped. After the reply req is the server's again.
 */
void eg_http_reply(struct eg_http_request *req, const struct eg_http_answer *answer);
/*
 * Keeps the request open: req stays valid until its reply, or until gone() is called. A peer that
 * shuts down its sending side counts as gone.
 */
void eg_http_defer(struct eg_http_request *req,
		   void (*gone)(void *arg, struct eg_http_request *req), void *arg);

/*
 * An endless answer, such as server-sent events. NULL: too many (or no memory); 503 has been sent.
 * gone(): the peer left, or took nothing for idle_timeout_s; s is no longer valid after it. It may be
 * called from eg_http_run() and eg_http_close() only.
 */
struct eg_http_stream;
struct eg_http_stream *eg_http_stream_open(struct eg_http_request *req, const char *type,
					   void (*gone)(void *arg, struct eg_http_stream *s),
					   void *arg);
/* False: its queue is full, this piece was dropped (whole) and counted. */
bool eg_http_stream_write(struct eg_http_stream *s, const char *data, size_t len);
uint64_t eg_http_stream_dropped(const struct eg_http_stream *s);
void eg_http_stream_close(struct eg_http_stream *s); /* what is queued is still sent; no gone() */

typedef void (*eg_http_handler)(void *arg, struct eg_http_request *req);

struct eg_http;
/*
 * Opens the listeners. Errors with one clear sentence and its cure in why: -EINVAL a bad address,
 * certificate, hash or group; -EADDRINUSE; -EACCES; -ENOENT a file; -ENOTSUP TLS is not in this
 * build of libmicrohttpd. A stale socket file (nobody listens) is replaced; a living one is not, and
 * neither is a file that is no socket.
 */
int eg_http_open(const struct eg_http_config *cfg, eg_http_handler handler, void *arg,
		 struct eg_http **ret, struct eg_strbuf *why) EG_MUST_CHECK;
/* Takes NULL; removes the socket file. Calls gone() for what is open. Never from a handler. */
struct eg_http *eg_http_close(struct eg_http *h);
/*
 * Reads certificates and credentials again and takes require_auth, max_clients and idle_timeout_s (of
 * new connections); on failure the old ones stay and why says so. Whether there is TLS at all needs a
 * new eg_http_open(): -EINVAL; so do addresses and what belongs to the socket, which are not looked
 * at. Open connections keep the certificate they began with.
 */
int eg_http_reload(struct eg_http *h, const struct eg_http_config *cfg,
		   struct eg_strbuf *why) EG_MUST_CHECK;
/* Descriptors to wait for reading (level triggered); returns their number, at most 2. */
size_t eg_http_fds(const struct eg_http *h, int fds[2]);
/* Time until run() wants to be called even if no descriptor is ready; UINT64_MAX: no need. */
uint64_t eg_http_timeout_ns(struct eg_http *h);
/* Serves what is ready; never blocks. */
void eg_http_run(struct eg_http *h);
/* "http://127.0.0.1:9102" with the port that was really taken; "" no TCP. Borrowed. */
const char *eg_http_url(const struct eg_http *h);

struct eg_http_stats {
	uint64_t requests, refused; /* refused: too many clients or streams */
	unsigned clients, streams;
	uint64_t dropped; /* pieces of streams */
};
void eg_http_get_stats(const struct eg_http *h, struct eg_http_stats *ret);

#endif
