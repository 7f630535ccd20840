/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scenario describes a simulated machine: which sensors it has, what power flows through each,
 * how each one shows it, and what happens to it when. Written as text (docs/simulator.md), read
 * into plain data here. The scenarios of this folder are part of the program, by name.
 */
#ifndef EG_SIM_SCENARIO_H
#define EG_SIM_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "sim/power.h"

#define EG_SCENARIO_TEXT_MAX	 (256 * 1024) /* bytes of a file */
#define EG_SCENARIO_LINE_MAX	 1024
#define EG_SCENARIO_CHANNELS_MAX 256
#define EG_SCENARIO_EVENTS_MAX	 256
#define EG_SCENARIO_FILES_MAX	 256
#define EG_SCENARIO_CPUS_MAX	 256
#define EG_SIM_ID_MAX		 96

enum eg_sim_kind {
	EG_SIM_RAPL,	     /* powercap zone: energy_uj */
	EG_SIM_PERF,	     /* counter of a perf PMU on one CPU */
	EG_SIM_HWMON,	     /* chip only, no channel of its own */
	EG_SIM_HWMON_ENERGY, /* energyN_input */
	EG_SIM_HWMON_POWER,  /* powerN_input, powerN_average */
	EG_SIM_HWMON_RAIL,   /* inN x currM */
	EG_SIM_BATTERY,
	EG_SIM_CGROUP, /* cpu.stat; its function is processors used, not power */
	EG_SIM_PMU,    /* PMU without events of its own */
};

/* One section of a scenario that something is read from. `id` is the section's title. */
struct eg_sim_channel {
	char id[EG_SIM_ID_MAX]; /* "rapl intel-rapl:0", "hwmon 0 power1", "perf power energy-pkg 0" */
	enum eg_sim_kind kind;
	unsigned line; /* where it starts in the file */
	char node[64]; /* powercap zone id, hwmon number, PMU, supply, cgroup path */
	char name[64]; /* `name` file, event name */
	char label[64];
	char device
		[96]; /* hwmon chip: its device below sys/, such as devices/pci0000:00/0000:03:00.0 */
	bool has_power;
	struct eg_power power;
	int32_t gain_ppm;	      /* error of the meter: shown = true x (1 + gain) */
	uint64_t update_ns;	      /* the sensor refreshes this often */
	uint64_t unit_nj;	      /* counters: one raw step, nanojoules */
	uint64_t modulus_raw;	      /* counters: raw values before it wraps; 0 = 64 bits */
	uint64_t range_uj;	      /* RAPL: max_energy_range_uj */
	uint64_t start_uj, start_raw; /* counters: value at the start, as shown and in raw steps */
	bool show_range;	      /* RAPL: max_energy_range_uj is there */
	bool show_input;	      /* gauges: powerN_input is there */
	uint64_t average_ns;	 /* gauges: powerN_average, the mean over this window; 0 none */
	uint64_t resolution_uw;	 /* gauges: step */
	uint64_t meter_noise_uw; /* gauges: random error of each refresh, at most this */
	uint64_t max_power_uw;	 /* RAPL: constraint_0_max_power_uw; 0 none */
	uint64_t volts_uv;	 /* rails, batteries */
	uint64_t index, in_index, curr_index; /* hwmon: N of the file names */
	int enable;			      /* hwmon: -1 no file, 0, 1 */
	uint64_t mode;			      /* of the value file, 0444 */
	uint64_t config;		      /* PERF */
	int cpu;			      /* PERF */
	uint64_t unit_bits;		      /* PERF: the register counts 2^-unit_bits J */
	uint64_t fold_ns; /* PERF: the kernel's own timer; 0 = folded without a limit */
	uint64_t energy_start_uwh, energy_full_uwh; /* BATTERY */
	bool by_current;       /* BATTERY: current_now x voltage_now instead of power_now */
	bool charging;	       /* BATTERY at the start */
	bool negative_current; /* BATTERY: current_now below zero while discharging */
	uint64_t type;	       /* PMU type number */
	char cpumask[64], mirror_id[EG_SIM_ID_MAX];
	int mirror; /* RAPL: shows the register of this channel; -1 none */
};

