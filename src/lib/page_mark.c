/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Marks: the totals of one tick of the agent, and what was used since. See ergon/page.h. What an
 * account used between two readings is the difference of its totals, if it is the same account: of the
 * same device, component and provenance, and counted from the same moment on. Then it holds whoever
 * kept the page, for the totals of an agent go on with the next one.
 */
#include <errno.h>
#include <string.h>

#include "lib/page_private.h"

/* The flags that a delta knows. */
#define DELTA_FLAGS (ERGON_PAGE_REPLACED | ERGON_PAGE_INCOMPLETE | ERGON_PAGE_GAP)

struct ergon_page_mark *page_mark_make(size_t n)
{
	struct ergon_page_mark *mark = calloc(1, sizeof(*mark) + n * sizeof(mark->of[0]));

	if (mark)
		mark->room = n;
	return mark;
}

static int note_all(const struct page_map *m, const struct page_tick *tick, void *arg)
{
	struct ergon_page_mark *mark = arg;
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->table->n; i++)
		r = page_values(m, i, &mark->of[i].v);
	return r;
}

static void forget(struct ergon_page_mark *mark)
{
	page_table_unref(mark->table);
	page_table_unref(mark->other);
	mark->table = mark->other = NULL;
}

int page_mark_note(struct ergon_page_mark *mark, const struct page_map *m)
{
	struct page_tick tick;
	int r = mark->room < m->table->n ? -ENOMEM : page_in_one_tick(m, note_all, mark, &tick);

	forget(mark);
	if (r < 0)
		return r;
	mark->t_ns = tick.t_ns;
	mark->unix_ns = tick.unix_ns;
	mark->serial = m->serial;
	mark->differs = mark->more = false;
	mark->table = page_table_ref(m->table);
	mark->other = page_table_ref(m->table);
	for (size_t i = 0; i < m->table->n; i++)
		mark->of[i].to = (int32_t)i;
	return 0;
}

int ergon_page_mark_new(const ergon_page *page, ergon_page_mark **ret)
{
	const struct page_map *m = page_pin(page);
	ergon_page_mark *mark = page_mark_make(m->table->n);
	int r = mark ? page_mark_note(mark, m) : -ENOMEM;

	page_unpin(m);
	if (r < 0) {
		ergon_page_mark_free(mark);
		return r;
	}
	*ret = mark;
	return 0;
}

void ergon_page_mark_free(ergon_page_mark *mark)
{
	if (!mark)
		return;
	forget(mark);
	free(mark);
}

/* ---- from one table to another ---- */

static int table_find(const struct page_table *t, const struct eg_page_record *what)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct eg_page_record *r = &t->account[i].text;

		if (strcmp(r->device, what->device) == 0 &&
		    strcmp(r->component, what->component) == 0 &&
		    strcmp(r->provenance, what->provenance) == 0)
			return (int)i;
	}
	return -ENOENT;
}

static bool counted(const struct page_table *t, int32_t i)
{
	return i >= 0 && (t->account[i].flags & EG_PAGE_COUNTED);
}

void page_mark_lead(struct ergon_page_mark *mark, struct page_table *t)
{
	if (mark->other == t)
		return;
	mark->differs = mark->more = false;
	for (size_t j = 0; j < mark->table->n; j++) {
		mark->of[j].to = (int32_t)table_find(t, &mark->table->account[j].text);
		if (counted(mark->table, (int32_t)j) != counted(t, mark->of[j].to))
			mark->differs = true;
		if (!counted(mark->table, (int32_t)j) && counted(t, mark->of[j].to))
			mark->more = true;
	}
	for (size_t i = 0; i < t->n; i++)
		if (counted(t, (int32_t)i) && table_find(mark->table, &t->account[i].text) < 0)
			mark->differs = mark->more = true;
	page_table_unref(mark->other);
	mark->other = page_table_ref(t);
}

/* ---- what was used ---- */

