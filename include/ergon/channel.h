/* SPDX-License-Identifier: Apache-2.0 */
/* Channels: what can be read, how good it is; and one reading of it. */
#ifndef ERGON_CHANNEL_H
#define ERGON_CHANNEL_H

#include <ergon/context.h>

ERGON_BEGIN

/** The channels of a context as they were when listed. Opaque, immutable. */
typedef struct ergon_channel_list ergon_channel_list;
/** One channel of a list. Opaque, borrowed from its list. */
typedef struct ergon_channel ergon_channel;
/** One reading of a channel. Opaque, immutable. */
typedef struct ergon_reading ergon_reading;

/**
 * Lists the channels. What is missing, and why, is in ergon_diagnostics().
 * Errors: -ENOMEM, -ESTALE. Owner: free with ergon_channel_list_free().
 * Threads: any, does not block. Since: 0.1.
 */
ERGON_API int ergon_channels(ergon_context *ctx, ergon_channel_list **ret) ERGON_MUST_CHECK;
/** Number of channels. Since: 0.1. */
ERGON_API size_t ergon_channel_list_get_size(const ergon_channel_list *list);
/** Channel `index`, or NULL outside the list; borrowed from the list. Since: 0.1. */
ERGON_API const ergon_channel *ergon_channel_list_get(const ergon_channel_list *list, size_t index);
/** Frees a list and its channels. Takes NULL. Since: 0.1. */
ERGON_API void ergon_channel_list_free(ergon_channel_list *list);

/** "DRIVER/DOMAIN", as "rapl/package-0": unique in its context. Borrowed. Since: 0.1. */
ERGON_API const char *ergon_channel_get_name(const ergon_channel *ch);
/** The driver, as "rapl". Borrowed. Since: 0.1. */
ERGON_API const char *ergon_channel_get_driver(const ergon_channel *ch);
/** The physical device, stable across boots and drivers, as "cpu-0". Borrowed. Since: 0.1. */
ERGON_API const char *ergon_channel_get_device(const ergon_channel *ch);
/** The device in words, "" where unknown. Borrowed. Since: 0.1. */
ERGON_API const char *ergon_channel_get_label(const ergon_channel *ch);
/** The file or symbol that is read. Borrowed. Since: 0.1. */
ERGON_API const char *ergon_channel_get_origin(const ergon_channel *ch);
/** Component: "package", "dram", "gpu", ... Borrowed. Since: 0.1. */
ERGON_API const char *ergon_channel_get_component(const ergon_channel *ch);
/** Interface: "rapl", "nvml", "hwmon", ... Borrowed. Since: 0.1. */
ERGON_API const char *ergon_channel_get_source(const ergon_channel *ch);
/** "component", "node" or "facility". Borrowed. Since: 0.1. */
ERGON_API const char *ergon_channel_get_boundary(const ergon_channel *ch);
/** "measured", "modeled" or "estimated". Borrowed. Since: 0.1. */
ERGON_API const char *ergon_channel_get_provenance(const ergon_channel *ch);
/** "energy" (a counter) or "power" (a gauge, integrated). Borrowed. Since: 0.1. */
ERGON_API const char *ergon_channel_get_quantity(const ergon_channel *ch);
/** Smallest step of the counter, microjoules; -ENODATA for gauges. Since: 0.1. */
ERGON_API int ergon_channel_get_resolution_uj(const ergon_channel *ch, uint64_t *ret_uj);
/** How often the sensor refreshes, ns; -ENODATA unknown. Since: 0.1. */
ERGON_API int ergon_channel_get_update_ns(const ergon_channel *ch, uint64_t *ret_ns);
/** Half-width of the accuracy class (95 %), parts per million of the energy. Since: 0.1. */
ERGON_API uint32_t ergon_channel_get_accuracy_ppm(const ergon_channel *ch);

/**
 * Reads a channel now and gives its totals since the context was opened.
 * name: as ergon_channel_get_name().
 * Errors: -ENOENT no such channel, -ENODATA it has never answered, -ENOMEM, -ESTALE.
 * Owner: free with ergon_reading_free().
 * Threads and blocking: any; as long as the slowest driver, at most 1 s. Since: 0.1.
 */
ERGON_API int ergon_channel_read(ergon_context *ctx, const char *name,
				 ergon_reading **ret) ERGON_MUST_CHECK;
/** Energy since open, microjoules, without held energy. Never falls. Since: 0.1. */
ERGON_API uint64_t ergon_reading_get_uj(const ergon_reading *r);
/** Held (estimated) energy since open, microjoules. Never falls. Since: 0.1. */
ERGON_API uint64_t ergon_reading_get_estimated_uj(const ergon_reading *r);
/** Power now, microwatts: derived from a counter over the last stretch that is long enough;
 *  -ENODATA before that. Since: 0.1. */
ERGON_API int ergon_reading_get_power_uw(const ergon_reading *r, uint64_t *ret_uw);
/** Time of the last good reading, ns of CLOCK_BOOTTIME. Since: 0.1. */
ERGON_API uint64_t ergon_reading_get_time_ns(const ergon_reading *r);
/** Time since open whose energy is not known, ns. Since: 0.1. */
ERGON_API uint64_t ergon_reading_get_gap_ns(const ergon_reading *r);
/** What the last read gave: "ok", "no_data", "stale", "denied", "error", "reset". Since: 0.1. */
ERGON_API const char *ergon_reading_get_status(const ergon_reading *r);
/** Takes NULL. Since: 0.1. */
ERGON_API void ergon_reading_free(ergon_reading *r);

ERGON_END

#endif
