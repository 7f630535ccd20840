/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows over the page: what they say of the time between two ticks, across agents that come and go,
 * from many threads at once, and whether their uncertainty holds the truth.
 */
#include <errno.h>
#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "../core/random.h"
#include "rig.h"

#define J	    1000000ULL
#define FAST_NS	    (5 * EG_NSEC_PER_MSEC)
#define FOREVER_NS  (3600 * EG_NSEC_PER_SEC)
#define THREADS	    4
#define GENERATIONS 300
#define WINDOWS	    150

static struct eg_page_writer *create(struct rig *r, uint64_t interval_ns)
{
	struct eg_strbuf why = EG_STRBUF_INIT(1024);
	struct eg_page_writer *w = NULL;

	assert_int_equal(eg_page_create(r->path, (gid_t)-1, &r->v, interval_ns, &w, &why), 0);
	eg_strbuf_free(&why);
	return w;
}

static ergon_page_window *window_new(const ergon_page *page)
{
	ergon_page_window *w = NULL;

	assert_int_equal(ergon_page_window_new(page, &w), 0);
	return w;
}

static void nap(uint64_t ns)
{
	struct timespec ts = {.tv_sec = (time_t)(ns / EG_NSEC_PER_SEC),
			      .tv_nsec = (long)(ns % EG_NSEC_PER_SEC)};

	nanosleep(&ts, NULL);
}

/* Step k, without the gaps that the rig writes. */
static void step(struct rig *r, uint64_t k, uint64_t t_ns)
{
	rig_step(r, k, t_ns);
	for (size_t i = 0; i < r->v.n_accounts; i++)
		r->va[i].a.gap_ns = 0;
}

/* ---- one agent ---- */

static void test_between_ticks(void **state)
{
	struct ergon_page_used u = ERGON_PAGE_USED_INIT, row = ERGON_PAGE_USED_INIT;
	struct ergon_page_info info = ERGON_PAGE_INFO_INIT;
	struct eg_page_writer *w;
	ergon_page_window *win;
	ergon_page *page;
	struct rig r;
	uint64_t now = rig_now(), t0 = now - RIG_INTERVAL_NS, used = 10 * J;

	rig_init(&r, 3);
	r.vc[2].role = EG_ROLE_PART;
	step(&r, 100 * J, t0);
	w = rig_create(&r);
	page = rig_open(&r);
	win = window_new(page);
	assert_int_equal(ergon_page_window_count(win), 0);
	assert_int_equal(ergon_page_window_account(win, 0, &info, &row), -ENOENT);
	assert_int_equal(ergon_page_window_end(page, win, &u), -ENOENT);
	assert_int_equal(ergon_page_window_add_units(win, "requests", 1), -ENOENT);
	assert_int_equal(ergon_page_window_begin(page, win), 0);
	assert_int_equal(ergon_page_window_begin(page, win), -EALREADY);

	/* Not a tick yet: nothing is known to have been used, and what may have been is told. */
	assert_int_equal(ergon_page_window_peek(page, win, &u), 0);
	assert_true(u.known && u.has_uncertainty && !u.has_mean && !u.partial);
	assert_int_equal(u.uj, 0);
	assert_int_equal(u.duration_ns, 0);
	assert_int_equal(u.flags, ERGON_PAGE_SHORT);
	assert_true(u.edge_uj > 0 && u.uncertainty_uj >= u.edge_uj);

	step(&r, 110 * J, now);
	r.vc[0].uw = r.vc[1].uw = 5 * J;       /* W */
	r.vc[1].t_ns = now - EG_NSEC_PER_MSEC; /* its reading lies before the tick */
	eg_page_write(w, &r.v);
	u.size = 8;
	assert_int_equal(ergon_page_window_end(page, win, &u), -EINVAL);
	u.size = sizeof(u);
	assert_int_equal(ergon_page_window_end(page, win, &u), 0);
	assert_int_equal(u.uj, used + 2 * used); /* the part is inside the first */
	assert_int_equal(u.accounts, 2);
	assert_int_equal(u.duration_ns, RIG_INTERVAL_NS);
	assert_int_equal(u.begin_ns, t0);
	assert_int_equal(u.end_ns, now);
	assert_int_equal(u.end_unix_ns, now + 1000 * EG_NSEC_PER_SEC);
	assert_int_equal(u.mean_uw, 30 * J);
	assert_int_equal(u.partial, 0);
	assert_int_equal(u.flags, ERGON_PAGE_SHORT); /* 10 intervals were not asked for */
	assert_true(u.asked_ns < RIG_INTERVAL_NS);
	assert_string_equal(u.provenance, "measured");

	assert_int_equal(ergon_page_window_count(win), 3);
	assert_int_equal(ergon_page_window_account(win, 1, &info, &row), 0);
	assert_string_equal(info.device, "cpu-1");
	assert_int_equal(info.counted, 1);
	assert_int_equal(row.uj, 2 * used);
	assert_int_equal(row.duration_ns, RIG_INTERVAL_NS - EG_NSEC_PER_MSEC);
	assert_int_equal(row.end_ns, now - EG_NSEC_PER_MSEC);
	assert_int_equal(ergon_page_window_account(win, 2, &info, &row), 0);
	assert_int_equal(info.counted, 0);
	assert_int_equal(row.uj, 3 * used);
	assert_int_equal(ergon_page_window_account(win, 3, &info, &row), -ENOENT);
	assert_int_equal(ergon_page_window_end(page, win, &u), -ENOENT);
	ergon_page_window_free(win);
	ergon_page_window_free(NULL);
	ergon_page_close(page);
	eg_page_close(w);
	rig_free(&r);
}

