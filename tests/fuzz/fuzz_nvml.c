/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of an NVML sample ring and of a field value: any type word, any stamps, any values.
 * Input: type u32, then three u64 (the newest point seen, interval clock, Unix clock), then samples
 * of 16 bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/nvml/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct nvml_sample samples[EG_NVML_RING_MAX];
	static struct eg_nvml_point points[EG_NVML_RING_MAX];
	uint64_t clock[3], mw;
	uint32_t type;
	char text[NVML_STRING_MAX];
	size_t n;
	int count;

	if (size < sizeof(type) + sizeof(clock))
		return 0;
	memcpy(&type, data, sizeof(type));
	memcpy(clock, data + sizeof(type), sizeof(clock));
	data += sizeof(type) + sizeof(clock);
	size -= sizeof(type) + sizeof(clock);
	n = EG_MIN(size / sizeof(samples[0]), (size_t)EG_NVML_RING_MAX);
	memcpy(samples, data, n * sizeof(samples[0]));
	count = eg_nvml_ring_decode(samples, n, type, clock[0], clock[1], clock[2], points);
	if (count > (int)n || (count < 0 && type <= NVML_U16))
		abort();
	for (int i = 0; i < count; i++) {
		if (points[i].t_ns <= clock[0] || points[i].t_ns > clock[1])
			abort();
		if (i > 0 && points[i].t_ns <= points[i - 1].t_ns)
			abort();
		if (points[i].mw > INT64_MAX || (points[i].bad && points[i].mw))
			abort();
	}
	for (size_t i = 0; i < n; i++)
		if (eg_nvml_value_mw(type, &samples[i].value, &mw) == 0 && mw > INT64_MAX)
			abort();
	memset(text, 0, sizeof(text));
	memcpy(text, data, EG_MIN(size, sizeof(text)));
	eg_nvml_text(text, sizeof(text));
	return 0;
}
