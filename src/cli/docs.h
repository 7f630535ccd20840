/* SPDX-License-Identifier: Apache-2.0 */
/* What the writers of generated documentation share (verb_docs.c, docs_config.c). */
#ifndef EG_CLI_DOCS_H
#define EG_CLI_DOCS_H

#include "base/strbuf.h"

#define EG_DOCS_DATE "2026-11-21" /* of the last change of the tables; man(7) wants one */

/* Text with roff's own characters made plain, in lines of source that editors and lint like. */
void eg_docs_roff(struct eg_strbuf *out, const char *s);
/* Text in a cell of a table of Markdown. */
void eg_docs_md_cell(struct eg_strbuf *out, const char *s);

/* docs/config.md and ergon.toml(5), from the keys of the configuration. */
void eg_docs_config_markdown(struct eg_strbuf *out);
void eg_docs_config_man(struct eg_strbuf *out);

#endif
