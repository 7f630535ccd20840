/* SPDX-License-Identifier: Apache-2.0 */
/* The energy page in order: layout, what is written is read, sums, marks, the life of the agent. */
#include <errno.h>
#include <fcntl.h>

#include "rig.h"

#define J 1000000ULL

/* ---- layout: docs/energy-page.md ---- */

static void test_layout(void **state)
{
	assert_int_equal(offsetof(struct eg_page_header, version), 8);
	assert_int_equal(offsetof(struct eg_page_header, header_size), 12);
	assert_int_equal(offsetof(struct eg_page_header, total_size), 16);
	assert_int_equal(offsetof(struct eg_page_header, n_accounts), 24);
	assert_int_equal(offsetof(struct eg_page_header, record_size), 28);
	assert_int_equal(offsetof(struct eg_page_header, line_size), 32);
	assert_int_equal(offsetof(struct eg_page_header, records_offset), 40);
	assert_int_equal(offsetof(struct eg_page_header, lines_offset), 48);
	assert_int_equal(offsetof(struct eg_page_header, generation), 56);
	assert_int_equal(offsetof(struct eg_page_header, pid), 64);
	assert_int_equal(offsetof(struct eg_page_header, start_unix_ns), 72);
	assert_int_equal(offsetof(struct eg_page_header, start_ns), 80);
	assert_int_equal(offsetof(struct eg_page_header, interval_ns), 88);
	assert_int_equal(offsetof(struct eg_page_header, state), 96);
	assert_int_equal(offsetof(struct eg_page_header, boot_id), 104);
	assert_int_equal(offsetof(struct eg_page_header, tick), 192);
	assert_int_equal(offsetof(struct eg_page_tick, t_ns), 8);
	assert_int_equal(offsetof(struct eg_page_tick, unix_ns), 16);
	assert_int_equal(offsetof(struct eg_page_tick, ticks), 24);
	assert_int_equal(offsetof(struct eg_page_record, channel), 96);
	assert_int_equal(offsetof(struct eg_page_record, component), 288);
	assert_int_equal(offsetof(struct eg_page_record, source), 320);
	assert_int_equal(offsetof(struct eg_page_record, provenance), 352);
	assert_int_equal(offsetof(struct eg_page_record, boundary), 368);
	assert_int_equal(offsetof(struct eg_page_record, flags), 384);
	assert_int_equal(offsetof(struct eg_page_record, accuracy_ppm), 388);
	assert_int_equal(offsetof(struct eg_page_record, accuracy_uw), 392);
	assert_int_equal(offsetof(struct eg_page_line, uj), 8);
	assert_int_equal(offsetof(struct eg_page_line, uw), 16);
	assert_int_equal(offsetof(struct eg_page_line, t_ns), 24);
	assert_int_equal(offsetof(struct eg_page_line, unix_ns), 32);
	assert_int_equal(offsetof(struct eg_page_line, gap_ns), 40);
	assert_int_equal(offsetof(struct eg_page_line, created_unix_ns), 48);
	assert_int_equal(offsetof(struct eg_page_line, what), 56);
}

static uint64_t le(const uint8_t *at, unsigned n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | at[n];
	return v;
}

