/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text made safe for HTML, inside elements and inside quoted attributes alike.
 */
#ifndef EG_CODEC_HTML_H
#define EG_CODEC_HTML_H

#include "base/strbuf.h"

/*
 * & < > " ' as references; bytes that are not UTF-8, and control characters other than tab and
 * line feed, as U+FFFD.
 */
void eg_html_text(struct eg_strbuf *out, const char *s);

#endif
