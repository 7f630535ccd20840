/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A channel is one thing a driver can read: what it measures, in which unit, how far its counter
 * goes, and how good it is. A reading is one value of it with its own time. Both are plain data.
 */
#ifndef EG_CORE_CHANNEL_H
#define EG_CORE_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "core/vocab.h"

#define EG_CHANNEL_NAME_MAX 96
#define EG_DEVICE_MAX	    96
#define EG_ORIGIN_MAX	    256
#define EG_CHANNELS_MAX	    512 /* channels of one context */

/*
 * Accuracy class of an interface (contracts/measurement.md Part 5): the half-width of the 95 %
 * interval of its gain error is the larger of rel_ppm of the energy and abs_uw times the seconds.
 */
struct eg_accuracy {
	uint32_t rel_ppm;
	uint64_t abs_uw;
	const char *citation; /* static text: who says so */
};

struct eg_channel {
	char domain[EG_CHANNEL_NAME_MAX]; /* "package-0", "gpu-3", "dram-1": unique in its driver */
	/*
	 * The physical thing, the same whichever driver reads it and stable across boots:
	 * "cpu-0" (socket 0), "cpu-0-die-1", "gpu-GPU-<uuid>" or "pci-0000:03:00.0", "node".
	 * device + component name the account: two channels with equal ones measure the same joules,
	 * and only one of them is counted.
	 */
	char device[EG_DEVICE_MAX];
	char label[64]; /* for people: "Xeon 8280", "NVIDIA H200", sensor label; or "" */
	char origin[EG_ORIGIN_MAX]; /* where it came from: path below the root, or symbol */
	enum eg_component component;
	enum eg_source source;
	enum eg_boundary boundary;
	enum eg_provenance provenance;
	enum eg_quantity quantity; /* ENERGY: a counter. POWER: a gauge, integrated by core */
	/* One raw unit = unit_num / unit_den microjoules (ENERGY) or microwatts (POWER). */
	uint64_t unit_num, unit_den;
	/* Counter wraps at this many raw units; 0 = 64-bit or undeclared: a step back is a reset. */
	uint64_t modulus;
	bool zero_based; /* counts from 0 after a reset (since driver load) */
	/* Counts since this process opened it: another process's value says nothing about it. */
	bool own_count;
	bool integrated_gpu;	/* gpu that draws from its package (APU, iGPU): a part of it */
	uint64_t resolution_uj; /* smallest step, rounded up; 0 for gauges */
	uint64_t update_ns;	/* the sensor refreshes this often; 0 unknown (taken as 0) */
	uint64_t max_uw;	/* highest power it can plausibly show; never 0 */
	uint64_t guard_ns;	/* core must read it at least this often; 0 = from modulus alone */
	/*
	 * Index within the same driver of a channel that contains this one although components do
	 * not say so (VDD_IN contains the other Jetson rails); -1 none.
	 */
	int32_t part_of;
	/* Domain of another channel of the driver that shows the same counter (mirrored dies,
	 * mmio twins) is not represented here at all: the driver leaves the mirror out and says so
	 * with a diagnostic. */
	struct eg_accuracy accuracy;
};

struct eg_reading {
	/*
	 * Raw units of the channel. With status OK only. A gauge whose interface said NaN, a
	 * negative or an infinite number is EG_STATUS_ERROR with `bad` set: a sample was there and
	 * was nonsense, which counts otherwise than no sample at all.
	 */
	uint64_t raw;
	uint64_t t_ns; /* interval clock, taken next to the read */
	enum eg_status status;
	bool bad;
	/*
	 * Changes when earlier values say nothing about later ones: boot, driver reload, restarted
	 * helper; of a gauge, when it stood still in between (a battery on the charger). 0 is as
	 * good as any other value.
	 */
	uint32_t epoch;
};

/* A descriptive or non-energy value beside a channel. Never part of a sum. */
#define EG_ATTRIBUTE_NAME_MAX 40
struct eg_attribute {
	char device[EG_DEVICE_MAX];
	char name[EG_ATTRIBUTE_NAME_MAX]; /* unit last: "temperature_celsius", "memory_used_bytes",
					     "utilization_ratio", "clock_sm_hz", "uuid", "pci_id" */
	bool is_text;
	double value;
	char text[96];
};

#endif
