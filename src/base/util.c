/* SPDX-License-Identifier: Apache-2.0 */
/* The one helper of util.h that is no one-liner. */
#include "base/util.h"

#include <errno.h>
#include <string.h>

int eg_copy(char *dst, size_t cap, const char *src)
{
	size_t n = strlen(src);

	if (cap == 0)
		return -ERANGE;
	if (n >= cap) {
		memcpy(dst, src, cap - 1);
		dst[cap - 1] = '\0';
		return -ERANGE;
	}
	memcpy(dst, src, n + 1);
	return 0;
}
