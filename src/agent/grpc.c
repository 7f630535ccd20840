/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's gRPC server. While somebody who may see finely streams, the sensors are read at his rate, in
 * between the agent's own ticks; that sample goes to him alone: history, page, ledger and the views of
 * everybody else keep their rhythm. A peer who may see coarsely gets readings of the coarse view, as over
 * HTTP, so that he learns no more here than there.
 */
#include <errno.h>
#include <string.h>

#include "agent/config_keys.h"
#include "agent/grpc_internal.h"

#define LOG	      "grpc"
#define DETAILS_NS    (2 * EG_NSEC_PER_SEC)  /* for devices to tell their names, at the start */
#define FIRST_READ_NS (10 * EG_NSEC_PER_SEC) /* and to be read for the first time */
#define GOODBYE_NS    (100 * EG_NSEC_PER_MSEC)
#define GOODBYE_TURNS 20

/* Of proto/, for reflection: written by the build. */
extern const struct eg_grpc_descriptors eg_agent_descriptors;

static bool is_on(const char *address)
{
	return *address && strcmp(address, "off") != 0;
}

enum eg_access eg_agent_grpc_access(const struct agent *a, const struct eg_grpc_peer *peer)
{
	return peer->authenticated ? a->cfg->access.authenticated : a->cfg->access.anonymous;
}

static enum eg_service_sight sight(void *arg, const struct eg_grpc_peer *peer)
{
	switch (eg_agent_grpc_access(arg, peer)) {
	case EG_ACCESS_FULL:
		return EG_SERVICE_FINE;
	case EG_ACCESS_COARSE:
		return EG_SERVICE_COARSE;
	default:
		return EG_SERVICE_NONE;
	}
}

/* ---- how often, for whom ---- */

static void streams_changed(void *arg)
{
	struct agent *a = arg;
	struct eg_agent_grpc *g = a->grpc;
	size_t fine = eg_service_streams(g->service, EG_SERVICE_FINE);
	size_t coarse = eg_service_streams(g->service, EG_SERVICE_COARSE);
	uint64_t now = eg_clock_ns(&a->env.clock);

	if (!g->serves)
		return;
	if (fine && g->monitor_ns == UINT64_MAX)
		g->monitor_ns = now;
	if (!fine) {
		g->monitor_ns = UINT64_MAX;
		eg_service_forget(g->service, EG_SERVICE_FINE);
	}
	if (!coarse)
		eg_service_forget(g->service, EG_SERVICE_COARSE);
	eg_devices_hurry(a->devices, fine + coarse > 0);
}

uint64_t eg_agent_grpc_due_ns(const struct agent *a)
{
	const struct eg_agent_grpc *g = a->grpc;

	if (!g || !g->serves)
		return UINT64_MAX;
	return EG_MIN(g->monitor_ns, eg_agent_energy_due_ns(g));
}

bool eg_agent_grpc_wants_coarse(const struct agent *a)
{
	const struct eg_agent_grpc *g = a->grpc;

	return g && g->serves &&
	       (eg_service_streams(g->service, EG_SERVICE_COARSE) ||
		eg_agent_energy_wants_coarse(g));
}

/* ---- readings ---- */

static const char *visible_devices(const struct agent *a)
{
	static const char name[] = "CUDA_VISIBLE_DEVICES=";

	for (const char *const *e = a->start->env; e && *e; e++)
		if (strncmp(*e, name, sizeof(name) - 1) == 0)
			return *e + sizeof(name) - 1;
	return NULL;
}

static void quiet(void *arg, enum eg_log_level level, const char *subject, const char *text)
{
}

/* What platform this is shows once devices have told their names, or have not in time. */
static void find_platform(struct agent *a)
{
	struct eg_agent_grpc *g = a->grpc;
	struct eg_device_facts facts = eg_devices_get(a->devices);
	struct eg_telemetry_config cfg = {.env = &a->env,
					  .meter = a->meter,
					  .gpus = a->cfg->grpc.gpus,
					  .visible = visible_devices(a),
					  .cpu_as_primary = a->cfg->grpc.cpu_as_primary};
	uint64_t age_ns = eg_clock_real_ns() - g->opened_ns;

	if (g->telemetry[EG_SERVICE_FINE] || !a->have_view ||
	    (!eg_devices_number(a->devices) && age_ns < DETAILS_NS) ||
	    (age_ns < FIRST_READ_NS && eg_meter_awaits_first(a->meter)))
		return;
	eg_view_take(g->live, a->meter); /* the agent's own may be older than the first reading */
	if (eg_telemetry_new(&cfg, g->live, facts.attribute, facts.n,
			     &g->telemetry[EG_SERVICE_FINE]) < 0)
		return;
	cfg.say = quiet; /* what it notices, the other has said */
	if (eg_telemetry_new(&cfg, g->live, facts.attribute, facts.n,
			     &g->telemetry[EG_SERVICE_COARSE]) < 0) {
		g->telemetry[EG_SERVICE_FINE] = eg_telemetry_free(g->telemetry[EG_SERVICE_FINE]);
		return;
	}
	g->facts_no = eg_devices_number(a->devices);
	eg_grpc_health_set(g->health, NULL, EG_GRPC_SERVING);
	eg_service_set_health(g->service, eg_telemetry_healthy(g->telemetry[EG_SERVICE_FINE]),
			      eg_telemetry_platform(g->telemetry[EG_SERVICE_FINE]));
}

