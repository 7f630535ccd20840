/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving up rights, tried on this program itself: each case starts it again as a child, as root or as
 * somebody else, with threads of its own that block every signal, and the child looks from inside every
 * thread at what it can still do. The directories around are open to everybody, so that what keeps it
 * out is the drop and not their modes.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/privilege.h"

#define NOBODY	  65534 /* uid of nobody, gid of nogroup */
#define CHILD_S	  60
#define SKIPPED	  77
#define TEXT_MAX  8192
#define N_WORKERS 3

/* ================= inside the child ================= */

static int bad; /* failed checks */

#define CHECK(cond)                                                                             \
	do {                                                                                    \
		if (!(cond)) {                                                                  \
			__atomic_add_fetch(&bad, 1, __ATOMIC_RELAXED);                          \
			dprintf(2, "%s:%d: %s (errno %d)\n", __func__, __LINE__, #cond, errno); \
		}                                                                               \
	} while (0)

static struct {
	const char *dir; /* holds own/, outside/, outside/victim, secret */
	bool seccomp, may_exec;
	struct eg_privilege_state st;
} child;

static const char *in_dir(char *buf, size_t cap, const char *name)
{
	snprintf(buf, cap, "%s/%s", child.dir, name);
	return buf;
}

static bool no_capabilities(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2];
	uint32_t any = 0;

	if (syscall(SYS_capget, &head, d) < 0)
		return false;
	for (int i = 0; i < 2; i++)
		any |= d[i].effective | d[i].permitted | d[i].inheritable;
	return any == 0;
}

static void check_no_way_back(void)
{
	uid_t r, e, s;

	CHECK(no_capabilities());
	CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	CHECK(getresuid(&r, &e, &s) == 0 && r == e && e == s);
	if (e != 0)
		CHECK(syscall(SYS_setuid, 0) < 0);
	else
		(void)!syscall(SYS_setuid, 0);
	CHECK(no_capabilities());
	CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_DAC_OVERRIDE, 0, 0) <= 0);
}

static void check_files(void)
{
	char a[256], b[300], name[64], text[16];
	int fd;

	/* Its own directory: create, write, put in place, remove; from several threads at once. */
	snprintf(name, sizeof(name), "own/new-%ld", syscall(SYS_gettid));
	in_dir(a, sizeof(a), name);
	snprintf(b, sizeof(b), "%s.renamed", a);
	fd = open(a, O_RDWR | O_CREAT | O_EXCL, 0600);
	CHECK(fd >= 0);
	CHECK(write(fd, "x", 1) == 1 && ftruncate(fd, 100) == 0 && fdatasync(fd) == 0);
	CHECK(fchmod(fd, 0640) == 0 && fchown(fd, (uid_t)-1, getegid()) == 0);
	close(fd);
	CHECK(rename(a, b) == 0);
	CHECK(truncate(b, 0) == 0 || child.st.seccomp);
	CHECK(unlink(b) == 0);
	/* What it owns it reads without any capability (energy_uj is 0400). */
	fd = open(in_dir(a, sizeof(a), "secret"), O_RDONLY);
	CHECK(fd >= 0 && read(fd, text, sizeof(text)) == 6);
	close(fd);
	if (!child.st.landlock)
		return;
	/* Elsewhere, although the modes would let it. */
	CHECK(open(in_dir(a, sizeof(a), "outside/victim"), O_WRONLY) < 0 && errno == EACCES);
	CHECK(open(a, O_RDWR | O_TRUNC) < 0 && errno == EACCES);
	fd = open(a, O_RDONLY);
	CHECK(fd >= 0);
	close(fd);
	CHECK(unlink(a) < 0 && errno == EACCES);
	CHECK(rename(a, in_dir(b, sizeof(b), "own/stolen")) < 0 &&
	      (errno == EACCES || errno == EXDEV));
	CHECK(open(in_dir(b, sizeof(b), "outside/new"), O_WRONLY | O_CREAT, 0600) < 0 &&
	      errno == EACCES);
	CHECK(mkdir(b, 0700) < 0 && errno == EACCES);
	fd = open("/dev/null", O_WRONLY);
	CHECK(fd >= 0);
	close(fd);
}

