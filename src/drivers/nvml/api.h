/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Ergon uses of the NVIDIA Management Library, declared here because no header of it is in
 * Debian: the library is loaded at run time and every function may be absent. Where NVIDIA versions
 * a function by suffix, the newest name is taken and its struct with it; a newer struct is never
 * given to an older function. Source: NVIDIA's NVML reference, x86-64 and AArch64 C layouts.
 */
#ifndef EG_DRIVERS_NVML_API_H
#define EG_DRIVERS_NVML_API_H

#include <stdint.h>

#include "base/loader.h"
#include "core/diag.h"
#include "core/vocab.h"

/* Returns (nvmlReturn_t). */
enum {
	NVML_OK = 0,
	NVML_UNINITIALIZED = 1,
	NVML_INVALID_ARGUMENT = 2,
	NVML_NOT_SUPPORTED = 3,
	NVML_NO_PERMISSION = 4,
	NVML_NOT_FOUND = 6,
	NVML_INSUFFICIENT_SIZE = 7,
	NVML_DRIVER_NOT_LOADED = 9,
	NVML_FUNCTION_NOT_FOUND = 13,
	NVML_GPU_IS_LOST = 15,
	NVML_RESET_REQUIRED = 16,
	NVML_OPERATING_SYSTEM = 17,
	NVML_VERSION_MISMATCH = 18,
	NVML_NO_DATA = 21,
	NVML_UNKNOWN = 999,
};

#define NVML_FIELD_POWER_INSTANT   186u
#define NVML_FIELD_POWER_LIMIT_MIN 187u
#define NVML_FIELD_POWER_LIMIT_MAX 188u
#define NVML_SAMPLE_POWER	   0
#define NVML_CLOCK_GRAPHICS	   0
#define NVML_CLOCK_SM		   1
#define NVML_CLOCK_MEMORY	   2
#define NVML_CLOCK_VIDEO	   3
#define NVML_ARCH_VOLTA		   5u
/* SW power cap, HW slowdown, SW thermal, HW thermal, power brake. */
#define NVML_REASONS_THROTTLED	   (0x4u | 0x8u | 0x20u | 0x40u | 0x80u)

#define NVML_STRING_MAX		   96 /* the longest of UUID, name, serial, driver version */

typedef struct nvml_device *nvml_device_t;

union nvml_value {
	double d;
	uint32_t ui;
	unsigned long ul;
	uint64_t ull;
	int64_t sll;
	int32_t si;
	uint16_t us;
};
enum nvml_value_type {
	NVML_DOUBLE,
	NVML_U32,
	NVML_ULONG,
	NVML_U64,
	NVML_S64,
	NVML_S32,
	NVML_U16,
};
struct nvml_field_value {
	uint32_t field_id, scope_id;
	int64_t timestamp_us, latency_us;
	uint32_t value_type;
	int32_t ret;
	union nvml_value value;
};
struct nvml_sample {
	uint64_t timestamp_us; /* CPU time, Unix */
	union nvml_value value;
};
struct nvml_memory {
	uint64_t total, free, used;
};
struct nvml_memory_v2 {
	uint32_t version;
	uint64_t total, reserved, free, used;
};
struct nvml_utilization {
	uint32_t gpu, memory; /* % */
};
/* v3; v2 and v1 are shorter and have the same words at the same places up to device_id. */
struct nvml_pci_info {
	char legacy_id[16];
	uint32_t domain, bus, device, device_id, subsystem_id;
	char bus_id[32];
};
struct nvml_temperature {
	uint32_t version, sensor;
	int32_t celsius;
};
struct nvml_attributes {
	uint32_t sm_count, copy, decoder, encoder, jpeg, ofa;
	uint32_t gpu_instance_slices, compute_instance_slices;
	uint64_t memory_mb;
};

#define NVML_MEMORY_V2_VERSION	 0x02000028u
#define NVML_TEMPERATURE_VERSION 0x0100000cu

