/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server with handlers for the tests, which the scripts beside it drive from outside:
 *
 *     test_server [listen=A:P] [socket=PATH] [mode=0660] [group=G] [cert=F] [key=F] [ca=F] [basic=F]
 *                 [tokens=F] [require=1] [clients=N] [idle=S]
 *
 * It prints its URL and "ready", serves until SIGTERM, and ends with 0. What cannot be opened ends it
 * with 2 and the sentence on standard error.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "export/http.h"

#define HELD_MAX 256
#define BIG_MAX	 (64u << 20)

static struct eg_http *http;
static struct eg_http_config cfg = {.socket_mode = 0660};
static struct eg_http_request *held[HELD_MAX];
static struct eg_http_stream *streams[HELD_MAX];
static unsigned gone_requests, gone_streams, handled;
static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	stop = 1;
}

static void say(struct eg_http_request *req, unsigned status, struct eg_strbuf *text)
{
	struct eg_http_answer a = {.status = status,
				   .type = "text/plain; charset=utf-8",
				   .data = eg_strbuf_get(text),
				   .len = text->len};

	if (status == 405)
		a.allow = "GET";
	eg_http_reply(req, &a);
}

static uint64_t number(struct eg_http_request *req, const char *name, uint64_t otherwise)
{
	const char *s = eg_http_query(req, name);
	uint64_t v;

	return s && eg_parse_u64(s, strlen(s), &v) == 0 ? v : otherwise;
}

static void echo(struct eg_http_request *req, struct eg_strbuf *out)
{
	const char *q = eg_http_query(req, "q"), *x = eg_http_header(req, "x-test");

	eg_strbuf_printf(out, "%s %s q=%s x=%s len=%zu body=", req->method, req->path,
			 q ? q : "(none)", x ? x : "(none)", req->body_len);
	eg_strbuf_append(out, req->body, req->body_len);
	say(req, 200, out);
}

/* Lines of a page of numbers, so that it can be compressed as one. */
static void big(struct eg_http_request *req, struct eg_strbuf *out)
{
	size_t n = EG_MIN(number(req, "n", 1000), (uint64_t)BIG_MAX);
	struct eg_http_answer a = {.status = 200, .type = "text/plain", .gzip = true};
	char *data = malloc(n + 64);
	size_t at = 0;

	if (!data) {
		say(req, 500, out);
		return;
	}
	for (unsigned i = 0; at < n; i++)
		at += (size_t)snprintf(data + at, 64, "ergon_test_total{n=\"%u\"} %u.%03u\n", i,
				       i * 7919, i % 1000);
	a.data = data;
	a.len = n;
	eg_http_reply(req, &a);
	free(data);
}

static void request_gone(void *arg, struct eg_http_request *req)
{
	gone_requests++;
	for (size_t i = 0; i < HELD_MAX; i++)
		if (held[i] == req)
			held[i] = NULL;
}

static void stream_gone(void *arg, struct eg_http_stream *s)
{
	gone_streams++;
	for (size_t i = 0; i < HELD_MAX; i++)
		if (streams[i] == s)
			streams[i] = NULL;
}

static void hold(struct eg_http_request *req)
{
	size_t i = 0;

	while (i < HELD_MAX && held[i])
		i++;
	if (i < HELD_MAX) {
		held[i] = req;
		eg_http_defer(req, request_gone, NULL);
	}
}

static void release(struct eg_http_request *req, struct eg_strbuf *out)
{
	EG_CLEANUP(eg_strbuf_free) struct eg_strbuf text = EG_STRBUF_INIT(4096);
	unsigned n = 0;

	for (size_t i = 0; i < HELD_MAX; i++) {
		struct eg_http_request *h = held[i];

		if (!h)
			continue;
		held[i] = NULL;
		eg_strbuf_reset(&text);
		eg_strbuf_printf(&text, "later %s", eg_http_query(h, "q"));
		say(h, 200, &text);
		n++;
	}
	eg_strbuf_printf(out, "%u", n);
	say(req, 200, out);
}

