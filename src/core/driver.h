/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a driver is: one const struct in one folder, with a README. A driver translates one
 * measurement interface into channels and readings. It never exits, sleeps, prints, writes to the
 * hardware, knows another driver, or derives watts from joules; wraps, resets and gaps are core's.
 */
#ifndef EG_CORE_DRIVER_H
#define EG_CORE_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "core/channel.h"
#include "core/diag.h"

/* A driver's own state; the driver defines what is inside. */
struct eg_instance;

/* Where readings go. The meter gives one to read(); tests bring their own. */
struct eg_sink {
	void (*put)(struct eg_sink *sink, size_t channel, const struct eg_reading *reading);
};
static inline void eg_sink_put(struct eg_sink *sink, size_t channel, const struct eg_reading *r)
{
	sink->put(sink, channel, r);
}

struct eg_attribute_sink {
	void (*put)(struct eg_attribute_sink *sink, const struct eg_attribute *attribute);
};

/* Options of a driver as data: name, type, default and help feed --help, config and docs. */
enum eg_option_type { EG_OPTION_BOOL, EG_OPTION_U64, EG_OPTION_DOUBLE, EG_OPTION_TEXT };
struct eg_option {
	const char *name; /* unit last: "idle_watts" */
	enum eg_option_type type;
	const char *fallback; /* default, as text; NULL = unset */
	const char *help;
};

/* "no number" and so on, NULL: of the option's type. What range it has is the driver's to say. */
const char *eg_option_wrong(const struct eg_option *o, const char *text);

/* What the user set: "NAME=VALUE" of one driver; unset ones are absent. */
struct eg_setting {
	const char *driver, *name, *value;
};

struct eg_driver_config {
	bool allow_estimates;
	const struct eg_setting *settings;
	size_t n_settings;
	struct eg_diags *diags; /* never NULL in open() */
};
/* The value a user set for driver/name, or NULL. */
const char *eg_setting_get(const struct eg_driver_config *cfg, const char *driver,
			   const char *name);

/* Did the user set a bool option to true? */
bool eg_setting_on(const struct eg_driver_config *cfg, const char *driver, const char *name);

enum eg_maturity { EG_MATURITY_SIMULATED, EG_MATURITY_FAKED, EG_MATURITY_HARDWARE };

struct eg_driver {
	const char *name;
	const char *summary; /* one line: what it measures, by which interface */
	enum eg_source source;
	enum eg_maturity maturity; /* the best it was shown on: simulation, fake, real hardware */
	uint64_t blocking_ns;	   /* longest time read() may take; > 5 ms runs on a worker */
	bool estimator;		   /* makes estimates: opened only where they are allowed */
	const struct eg_option *options; /* ends with name NULL; may be NULL */
	/*
	 * Cheap: is this interface here? 0 yes; -ENODEV no such hardware, -ENOENT library or folder
	 * absent, -EACCES no right to look. Reads nothing slow. `ergon doctor` shows the answer beside
	 * what open() made of it: "here" with no channel is a matter of rights or support, "absent"
	 * one of hardware or kernel.
	 */
	int (*probe)(const struct eg_env *env);
	/*
	 * Finds the channels. 0 with at least one channel; else negative errno, having said why in
	 * cfg->diags (each interface not usable: code, detail, cure). Channels that exist but cannot
	 * be read are left out with a diagnostic of their own; the others stay. env outlives it.
	 */
	int (*open)(const struct eg_env *env, const struct eg_driver_config *cfg,
		    struct eg_instance **ret);
	/* The channels, fixed for the life of the instance; borrowed. */
	size_t (*describe)(const struct eg_instance *inst, const struct eg_channel **ret);
	/*
	 * Reads every channel once and puts the readings (several per channel where the interface
	 * keeps a ring, oldest first; status other than OK for what failed). Allocates nothing.
	 * diags may be NULL; trouble of one channel goes there, once per kind.
	 */
	void (*read)(struct eg_instance *inst, struct eg_sink *sink, struct eg_diags *diags);
	/* Attributes now; may be NULL. Not on the sampling path. */
	void (*attributes)(struct eg_instance *inst, struct eg_attribute_sink *sink);
	/* True when its files may block without bound (eg_fs_may_block); may be NULL. */
	bool (*may_block)(const struct eg_instance *inst);
	/* Bits of EG_FLAG_* that hold now for a channel (throttled, device_lost, ...); may be NULL. */
	uint32_t (*flags)(const struct eg_instance *inst, size_t channel);
	/*
	 * Temperature of a channel's device at the last read, degrees Celsius; -ENODATA unknown. May
	 * be NULL. Windows compare it at their ends (thermal drift).
	 */
	int (*temperature)(const struct eg_instance *inst, size_t channel, double *ret_celsius);
	/*
	 * Power in microwatts that a device's own sensor showed at the last read, for a channel that is
	 * a counter; -ENODATA unknown. May be NULL. It is shown, never integrated.
	 */
	int (*power)(const struct eg_instance *inst, size_t channel, uint64_t *ret_uw);
	void (*close)(struct eg_instance *inst); /* takes NULL */
};

/* The drivers of this build, best first where two measure one account; ends with NULL.
 * Generated by the build (src/drivers/meson.build). */
extern const struct eg_driver *const eg_drivers[];
/* Every driver Ergon knows, also those left out of this build, for `ergon sensors` and `doctor`. */
struct eg_known_driver {
	const char *name, *summary;
	bool built;
};
extern const struct eg_known_driver eg_known_drivers[];

#endif
