/* SPDX-License-Identifier: Apache-2.0 */
/* Help for people and the generated documentation, both from the tables of options.c. */
#ifndef EG_CLI_HELP_H
#define EG_CLI_HELP_H

#include "cli/args.h"

void eg_help_overview(struct eg_strbuf *out);
void eg_help_verb(struct eg_strbuf *out, const struct eg_cli_verb *verb);
void eg_help_drivers(struct eg_strbuf *out);

#endif
