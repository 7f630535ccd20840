/* SPDX-License-Identifier: Apache-2.0 */
/* Of an agent that was built without gRPC (src/agent/grpc.c): it says so where one is asked for. */
#include <string.h>

#include "agent/config_keys.h"
#include "agent/internal.h"

int eg_agent_grpc_open(struct agent *a, struct eg_strbuf *why)
{
	const char *listen = a->cfg->grpc.listen;

	if (*listen && strcmp(listen, "off") != 0 &&
	    !eg_config_is_default(a->source, EG_CONFIG_KEY_grpc_listen))
		eg_log(EG_LOG_WARNING, "grpc",
		       "this build has no gRPC; install libnghttp2-dev, libprotobuf-c-dev, "
		       "protobuf-c-compiler and protobuf-compiler and build again");
	return 0;
}

int eg_agent_grpc_reload(struct agent *a, struct eg_strbuf *why)
{
	return 0;
}

void eg_agent_grpc_close(struct agent *a)
{
}

int eg_agent_grpc_fd(const struct agent *a)
{
	return -1;
}

uint64_t eg_agent_grpc_timeout_ns(const struct agent *a)
{
	return UINT64_MAX;
}

uint64_t eg_agent_grpc_due_ns(const struct agent *a)
{
	return UINT64_MAX;
}

void eg_agent_grpc_run(struct agent *a)
{
}

void eg_agent_grpc_coarse(struct agent *a)
{
}

bool eg_agent_grpc_wants_coarse(const struct agent *a)
{
	return false;
}

void eg_agent_grpc_say(const struct agent *a)
{
}
