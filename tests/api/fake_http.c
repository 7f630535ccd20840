/* SPDX-License-Identifier: Apache-2.0 */
/* See fake_http.h. */
#include "fake_http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

unsigned fake_streams_max = EG_HTTP_STREAMS_MAX;
static unsigned open_streams;

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fake http: %s\n", what);
	abort();
}

static struct fake_request *of(const struct eg_http_request *req)
{
	return (struct fake_request *)(uintptr_t)req;
}

struct fake_request *fake_request(const char *method, const char *target, const char *body,
				  size_t body_len, const struct eg_http_peer *peer)
{
	struct fake_request *f = calloc(1, sizeof(*f));
	const char *q = strchr(target, '?');

	check(f != NULL, "no memory");
	f->path = strndup(target, q ? (size_t)(q - target) : strlen(target));
	f->body = calloc(1, body_len + 1);
	if (body_len)
		memcpy(f->body, body, body_len);
	while (q && *q && f->n_query < FAKE_ARGS_MAX) {
		size_t name = strcspn(++q, "=&"), value = 0;

		f->query[f->n_query].name = strndup(q, name);
		q += name;
		if (*q == '=')
			value = strcspn(++q, "&");
		f->query[f->n_query++].value = strndup(q, value);
		q += value;
	}
	f->group = (gid_t)-1;
	f->req = (struct eg_http_request){.method = method,
					  .path = f->path,
					  .body = f->body,
					  .body_len = body_len,
					  .peer = *peer};
	return f;
}

void fake_header(struct fake_request *f, const char *name, const char *value)
{
	check(f->n_header < FAKE_ARGS_MAX, "too many headers");
	f->header[f->n_header].name = strdup(name);
	f->header[f->n_header++].value = strdup(value);
}

void fake_hang_up(struct fake_request *f)
{
	if (f->stream) {
		check(!f->stream->closed, "hung up a closed stream");
		f->stream->closed = true;
		open_streams--;
		f->stream->gone(f->stream->arg, f->stream);
		return;
	}
	check(f->deferred && !f->answered, "hung up what does not wait");
	f->answered = true;
	f->gone(f->arg, &f->req);
}

void fake_free(struct fake_request *f)
{
	check(f->answered, "never answered");
	for (size_t i = 0; i < f->n_query; i++) {
		free(f->query[i].name);
		free(f->query[i].value);
	}
	for (size_t i = 0; i < f->n_header; i++) {
		free(f->header[i].name);
		free(f->header[i].value);
	}
	if (f->stream) {
		check(f->stream->closed, "a stream is left open");
		eg_strbuf_free(&f->stream->text);
		free(f->stream);
	}
	free(f->path);
	free(f->body);
	free(f->data);
	free(f->allow);
	free(f);
}

/* ---- export/http.h ---- */

const char *eg_http_query(const struct eg_http_request *req, const char *name)
{
	const struct fake_request *f = of(req);

	for (size_t i = 0; i < f->n_query; i++)
		if (strcmp(f->query[i].name, name) == 0)
			return f->query[i].value;
	return NULL;
}

const char *eg_http_header(const struct eg_http_request *req, const char *name)
{
	const struct fake_request *f = of(req);

	for (size_t i = 0; i < f->n_header; i++)
		if (strcasecmp(f->header[i].name, name) == 0)
			return f->header[i].value;
	return NULL;
}

bool eg_http_peer_in_group(const struct eg_http_request *req, gid_t gid)
{
	return of(req)->group == gid || req->peer.gid == gid;
}

void eg_http_reply(struct eg_http_request *req, const struct eg_http_answer *answer)
{
	struct fake_request *f = of(req);

	check(!f->answered, "answered twice");
	check(strlen(answer->data) == answer->len, "length of the answer");
	f->answered = true;
	f->status = answer->status;
	f->retry_after_s = answer->retry_after_s;
	f->type = answer->type;
	f->data = strndup(answer->data, answer->len);
	f->allow = answer->allow ? strdup(answer->allow) : NULL;
}

void eg_http_defer(struct eg_http_request *req,
		   void (*gone)(void *arg, struct eg_http_request *req), void *arg)
{
	struct fake_request *f = of(req);

	check(!f->answered && !f->deferred, "put off too late or twice");
	f->deferred = true;
	f->gone = gone;
	f->arg = arg;
}

struct eg_http_stream *eg_http_stream_open(struct eg_http_request *req, const char *type,
					   void (*gone)(void *arg, struct eg_http_stream *s),
					   void *arg)
{
	struct fake_request *f = of(req);

	if (open_streams >= fake_streams_max) {
		eg_http_reply(req, &(struct eg_http_answer){.status = 503, .data = ""});
		return NULL;
	}
	check(!f->answered, "a stream after the answer");
	f->answered = true;
	f->status = 200;
	f->type = type;
	f->stream = calloc(1, sizeof(*f->stream));
	check(f->stream != NULL, "no memory");
	f->stream->text = EG_STRBUF_INIT(64u << 20);
	f->stream->gone = gone;
	f->stream->arg = arg;
	open_streams++;
	return f->stream;
}

bool eg_http_stream_write(struct eg_http_stream *s, const char *data, size_t len)
{
	check(!s->closed, "write to a closed stream");
	if (s->full || len > EG_HTTP_QUEUE_MAX) {
		s->dropped++;
		return false;
	}
	eg_strbuf_append(&s->text, data, len);
	s->events++;
	return true;
}

uint64_t eg_http_stream_dropped(const struct eg_http_stream *s)
{
	check(!s->closed, "question to a closed stream");
	return s->dropped;
}

void eg_http_stream_close(struct eg_http_stream *s)
{
	check(!s->closed, "closed twice");
	s->closed = true;
	open_streams--;
}
