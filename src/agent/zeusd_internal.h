/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the API of zeusd share. Nobody else includes this. */
#ifndef EG_AGENT_ZEUSD_INTERNAL_H
#define EG_AGENT_ZEUSD_INTERNAL_H

#include "agent/api_internal.h"
#include "agent/internal.h"

#define EG_ZEUSD_REPLY_MAX    (1u << 20) /* bytes of one answer */
#define EG_ZEUSD_WAITS_MAX    256	 /* requests that wait for a sample; more: 503 */
#define EG_ZEUSD_WAITS_PEER   64	 /* of one peer; more: 429 */
#define EG_ZEUSD_STREAMS_PEER 16

enum eg_zeusd_kind { EG_ZEUSD_GPU, EG_ZEUSD_CPU, EG_ZEUSD_KINDS };

struct eg_zeusd_device {
	unsigned id;
	size_t channel; /* of the view */
	int dram;	/* a CPU's memory; -1 none */
};

/* What clients know the machine by. Found once, for the channels of a meter stay. */
struct eg_zeusd_devices {
	bool found;
	bool estimates; /* as it was then */
	struct eg_zeusd_device *of[EG_ZEUSD_KINDS];
	size_t n[EG_ZEUSD_KINDS];
};

struct eg_zeusd_wait;	/* zeusd.c */
struct eg_zeusd_stream; /* zeusd_stream.c */

struct eg_zeusd {
	struct agent *agent;
	struct eg_http *http;
	bool stopping;
	struct eg_zeusd_devices devices;
	bool waits_for_samples; /* a driver may block, so that a thread takes them */
	bool sampling;		/* one is under way */
	struct eg_zeusd_wait *waits;
	size_t n_waits;
	struct eg_zeusd_stream *streams;
};

/* One request being answered. */
struct eg_zeusd_call {
	struct eg_zeusd *z;
	struct eg_http_request *req;
	enum eg_access access;
	const struct eg_view *v; /* once there is one */
	enum eg_zeusd_kind kind;
	bool named;		      /* the request names its devices */
	bool chosen[EG_CHANNELS_MAX]; /* by place in the list of its kind */
};

/* zeusd_devices.c */
int eg_zeusd_devices_find(struct eg_zeusd_devices *d, const struct eg_view *v,
			  bool estimates) EG_MUST_CHECK;
void eg_zeusd_devices_forget(struct eg_zeusd_devices *d);
/* The account's total; false: it cannot be read now, or never was. */
bool eg_zeusd_uj(const struct eg_view *v, size_t channel, bool estimates, uint64_t *ret_uj);
bool eg_zeusd_mw(const struct eg_view *v, size_t channel, uint64_t *ret_mw);
/* What the device tells beside energy; NULL: it does not. */
const struct eg_attribute *eg_zeusd_attribute(const struct eg_device_facts *facts,
					      const char *device, const char *name);

/* zeusd_routes.c */
void eg_zeusd_handle(void *arg, struct eg_http_request *req);
/* Answers a request that waited; fresh false: its sample will not come. */
void eg_zeusd_resume(struct eg_zeusd *z, struct eg_http_request *req, bool fresh);
void eg_zeusd_fail(struct eg_http_request *req, unsigned status, const char *cure, const char *fmt,
		   ...) EG_PRINTF(4, 5);

/* zeusd.c: has a sample taken, which a resume follows; or answers that it cannot. */
void eg_zeusd_wait(struct eg_zeusd *z, struct eg_http_request *req);

/* zeusd_stream.c */
void eg_zeusd_stream_open(struct eg_zeusd_call *c);
void eg_zeusd_streams_tick(struct eg_zeusd *z, const struct eg_view *fine,
			   const struct eg_view *coarse);
bool eg_zeusd_streams_want_coarse(const struct eg_zeusd *z);
void eg_zeusd_streams_close(struct eg_zeusd *z);

#endif
