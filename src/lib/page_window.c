/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows over the energy page. See ergon/page_window.h. A window is two notes of all totals, one of
 * the tick before its begin and one of the tick before its end, in memory that it got when it was
 * made; the rest is arithmetic, done after a note was taken.
 *
 * Uncertainty: that of the accuracy class, as core/uncertainty.h has it, and the edges. Asked for is
 * the energy from c0 to c1, known that from t0 to t1, the readings before them: the error is
 * E(t1..c1) - E(t0..c0), which cannot exceed the larger of both. The power in there is taken as the
 * highest of the window's mean and the powers at both readings. Being a bound, not a spread, it is added
 * as it is.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "core/uncertainty.h"
#include "lib/page_private.h"

#define UNITS_MAX	8
#define UNIT_NAME_MAX	32
#define AWAY_INTERVALS	2 /* from a tick to an end, and the delay of a busy machine */
#define AWAY_DELAY_NS	(200 * EG_NSEC_PER_MSEC)
#define SHORT_INTERVALS 10
#define NOT_PARTIAL	(ERGON_PAGE_REPLACED | ERGON_PAGE_SHORT)

struct units {
	size_t n;
	struct {
		char name[UNIT_NAME_MAX];
		uint64_t count;
	} of[UNITS_MAX];
};

struct ergon_page_window {
	bool running, away; /* the tick was old when it began */
	uint64_t asked_ns;  /* interval clock when it began */
	struct ergon_page_mark *from, *to;
	struct units units;
	/* The last result. */
	struct ergon_page_used total;
	struct units done;
	struct page_table *table; /* of its rows; NULL: there is none yet */
	size_t room;
	struct ergon_page_used *row;
};

/* ---- memory ---- */

/* Room for n accounts in the mark, which forgets what it held. */
static int mark_room(struct ergon_page_mark **mark, size_t n)
{
	struct ergon_page_mark *more;

	if (*mark && (*mark)->room >= n)
		return 0;
	more = page_mark_make(n);
	if (!more)
		return -ENOMEM;
	ergon_page_mark_free(*mark);
	*mark = more;
	return 0;
}