/* With harmless arguments: without a filter most of these fail by another error, or do nothing. */
static const struct {
	const char *name;
	long nr, a, b, c, d, e;
} refused[] = {
	{"execveat", SYS_execveat, -1, (long)"", 0, 0, 0},
	{"ptrace", SYS_ptrace, -1, 0, 0, 0},
	{"clone of a process", SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0},
	{"clone into a namespace", SYS_clone, CLONE_THREAD | CLONE_NEWUSER, 0, 0, 0, 0},
	{"unshare", SYS_unshare, 0},
	{"setns", SYS_setns, -1, 0},
	{"mount", SYS_mount, 0, 0, 0, 0, 0},
	{"umount2", SYS_umount2, (long)"", 0},
	{"pivot_root", SYS_pivot_root, (long)"", (long)""},
	{"chroot", SYS_chroot, (long)""},
	{"bpf", SYS_bpf, 0x7fff, 0, 0},
	{"kexec_load", SYS_kexec_load, 0, 0, 0, -1},
	{"init_module", SYS_init_module, 0, 0, 0},
	{"finit_module", SYS_finit_module, -1, 0, 0},
	{"delete_module", SYS_delete_module, (long)"", 0},
	{"userfaultfd", SYS_userfaultfd, -1},
	{"keyctl", SYS_keyctl, 0, -3, 0},
	{"add_key", SYS_add_key, 0, 0, 0, 0, 0},
	{"request_key", SYS_request_key, 0, 0, 0, 0},
	{"perf_event_open", SYS_perf_event_open, 0, 0, -1, -1, 0},
	{"process_vm_readv", SYS_process_vm_readv, 0, 0, 0, 0, 0},
	{"personality", SYS_personality, 0xffffffff},
	{"name_to_handle_at", SYS_name_to_handle_at, -1, (long)"", 0, 0, -1},
	{"open_by_handle_at", SYS_open_by_handle_at, -1, 0, 0},
	{"swapon", SYS_swapon, (long)"", 0},
	{"reboot", SYS_reboot, 0, 0, 0, 0},
	{"syslog", SYS_syslog, -1, 0, 0},
	{"settimeofday", SYS_settimeofday, 0, 0},
	{"sethostname", SYS_sethostname, 0, -1},
	{"setgroups", SYS_setgroups, -1, 0},
	{"io_uring_setup", 425, 0, 0},
	{"pidfd_open", 434, 0, 0},
	{"open_tree", 428, -1, 0, -1},
	{"netlink socket", SYS_socket, AF_NETLINK, SOCK_RAW, 0},
	{"packet socket", SYS_socket, AF_PACKET, SOCK_RAW, 0},
	{"memory writable and executable", SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
	 MAP_PRIVATE | MAP_ANONYMOUS, -1},
	{"typing into a terminal", SYS_ioctl, 0, TIOCSTI, 0},
	{"the same, hidden in the upper half", SYS_ioctl, 0, (long)(1ULL << 32 | TIOCSTI), 0},
	{"prctl(PR_SET_DUMPABLE)", SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0},
	{"fchmod for others to write", SYS_fchmod, -1, 0666},
	{"fchown to an owner", SYS_fchown, -1, 0, 0},
	{"prlimit of a limit", SYS_prlimit64, 0, 7, (long)"", 0},
};

/* How many of the calls failed by EPERM. */
static unsigned try_refused(bool report)
{
	unsigned n = 0;

	for (size_t i = 0; i < EG_ARRAY_SIZE(refused); i++) {
		long r = syscall(refused[i].nr, refused[i].a, refused[i].b, refused[i].c,
				 refused[i].d, refused[i].e);

		if (r < 0 && errno == EPERM)
			n++;
		else if (report)
			dprintf(2, "%s: %ld, errno %d\n", refused[i].name, r, errno);
	}
	return n;
}

static void check_calls(void)
{
	unsigned all = EG_ARRAY_SIZE(refused);

	if (!child.st.seccomp)
		return;
	if (child.may_exec) /* clone and memory still have rules, a process may be made */
		CHECK(try_refused(false) >= all - 1);
	else
		CHECK(try_refused(true) == all);
	CHECK(syscall(SYS_execve, "", NULL, NULL) < 0 &&
	      errno == (child.may_exec ? ENOENT : EPERM));
#ifdef SYS_clone3
	CHECK(syscall(SYS_clone3, NULL, 0) < 0 && errno == ENOSYS);
#endif
	CHECK(kill(getpid(), 0) == 0);
	CHECK(child.may_exec || (kill(getppid(), 0) < 0 && errno == EPERM));
}