/* 5 % of one source add up; 5 W where that is more; what is not known is not 0. */
static void test_accuracy(void **state)
{
	struct ergon_page_used u = ERGON_PAGE_USED_INIT;
	struct ergon_page_info info = ERGON_PAGE_INFO_INIT;
	const double widen = 2.4 / 1.959964;
	struct eg_page_writer *w;
	ergon_page_window *win;
	ergon_page *page;
	struct rig r;
	uint64_t now = rig_now();

	rig_init(&r, 3);
	r.ch[2].accuracy.abs_uw = 5 * J;
	r.ch[2].source = EG_SOURCE_NVML;
	step(&r, 0, now - 100 * EG_NSEC_PER_SEC);
	w = create(&r, FOREVER_NS);
	page = rig_open(&r);
	win = window_new(page);
	assert_int_equal(ergon_page_window_begin(page, win), 0);
	step(&r, 1000 * J, now); /* 10, 20 and 30 W */
	for (size_t i = 0; i < 3; i++)
		r.vc[i].have_uw = false;
	eg_page_write(w, &r.v);
	assert_int_equal(ergon_page_window_end(page, win, &u), 0);
	assert_true(u.has_uncertainty);
	/* The edges: 100 s of the mean at the begin. 50 + 100 J of RAPL, 500 J of NVML. */
	assert_true(fabs((double)u.edge_uj / 6e9 - 1) < 1e-3);
	assert_true(fabs((double)u.uncertainty_uj / 1e6 - (6000 + widen * hypot(150, 500))) < 10);
	assert_int_equal(ergon_page_window_account(win, 2, &info, &u), 0);
	assert_true(fabs((double)(u.uncertainty_uj - u.edge_uj) / 1e6 - widen * 500) < 1);
	eg_page_close(w);

	r.ch[0].accuracy = (struct eg_accuracy){0};
	step(&r, 1000 * J, rig_now());
	w = create(&r, FOREVER_NS);
	assert_int_equal(ergon_page_refresh(page), 1);
	assert_int_equal(ergon_page_window_begin(page, win), 0);
	step(&r, 1001 * J, rig_now());
	eg_page_write(w, &r.v);
	assert_int_equal(ergon_page_window_end(page, win, &u), 0);
	assert_true(u.known && !u.has_uncertainty);
	ergon_page_window_free(win);
	ergon_page_close(page);
	eg_page_close(w);
	rig_free(&r);
}

