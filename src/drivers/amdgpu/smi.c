/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See smi.h. The layout of AMD SMI's power information differs between its ABI versions, so the
 * soname decides it (ROCm 6.3 and newer; amdsmi.h of each version). The libraries state a counter
 * unit of 15.3 uJ, a rounding of the 2^-16 J that the firmware counts in: theirs is ignored.
 */
#include "drivers/amdgpu/smi.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	SOCKETS_MAX = 64,
	POWER_INFO_MAX = 512, /* more than any ABI writes (192) */
};

typedef void *handle;

struct amd_api {
	uint32_t (*init)(uint64_t flags);
	uint32_t (*shut_down)(void);
	uint32_t (*get_socket_handles)(uint32_t *count, handle *sockets);
	uint32_t (*get_processor_handles)(handle socket, uint32_t *count, handle *processors);
	uint32_t (*get_gpu_device_bdf)(handle processor, uint64_t *bdf);
	uint32_t (*get_energy_count)(handle processor, uint64_t *count, float *unit_uj,
				     uint64_t *ns);
	uint32_t (*get_power_info)(handle processor, void *info);
};

struct rocm_api {
	uint32_t (*init)(uint64_t flags);
	uint32_t (*shut_down)(void);
	uint32_t (*num_monitor_devices)(uint32_t *count);
	uint32_t (*dev_pci_id_get)(uint32_t device, uint64_t *bdf);
	uint32_t (*dev_energy_count_get)(uint32_t device, uint64_t *count, float *unit_uj,
					 uint64_t *ns);
	uint32_t (*dev_power_ave_get)(uint32_t device, uint32_t sensor, uint64_t *uw);
	uint32_t (*dev_power_get)(uint32_t device, uint64_t *uw, uint32_t *type);
	uint32_t (*dev_current_socket_power_get)(uint32_t device, uint64_t *uw);
};

/* Where the powers (W) lie in AMD SMI's power information; socket has 8 bytes, the others 4. */
struct power_layout {
	int socket, current, average; /* offset, -1 none */
};

static const struct library {
	const char *soname;
	bool rocm;
	struct power_layout power;
} libraries[] = {
	{"libamd_smi.so.26", false, {0, 8, 12}},
	{"libamd_smi.so.25", false, {0, 8, 12}},
	{"libamd_smi.so.24", false, {-1, 0, 4}},
	{"librocm_smi64.so.1", true, {-1, -1, -1}},
};

struct eg_smi {
	const struct eg_loader *loader;
	const struct library *which;
	void *lib;
	struct amd_api amd;
	struct rocm_api rocm;
	size_t n;
	struct {
		char bdf[EG_SMI_BDF_MAX];
		handle processor;
		uint32_t index;
	} device[EG_SMI_DEVICES_MAX];
};

/* ---- symbols ---- */

/* POSIX lets a data pointer carry a function's address; C has no cast for it. */
#define RESOLVE(smi, field, name)                                                    \
	do {                                                                         \
		void *p_ = (smi)->loader->sym((smi)->loader->ctx, (smi)->lib, name); \
		memcpy(&(field), &p_, sizeof(p_));                                   \
	} while (0)

