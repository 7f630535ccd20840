/* SPDX-License-Identifier: Apache-2.0 */
/* See health.h, and proto/grpc/health/v1/health.proto for the messages. */
#include "grpc/health.h"

#include <errno.h>
#include <string.h>

#include "grpc/pbuf.h"

#define SERVICE_UNKNOWN 3 /* of HealthCheckResponse, in Watch alone */

struct service {
	const char *name;
	enum eg_grpc_serving status;
};

struct watcher {
	struct eg_grpc_call *call;
	const struct service *service; /* NULL: unknown, which is told once */
};

struct eg_grpc_health {
	struct service *services; /* the first is "" */
	size_t n_services;
	struct watcher watchers[EG_GRPC_HEALTH_WATCHERS];
	size_t n_watchers;
};

int eg_grpc_health_new(const char *const *services, size_t n, struct eg_grpc_health **ret)
{
	struct eg_grpc_health *h = calloc(1, sizeof(*h));

	if (h)
		h->services = calloc(n + 1, sizeof(*h->services));
	if (!h || !h->services) {
		free(h);
		return -ENOMEM;
	}
	h->n_services = n + 1;
	h->services[0] = (struct service){"", EG_GRPC_NOT_SERVING};
	for (size_t i = 0; i < n; i++)
		h->services[i + 1] = (struct service){services[i], EG_GRPC_NOT_SERVING};
	*ret = h;
	return 0;
}

struct eg_grpc_health *eg_grpc_health_free(struct eg_grpc_health *h)
{
	if (h)
		free(h->services);
	free(h);
	return NULL;
}

/* The service that a request names; -ENOENT, -EPROTO. */
static int find(const struct eg_grpc_health *h, const void *request, size_t len,
		const struct service **ret)
{
	struct eg_pbuf p = EG_PBUF(request, len);
	struct eg_pbuf_field f;
	char name[EG_GRPC_HEALTH_NAME + 1] = "";
	int r;

	while ((r = eg_pbuf_next(&p, &f)) > 0) {
		if (f.number != 1)
			continue;
		if (!f.bytes)
			return -EPROTO;
		if (f.len > EG_GRPC_HEALTH_NAME || memchr(f.data, '\0', f.len))
			return -ENOENT;
		memcpy(name, f.data, f.len);
		name[f.len] = '\0';
	}
	if (r < 0)
		return r;
	for (size_t i = 0; i < h->n_services; i++)
		if (strcmp(h->services[i].name, name) == 0) {
			*ret = &h->services[i];
			return 0;
		}
	return -ENOENT;
}

static void say(struct eg_grpc_call *call, unsigned status)
{
	const uint8_t message[] = {1 << 3, (uint8_t)status};

	/* Proto3 leaves a zero out. */
	eg_grpc_send(call, message, status ? sizeof(message) : 0);
}

static void check(void *arg, struct eg_grpc_call *call, const void *request, size_t len)
{
	const struct service *s;
	int r = find(arg, request, len, &s);

	if (r < 0) {
		eg_grpc_finish(call, r == -ENOENT ? EG_GRPC_NOT_FOUND : EG_GRPC_INTERNAL,
			       r == -ENOENT ? "there is no such service" :
					      "the request is no HealthCheckRequest");
		return;
	}
	say(call, s->status);
	eg_grpc_finish(call, EG_GRPC_OK, NULL);
}

static void watch(void *arg, struct eg_grpc_call *call, const void *request, size_t len)
{
	struct eg_grpc_health *h = arg;
	const struct service *s = NULL;
	int r = find(h, request, len, &s);

	if (r < 0 && r != -ENOENT) {
		eg_grpc_finish(call, EG_GRPC_INTERNAL, "the request is no HealthCheckRequest");
		return;
	}
	if (h->n_watchers == EG_GRPC_HEALTH_WATCHERS) {
		eg_grpc_finish(call, EG_GRPC_RESOURCE_EXHAUSTED, "too many watch already");
		return;
	}
	h->watchers[h->n_watchers++] = (struct watcher){call, s};
	say(call, s ? (unsigned)s->status : SERVICE_UNKNOWN);
}

static void gone(void *arg, struct eg_grpc_call *call)
{
	struct eg_grpc_health *h = arg;

	for (size_t i = 0; i < h->n_watchers; i++)
		if (h->watchers[i].call == call) {
			h->watchers[i] = h->watchers[--h->n_watchers];
			return;
		}
}

void eg_grpc_health_methods(struct eg_grpc_health *h,
			    struct eg_grpc_method ret[EG_GRPC_HEALTH_METHODS])
{
	ret[0] = (struct eg_grpc_method){
		.path = "/grpc.health.v1.Health/Check", .open = true, .begin = check, .arg = h};
	ret[1] = (struct eg_grpc_method){.path = "/grpc.health.v1.Health/Watch",
					 .open = true,
					 .begin = watch,
					 .gone = gone,
					 .arg = h};
}

static void set_one(struct eg_grpc_health *h, struct service *s, enum eg_grpc_serving status)
{
	if (s->status == status)
		return;
	s->status = status;
	for (size_t i = 0; i < h->n_watchers; i++)
		if (h->watchers[i].service == s)
			say(h->watchers[i].call, status);
}

void eg_grpc_health_set(struct eg_grpc_health *h, const char *service, enum eg_grpc_serving status)
{
	for (size_t i = 0; i < h->n_services; i++)
		if (!service || strcmp(h->services[i].name, service) == 0)
			set_one(h, &h->services[i], status);
}
