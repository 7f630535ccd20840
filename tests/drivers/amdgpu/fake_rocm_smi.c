/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fake ROCm SMI with the vendor's symbols; -DOLD leaves out the energy counter and the newer power
 * calls, as old releases do. Answers come from the script.
 */
#include "fake_script.h"

uint32_t rsmi_init(uint64_t flags);
uint32_t rsmi_shut_down(void);
uint32_t rsmi_num_monitor_devices(uint32_t *count);
uint32_t rsmi_dev_pci_id_get(uint32_t i, uint64_t *bdf);
uint32_t rsmi_dev_power_ave_get(uint32_t i, uint32_t sensor, uint64_t *uw);
uint32_t rsmi_dev_energy_count_get(uint32_t i, uint64_t *count, float *unit, uint64_t *ns);
uint32_t rsmi_dev_power_get(uint32_t i, uint64_t *uw, uint32_t *type);
int fake_balance(void);

static int balance;

int fake_balance(void)
{
	return balance;
}

uint32_t rsmi_init(uint64_t flags)
{
	uint32_t s = script_status("rsmi_init");

	printf("noise on stdout\n");
	fprintf(stderr, "noise on stderr\n");
	balance += s == 0;
	return flags == 0 ? s : 1;
}

uint32_t rsmi_shut_down(void)
{
	balance--;
	return 0;
}

uint32_t rsmi_num_monitor_devices(uint32_t *count)
{
	uint32_t s = script_status("rsmi_num_monitor_devices");

	if (s == 0)
		*count = (uint32_t)script_value("cards", 1);
	return s;
}

uint32_t rsmi_dev_pci_id_get(uint32_t i, uint64_t *bdf)
{
	uint32_t s = script_status("rsmi_dev_pci_id_get");

	if (s == 0)
		*bdf = script_of("bdf", i, 0);
	return s;
}

uint32_t rsmi_dev_power_ave_get(uint32_t i, uint32_t sensor, uint64_t *uw)
{
	uint32_t s = script_status("rsmi_dev_power_ave_get");

	if (s == 0 && sensor != 0)
		return 1;
	if (s == 0)
		*uw = script_of("average", i, 0) * 1000000;
	return s;
}

#ifndef OLD
uint32_t rsmi_dev_energy_count_get(uint32_t i, uint64_t *count, float *unit, uint64_t *ns)
{
	uint32_t s = script_status("rsmi_dev_energy_count_get");

	if (s == 0)
		s = (uint32_t)script_of("energy_status", i, 0);
	if (s != 0)
		return s;
	*count = script_of("energy", i, UINT64_MAX);
	*unit = 15.3f;
	*ns = 1;
	return 0;
}

uint32_t rsmi_dev_power_get(uint32_t i, uint64_t *uw, uint32_t *type)
{
	uint32_t s = script_status("rsmi_dev_power_get");

	if (s == 0) {
		*uw = script_of("socket", i, 0) * 1000000;
		*type = 1;
	}
	return s;
}
#endif
