/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of a perf PMU mean: event terms, scales, CPU lists. Pure functions over bytes from
 * outside. Source: Linux Documentation/ABI/testing/sysfs-bus-event_source-devices-events,
 * arch/x86/events/rapl.c.
 */
#ifndef EG_DRIVERS_PERF_RAPL_EVENT_H
#define EG_DRIVERS_PERF_RAPL_EVENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

#define EG_PERF_RAPL_CPU_MAX 8191u /* highest CPU number taken from a list */

/* "event=0x02" (or decimal) -> 2; the field is 8 bits wide. -EINVAL: any other term, or 0. */
int eg_perf_rapl_parse_event(const char *s, size_t n, uint64_t *ret_config) EG_MUST_CHECK;

/*
 * A scale in joules per count, "2.3283064365386962890625e-10", as the ratio of microjoules per
 * count. Exact where the scale is a power of two (2^-32 J = 15625/67108864 uJ); else rounded to
 * about one part in 10^12. -EINVAL no number, -ERANGE not within 10^-15..10^6 J.
 */
int eg_perf_rapl_parse_scale(const char *s, size_t n, uint64_t *ret_num,
			     uint64_t *ret_den) EG_MUST_CHECK;

/*
 * "0,18" or "0-3,8": writes at most cap CPU numbers in the order of the list and returns how many
 * the list holds (repeats included). -EINVAL: not a list; -ERANGE: a CPU above the ceiling.
 */
ssize_t eg_perf_rapl_parse_cpus(const char *s, size_t n, uint32_t *cpus, size_t cap) EG_MUST_CHECK;

#endif
