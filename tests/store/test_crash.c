/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Death at every byte (T18): of a first start, of flushes, of compactions, of a stop; by a disk that
 * takes nothing any more, by SIGKILL at a byte and at random, and at every instruction of a checkpoint.
 * After the death of the process nothing that was exported has fallen and nothing is there that was not
 * given; after a loss of power the log alone has at least what was synced.
 */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

enum { ACCOUNTS = 2, ROUNDS = 4 };
#define MINUTE	  (60 * EG_NSEC_PER_SEC)
#define SMALL_LOG 2048 /* compacted every few flushes */

static const char *const device[ACCOUNTS] = {"cpu-0", "gpu-1"};

/* What is known about a life, also by the process that watches it: shared memory. */
struct tale {
	_Atomic uint64_t given[ACCOUNTS];    /* handed to the store */
	_Atomic uint64_t exported[ACCOUNTS]; /* the checkpoint has it: readers may have seen it */
	_Atomic uint64_t synced[ACCOUNTS];   /* a flush that ended well had it */
	atomic_bool started;
};

static struct tale *new_tale(void)
{
	struct tale *t =
		mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(t, MAP_FAILED);
	return t;
}

static void free_tale(struct tale *t)
{
	munmap(t, sizeof(*t));
}

static void give(struct eg_account *a, struct tale *t, uint64_t step)
{
	for (size_t i = 0; i < ACCOUNTS; i++) {
		a[i].uj += step * (i + 1);
		a[i].last.t_ns++;
		a[i].last.raw = a[i].uj;
		atomic_store(&t->given[i], a[i].uj);
	}
}

static void export_it(struct eg_store *s, const struct eg_account *a, struct tale *t)
{
	eg_store_checkpoint(s, a, ACCOUNTS, 1, T0);
	for (size_t i = 0; i < ACCOUNTS; i++)
		atomic_store(&t->exported[i], a[i].uj);
}

static bool is_dead(struct rig *r)
{
	bool dead;

	pthread_mutex_lock(&r->mutex);
	dead = r->dead;
	pthread_mutex_unlock(&r->mutex);
	return dead;
}

/* From start to stop, or to death. */
static void live(struct rig *r, struct tale *t)
{
	struct eg_account a[ACCOUNTS];
	struct eg_store *s = NULL;

	if (rig_open_at(r, BOOT_A, T0, SMALL_LOG, &s, NULL) < 0)
		return;
	for (size_t i = 0; i < ACCOUNTS; i++) {
		uint64_t uj = rig_restored(s, device[i]);

		a[i] = rig_account(device[i], uj == UINT64_MAX ? 0 : uj);
	}
	if (eg_store_start(s, ACCOUNTS, NULL) < 0 || is_dead(r)) {
		rig_kill(s);
		return;
	}
	atomic_store(&t->started, true);
	for (unsigned k = 0; k < ROUNDS; k++) {
		give(a, t, 10);
		export_it(s, a, t);
		if (rig_flush(s, a, ACCOUNTS, T0 + k * MINUTE) == 0)
			for (size_t i = 0; i < ACCOUNTS; i++)
				atomic_store(&t->synced[i], a[i].uj);
		give(a, t, 1);
		if (is_dead(r)) { /* it got no further than the flush */
			rig_kill(s);
			return;
		}
		export_it(s, a, t);
	}
	rig_close(s, a, ACCOUNTS, T0 + ROUNDS * MINUTE);
	if (!is_dead(r))
		for (size_t i = 0; i < ACCOUNTS; i++)
			atomic_store(&t->synced[i], a[i].uj);
}

/* ---- a state directory that lives are begun from ---- */

struct image {
	uint8_t *log, *checkpoint;
	size_t n_log, n_checkpoint;
	uint64_t uj[ACCOUNTS];
};

static void take_image(struct rig *r, struct image *im)
{
	im->log = rig_load(r, EG_STORE_LOG, &im->n_log);
	im->checkpoint = rig_load(r, EG_STORE_CHECKPOINT, &im->n_checkpoint);
}

static void free_image(struct image *im)
{
	free(im->log);
	free(im->checkpoint);
}

