/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client gets: response headers with the first message, messages from a ring of buffers that are
 * kept for the next ones, trailers. nghttp2 asks for bytes when both windows have room, and gets up to
 * one frame of them, so that messages that had to wait share frames.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "grpc/internal.h"

#define QUEUE_FIRST 4  /* messages of a new ring */
#define MESSAGE_MIN 64 /* bytes of a new buffer */

/* Names and values are copied by nghttp2. */
#define NV(n, v, len)                                     \
	((nghttp2_nv){.name = (uint8_t *)(uintptr_t)(n),  \
		      .namelen = sizeof(n) - 1,           \
		      .value = (uint8_t *)(uintptr_t)(v), \
		      .valuelen = (len)})
#define NV_TEXT(n, v) NV(n, v, strlen(v))

/* ---- the queue ---- */

static struct eg_grpc_message *at(struct eg_grpc_call *call, unsigned i)
{
	return &call->queue[(call->head + i) % call->queue_cap];
}

static void release(struct eg_grpc_call *call, struct eg_grpc_message *m)
{
	call->conn->queue_bytes -= m->cap;
	call->conn->grpc->queue_bytes -= m->cap;
	free(m->data);
	*m = (struct eg_grpc_message){0};
}

static void pop(struct eg_grpc_call *call)
{
	struct eg_grpc_message *m = at(call, 0);

	if (m->cap > EG_GRPC_KEEP_BYTES)
		release(call, m);
	call->count--;
	/* Back to the start when it is empty: a reader who keeps up needs one buffer. */
	call->head = call->count ? (call->head + 1) % call->queue_cap : 0;
}

/* The oldest that has not begun to leave. The one before it, which has, takes its place. */
static void drop_oldest(struct eg_grpc_call *call)
{
	struct eg_grpc_message *first = at(call, 0), *second, spare;

	if (first->sent) {
		if (call->count == 1)
			return;
		second = at(call, 1);
		spare = *second;
		*second = *first;
		*first = spare;
	}
	pop(call);
	call->dropped++;
	call->conn->grpc->stats.dropped++;
}

/* Room for one more in the ring: it doubles up to the limit, plus one that is on its way. */
static int make_room(struct eg_grpc_call *call)
{
	unsigned max = call->conn->grpc->queue;
	unsigned cap = EG_MIN(EG_MAX(2 * call->queue_cap, (unsigned)QUEUE_FIRST), max + 1);
	struct eg_grpc_message *queue;

	while (call->count && call->count - (at(call, 0)->sent > 0) >= max)
		drop_oldest(call);
	if (call->count < call->queue_cap)
		return 0;
	queue = calloc(cap, sizeof(*queue));
	if (!queue)
		return -ENOMEM;
	for (unsigned i = 0; i < call->count; i++)
		queue[i] = *at(call, i);
	free(call->queue);
	call->queue = queue;
	call->queue_cap = cap;
	call->head = 0;
	return 0;
}

static bool fits(const struct eg_grpc_call *call, size_t more)
{
	return call->conn->queue_bytes + more <= EG_GRPC_QUEUED_MAX &&
	       call->conn->grpc->queue_bytes + more <= EG_GRPC_QUEUES_MAX;
}

static void release_spare(struct eg_grpc_call *call)
{
	for (unsigned i = call->count; i < call->queue_cap; i++)
		release(call, at(call, i));
}

/* A buffer of that size at the end of the ring; where memory is short, in place of older messages. */
static int make_buffer(struct eg_grpc_call *call, size_t need)
{
	struct eg_grpc_message *m = at(call, call->count);
	size_t cap = MESSAGE_MIN;

	if (m->cap >= need)
		return 0;
	while (cap < need && cap < EG_GRPC_KEEP_BYTES)
		cap *= 2;
	cap = EG_MAX(cap, need);
	if (!fits(call, cap))
		release_spare(call);
	while (!fits(call, cap) && call->count > (at(call, 0)->sent > 0)) {
		drop_oldest(call);
		release_spare(call);
	}
	m = at(call, call->count);
	release(call, m);
	m->data = fits(call, cap) ? malloc(cap) : NULL;
	if (!m->data)
		return -ENOMEM;
	m->cap = cap;
	call->conn->queue_bytes += cap;
	call->conn->grpc->queue_bytes += cap;
	return 0;
}

static int put(struct eg_grpc_call *call, const void *message, size_t len)
{
	struct eg_grpc_message *m;
	int r = make_room(call);

	if (r == 0)
		r = make_buffer(call, len + EG_GRPC_PREFIX_BYTES);
	if (r < 0)
		return r;
	m = at(call, call->count);
	eg_grpc_put_prefix(m->data, (uint32_t)len);
	if (len)
		memcpy(m->data + EG_GRPC_PREFIX_BYTES, message, len);
	m->len = len + EG_GRPC_PREFIX_BYTES;
	m->sent = 0;
	call->count++;
	return 0;
}

/* ---- to nghttp2 ---- */

static size_t put_trailers(struct eg_grpc_call *call, nghttp2_nv nv[2], char number[8])
{
	snprintf(number, 8, "%u", (unsigned)call->status);
	nv[0] = NV_TEXT("grpc-status", number);
	if (!call->text)
		return 1;
	nv[1] = NV_TEXT("grpc-message", call->text);
	return 2;
}

/* The trailers, which windows do not hold back. */
static void conclude(struct eg_grpc_call *call)
{
	nghttp2_nv nv[2];
	char number[8];
	size_t n = put_trailers(call, nv, number);

	call->concluded = true;
	if (nghttp2_submit_trailer(call->conn->session, call->id, nv, n) != 0)
		eg_grpc_conn_doom(call->conn, NGHTTP2_INTERNAL_ERROR);
}

