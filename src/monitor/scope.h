/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which GPUs a server speaks of: --gpus, else CUDA_VISIBLE_DEVICES of its own environment. Indices are
 * the driver's (NVML's), not CUDA's.
 */
#ifndef EG_MONITOR_SCOPE_H
#define EG_MONITOR_SCOPE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/util.h"

#define EG_SCOPE_MAX	  128 /* entries; what follows is not looked at */
#define EG_SCOPE_TEXT_MAX 80  /* bytes of one, with the NUL: MIG-GPU-UUID/GI/CI has 50 */

struct eg_scope {
	bool all; /* no choice was made */
	size_t n; /* not all, and 0: none */
	char entry[EG_SCOPE_MAX][EG_SCOPE_TEXT_MAX];
};

/*
 * NULL and "all": all. "", "none", "void", "nodevfiles": none. Else a list with commas of indices,
 * UUIDs (or their beginnings), PCI addresses; nothing between two commas names nothing. As in CUDA, a
 * negative index ends the list.
 */
void eg_scope_parse(const char *text, struct eg_scope *ret);
/*
 * Does an entry name this GPU? domain "gpu-0", device "gpu-GPU-1234..." or "pci-0000:03:00.0", pci its
 * address or "". MIG-... names no whole GPU: see eg_scope_is_mig().
 */
bool eg_scope_names(const char *entry, const char *domain, const char *device, const char *pci);
bool eg_scope_is_mig(const char *entry);

#endif
