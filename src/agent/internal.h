/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the agent share. Nobody else includes this. */
#ifndef EG_AGENT_INTERNAL_H
#define EG_AGENT_INTERNAL_H

#include <stdatomic.h>

#include "agent/agent.h"
#include "agent/api.h"
#include "agent/notify.h"
#include "agent/page.h"
#include "agent/privilege.h"
#include "base/log.h"
#include "codec/metrics.h"
#include "core/view.h"
#include "export/http.h"
#include "host/stats.h"
#include "store/store.h"

enum { EG_AGENT_ATTRIBUTES_MAX = 1024 };

struct eg_self;	      /* self.c: what the agent costs */
struct eg_watch;      /* watch.c: one log line for each change of state */
struct eg_textfile;   /* textfile.c */
struct eg_devices;    /* devices.c */
struct eg_agent_grpc; /* grpc.c */
struct eg_zeusd;      /* zeusd.c */

struct agent {
	const struct eg_agent_start *start;
	/*
	 * In use, and that of the start: what works after a restart only is still as that says, and
	 * drivers borrow their settings from it.
	 */
	struct eg_config_source *source, *first;
	const struct eg_config *cfg; /* of source */
	struct eg_places places;

	struct eg_env env;
	bool have_env;
	struct eg_file_clock *steered; /* NULL: the machine's own time */
	char boot_id[64];
	struct eg_setting *settings;
	size_t n_settings;
	struct eg_meter *meter;
	/* The newest view, and the one for readers who may see coarsely. */
	struct eg_view *fine, *coarse;
	bool have_view, have_coarse;
	bool coarse_is_new;	    /* renewed since the API's last tick */
	struct eg_account *scratch; /* accounts of the view, one after the other, for the store */

	struct eg_store *store; /* NULL: memory only */
	bool *kept; /* accounts of the views that the store has a place for; NULL: all */
	struct eg_page_writer *page;
	struct eg_http *http;
	struct eg_api *api;
	struct eg_metrics *metrics;
	struct eg_strbuf body; /* of the answer being made */
	struct eg_notify notify;
	struct eg_privilege_state privilege;
	struct eg_self *self;
	struct eg_watch *watch;
	struct eg_textfile *textfile;
	struct eg_devices *devices;
	struct eg_agent_grpc *grpc; /* NULL: off */
	struct eg_zeusd *zeusd;	    /* NULL: off */
	struct eg_stats *stats;	    /* of the machine, for the all-smi rows; NULL: not asked for */
	gid_t socket_gid;
	char host[256];

	int signal_fd, wait_fd; /* wait_fd: everything to wait for, for the steered clock */
	int fds[8];
	size_t n_fds;
	uint64_t interval_ns, next_ns, flush_ns, alive_ns, textfile_ns; /* interval clock */
	struct eg_agent_facts facts;
	uint64_t scrapes;
	uint64_t coarse_next_ns; /* the coarse view is not renewed before, give or take */
	bool stop;
};

/* tick.c */
int eg_agent_first_sample(struct agent *a) EG_MUST_CHECK;
/* Makes the meter's last sample safe, and then visible. */
void eg_agent_publish(struct agent *a);
/* Samples and makes the result safe and visible, in that order. */
void eg_agent_tick(struct agent *a);
/* When the coarse view is to be renewed for a request that waits for it; UINT64_MAX: none does. */
uint64_t eg_agent_coarse_due_ns(const struct agent *a);
/* Tells the API of the views as they are. */
void eg_agent_tell_api(struct agent *a);
const struct eg_view *eg_agent_view(void *arg, enum eg_access access, bool fresh);
void eg_agent_flush(struct agent *a);
/* The accounts of the newest view as the store takes them. */
const struct eg_account *eg_agent_accounts(struct agent *a, size_t *ret_n);

/* serve.c */
void eg_agent_handle(void *arg, struct eg_http_request *req);
/*
 * The /metrics page of a view into a->body. to_collector: for node_exporter's textfile collector, without
 * the families that node_exporter has itself: it would show now our value and now its own.
 */
