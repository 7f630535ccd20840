/* SPDX-License-Identifier: Apache-2.0 */
/* See api.h: symbol resolution, and the one table of what NVML's return codes mean for us. */
#include "drivers/nvml/api.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

/* NVIDIA's layouts; a compiler that packs otherwise must not build this. */
static_assert(sizeof(struct nvml_field_value) == 40, "nvmlFieldValue_t");
static_assert(offsetof(struct nvml_field_value, timestamp_us) == 8, "nvmlFieldValue_t");
static_assert(offsetof(struct nvml_field_value, value_type) == 24, "nvmlFieldValue_t");
static_assert(offsetof(struct nvml_field_value, ret) == 28, "nvmlFieldValue_t");
static_assert(offsetof(struct nvml_field_value, value) == 32, "nvmlFieldValue_t");
static_assert(sizeof(struct nvml_sample) == 16, "nvmlSample_t");
static_assert(sizeof(struct nvml_memory) == 24, "nvmlMemory_t");
static_assert(sizeof(struct nvml_memory_v2) == 40, "nvmlMemory_v2_t");
static_assert(offsetof(struct nvml_memory_v2, used) == 32, "nvmlMemory_v2_t");
static_assert(sizeof(struct nvml_utilization) == 8, "nvmlUtilization_t");
static_assert(sizeof(struct nvml_pci_info) == 68, "nvmlPciInfo_t");
static_assert(offsetof(struct nvml_pci_info, bus_id) == 36, "nvmlPciInfo_t");
static_assert(sizeof(struct nvml_temperature) == 12, "nvmlTemperature_t");
static_assert(sizeof(struct nvml_attributes) == 40, "nvmlDeviceAttributes_t");
static_assert(offsetof(struct nvml_attributes, gpu_instance_slices) == 24,
	      "nvmlDeviceAttributes_t");
static_assert(offsetof(struct nvml_attributes, memory_mb) == 32, "nvmlDeviceAttributes_t");

static void *find(const struct eg_loader *loader, void *lib, const char *newest, const char *older)
{
	void *p = loader->sym(loader->ctx, lib, newest);

	return p || !older ? p : loader->sym(loader->ctx, lib, older);
}

int eg_nvml_resolve(const struct eg_loader *loader, void *lib, struct eg_nvml_api *ret,
		    const char **ret_missing)
{
	struct eg_nvml_api api;
	void *p;

	/* memcpy: ISO C has no conversion from an object pointer to a function pointer. */
#define RESOLVE(member, args, newest, older)  \
	p = find(loader, lib, newest, older); \
	memcpy(&api.member, &p, sizeof(api.member));
	EG_NVML_FUNCTIONS(RESOLVE)
#undef RESOLVE
	if (!api.init || !api.shutdown)
		*ret_missing = "nvmlInit or nvmlShutdown";
	else if (!api.count || !api.handle_by_index)
		*ret_missing = "nvmlDeviceGetCount or nvmlDeviceGetHandleByIndex";
	else if (!api.energy && !api.power && !api.fields)
		*ret_missing = "nvmlDeviceGetTotalEnergyConsumption and nvmlDeviceGetPowerUsage";
	else {
		*ret = api;
		return 0;
	}
	return -EPROTO;
}

#define CURE_ACCESS                                                                             \
	"give this process access to /dev/nvidiactl and /dev/nvidia*; in a container start it " \
	"with --gpus all and NVIDIA_DRIVER_CAPABILITIES=utility"

static const struct eg_nvml_verdict verdicts[] = {
	{NVML_UNINITIALIZED, EG_NVML_SESSION, EG_STATUS_ERROR, EG_DIAG_SENSOR_ERROR, -EIO,
	 "the library was shut down by another user of it in this process",
	 "pair every nvmlShutdown of the program with its own nvmlInit"},
	{NVML_INVALID_ARGUMENT, EG_NVML_HANDLE, EG_STATUS_ERROR, EG_DIAG_SENSOR_ERROR, -EIO,
	 "invalid argument", ""},
	{NVML_NOT_SUPPORTED, EG_NVML_CALL, EG_STATUS_ERROR, EG_DIAG_SENSOR_UNSUPPORTED, -ENODEV,
	 "not supported by this device", EG_NVML_CURE_MUTE},
	{NVML_NO_PERMISSION, EG_NVML_CALL, EG_STATUS_DENIED, EG_DIAG_SENSOR_BLOCKED, -EACCES,
	 "no permission", CURE_ACCESS},
	{NVML_NOT_FOUND, EG_NVML_HANDLE, EG_STATUS_NO_DATA, EG_DIAG_SENSOR_ABSENT, -ENODEV,
	 "not found", "see which GPUs `nvidia-smi -L` lists for this process"},
	{NVML_DRIVER_NOT_LOADED, EG_NVML_SESSION, EG_STATUS_ERROR, EG_DIAG_SENSOR_ABSENT, -ENODEV,
	 "the NVIDIA kernel driver is not loaded",
	 "load it (modprobe nvidia) and see `dmesg`; in a container pass the devices through"},
	{NVML_FUNCTION_NOT_FOUND, EG_NVML_CALL, EG_STATUS_ERROR, EG_DIAG_SENSOR_UNSUPPORTED,
	 -ENODEV, "not in this version of the driver", "update the NVIDIA driver"},
	{NVML_GPU_IS_LOST, EG_NVML_DEVICE, EG_STATUS_ERROR, EG_DIAG_SENSOR_ERROR, -EIO,
	 "the GPU is lost (it fell off the bus)",
	 "see `dmesg` for Xid messages; reset the GPU or reboot"},
	{NVML_RESET_REQUIRED, EG_NVML_DEVICE, EG_STATUS_ERROR, EG_DIAG_SENSOR_ERROR, -EIO,
	 "the GPU needs a reset", "stop its users, then `nvidia-smi --gpu-reset`, or reboot"},
	{NVML_OPERATING_SYSTEM, EG_NVML_CALL, EG_STATUS_DENIED, EG_DIAG_SENSOR_BLOCKED, -EACCES,
	 "blocked by the operating system or its device rules", CURE_ACCESS},
	{NVML_VERSION_MISMATCH, EG_NVML_SESSION, EG_STATUS_ERROR, EG_DIAG_SENSOR_ERROR, -EPROTO,
	 "the library and the loaded kernel driver have different versions",
	 "reboot, or reload the nvidia kernel modules, after a driver update"},
	{NVML_NO_DATA, EG_NVML_CALL, EG_STATUS_NO_DATA, EG_DIAG_SENSOR_ERROR, -ENODATA,
	 "no data now", ""},
	{NVML_UNKNOWN, EG_NVML_HANDLE, EG_STATUS_ERROR, EG_DIAG_SENSOR_ERROR, -EIO, "unknown error",
	 "see `dmesg` for messages of the NVIDIA driver"},
};

const struct eg_nvml_verdict *eg_nvml_verdict(int rc)
{
	size_t n = EG_ARRAY_SIZE(verdicts);

	for (size_t i = 0; i < n; i++)
		if (verdicts[i].rc == rc)
			return &verdicts[i];
	return &verdicts[n - 1];
}
