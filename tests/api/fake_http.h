/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands for the HTTP server: requests are made by hand, and what the handler answers is recorded.
 * A request that is answered twice, or a stream used after its end, fails the test at once.
 */
#ifndef TEST_API_FAKE_HTTP_H
#define TEST_API_FAKE_HTTP_H

#include "export/http.h"

#define FAKE_ARGS_MAX 8

struct fake_request {
	struct eg_http_request req; /* first: the handler's pointer is ours */
	char *path, *body;
	struct {
		char *name, *value;
	} query[FAKE_ARGS_MAX], header[FAKE_ARGS_MAX];
	size_t n_query, n_header;
	gid_t group; /* the peer's only one */

	/* The answer. */
	bool answered, deferred;
	unsigned status, retry_after_s;
	char *data, *allow;
	const char *type;
	struct eg_http_stream *stream;

	void (*gone)(void *arg, struct eg_http_request *req);
	void *arg;
};

struct eg_http_stream {
	struct eg_strbuf text; /* what has come */
	unsigned events;
	bool full, closed;
	uint64_t dropped;
	void (*gone)(void *arg, struct eg_http_stream *s);
	void *arg;
};

/* target: path and query, not encoded. body NULL: none. */
struct fake_request *fake_request(const char *method, const char *target, const char *body,
				  size_t body_len, const struct eg_http_peer *peer);
void fake_header(struct fake_request *f, const char *name, const char *value);
/* The client hangs up: of a request that waits, or of a stream. */
void fake_hang_up(struct fake_request *f);
/* Only of requests that were answered, hung up, or whose stream has ended. */
void fake_free(struct fake_request *f);
extern unsigned fake_streams_max; /* more: 503; 0 none */

#endif