static void check_all(void)
{
	check_no_way_back();
	check_files();
	check_calls();
}

/* Threads as the agent has them: every signal blocked, waiting in several ways. */
struct worker {
	pthread_t thread;
	sem_t go;
	int pipe[2]; /* a byte lets it go on */
	bool spin_go;
	enum { WAITS_ON_LOCK, READS, NAPS } kind;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	char c;

	if (w->kind == WAITS_ON_LOCK)
		while (sem_wait(&w->go) < 0)
			;
	else if (w->kind == READS)
		CHECK(read(w->pipe[0], &c, 1) == 1);
	else
		while (!__atomic_load_n(&w->spin_go, __ATOMIC_ACQUIRE))
			nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
	check_all();
	return NULL;
}

static void start_workers(struct worker *w)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (int i = 0; i < N_WORKERS; i++) {
		w[i].kind = i;
		w[i].spin_go = false;
		CHECK(sem_init(&w[i].go, 0, 0) == 0 && pipe(w[i].pipe) == 0);
		CHECK(pthread_create(&w[i].thread, NULL, work, &w[i]) == 0);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void end_workers(struct worker *w)
{
	for (int i = 0; i < N_WORKERS; i++) {
		sem_post(&w[i].go);
		CHECK(write(w[i].pipe[1], "x", 1) == 1);
		__atomic_store_n(&w[i].spin_go, true, __ATOMIC_RELEASE);
		pthread_join(w[i].thread, NULL);
	}
}

static int drop(const char *user)
{
	char own[256];
	const char *writable[] = {in_dir(own, sizeof(own), "own"), NULL};
	const struct eg_privilege_config cfg = {.user = user,
						.writable = writable,
						.seccomp = child.seccomp,
						.may_exec = child.may_exec};
	struct eg_strbuf why = EG_STRBUF_INIT(1024);
	int r = eg_privilege_drop(&cfg, &child.st, &why);

	dprintf(2, "drop: %d caps=%d nnp=%d user=%d landlock=%d seccomp=%d note=%s why=%s\n", r,
		child.st.dropped_caps, child.st.no_new_privs, child.st.changed_user,
		child.st.landlock, child.st.seccomp, child.st.note, eg_strbuf_get(&why));
	eg_strbuf_free(&why);
	return r;
}

static int seccomp_expected(void)
{
#ifdef EG_HAVE_SECCOMP
	return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
#else
	return 0;
#endif
}

/* The drop with workers, then everything is tried in every thread, in a new one too. */
static int child_drop(const char *user)
{
	static struct worker w[N_WORKERS], late[N_WORKERS];
	int expect_filter = child.seccomp && seccomp_expected();

	start_workers(w);
	CHECK(drop(user) == 0);
	CHECK(child.st.dropped_caps && child.st.no_new_privs);
	CHECK(child.st.changed_user == (user[0] != '\0' && strcmp(user, "root") != 0));
	CHECK(child.st.seccomp == expect_filter);
	CHECK(child.st.note[0] == '\0' || !child.st.landlock || !expect_filter);
	if (child.st.changed_user)
		CHECK(getuid() == NOBODY && getegid() == NOBODY);
	check_all();
	end_workers(w);
	start_workers(late);
	end_workers(late);
	/* setuid(2) of libc asks every thread too: its own signal works again. */
	CHECK(child.st.seccomp || setuid(geteuid()) == 0);
	return bad != 0;
}

static int child_unfiltered(const char *user)
{
	unsigned n;

	CHECK(drop(user) == 0);
	n = try_refused(false);
	dprintf(2, "without a filter %u of %zu calls give EPERM\n", n, EG_ARRAY_SIZE(refused));
	return bad != 0 ? 1 : n <= EG_ARRAY_SIZE(refused) * 3 / 4 ? 0 : SKIPPED;
}

static void spawn_and_wait(const char *const *argv, int *ret_status)
{
	posix_spawn_file_actions_t fa;
	pid_t pid = -1;

	*ret_status = -1;
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, 2, 1);
	CHECK(posix_spawn(&pid, argv[0], &fa, NULL, (char *const *)argv, environ) == 0);
	CHECK(pid > 0 && waitpid(pid, ret_status, 0) == pid);
	posix_spawn_file_actions_destroy(&fa);
}

