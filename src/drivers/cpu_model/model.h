/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power of a machine without a meter, as a function of how busy its CPUs are. Every model here is a
 * piecewise linear curve over utilisation with a stated error; which one is used depends on what is
 * known about the machine. Pure: no I/O.
 */
#ifndef EG_DRIVERS_CPU_MODEL_MODEL_H
#define EG_DRIVERS_CPU_MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "host/cpu.h"

#define EG_CPU_MODEL_POINTS    11
#define EG_CPU_MODEL_MAX_WATTS 100000.0 /* no one machine draws more */

enum eg_cpu_model_kind {
	EG_CPU_MODEL_CALIBRATED, /* two numbers of this machine and the universal curve */
	EG_CPU_MODEL_UARCH,	 /* wall watts per watt of TDP, of the microarchitecture */
	EG_CPU_MODEL_TDP,    /* the same of all CPUs, where the microarchitecture has no curve */
	EG_CPU_MODEL_THREAD, /* watts a hardware thread, of the microarchitecture */
	EG_CPU_MODEL_VCPU,   /* watts a vCPU, mean of a cloud: nothing is known */
};

struct eg_cpu_model {
	enum eg_cpu_model_kind kind;
	size_t n;
	double ratio[EG_CPU_MODEL_POINTS]; /* utilisation, rising, 0 first and 1 last */
	double watts[EG_CPU_MODEL_POINTS];
	uint32_t rel_ppm;     /* half-width of its 95 % interval, of the estimate */
	const char *citation; /* static */
	char label[64];	      /* short, for a list */
	char text[240];	      /* model, inputs and error, for people */
};

struct eg_cpu_model_inputs {
	const struct eg_cpu *cpu;
	bool guest; /* a virtual machine: a curve over TDP would cover its host */
	double idle_watts, full_watts; /* of this machine; negative: not given */
	double tdp_watts;	       /* of one CPU package; negative: not given */
};

/*
 * The best model that the inputs allow: calibration, curve x TDP, threads. -EINVAL: a number given
 * makes no sense or one of idle and full is missing (*ret_why says, static text). -ENODATA: nothing
 * at all is known, not even the number of CPUs.
 */
int eg_cpu_model_choose(const struct eg_cpu_model_inputs *in, struct eg_cpu_model *ret,
			const char **ret_why) EG_MUST_CHECK;
/* Power at a utilisation; outside 0..1 is taken as the nearer end. */
double eg_cpu_model_watts(const struct eg_cpu_model *m, double ratio);
/* Wall watts per watt of total TDP at a utilisation; negative: no curve for it. */
double eg_cpu_model_per_tdp(enum eg_uarch u, double ratio);
/* Thermal design power of one package by the name in cpuinfo; 0 unknown. */
unsigned eg_cpu_model_tdp_watts(const char *model_name);

#endif