/* Windows nest and overlap; back to back they sum to the enclosing one, whatever ticks come between. */
static void test_many(void **state)
{
	struct ergon_page_used u = ERGON_PAGE_USED_INIT;
	struct eg_page_writer *w;
	ergon_page_window *outer, *inner, *across;
	ergon_page *page;
	struct rig r;
	uint64_t t = rig_now() - EG_NSEC_PER_SEC / 2, sum = 0, k = 1000, count = 0, last_ns = 0;
	double each = 0;

	rig_init(&r, 2);
	step(&r, k, t);
	w = rig_create(&r);
	page = rig_open(&r);
	outer = window_new(page);
	inner = window_new(page);
	across = window_new(page);
	assert_int_equal(ergon_page_window_begin(page, outer), 0);
	assert_int_equal(ergon_page_window_begin(page, inner), 0);
	assert_int_equal(ergon_page_window_add_units(outer, "requests", 4), 0);
	for (unsigned i = 0; i < 100; i++) {
		step(&r, k += i, t += 1000);
		eg_page_write(w, &r.v);
		if (i == 50)
			assert_int_equal(ergon_page_window_begin(page, across), 0);
		assert_int_equal(ergon_page_window_add_units(inner, "steps", i), 0);
		assert_int_equal(ergon_page_window_next(page, inner, &u), 0);
		assert_int_equal(u.uj, 3 * i);
		assert_true(!last_ns || u.begin_ns == last_ns);
		last_ns = u.end_ns;
		sum += u.uj;
		assert_int_equal(ergon_page_window_units(inner, "steps", &count, &each),
				 i ? 0 : -ENOENT);
		if (i)
			assert_true(count == i && each == 3);
	}
	assert_int_equal(ergon_page_window_end(page, outer, &u), 0);
	assert_int_equal(u.uj, sum);
	assert_int_equal(ergon_page_window_units(outer, "requests", &count, &each), 0);
	assert_true(count == 4 && each == (double)sum / 4);
	assert_int_equal(ergon_page_window_units(outer, "steps", &count, NULL), -ENOENT);
	assert_int_equal(ergon_page_window_end(page, across, &u), 0);
	assert_int_equal(u.uj, 3 * (51 + 99) * 49 / 2);
	ergon_page_window_cancel(inner);
	assert_int_equal(ergon_page_window_end(page, inner, &u), -ENOENT);
	assert_int_equal(ergon_page_window_begin(page, inner), 0);
	ergon_page_window_free(inner); /* also while it runs */
	ergon_page_window_free(outer);
	ergon_page_window_free(across);
	ergon_page_close(page);
	eg_page_close(w);
	rig_free(&r);
}

static void test_units(void **state)
{
	struct ergon_page_used u = ERGON_PAGE_USED_INIT;
	struct eg_page_writer *w;
	ergon_page_window *win;
	ergon_page *page;
	struct rig r;
	char name[40] = "unit-x";
	uint64_t n = 0;

	rig_init(&r, 1);
	step(&r, 1, rig_now());
	w = rig_create(&r);
	page = rig_open(&r);
	win = window_new(page);
	assert_int_equal(ergon_page_window_begin(page, win), 0);
	assert_int_equal(ergon_page_window_add_units(win, "", 1), -EINVAL);
	assert_int_equal(ergon_page_window_add_units(win, NULL, 1), -EINVAL);
	assert_int_equal(ergon_page_window_add_units(win, "a name of more than thirty-one bytes",
						     1),
			 -ENAMETOOLONG);
	for (int i = 0; i < 8; i++) {
		name[5] = (char)('a' + i);
		assert_int_equal(ergon_page_window_add_units(win, name, UINT64_MAX), 0);
	}
	assert_int_equal(ergon_page_window_add_units(win, name, 1), -EOVERFLOW);
	assert_int_equal(ergon_page_window_add_units(win, "ninth", 1), -ENOSPC);
	assert_int_equal(ergon_page_window_end(page, win, &u), 0);
	assert_int_equal(ergon_page_window_units(win, "unit-h", &n, NULL), 0);
	assert_true(n == UINT64_MAX);
	ergon_page_window_free(win);
	ergon_page_close(page);
	eg_page_close(w);
	rig_free(&r);
}

