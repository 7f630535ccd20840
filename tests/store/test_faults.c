/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks that are full or broken (T20): what could not be written stays pending, is said, and is written
 * when it works again. Each call of the store's kernel fails in turn; a file system in memory is filled
 * for real. And files that somebody takes away or changes while the store uses them.
 */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>

#define MINUTE (60 * EG_NSEC_PER_SEC)

static void let_fail(struct rig *r, enum rig_op op, int err, int times)
{
	pthread_mutex_lock(&r->mutex);
	r->fail[op] = err;
	r->times[op] = times;
	pthread_mutex_unlock(&r->mutex);
}

/* What a restart with the log alone knows. */
static void assert_log_alone(struct rig *r, const struct eg_account *a, size_t n)
{
	struct eg_store *s;

	rig_remove(r, EG_STORE_CHECKPOINT);
	assert_ok(rig_open_at(r, BOOT_A, T0, 0, &s, NULL));
	assert_int_equal(eg_store_report(s)->log_damaged, 0);
	for (size_t i = 0; i < n; i++)
		assert_true(rig_restored(s, a[i].device) == a[i].uj);
	rig_kill(s);
}

static void test_T20_three_flushes_fail(void **state)
{
	static const struct {
		enum rig_op op;
		int err;
	} faults[] = {{RIG_WRITE, -ENOSPC},    {RIG_WRITE, -EIO},     {RIG_WRITE, -EDQUOT},
		      {RIG_WRITE, -EROFS},     {RIG_DATASYNC, -EIO},  {RIG_DATASYNC, -ENOSPC},
		      {RIG_DATASYNC, -EDQUOT}, {RIG_TRUNCATE, -EROFS}};
	struct rig *r = *state;

	for (size_t k = 0; k < EG_ARRAY_SIZE(faults); k++) {
		struct eg_account a[2] = {rig_account("a", 100), rig_account("b", 7)};
		struct eg_store_status st;
		struct eg_store *s;
		uint64_t size;

		rig_empty(r);
		s = rig_start(r, BOOT_A, 2);
		eg_store_checkpoint(s, a, 2, 1, T0);
		assert_ok(rig_flush(s, a, 2, T0));
		size = rig_size(r, EG_STORE_LOG);
		let_fail(r, faults[k].op, faults[k].err, -1);
		if (faults[k].op == RIG_TRUNCATE) /* it is asked for only after a failure */
			let_fail(r, RIG_WRITE, faults[k].err, -1);
		for (unsigned i = 1; i <= 3; i++) {
			a[0].uj += 10;
			eg_store_checkpoint(s, a, 2, 1, T0 + i * MINUTE);
			assert_int_equal(rig_flush(s, a, 2, T0 + i * MINUTE), faults[k].err);
			eg_store_get_status(s, &st);
			assert_int_equal(st.last_error, faults[k].err);
			assert_int_equal(st.failed_flushes, i);
			assert_int_equal(st.pending_uj, 10 * i);
			assert_int_equal(st.last_flush_unix_ns, T0);
			if (faults[k].op != RIG_TRUNCATE)
				assert_int_equal(rig_size(r, EG_STORE_LOG), size);
		}
		memset(r->times, 0, sizeof(r->times));
		a[1].uj += 3;
		eg_store_checkpoint(s, a, 2, 1, T0 + 4 * MINUTE);
		assert_ok(rig_flush(s, a, 2, T0 + 4 * MINUTE));
		eg_store_get_status(s, &st);
		assert_int_equal(st.last_error, 0);
		assert_int_equal(st.failed_flushes, 3);
		assert_int_equal(st.pending_uj, 0);
		assert_int_equal(st.last_flush_unix_ns, T0 + 4 * MINUTE);
		rig_kill(s);
		assert_log_alone(r, a, 2);
	}
}

/* And if the agent is killed before it works again, the checkpoint has them. */
static void test_T20_killed_while_the_disk_is_full(void **state)
{
	struct rig *r = *state;
	struct eg_account a = rig_account("a", 100);
	struct eg_store *s = rig_start(r, BOOT_A, 1);

	assert_ok(rig_flush(s, &a, 1, T0));
	let_fail(r, RIG_WRITE, -ENOSPC, -1);
	a.uj = 150;
	eg_store_checkpoint(s, &a, 1, 1, T0 + MINUTE);
	assert_int_equal(rig_flush(s, &a, 1, T0 + MINUTE), -ENOSPC);
	rig_kill(s);
	/* Still full: it starts all the same, for what it needs is there already. */
	s = rig_start(r, BOOT_A, 1);
	assert_int_equal(rig_restored(s, "a"), 150);
	rig_close(s, &a, 1, T0 + 2 * MINUTE);
	s = rig_start(r, BOOT_A, 1);
	assert_true(eg_store_report(s)->clean); /* the checkpoint says so, the log could not */
	assert_int_equal(rig_restored(s, "a"), 150);
	memset(r->times, 0, sizeof(r->times));
	assert_ok(rig_flush(s, &a, 1, T0 + 3 * MINUTE));
	rig_kill(s);
	assert_log_alone(r, &a, 1);
}

