/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small HTTP server that answers each request with its joules, told by the agent of this machine. No
 * root, and no sensor of its own: it reads the energy page.
 *
 *	cc http_server.c $(pkg-config --cflags --libs libergon) -pthread -o http_server
 *	./http_server 8080 [PAGE] & curl http://127.0.0.1:8080/work?ms=300
 *
 * How a request gets its joules. The page moves once an interval of the agent; windows back to back,
 * ergon_page_window_next(), give what the whole machine used from tick to tick. Between two ticks the
 * power is taken as even, and at each moment it is shared by the requests in flight; while there are
 * none it is nobody's. So requests + the rest = the account, however many run at once, and a request
 * that is shorter than an interval gets its share of one. The joules of a request are known when the
 * first tick after its end is there: the answer goes out at once, and a last line with the joules
 * follows in the same body (chunked).
 *
 * The agent away: requests are served all the same, no figure is made up, and one warning is written. A
 * request of which some time was not measured is told its joules as "at least".
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <ergon/ergon.h>

#define IN_FLIGHT_MAX 256  /* requests; more are not measured */
#define HEAD_MAX      4096 /* bytes of a request */
#define NS	      1000000000ULL

struct request {
	bool used, done, settled, left; /* left: nobody waits for its joules */
	bool partial;		   /* some of its time is in no tick, or in one that knows part */
	uint64_t begin_ns, end_ns; /* CLOCK_BOOTTIME, as the stamps of the page */
	uint64_t shared_ns;	   /* its time until then has been shared out */
	double uj;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t moved; /* a tick was shared out */
	const char *path;
	uint64_t interval_ns;
	bool away, warned;
	struct request request[IN_FLIGHT_MAX];
	double account_uj, requests_uj, rest_uj;
	uint64_t requests, partial;
} server = {.lock = PTHREAD_MUTEX_INITIALIZER, .interval_ns = NS, .away = true};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec;
}

static void sleep_ns(uint64_t ns)
{
	struct timespec ts = {.tv_sec = (time_t)(ns / NS), .tv_nsec = (long)(ns % NS)};

	while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
		;
}

/* ---- sharing out: with the lock held ---- */