/* The file as another program would read it, with the document in hand. */
static void test_bytes(void **state)
{
	static uint8_t b[256 + 2 * (512 + 64)];
	struct eg_page_writer *w;
	const uint8_t *record, *line;
	struct rig r;
	int fd;

	rig_init(&r, 2);
	rig_step(&r, 5, 77);
	w = rig_create(&r);
	fd = open(r.path, O_RDONLY);
	assert_int_equal(read(fd, b, sizeof(b)), sizeof(b));
	assert_int_equal(read(fd, b, 1) /* no more */, 0);
	close(fd);
	assert_memory_equal(b, "ERGPAGE", 8);
	assert_int_equal(le(b + 8, 4), 1);
	assert_int_equal(le(b + 12, 4), 256);
	assert_int_equal(le(b + 16, 8), sizeof(b));
	assert_int_equal(le(b + 24, 4), 2);
	assert_int_equal(le(b + 28, 4), 512);
	assert_int_equal(le(b + 32, 4), 64);
	assert_int_equal(le(b + 40, 8), 256);
	assert_int_equal(le(b + 48, 8), 256 + 2 * 512);
	assert_int_equal(le(b + 64, 8), getpid());
	assert_int_equal(le(b + 88, 8), RIG_INTERVAL_NS);
	assert_int_equal(le(b + 96, 8), 1);
	assert_int_equal(strlen((char *)b + 104), 36);
	assert_int_equal(le(b + 192, 8), 2); /* one tick: two steps of the sequence */
	assert_int_equal(le(b + 200, 8), 77);
	assert_int_equal(le(b + 216, 8), 1);
	record = b + 256 + 512;
	assert_string_equal((char *)record, "cpu-1");
	assert_string_equal((char *)record + 96, "rapl/package-1");
	assert_string_equal((char *)record + 288, "package");
	assert_string_equal((char *)record + 320, "rapl");
	assert_string_equal((char *)record + 352, "measured");
	assert_string_equal((char *)record + 368, "component");
	assert_int_equal(le(record + 384, 4), 1);
	assert_int_equal(le(record + 388, 4), 50000);
	line = b + 256 + 2 * 512 + 64;
	assert_int_equal(le(line, 8), 2);
	assert_int_equal(le(line + 8, 8), 10);
	assert_int_equal(le(line + 16, 8), 31);
	assert_int_equal(le(line + 24, 8), 77);
	assert_int_equal(le(line + 40, 8), 35);
	assert_int_equal(le(line + 48, 8), 1);
	assert_int_equal(le(line + 56, 4), 0);
	assert_int_equal(le(line + 60, 4), 3);
	assert_null(eg_page_close(w));
	rig_free(&r);
}

/* ---- what is written is read ---- */

static void test_round_trip(void **state)
{
	struct ergon_page_info info = ERGON_PAGE_INFO_INIT;
	struct ergon_page_reading x = ERGON_PAGE_READING_INIT;
	struct eg_page_writer *w;
	ergon_page *page;
	struct rig r;
	uint64_t now = rig_now();

	rig_init(&r, 3);
	rig_step(&r, 1000, now);
	r.va[2].shown = false; /* never answered */
	r.vc[2].status = EG_STATUS_DENIED;
	w = rig_create(&r);
	page = rig_open(&r);
	assert_int_equal(ergon_page_count(page), 3);
	assert_int_equal(ergon_page_interval_ns(page), RIG_INTERVAL_NS);
	assert_int_equal(ergon_page_account(page, 1, &info), 0);
	assert_string_equal(info.device, "cpu-1");
	assert_string_equal(info.component, "package");
	assert_string_equal(info.source, "rapl");
	assert_string_equal(info.provenance, "measured");
	assert_string_equal(info.boundary, "component");
	assert_string_equal(info.channel, "rapl/package-1");
	assert_true(info.counted && !info.held);
	assert_int_equal(info.accuracy_ppm, 50000);
	assert_int_equal(ergon_page_account(page, 3, &info), -ENOENT);

	assert_int_equal(ergon_page_read(page, 1, &x), 0);
	assert_true(rig_whole(&x, 1));
	assert_int_equal(x.total_uj, 2000);
	assert_int_equal(x.t_ns, now);
	assert_string_equal(x.status, "ok");
	/* Absent is absent, and outputs stay as they were. */
	x.total_uj = 42;
	assert_int_equal(ergon_page_read(page, 2, &x), -ENODATA);
	assert_int_equal(ergon_page_read(page, 3, &x), -ENOENT);
	x.size = sizeof(x) - 8;
	assert_int_equal(ergon_page_read(page, 1, &x), -EINVAL);
	assert_int_equal(x.total_uj, 42);
	x.size = sizeof(x);

	r.vc[1].have_uw = false;
	r.vc[1].status = EG_STATUS_ERROR;
	r.va[1].a.uj = 2001;
	eg_page_write(w, &r.v);
	assert_int_equal(ergon_page_read(page, 1, &x), 0);
	assert_int_equal(x.total_uj, 2001);
	assert_false(x.has_power);
	assert_string_equal(x.status, "error");

	assert_int_equal(ergon_page_find(page, "cpu-1", "package", "measured"), 1);
	assert_int_equal(ergon_page_find(page, "cpu-1", "package", NULL), 1);
	assert_int_equal(ergon_page_find(page, "cpu-1", "package", "estimated"), -ENOENT);
	assert_int_equal(ergon_page_find(page, "cpu-1", "dram", NULL), -ENOENT);
	ergon_page_close(page);
	ergon_page_close(NULL);
	eg_page_close(w);
	rig_free(&r);
}

