/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection: bytes of its socket in and out of nghttp2, and a bound on what its client may cost.
 * In a turn at most EG_GRPC_INPUT bytes of it are read and about EG_GRPC_OUTPUT written. What the socket
 * does not take stays in a buffer of its own, and nghttp2 is asked for no more until it has left.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "grpc/internal.h"

#define NSEC_PER_TOKEN(per_s) (EG_NSEC_PER_SEC / (per_s))

/* ---- what a client costs ---- */

bool eg_grpc_take_token(struct eg_grpc_bucket *b, uint64_t burst, uint64_t per_s)
{
	if (b->tokens == 0 || b->tokens > burst) {
		uint64_t now_ns = eg_clock_real_ns();
		uint64_t more = (now_ns - b->at_ns) / NSEC_PER_TOKEN(per_s);

		b->at_ns += more * NSEC_PER_TOKEN(per_s);
		b->tokens = EG_MIN(b->tokens + more, burst);
	}
	if (b->tokens == 0)
		return false;
	b->tokens--;
	return true;
}

void eg_grpc_conn_touch(struct eg_grpc_conn *c)
{
	struct eg_grpc *g = c->grpc;

	if (c->ready || c->dead)
		return;
	c->ready = true;
	c->ready_next = NULL;
	*g->ready_end = c;
	g->ready_end = &c->ready_next;
}

void eg_grpc_conn_doom(struct eg_grpc_conn *c, uint32_t error)
{
	if (!c->doom)
		c->doom = error;
	eg_grpc_conn_touch(c);
}

static int is_over(struct eg_grpc_conn *c)
{
	eg_grpc_conn_doom(c, NGHTTP2_ENHANCE_YOUR_CALM);
	return NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* ---- callbacks of nghttp2 ---- */

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *arg)
{
	struct eg_grpc_conn *c = arg;

	if (hd->type == NGHTTP2_RST_STREAM &&
	    !eg_grpc_take_token(&c->resets, EG_GRPC_RESETS_BURST, EG_GRPC_RESETS_PER_S))
		return is_over(c);
	if (hd->type != NGHTTP2_HEADERS && (hd->type != NGHTTP2_DATA || hd->length == 0) &&
	    !eg_grpc_take_token(&c->control, EG_GRPC_CONTROL_BURST, EG_GRPC_CONTROL_PER_S))
		return is_over(c);
	return 0;
}

static struct eg_grpc_call *call_of(nghttp2_session *session, int32_t id)
{
	return id ? nghttp2_session_get_stream_user_data(session, id) : NULL;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	static const nghttp2_extpri in_turns = {.urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY,
						.inc = 1};
	struct eg_grpc_conn *c = arg;
	int32_t id = frame->hd.stream_id;
	struct eg_grpc_call *call;

	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
		call = call_of(session, id);
		if (call)
			call->header_bytes = 0;
		return 0;
	}
	call = eg_grpc_call_new(c, id);
	if (!call)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	(void)nghttp2_session_set_stream_user_data(session, id, call);
	/* The streams of a connection share it frame by frame, whatever the client would like. */
	(void)nghttp2_session_change_extpri_stream_priority(session, id, &in_turns, 1);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *arg)
{
	struct eg_grpc_conn *c = arg;
	struct eg_grpc_call *call = call_of(session, frame->hd.stream_id);

	if (!call)
		return 0;
	call->header_bytes += name_len + value_len + 32;
	/* An entry of the table costs its sender one byte (an "HPACK bomb"). */
	if (call->header_bytes > EG_GRPC_HEADERS_BOMB)
		return is_over(c);
	if (call->header_bytes <= EG_GRPC_HEADERS_MAX)
		eg_grpc_call_header(call, (const char *)name, name_len, (const char *)value,
				    value_len);
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct eg_grpc_conn *c = arg;
	struct eg_grpc_call *call;

	if (frame->hd.type == NGHTTP2_SETTINGS && !c->greeted) {
		c->greeted = true;
		if (!c->n_calls) {
			c->deadline_ns = eg_clock_real_ns() + c->grpc->idle_ns;
			eg_grpc_wake_by(c->grpc, c->deadline_ns);
		}
	}
	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	call = call_of(session, frame->hd.stream_id);
	if (!call)
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS)
		eg_grpc_call_head_done(call);
	if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		eg_grpc_call_half_closed(call);
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t len, void *arg)
{
	struct eg_grpc_call *call = call_of(session, id);

	if (call)
		eg_grpc_call_data(call, data, len);
	return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
	struct eg_grpc_call *call = call_of(session, id);

	if (call) {
		(void)nghttp2_session_set_stream_user_data(session, id, NULL);
		eg_grpc_call_free(call);
	}
	return 0;
}