/* A life with compactions in it. Says whether all of it went well. */
static bool live(struct rig *r, struct eg_account *a, size_t n)
{
	struct eg_store *s = NULL;
	bool good = rig_open_at(r, BOOT_A, T0, 2048, &s, NULL) == 0;

	if (!good)
		return false;
	good = eg_store_start(s, n, NULL) == 0;
	for (unsigned i = 0; good && i < 6; i++) {
		for (size_t k = 0; k < n; k++)
			a[k].uj += k + 1;
		eg_store_checkpoint(s, a, n, 1, T0 + i * MINUTE);
		(void)!rig_flush(s, a, n, T0 + i * MINUTE);
	}
	if (good)
		rig_close(s, a, n, T0 + 9 * MINUTE);
	else
		rig_kill(s);
	return good;
}

/* Every single call of each kind fails once, in a store that has something to lose. */
static void test_T20_each_call_fails_once(void **state)
{
	static const int errors[] = {-EIO, -ENOSPC};
	struct rig *r = *state;
	unsigned lives = 0;

	for (int op = 0; op < RIG_OPS; op++) {
		for (unsigned nth = 0;; nth++) {
			struct eg_account a[2] = {rig_account("a", 1000), rig_account("b", 2000)};
			unsigned long calls;
			struct eg_store *s;
			int err = errors[nth % 2];
			bool good;

			rig_empty(r);
			s = rig_start(r, BOOT_A, 2);
			rig_close(s, a, 2, T0);
			memset(r->calls, 0, sizeof(r->calls));
			/* The nth call from here: good until then. */
			pthread_mutex_lock(&r->mutex);
			r->fail[op] = err;
			r->skip[op] = nth;
			r->times[op] = 1;
			pthread_mutex_unlock(&r->mutex);
			good = live(r, a, 2);
			calls = r->calls[op];
			memset(r->times, 0, sizeof(r->times));
			memset(r->skip, 0, sizeof(r->skip));
			lives++;
			/* A start that failed has changed nothing; the next one works. */
			if (!good) {
				assert_ok(rig_open_at(r, BOOT_A, T0, 0, &s, NULL));
				assert_int_equal(rig_restored(s, "a"), 1000);
				assert_int_equal(rig_restored(s, "b"), 2000);
				rig_kill(s);
				assert_true(live(r, a, 2));
			}
			s = rig_start(r, BOOT_A, 2);
			assert_true(eg_store_report(s)->clean);
			assert_int_equal(eg_store_report(s)->log_damaged, 0);
			assert_true(rig_restored(s, "a") == a[0].uj &&
				    rig_restored(s, "b") == a[1].uj);
			/* The last flush may be what failed; the next one mends it. */
			assert_ok(rig_flush(s, a, 2, T0));
			rig_kill(s);
			assert_log_alone(r, a, 2);
			if (calls <= nth)
				break;
		}
	}
	print_message("# %u lives\n", lives);
	assert_true(lives > 40);
}

/* A log that cannot be compacted grows to a bound, then waits; nothing is lost. */
static void test_T20_no_compaction(void **state)
{
	struct rig *r = *state;
	struct eg_account a = rig_account("a", 0);
	struct eg_store_status st;
	struct eg_store *s;
	const uint64_t limit = 64u << 10;
	int err = 0;

	assert_ok(rig_open_at(r, BOOT_A, T0, limit, &s, NULL));
	assert_ok(eg_store_start(s, 1, NULL));
	let_fail(r, RIG_RENAME, -EIO, -1);
	for (unsigned i = 0; i < 2000; i++) {
		a.uj += 5;
		err = rig_flush(s, &a, 1, T0 + i * MINUTE);
	}
	assert_int_equal(err, -EIO);
	assert_true(rig_size(r, EG_STORE_LOG) <= 2 * limit + 4096);
	assert_true(rig_size(r, EG_STORE_LOG) > limit);
	eg_store_get_status(s, &st);
	assert_int_equal(st.last_error, -EIO);
	assert_int_equal(st.compactions, 0);
	memset(r->times, 0, sizeof(r->times));
	assert_ok(rig_flush(s, &a, 1, T0));
	assert_true(rig_size(r, EG_STORE_LOG) < limit);
	rig_kill(s);
	assert_log_alone(r, &a, 1);
}

