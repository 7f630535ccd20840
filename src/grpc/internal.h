/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the gRPC server share: the server, its connections, and the calls in them.
 *
 *   server.c      listeners, one turn of the loop, deadlines, the end
 *   connection.c  bytes of the socket <-> frames of nghttp2, and what a client may cost
 *   call.c        what a client sends for a call: headers, messages
 *   answer.c      what it gets: the queue of messages, the trailers
 *
 * Nothing is freed while nghttp2 is at work on it: a connection that ends is marked, and taken apart at
 * the end of the turn.
 */
#ifndef EG_GRPC_INTERNAL_H
#define EG_GRPC_INTERNAL_H

#include <nghttp2/nghttp2.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "export/http_token.h"
#include "export/tcp.h"
#include "grpc/grpc.h"
#include "grpc/tls.h"
#include "grpc/wire.h"

#define EG_GRPC_EVENTS	     64		  /* of one eg_grpc_run() */
#define EG_GRPC_ACCEPTS	     32		  /* of one listener in one eg_grpc_run() */
#define EG_GRPC_INPUT	     (16u << 10)  /* bytes that one connection may have read in one turn */
#define EG_GRPC_OUTPUT	     (64u << 10)  /* and that it may be given, about */
#define EG_GRPC_FRAME_MAX    (16u << 10)  /* payload of a frame, both ways: HTTP/2's default */
#define EG_GRPC_HEADERS_MAX  (16u << 10)  /* of one list, as SETTINGS_MAX_HEADER_LIST_SIZE counts */
#define EG_GRPC_HEADERS_BOMB (128u << 10) /* whoever sends more in one list is closed */
#define EG_GRPC_REQUESTS_MAX \
	(256u << 10) /* bytes of one connection's requests that are not whole yet */
#define EG_GRPC_QUEUES_MAX    (64u << 20) /* bytes of all queues; more: messages are dropped */
#define EG_GRPC_QUEUED_MAX    (9u << 20)  /* and of those of one connection: two of the largest */
#define EG_GRPC_KEEP_BYTES    (16u << 10) /* the buffer of a longer message is given back */
#define EG_GRPC_BACKLOG	      256 /* frames waiting to leave; more: the client is not read */

#define EG_GRPC_OVERSIZE_TEXT "an answer is larger than 4 MiB"

#define EG_GRPC_GREETING_NS \
	(10 * EG_NSEC_PER_SEC) /* TLS, preface and SETTINGS must be there by then */
#define EG_GRPC_REQUEST_NS (30 * EG_NSEC_PER_SEC) /* and a call's request, from its first frame */
#define EG_GRPC_TRAILERS_NS \
	(30 * EG_NSEC_PER_SEC) /* a finished call's answer must have been taken */
#define EG_GRPC_RESET_NS	 (5 * EG_NSEC_PER_SEC) /* and the reset after it have left */
#define EG_GRPC_LINGER_NS	 EG_NSEC_PER_SEC /* a closed connection waits for its peer's end */
#define EG_GRPC_PAUSE_NS	 (100 * EG_NSEC_PER_MSEC) /* of accepting, where descriptors ran out */
#define EG_GRPC_STEP_NS		 (5 * EG_NSEC_PER_MSEC) /* deadlines are rounded up to it */

/*
 * What a client may send that costs us something and him nothing. Resets: his, and ours that he provoked
 * (CVE-2023-44487, CVE-2025-8671). Control: every frame that is neither HEADERS nor DATA with content;
 * each DATA frame and call of ours earns some, because an honest client answers those by WINDOW_UPDATE
 * and, measuring the bandwidth, by PING. Whoever is over is told ENHANCE_YOUR_CALM and closed. nghttp2
 * itself counts CONTINUATION (CVE-2024-28182); frames of unknown types cost nothing but their reading.
 */
