/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grpc.health.v1.Health (grpc/doc/health-checking.md) on the gRPC server: Check and Watch, for the server
 * as a whole ("") and for services by name. It needs no credentials, as probes have none.
 */
#ifndef EG_GRPC_HEALTH_H
#define EG_GRPC_HEALTH_H

#include "grpc/grpc.h"

#define EG_GRPC_HEALTH_METHODS	2
#define EG_GRPC_HEALTH_WATCHERS 256 /* calls of Watch; one more: RESOURCE_EXHAUSTED */
#define EG_GRPC_HEALTH_NAME	200 /* bytes of a service's name in a request */

enum eg_grpc_serving {
	EG_GRPC_UNKNOWN_SERVING = 0,
	EG_GRPC_SERVING = 1,
	EG_GRPC_NOT_SERVING = 2,
};

struct eg_grpc_health;
/* services: borrowed names, "" is there anyway. All are NOT_SERVING at first. */
int eg_grpc_health_new(const char *const *services, size_t n,
		       struct eg_grpc_health **ret) EG_MUST_CHECK;
/* After the server that has its methods was closed. Takes NULL. */
struct eg_grpc_health *eg_grpc_health_free(struct eg_grpc_health *h);
/* The entries for the server's table of methods. */
void eg_grpc_health_methods(struct eg_grpc_health *h,
			    struct eg_grpc_method ret[EG_GRPC_HEALTH_METHODS]);
/* service NULL: "" and all of them. Who watches it is told if it is another status than before. */
void eg_grpc_health_set(struct eg_grpc_health *h, const char *service, enum eg_grpc_serving status);

#endif
