/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AMD SMI and ROCm SMI, loaded at run time, as one interface: cards by PCI address, an energy
 * counter in units of 2^-16 J, a power in microwatts. Functions and layouts are declared here; no
 * header of theirs is needed.
 */
#ifndef EG_DRIVERS_AMDGPU_SMI_H
#define EG_DRIVERS_AMDGPU_SMI_H

#include <stddef.h>
#include <stdint.h>

#include "base/loader.h"
#include "base/util.h"
#include "core/diag.h"

#define EG_SMI_DEVICES_MAX 128
#define EG_SMI_BDF_MAX	   20 /* "0000:03:00.0" */

struct eg_smi;

/*
 * Loads the best library that starts: AMD SMI (ABI 26, 25, 24), else ROCm SMI. Call it only where
 * an AMD card is: without one the libraries print. -ENOENT no library; what else is wrong goes to
 * diags.
 */
int eg_smi_open(const struct eg_loader *loader, struct eg_diags *diags,
		struct eg_smi **ret) EG_MUST_CHECK;
struct eg_smi *eg_smi_close(struct eg_smi *smi); /* takes NULL, returns NULL */

const char *eg_smi_name(const struct eg_smi *smi); /* the soname, borrowed */
/* The card at a PCI address, or -ENODEV. */
int eg_smi_find(const struct eg_smi *smi, const char *bdf) EG_MUST_CHECK;
/* -ENOTSUP the card or the library cannot; -ENODATA, -EACCES, -ENODEV, -EIO. */
int eg_smi_energy(const struct eg_smi *smi, int device, uint64_t *ret) EG_MUST_CHECK;
int eg_smi_power_uw(const struct eg_smi *smi, int device, uint64_t *ret) EG_MUST_CHECK;
/* Names of what is read, for the origin of a channel. */
const char *eg_smi_energy_symbol(const struct eg_smi *smi);
const char *eg_smi_power_symbol(const struct eg_smi *smi);

#endif