static bool resolve(struct eg_smi *s)
{
	if (s->which->rocm) {
		RESOLVE(s, s->rocm.init, "rsmi_init");
		RESOLVE(s, s->rocm.shut_down, "rsmi_shut_down");
		RESOLVE(s, s->rocm.num_monitor_devices, "rsmi_num_monitor_devices");
		RESOLVE(s, s->rocm.dev_pci_id_get, "rsmi_dev_pci_id_get");
		RESOLVE(s, s->rocm.dev_energy_count_get, "rsmi_dev_energy_count_get");
		RESOLVE(s, s->rocm.dev_power_ave_get, "rsmi_dev_power_ave_get");
		RESOLVE(s, s->rocm.dev_power_get, "rsmi_dev_power_get");
		RESOLVE(s, s->rocm.dev_current_socket_power_get,
			"rsmi_dev_current_socket_power_get");
		return s->rocm.init && s->rocm.shut_down && s->rocm.num_monitor_devices &&
		       s->rocm.dev_pci_id_get;
	}
	RESOLVE(s, s->amd.init, "amdsmi_init");
	RESOLVE(s, s->amd.shut_down, "amdsmi_shut_down");
	RESOLVE(s, s->amd.get_socket_handles, "amdsmi_get_socket_handles");
	RESOLVE(s, s->amd.get_processor_handles, "amdsmi_get_processor_handles");
	RESOLVE(s, s->amd.get_gpu_device_bdf, "amdsmi_get_gpu_device_bdf");
	RESOLVE(s, s->amd.get_energy_count, "amdsmi_get_energy_count");
	RESOLVE(s, s->amd.get_power_info, "amdsmi_get_power_info");
	return s->amd.init && s->amd.shut_down && s->amd.get_socket_handles &&
	       s->amd.get_processor_handles && s->amd.get_gpu_device_bdf;
}

static int amd_errno(uint32_t status)
{
	switch (status) {
	case 0:
		return 0;
	case 2:
		return -ENOTSUP;
	case 10:
		return -EACCES;
	case 31: /* not found */
	case 34: /* no driver */
		return -ENODEV;
	case 40:
		return -ENODATA;
	default:
		return -EIO;
	}
}

static int rocm_errno(uint32_t status)
{
	switch (status) {
	case 0:
		return 0;
	case 2:
	case 9: /* not yet implemented */
		return -ENOTSUP;
	case 4:
		return -EACCES;
	case 8: /* no device, or it does not start */
	case 10:
		return -ENODEV;
	case 14:
	case 16: /* busy */
		return -ENODATA;
	default:
		return -EIO;
	}
}

/* ---- start ---- */

/*
 * The libraries print on both outputs when they find nothing they like, and offer no switch. Both
 * descriptors lead to nowhere for the length of one call; this is process wide, so it is done at
 * open alone.
 */
static uint32_t init_quietly(uint32_t (*init)(uint64_t), uint64_t flags)
{
	int sink = memfd_create("ergon-smi", MFD_CLOEXEC), saved[2];
	uint32_t status;

	/* What waits in the program's own buffer goes out before, what the library left in it after. */
	fflush(stdout);
	for (int i = 0; i < 2; i++) {
		saved[i] = sink < 0 ? -1 : fcntl(i + 1, F_DUPFD_CLOEXEC, 3);
		if (saved[i] >= 0)
			(void)dup2(sink, i + 1);
	}
	status = init(flags);
	fflush(stdout);
	for (int i = 0; i < 2; i++) {
		if (saved[i] < 0)
			continue;
		(void)dup2(saved[i], i + 1);
		close(saved[i]);
	}
	if (sink >= 0)
		close(sink);
	return status;
}

static void add_device(struct eg_smi *s, uint64_t domain, uint64_t id, handle processor,
		       uint32_t index)
{
	char bdf[EG_SMI_BDF_MAX];

	snprintf(bdf, sizeof(bdf), "%04x:%02x:%02x.%x", (unsigned)(domain & 0xffffffff),
		 (unsigned)(id >> 8 & 0xff), (unsigned)(id >> 3 & 0x1f), (unsigned)(id & 7));
	/* Partitions of a card share its address: the card is counted once. */
	if (eg_smi_find(s, bdf) >= 0 || s->n == EG_SMI_DEVICES_MAX)
		return;
	(void)eg_copy(s->device[s->n].bdf, EG_SMI_BDF_MAX, bdf);
	s->device[s->n].processor = processor;
	s->device[s->n].index = index;
	s->n++;
}

