/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of proto/energy.proto as bytes. A 0 is not written and a -1 is, as proto3 has it. */
#ifndef EG_MONITOR_ENCODE_H
#define EG_MONITOR_ENCODE_H

#include "monitor/telemetry.h"

#define EG_READING_BYTES_MAX 2048 /* longest texts and all numbers: about 900 */
#define EG_HEALTH_BYTES_MAX  64

/* Allocates nothing. The length; -EMSGSIZE. */
ssize_t eg_encode_reading(const struct eg_telemetry_reading *r,
			  uint8_t ret[EG_READING_BYTES_MAX]) EG_MUST_CHECK;
ssize_t eg_encode_health(bool healthy, const char *platform,
			 uint8_t ret[EG_HEALTH_BYTES_MAX]) EG_MUST_CHECK;

#endif
