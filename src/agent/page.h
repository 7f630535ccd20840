/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's side of the energy page: the layout (shared with src/lib/page.c through base/page.h) and
 * its only writer.
 */
#ifndef EG_AGENT_PAGE_H
#define EG_AGENT_PAGE_H

#include "base/strbuf.h"
#include "core/view.h"

struct eg_page_writer;
/*
 * Creates the file beside its place, whole, and renames it there, so that readers of an older one see
 * that it ended and find this one. mode 0640; gid (gid_t)-1: unchanged. Errors of the file system, with
 * one sentence in why.
 */
int eg_page_create(const char *path, gid_t gid, const struct eg_view *v, uint64_t interval_ns,
		   struct eg_page_writer **ret, struct eg_strbuf *why) EG_MUST_CHECK;
/* After each sample, once its totals are safe in the checkpoint. No system call. */
void eg_page_write(struct eg_page_writer *w, const struct eg_view *v);
/* Marks the page as ended and removes the file. Takes NULL, returns NULL. */
struct eg_page_writer *eg_page_close(struct eg_page_writer *w);

#endif