/* An account of an earlier run whose device is away, one never fed, one of held readings. */
static void test_without_channel(void **state)
{
	struct ergon_page_info info = ERGON_PAGE_INFO_INIT;
	struct ergon_page_reading x = ERGON_PAGE_READING_INIT;
	struct eg_page_writer *w;
	ergon_page *page;
	struct rig r;

	rig_init(&r, 3);
	rig_step(&r, 9, rig_now());
	r.va[0].channel = -1;
	r.va[0].a.last.t_ns = 12345; /* of another boot */
	r.va[1].channel = -1;
	r.va[1].a.channel[0] = '\0';
	r.va[1].shown = false;
	r.va[2].held = true;
	r.va[2].a.provenance = EG_PROVENANCE_ESTIMATED;
	w = rig_create(&r);
	page = rig_open(&r);
	assert_int_equal(ergon_page_account(page, 0, &info), 0);
	assert_string_equal(info.source, "rapl");
	assert_string_equal(info.channel, "rapl/package-0");
	assert_false(info.counted);
	assert_int_equal(ergon_page_read(page, 0, &x), 0);
	assert_int_equal(x.total_uj, 9);
	assert_int_equal(x.t_ns, 0);
	assert_int_equal(x.unix_ns, 0);
	assert_false(x.has_power);
	assert_string_equal(x.status, "no_data");
	assert_int_equal(ergon_page_account(page, 1, &info), 0);
	assert_string_equal(info.source, "");
	assert_string_equal(info.boundary, "");
	assert_string_equal(info.channel, "");
	assert_int_equal(ergon_page_account(page, 2, &info), 0);
	assert_string_equal(info.provenance, "estimated");
	assert_true(info.held && info.counted);
	assert_int_equal(ergon_page_read(page, 2, &x), 0);
	assert_false(x.has_power); /* it is the measured account's */
	ergon_page_close(page);
	eg_page_close(w);
	rig_free(&r);
}

static void test_no_accounts(void **state)
{
	struct ergon_page_reading x = ERGON_PAGE_READING_INIT;
	struct ergon_page_delta d = ERGON_PAGE_DELTA_INIT;
	struct ergon_page_sum s = ERGON_PAGE_SUM_INIT;
	struct eg_page_writer *w;
	ergon_page_mark *mark;
	ergon_page *page;
	struct rig r;

	rig_init(&r, 0);
	rig_step(&r, 1, rig_now());
	w = rig_create(&r);
	page = rig_open(&r);
	assert_int_equal(ergon_page_count(page), 0);
	assert_int_equal(ergon_page_read(page, 0, &x), -ENOENT);
	assert_int_equal(ergon_page_total(page, &s), -ENODATA);
	assert_int_equal(ergon_page_mark_new(page, &mark), 0);
	assert_int_equal(ergon_page_since(page, mark, &d), -ENODATA);
	assert_int_equal(ergon_page_state(page), ERGON_PAGE_LIVE);
	ergon_page_mark_free(mark);
	ergon_page_close(page);
	eg_page_close(w);
	rig_free(&r);
}

