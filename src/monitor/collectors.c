/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The platforms that energy.EnergyMonitor tells apart, in the order of its contract: the first that has
 * a channel with a reading wins; after the last come `rapl`, then `null`. Drivers exist on every
 * platform here; what is not there does not win. docs/adding-a-driver.md adds a row.
 */
#include "monitor/telemetry.h"

const struct eg_collector eg_collectors[] = {
	{
		.platform = "macos",
		.driver = "powermetrics",
		.component = EG_COMPONENT_GPU,
		.name = "Apple GPU",
		.vendor = "Apple",
		.device_type = "Integrated GPU",
		.backend = "powermetrics",
		.needs = "usr/bin/powermetrics",
	},
	{
		.platform = "jetson",
		.driver = "hwmon",
		.component = EG_COMPONENT_SOC,
		.name = "NVIDIA Jetson",
		.vendor = "NVIDIA",
		.device_type = "SoC",
		.backend = "sysfs/ina3221",
		.needs = "etc/nv_tegra_release",
		.is_module = true,
	},
	{
		.platform = "nvidia",
		.driver = "nvml",
		.component = EG_COMPONENT_GPU,
		.vendor = "NVIDIA",
		.device_type = "GPU",
		.backend = "NVML",
		.scoped_by_cuda = true,
	},
	{
		.platform = "amd",
		.driver = "amdgpu",
		.component = EG_COMPONENT_GPU,
		.vendor = "AMD",
		.device_type = "GPU",
		.backend = "AMDSMI",
	},
	{0},
};
