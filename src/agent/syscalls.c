/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See syscalls.h. The lists were made from traces (strace -f) of the tests' TLS server and of sampling,
 * with what their calls become on newer libc or other architectures added. A name that the machine
 * does not have is passed over: open(2) is not on arm64.
 *
 * Arguments are compared where they are numbers; memory behind pointers can change after the check,
 * so nothing is decided by it.
 */
#include "agent/syscalls.h"

#include <errno.h>

#ifdef EG_HAVE_SECCOMP

#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

/* Each group: a reason, and the calls. */
static const char *const always[] = {
	/* memory; mmap and mprotect have rules of their own */
	"brk",
	"madvise",
	"mincore",
	"mlock",
	"mlock2",
	"mremap",
	"msync",
	"munlock",
	"munmap",
	/* reading sensors, files and their kind */
	"access",
	"close",
	"close_range",
	"dup",
	"dup2",
	"dup3",
	"faccessat",
	"faccessat2",
	"fadvise64",
	"fcntl",
	"flock",
	"fstat",
	"fstatfs",
	"getcwd",
	"getdents",
	"getdents64",
	"lseek",
	"lstat",
	"newfstatat",
	"open",
	"openat",
	"pread64",
	"preadv",
	"preadv2",
	"read",
	"readlink",
	"readlinkat",
	"readv",
	"stat",
	"statfs",
	"statx",
	/* writing; where is Landlock's business. Modes and owners have rules of their own */
	"fallocate",
	"fdatasync",
	"fsync",
	"ftruncate",
	"mkdir",
	"mkdirat",
	"pwrite64",
	"pwritev",
	"pwritev2",
	"rename",
	"renameat",
	"renameat2",
	"rmdir",
	"sync_file_range",
	"umask",
	"unlink",
	"unlinkat",
	"write",
	"writev",
	/* the loop: waiting, timers, wake-ups, watching files */
	"epoll_create",
	"epoll_create1",
	"epoll_ctl",
	"epoll_pwait",
	"epoll_pwait2",
	"epoll_wait",
	"eventfd",
	"eventfd2",
	"inotify_add_watch",
	"inotify_init1",
	"inotify_rm_watch",
	"pipe",
	"pipe2",
	"poll",
	"ppoll",
	"pselect6",
	"select",
	"signalfd",
	"signalfd4",
	"timerfd_create",
	"timerfd_gettime",
	"timerfd_settime",
	/* reading clocks and sleeping */
	"clock_getres",
	"clock_gettime",
	"clock_nanosleep",
	"gettimeofday",
	"nanosleep",
	"time",
	"times",
	/* threads of our own and of libraries; clone has a rule of its own */
	"arch_prctl",
	"exit",
	"exit_group",
	"futex",
	"get_robust_list",
	"getcpu",
	"gettid",
	"membarrier",
	"restart_syscall",
	"rseq",
	"sched_get_priority_max",
	"sched_get_priority_min",
	"sched_getaffinity",
	"sched_getparam",
	"sched_getscheduler",
	"sched_yield",
	"set_robust_list",
	"set_tid_address",
	/* signals of our own; kill and tgkill have rules of their own */
	"rt_sigaction",
	"rt_sigpending",
	"rt_sigprocmask",
	"rt_sigreturn",
	"rt_sigsuspend",
	"rt_sigtimedwait",
	"sigaltstack",
	/* serving and asking; socket has a rule of its own */
	"accept",
	"accept4",
	"bind",
	"connect",
	"getpeername",
	"getsockname",
	"getsockopt",
	"listen",
	"recvfrom",
	"recvmmsg",
	"recvmsg",
	"sendfile",
	"sendmmsg",
	"sendmsg",
	"sendto",
	"setsockopt",
	"shutdown",
	/* who and where we are, randomness for TLS */
	"capget",
	"getegid",
	"geteuid",
	"getgid",
	"getgroups",
	"getpgid",
	"getpgrp",
	"getpid",
	"getppid",
	"getpriority",
	"getrandom",
	"getresgid",
	"getresuid",
	"getrlimit",
	"getrusage",
	"getsid",
	"getuid",
	"sysinfo",
	"uname",
	/* asking a GPU's driver, a terminal, a perf counter */
	"ioctl",
};

/* With a driver that starts a program: that, its end, and what a program does when it starts. */
static const char *const to_exec[] = {
	"chdir",     "execve", "fchdir", "fork",  "kill",  "setpgid",
	"setrlimit", "setsid", "tgkill", "vfork", "wait4", "waitid",
};

/* Giving up rights, for a thread that comes back late; one way, all of them, without capabilities. */
static const char *const to_drop[] = {
	"capset",    "landlock_restrict_self",
	"setgroups", "setgroups32",
	"setresgid", "setresgid32",
	"setresuid", "setresuid32",
};