static void test_no_memory_is_taken(void **state)
{
	struct ergon_page_used u = ERGON_PAGE_USED_INIT;
	struct eg_page_writer *w;
	ergon_page_window *win;
	ergon_page *page;
	struct rig r;
	struct mallinfo2 before, after;

	rig_init(&r, RIG_ACCOUNTS);
	step(&r, 1, rig_now());
	w = rig_create(&r);
	page = rig_open(&r);
	win = window_new(page);
	before = mallinfo2();
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(ergon_page_window_begin(page, win), 0);
		(void)ergon_page_window_add_units(win, "requests", 1);
		assert_int_equal(ergon_page_window_next(page, win, &u), 0);
		assert_int_equal(ergon_page_window_end(page, win, &u), 0);
		after = mallinfo2();
		assert_int_equal(after.uordblks, before.uordblks);
	}
	ergon_page_window_free(win);
	ergon_page_close(page);
	eg_page_close(w);
	rig_free(&r);
}

/* ---- what a window cannot know ---- */

static void test_gaps_and_silence(void **state)
{
	struct ergon_page_used u = ERGON_PAGE_USED_INIT, row = ERGON_PAGE_USED_INIT;
	struct ergon_page_info info = ERGON_PAGE_INFO_INIT;
	struct eg_page_writer *w;
	ergon_page_window *win;
	ergon_page *page;
	struct rig r;
	uint64_t now = rig_now();

	rig_init(&r, 4);
	r.va[3].held = true; /* of the first one */
	r.va[3].channel = 0;
	r.va[3].a.provenance = EG_PROVENANCE_ESTIMATED;
	eg_copy(r.va[3].a.device, sizeof(r.va[3].a.device), "cpu-0");
	step(&r, 100, now);
	r.va[2].shown = r.va[3].shown = false;
	w = rig_create(&r);
	page = rig_open(&r);
	win = window_new(page);
	assert_int_equal(ergon_page_window_begin(page, win), 0);
	step(&r, 200, rig_now());
	r.va[0].a.gap_ns = 77;
	r.va[3].a.uj = 50; /* held */
	r.va[3].shown = true;
	eg_page_write(w, &r.v);
	assert_int_equal(ergon_page_window_peek(page, win, &u), 0);
	assert_int_equal(u.uj, 100 + 200 + 50);
	assert_int_equal(u.estimated_uj, 50);
	assert_string_equal(u.provenance, "estimated");
	assert_true(u.partial);
	assert_int_equal(u.gap_ns, 77);
	assert_int_equal(u.flags, ERGON_PAGE_SHORT | ERGON_PAGE_GAP | ERGON_PAGE_INCOMPLETE |
					  ERGON_PAGE_SILENT);
	assert_int_equal(ergon_page_window_account(win, 2, &info, &row), 0);
	assert_false(row.known);
	assert_int_equal(ergon_page_window_account(win, 1, &info, &row), 0);
	assert_true(row.known && !row.partial);

	r.va[2].shown = true;		/* its first reading */
	r.va[1].a.created_unix_ns = 99; /* this one began anew */
	eg_page_write(w, &r.v);
	assert_int_equal(ergon_page_window_end(page, win, &u), 0);
	assert_int_equal(u.uj, 100 + 600 + 50);
	assert_int_equal(u.flags, ERGON_PAGE_SHORT | ERGON_PAGE_GAP | ERGON_PAGE_INCOMPLETE |
					  ERGON_PAGE_APPEARED | ERGON_PAGE_ANEW);
	ergon_page_window_free(win);
	ergon_page_close(page);
	eg_page_close(w);
	rig_free(&r);
}

