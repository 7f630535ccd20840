/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pure decoding of what NVML hands out: typed values to milliwatts, and the ring of power samples
 * to points on the interval clock. Bytes of a vendor library are outside bytes: any type word, any
 * order, any time stamp and any double may come.
 */
#ifndef EG_DRIVERS_NVML_DECODE_H
#define EG_DRIVERS_NVML_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "drivers/nvml/api.h"

/* 119 samples are known (measurement contract 4.1); a deeper ring is not read. */
#define EG_NVML_RING_MAX 512

struct eg_nvml_point {
	uint64_t t_ns; /* interval clock */
	uint64_t mw;
	bool bad; /* a sample that is no power */
};

/*
 * A typed value as milliwatts. 0; -EPROTO an unknown type; -ERANGE no power (NaN, negative,
 * infinite, above 2^63).
 */
int eg_nvml_value_mw(uint32_t type, const union nvml_value *v, uint64_t *ret_mw) EG_MUST_CHECK;

/*
 * Samples with CPU time stamps to points in rising time, each time once: those after after_ns and
 * not after now_ns, both on the interval clock, which showed now_ns when the real-time clock showed
 * unix_ns. ret: room for n. Returns the number of points; -EPROTO an unknown type.
 */
int eg_nvml_ring_decode(const struct nvml_sample *samples, size_t n, uint32_t type,
			uint64_t after_ns, uint64_t now_ns, uint64_t unix_ns,
			struct eg_nvml_point *ret) EG_MUST_CHECK;

/* "0000:17:00.0" of NVML's words. */
void eg_nvml_pci_text(const struct nvml_pci_info *pci, char *ret, size_t cap);

/* Text of a fixed array from the library: always terminated, unprintable bytes as '?'. */
void eg_nvml_text(char *s, size_t cap);

#endif
