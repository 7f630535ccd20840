/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts about the machine and this process that decide what can be measured: kernel, boot,
 * virtualisation, container, rights. Each is read on its own and stays unknown when it cannot be.
 */
#ifndef EG_HOST_MACHINE_H
#define EG_HOST_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/env.h"
#include "host/cpu.h"

/* Capability bits that the drivers' interfaces ask for (linux/capability.h). */
#define EG_CAP_DAC_OVERRIDE    1
#define EG_CAP_DAC_READ_SEARCH 2
#define EG_CAP_SYS_RAWIO       17
#define EG_CAP_SYS_ADMIN       21
#define EG_CAP_PERFMON	       38

struct eg_machine {
	char kernel[96];  /* "6.1.0-18-amd64"; "" unknown */
	char boot_id[40]; /* "" unknown */
	char product[96]; /* DMI "VENDOR PRODUCT"; "" unknown */
	bool virtual_machine;
	char hypervisor[24]; /* "kvm", "vmware", "xen", "hyper-v", ...; "" none, or unnamed */
	char container[24];  /* "docker", "podman", "kubernetes", "lxc", ...; "" none seen */
	bool have_caps;
	uint64_t cap_eff; /* effective capabilities of this process */
	bool have_uid;
	uint32_t euid;
	bool have_paranoid;
	int perf_event_paranoid;
};

/* cpu: of eg_cpu_read, or NULL. Never fails: what cannot be read stays unknown. */
void eg_machine_read(const struct eg_env *env, const struct eg_cpu *cpu, struct eg_machine *ret);
/* True only if the capability is known to be held. */
bool eg_machine_has_cap(const struct eg_machine *m, unsigned cap);

#endif