/* ---- sums ---- */

static void test_total(void **state)
{
	struct ergon_page_sum s = ERGON_PAGE_SUM_INIT;
	struct eg_page_writer *w;
	ergon_page *page;
	struct rig r;
	uint64_t now = rig_now();

	rig_init(&r, 5);
	rig_step(&r, 100, now);
	r.vc[1].role = EG_ROLE_PART; /* inside cpu-0: never added */
	r.va[2].held = true;	     /* of cpu-3 */
	r.va[2].channel = 3;
	r.va[2].a.provenance = EG_PROVENANCE_ESTIMATED;
	r.va[2].shown = false; /* nothing held yet */
	r.va[4].shown = false;
	w = rig_create(&r);
	page = rig_open(&r);
	assert_int_equal(ergon_page_total(page, &s), 0);
	assert_int_equal(s.total_uj, 100 + 400);
	assert_int_equal(s.estimated_uj, 0);
	assert_int_equal(s.accounts, 2);
	assert_int_equal(s.missing, 1);
	assert_false(s.has_power); /* of a part of the node it would mislead */
	assert_int_equal(s.t_ns, now);
	assert_int_equal(s.unix_ns, r.v.unix_ns);
	assert_string_equal(s.provenance, "measured");

	r.va[4].shown = true;
	eg_page_write(w, &r.v);
	assert_int_equal(ergon_page_total(page, &s), 0);
	assert_true(s.has_power);
	assert_int_equal(s.power_uw, 300 + 0 + 1200 + 3 + 1500 + 4);
	assert_int_equal(s.missing, 0);

	r.va[2].shown = true;
	r.va[2].a.uj = 7;
	r.vc[4].status = EG_STATUS_NO_DATA;
	eg_page_write(w, &r.v);
	assert_int_equal(ergon_page_total(page, &s), 0);
	assert_int_equal(s.total_uj, 100 + 400 + 500 + 7);
	assert_int_equal(s.estimated_uj, 7);
	assert_string_equal(s.provenance, "estimated");
	assert_false(s.has_power); /* a last value without its age */

	r.va[0].a.uj = UINT64_MAX;
	eg_page_write(w, &r.v);
	assert_int_equal(ergon_page_total(page, &s), 0);
	assert_true(s.total_uj == UINT64_MAX);
	ergon_page_close(page);
	eg_page_close(w);
	rig_free(&r);
}

/* ---- marks ---- */