static void lay_out(struct rig *r, const struct image *im, struct tale *t)
{
	rig_empty(r);
	memset((void *)t, 0, sizeof(*t));
	pthread_mutex_lock(&r->mutex);
	r->dead = false;
	r->budget = -1;
	r->spent = 0;
	free(r->durable);
	r->durable = NULL;
	r->n_durable = 0;
	free(r->pending);
	r->pending = NULL;
	if (im->log) {
		r->durable = malloc(im->n_log);
		assert_non_null(r->durable);
		memcpy(r->durable, im->log, im->n_log);
		r->n_durable = im->n_log;
	}
	pthread_mutex_unlock(&r->mutex);
	if (im->log) {
		rig_save(r, EG_STORE_LOG, im->log, im->n_log);
		rig_save(r, EG_STORE_CHECKPOINT, im->checkpoint, im->n_checkpoint);
	}
	for (size_t i = 0; i < ACCOUNTS; i++)
		t->given[i] = t->exported[i] = t->synced[i] = im->uj[i];
}

/* Total after a start by a good kernel; 0: no such account. */
static void restored(struct rig *r, const char *boot, uint64_t uj[ACCOUNTS],
		     struct eg_store_report *rep)
{
	struct eg_strbuf why = EG_STRBUF_INIT(4096);
	struct eg_store *s = NULL;
	int err = rig_open_at(r, boot, T0, 0, &s, &why);

	if (err < 0)
		print_error("%s\n", eg_strbuf_get(&why));
	assert_ok(err);
	eg_strbuf_free(&why);
	*rep = *eg_store_report(s);
	for (size_t i = 0; i < ACCOUNTS; i++) {
		uj[i] = rig_restored(s, device[i]);
		if (uj[i] == UINT64_MAX)
			uj[i] = 0;
	}
	rig_kill(s);
}

/* The process died, the machine did not. */
static void check_kill(struct rig *r, struct tale *t)
{
	struct eg_store_report rep;
	uint64_t uj[ACCOUNTS];

	restored(r, BOOT_A, uj, &rep);
	assert_int_equal(rep.log_damaged, 0);
	assert_false(rep.checkpoint_damaged);
	assert_false(rep.power_loss && rep.checkpoint_used);
	for (size_t i = 0; i < ACCOUNTS; i++) {
		assert_true(uj[i] >= t->exported[i]);
		assert_true(uj[i] <= t->given[i]);
	}
}

static void check_power_loss(struct rig *r, struct tale *t, const uint8_t *log, size_t n)
{
	struct eg_store_report rep;
	uint64_t uj[ACCOUNTS];

	rig_empty(r);
	if (log)
		rig_save(r, EG_STORE_LOG, log, n);
	restored(r, BOOT_B, uj, &rep);
	assert_true(rep.power_loss || rep.clean || rep.fresh || !t->started);
	for (size_t i = 0; i < ACCOUNTS; i++) {
		assert_true(uj[i] >= t->synced[i]);
		assert_true(uj[i] <= t->given[i]);
	}
}

/* The log as a disk may have it that lost what was not synced: none, all, or some of its pieces. */
static void check_power_losses(struct rig *r, struct tale *t, uint64_t *seed)
{
	eg_autofree uint8_t *durable = NULL, *now = NULL;
	size_t n_durable, n = 0;
	char path[256];

	pthread_mutex_lock(&r->mutex);
	n_durable = r->n_durable;
	durable = malloc(n_durable + 1);
	assert_non_null(durable);
	if (r->durable)
		memcpy(durable, r->durable, n_durable);
	pthread_mutex_unlock(&r->mutex);
	rig_path(r, EG_STORE_LOG, path);
	if (access(path, F_OK) == 0)
		now = rig_load(r, EG_STORE_LOG, &n);
	check_power_loss(r, t, r->durable ? durable : NULL, n_durable);
	if (!now)
		return;
	check_power_loss(r, t, now, n);
	/* Appended to what was synced, and some pieces never came to the disk. */
	if (n <= n_durable || memcmp(now, durable, n_durable) != 0)
		return;
	for (size_t at = n_durable; at < n; at += 64)
		if (rig_random(seed) % 2)
			memset(now + at, 0, EG_MIN(n - at, (size_t)64));
	check_power_loss(r, t, now, n);
}