/* Ways out of the process, into the kernel, or to more rights; whatever the list above says. */
static const char *const never[] = {
	"_sysctl",
	"acct",
	"add_key",
	"adjtimex",
	"bpf",
	"chroot",
	"clock_adjtime",
	"clock_settime",
	"create_module",
	"delete_module",
	"execveat",
	"fanotify_init",
	"finit_module",
	"fsconfig",
	"fsmount",
	"fsopen",
	"fspick",
	"init_module",
	"io_uring_enter",
	"io_uring_register",
	"io_uring_setup",
	"ioperm",
	"iopl",
	"kcmp",
	"kexec_file_load",
	"kexec_load",
	"keyctl",
	"lookup_dcookie",
	"mount",
	"mount_setattr",
	"move_mount",
	"move_pages",
	"name_to_handle_at",
	"nfsservctl",
	"open_by_handle_at",
	"open_tree",
	"perf_event_open",
	"personality",
	"pidfd_getfd",
	"pidfd_open",
	"pidfd_send_signal",
	"pivot_root",
	"process_vm_readv",
	"process_vm_writev",
	"ptrace",
	"quotactl",
	"quotactl_fd",
	"reboot",
	"request_key",
	"rt_sigqueueinfo",
	"rt_tgsigqueueinfo",
	"setdomainname",
	"sethostname",
	"setns",
	"settimeofday",
	"swapoff",
	"swapon",
	"syslog",
	"umount2",
	"unshare",
	"uselib",
	"userfaultfd",
	"vhangup",
};

/* Kinds of new namespaces, which are new ground for attacks on the kernel. */
#define NEW_NAMESPACE                                                                  \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
	 CLONE_NEWPID | CLONE_NEWNET)
#define WRITE_AND_EXEC ((uint64_t)(PROT_WRITE | PROT_EXEC))
#define LOW_HALF       0xffffffffULL /* the kernel reads only so much of an int argument */

#define REFUSE	       SCMP_ACT_ERRNO(EPERM)

/* Adds one rule; passes over what this architecture does not have. */
static int add(scmp_filter_ctx ctx, uint32_t action, const char *name, unsigned n,
	       const struct scmp_arg_cmp *args)
{
	int nr = seccomp_syscall_resolve_name(name), r;

	if (nr == __NR_SCMP_ERROR)
		return 0;
	r = seccomp_rule_add_array(ctx, action, nr, n, args);
	return r == -EDOM ? 0 : r;
}

static int add_all(scmp_filter_ctx ctx, uint32_t action, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int r = add(ctx, action, names[i], 0, NULL);

		if (r < 0)
			return r;
	}
	return 0;
}

static int allow_if(scmp_filter_ctx ctx, const char *name, struct scmp_arg_cmp arg)
{
	return add(ctx, SCMP_ACT_ALLOW, name, 1, &arg);
}

/* Memory is never writable and executable at once. */
static int allow_memory(scmp_filter_ctx ctx)
{
	static const char *const names[] = {"mmap", "mprotect", "pkey_mprotect"};
	static const uint64_t kinds[] = {0, PROT_WRITE, PROT_EXEC};

	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++) {
		for (size_t k = 0; k < EG_ARRAY_SIZE(kinds); k++) {
			int r = allow_if(ctx, names[i],
					 SCMP_A2(SCMP_CMP_MASKED_EQ, WRITE_AND_EXEC, kinds[k]));

			if (r < 0)
				return r;
		}
	}
	return 0;
}

/*
 * A thread or, with may_exec, a process, in no new namespace. clone3 hides its flags in memory: as if
 * the kernel did not have it, libc takes clone.
 */
static int allow_clone(scmp_filter_ctx ctx, bool may_exec)
{
	uint64_t want = may_exec ? 0 : CLONE_THREAD;
	int r = allow_if(ctx, "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, NEW_NAMESPACE | want, want));

	return r < 0 ? r : add(ctx, SCMP_ACT_ERRNO(ENOSYS), "clone3", 0, NULL);
}

/* Unix, TCP and UDP: nothing that speaks to the kernel's own families. */
static int allow_sockets(scmp_filter_ctx ctx)
{
	static const int families[] = {AF_UNIX, AF_INET, AF_INET6};
	int r = allow_if(ctx, "socketpair", SCMP_A0(SCMP_CMP_MASKED_EQ, LOW_HALF, AF_UNIX));

	for (size_t i = 0; r == 0 && i < EG_ARRAY_SIZE(families); i++)
		r = allow_if(ctx, "socket",
			     SCMP_A0(SCMP_CMP_MASKED_EQ, LOW_HALF, (uint64_t)families[i]));
	return r;
}

/*
 * Landlock does not keep modes and owners, which a root without capabilities may still change: nothing
 * can be made writable for others, set-id or a program; a group may be chosen, an owner not.
 */
static int allow_modes(scmp_filter_ctx ctx)
{
	int r = allow_if(ctx, "fchmod", SCMP_A1(SCMP_CMP_MASKED_EQ, LOW_HALF & ~0644ULL, 0));

	return r < 0 ? r : allow_if(ctx, "fchown", SCMP_A1(SCMP_CMP_MASKED_EQ, LOW_HALF, LOW_HALF));
}

static int allow_prctl(scmp_filter_ctx ctx, const int *options, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int r = allow_if(ctx, "prctl",
				 SCMP_A0(SCMP_CMP_MASKED_EQ, LOW_HALF, (uint64_t)options[i]));

		if (r < 0)
			return r;
	}
	return 0;
}