static int earlier(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static bool in_flight(const struct request *q, uint64_t a, uint64_t b)
{
	return q->used && q->begin_ns <= a && (!q->done || q->end_ns >= b);
}

/* uj of the time from a to b, in which nothing began or ended. */
static void share_stretch(uint64_t a, uint64_t b, double uj)
{
	size_t n = 0;

	for (size_t i = 0; i < IN_FLIGHT_MAX; i++)
		n += in_flight(&server.request[i], a, b);
	if (n == 0) {
		server.rest_uj += uj;
		return;
	}
	for (size_t i = 0; i < IN_FLIGHT_MAX; i++)
		if (in_flight(&server.request[i], a, b))
			server.request[i].uj += uj / (double)n;
	server.requests_uj += uj;
}

/* What the machine used between two ticks. */
static void share(const struct ergon_page_used *used)
{
	uint64_t edge[2 * IN_FLIGHT_MAX + 2];
	size_t n = 0;

	edge[n++] = used->begin_ns;
	edge[n++] = used->end_ns;
	for (size_t i = 0; i < IN_FLIGHT_MAX; i++) {
		const struct request *q = &server.request[i];

		if (q->used && q->begin_ns > used->begin_ns && q->begin_ns < used->end_ns)
			edge[n++] = q->begin_ns;
		if (q->used && q->done && q->end_ns > used->begin_ns && q->end_ns < used->end_ns)
			edge[n++] = q->end_ns;
	}
	qsort(edge, n, sizeof(edge[0]), earlier);
	for (size_t i = 0; i + 1 < n; i++)
		if (edge[i] < edge[i + 1])
			share_stretch(edge[i], edge[i + 1],
				      (double)used->uj * (double)(edge[i + 1] - edge[i]) /
					      (double)used->duration_ns);
	server.account_uj += (double)used->uj;
	server.partial += used->partial != 0;
	for (size_t i = 0; i < IN_FLIGHT_MAX; i++) {
		struct request *q = &server.request[i];

		if (!q->used || q->begin_ns >= used->end_ns || (q->done && q->settled))
			continue;
		/* Before the first tick, or between the last one of an agent and the first of the next. */
		q->partial |= used->partial || q->shared_ns < used->begin_ns;
		q->shared_ns = used->end_ns;
		if (!q->done || q->end_ns > used->end_ns)
			continue;
		q->settled = true;
		if (q->left)
			q->used = false;
	}
}

/* ---- the thread that follows the page ---- */

static void say_away(bool away, const char *why)
{
	server.away = away;
	if (away && !server.warned)
		fprintf(stderr, "http_server: no energy for now: %s\n", why);
	else if (!away && server.warned)
		fprintf(stderr, "http_server: the agent is back\n");
	server.warned = away;
}

/* One look at the page. The window runs on over an agent that restarts: its totals do too. */
static void follow(ergon_page *page, ergon_page_window *window)
{
	struct ergon_page_used used = ERGON_PAGE_USED_INIT;
	bool live;
	int r = 0;

	if (ergon_page_state(page) != ERGON_PAGE_LIVE)
		r = ergon_page_refresh(page);
	live = ergon_page_state(page) == ERGON_PAGE_LIVE;
	pthread_mutex_lock(&server.lock);
	say_away(!live, r < 0 ? ergon_error_text(r) : "the agent is away");
	server.interval_ns = ergon_page_interval_ns(page);
	if (live) {
		r = ergon_page_window_begin(page, window); /* once: then it runs */
		r = ergon_page_window_peek(page, window, &used);
		/* Only where there was a tick, which the next window begins with. */
		if (r == 0 && used.duration_ns > 0)
			r = ergon_page_window_next(page, window, &used);
		if (r == 0 && used.known && used.duration_ns > 0)
			share(&used);
		pthread_cond_broadcast(&server.moved);
	}
	pthread_mutex_unlock(&server.lock);
}

static void *follow_page(void *arg)
{
	ergon_page_window *window = NULL;
	ergon_page *page = NULL;
	int r;

	(void)arg;
	for (;;) {
		if (!page) {
			r = ergon_page_open(server.path, &page);
			if (r == 0 && ergon_page_window_new(page, &window) < 0)
				abort();
			if (r < 0) {
				pthread_mutex_lock(&server.lock);
				say_away(true, ergon_error_text(r));
				pthread_mutex_unlock(&server.lock);
			}
		}
		if (page)
			follow(page, window);
		sleep_ns(page ? server.interval_ns / 8 : NS / 4);
	}
	return NULL;
}

/* ---- a request ---- */

/* NULL: too many at once; the request is served, its energy is the rest's. */
static struct request *request_begin(void)
{
	struct request *q = NULL;
	uint64_t now;

	pthread_mutex_lock(&server.lock);
	now = now_ns();
	for (size_t i = 0; i < IN_FLIGHT_MAX && (!q || q->used); i++) {
		struct request *r = &server.request[i];

		/* Else one that ended while the agent is away, and that nobody waits for. */
		if (!r->used || (r->left && (!q || r->end_ns < q->end_ns)))
			q = r;
	}
	if (q)
		*q = (struct request){.used = true, .begin_ns = now, .shared_ns = now};
	server.requests++;
	pthread_mutex_unlock(&server.lock);
	return q;
}

static void request_end(struct request *q)
{
	pthread_mutex_lock(&server.lock);
	q->end_ns = now_ns();
	q->done = true;
	pthread_mutex_unlock(&server.lock);
}

/* Waits for the first tick after its end. -ENODATA: the agent is away, its joules are not known. */
static int request_joules(struct request *q, double *ret_uj, bool *ret_partial)
{
	struct timespec until;
	int r = 0;

	pthread_mutex_lock(&server.lock);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += (time_t)(3 * server.interval_ns / NS) + 2;
	while (!q->settled && !server.away && r == 0)
		r = pthread_cond_timedwait(&server.moved, &server.lock, &until);
	r = q->settled ? 0 : -ENODATA;
	if (r == 0) {
		*ret_uj = q->uj;
		*ret_partial = q->partial;
		q->used = false;
	}
	q->left = true; /* a later tick still shares its time out */
	pthread_mutex_unlock(&server.lock);
	return r;
}

/* ---- HTTP, as little of it as will do ---- */

static bool send_all(int fd, const char *text, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		text += sent;
		n -= (size_t)sent;
	}
	return true;
}