/* A reading of that view to all of this sight. */
static void publish(struct agent *a, enum eg_service_sight who, const struct eg_view *v)
{
	struct eg_agent_grpc *g = a->grpc;
	struct eg_device_facts facts = eg_devices_get(a->devices);
	uint8_t bytes[EG_READING_BYTES_MAX];
	struct eg_telemetry_reading r;
	uint64_t now = eg_clock_ns(&a->env.clock), unix_ns = eg_clock_unix_ns(&a->env.clock);
	ssize_t n;

	if (!g->telemetry[who])
		return;
	if (eg_devices_number(a->devices) != g->facts_no) {
		g->facts_no = eg_devices_number(a->devices);
		for (int i = 0; i < EG_SERVICE_SIGHTS; i++)
			eg_telemetry_attributes(g->telemetry[i], facts.attribute, facts.n, now);
	}
	eg_telemetry_read(g->telemetry[who], v, now, unix_ns, eg_memory_used(&g->memory, now), &r);
	n = eg_encode_reading(&r, bytes);
	if (n > 0)
		eg_service_publish(g->service, who, bytes, (size_t)n);
}

void eg_agent_grpc_coarse(struct agent *a)
{
	struct eg_agent_grpc *g = a->grpc;

	if (!g || !g->serves)
		return;
	find_platform(a);
	if (eg_service_streams(g->service, EG_SERVICE_COARSE))
		publish(a, EG_SERVICE_COARSE, a->coarse);
	eg_agent_energy_coarse(a);
}

/* The next point of the grid after now; those that passed are skipped. */
static uint64_t next_on_grid(uint64_t due_ns, uint64_t now_ns, uint64_t interval_ns)
{
	return due_ns + ((now_ns - EG_MIN(due_ns, now_ns)) / interval_ns + 1) * interval_ns;
}

static void read_sensors(struct agent *a)
{
	struct eg_agent_grpc *g = a->grpc;
	uint64_t now = eg_clock_ns(&a->env.clock);

	if (now < eg_agent_grpc_due_ns(a))
		return;
	g->sampled_ns = now;
	eg_meter_sample(a->meter, a->steered != NULL);
	eg_view_take(g->live, a->meter);
	if (g->monitor_ns <= now) {
		g->monitor_ns = next_on_grid(g->monitor_ns, now, a->cfg->grpc.interval_ns);
		if (g->telemetry[EG_SERVICE_FINE])
			publish(a, EG_SERVICE_FINE, g->live);
	}
	eg_agent_energy_fine(a);
}

void eg_agent_grpc_run(struct agent *a)
{
	struct eg_agent_grpc *g = a->grpc;

	if (!g)
		return;
	eg_grpc_run(g->server);
	if (!g->serves || a->stop)
		return;
	find_platform(a);
	read_sensors(a);
	eg_grpc_run(g->server); /* what was made now leaves now */
}

/* ---- life ---- */

static struct eg_grpc_config server_config(const struct agent *a)
{
	const struct eg_config *c = a->cfg;

	return (struct eg_grpc_config){.listen = is_on(c->grpc.listen) ? c->grpc.listen : "",
				       .tls_listen =
					       is_on(c->grpc.tls_listen) ? c->grpc.tls_listen : "",
				       .tls = &eg_grpc_gnutls,
				       .tls_certificate = c->grpc.tls_certificate,
				       .tls_key = c->grpc.tls_key,
				       .tls_client_ca = c->grpc.tls_client_ca,
				       .token_file = c->grpc.token_file};
}

/* The default port may be another program's; one that was asked for must be had. */
static int open_server(struct agent *a, struct eg_strbuf *why)
{
	struct eg_agent_grpc *g = a->grpc;
	struct eg_grpc_config cfg = server_config(a);
	int r = eg_grpc_open(&cfg, g->methods, EG_AGENT_METHODS, &g->server, why);

	if (r != -EADDRINUSE || *cfg.tls_listen ||
	    !eg_config_is_default(a->source, EG_CONFIG_KEY_grpc_listen))
		return r;
	eg_log(EG_LOG_WARNING, LOG,
	       "no gRPC: another program has %s, the default; cure: --grpc ADDR:PORT, or --grpc off",
	       cfg.listen);
	eg_strbuf_reset(why);
	eg_agent_grpc_close(a);
	return 0;
}