static int allow_drop(scmp_filter_ctx ctx)
{
	static const int options[] = {PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP, PR_SET_SECUREBITS,
				      PR_CAP_AMBIENT};
	int r = add_all(ctx, SCMP_ACT_ALLOW, to_drop, EG_ARRAY_SIZE(to_drop));

	return r < 0 ? r : allow_prctl(ctx, options, EG_ARRAY_SIZE(options));
}

/* Thread names and questions; signals to ourselves; reading limits, not setting them. */
static int allow_rest(scmp_filter_ctx ctx)
{
	static const int questions[] = {PR_SET_NAME,	 PR_GET_NAME,	      PR_GET_DUMPABLE,
					PR_CAPBSET_READ, PR_GET_NO_NEW_PRIVS, PR_GET_SECCOMP,
					PR_SET_VMA};
	static const char *const signals[] = {"kill", "tgkill"};
	int r = allow_prctl(ctx, questions, EG_ARRAY_SIZE(questions));

	r = r < 0 ? r : allow_if(ctx, "prlimit64", SCMP_A2(SCMP_CMP_EQ, 0));
	for (size_t i = 0; r == 0 && i < EG_ARRAY_SIZE(signals); i++)
		r = allow_if(ctx, signals[i],
			     SCMP_A0(SCMP_CMP_MASKED_EQ, LOW_HALF, (uint64_t)getpid()));
	return r;
}

/* Into the kernel, for every thread. */
static int load(scmp_filter_ctx ctx)
{
	int r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);

	/* Another system call interface (32-bit, x32) knows none of the rules: refused as well. */
	r = r < 0 ? r : seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, REFUSE);
	r = r < 0 ? r : seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0);
	/* A tree of comparisons instead of a chain: log n of them before each call. */
	r = r < 0 ? r : seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	return r < 0 ? r : seccomp_load(ctx);
}

static int load_refused(bool may_drop)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	/* Words put into a terminal as if typed there. */
	static const uint64_t typing[] = {TIOCSTI, TIOCLINUX};
	int r;

	if (ctx == NULL)
		return -ENOMEM;
	r = add_all(ctx, REFUSE, never, EG_ARRAY_SIZE(never));
	if (!may_drop)
		r = r < 0 ? r : add_all(ctx, REFUSE, to_drop, EG_ARRAY_SIZE(to_drop));
	for (size_t i = 0; r == 0 && i < EG_ARRAY_SIZE(typing); i++) {
		struct scmp_arg_cmp cmd = SCMP_A1(SCMP_CMP_MASKED_EQ, LOW_HALF, typing[i]);

		r = add(ctx, REFUSE, "ioctl", 1, &cmd);
	}
	r = r < 0 ? r : load(ctx);
	seccomp_release(ctx);
	return r;
}

static int load_allowed(bool may_exec, bool may_drop)
{
	scmp_filter_ctx ctx = seccomp_init(REFUSE);
	int r;

	if (ctx == NULL)
		return -ENOMEM;
	r = add_all(ctx, SCMP_ACT_ALLOW, always, EG_ARRAY_SIZE(always));
	r = r < 0 ? r : allow_memory(ctx);
	r = r < 0 ? r : allow_clone(ctx, may_exec);
	r = r < 0 ? r : allow_sockets(ctx);
	r = r < 0 ? r : allow_modes(ctx);
	r = r < 0 ? r : allow_rest(ctx);
	if (may_exec)
		r = r < 0 ? r : add_all(ctx, SCMP_ACT_ALLOW, to_exec, EG_ARRAY_SIZE(to_exec));
	if (may_drop)
		r = r < 0 ? r : allow_drop(ctx);
	r = r < 0 ? r : load(ctx);
	seccomp_release(ctx);
	return r;
}

int eg_syscalls_restrict(bool may_exec, bool may_drop)
{
	/* In this order: the allowing one lets no filter be loaded after it. */
	int r = load_refused(may_drop);

	return r < 0 ? r : load_allowed(may_exec, may_drop);
}

#else

int eg_syscalls_restrict(bool may_exec, bool may_drop)
{
	return -ENOSYS;
}

#endif
