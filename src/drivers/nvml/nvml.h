/* SPDX-License-Identifier: Apache-2.0 */
/* The driver's state, shared by its files only. */
#ifndef EG_DRIVERS_NVML_NVML_H
#define EG_DRIVERS_NVML_NVML_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/driver.h"
#include "drivers/nvml/api.h"
#include "drivers/nvml/decode.h"

#define EG_NVML_DEVICES_MAX 64
#define EG_NVML_NO_CELSIUS  INT32_MIN

/* How a device's power or energy is read. */
enum eg_nvml_way {
	EG_NVML_COUNTER, /* nvmlDeviceGetTotalEnergyConsumption */
	EG_NVML_FIELD,	 /* field 186, instant power */
	EG_NVML_USAGE,	 /* nvmlDeviceGetPowerUsage */
};

struct eg_nvml_device {
	nvml_device_t handle; /* NULL: to be looked up; written under the lock */
	unsigned index;	      /* NVML's, at open */
	char name[NVML_STRING_MAX], uuid[NVML_STRING_MAX], pci[32];
	enum eg_nvml_way way;
	bool ring;		 /* its sample ring answers */
	bool module;		 /* the sensor covers CPU and GPU */
	bool check;		 /* a second row of its GPU: power beside the counter */
	bool gone;		 /* the driver said lost or reset required */
	uint64_t last_ns;	 /* newest point put, interval clock */
	uint64_t state_ns;	 /* when throttle reasons and temperature were last asked */
	_Atomic uint32_t flags;	 /* read by flags() from any thread */
	_Atomic int32_t celsius; /* EG_NVML_NO_CELSIUS: unknown */
	_Atomic uint64_t
		sensor_uw; /* of nvmlDeviceGetPowerUsage beside the counter; UINT64_MAX none */
};

struct eg_instance {
	const struct eg_env *env;
	void *lib;
	struct eg_nvml_api api;
	char soname[24];
	/* Held while handles, the library or the session change, and by attributes(). The thread of
	 * read() is the only one that changes them, so it reads them without. */
	pthread_mutex_t lock;
	bool ready;		    /* our nvmlInit stands */
	int trouble;		    /* return code that ended the session */
	uint64_t retry_ns, wait_ns; /* of looking up handles and of initialising */
	size_t n;
	struct eg_channel ch[EG_NVML_DEVICES_MAX];
	struct eg_nvml_device dev[EG_NVML_DEVICES_MAX];
	struct nvml_sample sample[EG_NVML_RING_MAX];
	struct eg_nvml_point point[EG_NVML_RING_MAX];
};

int eg_nvml_temperature(const struct eg_nvml_api *api, nvml_device_t h, int32_t *ret_celsius);
void eg_nvml_attributes(struct eg_instance *in, struct eg_attribute_sink *sink);

#endif