int eg_agent_metrics(struct agent *a, const struct eg_view *v, enum eg_metrics_format format,
		     bool to_collector) EG_MUST_CHECK;

/* self.c */
int eg_self_new(const struct eg_env *env, struct eg_self **ret) EG_MUST_CHECK;
struct eg_self *eg_self_free(struct eg_self *s);
/* Fills CPU time, memory and energy; the energy at most every ten seconds. */
void eg_self_look(struct eg_self *s, const struct eg_view *v, struct eg_agent_facts *facts);

/* watch.c */
int eg_watch_new(const struct eg_view *v, struct eg_watch **ret) EG_MUST_CHECK;
struct eg_watch *eg_watch_free(struct eg_watch *w);
void eg_watch_look(struct eg_watch *w, const struct eg_view *v, struct eg_meter *m);
void eg_watch_store(struct eg_watch *w, struct eg_store *s);
/* Why a flush of the log failed. */
const char *eg_watch_flush_text(int err);

/* devices.c */
int eg_devices_new(struct eg_meter *m, struct eg_devices **ret) EG_MUST_CHECK;
/* False: a driver hangs, and the meter must be left behind. Takes NULL. */
bool eg_devices_free(struct eg_devices *d);
/* The newest complete reading; the loop's until it asks again. */
struct eg_device_facts eg_devices_get(struct eg_devices *d);
/* Which reading the last get gave: it rises with each new one; 0: none yet. */
uint64_t eg_devices_number(const struct eg_devices *d);
/* Read twice a second, or every ten seconds again. */
void eg_devices_hurry(struct eg_devices *d, bool brisk);

/* grpc.c: energy.EnergyMonitor and ergon.v1.Energy in the loop. All but open and wants take NULL. */
int eg_agent_grpc_open(struct agent *a, struct eg_strbuf *why) EG_MUST_CHECK;
int eg_agent_grpc_reload(struct agent *a, struct eg_strbuf *why) EG_MUST_CHECK;
void eg_agent_grpc_close(struct agent *a);
int eg_agent_grpc_fd(const struct agent *a);		  /* -1 none */
uint64_t eg_agent_grpc_timeout_ns(const struct agent *a); /* real time */
/* When the sensors are to be read for somebody who streams finely; UINT64_MAX: nobody does. */
uint64_t eg_agent_grpc_due_ns(const struct agent *a);
/* Serves, and reads the sensors if that is due. */
void eg_agent_grpc_run(struct agent *a);
/* After the coarse view was renewed. */
void eg_agent_grpc_coarse(struct agent *a);
bool eg_agent_grpc_wants_coarse(const struct agent *a);
void eg_agent_grpc_say(const struct agent *a);

/* zeusd.c: the read-only API of zeusd in the loop. All but open take an agent without. */
int eg_agent_zeusd_open(struct agent *a, struct eg_strbuf *why) EG_MUST_CHECK;
int eg_agent_zeusd_reload(struct agent *a, struct eg_strbuf *why) EG_MUST_CHECK;
void eg_agent_zeusd_close(struct agent *a);
size_t eg_agent_zeusd_fds(const struct agent *a, int fds[2]);
uint64_t eg_agent_zeusd_timeout_ns(const struct agent *a);
void eg_agent_zeusd_run(struct agent *a);
/* After each sample: power to those who stream it. */
void eg_agent_zeusd_tick(struct agent *a);
bool eg_agent_zeusd_wants_coarse(const struct agent *a);
void eg_agent_zeusd_say(const struct agent *a);

/* Lets the last answers of a server out; a client that does not take them keeps nobody. */
void eg_agent_goodbye(struct eg_http *http);

/* textfile.c: writes /metrics for node_exporter's collector, on a thread of its own. */
int eg_textfile_new(const char *path, struct eg_textfile **ret) EG_MUST_CHECK;
struct eg_textfile *eg_textfile_free(struct eg_textfile *t);
/* Hands a page over; false: the last one is still being written. */
bool eg_textfile_offer(struct eg_textfile *t, const char *data, size_t len);

#endif
