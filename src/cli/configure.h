/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration as the agent's verbs read it: the options, this process's environment, the file. */
#ifndef EG_CLI_CONFIGURE_H
#define EG_CLI_CONFIGURE_H

#include "cli/args.h"

/*
 * 0, or the exit status, each mistake having been told on a line of its own. warnings: lines for the
 * caller to tell; NULL: told here. The flags borrow argv, so a reload may call this again.
 */
int eg_configure(const struct eg_args *args, const char *file, struct eg_config_source **ret,
		 struct eg_strbuf *warnings) EG_MUST_CHECK;
/* Where state, socket and page go; the same. */
int eg_configure_places(const struct eg_config_source *c, struct eg_places *ret) EG_MUST_CHECK;

#endif