static void sweep(struct rig *r, const struct image *im, uint64_t step)
{
	struct tale *t = new_tale();
	uint64_t total, seed = 5, lives = 0;

	lay_out(r, im, t);
	live(r, t);
	total = r->spent;
	for (size_t i = 0; i < ACCOUNTS; i++)
		assert_true(t->synced[i] == im->uj[i] + (i + 1) * ROUNDS * 11);
	for (uint64_t b = 0; b <= total; b += step) {
		lay_out(r, im, t);
		r->budget = (int64_t)b;
		live(r, t);
		assert_int_equal(r->dead, b < total);
		r->dead = false;
		r->budget = -1;
		lives++;
		check_kill(r, t);
		if (b % 8 == 0)
			check_power_losses(r, t, &seed);
	}
	print_message("# %llu lives, %llu bytes\n", (unsigned long long)lives,
		      (unsigned long long)total);
	free_tale(t);
}

static void test_T18_every_byte_of_a_first_life(void **state)
{
	sweep(*state, &(struct image){0}, 1);
}

static void test_T18_every_byte_of_a_later_life(void **state)
{
	struct rig *r = *state;
	struct tale *t = new_tale();
	struct image im = {0};

	live(r, t);
	take_image(r, &im);
	for (size_t i = 0; i < ACCOUNTS; i++)
		im.uj[i] = t->exported[i];
	free_tale(t);
	sweep(r, &im, 1);
	free_image(&im);
}

/* ---- SIGKILL ---- */

static pid_t in_a_child(void (*what)(struct rig *r, struct tale *t), struct rig *r, struct tale *t)
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		what(r, t);
		_exit(0);
	}
	return child;
}

static void test_T18_killed_at_a_byte(void **state)
{
	struct rig *r = *state;
	struct tale *t = new_tale();
	struct image none = {0};
	uint64_t total, seed = 17;
	int status, killed = 0;

	lay_out(r, &none, t);
	live(r, t);
	total = r->spent;
	for (int k = 0; k < 200; k++) {
		lay_out(r, &none, t);
		r->kill_process = true;
		r->budget = (int64_t)(rig_random(&seed) % total);
		assert_int_equal(waitpid(in_a_child(live, r, t), &status, 0) > 0, 1);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		killed++;
		r->kill_process = false;
		r->budget = -1;
		check_kill(r, t);
	}
	print_message("# %d processes killed\n", killed);
	free_tale(t);
}

/* Ticks and flushes without end, as fast as it can. */
static void run_for_ever(struct rig *r, struct tale *t)
{
	struct eg_account a[ACCOUNTS];
	struct eg_store *s = NULL;

	if (rig_open_at(r, BOOT_A, T0, SMALL_LOG, &s, NULL) < 0)
		_exit(1);
	for (size_t i = 0; i < ACCOUNTS; i++)
		a[i] = rig_account(device[i], t->given[i] ? rig_restored(s, device[i]) : 0);
	if (eg_store_start(s, ACCOUNTS, NULL) < 0)
		_exit(2);
	for (uint64_t k = 0;; k++) {
		give(a, t, 1);
		export_it(s, a, t);
		atomic_store(&t->started, true);
		if (k % 16 == 0)
			(void)!eg_store_flush(s, a, ACCOUNTS, T0 + k);
	}
}

