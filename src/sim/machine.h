/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated machine: writes the directory tree of a scenario (sys/, proc/, dev/ergon-perf/) and
 * moves it through time. Value files have a fixed width and are changed in place by one write, so
 * a descriptor kept by a reader stays good and a value is never seen half way. All times are
 * those of the interval clock (boot_ns); the machine starts at the t0 it was opened with.
 */
#ifndef EG_SIM_MACHINE_H
#define EG_SIM_MACHINE_H

#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "sim/faultfs.h"
#include "sim/scenario.h"

struct eg_sim;

/*
 * Writes the tree into dir (made if absent; files of an earlier run are replaced) as it is at t0.
 * The scenario is borrowed until eg_sim_close(). Errors of mkdir, open, write; ENOMEM.
 */
int eg_sim_open(const struct eg_scenario *sc, const char *dir, uint64_t t0_ns,
		struct eg_sim **ret) EG_MUST_CHECK;
/* Moves the tree to t (never back), through every event on the way. */
int eg_sim_advance(struct eg_sim *sim, uint64_t t_ns) EG_MUST_CHECK;
/* When a file next changes after the time it is at. */
uint64_t eg_sim_next_ns(const struct eg_sim *sim);
/* True energy of a channel between two boot times, and the same in whole microjoules (rounded). */
eg_fj eg_sim_true_energy_fj(const struct eg_sim *sim, size_t channel, uint64_t t0_ns,
			    uint64_t t1_ns);
uint64_t eg_sim_true_energy_uj(const struct eg_sim *sim, const char *channel_id, uint64_t t0_ns,
			       uint64_t t1_ns);
/* True power of a channel now. */
long double eg_sim_true_power_uw(const struct eg_sim *sim, size_t channel, uint64_t t_ns);
/* The raw counter of a channel (before unit) as it shows now; gauges: microwatts. */
uint64_t eg_sim_shown(const struct eg_sim *sim, size_t channel);
/*
 * The faults of the scenario that plain files cannot show (eio, hang, and eacces for a reader that
 * is root), as rules for eg_faultfs_wrap() in boot time. Returns how many there are; writes at most
 * cap. The patterns belong to sim.
 */
size_t eg_sim_faults(const struct eg_sim *sim, struct eg_fault *ret, size_t cap);
/*
 * For perf counters with `fold`: somebody reads the counter at t, which folds its register. Reads of
 * the plain file are noticed without it (inotify); a mounted tree calls it.
 */
void eg_sim_note_read(struct eg_sim *sim, size_t channel);
/* Value file of a channel below the root, links resolved ("sys/devices/virtual/powercap/..."). */
const char *eg_sim_path(const struct eg_sim *sim, size_t channel);
const struct eg_scenario *eg_sim_scenario(const struct eg_sim *sim);
/* Closes files, leaves the tree. Takes NULL, returns NULL. */
struct eg_sim *eg_sim_close(struct eg_sim *sim);

#endif