static void test_T20_first_start_on_a_full_disk(void **state)
{
	struct rig *r = *state;
	struct eg_strbuf why = EG_STRBUF_INIT(4096);
	struct eg_store *s = NULL;

	let_fail(r, RIG_WRITE, -ENOSPC, -1);
	assert_int_equal(rig_open_at(r, BOOT_A, T0, 0, &s, &why), -ENOSPC);
	assert_contains(eg_strbuf_get(&why), "free some space");
	memset(r->times, 0, sizeof(r->times));
	let_fail(r, RIG_ALLOCATE, -ENOSPC, -1);
	assert_ok(rig_open_at(r, BOOT_A, T0, 0, &s, &why));
	assert_int_equal(eg_store_start(s, 4, &why), -ENOSPC);
	assert_contains(eg_strbuf_get(&why), "checkpoint");
	assert_contains(eg_strbuf_get(&why), "free some space");
	rig_kill(s);
	memset(r->times, 0, sizeof(r->times));
	s = rig_start(r, BOOT_A, 4);
	rig_kill(s);
	eg_strbuf_free(&why);
}

/* A larger file has no room, the one that is there does: nobody who was in it is left out. */
static void test_T20_no_room_for_a_larger_checkpoint(void **state)
{
	struct rig *r = *state;
	struct eg_account a[2] = {rig_account("a", 100), rig_account("b", 7)};
	struct eg_strbuf why = EG_STRBUF_INIT(4096);
	struct eg_store_status st;
	struct eg_store *s = rig_start(r, BOOT_A, 1);
	char path[256];

	rig_close(s, a, 1, T0);
	let_fail(r, RIG_ALLOCATE, -ENOSPC, -1);
	s = rig_start(r, BOOT_A, 2);
	eg_store_checkpoint(s, a, 2, 1, T0);
	eg_store_get_status(s, &st);
	assert_int_equal(st.refused_accounts, 0);
	rig_path(r, EG_STORE_NEW_CHECKPOINT, path);
	assert_int_equal(access(path, F_OK), -1);
	rig_kill(s);
	assert_ok(rig_open_at(r, BOOT_A, T0, 0, &s, &why));
	assert_int_equal(rig_restored(s, "a"), 100);
	assert_int_equal(rig_restored(s, "b"), 7);
	assert_int_equal(eg_store_start(s, 3, &why), -ENOSPC); /* it cannot hold these */
	rig_kill(s);
	eg_strbuf_free(&why);
}

/* ---- for real ---- */

/* Writes until nothing fits any more; returns the descriptor. */
static int fill_up(const char *path)
{
	static const uint8_t block[4096];
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	while (write(fd, block, sizeof(block)) > 0)
		;
	while (write(fd, block, 1) > 0)
		;
	return fd;
}

static int on_a_full_file_system(struct rig *r)
{
	struct eg_store_config cfg = {.dir = r->dir, .boot_id = BOOT_A, .unix_ns = T0};
	struct eg_account a = rig_account("a", 100);
	struct eg_store_status st;
	struct eg_store *s = NULL;
	char path[256];
	int fd;

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", r->dir, "tmpfs", 0, "size=128k,mode=0700") < 0)
		return 77;
	if (eg_store_open(&cfg, &s, NULL) < 0 || eg_store_start(s, 1, NULL) < 0)
		return 1;
	rig_path(r, "filler", path);
	fd = fill_up(path);
	for (unsigned i = 0; i < 40; i++) { /* more than the last page of the log takes */
		a.uj += 10;
		a.created_unix_ns++;
		eg_store_checkpoint(s, &a, 1, 1, T0);
		(void)!rig_flush(s, &a, 1, T0);
	}
	eg_store_get_status(s, &st);
	if (st.last_error != -ENOSPC || st.failed_flushes == 0 || st.pending_uj == 0)
		return 2;
	/* A second agent's start on the full disk, after a kill. */
	rig_kill(s);
	if (eg_store_open(&cfg, &s, NULL) < 0 || rig_restored(s, "a") != a.uj ||
	    eg_store_start(s, 1, NULL) < 0)
		return 3;
	close(fd);
	unlink(path);
	if (rig_flush(s, &a, 1, T0) < 0)
		return 4;
	rig_kill(s);
	rig_path(r, EG_STORE_CHECKPOINT, path);
	unlink(path);
	if (eg_store_open(&cfg, &s, NULL) < 0 || rig_restored(s, "a") != a.uj)
		return 5;
	rig_kill(s);
	return 0;
}

