/* SPDX-License-Identifier: Apache-2.0 */
/* `ergon agent`: hands the command line to the agent (src/agent/agent.c). */
#include "agent/agent.h"
#include "cli/args.h"

int eg_verb_agent(struct eg_args *args)
{
	struct eg_agent_start start = {.config_file = args->config,
				       .env = (const char *const *)environ,
				       .flags = args->config_flag,
				       .n_flags = args->n_config_flags,
				       .root = args->root,
				       .clock = args->clock,
				       .settings = args->setting,
				       .n_settings = args->n_settings};

	return eg_agent_run(&start);
}