static int list_amd(struct eg_smi *s)
{
	handle socket[SOCKETS_MAX], processor[EG_SMI_DEVICES_MAX];
	uint32_t n_sockets = SOCKETS_MAX;
	uint32_t status = s->amd.get_socket_handles(&n_sockets, socket);

	if (status != 0)
		return amd_errno(status);
	n_sockets = EG_MIN(n_sockets, (uint32_t)SOCKETS_MAX);
	for (uint32_t i = 0; i < n_sockets; i++) {
		uint32_t n = EG_SMI_DEVICES_MAX;

		status = s->amd.get_processor_handles(socket[i], &n, processor);
		if (status != 0)
			continue; /* one socket of several: the others stay */
		for (uint32_t k = 0; k < EG_MIN(n, (uint32_t)EG_SMI_DEVICES_MAX); k++) {
			uint64_t id;

			if (s->amd.get_gpu_device_bdf(processor[k], &id) == 0)
				add_device(s, id >> 16, id, processor[k], 0);
		}
	}
	return 0;
}

static int list_rocm(struct eg_smi *s)
{
	uint32_t n = 0, status = s->rocm.num_monitor_devices(&n);

	if (status != 0)
		return rocm_errno(status);
	for (uint32_t i = 0; i < EG_MIN(n, (uint32_t)EG_SMI_DEVICES_MAX); i++) {
		uint64_t id;

		if (s->rocm.dev_pci_id_get(i, &id) == 0)
			add_device(s, id >> 32, id, NULL, i);
	}
	return 0;
}

/* Opens and starts one library; s->lib is set while it is loaded. */
static int start(struct eg_smi *s, struct eg_diags *diags)
{
	static const char cure[] = "install the ROCm release that fits the kernel driver";
	uint32_t status;
	int r = s->loader->open(s->loader->ctx, s->which->soname, &s->lib);

	if (r < 0) {
		s->lib = NULL;
		if (r != -ENOENT)
			eg_diag_add(diags, EG_DIAG_SENSOR_ERROR, "amdgpu", s->which->soname, cure,
				    "%s is there but cannot be loaded", s->which->soname);
		return r;
	}
	if (!resolve(s)) {
		eg_diag_add(diags, EG_DIAG_SENSOR_UNSUPPORTED, "amdgpu", s->which->soname, cure,
			    "%s lacks functions that Ergon needs", s->which->soname);
		r = -ENOTSUP;
	} else {
		status = s->which->rocm ? init_quietly(s->rocm.init, 0) :
					  init_quietly(s->amd.init, 2); /* 2: GPUs */
		r = s->which->rocm ? rocm_errno(status) : amd_errno(status);
		if (r == 0) {
			r = s->which->rocm ? list_rocm(s) : list_amd(s);
			if (r == 0 && s->n > 0)
				return 0;
			if (r == 0)
				r = -ENODEV;
			(void)(s->which->rocm ? s->rocm.shut_down() : s->amd.shut_down());
		}
		eg_diag_add(diags, eg_diag_code_of(r), "amdgpu", s->which->soname,
			    r == -EACCES ? "join the groups render and video" : cure,
			    "%s does not start (status %u)", s->which->soname, status);
	}
	s->n = 0;
	s->loader->close(s->loader->ctx, s->lib);
	s->lib = NULL;
	return r;
}

int eg_smi_open(const struct eg_loader *loader, struct eg_diags *diags, struct eg_smi **ret)
{
	struct eg_smi *s = calloc(1, sizeof(*s));
	int r = -ENOENT;

	if (!s)
		return -ENOMEM;
	s->loader = loader;
	for (size_t i = 0; i < EG_ARRAY_SIZE(libraries); i++) {
		int e;

		s->which = &libraries[i];
		e = start(s, diags);
		if (e == 0) {
			*ret = s;
			return 0;
		}
		if (e != -ENOENT)
			r = e;
	}
	free(s);
	return r;
}

struct eg_smi *eg_smi_close(struct eg_smi *s)
{
	if (!s)
		return NULL;
	(void)(s->which->rocm ? s->rocm.shut_down() : s->amd.shut_down());
	s->loader->close(s->loader->ctx, s->lib);
	free(s);
	return NULL;
}