/* X(member, arguments, newest name, older name or NULL) */
#define EG_NVML_FUNCTIONS(X)                                                                       \
	X(init, (void), "nvmlInit_v2", "nvmlInit")                                                 \
	X(shutdown, (void), "nvmlShutdown", NULL)                                                  \
	X(driver_version, (char *, uint32_t), "nvmlSystemGetDriverVersion", NULL)                  \
	X(count, (uint32_t *), "nvmlDeviceGetCount_v2", "nvmlDeviceGetCount")                      \
	X(handle_by_index, (uint32_t, nvml_device_t *), "nvmlDeviceGetHandleByIndex_v2",           \
	  "nvmlDeviceGetHandleByIndex")                                                            \
	X(name, (nvml_device_t, char *, uint32_t), "nvmlDeviceGetName", NULL)                      \
	X(uuid, (nvml_device_t, char *, uint32_t), "nvmlDeviceGetUUID", NULL)                      \
	X(serial, (nvml_device_t, char *, uint32_t), "nvmlDeviceGetSerial", NULL)                  \
	X(pci_info, (nvml_device_t, void *), "nvmlDeviceGetPciInfo_v3", "nvmlDeviceGetPciInfo_v2") \
	X(architecture, (nvml_device_t, uint32_t *), "nvmlDeviceGetArchitecture", NULL)            \
	X(persistence, (nvml_device_t, uint32_t *), "nvmlDeviceGetPersistenceMode", NULL)          \
	X(energy, (nvml_device_t, uint64_t *), "nvmlDeviceGetTotalEnergyConsumption", NULL)        \
	X(power, (nvml_device_t, uint32_t *), "nvmlDeviceGetPowerUsage", NULL)                     \
	X(limit, (nvml_device_t, uint32_t *), "nvmlDeviceGetEnforcedPowerLimit",                   \
	  "nvmlDeviceGetPowerManagementLimit")                                                     \
	X(fields, (nvml_device_t, int, struct nvml_field_value *), "nvmlDeviceGetFieldValues",     \
	  NULL)                                                                                    \
	X(samples, (nvml_device_t, int, uint64_t, int *, uint32_t *, struct nvml_sample *),        \
	  "nvmlDeviceGetSamples", NULL)                                                            \
	X(utilization, (nvml_device_t, struct nvml_utilization *),                                 \
	  "nvmlDeviceGetUtilizationRates", NULL)                                                   \
	X(clock, (nvml_device_t, int, uint32_t *), "nvmlDeviceGetClockInfo", NULL)                 \
	X(temperature_v, (nvml_device_t, struct nvml_temperature *), "nvmlDeviceGetTemperatureV",  \
	  NULL)                                                                                    \
	X(temperature, (nvml_device_t, int, uint32_t *), "nvmlDeviceGetTemperature", NULL)         \
	X(memory_v2, (nvml_device_t, struct nvml_memory_v2 *), "nvmlDeviceGetMemoryInfo_v2", NULL) \
	X(memory, (nvml_device_t, struct nvml_memory *), "nvmlDeviceGetMemoryInfo", NULL)          \
	X(reasons, (nvml_device_t, uint64_t *), "nvmlDeviceGetCurrentClocksEventReasons",          \
	  "nvmlDeviceGetCurrentClocksThrottleReasons")                                             \
	X(mig_mode, (nvml_device_t, uint32_t *, uint32_t *), "nvmlDeviceGetMigMode", NULL)         \
	X(mig_max, (nvml_device_t, uint32_t *), "nvmlDeviceGetMaxMigDeviceCount", NULL)            \
	X(mig_handle, (nvml_device_t, uint32_t, nvml_device_t *),                                  \
	  "nvmlDeviceGetMigDeviceHandleByIndex", NULL)                                             \
	X(gpu_instance, (nvml_device_t, uint32_t *), "nvmlDeviceGetGpuInstanceId", NULL)           \
	X(compute_instance, (nvml_device_t, uint32_t *), "nvmlDeviceGetComputeInstanceId", NULL)   \
	X(attributes, (nvml_device_t, struct nvml_attributes *), "nvmlDeviceGetAttributes_v2", NULL)

#define EG_NVML_MEMBER_(member, args, newest, older) int(*member) args;
struct eg_nvml_api {
	EG_NVML_FUNCTIONS(EG_NVML_MEMBER_)
};

/*
 * Fills *ret from an opened library; absent functions are NULL. -EPROTO, with *ret_missing naming
 * it, where the library lacks what nothing can be measured without.
 */
int eg_nvml_resolve(const struct eg_loader *loader, void *lib, struct eg_nvml_api *ret,
		    const char **ret_missing) EG_MUST_CHECK;

/* How far the trouble behind a return code reaches, and what it means. */
enum eg_nvml_reach {
	EG_NVML_CALL,	 /* this call on this device */
	EG_NVML_HANDLE,	 /* the handle is to be looked up again */
	EG_NVML_DEVICE,	 /* the device is gone, until it comes back */
	EG_NVML_SESSION, /* the library is to be initialised again */
};
struct eg_nvml_verdict {
	int rc;
	enum eg_nvml_reach reach;
	enum eg_status status;
	enum eg_diag_code code;
	int err;	  /* negative errno */
	const char *text; /* static */
	const char *cure; /* static, "" where nothing helps */
};
#define EG_NVML_CURE_MUTE                                                                        \
	"on a Jetson the hwmon driver reads the rails; a virtual GPU has no sensor: measure on " \
	"its host"
/* Never NULL: an unknown code is an unknown error. */
const struct eg_nvml_verdict *eg_nvml_verdict(int rc);

#endif
