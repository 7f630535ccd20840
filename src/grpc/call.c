/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client sends for a call, and what of it is refused before a method hears of it. Where the
 * protocol (grpc/doc/PROTOCOL-HTTP2.md) leaves a choice, the servers of gRPC's own projects were looked
 * at; tests/grpc says at each which of them does the same.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "grpc/internal.h"

struct eg_grpc_call *eg_grpc_call_new(struct eg_grpc_conn *c, int32_t id)
{
	struct eg_grpc_call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	call->conn = c;
	call->id = id;
	call->request = EG_STRBUF_INIT(EG_GRPC_REQUEST_MAX);
	call->deadline_ns = UINT64_MAX;
	call->patience_ns = eg_clock_real_ns() + EG_GRPC_REQUEST_NS;
	eg_grpc_wake_by(c->grpc, call->patience_ns);
	call->next = c->calls;
	if (call->next)
		call->next->prev = call;
	c->calls = call;
	c->n_calls++;
	c->grpc->stats.calls++;
	c->deadline_ns = UINT64_MAX;
	return call;
}

static void forget_request(struct eg_grpc_call *call)
{
	call->conn->request_bytes -= call->request.len;
	eg_strbuf_free(&call->request);
	call->request = EG_STRBUF_INIT(EG_GRPC_REQUEST_MAX);
}

/* Tells the method, if it knows of it. */
static void lose(struct eg_grpc_call *call)
{
	bool known = call->stage == EG_GRPC_OPEN;

	call->stage = EG_GRPC_ENDED;
	if (known && call->method->gone)
		call->method->gone(call->method->arg, call);
}

void eg_grpc_call_free(struct eg_grpc_call *call)
{
	struct eg_grpc_conn *c = call->conn;

	lose(call);
	if (call->prev)
		call->prev->next = call->next;
	else
		c->calls = call->next;
	if (call->next)
		call->next->prev = call->prev;
	c->grpc->stats.calls--;
	if (--c->n_calls == 0) {
		c->deadline_ns = eg_clock_real_ns() + c->grpc->idle_ns;
		eg_grpc_wake_by(c->grpc, c->deadline_ns);
		if (c->goaway)
			eg_grpc_conn_touch(c);
	}
	forget_request(call);
	eg_grpc_answer_free(call);
	free(call);
}

void eg_grpc_call_end(struct eg_grpc_call *call, enum eg_grpc_status status, const char *text)
{
	lose(call);
	forget_request(call);
	eg_grpc_answer_end(call, status, text);
}

static void reset(struct eg_grpc_call *call, uint32_t error, uint64_t now_ns)
{
	lose(call);
	call->expired = true;
	call->deadline_ns = UINT64_MAX;
	call->patience_ns = now_ns + EG_GRPC_RESET_NS;
	eg_grpc_wake_by(call->conn->grpc, call->patience_ns);
	(void)nghttp2_submit_rst_stream(call->conn->session, NGHTTP2_FLAG_NONE, call->id, error);
	eg_grpc_conn_touch(call->conn);
}

void eg_grpc_call_expire(struct eg_grpc_call *call, uint64_t now_ns)
{
	if (call->oversize && call->stage == EG_GRPC_OPEN) {
		eg_grpc_call_end(call, EG_GRPC_RESOURCE_EXHAUSTED, EG_GRPC_OVERSIZE_TEXT);
	} else if (call->expired) {
		/* Not even the reset could leave. */
		eg_grpc_conn_kill(call->conn);
	} else if (call->stage == EG_GRPC_HEAD || call->stage == EG_GRPC_ENDED) {
		reset(call, NGHTTP2_CANCEL, now_ns);
	} else if (!eg_grpc_answer_drop(call)) {
		/* Half a message is out, and the other half may never go. */
		reset(call, NGHTTP2_CANCEL, now_ns);
	} else {
		bool late = call->deadline_ns > now_ns;

		call->deadline_ns = UINT64_MAX;
		eg_grpc_call_end(call, EG_GRPC_DEADLINE_EXCEEDED,
				 late ? "the request took too long to arrive" :
					"the deadline has passed");
	}
}

/* ---- headers ---- */

static bool is(const char *name, size_t len, const char *want)
{
	return len == strlen(want) && memcmp(name, want, len) == 0;
}

