/* SPDX-License-Identifier: Apache-2.0 */
/* Who may read the page, where a library looks for it, and that reading needs no system call. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "rig.h"

#define NOBODY	65534
#define A_GROUP 12345

static int status_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static struct eg_page_writer *create_for(struct rig *r, const char *path, gid_t gid)
{
	struct eg_strbuf why = EG_STRBUF_INIT(256);
	struct eg_page_writer *w = NULL;

	assert_int_equal(eg_page_create(path, gid, &r->v, RIG_INTERVAL_NS, &w, &why), 0);
	eg_strbuf_free(&why);
	return w;
}

static void test_mode(void **state)
{
	static const mode_t masks[] = {0, 0022, 0077, 0777};
	struct stat st;
	struct rig r;

	rig_init(&r, 1);
	rig_step(&r, 1, rig_now());
	for (size_t i = 0; i < EG_ARRAY_SIZE(masks); i++) {
		mode_t before = umask(masks[i]);
		struct eg_page_writer *w = create_for(&r, r.path, (gid_t)-1);

		umask(before);
		assert_int_equal(stat(r.path, &st), 0);
		assert_int_equal(st.st_mode, S_IFREG | 0640);
		assert_int_equal(st.st_uid, geteuid());
		/* Every block is there before the first reader: no store can fail later. */
		assert_true((uint64_t)st.st_blocks * 512 >= (uint64_t)st.st_size);
		eg_page_close(w);
	}
	rig_free(&r);
}

/* In a child of another user: 0 it could read, else the errno. */
static int read_as(const struct rig *r, uid_t uid, gid_t group)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct ergon_page_reading x = ERGON_PAGE_READING_INIT;
		ergon_page *page;
		int error;

		if (setgroups(group ? 1 : 0, &group) < 0 || setgid(NOBODY) < 0 || setuid(uid) < 0)
			_exit(255);
		error = ergon_page_open(r->path, &page);
		if (error == 0) {
			error = ergon_page_read(page, 0, &x);
			ergon_page_close(page);
		}
		_exit(-error);
	}
	return status_of(pid);
}

static void test_rights(void **state)
{
	struct eg_page_writer *w;
	struct stat st;
	struct rig r;

	if (geteuid() != 0) {
		print_message("needs root to become another user\n");
		skip();
	}
	rig_init(&r, 1);
	rig_step(&r, 1, rig_now());
	w = create_for(&r, r.path, A_GROUP);
	assert_int_equal(stat(r.path, &st), 0);
	assert_int_equal(st.st_gid, A_GROUP);
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	assert_int_equal(read_as(&r, NOBODY, 0), EACCES);
	assert_int_equal(read_as(&r, NOBODY, A_GROUP + 1), EACCES);
	assert_int_equal(read_as(&r, NOBODY, A_GROUP), 0);
	eg_page_close(w);
	rig_free(&r);
}