static int on_invalid(nghttp2_session *session, const nghttp2_frame *frame, int error, void *arg)
{
	struct eg_grpc_conn *c = arg;

	c->grpc->stats.protocol_errors++;
	c->faulty = true;
	return 0;
}

static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct eg_grpc_conn *c = arg;
	struct eg_grpc_call *call;

	if (frame->hd.type == NGHTTP2_DATA) {
		c->control.tokens += EG_GRPC_CONTROL_PER_DATA;
	} else if (frame->hd.type == NGHTTP2_RST_STREAM) {
		if (frame->rst_stream.error_code != NGHTTP2_NO_ERROR &&
		    !eg_grpc_take_token(&c->resets, EG_GRPC_RESETS_BURST, EG_GRPC_RESETS_PER_S))
			eg_grpc_conn_doom(c, NGHTTP2_ENHANCE_YOUR_CALM);
	} else if (frame->hd.type == NGHTTP2_HEADERS &&
		   !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
		c->headed = true;
	} else if (frame->hd.type == NGHTTP2_HEADERS) {
		/* Answered before the client had said all: it need not go on (RFC 9113, 8.1). */
		call = call_of(session, frame->hd.stream_id);
		if (call && !call->closed)
			(void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE,
							frame->hd.stream_id, NGHTTP2_NO_ERROR);
	}
	return 0;
}

/* ---- the session ---- */

static int start_session(struct eg_grpc_conn *c)
{
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, c->grpc->max_streams},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, EG_GRPC_HEADERS_MAX},
		{NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
	};
	nghttp2_session_callbacks *cb;

	if (nghttp2_session_callbacks_new(&cb) != 0)
		return -ENOMEM;
	nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_sent);
	if (nghttp2_session_server_new(&c->session, cb, c) != 0)
		c->session = NULL;
	nghttp2_session_callbacks_del(cb);
	if (!c->session)
		return -ENOMEM;
	if (nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings,
				    EG_ARRAY_SIZE(settings)) != 0)
		return -ENOMEM;
	return 0;
}

static void watch(struct eg_grpc_conn *c, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = &c->watch};

	if (c->events == events)
		return;
	c->events = events;
	if (epoll_ctl(c->grpc->epoll_fd, EPOLL_CTL_MOD, c->fd, &ev) < 0)
		eg_grpc_conn_kill(c);
}

static void rewatch(struct eg_grpc_conn *c)
{
	bool write = c->blocked, read = true;

	if (c->dead)
		return;
	if (c->tls && c->handshaking)
		write = c->grpc->tls->wants_write(c->tls);
	/* Who does not take our answers is not asked for more questions. */
	else if (c->blocked && c->session &&
		 nghttp2_session_get_outbound_queue_size(c->session) > EG_GRPC_BACKLOG)
		read = false;
	watch(c, EPOLLRDHUP | (read ? EPOLLIN : 0u) | (write ? EPOLLOUT : 0u));
}