static const struct eg_grpc_method *find(const struct eg_grpc *g, const char *path, size_t len)
{
	for (size_t i = 0; i < g->n_methods; i++)
		if (is(path, len, g->methods[i].path))
			return &g->methods[i];
	return NULL;
}

static void take_timeout(struct eg_grpc_call *call, const char *value, size_t len)
{
	uint64_t timeout_ns, now_ns = eg_clock_real_ns();

	if (eg_grpc_parse_timeout(value, len, &timeout_ns) < 0)
		call->bad_timeout = true;
	else if (__builtin_add_overflow(now_ns, timeout_ns, &call->deadline_ns))
		call->deadline_ns = UINT64_MAX;
}

static void take_token(struct eg_grpc_call *call, const char *value, size_t len)
{
	const struct eg_grpc *g = call->conn->grpc;
	char text[EG_TOKEN_MAX + 32]; /* and the scheme */
	bool known = false;

	if (!g->tokens)
		return;
	if (len < sizeof(text) && !memchr(value, '\0', len)) {
		memcpy(text, value, len);
		text[len] = '\0';
		known = eg_tokens_know(g->tokens, text);
		explicit_bzero(text, sizeof(text));
	}
	call->has_token = known;
	call->bad_token |= !known;
}

void eg_grpc_call_header(struct eg_grpc_call *call, const char *name, size_t name_len,
			 const char *value, size_t value_len)
{
	/* Trailers of a client have a meaning to nobody. */
	if (call->stage != EG_GRPC_HEAD)
		return;
	if (is(name, name_len, ":path"))
		call->method = find(call->conn->grpc, value, value_len);
	else if (is(name, name_len, ":method"))
		call->post = is(value, value_len, "POST");
	else if (is(name, name_len, "content-type"))
		call->has_type = eg_grpc_is_content_type(value, value_len);
	else if (is(name, name_len, "grpc-encoding"))
		call->bad_encoding = !is(value, value_len, "identity");
	else if (is(name, name_len, "grpc-timeout"))
		take_timeout(call, value, value_len);
	else if (is(name, name_len, "authorization"))
		take_token(call, value, value_len);
}

static bool may_call(struct eg_grpc_call *call)
{
	const struct eg_grpc *g = call->conn->grpc;

	if (call->method && call->method->open)
		return true;
	if (call->bad_token) {
		eg_grpc_call_end(call, EG_GRPC_UNAUTHENTICATED, "the token is not known");
		return false;
	}
	if (g->require_auth && !eg_grpc_peer(call)->authenticated) {
		eg_grpc_call_end(call, EG_GRPC_UNAUTHENTICATED,
				 g->tokens ? "credentials are needed: authorization: Bearer TOKEN" :
					     "a client certificate is needed");
		return false;
	}
	return true;
}

static void begin(struct eg_grpc_call *call)
{
	const struct eg_grpc_method *m = call->method;
	EG_CLEANUP(eg_strbuf_free) struct eg_strbuf request = EG_STRBUF_INIT(0);

	if (call->deadline_ns != UINT64_MAX && call->deadline_ns <= eg_clock_real_ns()) {
		eg_grpc_call_end(call, EG_GRPC_DEADLINE_EXCEEDED, "the deadline has passed");
		return;
	}
	request = call->request;
	/* Taken away first: the call may end in begin(). */
	call->conn->request_bytes -= request.len;
	call->request = EG_STRBUF_INIT(EG_GRPC_REQUEST_MAX);
	call->stage = EG_GRPC_OPEN;
	call->patience_ns = UINT64_MAX;
	call->conn->grpc->stats.begun++;
	m->begin(m->arg, call, m->message ? NULL : eg_strbuf_get(&request), request.len);
}

void eg_grpc_call_head_done(struct eg_grpc_call *call)
{
	struct eg_grpc_conn *c = call->conn;

	if (call->stage != EG_GRPC_HEAD)
		return;
	call->stage = EG_GRPC_REQUEST;
	c->control.tokens += EG_GRPC_CONTROL_PER_DATA;
	if (call->deadline_ns != UINT64_MAX)
		eg_grpc_wake_by(c->grpc, call->deadline_ns);
	if (call->header_bytes > EG_GRPC_HEADERS_MAX)
		eg_grpc_call_end(call, EG_GRPC_RESOURCE_EXHAUSTED, "more than 16 KiB of headers");
	else if (!call->post)
		eg_grpc_answer_http(call, "405", "POST");
	else if (!call->has_type)
		eg_grpc_answer_http(call, "415", NULL);
	else if (c->goaway)
		eg_grpc_call_end(call, EG_GRPC_UNAVAILABLE, "the server stops");
	else if (!may_call(call))
		return;
	else if (!call->method)
		eg_grpc_call_end(call, EG_GRPC_UNIMPLEMENTED, "there is no such method");
	else if (call->bad_timeout)
		eg_grpc_call_end(call, EG_GRPC_INTERNAL, "grpc-timeout is malformed");
	else if (call->bad_encoding) {
		call->identity = true;
		eg_grpc_call_end(call, EG_GRPC_UNIMPLEMENTED, "the only encoding is identity");
	} else if (call->method->message)
		begin(call);
}