static void open_stream(struct eg_http_request *req)
{
	struct eg_http_stream *s;
	size_t i = 0;

	while (i < HELD_MAX && streams[i])
		i++;
	s = eg_http_stream_open(req, "text/event-stream", stream_gone, NULL);
	if (s && i < HELD_MAX)
		streams[i] = s;
}

/* ?times=N&n=BYTES: N pieces "NUMBER xxxx...\n" to every stream. Says taken and dropped pieces. */
static void publish(struct eg_http_request *req, struct eg_strbuf *out)
{
	uint64_t times = number(req, "times", 1), n = number(req, "n", 16);
	static uint64_t serial;
	unsigned taken = 0, dropped = 0;
	char *piece = malloc(n + 32);

	for (uint64_t t = 0; piece && t < times; t++) {
		size_t len = (size_t)snprintf(piece, 32, "%010" PRIu64 " ", serial++);

		memset(piece + len, 'x', n > len ? n - len : 0);
		len = EG_MAX(len, n);
		piece[len++] = '\n';
		for (size_t i = 0; i < HELD_MAX; i++)
			if (streams[i])
				eg_http_stream_write(streams[i], piece, len) ? taken++ : dropped++;
	}
	free(piece);
	eg_strbuf_printf(out, "%u %u", taken, dropped);
	say(req, 200, out);
}