struct page_step page_step_of(const struct page_account *a, const struct eg_page_values *old,
			      const struct eg_page_values *now, uint64_t tick_ns)
{
	bool had = old->flags & EG_PAGE_HAS_TOTAL, held = a->flags & EG_PAGE_HELD;
	struct page_step s = {0};

	if (!(now->flags & EG_PAGE_HAS_TOTAL)) {
		if (had || !held)
			s.flags = ERGON_PAGE_INCOMPLETE | ERGON_PAGE_SILENT;
		return s;
	}
	if (had && (now->created_unix_ns != old->created_unix_ns || now->uj < old->uj)) {
		s.flags = ERGON_PAGE_INCOMPLETE | ERGON_PAGE_ANEW;
		return s;
	}
	s.known = true;
	s.gap_ns = now->gap_ns > old->gap_ns ? now->gap_ns - old->gap_ns : 0;
	/* Before the first valid reading of its life the total of an account is 0. */
	s.uj = had ? now->uj - old->uj : now->uj;
	if (!had && !held)
		s.flags |= ERGON_PAGE_INCOMPLETE | ERGON_PAGE_APPEARED;
	/* It is silent now: what it used since it last spoke is counted later, if ever. */
	if (!held && now->status != EG_STATUS_OK && now->t_ns && tick_ns > now->t_ns)
		s.gap_ns = eg_add_sat(s.gap_ns, tick_ns - now->t_ns);
	if (s.gap_ns || (!held && (now->status != EG_STATUS_OK || old->status != EG_STATUS_OK)))
		s.flags |= ERGON_PAGE_GAP;
	return s;
}

struct delta {
	const ergon_page_mark *mark;
	int32_t only; /* index of now; -1: all that were counted */
	uint64_t uj, estimated_uj, gap_ns;
	uint32_t flags, accounts;
	enum eg_provenance weakest;
};

static int add_deltas(const struct page_map *m, const struct page_tick *tick, void *arg)
{
	struct delta *d = arg;
	const ergon_page_mark *mark = d->mark;

	*d = (struct delta){.mark = mark, .only = d->only};
	for (size_t j = 0; j < mark->table->n; j++) {
		const struct page_account *a = &mark->table->account[j];
		struct eg_page_values now;
		struct page_step s;
		int r;

		if (d->only >= 0 ? mark->of[j].to != d->only : !(a->flags & EG_PAGE_COUNTED))
			continue;
		if (mark->of[j].to < 0) {
			d->flags |= ERGON_PAGE_INCOMPLETE;
			continue;
		}
		r = page_values(m, (size_t)mark->of[j].to, &now);
		if (r < 0)
			return r;
		s = page_step_of(a, &mark->of[j].v, &now, tick->t_ns);
		d->flags |= s.flags;
		if (!s.known)
			continue;
		d->accounts++;
		d->gap_ns = EG_MAX(d->gap_ns, s.gap_ns);
		d->uj = eg_add_sat(d->uj, s.uj);
		if (a->provenance == EG_PROVENANCE_ESTIMATED)
			d->estimated_uj = eg_add_sat(d->estimated_uj, s.uj);
		if (s.uj)
			d->weakest = EG_MAX(d->weakest, a->provenance);
	}
	return 0;
}

static int since(const struct page_map *m, ergon_page_mark *mark, int32_t only,
		 struct ergon_page_delta *ret)
{
	struct delta d = {.mark = mark, .only = only};
	struct page_tick tick;
	int r;

	page_mark_lead(mark, m->table);
	r = page_in_one_tick(m, add_deltas, &d, &tick);
	if (r < 0)
		return r;
	if (!d.accounts)
		return -ENODATA;
	if (mark->serial != m->serial)
		d.flags |= ERGON_PAGE_REPLACED;
	if (only < 0 && mark->differs)
		d.flags |= ERGON_PAGE_INCOMPLETE;
	ret->uj = d.uj;
	ret->estimated_uj = d.estimated_uj;
	ret->duration_ns = tick.t_ns > mark->t_ns ? tick.t_ns - mark->t_ns : 0;
	ret->gap_ns = d.gap_ns;
	ret->flags = d.flags & DELTA_FLAGS;
	ret->accounts = d.accounts;
	ret->provenance = eg_provenance_word(d.weakest);
	return 0;
}

int ergon_page_since(const ergon_page *page, ergon_page_mark *mark, struct ergon_page_delta *ret)
{
	const struct page_map *m;
	int r;

	if (ret->size < sizeof(*ret))
		return -EINVAL;
	m = page_pin(page);
	r = since(m, mark, -1, ret);
	page_unpin(m);
	return r;
}

int ergon_page_since_account(const ergon_page *page, ergon_page_mark *mark, size_t index,
			     struct ergon_page_delta *ret)
{
	const struct page_map *m;
	int r;

	if (ret->size < sizeof(*ret))
		return -EINVAL;
	m = page_pin(page);
	r = index < m->table->n ? since(m, mark, (int32_t)index, ret) : -ENOENT;
	page_unpin(m);
	return r;
}