static ssize_t on_read(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t length,
		       uint32_t *data_flags, nghttp2_data_source *source, void *user_data)
{
	struct eg_grpc_call *call = source->ptr;
	size_t n = 0;

	while (call->count && n < length) {
		struct eg_grpc_message *m = at(call, 0);
		size_t part = EG_MIN(m->len - m->sent, length - n);

		memcpy(buf + n, m->data + m->sent, part);
		n += part;
		m->sent += part;
		if (m->sent < m->len)
			break;
		pop(call);
		call->conn->grpc->stats.messages++;
	}
	if (!call->count && call->stage == EG_GRPC_ENDED && !call->concluded) {
		*data_flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
		conclude(call);
	} else if (n == 0) {
		call->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	return (ssize_t)n;
}

/* Response headers and what follows; without a message they are the trailers as well. */
static void answer(struct eg_grpc_call *call)
{
	nghttp2_data_provider provider = {.source.ptr = call, .read_callback = on_read};
	bool only = call->count == 0;
	nghttp2_nv nv[5];
	char number[8];
	size_t n = 0;

	call->answered = true;
	call->concluded = only;
	nv[n++] = NV_TEXT(":status", "200");
	nv[n++] = NV_TEXT("content-type", "application/grpc");
	if (call->identity)
		nv[n++] = NV_TEXT("grpc-accept-encoding", "identity");
	if (only)
		n += put_trailers(call, nv + n, number);
	if (nghttp2_submit_response(call->conn->session, call->id, nv, n,
				    only ? NULL : &provider) != 0)
		eg_grpc_conn_doom(call->conn, NGHTTP2_INTERNAL_ERROR);
}

static void push(struct eg_grpc_call *call)
{
	if (!call->answered) {
		answer(call);
	} else if (!call->count) {
		conclude(call);
	} else if (call->deferred) {
		call->deferred = false;
		if (nghttp2_session_resume_data(call->conn->session, call->id) != 0)
			eg_grpc_conn_doom(call->conn, NGHTTP2_INTERNAL_ERROR);
	}
	eg_grpc_conn_touch(call->conn);
}

/* ---- for the caller ---- */

void eg_grpc_send(struct eg_grpc_call *call, const void *message, size_t len)
{
	if (call->stage != EG_GRPC_OPEN || call->oversize || call->conn->dead)
		return;
	if (len > EG_GRPC_MESSAGE_MAX) {
		/* Its owner may be in the middle of a loop over its calls: it is told later. */
		call->oversize = true;
		call->patience_ns = 0;
		eg_grpc_wake_by(call->conn->grpc, 0);
		return;
	}
	if (put(call, message, len) < 0) {
		call->dropped++;
		call->conn->grpc->stats.dropped++;
		return;
	}
	call->spoke = true;
	push(call);
}

static char *encode(const char *text)
{
	char out[EG_GRPC_TEXT_MAX];

	return text ? strndup(out, eg_grpc_encode_text(text, out)) : NULL;
}

bool eg_grpc_answer_drop(struct eg_grpc_call *call)
{
	while (call->count > (call->count && at(call, 0)->sent > 0))
		drop_oldest(call);
	return call->count == 0;
}

void eg_grpc_answer_end(struct eg_grpc_call *call, enum eg_grpc_status status, const char *text)
{
	call->stage = EG_GRPC_ENDED;
	if (call->conn->dead)
		return;
	call->status = (uint16_t)status;
	call->text = encode(text); /* no memory: the number says enough */
	call->patience_ns = eg_clock_real_ns() + EG_GRPC_TRAILERS_NS;
	eg_grpc_wake_by(call->conn->grpc, call->patience_ns);
	push(call);
}

void eg_grpc_finish(struct eg_grpc_call *call, enum eg_grpc_status status, const char *text)
{
	if (call->stage != EG_GRPC_OPEN)
		return;
	if (call->oversize)
		eg_grpc_answer_end(call, EG_GRPC_RESOURCE_EXHAUSTED, EG_GRPC_OVERSIZE_TEXT);
	else if (status == EG_GRPC_OK && call->dropped && !call->spoke)
		/* Its only answer was lost: that is no success. */
		eg_grpc_answer_end(call, EG_GRPC_RESOURCE_EXHAUSTED, "out of memory");
	else
		eg_grpc_answer_end(call, status, text);
}

void eg_grpc_answer_http(struct eg_grpc_call *call, const char *status, const char *allow)
{
	nghttp2_nv nv[2] = {NV_TEXT(":status", status)};

	if (allow)
		nv[1] = NV_TEXT("allow", allow);
	call->stage = EG_GRPC_ENDED;
	call->answered = true;
	call->patience_ns = eg_clock_real_ns() + EG_GRPC_TRAILERS_NS;
	eg_grpc_wake_by(call->conn->grpc, call->patience_ns);
	if (nghttp2_submit_response(call->conn->session, call->id, nv, allow ? 2 : 1, NULL) != 0)
		eg_grpc_conn_doom(call->conn, NGHTTP2_INTERNAL_ERROR);
	eg_grpc_conn_touch(call->conn);
}

void eg_grpc_answer_free(struct eg_grpc_call *call)
{
	for (unsigned i = 0; i < call->queue_cap; i++)
		release(call, &call->queue[i]);
	free(call->queue);
	free(call->text);
}

void eg_grpc_set_data(struct eg_grpc_call *call, void *data)
{
	call->data = data;
}

void *eg_grpc_data(const struct eg_grpc_call *call)
{
	return call->data;
}

uint64_t eg_grpc_dropped(const struct eg_grpc_call *call)
{
	return call->dropped;
}

const struct eg_grpc_peer *eg_grpc_peer(const struct eg_grpc_call *call)
{
	return call->has_token ? &call->conn->token_peer : &call->conn->peer;
}