#define EG_GRPC_RESETS_BURST	 256
#define EG_GRPC_RESETS_PER_S	 32
#define EG_GRPC_CONTROL_BURST	 1000
#define EG_GRPC_CONTROL_PER_S	 100
#define EG_GRPC_CONTROL_PER_DATA 4
#define EG_GRPC_DISCARD_MAX	 (256u << 10) /* bytes that are read while a connection lingers */

/* What an event of our epoll set is about: the first member of each kind. */
enum eg_grpc_watch { EG_GRPC_LISTENER, EG_GRPC_CONN };

struct eg_grpc_listener {
	enum eg_grpc_watch watch;
	struct eg_grpc *grpc;
	int fd; /* -1 none */
	bool tls;
	uint64_t resume_ns; /* accepting pauses until then; 0 accepts */
	char address[EG_TCP_ADDRESS_MAX];
};

struct eg_grpc_bucket {
	uint64_t tokens, at_ns;
};

struct eg_grpc_conn {
	enum eg_grpc_watch watch;
	struct eg_grpc *grpc;
	struct eg_grpc_conn *prev, *next;
	struct eg_grpc_conn *ready_next;
	int fd;
	uint32_t events;      /* that epoll watches for */
	bool ready;	      /* in the list of those that have something to do */
	bool greeted;	      /* his SETTINGS came */
	bool handshaking;     /* TLS */
	bool goaway;	      /* said: no new calls */
	bool lingering;	      /* our side is closed */
	bool dead;	      /* to be taken apart */
	bool faulty;	      /* was counted as an error of the protocol */
	bool headed;	      /* nghttp2 has just sent headers that data will follow */
	bool broken;	      /* and had no memory for those */
	bool blocked;	      /* the socket takes no more */
	uint32_t doom;	      /* an error code of HTTP/2 with which it has to end; 0 none */
	uint64_t deadline_ns; /* UINT64_MAX none */
	nghttp2_session *session;
	struct eg_grpc_session *tls;
	struct eg_grpc_bucket resets, control;
	size_t request_bytes, queue_bytes, discarded;
	struct eg_grpc_call *calls;
	unsigned n_calls;
	uint8_t *pending; /* what the socket did not take; allocated at the first need */
	size_t pending_at, pending_len;
	struct eg_grpc_peer peer, token_peer; /* as the certificate says, and as a token does */
};

struct eg_grpc_message {
	uint8_t *data; /* prefix and message */
	size_t len, cap, sent;
};

enum eg_grpc_stage {
	EG_GRPC_HEAD,	 /* the headers come */
	EG_GRPC_REQUEST, /* the message comes; nobody knows of the call yet */
	EG_GRPC_OPEN,	 /* the method knows it */
	EG_GRPC_ENDED,	 /* nobody knows it any more; the rest of the answer leaves */
};

struct eg_grpc_call {
	struct eg_grpc_conn *conn;
	struct eg_grpc_call *prev, *next;
	const struct eg_grpc_method *method; /* NULL: there is none of that path */
	void *data;
	int32_t id;
	enum eg_grpc_stage stage;
	uint64_t deadline_ns; /* the client's; UINT64_MAX none */
	uint64_t patience_ns; /* ours; UINT64_MAX none */

	/* Of the request. */
	bool post, has_type, bad_encoding, bad_timeout, has_token, bad_token;
	bool closed;   /* the client sends no more */
	bool expired;  /* patience ended; a reset was sent */
	bool oversize; /* a message of ours was too large */
	size_t header_bytes;
	unsigned messages;
	unsigned prefix_len;
	uint8_t prefix[EG_GRPC_PREFIX_BYTES];
	uint32_t wanted; /* bytes of the message that comes */
	struct eg_strbuf request;

	/* Of the answer. */
	bool answered;	/* response headers were handed to nghttp2 */
	bool deferred;	/* nghttp2 waits for us */
	bool concluded; /* and trailers */
	bool spoke;	/* a message got into the queue */
	bool identity;	/* the client is to be told what encoding we take */
	uint16_t status;
	char *text;		       /* encoded; NULL none */
	struct eg_grpc_message *queue; /* a ring that begins at head */
	unsigned queue_cap, head, count;
	uint64_t dropped;
};

