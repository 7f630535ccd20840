/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text that a terminal only shows and never obeys. Names and labels come from files, libraries and
 * command lines, and may hold escape sequences.
 */
#ifndef EG_CODEC_PLAIN_H
#define EG_CODEC_PLAIN_H

#include <stdbool.h>

#include "base/strbuf.h"

/*
 * Appends n bytes of s. Lines and tabs stay; every other control character (C0, DEL, C1, and those
 * that turn the direction of writing) and every byte that is not UTF-8 becomes U+FFFD. ascii, for
 * terminals without UTF-8: that becomes '?', and so does whatever is not ASCII, but "±" is "+/-".
 */
void eg_plain_text(struct eg_strbuf *out, const char *s, size_t n, bool ascii);

#endif