static void test_since(void **state)
{
	struct ergon_page_delta d = ERGON_PAGE_DELTA_INIT;
	struct eg_page_writer *w;
	ergon_page_mark *mark;
	ergon_page *page;
	struct rig r;
	uint64_t now = rig_now();

	rig_init(&r, 3);
	rig_step(&r, 1 * J, now - 2 * RIG_INTERVAL_NS);
	r.vc[2].role = EG_ROLE_CROSSCHECK;
	w = rig_create(&r);
	page = rig_open(&r);
	assert_int_equal(ergon_page_mark_new(page, &mark), 0);
	assert_int_equal(ergon_page_since(page, mark, &d), 0);
	assert_int_equal(d.uj, 0);
	assert_int_equal(d.flags, 0);
	assert_int_equal(d.duration_ns, 0);

	rig_step(&r, 5 * J, now);
	for (size_t i = 0; i < 3; i++)
		r.va[i].a.gap_ns = 7 * J;
	eg_page_write(w, &r.v);
	assert_int_equal(ergon_page_since(page, mark, &d), 0);
	assert_int_equal(d.uj, 4 * J + 8 * J);
	assert_int_equal(d.accounts, 2);
	assert_int_equal(d.duration_ns, 2 * RIG_INTERVAL_NS);
	assert_int_equal(d.flags, 0);
	assert_string_equal(d.provenance, "measured");
	assert_int_equal(ergon_page_since_account(page, mark, 2, &d), 0);
	assert_int_equal(d.uj, 12 * J);
	assert_int_equal(d.accounts, 1);
	assert_int_equal(ergon_page_since_account(page, mark, 3, &d), -ENOENT);

	r.va[1].a.gap_ns += 5; /* told */
	eg_page_write(w, &r.v);
	assert_int_equal(ergon_page_since(page, mark, &d), 0);
	assert_int_equal(d.uj, 12 * J);
	assert_int_equal(d.gap_ns, 5);
	assert_int_equal(d.flags, ERGON_PAGE_GAP);

	/* Silent since a while: the end of the window is not known. */
	r.va[1].a.gap_ns -= 5;
	r.vc[1].status = EG_STATUS_NO_DATA;
	r.vc[1].t_ns = now - 1000;
	eg_page_write(w, &r.v);
	assert_int_equal(ergon_page_since(page, mark, &d), 0);
	assert_int_equal(d.gap_ns, 1000);
	assert_int_equal(d.flags, ERGON_PAGE_GAP);
	r.vc[1].status = EG_STATUS_OK;

	/* Never negative, never invented. */
	r.va[0].a.uj = J / 2;
	eg_page_write(w, &r.v);
	assert_int_equal(ergon_page_since(page, mark, &d), 0);
	assert_int_equal(d.uj, 8 * J);
	assert_int_equal(d.flags, ERGON_PAGE_INCOMPLETE);
	r.va[0].a.uj = 100 * J;
	r.va[0].a.created_unix_ns = 2; /* a total that began anew */
	eg_page_write(w, &r.v);
	assert_int_equal(ergon_page_since(page, mark, &d), 0);
	assert_int_equal(d.uj, 8 * J);
	assert_int_equal(d.flags, ERGON_PAGE_INCOMPLETE);
	assert_int_equal(ergon_page_since_account(page, mark, 0, &d), -ENODATA);
	assert_int_equal(ergon_page_since_account(page, mark, 1, &d), 0);
	assert_int_equal(d.flags, 0);
	ergon_page_mark_free(mark);
	ergon_page_mark_free(NULL);
	ergon_page_close(page);
	eg_page_close(w);
	rig_free(&r);
}

/* First readings after the mark: counted from 0, which the total was, and said. */
static void test_since_first_reading(void **state)
{
	struct ergon_page_delta d = ERGON_PAGE_DELTA_INIT;
	struct eg_page_writer *w;
	ergon_page_mark *mark;
	ergon_page *page;
	struct rig r;

	rig_init(&r, 3);
	rig_step(&r, 0, rig_now());
	r.va[0].shown = r.va[1].shown = false;
	r.va[1].held = true;
	r.va[1].channel = 2;
	r.va[1].a.provenance = EG_PROVENANCE_ESTIMATED;
	w = rig_create(&r);
	page = rig_open(&r);
	assert_int_equal(ergon_page_mark_new(page, &mark), 0);
	r.va[1].shown = true;
	r.va[1].a.uj = 3;
	eg_page_write(w, &r.v);
	assert_int_equal(ergon_page_since_account(page, mark, 1, &d), 0);
	assert_int_equal(d.uj, 3);
	assert_int_equal(d.flags, 0); /* nothing was held before: whole */
	assert_string_equal(d.provenance, "estimated");
	r.va[0].shown = true;
	r.va[0].a.uj = 10;
	eg_page_write(w, &r.v);
	assert_int_equal(ergon_page_since(page, mark, &d), 0);
	assert_int_equal(d.uj, 13);
	assert_int_equal(d.estimated_uj, 3);
	assert_true(d.flags & ERGON_PAGE_INCOMPLETE);
	ergon_page_mark_free(mark);
	ergon_page_close(page);
	eg_page_close(w);
	rig_free(&r);
}

/* ---- the agent's life ---- */