/* Nothing at all is known: no figure. */
static void test_nothing_known(void **state)
{
	struct ergon_page_used u = ERGON_PAGE_USED_INIT;
	struct eg_page_writer *w;
	ergon_page_window *win;
	ergon_page *page;
	struct rig r;
	uint64_t n;
	double each;

	rig_init(&r, 1);
	step(&r, 100, rig_now());
	r.va[0].shown = false;
	w = rig_create(&r);
	page = rig_open(&r);
	win = window_new(page);
	assert_int_equal(ergon_page_window_begin(page, win), 0);
	(void)ergon_page_window_add_units(win, "x", 1);
	assert_int_equal(ergon_page_window_end(page, win, &u), 0);
	assert_true(!u.known && u.partial && !u.has_mean && !u.has_uncertainty);
	assert_int_equal(u.accounts, 0);
	assert_int_equal(ergon_page_window_units(win, "x", &n, &each), -ENODATA);
	ergon_page_window_free(win);
	ergon_page_close(page);
	eg_page_close(w);
	rig_free(&r);
}

static void test_away(void **state)
{
	struct ergon_page_used u = ERGON_PAGE_USED_INIT;
	struct eg_page_writer *w;
	ergon_page_window *win;
	ergon_page *page;
	struct rig r;
	uint64_t now = rig_now();

	rig_init(&r, 1);
	step(&r, 100, now - 20 * EG_NSEC_PER_SEC);
	w = rig_create(&r);
	page = rig_open(&r);
	win = window_new(page);
	/* A window that began with the tick of 20 s ago would hold what others used. */
	assert_int_equal(ergon_page_state(page), ERGON_PAGE_STALE);
	assert_int_equal(ergon_page_window_begin(page, win), -ENODATA);
	assert_int_equal(ergon_page_window_end(page, win, &u), -ENOENT);
	/* Live, but late. */
	step(&r, 150, now - 4 * EG_NSEC_PER_SEC);
	eg_page_write(w, &r.v);
	assert_int_equal(ergon_page_window_begin(page, win), 0);
	step(&r, 200, rig_now());
	eg_page_write(w, &r.v);
	assert_int_equal(ergon_page_window_next(page, win, &u), 0);
	assert_true(u.partial && (u.flags & ERGON_PAGE_AWAY));
	assert_true(u.edge_uj >= 4 * 50 / 4);
	/* The next one began with the fresh tick. */
	assert_int_equal(ergon_page_window_peek(page, win, &u), 0);
	assert_int_equal(u.flags, ERGON_PAGE_SHORT);
	step(&r, 230, rig_now());
	eg_page_write(w, &r.v);
	eg_page_close(w);
	assert_int_equal(ergon_page_window_end(page, win, &u), 0);
	assert_int_equal(u.uj, 30); /* until it stopped */
	assert_true(u.partial && (u.flags & ERGON_PAGE_AWAY));
	assert_int_equal(ergon_page_window_begin(page, win), -ENODATA);
	ergon_page_window_free(win);
	ergon_page_close(page);
	rig_free(&r);
}

/* ---- one agent after the other ---- */

