/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers. The body is copied once into memory that libmicrohttpd gives back when the client has taken
 * it; all such memory together has a ceiling, because clients that do not read would otherwise hold as
 * many copies as there are connections.
 */
#include "export/http_internal.h"

#include <stdio.h>
#include <string.h>

static const char ALLOWED[] = "GET, HEAD, POST, DELETE";
static const char PLAIN[] = "text/plain; charset=utf-8";

struct body {
	struct eg_http *http;
	size_t len;
	char data[];
};

static void free_body(void *cls)
{
	struct body *b = cls;

	b->http->replies_bytes -= b->len;
	free(b);
}

static bool add(struct MHD_Response *r, const char *name, const char *value)
{
	return MHD_add_response_header(r, name, value) == MHD_YES;
}

bool eg_http_common_headers(struct MHD_Response *r, const char *type)
{
	return add(r, MHD_HTTP_HEADER_CONTENT_TYPE, type ? type : PLAIN) &&
	       add(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
}

static bool add_challenges(struct MHD_Response *r, const struct eg_auth *auth)
{
	return (!eg_auth_has_basic(auth) || add(r, MHD_HTTP_HEADER_WWW_AUTHENTICATE,
						"Basic realm=\"ergon\", charset=\"UTF-8\"")) &&
	       (!eg_auth_has_bearer(auth) ||
		add(r, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer realm=\"ergon\""));
}

static bool add_headers(struct MHD_Response *r, const struct eg_http_client *c,
			const struct eg_http_answer *a)
{
	const struct eg_http *h = c->listener->http;

	if (!eg_http_common_headers(r, a->type))
		return false;
	if (a->allow && !add(r, MHD_HTTP_HEADER_ALLOW, a->allow))
		return false;
	if (a->status == MHD_HTTP_UNAUTHORIZED && !c->listener->local &&
	    !add_challenges(r, h->auth))
		return false;
	if (a->retry_after_s) {
		char text[16];

		snprintf(text, sizeof(text), "%u", a->retry_after_s);
		return add(r, MHD_HTTP_HEADER_RETRY_AFTER, text);
	}
	return true;
}

/* Compressed text where it is wanted and helps; else what came. */
static bool pack(struct eg_http_client *c, const char **data, size_t *len)
{
	struct eg_http *h = c->listener->http;

	if (!eg_gzip_accepted(eg_http_header(&c->req, MHD_HTTP_HEADER_ACCEPT_ENCODING)))
		return false;
	if (!h->gzip && eg_gzip_new(&h->gzip) < 0)
		return false;
	return eg_gzip_pack(h->gzip, *data, *len, data, len) == 0;
}

static struct MHD_Response *make_response(struct eg_http_client *c, const struct eg_http_answer *a)
{
	struct eg_http *h = c->listener->http;
	const char *data = a->data;
	size_t len = a->len;
	bool packable = a->gzip && len > EG_HTTP_GZIP_MIN;
	bool packed = packable && pack(c, &data, &len);
	struct MHD_Response *r;
	struct body *b;

	if (len == 0) {
		r = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	} else {
		b = malloc(sizeof(*b) + len);
		if (!b)
			return NULL;
		b->http = h;
		b->len = len;
		memcpy(b->data, data, len);
		h->replies_bytes += len;
		r = MHD_create_response_from_buffer_with_free_callback_cls(len, b->data, free_body,
									   b);
		if (!r)
			free_body(b);
	}
	if (r && (!add_headers(r, c, a) ||
		  (packable && !add(r, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT_ENCODING)) ||
		  (packed && !add(r, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip")))) {
		MHD_destroy_response(r);
		return NULL;
	}
	return r;
}

/* Gives the response to libmicrohttpd, which owns it from then on. */
static bool queue(struct eg_http_client *c, unsigned status, struct MHD_Response *r)
{
	bool good = r && MHD_queue_response(c->connection, status, r) == MHD_YES;

	if (r)
		MHD_destroy_response(r);
	c->state = good ? EG_REQ_ANSWERED : EG_REQ_ABORTED;
	eg_http_set_deadline(c, eg_clock_real_ns() + EG_HTTP_REPLY_TIMEOUTS * c->idle_ns);
	return good;
}

enum MHD_Result eg_http_refuse(struct eg_http_client *c, unsigned status, bool close)
{
	char line[128];
	struct eg_http_answer a = {.status = status, .data = line};
	struct MHD_Response *r;

	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		a.allow = ALLOWED;
	if (status == MHD_HTTP_TOO_MANY_REQUESTS || status == MHD_HTTP_SERVICE_UNAVAILABLE)
		a.retry_after_s = 1;
	a.len = (size_t)snprintf(line, sizeof(line), "%u %s\n", status,
				 MHD_get_reason_phrase_for(status));
	r = make_response(c, &a);
	if (r && close && !add(r, MHD_HTTP_HEADER_CONNECTION, "close")) {
		MHD_destroy_response(r);
		r = NULL;
	}
	return queue(c, status, r) ? MHD_YES : MHD_NO;
}

void eg_http_reply(struct eg_http_request *req, const struct eg_http_answer *answer)
{
	struct eg_http_client *c = eg_client_of(req);
	struct eg_http *h = c->listener->http;

	if (c->state != EG_REQ_HANDLED && c->state != EG_REQ_DEFERRED)
		return;
	if (answer->len > EG_HTTP_REPLY_SMALL && h->replies_bytes &&
	    answer->len + h->replies_bytes > EG_HTTP_REPLIES_MAX) {
		h->stats.refused++;
		(void)eg_http_refuse(c, MHD_HTTP_SERVICE_UNAVAILABLE, true);
	} else {
		(void)queue(c, answer->status, make_response(c, answer));
	}
	if (c->suspended)
		eg_http_wake(c);
}