static void close_streams(struct eg_http_request *req, struct eg_strbuf *out)
{
	for (size_t i = 0; i < HELD_MAX; i++) {
		if (streams[i])
			eg_http_stream_close(streams[i]);
		streams[i] = NULL;
	}
	say(req, 200, out);
}

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static uint64_t resident_bytes(void)
{
	char line[64] = "";
	uint64_t pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	char *space;

	if (f && fgets(line, sizeof(line), f) && (space = strchr(line, ' ')) &&
	    eg_parse_u64(space + 1, strcspn(space + 1, " "), &pages) < 0)
		pages = 0;
	if (f)
		fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void stats(struct eg_http_request *req, struct eg_strbuf *out)
{
	struct eg_http_stats s;

	eg_http_get_stats(http, &s);
	eg_strbuf_printf(out,
			 "{\"requests\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"clients\":%u,"
			 "\"streams\":%u,\"dropped\":%" PRIu64 ",\"gone_requests\":%u,"
			 "\"gone_streams\":%u,\"handled\":%u,\"fds\":%u,\"rss\":%" PRIu64 "}",
			 s.requests, s.refused, s.clients, s.streams, s.dropped, gone_requests,
			 gone_streams, handled, count_fds(), resident_bytes());
	say(req, 200, out);
}

static void peer(struct eg_http_request *req, struct eg_strbuf *out)
{
	const struct eg_http_peer *p = &req->peer;

	eg_strbuf_printf(out, "local=%d uid=%d gid=%d pid=%d auth=%d user=%s member=%d", p->local,
			 (int)p->uid, (int)p->gid, (int)p->pid, p->authenticated, p->user,
			 eg_http_peer_in_group(req, (gid_t)number(req, "group", UINT32_MAX)));
	say(req, 200, out);
}

/* ?require=0|1, and ?tls=0: as if the configuration had changed. */
static void reload(struct eg_http_request *req, struct eg_strbuf *out)
{
	struct eg_http_config now;
	int r;

	cfg.require_auth = number(req, "require", cfg.require_auth) != 0;
	now = cfg;
	if (!number(req, "tls", 1))
		now.tls_certificate = now.tls_key = now.tls_client_ca = NULL;
	r = eg_http_reload(http, &now, out);

	say(req, r < 0 ? 409 : 200, out);
}

static void handle(void *arg, struct eg_http_request *req)
{
	EG_CLEANUP(eg_strbuf_free) struct eg_strbuf out = EG_STRBUF_INIT(1u << 20);
	const char *p = req->path;

	handled++;
	if (strncmp(p, "/echo", 5) == 0 || strcmp(p, EG_HTTP_OPEN_PATH) == 0)
		echo(req, &out);
	else if (strcmp(p, "/big") == 0)
		big(req, &out);
	else if (strcmp(p, "/defer") == 0)
		hold(req);
	else if (strcmp(p, "/release") == 0)
		release(req, &out);
	else if (strcmp(p, "/stream") == 0)
		open_stream(req);
	else if (strcmp(p, "/publish") == 0)
		publish(req, &out);
	else if (strcmp(p, "/close-streams") == 0)
		close_streams(req, &out);
	else if (strcmp(p, "/stats") == 0)
		stats(req, &out);
	else if (strcmp(p, "/peer") == 0)
		peer(req, &out);
	else if (strcmp(p, "/reload") == 0)
		reload(req, &out);
	else if (strcmp(p, "/status") == 0)
		say(req, (unsigned)number(req, "code", 204), &out);
	else if (strcmp(p, "/forget") != 0)
		say(req, 404, &out);
}

static int take_option(char *arg)
{
	struct {
		const char *name;
		const char **text;
		unsigned *value;
		int base;
	} options[] = {
		{"listen", &cfg.listen, NULL, 0},	 {"socket", &cfg.socket, NULL, 0},
		{"mode", NULL, &cfg.socket_mode, 8},	 {"group", &cfg.socket_group, NULL, 0},
		{"cert", &cfg.tls_certificate, NULL, 0}, {"key", &cfg.tls_key, NULL, 0},
		{"ca", &cfg.tls_client_ca, NULL, 0},	 {"basic", &cfg.basic_auth_file, NULL, 0},
		{"tokens", &cfg.token_file, NULL, 0},	 {"clients", NULL, &cfg.max_clients, 10},
		{"idle", NULL, &cfg.idle_timeout_s, 10},
	};
	char *equals = strchr(arg, '=');

	if (!equals)
		return -EINVAL;
	*equals = '\0';
	if (strcmp(arg, "require") == 0) {
		cfg.require_auth = true;
		return 0;
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(options); i++) {
		if (strcmp(arg, options[i].name) != 0)
			continue;
		if (options[i].text)
			*options[i].text = equals + 1;
		else
			*options[i].value = (unsigned)strtoul(equals + 1, NULL, options[i].base);
		return 0;
	}
	return -EINVAL;
}

int main(int argc, char **argv)
{
	EG_CLEANUP(eg_strbuf_free) struct eg_strbuf why = EG_STRBUF_INIT(4096);
	struct sigaction sa = {.sa_handler = on_signal};
	int r;

	for (int i = 1; i < argc; i++)
		if (take_option(argv[i]) < 0) {
			fprintf(stderr, "what is %s?\n", argv[i]);
			return 64;
		}
	sigaction(SIGTERM, &sa, NULL);
	r = eg_http_open(&cfg, handle, NULL, &http, &why);
	if (r < 0) {
		fprintf(stderr, "%d %s\n", r, eg_strbuf_get(&why));
		return 2;
	}
	printf("%s\nready\n", eg_http_url(http));
	fflush(stdout);
	while (!stop) {
		int fds[2];
		size_t n = eg_http_fds(http, fds);
		struct pollfd p[2];
		uint64_t ns = eg_http_timeout_ns(http);

		for (size_t i = 0; i < n; i++)
			p[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
		/* At least each second, for a signal that came just before. */
		ns = EG_MIN(ns, EG_NSEC_PER_SEC);
		(void)poll(p, n, (int)((ns + EG_NSEC_PER_MSEC - 1) / EG_NSEC_PER_MSEC));
		eg_http_run(http);
	}
	eg_http_close(http);
	return 0;
}