/* A driver's program starts, and is kept in as we are. */
static int child_exec(const char *user)
{
	char script[1024];
	const char *argv[] = {"/bin/sh", "-c", script, NULL};
	struct stat st;
	char path[256];
	int status;

	snprintf(script, sizeof(script),
		 "echo yes > %s/own/from-sh && cat %s/own/from-sh >/dev/null || exit 4; "
		 "(echo no > %s/outside/victim) 2>/dev/null; exit 3",
		 child.dir, child.dir, child.dir);
	CHECK(drop(user) == 0);
	spawn_and_wait(argv, &status);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
	if (child.st.landlock)
		CHECK(stat(in_dir(path, sizeof(path), "outside/victim"), &st) == 0 &&
		      st.st_size == 6);
	check_all();
	return bad != 0;
}

/* A set-uid program of root, started after the drop, says who it is. */
static int child_set_uid(const char *user)
{
	char path[256];
	const char *argv[] = {in_dir(path, sizeof(path), "set-uid"), "whoami", NULL};
	int status;

	if (strcmp(user, "control") != 0)
		CHECK(drop(user) == 0);
	spawn_and_wait(argv, &status);
	CHECK(WIFEXITED(status));
	return bad != 0 ? 1 : WEXITSTATUS(status);
}

static int whoami(void)
{
	return geteuid() == 0 && !no_capabilities() ? 42 : 43;
}

/* A thread that does not come back from the kernel: that of a vfork waits for its child. */
static int hold[2];
static pid_t hanging;
static bool came_back;

static void *hang(void *arg)
{
	char c;

	__atomic_store_n(&hanging, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	if (vfork() == 0) {
		(void)!read(hold[0], &c, 1);
		_exit(0);
	}
	check_all();
	__atomic_store_n(&came_back, true, __ATOMIC_RELEASE);
	return NULL;
}

static bool is_hanging(void)
{
	char path[64], text[512];
	eg_autoclose int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat",
		 (int)__atomic_load_n(&hanging, __ATOMIC_ACQUIRE));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
	text[EG_MAX(n, 0)] = '\0';
	return strstr(text, ") D ") != NULL;
}

static int child_hang(const char *user)
{
	static struct worker w[N_WORKERS];
	char path[256];
	pthread_t t;

	start_workers(w);
	CHECK(pipe(hold) == 0);
	CHECK(pthread_create(&t, NULL, hang, NULL) == 0);
	for (int i = 0; i < 10000 && !is_hanging(); i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	CHECK(is_hanging());
	CHECK(drop(user) == 0);
	CHECK(!child.st.dropped_caps && !child.st.changed_user && !child.st.landlock);
	CHECK(strstr(child.st.note, "hang") != NULL);
	/* So that the thread looks for Landlock too when it is back. */
	child.st.landlock = open(in_dir(path, sizeof(path), "outside/victim"), O_WRONLY) < 0;
	end_workers(w);
	check_no_way_back();
	CHECK(!__atomic_load_n(&came_back, __ATOMIC_ACQUIRE));
	CHECK(write(hold[1], "x", 1) == 1);
	pthread_join(t, NULL);
	return bad != 0;
}

static const struct {
	const char *name;
	bool seccomp, may_exec;
	int (*fn)(const char *user);
} kinds[] = {
	{"drop", true, false, child_drop},
	{"drop-unfiltered", false, false, child_drop},
	{"unfiltered", false, false, child_unfiltered},
	{"exec", true, true, child_exec},
	{"set-uid", false, true, child_set_uid},
	{"hang", true, false, child_hang},
};

static int child_main(char **argv)
{
	alarm(CHILD_S); /* a hanging child is a failure that ends */
	child.dir = argv[1];
	for (size_t i = 0; i < EG_ARRAY_SIZE(kinds); i++) {
		if (strcmp(argv[0], kinds[i].name) == 0) {
			child.seccomp = kinds[i].seccomp;
			child.may_exec = kinds[i].may_exec;
			return kinds[i].fn(argv[2]);
		}
	}
	return 99;
}

/* ================= the tests ================= */

static char dir[64];
static int self_fd = -1;

static const char *at(const char *name)
{
	static char buf[4][256];
	static unsigned next;
	char *b = buf[next++ % 4];

	snprintf(b, sizeof(buf[0]), "%s/%s", dir, name);
	return b;
}

static void put_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

/* own/ and secret belong to the uid that will read them, outside/ is open to everybody. */
static void fill(uid_t uid)
{
	assert_int_equal(mkdir(at("own"), 0755), 0);
	assert_int_equal(mkdir(at("outside"), 0700), 0);
	assert_int_equal(chmod(at("outside"), 0777), 0);
	put_file(at("outside/victim"), "victim", 0666);
	put_file(at("secret"), "secret", 0400);
	if (geteuid() == 0) {
		assert_int_equal(chown(at("own"), uid, uid), 0);
		assert_int_equal(chown(at("secret"), uid, uid), 0);
	}
}

static int make_dir(void **state)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%.30s/ergon-rights-XXXXXX", tmp != NULL ? tmp : "/tmp");
	return mkdtemp(dir) == NULL || chmod(dir, 0755) < 0 ? -1 : 0;
}