static void test_T20_a_file_system_that_is_full(void **state)
{
	struct rig *r = *state;
	pid_t child;
	int status;

	if (geteuid() != 0) {
		print_message("# needs root to mount a small file system\n");
		skip();
	}
	child = fork();
	if (child == 0)
		_exit(on_a_full_file_system(r));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("# needs root that may mount\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- hands in the directory ---- */

static void test_log_taken_away(void **state)
{
	struct rig *r = *state;
	struct eg_account a[2] = {rig_account("a", 100), rig_account("b", 7)};
	struct eg_store *s = rig_start(r, BOOT_A, 2);

	assert_ok(rig_flush(s, a, 2, T0));
	rig_remove(r, EG_STORE_LOG);
	a[0].uj++;
	assert_ok(rig_flush(s, a, 2, T0 + MINUTE)); /* all is said again */
	rig_kill(s);
	assert_log_alone(r, a, 2);
}

static void test_log_cut_under_us(void **state)
{
	struct rig *r = *state;
	struct eg_account a[2] = {rig_account("a", 100), rig_account("b", 7)};
	struct eg_store *s = rig_start(r, BOOT_A, 2);
	char path[256];

	assert_ok(rig_flush(s, a, 2, T0));
	rig_path(r, EG_STORE_LOG, path);
	assert_ok(truncate(path, 300));
	a[0].uj++;
	assert_ok(rig_flush(s, a, 2, T0 + MINUTE));
	rig_kill(s);
	assert_log_alone(r, a, 2);
}

static void test_another_file_in_the_logs_place(void **state)
{
	static const char text[] = "mine, all mine";
	struct rig *r = *state;
	struct eg_account a = rig_account("a", 100);
	struct eg_store *s = rig_start(r, BOOT_A, 1);
	uint8_t *data;
	size_t n;

	assert_ok(rig_flush(s, &a, 1, T0));
	rig_remove(r, EG_STORE_LOG);
	rig_save(r, EG_STORE_LOG, text, sizeof(text));
	a.uj++;
	eg_store_checkpoint(s, &a, 1, 1, T0);
	assert_int_equal(rig_flush(s, &a, 1, T0 + MINUTE), -EPROTO);
	data = rig_load(r, EG_STORE_LOG, &n);
	assert_int_equal(n, sizeof(text));
	assert_memory_equal(data, text, n);
	free(data);
	rig_remove(r, EG_STORE_LOG); /* and gone again */
	assert_ok(rig_flush(s, &a, 1, T0 + 2 * MINUTE));
	rig_kill(s);
	assert_log_alone(r, &a, 1);
}

static void test_checkpoint_taken_away(void **state)
{
	static const char text[] = "mine, all mine";
	struct rig *r = *state;
	struct eg_account a = rig_account("a", 100);
	struct eg_store *s = rig_start(r, BOOT_A, 1);
	struct eg_store_status st;
	uint8_t *data;
	size_t n;

	rig_remove(r, EG_STORE_CHECKPOINT);
	rig_save(r, EG_STORE_CHECKPOINT, text, sizeof(text));
	eg_store_checkpoint(s, &a, 1, 1, T0);
	assert_ok(rig_flush(s, &a, 1, T0));
	eg_store_get_status(s, &st);
	assert_true(st.checkpoint_lost);
	data = rig_load(r, EG_STORE_CHECKPOINT, &n);
	assert_memory_equal(data, text, sizeof(text));
	free(data);
	/* Gone: a new one is made by the next flush, and used from the next tick on. */
	rig_remove(r, EG_STORE_CHECKPOINT);
	assert_ok(rig_flush(s, &a, 1, T0));
	a.uj = 170;
	eg_store_checkpoint(s, &a, 1, 2, T0);
	eg_store_get_status(s, &st);
	assert_false(st.checkpoint_lost);
	rig_kill(s);
	s = rig_start(r, BOOT_A, 1);
	assert_int_equal(rig_restored(s, "a"), 170);
	/* Again and again: nothing of the old ones is left behind. */
	for (int i = 0; i < 40; i++) {
		rig_remove(r, EG_STORE_CHECKPOINT);
		a.uj++;
		assert_ok(rig_flush(s, &a, 1, T0));
		eg_store_checkpoint(s, &a, 1, 2, T0);
	}
	rig_kill(s);
	s = rig_start(r, BOOT_A, 1);
	assert_int_equal(rig_restored(s, "a"), 210);
	rig_kill(s);
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_T20_three_flushes_fail),
		T(test_T20_killed_while_the_disk_is_full),
		T(test_T20_each_call_fails_once),
		T(test_T20_no_compaction),
		T(test_T20_first_start_on_a_full_disk),
		T(test_T20_no_room_for_a_larger_checkpoint),
		T(test_T20_a_file_system_that_is_full),
		T(test_log_taken_away),
		T(test_log_cut_under_us),
		T(test_another_file_in_the_logs_place),
		T(test_checkpoint_taken_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
