/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fake AMD SMI with the vendor's symbols and, by -DABI=24, 25 or 26, the layout and size of its
 * power information. One socket a card. Answers come from the script.
 */
#include "fake_script.h"

uint32_t amdsmi_init(uint64_t flags);
uint32_t amdsmi_shut_down(void);
uint32_t amdsmi_get_socket_handles(uint32_t *count, void **sockets);
uint32_t amdsmi_get_processor_handles(void *socket, uint32_t *count, void **processors);
uint32_t amdsmi_get_gpu_device_bdf(void *processor, uint64_t *bdf);
uint32_t amdsmi_get_energy_count(void *processor, uint64_t *count, float *unit, uint64_t *ns);
uint32_t amdsmi_get_power_info(void *processor, void *info);
int fake_balance(void);

static int balance;

int fake_balance(void)
{
	return balance;
}

uint32_t amdsmi_init(uint64_t flags)
{
	uint32_t s = script_status("amdsmi_init");

	printf("noise on stdout\n");
	fprintf(stderr, "noise on stderr\n");
	if (s == 0 && flags != 2)
		return 1;
	balance += s == 0;
	return s;
}

uint32_t amdsmi_shut_down(void)
{
	balance--;
	return 0;
}

uint32_t amdsmi_get_socket_handles(uint32_t *count, void **sockets)
{
	uint32_t s = script_status("amdsmi_get_socket_handles");
	uint32_t n = (uint32_t)script_value("cards", 1);

	for (uint32_t i = 0; s == 0 && sockets && i < n && i < *count; i++)
		sockets[i] = (void *)(uintptr_t)(i + 1);
	if (s == 0)
		*count = n;
	return s;
}

uint32_t amdsmi_get_processor_handles(void *socket, uint32_t *count, void **processors)
{
	uint32_t s = script_status("amdsmi_get_processor_handles");

	if (s == 0 && processors && *count > 0)
		processors[0] = socket;
	if (s == 0)
		*count = 1;
	return s;
}

uint32_t amdsmi_get_gpu_device_bdf(void *processor, uint64_t *bdf)
{
	uint32_t s = script_status("amdsmi_get_gpu_device_bdf");

	if (s == 0)
		*bdf = script_of("bdf", (unsigned)(uintptr_t)processor - 1, 0);
	return s;
}

uint32_t amdsmi_get_energy_count(void *processor, uint64_t *count, float *unit, uint64_t *ns)
{
	unsigned i = (unsigned)(uintptr_t)processor - 1;
	uint32_t s = script_status("amdsmi_get_energy_count");

	if (s == 0)
		s = (uint32_t)script_of("energy_status", i, 0);
	if (s != 0)
		return s;
	*count = script_of("energy", i, UINT64_MAX);
	*unit = 15.3f; /* as the vendor's library says */
	*ns = script_value("ns", 1);
	return 0;
}

#if ABI == 24
enum { SIZE = 68, CURRENT = 0, AVERAGE = 4, LIMIT = 20 };
#elif ABI == 25
enum { SIZE = 40, SOCKET = 0, CURRENT = 8, AVERAGE = 12, LIMIT = 28 };
#else
enum { SIZE = 192, SOCKET = 0, CURRENT = 8, AVERAGE = 12, LIMIT = 40 };
#endif

static void put32(unsigned char *info, int offset, uint64_t v)
{
	uint32_t w = (uint32_t)v;

	memcpy(info + offset, &w, sizeof(w));
}

uint32_t amdsmi_get_power_info(void *processor, void *info)
{
	unsigned i = (unsigned)(uintptr_t)processor - 1;
	uint32_t s = script_status("amdsmi_get_power_info");

	if (s != 0)
		return s;
	memset(info, 0, SIZE);
	put32(info, CURRENT, script_of("current", i, 0xffff));
	put32(info, AVERAGE, script_of("average", i, 0xffff));
	put32(info, LIMIT, 750);
#if ABI != 24
	uint64_t socket_w = script_of("socket", i, UINT64_MAX);

	memcpy((unsigned char *)info + SOCKET, &socket_w, sizeof(socket_w));
#endif
	return 0;
}
