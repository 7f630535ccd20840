/* SPDX-License-Identifier: Apache-2.0 */
/* What the two files of `ergon ledger` share. */
#ifndef EG_CLI_LEDGER_H
#define EG_CLI_LEDGER_H

#include "cli/args.h"
#include "store/state.h"

#define EG_LEDGER_KEY_MAX 17
/* A key as 16 hexadecimal digits; returns buf. */
const char *eg_ledger_key_text(uint64_t key, char buf[EG_LEDGER_KEY_MAX]);

/* `ergon ledger export`: every record of the log, and the accounts of the checkpoint. */
int eg_ledger_export(const struct eg_args *args, const char *place);

#endif