/* ---- messages ---- */

/* False: refused. */
static bool take_prefix(struct eg_grpc_call *call)
{
	call->wanted = eg_grpc_get_length(call->prefix);
	if (call->prefix[0] == 1) {
		call->identity = true;
		eg_grpc_call_end(call, EG_GRPC_UNIMPLEMENTED, "messages must not be compressed");
	} else if (call->prefix[0] != 0) {
		eg_grpc_call_end(call, EG_GRPC_INTERNAL, "no message begins like this");
	} else if (call->wanted > EG_GRPC_REQUEST_MAX) {
		eg_grpc_call_end(call, EG_GRPC_RESOURCE_EXHAUSTED,
				 "the request is larger than 64 KiB");
	} else if (call->messages && !call->method->message) {
		eg_grpc_call_end(call, EG_GRPC_UNIMPLEMENTED, "the method takes one message");
	} else {
		return true;
	}
	return false;
}

static bool take_body(struct eg_grpc_call *call, const uint8_t *data, size_t len)
{
	struct eg_grpc_conn *c = call->conn;

	if (c->request_bytes + len > EG_GRPC_REQUESTS_MAX) {
		eg_grpc_call_end(call, EG_GRPC_RESOURCE_EXHAUSTED, "too many requests at once");
		return false;
	}
	eg_strbuf_append(&call->request, (const char *)data, len);
	if (eg_strbuf_error(&call->request) < 0) {
		eg_grpc_call_end(call, EG_GRPC_RESOURCE_EXHAUSTED, "out of memory");
		return false;
	}
	c->request_bytes += len;
	return true;
}

/* One message of a stream, as soon as it is whole. */
static void deliver(struct eg_grpc_call *call)
{
	EG_CLEANUP(eg_strbuf_free) struct eg_strbuf request = call->request;

	call->conn->request_bytes -= request.len;
	call->request = EG_STRBUF_INIT(EG_GRPC_REQUEST_MAX);
	call->method->message(call->method->arg, call, eg_strbuf_get(&request), request.len);
}

void eg_grpc_call_data(struct eg_grpc_call *call, const uint8_t *data, size_t len)
{
	/* What follows a refusal is thrown away. */
	while (len && (call->stage == EG_GRPC_REQUEST || call->stage == EG_GRPC_OPEN)) {
		size_t n;

		if (call->prefix_len < EG_GRPC_PREFIX_BYTES) {
			call->prefix[call->prefix_len++] = *data++;
			len--;
			if (call->prefix_len < EG_GRPC_PREFIX_BYTES)
				continue;
			if (!take_prefix(call))
				return;
		}
		n = EG_MIN(len, (size_t)call->wanted - call->request.len);
		if (n && !take_body(call, data, n))
			return;
		data += n;
		len -= n;
		if (call->request.len < call->wanted)
			return;
		call->prefix_len = 0;
		call->messages++;
		if (call->method->message)
			deliver(call);
	}
}

void eg_grpc_call_half_closed(struct eg_grpc_call *call)
{
	call->closed = true;
	if (call->stage != EG_GRPC_REQUEST && call->stage != EG_GRPC_OPEN)
		return;
	if (call->prefix_len)
		eg_grpc_call_end(call, EG_GRPC_INTERNAL, "the request ends within a message");
	else if (call->stage == EG_GRPC_OPEN && call->method->end)
		call->method->end(call->method->arg, call);
	else if (call->stage == EG_GRPC_REQUEST && !call->messages)
		eg_grpc_call_end(call, EG_GRPC_UNIMPLEMENTED, "the request has no message");
	else if (call->stage == EG_GRPC_REQUEST)
		begin(call);
}
