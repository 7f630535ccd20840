/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the agent's gRPC server share. Nobody else includes this. */
#ifndef EG_AGENT_GRPC_INTERNAL_H
#define EG_AGENT_GRPC_INTERNAL_H

#include <poll.h>

#include "agent/internal.h"
#include "grpc/grpc.h"
#include "grpc/health.h"
#include "grpc/reflection.h"
#include "grpc/tls.h"
#include "monitor/service.h"
#include "monitor/telemetry.h"

#define EG_ENERGY_METHODS 5
#define EG_AGENT_METHODS                                                   \
	(EG_SERVICE_METHODS + EG_ENERGY_METHODS + EG_GRPC_HEALTH_METHODS + \
	 EG_GRPC_REFLECTION_METHODS)

struct eg_energy_stream; /* grpc_energy.c */
struct eg_energy_window;

struct eg_agent_grpc {
	struct agent *agent;
	struct eg_grpc *server;
	struct eg_service *service;
	struct eg_grpc_health *health;
	struct eg_grpc_reflection *reflection;
	struct eg_grpc_method methods[EG_AGENT_METHODS];
	bool serves;
	/* By sight: the stamps of those who see finely are others than of those who see coarsely. */
	struct eg_telemetry *telemetry[EG_SERVICE_SIGHTS];
	struct eg_memory memory;
	uint64_t facts_no;    /* of the attributes that they have */
	uint64_t opened_ns;   /* real time */
	struct eg_view *live; /* of the sample taken for those who stream finely */
	uint64_t sampled_ns;  /* when; interval clock */
	uint64_t monitor_ns;  /* next reading of EnergyMonitor; UINT64_MAX: nobody streams */
	/* ergon.v1.Energy */
	struct eg_energy_stream *streams;
	struct eg_energy_window *windows;
	size_t n_windows;
};

enum eg_access eg_agent_grpc_access(const struct agent *a, const struct eg_grpc_peer *peer);

/* grpc_energy.c: ergon.v1.Energy */
size_t eg_agent_energy_methods(struct eg_agent_grpc *g, struct eg_grpc_method *ret);
/* When it wants a fine sample; UINT64_MAX: it does not. */
uint64_t eg_agent_energy_due_ns(const struct eg_agent_grpc *g);
/* After a fine sample, which is in g->live. */
void eg_agent_energy_fine(struct agent *a);
void eg_agent_energy_coarse(struct agent *a);
bool eg_agent_energy_wants_coarse(const struct eg_agent_grpc *g);
void eg_agent_energy_close(struct eg_agent_grpc *g);

#endif
