/* SPDX-License-Identifier: Apache-2.0 */
/* What a reading says of the machine: static, each part unknown by itself. */
#ifndef EG_MONITOR_SYSINFO_H
#define EG_MONITOR_SYSINFO_H

#include <stdint.h>

#include "base/env.h"

struct eg_sysinfo {
	char os_name[96], os_version[64], kernel[96], host[96], cpu_brand[96]; /* "" unknown */
	uint32_t cpu_count; /* logical CPUs that this process may use; 0 unknown */
};

/* System memory in use, from a descriptor that is kept; read anew every 50 ms at most. */
struct eg_memory {
	const struct eg_env *env;
	int fd; /* of proc/meminfo; -1 none */
	uint64_t bytes, read_ns;
};
void eg_memory_open(struct eg_memory *m, const struct eg_env *env);
void eg_memory_close(struct eg_memory *m);
/* MemTotal - MemAvailable; UINT64_MAX unknown. */
uint64_t eg_memory_used(struct eg_memory *m, uint64_t now_ns);

/* Never fails: what cannot be read stays unknown. */
void eg_sysinfo_read(const struct eg_env *env, struct eg_sysinfo *ret);

/* A value of os-release(5): KEY=value, with or without quotes. "" where the text has none. */
void eg_os_release_value(const char *text, const char *key, char *ret, size_t cap);
/*
 * CPUs that a cpu.max of cgroup v2 allows ("max 100000", "150000 100000"), rounded up; UINT32_MAX: no
 * limit, or no such text.
 */
uint32_t eg_cpu_max_limit(const char *text);

#endif