static int remove_dir(void **state)
{
	static const char *const names[] = {"own/from-sh",    "own/log",     "own/link",
					    "own/second",     "own/socket",  "own/theirs",
					    "outside/victim", "outside/new", "secret",
					    "set-uid",	      "link"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++)
		unlink(at(names[i]));
	rmdir(at("own"));
	rmdir(at("outside"));
	return rmdir(dir);
}

/* This program again, as uid; what it printed goes to text. Returns its exit status. */
static int run_child(const char *kind, uid_t uid, const char *user, char text[TEXT_MAX])
{
	const char *argv[] = {"test-privilege", "child", kind, dir, user, NULL};
	size_t len = 0;
	int out[2], status;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(out[1], 2);
		if (uid != geteuid() && (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 ||
					 setresuid(uid, uid, uid) < 0))
			_exit(98);
		fexecve(self_fd, (char *const *)argv, environ);
		_exit(97);
	}
	close(out[1]);
	while (len < TEXT_MAX - 1 && (n = read(out[0], text + len, TEXT_MAX - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(out[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void expect_good(const char *kind, uid_t uid, const char *user)
{
	char text[TEXT_MAX];
	int code;

	fill(user[0] != '\0' ? NOBODY : uid);
	if (user[0] != '\0')
		assert_int_equal(chown(at("own"), 0, 0), 0); /* made over by the drop */
	code = run_child(kind, uid, user, text);
	if (code == SKIPPED) {
		print_message("# something filters the system calls of this machine already\n");
		skip();
	}
	if (code != 0)
		fail_msg("%s as %u for \"%s\": status %d\n%s", kind, (unsigned)uid, user, code,
			 text);
	if (strstr(text, "no Landlock") != NULL)
		print_message("# not shown on this machine: no Landlock\n");
}

static void need_root(void)
{
	if (geteuid() != 0) {
		print_message("# needs root\n");
		skip();
	}
}

static void root_stays_root(void **state)
{
	need_root();
	expect_good("drop", 0, "");
}

static void root_without_a_filter(void **state)
{
	need_root();
	expect_good("drop-unfiltered", 0, "");
}

static void root_becomes_nobody(void **state)
{
	need_root();
	expect_good("drop", 0, "nobody");
}

static void root_becomes_nobody_without_a_filter(void **state)
{
	need_root();
	expect_good("drop-unfiltered", 0, "nobody");
}

static void somebody_else_from_the_start(void **state)
{
	expect_good("drop", geteuid() == 0 ? NOBODY : geteuid(), "");
}

/* Without this the tests of the filter could not fail. */
static void calls_work_without_the_filter(void **state)
{
	expect_good("unfiltered", geteuid(), "");
}

static void programs_start_where_a_driver_needs_them(void **state)
{
	expect_good("exec", geteuid(), "");
}

static void programs_start_after_a_change_of_user(void **state)
{
	need_root();
	expect_good("exec", 0, "nobody");
}

static void a_thread_that_hangs_drops_when_it_comes_back(void **state)
{
	expect_good("hang", geteuid(), "");
}

static void a_hanging_thread_changes_user_too(void **state)
{
	need_root();
	expect_good("hang", 0, "nobody");
}

static void copy_self(const char *path)
{
	static char buf[1 << 16];
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0700);
	off_t off = 0;
	ssize_t n;

	assert_true(fd >= 0);
	while ((n = pread(self_fd, buf, sizeof(buf), off)) > 0) {
		assert_int_equal(write(fd, buf, (size_t)n), n);
		off += n;
	}
	assert_int_equal(fchmod(fd, 04755), 0);
	close(fd);
}

static void set_uid_programs_give_nothing(void **state)
{
	char text[TEXT_MAX];

	need_root();
	fill(NOBODY);
	copy_self(at("set-uid"));
	if (run_child("set-uid", NOBODY, "control", text) != 42) {
		print_message("# set-uid programs have no effect in %s\n", dir);
		skip();
	}
	assert_int_equal(run_child("set-uid", NOBODY, "", text), 43);
	assert_int_equal(run_child("set-uid", 0, "", text), 43);
	assert_int_equal(chown(at("own"), 0, 0), 0);
	assert_int_equal(run_child("set-uid", 0, "nobody", text), 43);
}

static uid_t owner(const char *name)
{
	struct stat st;

	assert_int_equal(lstat(at(name), &st), 0);
	return st.st_uid;
}

static void only_its_own_files_are_made_over(void **state)
{
	char text[TEXT_MAX];

	need_root();
	fill(NOBODY);
	assert_int_equal(chown(at("secret"), 0, 0), 0);
	put_file(at("own/log"), "log", 0600);
	assert_int_equal(mknod(at("own/socket"), S_IFSOCK | 0660, 0), 0);
	assert_int_equal(symlink(at("outside/victim"), at("own/link")), 0);
	assert_int_equal(link(at("secret"), at("own/second")), 0);
	run_child("drop-unfiltered", 0, "nobody", text); /* secret is root's: that check fails */
	assert_int_equal(owner("own"), NOBODY);
	assert_int_equal(owner("own/log"), NOBODY);
	assert_int_equal(owner("own/socket"), NOBODY);
	assert_int_equal(owner("own/link"), 0);
	assert_int_equal(owner("outside/victim"), 0);
	assert_int_equal(owner("secret"), 0);
}

/* A configuration that cannot be had: an error, a sentence, nothing changed. */
static void expect_error(const char *user, const char *own, int want, const char *word)
{
	const char *writable[] = {own, NULL};
	const struct eg_privilege_config cfg = {.user = user, .writable = writable};
	struct eg_privilege_state st = {.note = "untouched"};
	struct eg_strbuf why = EG_STRBUF_INIT(1024);

	assert_int_equal(eg_privilege_drop(&cfg, &st, &why), want);
	assert_non_null(strstr(eg_strbuf_get(&why), word));
	assert_string_equal(st.note, "untouched");
	assert_int_equal(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
	eg_strbuf_free(&why);
}

static void mistakes_are_said(void **state)
{
	fill(geteuid());
	expect_error("no-such-user-here", at("own"), -ENOENT, "no-such-user-here");
	expect_error("", at("missing"), -ENOENT, "missing");
	need_root();
	expect_error("nobody", at("outside"), -EPERM, "outside");
	assert_int_equal(owner("outside"), 0);
	assert_int_equal(symlink(at("own"), at("link")), 0);
	expect_error("nobody", at("link"), -ENOTDIR, "link");
	assert_int_equal(chown(at("own"), 1, 1), 0);
	expect_error("nobody", at("own"), -EPERM, "user id 1");
	assert_int_equal(owner("own"), 1);
}

static void only_root_changes_user(void **state)
{
	char text[TEXT_MAX];

	fill(NOBODY);
	assert_int_not_equal(run_child("drop", geteuid() == 0 ? NOBODY : geteuid(), "root", text),
			     0);
	assert_non_null(strstr(text, "drop: -1 "));
	assert_non_null(strstr(text, "without being root"));
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, make_dir, remove_dir)

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		CASE(root_stays_root),
		CASE(root_without_a_filter),
		CASE(root_becomes_nobody),
		CASE(root_becomes_nobody_without_a_filter),
		CASE(somebody_else_from_the_start),
		CASE(calls_work_without_the_filter),
		CASE(programs_start_where_a_driver_needs_them),
		CASE(programs_start_after_a_change_of_user),
		CASE(a_thread_that_hangs_drops_when_it_comes_back),
		CASE(a_hanging_thread_changes_user_too),
		CASE(set_uid_programs_give_nothing),
		CASE(only_its_own_files_are_made_over),
		CASE(mistakes_are_said),
		CASE(only_root_changes_user),
	};

	/* _exit: looking for leaks at the end needs ptrace, which is gone. */
	if (argc == 5 && strcmp(argv[1], "child") == 0)
		_exit(child_main(argv + 2));
	if (argc == 2 && strcmp(argv[1], "whoami") == 0)
		_exit(whoami());
	self_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	return self_fd < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
