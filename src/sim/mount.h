/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated machine as a mounted file system (FUSE): every read gets the value of its moment,
 * and reads fail, hang or find their device gone as the scenario says. Where libfuse3 was not there
 * at build time, eg_sim_mount_open() answers -ENOTSUP.
 */
#ifndef EG_SIM_MOUNT_H
#define EG_SIM_MOUNT_H

#include <stdbool.h>

#include "base/util.h"
#include "sim/machine.h"
#include "sim/run.h"

struct eg_sim_mount;

bool eg_sim_mount_built(void);
/*
 * Mounts over dir, whose own content (the tree of sim) stays reachable through dirfd. sim and run
 * are borrowed. Errors: ENOTSUP, EPERM or ENODEV (no /dev/fuse, no right to mount).
 */
int eg_sim_mount_open(struct eg_sim *sim, int dirfd, const char *dir, const struct eg_sim_run *run,
		      struct eg_sim_mount **ret) EG_MUST_CHECK;
/* Serves until run's duration or stop descriptor. */
int eg_sim_mount_run(struct eg_sim_mount *m) EG_MUST_CHECK;
/* Unmounts. Takes NULL. */
void eg_sim_mount_close(struct eg_sim_mount *m);

#endif
