/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as what a client sends, over the real server and the real API: a Unix socket in a temporary
 * directory, a meter without sensors on a clock of its own. Two clients send halves of the input in turns
 * and hang up; then every deferred answer and stream must be gone.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/api.h"

#define TURNS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct eg_manual_clock clock;
	struct eg_env env;
	struct eg_meter *meter;
	struct eg_view *view;
	struct eg_http *http;
	struct eg_api *api;
	struct eg_config cfg;
	struct sockaddr_un address;
} world;

static const struct eg_config *config(void *arg)
{
	return &world.cfg;
}

static const struct eg_view *view(void *arg, enum eg_access access, bool fresh)
{
	if (fresh) {
		eg_meter_sample(world.meter, false);
		eg_view_take(world.view, world.meter);
	}
	return world.view;
}

static void handle(void *arg, struct eg_http_request *req)
{
	if (strncmp(req->path, "/api/v1", 7) == 0 && (req->path[7] == '/' || !req->path[7]))
		eg_api_handle(world.api, req);
	else
		eg_http_reply(req, &(struct eg_http_answer){.status = 200,
							    .type = "text/plain",
							    .data = req->path,
							    .len = strlen(req->path),
							    .gzip = true});
}

static void must(int r)
{
	if (r < 0)
		abort();
}

static void begin(void)
{
	static const struct eg_driver *const none[] = {NULL};
	static char dir[] = "/tmp/ergon-fuzz-XXXXXX";
	struct eg_strbuf why = EG_STRBUF_INIT(4096);
	struct eg_http_config http = {.socket = world.address.sun_path, .socket_mode = 0600};
	struct eg_meter_config meter = {0};
	struct eg_api_host host = {.env = &world.env,
				   .config = config,
				   .view = view,
				   .socket_gid = (gid_t)-1,
				   .uid = geteuid()};

	world.cfg.energy.currency = "USD";
	world.cfg.access.group = EG_ACCESS_FULL;
	world.cfg.access.others = EG_ACCESS_COARSE;
	world.cfg.access.coarse_interval_ns = EG_NSEC_PER_SEC;
	world.cfg.access.max_windows = 16;
	world.cfg.access.window_expiry_ns = 60 * EG_NSEC_PER_SEC;
	world.cfg.agent.history_ns = 60 * EG_NSEC_PER_SEC;
	world.cfg.agent.interval_ns = EG_NSEC_PER_SEC;
	world.clock = (struct eg_manual_clock){.boot_ns = EG_NSEC_PER_SEC};
	must(eg_env_open(&world.env, NULL));
	world.env.clock = eg_clock_manual(&world.clock);
	must(eg_meter_open(&world.env, none, &meter, &world.meter, NULL));
	must(eg_view_new(world.meter, &world.view));
	view(NULL, EG_ACCESS_FULL, true);
	host.meter = world.meter;
	must(eg_api_new(&host, &world.api));
	if (!mkdtemp(dir))
		abort();
	world.address.sun_family = AF_UNIX;
	snprintf(world.address.sun_path, sizeof(world.address.sun_path), "%s/s", dir);
	must(eg_http_open(&http, handle, NULL, &world.http, &why));
	eg_strbuf_free(&why);
}

static int client(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	must(fd);
	must(connect(fd, (struct sockaddr *)&world.address, sizeof(world.address)));
	return fd;
}

static void turn(void)
{
	world.clock.boot_ns += EG_NSEC_PER_SEC / 2;
	eg_http_run(world.http);
	eg_api_run(world.api);
	view(NULL, EG_ACCESS_FULL, true);
	eg_api_tick(world.api, world.view, world.view);
}

static void swallow(int fd)
{
	char buf[4096];

	while (read(fd, buf, sizeof(buf)) > 0)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct eg_http_stats stats;
	int a, b;

	if (!world.http)
		begin();
	a = client();
	b = client();
	turn();
	(void)!send(a, data, size / 2, MSG_NOSIGNAL);
	turn();
	(void)!send(b, data, size, MSG_NOSIGNAL);
	turn();
	(void)!send(a, data + size / 2, size - size / 2, MSG_NOSIGNAL);
	for (int i = 0; i < 3; i++) {
		turn();
		swallow(a);
		swallow(b);
	}
	close(a);
	close(b);
	for (int i = 0; i < TURNS; i++) {
		turn();
		eg_http_get_stats(world.http, &stats);
		if (!stats.clients)
			break;
	}
	if (stats.clients || stats.streams)
		abort();
	/* Windows that the input began go with time. */
	world.clock.boot_ns += 120 * EG_NSEC_PER_SEC;
	turn();
	if (eg_api_windows(world.api))
		abort();
	return 0;
}
