/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service manager's protocol (sd_notify(3)): datagrams to $NOTIFY_SOCKET, path or abstract. Own
 * code of one page, because libsystemd would be the largest library of the agent.
 */
#ifndef EG_AGENT_NOTIFY_H
#define EG_AGENT_NOTIFY_H

#include <stdint.h>

#include "base/util.h"

struct eg_notify {
	int fd;		      /* -1: nobody listens */
	uint64_t watchdog_ns; /* $WATCHDOG_USEC (for our pid); 0 none */
};
/* Takes the variables out of the environment, so that children do not inherit them. */
void eg_notify_open(struct eg_notify *n);
/* "READY=1\nSTATUS=...", "WATCHDOG=1", "RELOADING=1\nMONOTONIC_USEC=...", "STOPPING=1". Never blocks. */
void eg_notify_send(const struct eg_notify *n, const char *state);
void eg_notify_close(struct eg_notify *n);

#endif
