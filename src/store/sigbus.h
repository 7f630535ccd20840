/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mapped file can fail under us: cut by somebody, a bad block, a full disk on a file system that
 * copies on write. The kernel then raises SIGBUS, which would end the process for the sake of a safety
 * net. Instead the whole mapping is replaced by memory of our own and a flag is set; what the file holds
 * by then stays as it is. A SIGBUS anywhere else goes to whoever handled it before.
 *
 * The table of guarded mappings is the one piece of state of the store outside a struct: a signal
 * handler has nowhere else to look.
 */
#ifndef EG_STORE_SIGBUS_H
#define EG_STORE_SIGBUS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/util.h"

#define EG_SIGBUS_GUARDS_MAX 16

/* base, bytes: whole pages. lost: set when the mapping was replaced. -ENOSPC: too many guards. */
int eg_sigbus_guard(void *base, size_t bytes, atomic_bool *lost) EG_MUST_CHECK;
/* Before unmapping. */
void eg_sigbus_release(void *base);

#endif
