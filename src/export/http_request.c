/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request on its way to the handler: what libmicrohttpd's callbacks do. It parses the message; we
 * check what it leaves to its user: framing that proxies could read in two ways, target, method, size,
 * credentials.
 */
#include "export/http_internal.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"

/*
 * libmicrohttpd's first word about a request: its target as it was sent. What is returned is handed to
 * the callbacks below.
 */
void *eg_http_on_uri(void *cls, const char *uri, struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct eg_http_client *c = info ? info->socket_context : NULL;

	if (!c)
		return NULL;
	c->state = EG_REQ_READING;
	c->seen = c->too_large = false;
	c->n_query = 0;
	c->drained = 0;
	c->req = (struct eg_http_request){.method = "", .path = "", .body = ""};
	eg_strbuf_reset(&c->uri);
	eg_strbuf_puts(&c->uri, uri);
	return c;
}

struct framing {
	unsigned lengths, codings, hosts, authorizations;
	bool bad_name;
	const char *length, *coding;
};

static enum MHD_Result count_header(void *cls, enum MHD_ValueKind kind, const char *key,
				    const char *value)
{
	struct framing *f = cls;

	/* "Content-Length : 3" would be a header that only some see. */
	for (const char *k = key; *k; k++)
		f->bad_name |= (unsigned char)*k <= ' ' || *k == 0x7f;
	if (strcasecmp(key, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0) {
		f->lengths++;
		f->length = value ? value : "";
	} else if (strcasecmp(key, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0) {
		f->codings++;
		f->coding = value ? value : "";
	} else if (strcasecmp(key, MHD_HTTP_HEADER_HOST) == 0) {
		f->hosts++;
	} else if (strcasecmp(key, MHD_HTTP_HEADER_AUTHORIZATION) == 0) {
		f->authorizations++;
	}
	return MHD_YES;
}

/* 0, or the status of a message that must not be read on: its end is not certain, or too far off. */
static unsigned check_framing(struct MHD_Connection *connection, const char *version)
{
	struct framing f = {0};
	uint64_t length;

	MHD_get_connection_values(connection, MHD_HEADER_KIND, count_header, &f);
	if (f.bad_name || f.lengths > 1 || f.codings > 1 || (f.lengths && f.codings))
		return MHD_HTTP_BAD_REQUEST;
	if (f.hosts > 1 || (f.hosts == 0 && strcmp(version, MHD_HTTP_VERSION_1_1) == 0))
		return MHD_HTTP_BAD_REQUEST;
	/* Who is it? A proxy may have looked at the other one. */
	if (f.authorizations > 1)
		return MHD_HTTP_BAD_REQUEST;
	/* An old proxy may have passed on a coding that it does not know: RFC 9112, 6.1. */
	if (f.codings && strcmp(version, MHD_HTTP_VERSION_1_1) != 0)
		return MHD_HTTP_BAD_REQUEST;
	if (f.codings && strcasecmp(f.coding, "chunked") != 0)
		return MHD_HTTP_NOT_IMPLEMENTED;
	if (!f.lengths)
		return 0;
	if (eg_parse_u64(f.length, strlen(f.length), &length) < 0)
		return MHD_HTTP_BAD_REQUEST;
	return length > EG_HTTP_BODY_MAX ? MHD_HTTP_CONTENT_TOO_LARGE : 0;
}

/* NULL: no method that we know, 501; "": known, and not allowed here, 405. */
static const char *known_method(const char *method)
{
	static const char *const served[] = {"GET", "HEAD", "POST", "DELETE"};
	static const char *const others[] = {"PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(served); i++)
		if (strcmp(method, served[i]) == 0)
			return served[i];
	for (size_t i = 0; i < EG_ARRAY_SIZE(others); i++)
		if (strcmp(method, others[i]) == 0)
			return "";
	return NULL;
}

/* 0, or the status that refuses the request for what its first line says. */
static unsigned check_target(struct eg_http_client *c, const char *method)
{
	int r = eg_strbuf_error(&c->uri);

	c->req.method = known_method(method);
	if (!c->req.method)
		return MHD_HTTP_NOT_IMPLEMENTED;
	if (r == 0 && *c->req.method)
		r = eg_uri_parse(eg_strbuf_get(&c->uri), &c->text, &c->n_query);
	if (r == -ENOMEM)
		return MHD_HTTP_SERVICE_UNAVAILABLE;
	if (r == -EOVERFLOW)
		return MHD_HTTP_URI_TOO_LONG;
	if (r < 0)
		return MHD_HTTP_BAD_REQUEST;
	c->req.path = eg_strbuf_get(&c->text);
	return *c->req.method ? 0 : MHD_HTTP_METHOD_NOT_ALLOWED;
}

/* Who showed a certificate is known by it for as long as the connection lasts. */
static void look_at_certificate(struct eg_http_client *c)
{
	const union MHD_ConnectionInfo *info;

	if (!c->tls || !eg_tls_wants_client(c->tls) || c->peer.authenticated)
		return;
	info = MHD_get_connection_info(c->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	c->peer.authenticated =
		info && eg_tls_client(info->tls_session, c->peer.user, sizeof(c->peer.user));
}

/* 0, or the status that refuses a TCP client for its credentials. */
static unsigned check_credentials(struct eg_http_client *c)
{
	struct eg_http *h = c->listener->http;

	look_at_certificate(c);
	c->req.peer = c->peer;
	if (c->listener->local || !h->auth || strcmp(c->req.path, EG_HTTP_OPEN_PATH) == 0)
		return 0;
	switch (eg_auth_check(h->auth, eg_http_header(&c->req, MHD_HTTP_HEADER_AUTHORIZATION),
			      eg_clock_real_ns(), c->req.peer.user)) {
	case EG_AUTH_OK:
		c->req.peer.authenticated = true;
		return 0;
	case EG_AUTH_NONE:
		return c->peer.authenticated || !h->require_auth ? 0 : MHD_HTTP_UNAUTHORIZED;
	case EG_AUTH_LATER:
		return MHD_HTTP_TOO_MANY_REQUESTS;
	default:
		return MHD_HTTP_UNAUTHORIZED;
	}
}

/* The first call: headers are there, the body is not. */
static enum MHD_Result on_headers(struct eg_http_client *c, const char *method, const char *version)
{
	unsigned status = check_framing(c->connection, version);

	c->seen = true;
	if (status)
		return eg_http_refuse(c, status, true);
	status = check_target(c, method);
	if (status)
		return eg_http_refuse(c, status, true);
	return MHD_YES;
}

static enum MHD_Result on_body(struct eg_http_client *c, const char *data, size_t *size)
{
	size_t n = *size;

	*size = 0;
	c->drained += n;
	if (!c->too_large) {
		eg_strbuf_append(&c->body, data, n);
		c->too_large = eg_strbuf_error(&c->body) < 0;
		if (c->too_large)
			eg_strbuf_free(&c->body);
	}
	/* The answer can be given only after the body: a client that never ends it gets none. */
	return c->drained > EG_HTTP_DRAIN_MAX ? MHD_NO : MHD_YES;
}

/* The whole request is there. */
static enum MHD_Result on_whole(struct eg_http_client *c)
{
	struct eg_http *h = c->listener->http;
	unsigned status;

	if (c->too_large)
		return eg_http_refuse(c, MHD_HTTP_CONTENT_TOO_LARGE, true);
	status = check_credentials(c);
	if (status)
		return eg_http_refuse(c, status, false);
	c->req.body = eg_strbuf_get(&c->body);
	c->req.body_len = c->body.len;
	h->stats.requests++;
	c->state = EG_REQ_HANDLED;
	eg_http_set_deadline(c, UINT64_MAX);
	h->handler(h->arg, &c->req);
	switch (c->state) {
	case EG_REQ_DEFERRED:
		eg_http_suspend(c);
		return MHD_YES;
	case EG_REQ_STREAM:
	case EG_REQ_ANSWERED:
		return MHD_YES;
	case EG_REQ_HANDLED: /* a handler that forgot to answer */
		return eg_http_refuse(c, MHD_HTTP_INTERNAL_SERVER_ERROR, false);
	default: /* no memory for its answer */
		return MHD_NO;
	}
}

enum MHD_Result eg_http_on_request(void *cls, struct MHD_Connection *connection, const char *url,
				   const char *method, const char *version, const char *data,
				   size_t *size, void **con_cls)
{
	struct eg_http_client *c = *con_cls;

	if (!c || c->state == EG_REQ_ABORTED)
		return MHD_NO;
	if (!c->seen)
		return on_headers(c, method, version);
	if (*size)
		return on_body(c, data, size);
	return c->state == EG_REQ_READING ? on_whole(c) : MHD_NO;
}

void eg_http_on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
			  enum MHD_RequestTerminationCode toe)
{
	struct eg_http_client *c = *con_cls;

	*con_cls = NULL;
	if (!c)
		return;
	c->stream = (eg_stream_free(c->stream), NULL);
	c->state = EG_REQ_NONE;
	eg_strbuf_free(&c->body);
	/* Idle for one time-out at most (libmicrohttpd's), then one for the next request. */
	eg_http_set_deadline(c, eg_clock_real_ns() + 2 * c->idle_ns);
}

void eg_http_abort(struct eg_http_client *c)
{
	if (c->state == EG_REQ_DEFERRED) {
		c->state = EG_REQ_ABORTED;
		if (c->gone)
			c->gone(c->gone_arg, &c->req);
	} else if (c->state == EG_REQ_STREAM) {
		eg_stream_abort(c->stream);
	}
	eg_http_wake(c);
}

const char *eg_http_query(const struct eg_http_request *req, const char *name)
{
	const struct eg_http_client *c = eg_client_of(req);

	return eg_uri_query(&c->text, c->n_query, name);
}

const char *eg_http_query_name(const struct eg_http_request *req, unsigned i)
{
	const struct eg_http_client *c = eg_client_of(req);
	const char *s = eg_strbuf_get(&c->text);

	if (i >= c->n_query)
		return NULL;
	for (unsigned skip = 1 + 2 * i; skip; skip--) /* the path; a name and a value each */
		s += strlen(s) + 1;
	return s;
}

const char *eg_http_header(const struct eg_http_request *req, const char *name)
{
	return MHD_lookup_connection_value(eg_client_of(req)->connection, MHD_HEADER_KIND, name);
}

void eg_http_defer(struct eg_http_request *req,
		   void (*gone)(void *arg, struct eg_http_request *req), void *arg)
{
	struct eg_http_client *c = eg_client_of(req);

	if (c->state != EG_REQ_HANDLED)
		return;
	c->state = EG_REQ_DEFERRED;
	c->gone = gone;
	c->gone_arg = arg;
}