int eg_grpc_conn_open(struct eg_grpc *g, int fd, bool tls, const char *address)
{
	struct eg_grpc_conn *c = calloc(1, sizeof(*c));
	struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP};
	int r = 0;

	if (!c)
		return -ENOMEM;
	c->watch = EG_GRPC_CONN;
	c->grpc = g;
	c->fd = fd;
	c->events = ev.events;
	ev.data.ptr = &c->watch;
	c->peer.tls = tls;
	(void)eg_copy(c->peer.address, sizeof(c->peer.address), address);
	c->resets = (struct eg_grpc_bucket){EG_GRPC_RESETS_BURST, eg_clock_real_ns()};
	c->control = (struct eg_grpc_bucket){EG_GRPC_CONTROL_BURST, eg_clock_real_ns()};
	c->deadline_ns = eg_clock_real_ns() + EG_GRPC_GREETING_NS;
	if (tls) {
		c->handshaking = true;
		r = g->tls->open(g->credentials, fd, &c->tls);
	} else {
		r = start_session(c);
	}
	if (r == 0 && epoll_ctl(g->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		r = -errno;
	if (r < 0) {
		nghttp2_session_del(c->session);
		if (c->tls)
			g->tls->close(c->tls);
		free(c);
		return r;
	}
	c->token_peer = c->peer;
	c->token_peer.authenticated = true;
	(void)eg_copy(c->token_peer.user, sizeof(c->token_peer.user), "token");
	c->next = g->conns;
	if (c->next)
		c->next->prev = c;
	g->conns = c;
	g->stats.clients++;
	g->stats.accepted++;
	eg_grpc_wake_by(g, c->deadline_ns);
	eg_grpc_conn_touch(c);
	return 0;
}

void eg_grpc_conn_kill(struct eg_grpc_conn *c)
{
	if (c->dead)
		return;
	eg_grpc_conn_touch(c);
	c->dead = true;
	while (c->calls)
		eg_grpc_call_free(c->calls);
}

void eg_grpc_conn_free(struct eg_grpc_conn *c)
{
	struct eg_grpc *g = c->grpc;

	if (c->prev)
		c->prev->next = c->next;
	else
		g->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	g->stats.clients--;
	/*
	 * Where there is no memory for the first DATA frame of a stream, nghttp2 (1.52) frees it and leaves it
	 * with the stream, and would free it again here. One session is lost then, rather than the program.
	 */
	if (!c->broken)
		nghttp2_session_del(c->session);
	if (c->tls)
		g->tls->close(c->tls);
	close(c->fd);
	free(c->pending);
	free(c);
}

void eg_grpc_conn_retire(struct eg_grpc_conn *c)
{
	if (c->dead || c->goaway)
		return;
	c->goaway = true;
	if (!c->session) {
		eg_grpc_conn_kill(c);
		return;
	}
	if (nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE,
				  nghttp2_session_get_last_proc_stream_id(c->session),
				  NGHTTP2_NO_ERROR, NULL, 0) != 0)
		eg_grpc_conn_doom(c, NGHTTP2_INTERNAL_ERROR);
	eg_grpc_conn_touch(c);
}

/* ---- the socket ---- */

