/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of the simulated machine: which ones each channel has, and making and removing them.
 * Inside src/sim only.
 */
#ifndef EG_SIM_TREE_H
#define EG_SIM_TREE_H

#include <stddef.h>

#include "base/util.h"
#include "sim/scenario.h"

/* Value files of a channel, by what stands in them. */
enum eg_tree_role {
	EG_TREE_VALUE,	 /* energy_uj, energyN_input, powerN_input, currN_input, power_now, ... */
	EG_TREE_AVERAGE, /* powerN_average */
	EG_TREE_LEFT,	 /* energy_now of a battery */
	EG_TREE_STATUS,	 /* status of a battery */
	EG_TREE_ROLES,
};

#define EG_TREE_PATH_MAX 320
/* Digits of a value file, padded with blanks, and a newline. */
#define EG_TREE_WIDTH	 24

/*
 * (Re)makes a file below root with its parents. A file that is there is unlinked first, so that a
 * descriptor kept on the old one never sees the new. ret_fd may be NULL (closed then).
 */
int eg_tree_put(int root, const char *path, unsigned mode, const void *data, size_t n,
		int *ret_fd) EG_MUST_CHECK;
int eg_tree_puts(int root, const char *path, const char *text) EG_MUST_CHECK;
int eg_tree_putf(int root, const char *path, const char *fmt, ...) EG_PRINTF(3, 4) EG_MUST_CHECK;
int eg_tree_link(int root, const char *target, const char *path) EG_MUST_CHECK;

/* Folder of a channel below the root. */
int eg_tree_dir(const struct eg_scenario *sc, const struct eg_sim_channel *c, char *ret,
		size_t cap) EG_MUST_CHECK;
/* Value file of a channel below the root, links resolved; "" where the role does not exist. */
int eg_tree_path(const struct eg_scenario *sc, const struct eg_sim_channel *c,
		 enum eg_tree_role role, char *ret, size_t cap) EG_MUST_CHECK;
/* Makes everything of a channel but its value files. */
int eg_tree_channel(int root, const struct eg_scenario *sc,
		    const struct eg_sim_channel *c) EG_MUST_CHECK;
/* Removes what eg_tree_channel() made and the value files. */
void eg_tree_remove(int root, const struct eg_scenario *sc, const struct eg_sim_channel *c);
/* /proc, /sys/devices/system/cpu and the scenario's own files. */
int eg_tree_machine(int root, const struct eg_scenario *sc) EG_MUST_CHECK;

#endif
