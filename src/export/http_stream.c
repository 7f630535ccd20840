/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Endless answers. Each stream has a ring of bytes that the handler fills and libmicrohttpd empties as
 * fast as the client reads; while it is empty the connection sleeps. A full ring costs the slow reader
 * the piece, nobody else anything. The ring grows as it is needed, up to its ceiling.
 */
#include "export/http_internal.h"

#include <string.h>

#define RING_MIN   4096u
#define BLOCK_SIZE 4096 /* of libmicrohttpd's buffer towards HTTP/1.0 clients */

struct eg_http_stream {
	struct eg_http_client *client;
	void (*gone)(void *arg, struct eg_http_stream *s); /* NULL: nobody wants to know any more */
	void *arg;
	char *ring;
	size_t cap, head, len; /* bytes */
	uint64_t dropped;
	bool closed, aborted;
};

/* libmicrohttpd asks for at most max bytes. */
static ssize_t on_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct eg_http_stream *s = cls;
	size_t n;

	if (s->aborted)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (s->len == 0) {
		if (s->closed)
			return MHD_CONTENT_READER_END_OF_STREAM;
		eg_http_suspend(s->client);
		return 0;
	}
	n = EG_MIN(EG_MIN(max, s->len), s->cap - s->head);
	memcpy(buf, s->ring + s->head, n);
	s->head = (s->head + n) % s->cap;
	s->len -= n;
	return (ssize_t)n;
}

struct eg_http_stream *eg_http_stream_open(struct eg_http_request *req, const char *type,
					   void (*gone)(void *arg, struct eg_http_stream *s),
					   void *arg)
{
	struct eg_http_client *c = eg_client_of(req);
	struct eg_http *h = c->listener->http;
	struct eg_http_stream *s = NULL;
	struct MHD_Response *r = NULL;
	bool good = false;

	if (c->state != EG_REQ_HANDLED && c->state != EG_REQ_DEFERRED)
		return NULL;
	if (h->stats.streams < EG_HTTP_STREAMS_MAX) {
		s = calloc(1, sizeof(*s));
		if (s)
			r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_SIZE, on_read,
							      s, NULL);
		good = r && eg_http_common_headers(r, type) &&
		       MHD_queue_response(c->connection, MHD_HTTP_OK, r) == MHD_YES;
		if (r)
			MHD_destroy_response(r);
	}
	if (good) {
		*s = (struct eg_http_stream){.client = c, .gone = gone, .arg = arg};
		c->stream = s;
		c->state = EG_REQ_STREAM;
		h->stats.streams++;
	} else {
		free(s);
		s = NULL;
		h->stats.refused++;
		(void)eg_http_refuse(c, MHD_HTTP_SERVICE_UNAVAILABLE, false);
	}
	if (c->suspended)
		eg_http_wake(c);
	return s;
}

/* Makes room for n bytes more, which fit the ceiling. */
static bool grow(struct eg_http_stream *s, size_t n)
{
	size_t cap = s->cap ? s->cap : RING_MIN, first;
	char *ring;

	while (cap < s->len + n)
		cap *= 2;
	if (cap == s->cap)
		return true;
	ring = malloc(cap);
	if (!ring)
		return false;
	first = EG_MIN(s->len, s->cap - s->head);
	if (s->len) {
		memcpy(ring, s->ring + s->head, first);
		memcpy(ring + first, s->ring, s->len - first);
	}
	free(s->ring);
	s->ring = ring;
	s->cap = cap;
	s->head = 0;
	return true;
}

bool eg_http_stream_write(struct eg_http_stream *s, const char *data, size_t len)
{
	size_t tail, first;

	if (s->closed || s->aborted || len == 0)
		return !s->closed && !s->aborted;
	if (len > EG_HTTP_QUEUE_MAX - s->len || !grow(s, len)) {
		s->dropped++;
		s->client->listener->http->stats.dropped++;
		return false;
	}
	tail = (s->head + s->len) % s->cap;
	first = EG_MIN(len, s->cap - tail);
	memcpy(s->ring + tail, data, first);
	memcpy(s->ring, data + first, len - first);
	s->len += len;
	if (s->client->suspended)
		eg_http_wake(s->client);
	return true;
}

uint64_t eg_http_stream_dropped(const struct eg_http_stream *s)
{
	return s->dropped;
}

void eg_http_stream_close(struct eg_http_stream *s)
{
	if (s->closed)
		return;
	s->closed = true;
	s->gone = NULL;
	if (s->client->suspended)
		eg_http_wake(s->client);
}

void eg_stream_abort(struct eg_http_stream *s)
{
	void (*gone)(void *, struct eg_http_stream *) = s->gone;

	s->aborted = true;
	s->gone = NULL;
	if (gone)
		gone(s->arg, s);
}

void eg_stream_free(struct eg_http_stream *s)
{
	if (!s)
		return;
	s->client->listener->http->stats.streams--;
	eg_stream_abort(s);
	free(s->ring);
	free(s);
}