enum eg_sim_event_kind {
	EG_SIM_RESET,	   /* counter starts again at `value` raw units */
	EG_SIM_EACCES,	   /* mode 0000 */
	EG_SIM_EIO,	   /* reads fail (FUSE or injected) */
	EG_SIM_HANG,	   /* reads do not answer (FUSE or injected) */
	EG_SIM_VANISH,	   /* files gone */
	EG_SIM_GARBAGE,	   /* `text` instead of a value */
	EG_SIM_NO_RANGE,   /* max_energy_range_uj gone */
	EG_SIM_RELOAD,	   /* driver reload: gone, then back with the counter at 0 */
	EG_SIM_CHARGE,	   /* battery on the charger */
	EG_SIM_SUSPEND,	   /* machine: awake time stops, nothing counts */
	EG_SIM_CLOCK_STEP, /* machine: Unix time jumps by step_ns */
	EG_SIM_REBOOT,	   /* machine: new boot id, every counter at 0 */
};

struct eg_sim_event {
	enum eg_sim_event_kind kind;
	int channel;	 /* index, -1 the machine */
	uint64_t at_ns;	 /* since the start */
	uint64_t for_ns; /* how long; 0 = once (RESET, CLOCK_STEP), else for ever */
	int64_t step_ns;
	uint64_t value;
	char text[64];
	unsigned line;
};

/* A file, link or folder that stands still. */
struct eg_sim_file {
	char path[256]; /* below the root */
	char *text;	/* NULL for a link */
	char link[256];
	uint64_t mode;
};

struct eg_scenario {
	char name[64];
	char title[128];	       /* one line */
	char needs[256];	       /* what the tree alone cannot show, or "" */
	uint64_t cpus, packages, dies; /* dies of a package */
	char model_name[96], vendor[32], kernel[64], boot_id[40];
	uint64_t family, model, stepping;
	uint64_t memory_bytes;
	uint64_t seed;
	bool has_proc;
	struct eg_power utilization; /* of each processor: 1 = all of it */
	uint64_t proc_update_ns;
	struct eg_sim_channel *channel;
	size_t n_channels;
	struct eg_sim_event *event; /* by time */
	size_t n_events;
	struct eg_sim_file *file;
	size_t n_files;
};

struct eg_scenario_error {
	unsigned line; /* 0: the file as a whole */
	char message[200];
};

/* Reads a scenario. -EINVAL with *error filled (line and message); -ENOMEM. name is for messages. */
int eg_scenario_parse(const char *text, size_t len, const char *name, struct eg_scenario **ret,
		      struct eg_scenario_error *error) EG_MUST_CHECK;
/* A shipped scenario by name; -ENOENT no such. */
int eg_scenario_named(const char *name, struct eg_scenario **ret) EG_MUST_CHECK;
/*
 * Text of a scenario: a file, or a shipped one where no '/' and no '.' is in the word. The caller
 * frees *ret_text (NUL terminated). Errors of open(2) and read(2); -EFBIG; -ENOENT no such name.
 */
int eg_scenario_read(const char *file_or_name, char **ret_text, size_t *ret_len) EG_MUST_CHECK;
/* Reads and parses; errors of both. */
int eg_scenario_load(const char *file_or_name, struct eg_scenario **ret,
		     struct eg_scenario_error *error) EG_MUST_CHECK;
struct eg_scenario *eg_scenario_free(struct eg_scenario *sc);

/* Index of the channel with this id, or -1. */
int eg_scenario_channel(const struct eg_scenario *sc, const char *id);
/* Time the machine was suspended before t (since the start). */
uint64_t eg_scenario_suspended_ns(const struct eg_scenario *sc, uint64_t t_ns);
/* What Unix time was moved by until t. */
int64_t eg_scenario_clock_step_ns(const struct eg_scenario *sc, uint64_t t_ns);
/* The truth: energy through a channel between two times since the start. Suspended time adds 0. */
eg_fj eg_scenario_true_energy_fj(const struct eg_scenario *sc, size_t channel, uint64_t t0_ns,
				 uint64_t t1_ns);

/* The shipped ones, in order; ends with name NULL. Generated by the build from scenarios/. */
struct eg_shipped_scenario {
	const char *name, *text;
};
extern const struct eg_shipped_scenario eg_shipped_scenarios[];

#endif
