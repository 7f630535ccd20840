/* SPDX-License-Identifier: Apache-2.0 */
/* The rows that ergon's verbs and energy-monitor share. */
#include "cli/args.h"

#define FIELD(f) .offset = offsetof(struct eg_args, f)
#define FLAG(f)	 .type = EG_ARG_FLAG, FIELD(f)

const struct eg_cli_option eg_cli_help_options[] = {
	{.letter = 'h', .name = "help", FLAG(help), .help = "Show this help and exit."},
	{.letter = 'V', .name = "version", FLAG(version), .help = "Show the version and exit."},
	{0}};

const struct eg_cli_option eg_cli_machine_options[] = {
	{.name = "root",
	 .value = "DIR",
	 .type = EG_ARG_DIR,
	 FIELD(root),
	 .help = "Measure the machine captured or simulated below DIR, which holds sys/, proc/ and so "
		 "on as under /. Nothing outside it is read."},
	{.name = "clock",
	 .value = "FILE",
	 .type = EG_ARG_FILE,
	 FIELD(clock),
	 .hidden = true,
	 .help = "Take the time from a clock file that a simulator moves."},
	{0}};