static void test_restart(void **state)
{
	struct ergon_page_used u = ERGON_PAGE_USED_INIT, row = ERGON_PAGE_USED_INIT;
	struct ergon_page_info info = ERGON_PAGE_INFO_INIT;
	struct eg_page_writer *w;
	ergon_page_window *win, *later;
	ergon_page *page;
	struct rig r;
	const char *text;

	rig_init(&r, 2);
	step(&r, 1000, rig_now());
	w = rig_create(&r);
	page = rig_open(&r);
	win = window_new(page);
	later = window_new(page);
	assert_int_equal(ergon_page_window_begin(page, win), 0);
	assert_int_equal(ergon_page_account(page, 0, &info), 0);
	text = info.device;
	eg_page_close(w);
	assert_int_equal(ergon_page_window_peek(page, win, &u), 0);
	assert_true(u.partial && (u.flags & ERGON_PAGE_AWAY)); /* so far */

	step(&r, 1500, rig_now());
	w = rig_create(&r);
	assert_int_equal(ergon_page_refresh(page), 1);
	assert_int_equal(ergon_page_account(page, 0, &info), 0);
	assert_ptr_equal(info.device, text); /* the same accounts: the same texts */
	assert_int_equal(ergon_page_window_begin(page, later), 0);
	step(&r, 1700, rig_now());
	eg_page_write(w, &r.v);
	assert_int_equal(ergon_page_window_peek(page, win, &u), 0);
	assert_int_equal(u.uj, 700 + 1400); /* all of it, over both */
	assert_int_equal(u.flags, ERGON_PAGE_REPLACED | ERGON_PAGE_SHORT);
	assert_int_equal(u.partial, 0);
	eg_page_close(w);

	/* The next agent has other accounts, more of them than any before. */
	eg_copy(r.va[0].a.device, sizeof(r.va[0].a.device), "cpu-7");
	r.vc[0].t_ns = rig_now();
	r.v.t_ns = rig_now();
	w = rig_create(&r);
	assert_int_equal(ergon_page_refresh(page), 1);
	assert_int_equal(ergon_page_window_end(page, win, &u), 0);
	assert_int_equal(u.uj, 1400);
	assert_int_equal(u.accounts, 1);
	assert_int_equal(u.flags, ERGON_PAGE_REPLACED | ERGON_PAGE_SHORT | ERGON_PAGE_INCOMPLETE |
					  ERGON_PAGE_VANISHED | ERGON_PAGE_APPEARED);
	assert_int_equal(ergon_page_window_account(win, 0, &info, &row), 0);
	assert_string_equal(info.device, "cpu-0");
	assert_int_equal(row.flags & ERGON_PAGE_VANISHED, ERGON_PAGE_VANISHED);
	assert_int_equal(ergon_page_window_next(page, later, &u), 0);
	assert_int_equal(u.uj, 400);
	assert_true(u.flags & ERGON_PAGE_VANISHED);
	/* From here on it is of the new page. */
	assert_int_equal(ergon_page_window_end(page, later, &u), 0);
	assert_int_equal(u.accounts, 2);
	assert_int_equal(u.flags, ERGON_PAGE_SHORT);
	ergon_page_window_free(win);
	ergon_page_window_free(later);
	ergon_page_close(page);
	eg_page_close(w);
	rig_free(&r);
}

/* A page of more accounts than the window was made for, in the middle of it. */
static void test_growth(void **state)
{
	struct ergon_page_used u = ERGON_PAGE_USED_INIT;
	struct eg_page_writer *w;
	ergon_page_window *win;
	ergon_page *page;
	struct rig r;

	rig_init(&r, RIG_ACCOUNTS);
	r.v.n_accounts = r.v.n_channels = 1;
	step(&r, 1000, rig_now());
	w = rig_create(&r);
	page = rig_open(&r);
	win = window_new(page);
	assert_int_equal(ergon_page_window_begin(page, win), 0);
	eg_page_close(w);
	r.v.n_accounts = r.v.n_channels = RIG_ACCOUNTS;
	step(&r, 1100, rig_now());
	w = rig_create(&r);
	assert_int_equal(ergon_page_refresh(page), 1);
	assert_int_equal(ergon_page_window_next(page, win, &u), 0);
	assert_int_equal(u.uj, 100);
	assert_true(u.flags & ERGON_PAGE_APPEARED);
	step(&r, 1200, rig_now());
	eg_page_write(w, &r.v);
	assert_int_equal(ergon_page_window_end(page, win, &u), 0);
	assert_int_equal(u.uj, 100 * RIG_ACCOUNTS * (RIG_ACCOUNTS + 1) / 2);
	assert_int_equal(u.flags, ERGON_PAGE_SHORT);
	ergon_page_window_free(win);
	ergon_page_close(page);
	eg_page_close(w);
	rig_free(&r);
}

/* ---- many at once ---- */

