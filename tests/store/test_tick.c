/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sampling path: a checkpoint makes no system call and allocates nothing, whatever happens to its
 * accounts; and it survives the loss of the file under its mapping (SIGBUS).
 */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "store/sigbus.h"

enum { MANY = 64 };

static void make_accounts(struct eg_account *a, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char name[16];

		snprintf(name, sizeof(name), "dev-%zu", i);
		a[i] = rig_account(name, i);
	}
}

/* Ticks with everything that can change: totals, feeds, which accounts are there, their order. */
static void tick_a_lot(struct eg_store *s, struct eg_account *a, size_t n)
{
	for (uint64_t k = 0; k < 200; k++) {
		for (size_t i = 0; i < n; i++)
			a[i].uj += i;
		if (k % 50 == 10)
			memcpy(a[k % n].channel, "nvml/gpu-9", sizeof("nvml/gpu-9"));
		if (k % 50 == 20) {
			struct eg_account swap = a[0];

			a[0] = a[1];
			a[1] = swap;
		}
		eg_store_checkpoint(s, a, k % 50 == 30 ? n / 2 : n, k, T0 + k);
	}
}

static void in_strict_mode(struct rig *r, int to)
{
	struct eg_account a[MANY];
	struct eg_store *s;

	make_accounts(a, MANY);
	s = rig_start(r, BOOT_A, MANY);
	rig_close(s, a, MANY, T0);
	s = rig_start(r, BOOT_A, MANY); /* carried ones too */
	assert_ok(rig_flush(s, a, MANY, T0));
	/* A new file to be taken over by the next tick. */
	rig_remove(r, EG_STORE_CHECKPOINT);
	assert_ok(rig_flush(s, a, MANY, T0));
	/* From here on read, write, and the end of the thread are all that the kernel answers. */
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) < 0)
		_exit(77);
	tick_a_lot(s, a, MANY);
	(void)!write(to, "y", 1);
	for (;;) /* the parent ends it: exit_group is not allowed either */
		(void)!read(to, a, 1);
}

static void test_no_system_call(void **state)
{
	struct rig *r = *state;
	int pipes[2], status;
	char answer = 0;
	pid_t child;

	assert_ok(pipe2(pipes, O_CLOEXEC));
	child = fork();
	if (child == 0)
		in_strict_mode(r, pipes[1]);
	close(pipes[1]);
	assert_true(read(pipes[0], &answer, 1) >= 0);
	close(pipes[0]);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		print_message("# seccomp is not there\n");
		skip();
	}
	assert_int_equal(answer, 'y');
}

/* ---- allocation: the linker sends every call of the store through these ---- */

static atomic_ulong allocations;
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

void *__wrap_malloc(size_t n)
{
	atomic_fetch_add(&allocations, 1);
	return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	atomic_fetch_add(&allocations, 1);
	return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	atomic_fetch_add(&allocations, 1);
	return __real_realloc(p, n);
}

static void test_no_allocation(void **state)
{
	struct rig *r = *state;
	struct eg_account a[MANY];
	unsigned long before = atomic_load(&allocations);
	struct eg_store *s;

	make_accounts(a, MANY);
	s = rig_start(r, BOOT_A, MANY);
	assert_true(atomic_load(&allocations) > before); /* it counts */
	rig_close(s, a, MANY, T0);
	s = rig_start(r, BOOT_A, MANY);
	before = atomic_load(&allocations);
	tick_a_lot(s, a, MANY);
	assert_int_equal(atomic_load(&allocations), before);
	rig_kill(s);
}

/* ---- the file under the mapping ---- */