static void test_states(void **state)
{
	struct eg_page_writer *w;
	ergon_page *page;
	uint64_t age = 42, now = rig_now();
	struct rig r;

	rig_init(&r, 1);
	rig_step(&r, 1, now);
	w = rig_create(&r);
	page = rig_open(&r);
	assert_int_equal(ergon_page_state(page), ERGON_PAGE_LIVE);
	assert_int_equal(ergon_page_age_ns(page, &age), 0);
	assert_true(age <= rig_now() - now);
	assert_int_equal(ergon_page_refresh(page), 0);

	rig_step(&r, 1, now - 6 * EG_NSEC_PER_SEC); /* three intervals are less than 5 s */
	eg_page_write(w, &r.v);
	assert_int_equal(ergon_page_state(page), ERGON_PAGE_STALE);
	assert_int_equal(ergon_page_age_ns(page, &age), 0);
	assert_true(age >= 6 * EG_NSEC_PER_SEC);
	assert_int_equal(ergon_page_refresh(page), 0); /* the same file */

	/* A clock that is not ours. */
	rig_step(&r, 1, now + 3600 * EG_NSEC_PER_SEC);
	eg_page_write(w, &r.v);
	age = 42;
	assert_int_equal(ergon_page_age_ns(page, &age), -ERANGE);
	assert_int_equal(age, 42);
	assert_int_equal(ergon_page_state(page), ERGON_PAGE_STALE);

	rig_step(&r, 2, rig_now());
	eg_page_write(w, &r.v);
	assert_int_equal(ergon_page_state(page), ERGON_PAGE_LIVE);
	eg_page_close(w);
	assert_int_equal(ergon_page_state(page), ERGON_PAGE_ENDED);
	assert_int_equal(access(r.path, F_OK), -1);
	assert_int_equal(ergon_page_refresh(page), 0); /* nobody there */
	assert_int_equal(ergon_page_open(r.path, &page), -ENOENT);
	ergon_page_close(page);
	rig_free(&r);
}

/* Three intervals, where they are longer than 5 s. */
static void test_slow_interval(void **state)
{
	struct eg_strbuf why = EG_STRBUF_INIT(256);
	struct eg_page_writer *w;
	ergon_page *page;
	struct rig r;

	rig_init(&r, 1);
	rig_step(&r, 1, rig_now() - 25 * EG_NSEC_PER_SEC);
	assert_int_equal(eg_page_create(r.path, (gid_t)-1, &r.v, 10 * EG_NSEC_PER_SEC, &w, &why),
			 0);
	page = rig_open(&r);
	assert_int_equal(ergon_page_state(page), ERGON_PAGE_LIVE);
	rig_step(&r, 1, rig_now() - 31 * EG_NSEC_PER_SEC);
	eg_page_write(w, &r.v);
	assert_int_equal(ergon_page_state(page), ERGON_PAGE_STALE);
	ergon_page_close(page);
	eg_page_close(w);
	eg_strbuf_free(&why);
	rig_free(&r);
}

static void poke(struct rig *r, off_t at, const void *what, size_t n)
{
	int fd = open(r->path, O_RDWR);

	assert_int_equal(pwrite(fd, what, n, at), n);
	close(fd);
}

static void test_other_boot(void **state)
{
	struct eg_page_writer *w;
	ergon_page *page;
	uint64_t age;
	struct rig r;

	rig_init(&r, 1);
	rig_step(&r, 1, rig_now());
	w = rig_create(&r);
	poke(&r, offsetof(struct eg_page_header, boot_id), "zz", 2);
	page = rig_open(&r);
	assert_int_equal(ergon_page_state(page), ERGON_PAGE_ENDED);
	assert_int_equal(ergon_page_age_ns(page, &age), -ERANGE);
	ergon_page_close(page);
	poke(&r, offsetof(struct eg_page_header, boot_id), "", 1); /* unknown */
	page = rig_open(&r);
	assert_int_equal(ergon_page_state(page), ERGON_PAGE_LIVE);
	ergon_page_close(page);
	eg_page_close(w);
	rig_free(&r);
}