struct crowd {
	ergon_page *page;
	_Atomic bool stop;
	_Atomic uint64_t k; /* written, before any reader can see it */
	_Atomic unsigned windows, replaced, wrong;
};

static void *use_windows(void *arg)
{
	struct crowd *c = arg;
	struct ergon_page_used u = ERGON_PAGE_USED_INIT;
	ergon_page_window *win = window_new(c->page);

	while (!atomic_load(&c->stop)) {
		uint64_t before = atomic_load(&c->k);
		int r = ergon_page_window_begin(c->page, win);

		if (r == -ENODATA || r == -EAGAIN) {
			sched_yield();
			continue;
		}
		if (r < 0) {
			atomic_fetch_add(&c->wrong, 1);
			break;
		}
		sched_yield();
		while ((r = ergon_page_window_end(c->page, win, &u)) == -EAGAIN)
			sched_yield();
		/* Three accounts of 1, 2 and 3 times the step; one tick for all of them. What was
		 * begun may have been a page that was ended already, some ticks behind. */
		if (r < 0 || !u.known || u.uj % 6 || u.uj / 6 > atomic_load(&c->k) - before + 64)
			atomic_fetch_add(&c->wrong, 1);
		atomic_fetch_add(&c->windows, 1);
		if (u.flags & ERGON_PAGE_REPLACED)
			atomic_fetch_add(&c->replaced, 1);
	}
	ergon_page_window_free(win);
	return NULL;
}

static void *refresh_often(void *arg)
{
	struct crowd *c = arg;

	while (!atomic_load(&c->stop)) {
		int r = ergon_page_refresh(c->page);

		if (r < 0 && r != -EAGAIN)
			atomic_fetch_add(&c->wrong, 1);
		sched_yield();
	}
	return NULL;
}

static void test_refresh_beside_windows(void **state)
{
	struct crowd c = {0};
	struct eg_page_writer *w, *next;
	pthread_t thread[THREADS], refresher[2];
	struct rig r;

	rig_init(&r, 3);
	step(&r, 0, rig_now());
	w = create(&r, FOREVER_NS);
	c.page = rig_open(&r);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, use_windows, &c), 0);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&refresher[i], NULL, refresh_often, &c), 0);
	for (unsigned g = 0; g < GENERATIONS; g++) {
		for (unsigned i = 0; i < 20; i++) {
			step(&r, atomic_fetch_add(&c.k, 1) + 1, rig_now());
			eg_page_write(w, &r.v);
		}
		next = create(&r, FOREVER_NS);
		eg_page_close(w);
		w = next;
		nap(100000);
	}
	atomic_store(&c.stop, true);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	for (size_t i = 0; i < 2; i++)
		pthread_join(refresher[i], NULL);
	print_message("%u windows, %u across a change of the agent\n", atomic_load(&c.windows),
		      atomic_load(&c.replaced));
	assert_int_equal(atomic_load(&c.wrong), 0);
	assert_true(atomic_load(&c.windows) > 0);
	ergon_page_close(c.page);
	eg_page_close(w);
	rig_free(&r);
}

