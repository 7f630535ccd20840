/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UTF-8, checked: command lines, file names and labels are bytes that nobody vouches for, and no
 * output may carry a malformed sequence.
 */
#ifndef EG_CODEC_UTF8_H
#define EG_CODEC_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#define EG_UTF8_REPLACEMENT "\xef\xbf\xbd"

/*
 * Bytes of the well-formed sequence at s (1..4), n > 0 bytes being there. 0: malformed, and
 * *ret_skip bytes (at least 1) make one replacement character (Unicode 15, 3.9, maximal subpart).
 */
size_t eg_utf8_sequence(const char *s, size_t n, size_t *ret_skip);
bool eg_utf8_is_valid(const char *text);

#endif