static int rows_room(ergon_page_window *w, size_t n)
{
	struct ergon_page_used *more;

	if (w->row && w->room >= n)
		return 0;
	more = calloc(n + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	page_table_unref(w->table);
	w->table = NULL;
	free(w->row);
	w->row = more;
	w->room = n;
	return 0;
}

int ergon_page_window_new(const ergon_page *page, ergon_page_window **ret)
{
	ergon_page_window *w = calloc(1, sizeof(*w));
	size_t n = ergon_page_count(page);
	int r = w ? mark_room(&w->from, n) : -ENOMEM;

	if (r == 0)
		r = mark_room(&w->to, n);
	if (r == 0)
		r = rows_room(w, n);
	if (r < 0) {
		ergon_page_window_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void ergon_page_window_free(ergon_page_window *w)
{
	if (!w)
		return;
	page_table_unref(w->table);
	ergon_page_mark_free(w->from);
	ergon_page_mark_free(w->to);
	free(w->row);
	free(w);
}

/* ---- begin ---- */

static uint64_t now_ns(void)
{
	const struct eg_clock clock = eg_clock_system();

	return eg_clock_ns(&clock);
}

static uint64_t between(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

static bool is_away(const struct page_map *m, uint64_t tick_ns, uint64_t asked_ns)
{
	return between(asked_ns, tick_ns) > AWAY_INTERVALS * m->interval_ns + AWAY_DELAY_NS;
}

static int begin(ergon_page_window *w, const struct page_map *m)
{
	int r;

	if (page_life(m) != ERGON_PAGE_LIVE)
		return -ENODATA;
	r = mark_room(&w->from, m->table->n);
	if (r == 0)
		r = page_mark_note(w->from, m);
	if (r < 0)
		return r;
	w->asked_ns = now_ns();
	w->away = is_away(m, w->from->t_ns, w->asked_ns);
	w->units.n = 0;
	w->running = true;
	return 0;
}

int ergon_page_window_begin(const ergon_page *page, ergon_page_window *w)
{
	const struct page_map *m;
	int r;

	if (w->running)
		return -EALREADY;
	m = page_pin(page);
	r = begin(w, m);
	page_unpin(m);
	return r;
}

void ergon_page_window_cancel(ergon_page_window *w)
{
	w->running = false;
}

/* ---- one account ---- */

static uint64_t to_u64(double v)
{
	return v < 0x1p63 ? (v > 0 ? (uint64_t)ceil(v) : 0) : UINT64_MAX;
}

/* What may have flowed at the edges; false: no power is known. */
static bool edge(const struct ergon_page_used *u, const struct eg_page_values *old,
		 const struct eg_page_values *now, uint64_t asked_ns, uint64_t asked_end_ns,
		 double *ret_uj)
{
	uint64_t off_ns = EG_MAX(between(asked_ns, u->begin_ns), between(asked_end_ns, u->end_ns));
	double uw = u->has_mean ? (double)u->mean_uw : 0;
	bool known = u->has_mean;

	if (old->flags & EG_PAGE_HAS_POWER) {
		uw = fmax(uw, (double)old->uw);
		known = true;
	}
	if (now->flags & EG_PAGE_HAS_POWER) {
		uw = fmax(uw, (double)now->uw);
		known = true;
	}
	*ret_uj = uw * (double)off_ns / 1e9;
	return known;
}

static void measure(const ergon_page_window *w, size_t j, uint64_t asked_end_ns,
		    struct ergon_page_used *u)
{
	const struct page_account *a = &w->from->table->account[j];
	const struct eg_page_values *old = &w->from->of[j].v, *now;
	bool held = a->flags & EG_PAGE_HELD;
	struct page_step s;
	double class_uj, edge_uj = 0;

	*u = (struct ergon_page_used){.size = sizeof(*u),
				      .asked_ns = asked_end_ns - w->asked_ns,
				      .provenance = eg_provenance_word(a->provenance)};
	if (w->from->of[j].to < 0) {
		u->flags = ERGON_PAGE_INCOMPLETE | ERGON_PAGE_VANISHED;
		return;
	}
	now = &w->to->of[w->from->of[j].to].v;
	s = page_step_of(a, old, now, w->to->t_ns);
	u->flags = s.flags;
	u->known = s.known;
	if (!s.known)
		return;
	u->accounts = 1;
	u->uj = s.uj;
	u->estimated_uj = a->provenance == EG_PROVENANCE_ESTIMATED ? s.uj : 0;
	u->gap_ns = s.gap_ns;
	/* An account of held energy is not read: its times are the ticks. */
	u->begin_ns = old->t_ns && !held ? old->t_ns : w->from->t_ns;
	u->begin_unix_ns = old->t_ns && !held ? old->unix_ns : w->from->unix_ns;
	u->end_ns = now->t_ns && !held ? now->t_ns : w->to->t_ns;
	u->end_unix_ns = now->t_ns && !held ? now->unix_ns : w->to->unix_ns;
	u->duration_ns = u->end_ns > u->begin_ns ? u->end_ns - u->begin_ns : 0;
	u->has_mean = u->duration_ns > 0;
	if (u->has_mean)
		u->mean_uw = to_u64(floor((double)u->uj / (double)u->duration_ns * 1e9));
	if (held) {
		u->has_uncertainty = true;
		u->uncertainty_uj = to_u64(eg_uncertainty_held_uj((double)u->uj));
		return;
	}
	class_uj = eg_uncertainty_accuracy_uj(&a->accuracy, a->provenance, (double)u->uj,
					      u->duration_ns);
	u->has_uncertainty = edge(u, old, now, w->asked_ns, asked_end_ns, &edge_uj) &&
			     (a->accuracy.rel_ppm || a->accuracy.abs_uw || !u->uj);
	if (!u->has_uncertainty)
		return;
	u->edge_uj = to_u64(edge_uj);
	u->uncertainty_uj = to_u64(class_uj + edge_uj);
}

/* ---- all of them ---- */

/*
 * Gain errors of one source are one error and add up, those of different sources are independent; the
 * edges of all accounts are the same stretch of time and add up.
 */
struct spread {
	double class_uj[EG_SOURCE_COUNT], edge_uj, held2_uj;
	bool known;
};

static void spread_add(struct spread *s, const struct page_account *a,
		       const struct ergon_page_used *u)
{
	double class_uj = (double)u->uncertainty_uj - (double)u->edge_uj;

	s->known = s->known && u->has_uncertainty;
	if (a->flags & EG_PAGE_HELD) {
		s->held2_uj += class_uj * class_uj;
		return;
	}
	s->class_uj[a->source] += class_uj;
	s->edge_uj += (double)u->edge_uj;
}

static void spread_tell(const struct spread *s, struct ergon_page_used *t)
{
	double all = sqrt(s->held2_uj);

	t->has_uncertainty = s->known && t->known;
	if (!t->has_uncertainty)
		return;
	for (size_t i = 0; i < EG_SOURCE_COUNT; i++)
		all = hypot(all, s->class_uj[i]);
	t->edge_uj = to_u64(s->edge_uj);
	t->uncertainty_uj = to_u64(all + s->edge_uj);
}

/* What every result of the window says. */
static void say(const ergon_page_window *w, const struct page_map *m, bool away,
		struct ergon_page_used *u)
{
	if (w->from->serial != w->to->serial)
		u->flags |= ERGON_PAGE_REPLACED;
	if (away)
		u->flags |= ERGON_PAGE_AWAY;
	if (u->asked_ns < SHORT_INTERVALS * m->interval_ns)
		u->flags |= ERGON_PAGE_SHORT;
	u->partial = (u->flags & ~(uint32_t)NOT_PARTIAL) != 0;
}

static void add_up(ergon_page_window *w, const struct page_map *m, uint64_t asked_end_ns, bool away)
{
	const struct page_table *t = w->from->table;
	struct spread spread = {.known = true};
	struct ergon_page_used *sum = &w->total;
	enum eg_provenance weakest = EG_PROVENANCE_MEASURED;

	*sum = (struct ergon_page_used){.size = sizeof(*sum),
					.asked_ns = asked_end_ns - w->asked_ns,
					.begin_ns = w->from->t_ns,
					.begin_unix_ns = w->from->unix_ns,
					.end_ns = w->to->t_ns,
					.end_unix_ns = w->to->unix_ns};
	for (size_t j = 0; j < t->n; j++) {
		struct ergon_page_used *u = &w->row[j];

		measure(w, j, asked_end_ns, u);
		if (t->account[j].flags & EG_PAGE_COUNTED) {
			sum->flags |= u->flags;
			sum->known |= u->known;
			sum->accounts += u->accounts;
			sum->gap_ns = EG_MAX(sum->gap_ns, u->gap_ns);
			sum->uj = eg_add_sat(sum->uj, u->uj);
			sum->estimated_uj = eg_add_sat(sum->estimated_uj, u->estimated_uj);
			if (u->uj)
				weakest = EG_MAX(weakest, t->account[j].provenance);
			if (u->known)
				spread_add(&spread, &t->account[j], u);
		}
		say(w, m, away, u);
	}
	if (w->from->more)
		sum->flags |= ERGON_PAGE_INCOMPLETE | ERGON_PAGE_APPEARED;
	sum->duration_ns = sum->end_ns > sum->begin_ns ? sum->end_ns - sum->begin_ns : 0;
	sum->has_mean = sum->known && sum->duration_ns > 0;
	if (sum->has_mean)
		sum->mean_uw = to_u64(floor((double)sum->uj / (double)sum->duration_ns * 1e9));
	sum->provenance = eg_provenance_word(weakest);
	spread_tell(&spread, sum);
	say(w, m, away, sum);
}

/* ---- end ---- */

static int look(ergon_page_window *w, const struct page_map *m, uint64_t *ret_asked_ns,
		bool *ret_away)
{
	uint64_t asked_ns = now_ns();
	int r = mark_room(&w->to, m->table->n);

	if (r == 0)
		r = rows_room(w, w->from->table->n);
	if (r == 0)
		r = page_mark_note(w->to, m);
	if (r < 0)
		return r;
	*ret_asked_ns = asked_ns;
	*ret_away = page_life(m) != ERGON_PAGE_LIVE || is_away(m, w->to->t_ns, asked_ns);
	page_mark_lead(w->from, w->to->table);
	add_up(w, m, asked_ns, *ret_away || w->away);
	page_table_unref(w->table);
	w->table = page_table_ref(w->from->table);
	w->done = w->units;
	return 0;
}

enum then { GO_ON, END, BEGIN_ANEW };

static int tell(const ergon_page *page, ergon_page_window *w, enum then then,
		struct ergon_page_used *ret)
{
	const struct page_map *m;
	uint64_t asked_ns;
	bool away;
	int r;

	if (ret->size < sizeof(*ret))
		return -EINVAL;
	if (!w->running)
		return -ENOENT;
	m = page_pin(page);
	r = look(w, m, &asked_ns, &away);
	page_unpin(m);
	if (r < 0)
		return r;
	*ret = w->total;
	if (then == END)
		w->running = false;
	if (then == BEGIN_ANEW) {
		struct ergon_page_mark *old = w->from;

		w->from = w->to;
		w->to = old;
		w->asked_ns = asked_ns;
		w->away = away;
		w->units.n = 0;
	}
	return 0;
}

int ergon_page_window_end(const ergon_page *page, ergon_page_window *w, struct ergon_page_used *ret)
{
	return tell(page, w, END, ret);
}

int ergon_page_window_peek(const ergon_page *page, ergon_page_window *w,
			   struct ergon_page_used *ret)
{
	return tell(page, w, GO_ON, ret);
}

int ergon_page_window_next(const ergon_page *page, ergon_page_window *w,
			   struct ergon_page_used *ret)
{
	return tell(page, w, BEGIN_ANEW, ret);
}

/* ---- the rows of a result ---- */

size_t ergon_page_window_count(const ergon_page_window *w)
{
	return w->table ? w->table->n : 0;
}

int ergon_page_window_account(const ergon_page_window *w, size_t index,
			      struct ergon_page_info *ret_info, struct ergon_page_used *ret_used)
{
	if (ret_info->size < sizeof(*ret_info) || ret_used->size < sizeof(*ret_used))
		return -EINVAL;
	if (index >= ergon_page_window_count(w))
		return -ENOENT;
	page_tell_account(&w->table->account[index], ret_info);
	*ret_used = w->row[index];
	return 0;
}

/* ---- units of work ---- */

static int unit_find(const struct units *u, const char *name)
{
	for (size_t i = 0; i < u->n; i++)
		if (strcmp(u->of[i].name, name) == 0)
			return (int)i;
	return -ENOENT;
}

int ergon_page_window_add_units(ergon_page_window *w, const char *unit, uint64_t count)
{
	struct units *u = &w->units;
	int i;

	if (!unit || !*unit)
		return -EINVAL;
	if (strlen(unit) >= UNIT_NAME_MAX)
		return -ENAMETOOLONG;
	if (!w->running)
		return -ENOENT;
	i = unit_find(u, unit);
	if (i < 0 && u->n == UNITS_MAX)
		return -ENOSPC;
	if (i < 0) {
		i = (int)u->n++;
		u->of[i].count = 0;
		eg_copy(u->of[i].name, UNIT_NAME_MAX, unit);
	}
	if (u->of[i].count > UINT64_MAX - count)
		return -EOVERFLOW;
	u->of[i].count += count;
	return 0;
}

int ergon_page_window_units(const ergon_page_window *w, const char *unit, uint64_t *ret_count,
			    double *ret_uj_each)
{
	int i = unit && w->table ? unit_find(&w->done, unit) : -ENOENT;

	if (i < 0 || !w->done.of[i].count)
		return -ENOENT;
	if (ret_uj_each && !w->total.known)
		return -ENODATA;
	*ret_count = w->done.of[i].count;
	if (ret_uj_each)
		*ret_uj_each = (double)w->total.uj / (double)w->done.of[i].count;
	return 0;
}

/* ---- words ---- */

const char *ergon_page_partial_text(uint32_t bit)
{
	switch (bit) {
	case ERGON_PAGE_REPLACED:
		return "another agent took over; the totals went on";
	case ERGON_PAGE_INCOMPLETE:
		return "an account is not, or not wholly, in it";
	case ERGON_PAGE_GAP:
		return "part of the time was not measured";
	case ERGON_PAGE_VANISHED:
		return "an account is gone";
	case ERGON_PAGE_ANEW:
		return "the total of an account began anew";
	case ERGON_PAGE_APPEARED:
		return "an account appeared or became part of the total";
	case ERGON_PAGE_SILENT:
		return "an account has no total";
	case ERGON_PAGE_AWAY:
		return "the agent was away at one of the ends";
	case ERGON_PAGE_SHORT:
		return "shorter than ten intervals of the agent";
	default:
		return NULL;
	}
}