/* A line of the body as a chunk of its own; "" ends it. */
__attribute__((format(printf, 2, 3))) static void send_chunk(int fd, const char *format, ...)
{
	char line[512], chunk[600];
	va_list ap;
	int n;

	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	n = snprintf(chunk, sizeof(chunk), "%zx\r\n%s\r\n", strlen(line), line);
	(void)send_all(fd, chunk, (size_t)n);
}

static void send_head(int fd, const char *status)
{
	char head[256];
	int n = snprintf(head, sizeof(head),
			 "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nConnection: close\r\n"
			 "Transfer-Encoding: chunked\r\n\r\n",
			 status);

	(void)send_all(fd, head, (size_t)n);
}

static void send_totals(int fd)
{
	pthread_mutex_lock(&server.lock);
	send_head(fd, "200 OK");
	send_chunk(fd,
		   "account_joules %.6f\nrequest_joules %.6f\nnonrequest_joules %.6f\n"
		   "requests %llu\npartial_ticks %llu\n",
		   server.account_uj / 1e6, server.requests_uj / 1e6, server.rest_uj / 1e6,
		   (unsigned long long)server.requests, (unsigned long long)server.partial);
	send_chunk(fd, "%s", "");
	pthread_mutex_unlock(&server.lock);
}

static void serve_work(int fd, unsigned ms)
{
	struct request *q = request_begin();
	bool partial;
	double uj;

	sleep_ns(ms * (NS / 1000)); /* the work */
	if (q)
		request_end(q);
	send_head(fd, "200 OK");
	send_chunk(fd, "done in %u ms\n", ms);
	if (q && request_joules(q, &uj, &partial) == 0)
		send_chunk(fd, "%.6f J%s, its share of the machine by time in flight\n", uj / 1e6,
			   partial ? " at least" : "");
	else
		send_chunk(fd, "energy unknown\n");
	send_chunk(fd, "%s", "");
}

static void *serve(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char head[HEAD_MAX], target[256] = "";
	struct timeval patience = {.tv_sec = 10};
	size_t n = 0;
	ssize_t got;
	unsigned ms = 0;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	do {
		got = recv(fd, head + n, sizeof(head) - 1 - n, 0);
		n += got > 0 ? (size_t)got : 0;
		head[n] = '\0';
	} while (got > 0 && n < sizeof(head) - 1 && !strstr(head, "\r\n\r\n"));
	if (sscanf(head, "GET %255s", target) != 1) {
		send_head(fd, "400 Bad Request");
		send_chunk(fd, "%s", "");
	} else if (strcmp(target, "/energy") == 0) {
		send_totals(fd);
	} else if (strcmp(target, "/") == 0 ||
		   (sscanf(target, "/work?ms=%5u", &ms) == 1 && ms <= 60000)) {
		serve_work(fd, ms);
	} else {
		send_head(fd, "404 Not Found");
		send_chunk(fd, "%s", "");
	}
	close(fd);
	return NULL;
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(at);
	pthread_attr_t detached;
	pthread_t thread;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: http_server PORT [PAGE]\n");
		return 2;
	}
	at.sin_port = htons((uint16_t)atoi(argv[1]));
	server.path = argc > 2 ? argv[2] : NULL;
	pthread_cond_init(&server.moved, NULL);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    listen(listener, 128) < 0 || getsockname(listener, (struct sockaddr *)&at, &size) < 0 ||
	    pthread_create(&thread, &detached, follow_page, NULL) != 0) {
		perror("http_server");
		return 1;
	}
	printf("listening on http://127.0.0.1:%u\n", ntohs(at.sin_port));
	fflush(stdout);
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0 && pthread_create(&thread, &detached, serve, (void *)(intptr_t)fd) != 0)
			close(fd);
	}
}
