/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line on the user's terminal while a command runs, and nothing anywhere else: not when standard
 * error is a file or a pipe, nor while another job holds the terminal.
 */
#ifndef EG_CLI_PROGRESS_H
#define EG_CLI_PROGRESS_H

#include "base/clock.h"
#include "core/meter.h"

struct eg_progress {
	bool on, shown;
	const struct eg_clock *clock;
	uint64_t last_ns;
};

/* May this descriptor get colours: a terminal that is not dumb, and NO_COLOR unset. */
bool eg_terminal_colour(int fd);
void eg_progress_init(struct eg_progress *p, bool off, const struct eg_clock *clock);
void eg_progress_show(struct eg_progress *p, struct eg_meter *m, const char *window, size_t run,
		      size_t runs);
void eg_progress_clear(struct eg_progress *p);

#endif
