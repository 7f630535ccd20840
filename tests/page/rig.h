/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A view filled by hand, for the writer of the page, and a folder for its file. Every number of an
 * account follows from the step k it was written at, so a reader can tell a torn line.
 */
#ifndef TESTS_PAGE_RIG_H
#define TESTS_PAGE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/page.h"
#include "base/clock.h"
#include "base/page.h"

#include <ergon/ergon.h>

#define RIG_ACCOUNTS	16
#define RIG_INTERVAL_NS EG_NSEC_PER_SEC

struct rig {
	struct eg_view v;
	struct eg_channel ch[RIG_ACCOUNTS];
	struct eg_view_channel vc[RIG_ACCOUNTS];
	struct eg_view_account va[RIG_ACCOUNTS];
	char name[RIG_ACCOUNTS][32];
	char dir[64], path[96];
};

static inline uint64_t rig_now(void)
{
	const struct eg_clock clock = eg_clock_system();

	return eg_clock_ns(&clock);
}

/* n accounts of n packages, one channel each, all counted. */
static inline void rig_init(struct rig *r, size_t n)
{
	*r = (struct rig){0};
	for (size_t i = 0; i < n; i++) {
		struct eg_account *a = &r->va[i].a;

		snprintf(r->name[i], sizeof(r->name[i]), "rapl/package-%zu", i);
		snprintf(r->ch[i].device, sizeof(r->ch[i].device), "cpu-%zu", i);
		r->ch[i].component = EG_COMPONENT_PACKAGE;
		r->ch[i].source = EG_SOURCE_RAPL;
		r->ch[i].accuracy.rel_ppm = 50000;
		r->vc[i] = (struct eg_view_channel){.ch = &r->ch[i],
						    .name = r->name[i],
						    .role = EG_ROLE_TOTAL,
						    .account = (int)i,
						    .est_account = -1};
		eg_copy(a->device, sizeof(a->device), r->ch[i].device);
		eg_copy(a->channel, sizeof(a->channel), r->name[i]);
		a->component = EG_COMPONENT_PACKAGE;
		a->source = EG_SOURCE_RAPL;
		a->created_unix_ns = 1;
		r->va[i].channel = (int)i;
		r->va[i].shown = true;
	}
	r->v = (struct eg_view){.n_channels = n,
				.n_accounts = n,
				.max_accounts = n,
				.channel = r->vc,
				.account = r->va};
	snprintf(r->dir, sizeof(r->dir), "/tmp/ergon-page-XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	assert_int_equal(chmod(r->dir, 0755), 0);
	snprintf(r->path, sizeof(r->path), "%s/energy", r->dir);
}

static inline void rig_free(struct rig *r)
{
	char beside[128];

	snprintf(beside, sizeof(beside), "%s.new", r->path);
	unlink(beside);
	unlink(r->path);
	assert_int_equal(rmdir(r->dir), 0);
}

/* Step k at interval clock t_ns. */
static inline void rig_step(struct rig *r, uint64_t k, uint64_t t_ns)
{
	r->v.seq++;
	r->v.t_ns = t_ns;
	r->v.unix_ns = t_ns + 1000 * EG_NSEC_PER_SEC;
	for (size_t i = 0; i < r->v.n_accounts; i++) {
		r->va[i].a.uj = k * (i + 1);
		r->va[i].a.gap_ns = k * 7;
		r->vc[i].uw = k * (i + 1) * 3 + i;
		r->vc[i].have_uw = true;
		r->vc[i].t_ns = t_ns;
	}
}

/* Is it a line of one step? */
static inline bool rig_whole(const struct ergon_page_reading *x, size_t i)
{
	uint64_t k = x->total_uj / (i + 1);

	return x->total_uj == k * (i + 1) && x->power_uw == x->total_uj * 3 + i &&
	       x->gap_ns == k * 7 && x->unix_ns == x->t_ns + 1000 * EG_NSEC_PER_SEC &&
	       x->has_power && x->created_unix_ns == 1;
}

static inline struct eg_page_writer *rig_create(struct rig *r)
{
	struct eg_strbuf why = EG_STRBUF_INIT(1024);
	struct eg_page_writer *w = NULL;

	if (eg_page_create(r->path, (gid_t)-1, &r->v, RIG_INTERVAL_NS, &w, &why) < 0)
		fprintf(stderr, "# %s\n", eg_strbuf_get(&why));
	assert_non_null(w);
	eg_strbuf_free(&why);
	return w;
}

static inline ergon_page *rig_open(struct rig *r)
{
	ergon_page *page = NULL;

	assert_int_equal(ergon_page_open(r->path, &page), 0);
	return page;
}

#endif