static ssize_t socket_read(struct eg_grpc_conn *c, void *buf, size_t n)
{
	ssize_t r;

	if (c->tls)
		return c->grpc->tls->read(c->tls, buf, n);
	do
		r = recv(c->fd, buf, n, 0);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

static ssize_t socket_write(struct eg_grpc_conn *c, const void *buf, size_t n)
{
	ssize_t r;

	if (c->tls)
		return c->grpc->tls->write(c->tls, buf, n);
	do
		r = send(c->fd, buf, n, MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

static void receive(struct eg_grpc_conn *c)
{
	struct eg_grpc *g = c->grpc;
	ssize_t used, n = c->lingering ? recv(c->fd, g->input, sizeof(g->input), 0) :
					 socket_read(c, g->input, sizeof(g->input));

	if (n == -EAGAIN || (n < 0 && c->lingering && errno == EAGAIN))
		return;
	if (n <= 0) {
		eg_grpc_conn_kill(c);
		return;
	}
	if (c->lingering) {
		c->discarded += (size_t)n;
		if (c->discarded > EG_GRPC_DISCARD_MAX)
			eg_grpc_conn_kill(c);
	}
	if (c->lingering || c->doom)
		return;
	used = nghttp2_session_mem_recv(c->session, g->input, (size_t)n);
	if (used < 0) {
		eg_grpc_conn_doom(c, used == NGHTTP2_ERR_NOMEM	 ? NGHTTP2_INTERNAL_ERROR :
				     used == NGHTTP2_ERR_FLOODED ? NGHTTP2_ENHANCE_YOUR_CALM :
								   NGHTTP2_PROTOCOL_ERROR);
	}
	/* What TLS has unpacked already shows on no descriptor. */
	if (nghttp2_session_want_write(c->session) || (c->tls && g->tls->has_more(c->tls)))
		eg_grpc_conn_touch(c);
}

static void shake_hands(struct eg_grpc_conn *c)
{
	const struct eg_grpc_tls *tls = c->grpc->tls;
	int r = tls->handshake(c->tls);

	if (r == 0) {
		c->handshaking = false;
		c->peer.authenticated = tls->client(c->tls, c->peer.user, sizeof(c->peer.user));
		r = start_session(c);
		eg_grpc_conn_touch(c);
	}
	if (r < 0 && r != -EAGAIN) {
		c->grpc->stats.protocol_errors += r == -EPROTO;
		eg_grpc_conn_kill(c);
	}
}

void eg_grpc_conn_event(struct eg_grpc_conn *c, uint32_t events)
{
	if (c->dead)
		return;
	if (events & EPOLLOUT) {
		c->blocked = false;
		eg_grpc_conn_touch(c);
	}
	if (c->handshaking) {
		shake_hands(c);
		rewatch(c);
	} else if (events & EPOLLIN) {
		receive(c);
	} else if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
		eg_grpc_conn_kill(c);
	}
}

/* True: all of it has left. */
static bool write_out(struct eg_grpc_conn *c, const uint8_t *data, size_t len, size_t *ret_sent)
{
	size_t sent = 0;

	while (sent < len) {
		ssize_t n = socket_write(c, data + sent, len - sent);

		if (n == -EAGAIN) {
			c->blocked = true;
			break;
		}
		if (n < 0) {
			eg_grpc_conn_kill(c);
			break;
		}
		sent += (size_t)n;
	}
	*ret_sent = sent;
	return sent == len;
}

static bool write_pending(struct eg_grpc_conn *c)
{
	size_t sent;
	bool all = write_out(c, c->pending + c->pending_at, c->pending_len - c->pending_at, &sent);

	c->pending_at += sent;
	if (all)
		c->pending_at = c->pending_len = 0;
	return all;
}

static void keep_pending(struct eg_grpc_conn *c, const uint8_t *data, size_t len)
{
	if (!c->pending)
		c->pending = malloc(sizeof(c->grpc->output));
	if (!c->pending) {
		eg_grpc_conn_kill(c);
		return;
	}
	memcpy(c->pending, data, len);
	c->pending_at = 0;
	c->pending_len = len;
}

/* Returns false when there is no more to be had of nghttp2, or no place for it. */
static bool write_frames(struct eg_grpc_conn *c)
{
	struct eg_grpc *g = c->grpc;
	size_t len = 0, sent;

	while (len < EG_GRPC_OUTPUT) {
		const uint8_t *data;
		ssize_t n;

		c->headed = false;
		n = nghttp2_session_mem_send(c->session, &data);
		if (n < 0 || (size_t)n > sizeof(g->output) - len) {
			c->broken = n < 0 && c->headed;
			eg_grpc_conn_kill(c);
			return false;
		}
		if (n == 0)
			break;
		memcpy(g->output + len, data, (size_t)n);
		len += (size_t)n;
	}
	if (!write_out(c, g->output, len, &sent) && !c->dead)
		keep_pending(c, g->output + sent, len - sent);
	return len >= EG_GRPC_OUTPUT && !c->dead && !c->blocked;
}

/* Our side is closed, and the peer's end awaited: closing at once could destroy what is under way. */
static void linger(struct eg_grpc_conn *c)
{
	c->lingering = true;
	/* Not at our wish: he did something wrong, or too much. */
	if ((c->doom || !c->goaway) && !c->faulty)
		c->grpc->stats.protocol_errors++;
	while (c->calls)
		eg_grpc_call_free(c->calls);
	c->deadline_ns = eg_clock_real_ns() + EG_GRPC_LINGER_NS;
	eg_grpc_wake_by(c->grpc, c->deadline_ns);
	if (c->tls)
		c->grpc->tls->bye(c->tls);
	if (shutdown(c->fd, SHUT_WR) < 0)
		eg_grpc_conn_kill(c);
	else
		watch(c, EPOLLIN | EPOLLRDHUP);
}

/* The server stops: what is open ends, after what is queued for it. */
static void end_calls(struct eg_grpc_conn *c)
{
	for (struct eg_grpc_call *call = c->calls; call; call = call->next)
		if (call->stage == EG_GRPC_REQUEST || call->stage == EG_GRPC_OPEN)
			eg_grpc_call_end(call, EG_GRPC_UNAVAILABLE, "the server stops");
}

void eg_grpc_conn_flush(struct eg_grpc_conn *c)
{
	bool doomed = c->doom != 0, more = false;

	if (c->dead || c->lingering)
		return;
	if (!c->session || c->blocked) {
		if (doomed)
			eg_grpc_conn_kill(c);
		rewatch(c);
		return;
	}
	if (doomed)
		(void)nghttp2_session_terminate_session(c->session, c->doom);
	else if (c->grpc->draining)
		end_calls(c);
	if (c->pending_at == c->pending_len || write_pending(c))
		more = write_frames(c);
	if (c->dead)
		return;
	if (doomed && c->blocked) {
		eg_grpc_conn_kill(c);
		return;
	}
	if (more)
		eg_grpc_conn_touch(c);
	else if (!c->blocked && (doomed || (c->goaway && !c->calls) ||
				 (!nghttp2_session_want_read(c->session) &&
				  !nghttp2_session_want_write(c->session)))) {
		linger(c);
		return;
	}
	if (c->tls && c->grpc->tls->has_more(c->tls))
		receive(c);
	rewatch(c);
}
