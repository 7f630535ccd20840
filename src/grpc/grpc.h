/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gRPC server (HTTP/2 by nghttp2) inside somebody else's event loop: watch eg_grpc_fd(), call
 * eg_grpc_run() when it is readable and when eg_grpc_timeout_ns() has passed. Everything happens in the
 * thread that calls it; no allocation for a message once its stream is open. It knows methods and bytes,
 * not what they mean. Every list, queue and size has a ceiling; a client that is over one gets the status
 * that gRPC has for it. A stalled reader loses its oldest messages, and delays nobody.
 */
#ifndef EG_GRPC_GRPC_H
#define EG_GRPC_GRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "base/util.h"

#define EG_GRPC_REQUEST_MAX (64u << 10) /* bytes of a request message; more: RESOURCE_EXHAUSTED */
#define EG_GRPC_MESSAGE_MAX (4u << 20)	/* bytes of an answer: what clients accept by default */

/* The status codes of gRPC that are sent here. */
enum eg_grpc_status {
	EG_GRPC_OK = 0,
	EG_GRPC_CANCELLED = 1,
	EG_GRPC_UNKNOWN = 2,
	EG_GRPC_INVALID_ARGUMENT = 3,
	EG_GRPC_DEADLINE_EXCEEDED = 4,
	EG_GRPC_NOT_FOUND = 5,
	EG_GRPC_PERMISSION_DENIED = 7,
	EG_GRPC_RESOURCE_EXHAUSTED = 8,
	EG_GRPC_FAILED_PRECONDITION = 9,
	EG_GRPC_UNIMPLEMENTED = 12,
	EG_GRPC_INTERNAL = 13,
	EG_GRPC_UNAVAILABLE = 14,
	EG_GRPC_UNAUTHENTICATED = 16,
};

struct eg_grpc;	     /* the server */
struct eg_grpc_call; /* one call of a client; gone after eg_grpc_finish() or gone() */

/* Who calls. */
struct eg_grpc_peer {
	char address[64];   /* "127.0.0.1:4711" */
	bool authenticated; /* by a token or a client certificate */
	char user[64];	    /* "token", or the certificate's common name; "" */
	bool tls;
};

/*
 * A method. begin() is called once the request message is whole and the client has said that it was the
 * only one: it answers with eg_grpc_send() and eg_grpc_finish(), at once or later. gone(): the client
 * cancelled, its deadline passed, it left, or the server stops; the call must not be used any more.
 * gone() is not called after eg_grpc_finish(). All of them are called by eg_grpc_run() alone, but for
 * gone() by eg_grpc_close().
 *
 * With message() set the client may send any number of messages (a client or a bidirectional stream):
 * begin() comes first, without a request (NULL, 0), then message() for each, then end(), where it is set,
 * when the client has sent its last.
 */
struct eg_grpc_method {
	const char *path; /* "/energy.EnergyMonitor/Health" */
	bool open;	  /* needs no credentials, and none are looked at */
	void (*begin)(void *arg, struct eg_grpc_call *call, const void *request, size_t len);
	void (*gone)(void *arg, struct eg_grpc_call *call); /* NULL: not of interest */
	void *arg;
	void (*message)(void *arg, struct eg_grpc_call *call, const void *message, size_t len);
	void (*end)(void *arg, struct eg_grpc_call *call);
};

struct eg_grpc_config {
	const char *listen;	/* ADDR:PORT in plain text, "[::1]:50053" too; NULL or "": none */
	const char *tls_listen; /* ADDR:PORT with TLS and ALPN h2; needs tls */
	const struct eg_grpc_tls *tls; /* NULL: none is built in or wanted */
	const char *tls_certificate, *tls_key, *tls_client_ca; /* files */
	const char *token_file; /* bearer tokens, as the HTTP server's; NULL: none */
	bool require_auth;    /* on both listeners; UNAUTHENTICATED without, except open methods */
	unsigned max_clients; /* connections; 0: 128. One more is closed */
	unsigned max_streams; /* calls open at once in a connection; 0: 64 */
	unsigned queue; /* messages that wait for one stream; 0: 64. More: the oldest is dropped */
	uint64_t idle_ns; /* a connection without a call is closed after it; 0: 5 minutes */
};

/*
 * Listens and answers SETTINGS from then on. The methods stay the caller's and must outlive the server.
 * -EADDRINUSE and other errors of the addresses, -EINVAL for what is wrong in the configuration, -ENOMEM;
 * why (may be NULL) says it in a sentence with the cure.
 */
int eg_grpc_open(const struct eg_grpc_config *cfg, const struct eg_grpc_method *methods, size_t n,
		 struct eg_grpc **ret, struct eg_strbuf *why) EG_MUST_CHECK;
/* Certificates and tokens are read again; on failure the old ones stay. Streams go on. */
int eg_grpc_reload(struct eg_grpc *g, const struct eg_grpc_config *cfg,
		   struct eg_strbuf *why) EG_MUST_CHECK;
/*
 * GOAWAY to all; new calls are refused, open ones end with UNAVAILABLE after what is queued. Call
 * eg_grpc_run() until eg_grpc_is_idle() or patience ends, then eg_grpc_close().
 */
void eg_grpc_drain(struct eg_grpc *g);
bool eg_grpc_is_idle(const struct eg_grpc *g);	  /* no connection is open */
struct eg_grpc *eg_grpc_close(struct eg_grpc *g); /* NULL */

int eg_grpc_fd(const struct eg_grpc *g);	      /* readable when there is something to do */
uint64_t eg_grpc_timeout_ns(const struct eg_grpc *g); /* until the next deadline; UINT64_MAX none */
void eg_grpc_run(struct eg_grpc *g);
/* The address that was bound, "127.0.0.1:50053": port 0 is replaced; "" none. tls: of the other listener. */
const char *eg_grpc_address(const struct eg_grpc *g, bool tls);

/*
 * Puts one message into the call's queue; eg_grpc_run(), for which eg_grpc_timeout_ns() is 0 from now on,
 * sends it as the windows allow. A message over EG_GRPC_MESSAGE_MAX ends the call with
 * RESOURCE_EXHAUSTED: gone() tells, from the next eg_grpc_run(). The bytes are copied. In the order of
 * calls; when the queue is full its oldest message that has not begun to leave is dropped and counted.
 */
void eg_grpc_send(struct eg_grpc_call *call, const void *message, size_t len);
/* The trailers, after what is queued. text may be NULL. */
void eg_grpc_finish(struct eg_grpc_call *call, enum eg_grpc_status status, const char *text);
void eg_grpc_set_data(struct eg_grpc_call *call, void *data); /* the method's own */
void *eg_grpc_data(const struct eg_grpc_call *call);
uint64_t eg_grpc_dropped(const struct eg_grpc_call *call); /* messages of this call so far */
const struct eg_grpc_peer *eg_grpc_peer(const struct eg_grpc_call *call);

struct eg_grpc_stats {
	unsigned clients, calls;
	uint64_t accepted, refused, begun, messages, dropped, protocol_errors;
};
void eg_grpc_get_stats(const struct eg_grpc *g, struct eg_grpc_stats *ret);

#endif
