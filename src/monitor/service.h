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

struct eg_service;

/* streams (may be NULL): called when the number of open streams changes, in the loop's thread. */
int eg_service_new(void (*streams)(void *arg, size_t n), void *arg,
		   struct eg_service **ret) EG_MUST_CHECK;
struct eg_service *eg_service_free(struct eg_service *s); /* after the server was closed */
/* Its methods, to be given to eg_grpc_open(). */
void eg_service_methods(struct eg_service *s, struct eg_grpc_method ret[EG_SERVICE_METHODS]);
/* What Health says. Before: not healthy, platform "null". platform is borrowed. */
void eg_service_set_health(struct eg_service *s, bool healthy, const char *platform);
/* A reading for all who stream; the newest is kept for who comes next. */
void eg_service_publish(struct eg_service *s, const uint8_t *message, size_t len);
/* The kept reading is too old for who comes next. */
void eg_service_forget(struct eg_service *s);
size_t eg_service_streams(const struct eg_service *s);

#endif