/* A user may not give a file to a group he is not in: no page, and nothing is left. */
static void test_group_refused(void **state)
{
	struct rig r;
	pid_t pid;

	if (geteuid() != 0) {
		print_message("needs root to become another user\n");
		skip();
	}
	rig_init(&r, 1);
	rig_step(&r, 1, rig_now());
	assert_int_equal(chmod(r.dir, 0777), 0);
	pid = fork();
	if (pid == 0) {
		struct eg_strbuf why = EG_STRBUF_INIT(256);
		struct eg_page_writer *w;

		if (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
			_exit(255);
		_exit(-eg_page_create(r.path, A_GROUP, &r.v, RIG_INTERVAL_NS, &w, &why));
	}
	assert_int_equal(status_of(pid), EPERM);
	rig_free(&r); /* the folder is empty */
}

/* ---- where the library looks, on a /run of our own ---- */

static void write_page(struct rig *r, const char *dir, uint64_t k, uint64_t t_ns)
{
	char path[128];

	assert_int_equal(mkdir(dir, 0755), 0);
	snprintf(path, sizeof(path), "%s/energy", dir);
	rig_step(r, k, t_ns);
	create_for(r, path, (gid_t)-1); /* as if killed */
}

/* The total of the page that NULL finds; a small negative errno else. */
static int64_t find_default(ergon_page **page)
{
	struct ergon_page_reading x = ERGON_PAGE_READING_INIT;
	int error = ergon_page_open(NULL, page);

	if (error < 0)
		return error;
	assert_int_equal(ergon_page_read(*page, 0, &x), 0);
	return (int64_t)x.total_uj;
}

static void in_own_run(struct rig *r)
{
	struct ergon_page_reading x = ERGON_PAGE_READING_INIT;
	const uint64_t now = rig_now(), old = now - 100 * EG_NSEC_PER_SEC;
	ergon_page *page = NULL, *second;
	int fd;

	assert_int_equal(find_default(&page), -ENOENT);
	assert_int_equal(mkdir("/run/user", 0755), 0);
	assert_int_equal(mkdir("/run/user/0", 0700), 0);
	write_page(r, "/run/user/0/ergon", 5, old);
	assert_int_equal(find_default(&page), 5); /* stale, and all there is */
	assert_int_equal(ergon_page_state(page), ERGON_PAGE_STALE);
	write_page(r, "/run/ergon", 6, now);
	assert_int_equal(find_default(&second), 6); /* the live one */
	ergon_page_close(second);
	assert_int_equal(ergon_page_refresh(page), 1); /* and found later too */
	assert_int_equal(ergon_page_read(page, 0, &x), 0);
	assert_int_equal(x.total_uj, 6);
	ergon_page_close(page);

	/* Both are dead: the machine's. From it refresh finds nothing better, again and again. */
	assert_int_equal(unlink("/run/ergon/energy") | rmdir("/run/ergon"), 0);
	write_page(r, "/run/ergon", 7, old);
	assert_int_equal(find_default(&page), 7);
	assert_int_equal(ergon_page_refresh(page), 0);
	assert_int_equal(ergon_page_refresh(page), 0);
	ergon_page_close(page);

	/* A damaged one of the machine says more than the lack of the user's. */
	assert_int_equal(unlink("/run/user/0/ergon/energy"), 0);
	fd = open("/run/ergon/energy", O_WRONLY | O_TRUNC);
	close(fd);
	assert_int_equal(find_default(&page), -EPROTO);
}

static void test_default_places(void **state)
{
	struct rig r;
	pid_t pid;
	int status;

	if (geteuid() != 0) {
		print_message("needs root to mount a /run of its own\n");
		skip();
	}
	rig_init(&r, 1);
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWNS) < 0 ||
		    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    mount("tmpfs", "/run", "tmpfs", 0, "size=1m") < 0)
			_exit(77);
		in_own_run(&r);
		_exit(0);
	}
	status = status_of(pid);
	rig_free(&r);
	if (status == 77) {
		print_message("needs root that may mount\n");
		skip();
	}
	assert_int_equal(status, 0);
}

/* ---- no system call ---- */

/* Does this machine tell the time without a system call? Tried in a child that would die of one. */
static bool clock_is_free(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) < 0)
			_exit(77);
		(void)rig_now();
		syscall(SYS_exit, 0);
	}
	return status_of(pid) == 0;
}

static void test_no_system_call(void **state)
{
	struct ergon_page_reading x = ERGON_PAGE_READING_INIT;
	struct ergon_page_delta d = ERGON_PAGE_DELTA_INIT;
	struct ergon_page_sum s = ERGON_PAGE_SUM_INIT;
	struct eg_page_writer *w;
	struct ergon_page_used u = ERGON_PAGE_USED_INIT;
	ergon_page_window *window;
	ergon_page_mark *mark;
	ergon_page *page;
	struct rig r;
	pid_t pid;
	int status;

	rig_init(&r, RIG_ACCOUNTS);
	rig_step(&r, 1, rig_now());
	w = rig_create(&r);
	page = rig_open(&r);
	assert_int_equal(ergon_page_mark_new(page, &mark), 0);
	assert_int_equal(ergon_page_window_new(page, &window), 0);
	pid = fork();
	if (pid == 0) {
		bool free_clock = clock_is_free();
		int bad = 0;

		/* From here on only read, write, sigreturn and exit; any other one is SIGKILL. */
		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) < 0)
			_exit(77);
		for (unsigned i = 0; i < 1000; i++) {
			bad |= ergon_page_read(page, i % RIG_ACCOUNTS, &x);
			bad |= ergon_page_total(page, &s);
			bad |= ergon_page_since(page, mark, &d);
			if (free_clock) {
				bad |= ergon_page_window_begin(page, window);
				bad |= ergon_page_window_next(page, window, &u);
				bad |= ergon_page_window_end(page, window, &u);
			}
			eg_page_write(w, &r.v); /* nor does the writer need one */
		}
		syscall(SYS_exit, bad ? 1 : 0);
	}
	status = status_of(pid);
	if (status == 77) {
		print_message("needs root or a kernel with seccomp\n");
		skip();
	}
	assert_int_equal(status, 0);
	/* The filter works: the same child with a system call dies of it. */
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
		syscall(SYS_getppid);
		syscall(SYS_exit, 0);
	}
	assert_int_equal(status_of(pid), -SIGKILL);
	ergon_page_window_free(window);
	ergon_page_mark_free(mark);
	ergon_page_close(page);
	eg_page_close(w);
	rig_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mode),	       cmocka_unit_test(test_rights),
		cmocka_unit_test(test_group_refused),  cmocka_unit_test(test_default_places),
		cmocka_unit_test(test_no_system_call),
	};

	return cmocka_run_group_tests_name("page-access", tests, NULL, NULL);
}