/* A child goes on with page and window, also over the next agent. */
static void test_fork(void **state)
{
	struct ergon_page_used u = ERGON_PAGE_USED_INIT;
	struct eg_page_writer *w;
	ergon_page_window *win;
	ergon_page *page;
	struct rig r;
	int status;
	pid_t pid;

	rig_init(&r, 1);
	step(&r, 100, rig_now());
	w = rig_create(&r);
	page = rig_open(&r);
	win = window_new(page);
	assert_int_equal(ergon_page_window_begin(page, win), 0);
	eg_page_close(w);
	step(&r, 300, rig_now());
	w = rig_create(&r);
	pid = fork();
	if (pid == 0) {
		bool good = ergon_page_refresh(page) == 1 &&
			    ergon_page_window_end(page, win, &u) == 0 && u.uj == 200 && !u.partial;

		_exit(good ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(ergon_page_window_end(page, win, &u), 0);
	assert_int_equal(u.uj, 0); /* the parent did not refresh */
	assert_true(u.flags & ERGON_PAGE_AWAY);
	ergon_page_window_free(win);
	ergon_page_close(page);
	eg_page_close(w);
	rig_free(&r);
}

/* ---- the uncertainty ---- */

/* 80 W and a sine of 40 W with a period of 300 ms: joules since t0. */
static double truth_j(uint64_t ns)
{
	double s = (double)ns / 1e9, omega = 2 * M_PI / 0.3;

	return 80 * s + 40 / omega * (1 - cos(omega * s));
}

struct agent {
	struct rig *r;
	struct eg_page_writer *w;
	uint64_t t0_ns;
	double gain;
	_Atomic bool stop;
};

static void tick(struct agent *a)
{
	uint64_t t_ns = rig_now();

	step(a->r, (uint64_t)(truth_j(t_ns - a->t0_ns) * a->gain * 1e6), t_ns);
	a->r->vc[0].uw =
		(uint64_t)(80e6 + 40e6 * sin(2 * M_PI / 0.3 * (double)(t_ns - a->t0_ns) / 1e9));
}

static void *run_agent(void *arg)
{
	struct agent *a = arg;

	while (!atomic_load(&a->stop)) {
		tick(a);
		eg_page_write(a->w, &a->r->v);
		nap(FAST_NS);
	}
	return NULL;
}

/* Windows at any moment and of any length, in real time, on a meter that is 3 % off in a class of 5 %. */
static void test_uncertainty_holds_the_truth(void **state)
{
	struct agent a = {.t0_ns = rig_now(), .gain = 1.03};
	struct ergon_page_used u = ERGON_PAGE_USED_INIT;
	ergon_page_window *win;
	unsigned inside = 0, n = 0;
	double worst = 0;
	uint64_t seed = 1;
	ergon_page *page;
	pthread_t thread;
	struct rig r;

	rig_init(&r, 1);
	a.r = &r;
	tick(&a);
	a.w = create(&r, FAST_NS);
	page = rig_open(&r);
	win = window_new(page);
	assert_int_equal(pthread_create(&thread, NULL, run_agent, &a), 0);
	while (n < WINDOWS) {
		uint64_t begin_ns, end_ns;
		double truth, error;

		if (ergon_page_window_begin(page, win) < 0)
			continue;
		begin_ns = rig_now();
		nap(random_below(&seed, 40 * EG_NSEC_PER_MSEC));
		end_ns = rig_now();
		while (ergon_page_window_end(page, win, &u) < 0)
			sched_yield();
		truth = truth_j(end_ns - a.t0_ns) - truth_j(begin_ns - a.t0_ns);
		error = fabs((double)u.uj / 1e6 - truth);
		assert_true(u.known && u.has_uncertainty);
		inside += error <= (double)u.uncertainty_uj / 1e6;
		worst = fmax(worst, error / ((double)u.uncertainty_uj / 1e6));
		n++;
	}
	atomic_store(&a.stop, true);
	pthread_join(thread, NULL);
	print_message("%u of %u windows hold the truth; worst error %.2f of its bound\n", inside, n,
		      worst);
	assert_true(inside * 100 >= n * 95);
	ergon_page_window_free(win);
	ergon_page_close(page);
	eg_page_close(a.w);
	rig_free(&r);
}

static void test_words(void **state)
{
	for (uint32_t bit = 1; bit <= ERGON_PAGE_SHORT; bit <<= 1)
		assert_non_null(ergon_page_partial_text(bit));
	assert_null(ergon_page_partial_text(ERGON_PAGE_SHORT << 1));
	assert_null(ergon_page_partial_text(0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_between_ticks),
		cmocka_unit_test(test_accuracy),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_units),
		cmocka_unit_test(test_no_memory_is_taken),
		cmocka_unit_test(test_gaps_and_silence),
		cmocka_unit_test(test_nothing_known),
		cmocka_unit_test(test_away),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_refresh_beside_windows),
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_uncertainty_holds_the_truth),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests_name("page-window", tests, NULL, NULL);
}
