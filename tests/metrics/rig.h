/* SPDX-License-Identifier: Apache-2.0 */
/* Views of machines that do not exist, filled by hand, for the tests of the metrics page. */
#ifndef TESTS_METRICS_RIG_H
#define TESTS_METRICS_RIG_H

#include "codec/metrics.h"

enum { RIG_CHANNELS = 600, RIG_ACCOUNTS = 2048, RIG_ATTRIBUTES = 5000 };
#define RIG_NOW_NS  (5000 * EG_NSEC_PER_SEC)
#define RIG_UNIX_NS (1700000000 * EG_NSEC_PER_SEC)

struct rig {
	struct eg_view v;
	struct eg_channel ch[RIG_CHANNELS];
	struct eg_view_channel vc[RIG_CHANNELS];
	char name[RIG_CHANNELS][EG_CHANNEL_FULL_MAX];
	struct eg_view_account va[RIG_ACCOUNTS];
	struct eg_attribute attribute[RIG_ATTRIBUTES];
	struct eg_device_facts devices;
	struct eg_host_facts host;
	struct eg_agent_facts agent;
};

struct rig *rig_new(void); /* a machine without sensors; free() it */
/* Each returns an index. A channel has an account and one for what is held, as in the meter. */
int rig_channel(struct rig *r, const char *driver, const char *domain, const char *device,
		enum eg_component component, enum eg_source source);
/* The same joules by a second interface: no account. */
int rig_crosscheck(struct rig *r, const char *driver, const char *domain, int of);
/* An account whose device is not here. */
int rig_restored(struct rig *r, const char *channel, const char *device,
		 enum eg_component component, enum eg_provenance provenance, uint64_t uj);
/* A good reading of the channel now: adds energy, sets power. */
void rig_read(struct rig *r, int channel, uint64_t uj, uint64_t uw);
void rig_hold(struct rig *r, int channel, uint64_t uj);
void rig_number(struct rig *r, const char *device, const char *name, double value);
void rig_text(struct rig *r, const char *device, const char *name, const char *text);
/* Time passes. */
void rig_pass(struct rig *r, uint64_t ns);
/* A server with two packages, memory, two GPUs, a chassis sensor, a rail and a device that is gone. */
struct rig *rig_server(void);
/* n channels of one driver with accounts, each with a reading. */
struct rig *rig_many(size_t n);
/* Label texts that break simple writers and readers. */
struct rig *rig_hostile(void);
const struct eg_metrics_options *rig_options(enum eg_metrics_format format, bool everything);

#endif
