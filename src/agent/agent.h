/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ergon agent`: one process that samples, keeps the ledger and serves it, for months. The order of a
 * tick is the whole point: sample, take the view, write the checkpoint, and only then show it to anybody.
 */
#ifndef EG_AGENT_AGENT_H
#define EG_AGENT_AGENT_H

#include "agent/config.h"
#include "core/driver.h"

struct eg_agent_start {
	const char *config_file; /* of --config; NULL: the usual places */
	const char *const *env;	 /* NAME=VALUE, ends with NULL */
	const struct eg_config_flag *flags;
	size_t n_flags;
	const char *root, *clock;	   /* NULL: this machine, its time */
	const struct eg_setting *settings; /* of --set; they win over [drivers.NAME] */
	size_t n_settings;
};

/*
 * Runs until SIGTERM or SIGINT. Says what is wrong on standard error and returns the exit status:
 * 0 stopped in order, 1 something cannot be had, 2 the configuration is wrong. Takes over the
 * process: signals, standard error (the log), rights.
 */
int eg_agent_run(const struct eg_agent_start *start) EG_MUST_CHECK;

#endif
