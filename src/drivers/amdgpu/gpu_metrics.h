/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The binary gpu_metrics table of the amdgpu kernel driver: power, energy and clock of each version
 * whose layout is known. Pure: bytes in, values out.
 */
#ifndef EG_DRIVERS_AMDGPU_GPU_METRICS_H
#define EG_DRIVERS_AMDGPU_GPU_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

#define EG_AMDGPU_METRICS_MAX 4096 /* one page: what sysfs gives at most */

/* A value that the table marks absent (all ones), or whose unit is not known, is not here. */
struct eg_amdgpu_metrics {
	uint8_t format, content;
	bool have_power, have_energy, have_clock;
	uint64_t power_uw;
	uint64_t energy;   /* units of 2^-16 J */
	uint64_t clock_ns; /* when the driver took the table */
};

/*
 * Errors: -EMSGSIZE shorter than its header; -ENOTSUP a version whose layout is unknown; -EPROTO the
 * size is not that of its version.
 */
int eg_amdgpu_metrics_decode(const void *data, size_t size,
			     struct eg_amdgpu_metrics *ret) EG_MUST_CHECK;

/* True for a table of an APU (formats 2 and 3), also where its layout is unknown. */
bool eg_amdgpu_metrics_is_apu(const void *data, size_t size);

#endif