static int open_services(struct agent *a)
{
	static const char *const names[] = {"energy.EnergyMonitor", "ergon.v1.Energy"};
	static const struct eg_grpc_descriptors *const sets[] = {&eg_agent_descriptors,
								 &eg_grpc_own_descriptors};
	struct eg_service_config cfg = {.sight = sight, .streams = streams_changed, .arg = a};
	struct eg_agent_grpc *g = a->grpc;
	struct eg_grpc_method *m = g->methods;
	int r = eg_service_new(&cfg, &g->service);

	if (r == 0)
		r = eg_grpc_health_new(names, EG_ARRAY_SIZE(names), &g->health);
	if (r == 0)
		r = eg_grpc_reflection_new(sets, EG_ARRAY_SIZE(sets), g->methods, EG_AGENT_METHODS,
					   &g->reflection);
	if (r < 0)
		return r;
	eg_service_methods(g->service, m);
	m += EG_SERVICE_METHODS;
	m += eg_agent_energy_methods(g, m);
	eg_grpc_health_methods(g->health, m);
	m += EG_GRPC_HEALTH_METHODS;
	eg_grpc_reflection_methods(g->reflection, m);
	return 0;
}

int eg_agent_grpc_open(struct agent *a, struct eg_strbuf *why)
{
	struct eg_agent_grpc *g;
	int r;

	if (!is_on(a->cfg->grpc.listen) && !is_on(a->cfg->grpc.tls_listen))
		return 0;
	g = a->grpc = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	g->agent = a;
	g->monitor_ns = UINT64_MAX;
	g->opened_ns = eg_clock_real_ns();
	eg_memory_open(&g->memory, &a->env);
	r = eg_view_new(a->meter, &g->live);
	if (r == 0)
		r = open_services(a);
	if (r < 0)
		return r;
	g->serves = true;
	return open_server(a, why);
}

int eg_agent_grpc_reload(struct agent *a, struct eg_strbuf *why)
{
	struct eg_grpc_config cfg = server_config(a);

	return a->grpc ? eg_grpc_reload(a->grpc->server, &cfg, why) : 0;
}

int eg_agent_grpc_fd(const struct agent *a)
{
	return a->grpc ? eg_grpc_fd(a->grpc->server) : -1;
}

uint64_t eg_agent_grpc_timeout_ns(const struct agent *a)
{
	return a->grpc ? eg_grpc_timeout_ns(a->grpc->server) : UINT64_MAX;
}

void eg_agent_grpc_say(const struct agent *a)
{
	const struct eg_agent_grpc *g = a->grpc;

	if (g && *eg_grpc_address(g->server, false))
		eg_log(EG_LOG_INFO, LOG, "gRPC at %s", eg_grpc_address(g->server, false));
	if (g && *eg_grpc_address(g->server, true))
		eg_log(EG_LOG_INFO, LOG, "gRPC with TLS at %s", eg_grpc_address(g->server, true));
}

static void say_goodbye(struct eg_agent_grpc *g)
{
	eg_grpc_health_set(g->health, NULL, EG_GRPC_NOT_SERVING);
	eg_grpc_drain(g->server);
	eg_grpc_run(g->server);
	for (int i = 0; i < GOODBYE_TURNS && !eg_grpc_is_idle(g->server); i++) {
		struct pollfd p = {.fd = eg_grpc_fd(g->server), .events = POLLIN};

		(void)poll(&p, 1, (int)(GOODBYE_NS / EG_NSEC_PER_MSEC / GOODBYE_TURNS));
		eg_grpc_run(g->server);
	}
}

void eg_agent_grpc_close(struct agent *a)
{
	struct eg_agent_grpc *g = a->grpc;

	if (!g)
		return;
	if (g->server && a->have_view)
		say_goodbye(g);
	g->serves = false; /* streams that end now change nothing any more */
	g->server = eg_grpc_close(g->server);
	eg_agent_energy_close(g);
	eg_service_free(g->service);
	eg_grpc_health_free(g->health);
	eg_grpc_reflection_free(g->reflection);
	for (int i = 0; i < EG_SERVICE_SIGHTS; i++)
		eg_telemetry_free(g->telemetry[i]);
	eg_view_free(g->live);
	eg_memory_close(&g->memory);
	free(g);
	a->grpc = NULL;
}