struct eg_grpc {
	int epoll_fd;
	struct eg_grpc_listener plain, secure;
	const struct eg_grpc_method *methods;
	size_t n_methods;
	const struct eg_grpc_tls *tls;
	struct eg_grpc_credentials *credentials;
	struct eg_tokens *tokens;
	bool require_auth;
	unsigned max_clients, max_streams, queue;
	uint64_t idle_ns;
	bool draining;
	struct eg_grpc_conn *conns;
	struct eg_grpc_conn *ready, **ready_end;
	uint64_t sweep_ns; /* the earliest deadline; UINT64_MAX none */
	size_t queue_bytes;
	struct eg_grpc_stats stats;
	uint8_t input[EG_GRPC_INPUT];
	uint8_t output[EG_GRPC_OUTPUT + EG_GRPC_FRAME_MAX + 1024];
};

/* ---- server.c ---- */
/* Makes sure that deadlines are looked at by then. */
void eg_grpc_wake_by(struct eg_grpc *g, uint64_t deadline_ns);
/* Takes a connected socket, as if it had been accepted. */
int eg_grpc_adopt(struct eg_grpc *g, int fd, bool tls, const char *address);

/* ---- connection.c ---- */
int eg_grpc_conn_open(struct eg_grpc *g, int fd, bool tls, const char *address) EG_MUST_CHECK;
void eg_grpc_conn_event(struct eg_grpc_conn *c, uint32_t events);
void eg_grpc_conn_flush(struct eg_grpc_conn *c);
/* Has it flushed in this turn, or the next. */
void eg_grpc_conn_touch(struct eg_grpc_conn *c);
/* To be closed with that error; possible from within callbacks of nghttp2. */
void eg_grpc_conn_doom(struct eg_grpc_conn *c, uint32_t error);
/* GOAWAY; it is closed after its last call. */
void eg_grpc_conn_retire(struct eg_grpc_conn *c);
/* Its socket is of no use any more: every call is gone. It is freed at the end of the turn. */
void eg_grpc_conn_kill(struct eg_grpc_conn *c);
void eg_grpc_conn_free(struct eg_grpc_conn *c);
bool eg_grpc_take_token(struct eg_grpc_bucket *b, uint64_t burst, uint64_t per_s);

/* ---- call.c ---- */
struct eg_grpc_call *eg_grpc_call_new(struct eg_grpc_conn *c, int32_t id);
void eg_grpc_call_header(struct eg_grpc_call *call, const char *name, size_t name_len,
			 const char *value, size_t value_len);
void eg_grpc_call_head_done(struct eg_grpc_call *call);
void eg_grpc_call_data(struct eg_grpc_call *call, const uint8_t *data, size_t len);
void eg_grpc_call_half_closed(struct eg_grpc_call *call);
/* Frees it; its method is told if it has not been. */
void eg_grpc_call_free(struct eg_grpc_call *call);
/* Our side's end of a call: its method is told if it knows of it, then as eg_grpc_finish(). */
void eg_grpc_call_end(struct eg_grpc_call *call, enum eg_grpc_status status, const char *text);
/* Its deadline, or our patience, has passed. */
void eg_grpc_call_expire(struct eg_grpc_call *call, uint64_t now_ns);

/* ---- answer.c ---- */
/* Answers by a status of HTTP alone. */
void eg_grpc_answer_http(struct eg_grpc_call *call, const char *status, const char *allow);
/* The trailers, after what is queued. */
void eg_grpc_answer_end(struct eg_grpc_call *call, enum eg_grpc_status status, const char *text);
/* Forgets what has not begun to leave; false: a message has, and must be gone on with. */
bool eg_grpc_answer_drop(struct eg_grpc_call *call);
void eg_grpc_answer_free(struct eg_grpc_call *call);

#endif
