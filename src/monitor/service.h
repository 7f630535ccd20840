/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service energy.EnergyMonitor on a gRPC server: two methods, and everybody who streams. It sends
 * what it is given; readings are made by one sampler for all of them (program.c, agent).
 */
#ifndef EG_MONITOR_SERVICE_H
#define EG_MONITOR_SERVICE_H

#include <stdbool.h>

#include "grpc/grpc.h"
#include "monitor/encode.h"

#define EG_SERVICE_METHODS 2

/* What a client may see: nothing, readings at most as fresh as a policy says, or all of them. */
enum eg_service_sight { EG_SERVICE_FINE, EG_SERVICE_COARSE, EG_SERVICE_SIGHTS, EG_SERVICE_NONE };

struct eg_service;

struct eg_service_config {
	/* NULL: everybody sees all. */
	enum eg_service_sight (*sight)(void *arg, const struct eg_grpc_peer *peer);
	/* When the number of open streams has changed; NULL: not of interest. */
	void (*streams)(void *arg);
	void *arg;
};

int eg_service_new(const struct eg_service_config *cfg, struct eg_service **ret) EG_MUST_CHECK;
struct eg_service *eg_service_free(struct eg_service *s); /* after the server was closed */
/* Its methods, to be given to eg_grpc_open(). */
void eg_service_methods(struct eg_service *s, struct eg_grpc_method ret[EG_SERVICE_METHODS]);
/* What Health says. Before: not healthy, platform "null". platform is borrowed. */
void eg_service_set_health(struct eg_service *s, bool healthy, const char *platform);
/* A reading for all of this sight who stream; the newest is kept for who comes next. */
void eg_service_publish(struct eg_service *s, enum eg_service_sight sight, const uint8_t *message,
			size_t len);
/* The kept reading is too old for who comes next. */
void eg_service_forget(struct eg_service *s, enum eg_service_sight sight);
size_t eg_service_streams(const struct eg_service *s, enum eg_service_sight sight);

#endif