/* An agent that was killed left its page; the next one's takes its place, and totals go on. */
static void test_restart(void **state)
{
	struct ergon_page_reading x = ERGON_PAGE_READING_INIT;
	struct ergon_page_delta d = ERGON_PAGE_DELTA_INIT;
	struct eg_page_writer *w, *w2;
	ergon_page_mark *mark;
	ergon_page *page;
	uint64_t now = rig_now();
	struct rig r;

	rig_init(&r, 3);
	rig_step(&r, 1000, now);
	r.vc[2].role = EG_ROLE_PART;
	w = rig_create(&r);
	page = rig_open(&r);
	assert_int_equal(ergon_page_mark_new(page, &mark), 0);
	assert_int_equal(ergon_page_state(page), ERGON_PAGE_LIVE);

	/* The accounts in another order, one new, one gone. */
	rig_step(&r, 1500, now + 1);
	eg_copy(r.va[0].a.device, sizeof(r.va[0].a.device), "cpu-1");
	eg_copy(r.va[1].a.device, sizeof(r.va[1].a.device), "cpu-0");
	r.va[0].a.uj = 2 * 1600;
	r.va[1].a.uj = 1600;
	r.vc[1].uw = 1600 * 3;
	r.va[0].a.gap_ns = r.va[1].a.gap_ns = 7000;
	w2 = rig_create(&r);
	assert_int_equal(ergon_page_state(page), ERGON_PAGE_ENDED);
	assert_int_equal(ergon_page_since(page, mark, &d), 0);
	assert_int_equal(d.uj, 0); /* the old page knows no more */
	assert_int_equal(ergon_page_refresh(page), 1);
	assert_int_equal(ergon_page_state(page), ERGON_PAGE_LIVE);
	assert_int_equal(ergon_page_find(page, "cpu-0", "package", NULL), 1);
	assert_int_equal(ergon_page_read(page, 1, &x), 0);
	assert_int_equal(x.total_uj, 1600);
	assert_int_equal(ergon_page_since(page, mark, &d), 0);
	assert_int_equal(d.uj, 600 + 1200);
	assert_int_equal(d.flags, ERGON_PAGE_REPLACED);
	assert_int_equal(ergon_page_since_account(page, mark, 0, &d), 0);
	assert_int_equal(d.uj, 1200);
	/* The first agent, were it still there, leaves the second one's page alone. */
	eg_page_close(w);
	assert_int_equal(access(r.path, F_OK), 0);
	assert_int_equal(ergon_page_refresh(page), 0);
	eg_page_close(w2);

	/* A third one without cpu-0, and one that counts what was a part. */
	eg_copy(r.va[1].a.device, sizeof(r.va[1].a.device), "cpu-7");
	r.vc[2].role = EG_ROLE_TOTAL;
	w = rig_create(&r);
	assert_int_equal(ergon_page_refresh(page), 1);
	assert_int_equal(ergon_page_since(page, mark, &d), 0);
	assert_int_equal(d.uj, 1200);
	assert_int_equal(d.accounts, 1);
	assert_int_equal(d.flags, ERGON_PAGE_REPLACED | ERGON_PAGE_INCOMPLETE);
	assert_int_equal(ergon_page_since_account(page, mark, 1, &d), -ENODATA); /* cpu-7 */
	ergon_page_close(page);
	ergon_page_mark_free(mark); /* outlives it */
	eg_page_close(w);
	rig_free(&r);
}

