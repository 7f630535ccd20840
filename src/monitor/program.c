/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See program.h. The loop serves and never touches a sensor; the sampler's thread does. The order of the
 * start is the point: it listens and answers Health within milliseconds, whatever the sensors take.
 */
#include "monitor/program.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/env.h"
#include "base/version.h"
#include "core/diag.h"
#include "monitor/sampler.h"
#include "monitor/service.h"

#define SUBJECT	    "monitor"
#define GOODBYE_NS  (200 * EG_NSEC_PER_MSEC) /* for clients to take what is queued, at the end */
#define SENSORS_NS  (600 * EG_NSEC_PER_MSEC) /* for sensors to be closed, at the end */
#define WAIT_MAX_NS (60 * EG_NSEC_PER_SEC)

enum { FAILURE = 1 };

struct program {
	const struct eg_monitor_start *start;
	struct eg_env env;
	bool have_env;
	struct eg_file_clock *steered;
	struct eg_service *service;
	struct eg_grpc *grpc;
	struct eg_grpc_method methods[EG_SERVICE_METHODS];
	struct eg_sampler *sampler;
	int signal_fd;
	bool known, stop;
	int status;
};

static int take_signals(struct program *p)
{
	sigset_t set;

	sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	/* Before any thread: all of them inherit it. */
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	p->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return p->signal_fd < 0 ? -errno : 0;
}

static int open_env(struct program *p)
{
	const char *root = p->start->root, *clock = p->start->clock;
	int r = eg_env_open(&p->env, root);

	if (r < 0) {
		eg_log(EG_LOG_ERROR, SUBJECT, "cannot open the root %s: %s", root ? root : "/",
		       eg_errno_text(r));
		return r;
	}
	p->have_env = true;
	if (!clock)
		return 0;
	r = eg_file_clock_attach(clock, &p->steered);
	if (r < 0) {
		eg_log(EG_LOG_ERROR, SUBJECT, "cannot use the clock %s: %s", clock,
		       eg_errno_text(r));
		return r;
	}
	p->env.clock = eg_clock_file(p->steered);
	return 0;
}

/* "127.0.0.1:50053", "[::1]:50053": of an address with or without brackets, or of a host's name. */
static int address_of(const char *host, uint16_t port, char *ret, size_t cap)
{
	char bare[NI_MAXHOST], number[NI_MAXHOST];
	size_t n = strlen(host);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list;
	bool brackets = n > 2 && host[0] == '[' && host[n - 1] == ']';
	int r;

	if (n == 0 || n >= sizeof(bare))
		return -EINVAL;
	snprintf(bare, sizeof(bare), "%.*s", (int)(brackets ? n - 2 : n), host + brackets);
	if (getaddrinfo(bare, NULL, &hints, &list) != 0)
		return -EINVAL;
	r = getnameinfo(list->ai_addr, list->ai_addrlen, number, sizeof(number), NULL, 0,
			NI_NUMERICHOST);
	if (r == 0)
		snprintf(ret, cap, list->ai_family == AF_INET6 ? "[%s]:%u" : "%s:%u", number,
			 (unsigned)port);
	freeaddrinfo(list);
	return r == 0 ? 0 : -EINVAL;
}

static int open_server(struct program *p)
{
	struct eg_strbuf why = EG_STRBUF_INIT(1024);
	char listen[NI_MAXHOST + 16];
	struct eg_grpc_config cfg = {.listen = listen};
	int r = eg_service_new(&(struct eg_service_config){0}, &p->service);

	if (r < 0)
		return r;
	r = address_of(p->start->bind_address, p->start->port, listen, sizeof(listen));
	if (r < 0) {
		eg_log(EG_LOG_ERROR, SUBJECT, "--bind-address %s is no address of this machine",
		       p->start->bind_address);
		return r;
	}
	eg_service_methods(p->service, p->methods);
	r = eg_grpc_open(&cfg, p->methods, EG_SERVICE_METHODS, &p->grpc, &why);
	if (r < 0)
		eg_log(EG_LOG_ERROR, SUBJECT, "%s",
		       why.len ? eg_strbuf_get(&why) : eg_errno_text(r));
	else
		eg_log(EG_LOG_INFO, SUBJECT,
		       "energy-monitor " EG_VERSION " listens on %s, a reading each %g ms",
		       eg_grpc_address(p->grpc, false), (double)p->start->interval_ns / 1e6);
	eg_strbuf_free(&why);
	return r;
}