static void test_SIGBUS_is_survived(void **state)
{
	static const off_t sizes[] = {0, 1, 4096, 8192, 12287};
	struct rig *r = *state;

	for (size_t i = 0; i < EG_ARRAY_SIZE(sizes); i++) {
		struct eg_account a[MANY];
		struct eg_store_status st;
		struct eg_store *s;
		char path[256];

		rig_empty(r);
		make_accounts(a, MANY);
		s = rig_start(r, BOOT_A, MANY);
		eg_store_checkpoint(s, a, MANY, 1, T0);
		assert_ok(rig_flush(s, a, MANY, T0));
		rig_path(r, EG_STORE_CHECKPOINT, path);
		assert_ok(truncate(path, sizes[i]));
		for (int k = 0; k < 4; k++) {
			a[1].uj++;
			eg_store_checkpoint(s, a, MANY, 2, T0);
		}
		eg_store_get_status(s, &st);
		assert_true(st.checkpoint_lost);
		assert_int_equal(st.pending_uj, 4);
		/* The next flush makes a new file, the tick after it goes on there. */
		assert_ok(rig_flush(s, a, MANY, T0));
		a[1].uj++;
		eg_store_checkpoint(s, a, MANY, 3, T0);
		eg_store_get_status(s, &st);
		assert_false(st.checkpoint_lost);
		rig_kill(s);
		s = rig_start(r, BOOT_A, MANY);
		assert_false(eg_store_report(s)->power_loss);
		for (size_t k = 0; k < MANY; k++)
			assert_int_equal(rig_restored(s, a[k].device), a[k].uj);
		rig_kill(s);
	}
}

/* Killed before the flush that mends it: the log has what was flushed, and the loss is said. */
static void test_SIGBUS_then_killed(void **state)
{
	struct rig *r = *state;
	struct eg_account a = rig_account("a", 100);
	struct eg_store *s = rig_start(r, BOOT_A, 1);
	char path[256];

	assert_ok(rig_flush(s, &a, 1, T0));
	rig_path(r, EG_STORE_CHECKPOINT, path);
	assert_ok(truncate(path, 4096));
	a.uj = 150;
	eg_store_checkpoint(s, &a, 1, 1, T0);
	rig_kill(s);
	assert_ok(rig_open_at(r, BOOT_A, T0 + 9, 0, &s, NULL));
	assert_int_equal(rig_restored(s, "a"), 100);
	assert_true(eg_store_report(s)->power_loss);
	assert_true(eg_store_report(s)->checkpoint_damaged);
	rig_kill(s);
}

static volatile sig_atomic_t others;
static sigjmp_buf back;

static void of_others(int sig)
{
	others = sig;
	siglongjmp(back, 1);
}

/* A fault elsewhere goes to whoever was there before; when the last store closes, all is as it was. */
static void test_SIGBUS_of_others(void **state)
{
	struct rig *r = *state;
	struct sigaction mine = {.sa_handler = of_others}, old, now;
	struct eg_store *s;
	volatile char *p;
	char path[256];
	int fd;

	assert_ok(sigaction(SIGBUS, &mine, &old));
	s = rig_start(r, BOOT_A, 1);
	rig_path(r, "file", path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	close(fd);
	if (sigsetjmp(back, 1) == 0) {
		(void)*p; /* beyond the end of the file */
		fail_msg("no SIGBUS");
	}
	assert_int_equal(others, SIGBUS);
	others = 0;
	if (sigsetjmp(back, 1) == 0) /* sent by somebody */
		raise(SIGBUS);
	assert_int_equal(others, SIGBUS);
	munmap((void *)p, 4096);
	rig_kill(s);
	assert_ok(sigaction(SIGBUS, &old, &now));
	assert_ptr_equal(now.sa_handler, of_others);
}

static void test_SIGBUS_guards_are_given_back(void **state)
{
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	atomic_bool lost = false;
	struct rig *r = *state;

	for (int i = 0; i < 100; i++)
		rig_kill(rig_start(r, BOOT_A, 1));
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < EG_SIGBUS_GUARDS_MAX; i++)
			assert_ok(eg_sigbus_guard(p, 4096, &lost));
		assert_int_equal(eg_sigbus_guard(p, 4096, &lost), -ENOSPC);
		for (int i = 0; i < EG_SIGBUS_GUARDS_MAX; i++)
			eg_sigbus_release(p);
	}
	munmap(p, 4096);
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_no_system_call),	    T(test_no_allocation),
		T(test_SIGBUS_is_survived), T(test_SIGBUS_then_killed),
		T(test_SIGBUS_of_others),   T(test_SIGBUS_guards_are_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
