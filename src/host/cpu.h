/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which CPUs a machine has and how busy they are: descriptive facts from proc/cpuinfo,
 * sys/devices/system/cpu and proc/stat below the injected root. The layouts of cpuinfo differ by
 * architecture (Linux show_cpuinfo() of each arch/); what a machine does not tell stays unknown.
 */
#ifndef EG_HOST_CPU_H
#define EG_HOST_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"

#define EG_CPUINFO_MAX (8u << 20) /* bytes taken of proc/cpuinfo: about 4000 x86 threads */
#define EG_CPUS_MAX    8192	  /* processors counted */

/* Microarchitectures that a power model or a reader may want to tell apart. */
/* clang-format off: it folds a long list into stairs */
#define EG_UARCHES(X)                       \
	X(UNKNOWN, "unknown")               \
	X(NEHALEM, "nehalem")               \
	X(WESTMERE, "westmere")             \
	X(SANDYBRIDGE, "sandybridge")       \
	X(IVYBRIDGE, "ivybridge")           \
	X(HASWELL, "haswell")               \
	X(BROADWELL, "broadwell")           \
	X(SKYLAKE, "skylake")               \
	X(CASCADELAKE, "cascadelake")       \
	X(COOPERLAKE, "cooperlake")         \
	X(KABYLAKE, "kabylake")             \
	X(COFFEELAKE, "coffeelake")         \
	X(COMETLAKE, "cometlake")           \
	X(ICELAKE, "icelake")               \
	X(TIGERLAKE, "tigerlake")           \
	X(ROCKETLAKE, "rocketlake")         \
	X(ALDERLAKE, "alderlake")           \
	X(RAPTORLAKE, "raptorlake")         \
	X(METEORLAKE, "meteorlake")         \
	X(SAPPHIRERAPIDS, "sapphirerapids") \
	X(EMERALDRAPIDS, "emeraldrapids")   \
	X(GRANITERAPIDS, "graniterapids")   \
	X(SIERRAFOREST, "sierraforest")     \
	X(ZEN, "zen")                       \
	X(ZEN2, "zen2")                     \
	X(ZEN3, "zen3")                     \
	X(ZEN4, "zen4")                     \
	X(ZEN5, "zen5")                     \
	X(EPYC1, "epyc1")                   \
	X(EPYC2, "epyc2")                   \
	X(EPYC3, "epyc3")                   \
	X(EPYC4, "epyc4")                   \
	X(EPYC5, "epyc5")                   \
	X(NEOVERSE_N1, "neoverse-n1")       \
	X(NEOVERSE_N2, "neoverse-n2")       \
	X(NEOVERSE_V1, "neoverse-v1")       \
	X(NEOVERSE_V2, "neoverse-v2")
/* clang-format on */

#define EG_X_UARCH(id, w) EG_UARCH_##id,
enum eg_uarch { EG_UARCHES(EG_X_UARCH) EG_UARCH_COUNT };

struct eg_cpu {
	char model_name[96]; /* "" unknown; Arm cores by part number where the text has no name */
	char vendor[32];     /* "GenuineIntel", "AuthenticAMD", "Arm", "IBM/S390"; "" unknown */
	int family, model, stepping; /* of x86; -1 elsewhere or unknown */
	uint32_t sockets, cores;     /* 0 unknown */
	uint32_t threads;	     /* processors online; 0 unknown */
	bool hypervisor;	     /* x86 flag: this is a guest */
	enum eg_uarch uarch;
};

/*
 * Parses the text of proc/cpuinfo (any bytes). -ENODATA: not one processor in it. -ENOMEM.
 * sockets and cores come from "physical id" and "core id" where the text has them.
 */
int eg_cpuinfo_parse(const char *text, size_t n, struct eg_cpu *ret) EG_MUST_CHECK;
/*
 * cpuinfo, then sys/devices/system/cpu where it knows better (online, sockets, cores). Errors: as
 * opening proc/cpuinfo when sysfs tells nothing either.
 */
int eg_cpu_read(const struct eg_env *env, struct eg_cpu *ret) EG_MUST_CHECK;

enum eg_uarch eg_uarch_of(const char *vendor, int family, int model, int stepping,
			  const char *model_name);
const char *eg_uarch_word(enum eg_uarch u);

/* Counts the members of a kernel CPU list ("0-3,8"); -EPROTO for anything else. */
int eg_cpulist_count(const char *list, uint32_t *ret_count, uint32_t *ret_first) EG_MUST_CHECK;

/*
 * Time of all CPUs together since boot, in ticks of proc/stat. busy = user + nice + system + irq +
 * softirq: guest and guest_nice are inside user and nice already (Linux fs/proc/stat.c,
 * kernel/sched/cputime.c) and are not added again. Idle is idle + iowait. Stolen time is neither:
 * this machine had no CPU then. total = busy + idle + steal.
 */
struct eg_cpu_time {
	uint64_t busy, total, steal;
};
/* text: proc/stat or its beginning. -EPROTO: no line "cpu" with at least four numbers. */
int eg_cpu_time_parse(const char *text, size_t n, struct eg_cpu_time *ret) EG_MUST_CHECK;
/* One pread of a kept descriptor of proc/stat; no allocation. */
int eg_cpu_time_pread(const struct eg_fs *fs, int fd, struct eg_cpu_time *ret) EG_MUST_CHECK;
/* Busy share of the time between two readings, 0..1. -ENODATA: no tick between them; -ERANGE: a
 * counter went back. */
int eg_cpu_busy_ratio(const struct eg_cpu_time *from, const struct eg_cpu_time *to,
		      double *ret) EG_MUST_CHECK;

#endif