/* ---- the loop ---- */

static void take_readings(struct program *p)
{
	uint8_t bytes[EG_READING_BYTES_MAX];
	struct eg_sampler_state st;
	size_t n;

	eg_sampler_state(p->sampler, &st);
	if (st.failed) {
		eg_log(EG_LOG_ERROR, "sensors", "%s", st.why);
		p->status = st.failed;
		p->stop = true;
	}
	if (st.known && !p->known)
		eg_service_set_health(p->service, st.healthy, st.platform);
	p->known = st.known;
	while ((n = eg_sampler_take(p->sampler, bytes)) > 0)
		eg_service_publish(p->service, EG_SERVICE_FINE, bytes, n);
}

static void wait_a_while(struct program *p, uint64_t at_most_ns)
{
	uint64_t left = EG_MIN(eg_grpc_timeout_ns(p->grpc), at_most_ns);
	struct timespec ts = {.tv_sec = (time_t)(left / EG_NSEC_PER_SEC),
			      .tv_nsec = (long)(left % EG_NSEC_PER_SEC)};
	struct pollfd fds[] = {{.fd = eg_grpc_fd(p->grpc), .events = POLLIN},
			       {.fd = p->signal_fd, .events = POLLIN},
			       {.fd = p->sampler ? eg_sampler_fd(p->sampler) : -1,
				.events = POLLIN}};

	(void)ppoll(fds, EG_ARRAY_SIZE(fds), &ts, NULL);
}

static void loop(struct program *p)
{
	struct signalfd_siginfo info;

	while (!p->stop) {
		wait_a_while(p, WAIT_MAX_NS);
		if (read(p->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
			p->stop = true;
		take_readings(p);
		eg_grpc_run(p->grpc);
	}
}

/* ---- the end ---- */

/* Whoever does not take his last messages in time loses them. */
static void say_goodbye(struct program *p)
{
	uint64_t end = eg_clock_real_ns() + GOODBYE_NS, now;

	eg_grpc_drain(p->grpc);
	eg_grpc_run(p->grpc);
	while (!eg_grpc_is_idle(p->grpc) && (now = eg_clock_real_ns()) < end) {
		wait_a_while(p, EG_MIN(end - now, 20 * EG_NSEC_PER_MSEC));
		eg_grpc_run(p->grpc);
	}
}

static void close_all(struct program *p)
{
	struct eg_sampler_state st = {0};

	if (p->sampler)
		eg_sampler_state(p->sampler, &st);
	if (p->grpc && p->sampler)
		say_goodbye(p);
	p->grpc = eg_grpc_close(p->grpc);
	eg_service_free(p->service);
	if (!eg_sampler_stop(p->sampler, SENSORS_NS)) {
		eg_log(EG_LOG_WARNING, SUBJECT, "a sensor hangs and is left behind");
		_exit(p->status);
	}
	if (p->sampler)
		eg_log(EG_LOG_INFO, SUBJECT, "stopped after %llu readings, %llu ticks missed",
		       (unsigned long long)st.readings, (unsigned long long)st.missed);
	eg_file_clock_close(p->steered);
	if (p->have_env)
		eg_env_close(&p->env);
	eg_closep(&p->signal_fd);
}

int eg_monitor_run(const struct eg_monitor_start *start)
{
	struct program p = {.start = start, .signal_fd = -1};

	eg_log_setup(start->log_level, false);
	if (take_signals(&p) < 0 || open_env(&p) < 0 || open_server(&p) < 0 ||
	    eg_sampler_start(start, &p.env, p.steered, &p.sampler) < 0)
		p.status = FAILURE;
	if (p.status == 0)
		loop(&p);
	close_all(&p);
	return p.status;
}