/* A device that is counted no more: what it used is not known, and that is said. */
static void test_counted_no_more(void **state)
{
	struct ergon_page_delta d = ERGON_PAGE_DELTA_INIT;
	struct eg_page_writer *w;
	ergon_page_mark *mark;
	ergon_page *page;
	struct rig r;

	rig_init(&r, 2);
	rig_step(&r, 1000, rig_now());
	w = rig_create(&r);
	page = rig_open(&r);
	assert_int_equal(ergon_page_mark_new(page, &mark), 0);
	eg_page_close(w);
	r.va[1].channel = -1;
	w = rig_create(&r);
	assert_int_equal(ergon_page_refresh(page), 1);
	assert_int_equal(ergon_page_since(page, mark, &d), 0);
	assert_true(d.flags & ERGON_PAGE_INCOMPLETE);
	ergon_page_mark_free(mark);
	ergon_page_close(page);
	eg_page_close(w);
	rig_free(&r);
}

static uint64_t generation_of(const struct rig *r)
{
	struct eg_page_header h;
	int fd = open(r->path, O_RDONLY);

	assert_int_equal(read(fd, &h, sizeof(h)), sizeof(h));
	close(fd);
	return le64toh(h.generation);
}

static void test_generation(void **state)
{
	struct eg_page_writer *w, *w2;
	uint64_t first, second;
	struct rig r;

	rig_init(&r, 1);
	rig_step(&r, 1, rig_now());
	w = rig_create(&r);
	first = generation_of(&r);
	assert_true(first);
	r.v.unix_ns -= 500 * EG_NSEC_PER_SEC; /* set back */
	w2 = rig_create(&r);
	second = generation_of(&r);
	assert_true(second > first);
	eg_page_close(w);
	eg_page_close(w2);
	rig_free(&r);
}

/* ---- places the writer must not touch ---- */

static int create_error(struct rig *r, const char *path, char *text, size_t cap)
{
	struct eg_strbuf why = EG_STRBUF_INIT(1024);
	struct eg_page_writer *w = (void *)1;
	int error = eg_page_create(path, (gid_t)-1, &r->v, RIG_INTERVAL_NS, &w, &why);

	assert_ptr_equal(w, (void *)1);
	snprintf(text, cap, "%s", eg_strbuf_get(&why));
	assert_true(strlen(text) > 10);
	assert_null(strchr(text, '\n'));
	eg_strbuf_free(&why);
	return error;
}

static void test_foreign_file(void **state)
{
	static const char content[] = "somebody's notes\n";
	char text[1024], link[160];
	struct rig r;
	FILE *f;

	rig_init(&r, 1);
	rig_step(&r, 1, rig_now());
	f = fopen(r.path, "w");
	fputs(content, f);
	fclose(f);
	assert_int_equal(create_error(&r, r.path, text, sizeof(text)), -EEXIST);
	assert_non_null(strstr(text, r.path));
	f = fopen(r.path, "r");
	assert_non_null(fgets(text, sizeof(text), f));
	assert_string_equal(text, content);
	fclose(f);
	snprintf(link, sizeof(link), "%s/link", r.dir);
	assert_int_equal(symlink(r.path, link), 0);
	assert_int_equal(create_error(&r, link, text, sizeof(text)), -ELOOP);
	assert_int_equal(unlink(link), 0);
	snprintf(link, sizeof(link), "%s/none/energy", r.dir);
	assert_int_equal(create_error(&r, link, text, sizeof(text)), -ENOENT);
	assert_true(create_error(&r, r.dir, text, sizeof(text)) < 0); /* a folder */
	rig_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout),		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_round_trip),	cmocka_unit_test(test_without_channel),
		cmocka_unit_test(test_no_accounts),	cmocka_unit_test(test_total),
		cmocka_unit_test(test_since),		cmocka_unit_test(test_since_first_reading),
		cmocka_unit_test(test_states),		cmocka_unit_test(test_slow_interval),
		cmocka_unit_test(test_other_boot),	cmocka_unit_test(test_restart),
		cmocka_unit_test(test_counted_no_more), cmocka_unit_test(test_generation),
		cmocka_unit_test(test_foreign_file),
	};

	return cmocka_run_group_tests_name("page", tests, NULL, NULL);
}
