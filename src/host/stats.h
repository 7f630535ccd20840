/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How busy the machine is, cheaply: CPU utilisation, frequency, temperature and memory, read from
 * descriptors that are opened once, so that an agent can go on reading after it dropped its rights.
 */
#ifndef EG_HOST_STATS_H
#define EG_HOST_STATS_H

#include "core/host_facts.h"
#include "host/cpu.h"

struct eg_stats;

/*
 * Opens what is there; a file that is not leaves its facts unknown. cpu: of eg_cpu_read, or NULL; env
 * is borrowed for the life of the object. -ENOMEM.
 */
int eg_stats_open(const struct eg_env *env, const struct eg_cpu *cpu,
		  struct eg_stats **ret) EG_MUST_CHECK;
struct eg_stats *eg_stats_close(struct eg_stats *s);
/*
 * Reads everything again: at most four preads, no allocation. Utilisation is that of the time since an
 * earlier call, a second at least (who asks sooner gets the last one), so the first call knows none. Not
 * for two threads at once.
 */
void eg_stats_read(struct eg_stats *s, struct eg_host_facts *ret);

/* Text of proc/meminfo (any bytes): fills the memory of ret, unknown where a line is missing. */
void eg_meminfo_parse(const char *text, size_t n, struct eg_host_facts *ret);

#endif
