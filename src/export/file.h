/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole file put in the place of another at one moment, so that a reader (node_exporter's textfile
 * collector) sees the old text or the new one, never a part.
 */
#ifndef EG_EXPORT_FILE_H
#define EG_EXPORT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/util.h"

/*
 * mode is set exactly, whatever the umask. sync: also survives a loss of power (file and directory are
 * flushed first). A link at path itself is replaced, not followed; links in its directory are followed.
 * On failure the old file stays and nothing is left behind; negative errno.
 */
int eg_file_replace(const char *path, const char *data, size_t len, mode_t mode,
		    bool sync) EG_MUST_CHECK;

#endif