/* ---- reading ---- */

const char *eg_smi_name(const struct eg_smi *s)
{
	return s->which->soname;
}

int eg_smi_find(const struct eg_smi *s, const char *bdf)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->device[i].bdf, bdf) == 0)
			return (int)i;
	return -ENODEV;
}

int eg_smi_energy(const struct eg_smi *s, int device, uint64_t *ret)
{
	uint64_t count = UINT64_MAX, ns = 0;
	float unit_uj = 0; /* of the library: 15.3, see above */
	int r;

	if (s->which->rocm) {
		if (!s->rocm.dev_energy_count_get)
			return -ENOTSUP;
		r = rocm_errno(s->rocm.dev_energy_count_get(s->device[device].index, &count,
							    &unit_uj, &ns));
	} else {
		if (!s->amd.get_energy_count)
			return -ENOTSUP;
		r = amd_errno(s->amd.get_energy_count(s->device[device].processor, &count, &unit_uj,
						      &ns));
	}
	if (r < 0)
		return r;
	if (count == UINT64_MAX)
		return -ENODATA;
	*ret = count;
	return 0;
}

/* Watts at an offset, -ENODATA where the field says that it has none. */
static int watts_at(const unsigned char *info, int offset, size_t bytes, uint64_t *ret_uw)
{
	uint64_t w64;
	uint32_t w32;

	if (offset < 0)
		return -ENODATA;
	if (bytes == 8) {
		memcpy(&w64, info + offset, 8);
	} else {
		memcpy(&w32, info + offset, 4);
		w64 = w32 == UINT32_MAX ? UINT64_MAX : w32;
	}
	if (w64 == UINT64_MAX || w64 == UINT32_MAX || w64 == UINT16_MAX)
		return -ENODATA;
	if (w64 > UINT64_MAX / 1000000)
		return -ERANGE;
	*ret_uw = w64 * 1000000;
	return 0;
}

static int amd_power(const struct eg_smi *s, int device, uint64_t *ret_uw)
{
	const struct power_layout *l = &s->which->power;
	_Alignas(8) unsigned char info[POWER_INFO_MAX];
	int r;

	if (!s->amd.get_power_info)
		return -ENOTSUP;
	memset(info, 0xff, sizeof(info)); /* what is not written is absent */
	r = amd_errno(s->amd.get_power_info(s->device[device].processor, info));
	if (r < 0)
		return r;
	r = watts_at(info, l->socket, 8, ret_uw);
	if (r == -ENODATA)
		r = watts_at(info, l->average, 4, ret_uw);
	if (r == -ENODATA)
		r = watts_at(info, l->current, 4, ret_uw);
	return r;
}

int eg_smi_power_uw(const struct eg_smi *s, int device, uint64_t *ret)
{
	uint32_t index = s->device[device].index, type;
	uint64_t uw = UINT64_MAX;
	int r = -ENOTSUP;

	if (!s->which->rocm)
		return amd_power(s, device, ret);
	if (s->rocm.dev_power_ave_get)
		r = rocm_errno(s->rocm.dev_power_ave_get(index, 0, &uw));
	if (r == -ENOTSUP && s->rocm.dev_power_get)
		r = rocm_errno(s->rocm.dev_power_get(index, &uw, &type));
	if (r == -ENOTSUP && s->rocm.dev_current_socket_power_get)
		r = rocm_errno(s->rocm.dev_current_socket_power_get(index, &uw));
	if (r < 0)
		return r;
	if (uw == UINT64_MAX)
		return -ENODATA;
	*ret = uw;
	return 0;
}

const char *eg_smi_energy_symbol(const struct eg_smi *s)
{
	return s->which->rocm ? "rsmi_dev_energy_count_get" : "amdsmi_get_energy_count";
}

const char *eg_smi_power_symbol(const struct eg_smi *s)
{
	return s->which->rocm ? "rsmi_dev_power_ave_get" : "amdsmi_get_power_info";
}
