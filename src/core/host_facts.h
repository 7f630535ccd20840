/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the machine is doing beside its energy: plain data that src/host fills and exporters show (the
 * all-smi rows). Never part of a sum. Each value is unknown by itself.
 */
#ifndef EG_CORE_HOST_FACTS_H
#define EG_CORE_HOST_FACTS_H

#include <stdint.h>

struct eg_host_facts {
	char cpu_model[96], vendor[32], architecture[32]; /* "" unknown */
	uint32_t sockets, cores, threads;		  /* 0 unknown */
	double cpu_utilization_ratio;			  /* since the read before; NaN unknown */
	double cpu_frequency_hz, cpu_celsius;		  /* of the first CPU; NaN unknown */
	/* UINT64_MAX unknown. */
	uint64_t memory_total_bytes, memory_available_bytes, memory_free_bytes,
		memory_buffers_bytes, memory_cached_bytes;
};

#endif