static void test_T18_killed_at_random(void **state)
{
	struct rig *r = *state;
	struct tale *t = new_tale();
	uint64_t seed = 23, last = 0;

	r->lazy = true;
	for (int k = 0; k < 200; k++) {
		struct timespec pause = {.tv_nsec = (long)(rig_random(&seed) % 3000000)};
		struct eg_store_report rep;
		uint64_t uj[ACCOUNTS];
		pid_t child;
		int status;

		t->started = false;
		child = in_a_child(run_for_ever, r, t);
		while (!t->started && waitpid(child, &status, WNOHANG) == 0)
			sched_yield();
		nanosleep(&pause, NULL);
		kill(child, SIGKILL);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		restored(r, BOOT_A, uj, &rep);
		assert_int_equal(rep.log_damaged, 0);
		assert_false(rep.power_loss || rep.checkpoint_damaged);
		for (size_t i = 0; i < ACCOUNTS; i++) {
			assert_true(uj[i] >= t->exported[i] && uj[i] <= t->given[i]);
			/* The next one goes on from here, as its reader may see. */
			t->given[i] = t->exported[i] = uj[i];
		}
		assert_true(uj[0] > last);
		last = uj[0];
	}
	print_message("# 200 kills, %llu ticks\n", (unsigned long long)last);
	free_tale(t);
}

/* ---- every instruction of a checkpoint ---- */

static struct eg_store *stepped;
static struct eg_account stepped_account[ACCOUNTS];

static void step_through(struct rig *r, struct tale *t)
{
	struct eg_account *a = stepped_account;

	if (rig_open_at(r, BOOT_A, T0, 0, &stepped, NULL) < 0 ||
	    eg_store_start(stepped, ACCOUNTS, NULL) < 0)
		_exit(1);
	for (size_t i = 0; i < ACCOUNTS; i++)
		a[i] = rig_account(device[i], 0);
	for (int k = 0; k < 3; k++) {
		give(a, t, 1);
		export_it(stepped, a, t);
	}
	give(a, t, 1);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(77);
	raise(SIGSTOP);
	eg_store_checkpoint(stepped, a, ACCOUNTS, 1, T0);
	raise(SIGSTOP);
	_exit(0);
}

/* What a kill right now would leave: the file as it is in this moment. */
static unsigned look(const uint8_t *file, size_t n, const struct tale *t)
{
	struct eg_checkpoint_found f;
	char name[EG_STORE_KEY_TEXT_MAX], feed[EG_STORE_FEED_MAX];
	struct eg_numbers now;

	assert_ok(eg_checkpoint_decode(file, n, &f));
	assert_true(f.whole >= 1);
	assert_int_equal(f.damaged_slots, 0);
	assert_int_equal(f.slot.n, ACCOUNTS);
	for (size_t i = 0; i < ACCOUNTS; i++) {
		eg_checkpoint_entry(file, &f, i, name, feed, &now);
		assert_true(now.uj == t->exported[i] || now.uj == t->given[i]);
	}
	return f.whole;
}

static void test_T18_every_instruction_of_a_checkpoint(void **state)
{
	struct rig *r = *state;
	struct tale *t = new_tale();
	unsigned long steps = 0, one_whole = 0;
	const uint8_t *file;
	char path[256];
	int status, fd;
	pid_t child;
	size_t n;

	child = in_a_child(step_through, r, t);
	assert_int_equal(waitpid(child, &status, WUNTRACED), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		print_message("# ptrace is not allowed here\n");
		free_tale(t);
		skip();
	}
	assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	n = rig_size(r, EG_STORE_CHECKPOINT);
	rig_path(r, EG_STORE_CHECKPOINT, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	file = mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(file, MAP_FAILED);
	close(fd);
	do {
		one_whole += look(file, n, t) == 1;
		assert_ok(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL));
		assert_int_equal(waitpid(child, &status, 0), child);
		steps++;
	} while (WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP && steps < 5000000);
	assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	print_message("# %lu instructions, %lu of them between the slots\n", steps, one_whole);
	assert_true(one_whole > 100 && one_whole < steps);
	/* It came to its end: what was given is there. */
	{
		struct eg_store_report rep;
		uint64_t uj[ACCOUNTS];

		restored(r, BOOT_A, uj, &rep);
		for (size_t i = 0; i < ACCOUNTS; i++)
			assert_true(uj[i] == t->given[i]);
	}
	munmap((void *)file, n);
	free_tale(t);
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_T18_every_byte_of_a_first_life),
		T(test_T18_every_byte_of_a_later_life),
		T(test_T18_killed_at_a_byte),
		T(test_T18_killed_at_random),
		T(test_T18_every_instruction_of_a_checkpoint),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
