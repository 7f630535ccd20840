/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readers against a writer that never rests: in another process, killed at any moment and started
 * again, and as threads over one piece of memory, which is what the thread sanitizer can watch.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "../core/random.h"
#include "rig.h"

#define KILLS 200
#define READS 1000000

/* What survives the writer, as the checkpoint does. */
struct shared {
	_Atomic uint64_t k;
	_Atomic unsigned ticks;
	_Atomic bool stop;
};

static struct shared *shared_new(void)
{
	struct shared *s =
		mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(s != MAP_FAILED);
	return s;
}

/* An agent whose ticks follow each other without a pause. rest: every so many it lets others run. */
static void writer(struct rig *r, struct shared *s, uint64_t t_ns, unsigned rest)
{
	struct eg_page_writer *w;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	rig_step(r, atomic_load(&s->k), t_ns);
	w = rig_create(r);
	while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
		uint64_t k = atomic_load(&s->k) + 1;

		atomic_store(&s->k, k); /* checkpoint first: nothing is shown that is not kept */
		rig_step(r, k, t_ns);
		eg_page_write(w, &r->v);
		if (atomic_fetch_add(&s->ticks, 1) % rest == 0)
			sched_yield();
	}
	eg_page_close(w);
	_exit(0);
}

static pid_t start(struct rig *r, struct shared *s, uint64_t t_ns, unsigned rest)
{
	pid_t pid;

	atomic_store(&s->ticks, 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		writer(r, s, t_ns, rest);
	while (atomic_load(&s->ticks) == 0) { /* it is in place and writes */
		assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
		sched_yield();
	}
	return pid;
}

struct seen {
	uint64_t uj[RIG_ACCOUNTS];
	uint64_t total_uj;
	unsigned again;
};

/* Reads account i: whole, and not below what was seen before. */
static void look(const ergon_page *page, size_t i, struct seen *seen)
{
	struct ergon_page_reading x = ERGON_PAGE_READING_INIT;
	int error = ergon_page_read(page, i, &x);

	if (error == -EAGAIN) {
		seen->again++;
		return;
	}
	assert_int_equal(error, 0);
	assert_true(rig_whole(&x, i));
	assert_true(x.total_uj >= seen->uj[i]);
	seen->uj[i] = x.total_uj;
}

/* A sum of one tick is k times the sum of 1..n. */
static void look_at_total(const ergon_page *page, struct seen *seen)
{
	struct ergon_page_sum s = ERGON_PAGE_SUM_INIT;
	int error = ergon_page_total(page, &s);

	if (error == -EAGAIN) {
		seen->again++;
		return;
	}
	assert_int_equal(error, 0);
	assert_int_equal(s.total_uj % (RIG_ACCOUNTS * (RIG_ACCOUNTS + 1) / 2), 0);
	assert_true(s.total_uj >= seen->total_uj);
	seen->total_uj = s.total_uj;
}

static void test_two_processes(void **state)
{
	struct shared *s = shared_new();
	struct seen seen = {0};
	uint64_t first, reads = 0;
	ergon_page *page;
	struct rig r;
	pid_t pid;

	rig_init(&r, RIG_ACCOUNTS);
	pid = start(&r, s, rig_now(), 16);
	page = rig_open(&r);
	first = atomic_load(&s->k);
	/* Also until they have met often enough, where the writer seldom has its turn. */
	while (reads < READS || (atomic_load(&s->k) < first + 1000 && reads < 1000ULL * READS)) {
		look(page, reads % RIG_ACCOUNTS, &seen);
		if (++reads % 64 == 0)
			look_at_total(page, &seen);
	}
	print_message("# %llu reads, %u times busy, while %llu ticks were written\n",
		      (unsigned long long)reads, seen.again,
		      (unsigned long long)(atomic_load(&s->k) - first));
	assert_true(atomic_load(&s->k) > first + 100); /* they did meet */
	assert_true(seen.again < reads / 2 && seen.total_uj);
	atomic_store(&s->stop, true);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(ergon_page_state(page), ERGON_PAGE_ENDED);
	ergon_page_close(page);
	munmap(s, sizeof(*s));
	rig_free(&r);
}

/* Killed 200 times, most of them inside a tick; each time another takes its place. */
static void test_killed(void **state)
{
	struct shared *s = shared_new();
	uint64_t random = 1, old = rig_now() - 100 * EG_NSEC_PER_SEC;
	unsigned torn_lines = 0, torn_ticks = 0;
	struct seen seen = {0};
	ergon_page *page = NULL;
	struct rig r;

	rig_init(&r, RIG_ACCOUNTS);
	for (unsigned round = 0; round < KILLS; round++) {
		struct ergon_page_sum sum = ERGON_PAGE_SUM_INIT;
		struct timespec pause = {.tv_nsec = (long)random_below(&random, 200000)};
		unsigned reads = (unsigned)random_below(&random, 500);
		/* Of a time long past: it is stale as soon as nobody writes, without a wait. */
		pid_t pid = start(&r, s, old, UINT32_MAX);
		int status, error;

		if (!page)
			page = rig_open(&r);
		else
			assert_int_equal(ergon_page_refresh(page), 1);
		for (unsigned i = 0; i < reads; i++)
			look(page, i % RIG_ACCOUNTS, &seen);
		nanosleep(&pause, NULL);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

		/* Whatever it left: whole values, or "again" where it died in a line. */
		seen.again = 0;
		for (size_t i = 0; i < RIG_ACCOUNTS; i++)
			look(page, i, &seen);
		assert_true(seen.again <= 1);
		torn_lines += seen.again;
		error = ergon_page_total(page, &sum);
		assert_true(error == 0 || error == -EAGAIN);
		assert_true(error == -EAGAIN || !seen.again);
		torn_ticks += error == -EAGAIN;
		assert_int_equal(ergon_page_state(page), ERGON_PAGE_STALE);
		assert_int_equal(ergon_page_refresh(page), 0); /* nobody yet */
	}
	print_message("# %d kills: %u inside a tick, %u of them inside a line\n", KILLS, torn_ticks,
		      torn_lines);
	assert_true(torn_ticks > 0);
	ergon_page_close(page);
	munmap(s, sizeof(*s));
	rig_free(&r);
}

/* Live until the agent is killed in the middle of a line; then "again", stale by age, and the next. */
static void test_died_in_a_line(void **state)
{
	struct ergon_page_reading x = ERGON_PAGE_READING_INIT;
	struct eg_page_writer *w;
	struct eg_page_line *line;
	uint64_t now = rig_now();
	uint8_t *map;
	ergon_page *page;
	struct rig r;
	FILE *f;

	rig_init(&r, 2);
	rig_step(&r, 10, now);
	w = rig_create(&r);
	page = rig_open(&r);
	assert_int_equal(ergon_page_state(page), ERGON_PAGE_LIVE);
	/* The first half of an update, by the writer's own means. */
	f = fopen(r.path, "r+");
	map = mmap(NULL, 256 + 2 * (512 + 64), PROT_READ | PROT_WRITE, MAP_SHARED, fileno(f), 0);
	assert_true(map != MAP_FAILED);
	fclose(f);
	line = (struct eg_page_line *)(map + 256 + 2 * 512);
	eg_page_write_begin(&((struct eg_page_header *)map)->tick.seq);
	eg_page_write_begin(&line->seq);
	eg_page_put(&line->uj, 999999);
	assert_int_equal(ergon_page_read(page, 0, &x), -EAGAIN);
	assert_int_equal(ergon_page_read(page, 1, &x), 0);
	assert_true(rig_whole(&x, 1));
	assert_int_equal(ergon_page_state(page), ERGON_PAGE_LIVE); /* not yet known */
	assert_int_equal(ergon_page_refresh(page), 0);
	/* Time passes. */
	eg_page_put(&((struct eg_page_header *)map)->tick.t_ns, now - 6 * EG_NSEC_PER_SEC);
	assert_int_equal(ergon_page_state(page), ERGON_PAGE_STALE);
	assert_int_equal(ergon_page_read(page, 0, &x), -EAGAIN);
	munmap(map, 256 + 2 * (512 + 64));
	rig_step(&r, 11, rig_now());
	eg_page_close(rig_create(&r)); /* the next agent begins a file of its own, and ends */
	assert_int_equal(ergon_page_refresh(page), 0);
	rig_step(&r, 12, rig_now());
	eg_page_close(w);
	w = rig_create(&r);
	assert_int_equal(ergon_page_refresh(page), 1);
	assert_int_equal(ergon_page_read(page, 0, &x), 0);
	assert_true(rig_whole(&x, 0));
	assert_int_equal(x.total_uj, 12);
	eg_page_close(w);
	ergon_page_close(page);
	rig_free(&r);
}

/* ---- threads ---- */

struct threads {
	struct eg_page_line line; /* the very same memory for all */
	struct rig *r;
	struct eg_page_writer *w;
	ergon_page *page;
	_Atomic bool stop;
	_Atomic unsigned long again, bad;
};

static void *read_line(void *arg)
{
	struct threads *t = arg;
	uint64_t last = 0;

	for (unsigned i = 0; i < READS / 4; i++) {
		struct eg_page_values v;

		if (eg_page_line_get(&t->line, &v) < 0) {
			atomic_fetch_add(&t->again, 1);
			continue;
		}
		if (v.uw != v.uj * 3 || v.t_ns != v.uj + 1 || v.unix_ns != ~v.uj ||
		    v.gap_ns != v.uj * 7 || v.created_unix_ns != v.uj / 2 ||
		    v.status != (uint32_t)v.uj % 6 || v.flags != (uint32_t)v.uj % 4 || v.uj < last)
			atomic_fetch_add(&t->bad, 1);
		last = v.uj;
	}
	return NULL;
}

static void *read_page(void *arg)
{
	struct threads *t = arg;
	uint64_t last = 0;

	for (unsigned i = 0; i < READS / 16; i++) {
		struct ergon_page_reading x = ERGON_PAGE_READING_INIT;
		struct ergon_page_sum s = ERGON_PAGE_SUM_INIT;
		ergon_page_mark *mark;
		size_t k = i % RIG_ACCOUNTS;

		if (ergon_page_read(t->page, k, &x) < 0)
			atomic_fetch_add(&t->again, 1);
		else if (!rig_whole(&x, k))
			atomic_fetch_add(&t->bad, 1);
		if (ergon_page_total(t->page, &s) < 0)
			atomic_fetch_add(&t->again, 1);
		else if (s.total_uj % (RIG_ACCOUNTS * (RIG_ACCOUNTS + 1) / 2) || s.total_uj < last)
			atomic_fetch_add(&t->bad, 1);
		else
			last = s.total_uj;
		if (i % 64 == 0 && ergon_page_mark_new(t->page, &mark) == 0)
			ergon_page_mark_free(mark);
	}
	return NULL;
}

static void *write_all(void *arg)
{
	struct threads *t = arg;
	uint64_t k = 1, t_ns = rig_now();

	while (!atomic_load(&t->stop)) {
		struct eg_page_values v;

		k++;
		v = (struct eg_page_values){.uj = k,
					    .uw = k * 3,
					    .t_ns = k + 1,
					    .unix_ns = ~k,
					    .gap_ns = k * 7,
					    .created_unix_ns = k / 2,
					    .status = (uint32_t)k % 6,
					    .flags = (uint32_t)k % 4};

		eg_page_line_put(&t->line, &v);
		rig_step(t->r, k, t_ns);
		eg_page_write(t->w, &t->r->v);
	}
	return NULL;
}

static void test_threads(void **state)
{
	static struct threads t;
	struct eg_page_values v = {.uj = 1, .uw = 3, .t_ns = 2, .unix_ns = ~1ull, .gap_ns = 7};
	pthread_t write_thread, read_thread[4];
	struct rig r;

	v.status = v.flags = 1;
	eg_page_line_put(&t.line, &v);
	rig_init(&r, RIG_ACCOUNTS);
	rig_step(&r, 1, rig_now());
	t.r = &r;
	t.w = rig_create(&r);
	t.page = rig_open(&r);
	assert_int_equal(pthread_create(&write_thread, NULL, write_all, &t), 0);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&read_thread[i], NULL,
						i < 2 ? read_line : read_page, &t),
				 0);
	for (size_t i = 0; i < 4; i++)
		pthread_join(read_thread[i], NULL);
	atomic_store(&t.stop, true);
	pthread_join(write_thread, NULL);
	print_message("# busy %lu times\n", t.again);
	assert_int_equal(t.bad, 0);
	ergon_page_close(t.page);
	eg_page_close(t.w);
	rig_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_processes),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_died_in_a_line),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests_name("page-races", tests, NULL, NULL);
}
