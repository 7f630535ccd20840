/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's loop and the writer thread side by side, as fast as both can, while files are taken away
 * under them; another thread reads the directory as `ergon ledger show` does. Built a second time with
 * the thread sanitizer, where the compiler has one.
 */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { ACCOUNTS = 8, TICKS = 20000 };

struct watch {
	struct rig *r;
	atomic_bool stop;
	unsigned long looks;
	_Atomic uint64_t exported;
};

/* Never sees a total fall, and nothing that is damaged for longer than a moment. */
static void *watch(void *arg)
{
	struct watch *w = arg;
	const struct eg_io io = {.ops = &eg_io_kernel_ops};
	uint64_t least = 0;
	int dir = open(w->r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	while (!atomic_load(&w->stop)) {
		uint64_t exported = atomic_load(&w->exported);
		struct eg_state s;
		struct eg_entry *e;
		int err = eg_state_read(&io, dir, O_RDONLY, &s, NULL);

		if (err < 0) {
			print_error("read: %d\n", err);
			break;
		}
		e = s.book.n ? &s.book.entry[0] : NULL;
		if (e && s.checkpoint.whole) {
			/* What was exported before we looked is there. */
			if (e->now.uj < least || e->now.uj < exported) {
				print_error("fell: %llu, %llu, %llu\n",
					    (unsigned long long)e->now.uj,
					    (unsigned long long)least,
					    (unsigned long long)exported);
				eg_state_free(&s);
				break;
			}
			least = e->now.uj;
		}
		w->looks++;
		eg_state_free(&s);
	}
	close(dir);
	return (void *)(uintptr_t)(atomic_load(&w->stop) ? 0 : 1);
}

static void make_accounts(struct eg_account *a)
{
	for (size_t i = 0; i < ACCOUNTS; i++) {
		char name[16];

		snprintf(name, sizeof(name), "dev-%zu", i);
		a[i] = rig_account(name, 0);
	}
}

static void test_flush_beside_checkpoint(void **state)
{
	struct rig *r = *state;
	struct watch w = {.r = r};
	struct eg_account a[ACCOUNTS];
	struct eg_store_status st;
	unsigned long flushes = 0;
	struct eg_store *s;
	pthread_t thread;
	void *bad = NULL;

	make_accounts(a);
	assert_ok(rig_open_at(r, BOOT_A, T0, 64u << 10, &s, NULL));
	assert_ok(eg_store_start(s, ACCOUNTS, NULL));
	assert_ok(pthread_create(&thread, NULL, watch, &w));
	for (unsigned k = 0; k < TICKS; k++) {
		for (size_t i = 0; i < ACCOUNTS; i++)
			a[i].uj += i + 1;
		eg_store_checkpoint(s, a, ACCOUNTS, k, T0 + k);
		atomic_store(&w.exported, a[0].uj);
		flushes += eg_store_flush(s, a, ACCOUNTS, T0 + k);
		eg_store_get_status(s, &st);
		assert_int_equal(st.last_error, 0);
	}
	atomic_store(&w.stop, true);
	assert_ok(pthread_join(thread, &bad));
	assert_null(bad);
	assert_ok(eg_flush_wait(s, 60 * EG_NSEC_PER_SEC));
	eg_store_get_status(s, &st);
	print_message("# %lu flushes, %llu compactions, %lu looks\n", flushes,
		      (unsigned long long)st.compactions, w.looks);
	assert_true(flushes > 10 && st.compactions > 0 && w.looks > 0);
	rig_close(s, a, ACCOUNTS, T0);
	s = rig_start(r, BOOT_A, ACCOUNTS);
	for (size_t i = 0; i < ACCOUNTS; i++)
		assert_int_equal(rig_restored(s, a[i].device), (i + 1) * TICKS);
	rig_kill(s);
}

/* Files go away at any moment; the end is right all the same. */
static void test_files_go_away(void **state)
{
	struct rig *r = *state;
	struct eg_account a[ACCOUNTS];
	struct eg_store_status st;
	uint64_t seed = 41;
	struct eg_store *s;
	char path[256];

	make_accounts(a);
	r->lazy = true;
	s = rig_start(r, BOOT_A, ACCOUNTS);
	for (unsigned k = 0; k < TICKS / 4; k++) {
		for (size_t i = 0; i < ACCOUNTS; i++)
			a[i].uj += i + 1;
		eg_store_checkpoint(s, a, ACCOUNTS, k, T0 + k);
		(void)!eg_store_flush(s, a, ACCOUNTS, T0 + k);
		switch (rig_random(&seed) % 64) {
		case 0:
			rig_path(r, EG_STORE_CHECKPOINT, path);
			(void)!truncate(path, (off_t)(rig_random(&seed) % 8192));
			break;
		case 1:
			rig_remove(r, EG_STORE_CHECKPOINT);
			break;
		case 2:
			rig_remove(r, EG_STORE_LOG);
			break;
		case 3:
			rig_path(r, EG_STORE_LOG, path);
			(void)!truncate(path, (off_t)(rig_random(&seed) % 4096));
			break;
		default:
			break;
		}
		eg_store_get_status(s, &st);
	}
	/* Whatever was cut last is mended by two flushes at the latest. */
	(void)!eg_flush_wait(s, 60 * EG_NSEC_PER_SEC);
	(void)!rig_flush(s, a, ACCOUNTS, T0);
	assert_ok(rig_flush(s, a, ACCOUNTS, T0));
	eg_store_checkpoint(s, a, ACCOUNTS, 1, T0);
	rig_kill(s);
	s = rig_start(r, BOOT_A, ACCOUNTS);
	for (size_t i = 0; i < ACCOUNTS; i++)
		assert_int_equal(rig_restored(s, a[i].device), a[i].uj);
	rig_kill(s);
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_flush_beside_checkpoint),
		T(test_files_go_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
