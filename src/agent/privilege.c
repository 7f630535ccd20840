/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See privilege.h. The order matters: what needs root (finding the user, giving the directories over,
 * opening them for Landlock) comes first; then every thread gives up its own rights; then the filter,
 * which the kernel puts on all threads at once; last, what /proc says of each thread is read, because
 * a drop that was only meant is none.
 */
#include "agent/privilege.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "agent/every_thread.h"
#include "agent/landlock.h"
#include "agent/syscalls.h"
#include "core/diag.h"

#define WRITABLE_MAX	16   /* directories */
#define GROUPS_MAX	256  /* supplementary groups of the user */
#define ENTRIES_MAX	4096 /* files of one directory that are made over */
#define NSS_BUFFER	(64u << 10)
#define THREADS_WAIT_NS EG_NSEC_PER_SEC

/* 32-bit systems have two generations of these. */
#ifdef SYS_setresuid32
#define SET_RESUID SYS_setresuid32
#define SET_RESGID SYS_setresgid32
#define SET_GROUPS SYS_setgroups32
#else
#define SET_RESUID SYS_setresuid
#define SET_RESGID SYS_setresgid
#define SET_GROUPS SYS_setgroups
#endif

struct target {
	bool change; /* to another user */
	bool join;   /* stay, in these groups */
	uid_t uid;
	gid_t gid;
	gid_t groups[GROUPS_MAX];
	int n_groups;
};

/* What each thread gives up. Static: a thread that hangs may do it much later. */
static struct rights {
	struct target target;
	int landlock_rules; /* -1: this kernel has none */
} rights;

static void note(struct eg_privilege_state *st, const char *fmt, ...) EG_PRINTF(2, 3);
static void note(struct eg_privilege_state *st, const char *fmt, ...)
{
	size_t len = strlen(st->note);
	va_list ap;

	if (len > 0 && len + 3 < sizeof(st->note))
		len += (size_t)snprintf(st->note + len, sizeof(st->note) - len, "; ");
	va_start(ap, fmt);
	(void)!vsnprintf(st->note + len, sizeof(st->note) - len, fmt, ap);
	va_end(ap);
}

/* ---- the user ---- */

static int find_user(const char *name, struct target *t, struct eg_strbuf *why)
{
	eg_autofree char *buf = malloc(NSS_BUFFER);
	struct passwd pw, *found = NULL;
	int r;

	if (buf == NULL)
		return -ENOMEM;
	r = getpwnam_r(name, &pw, buf, NSS_BUFFER, &found);
	if (found == NULL) {
		eg_strbuf_printf(why,
				 "there is no user \"%s\" (agent.user)%s%s: create it, or leave "
				 "agent.user empty",
				 name, r != 0 ? ": " : "", r != 0 ? eg_errno_text(r) : "");
		return r != 0 ? -r : -ENOENT;
	}
	t->uid = pw.pw_uid;
	t->gid = pw.pw_gid;
	t->change = t->uid != geteuid() || t->uid != getuid();
	if (!t->change)
		return 0;
	if (geteuid() != 0) {
		eg_strbuf_printf(
			why,
			"cannot change to user \"%s\" (agent.user) without being root: start "
			"the agent as root or as that user",
			name);
		return -EPERM;
	}
	t->n_groups = GROUPS_MAX;
	if (getgrouplist(name, t->gid, t->groups, &t->n_groups) < 0) {
		eg_strbuf_printf(why, "user \"%s\" is in more than %d groups", name, GROUPS_MAX);
		return -E2BIG;
	}
	return 0;
}

static void join_groups(const struct eg_privilege_config *cfg, struct target *t)
{
	int had = t->change ? t->n_groups : getgroups(GROUPS_MAX, t->groups);

	if (had < 0) /* more than we know of: they stay as they are */
		return;
	t->n_groups = had;
	for (size_t i = 0; i < cfg->n_join; i++) {
		bool is_in = cfg->join[i] == (gid_t)-1 || t->n_groups == GROUPS_MAX;

		for (int k = 0; k < t->n_groups; k++)
			is_in |= t->groups[k] == cfg->join[i];
		if (!is_in)
			t->groups[t->n_groups++] = cfg->join[i];
	}
	t->join = !t->change && t->n_groups > had;
}

/* ---- the directories ---- */

/*
 * One file of a directory that is root's alone meanwhile. A link is left alone, and so is a file with
 * a second name, which may be anybody's: who owned the directory before could have put it there.
 */
static int give_file(int dir, const char *name, const struct target *t)
{
	eg_autoclose int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!(S_ISREG(st.st_mode) && st.st_nlink == 1) && !S_ISSOCK(st.st_mode))
		return 0;
	if (st.st_uid == t->uid && st.st_gid == t->gid)
		return 0;
	/* A group that was chosen for the file (the page's, the socket's) stays. */
	return fchownat(fd, "", t->uid, st.st_gid == 0 ? t->gid : (gid_t)-1, AT_EMPTY_PATH) < 0 ?
		       -errno :
		       0;
}

static int give_files(int dir, const struct target *t)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	const struct dirent *e;
	unsigned n = 0;

	if (d == NULL) {
		r = -errno;
		if (copy >= 0)
			close(copy);
		return r;
	}
	while (r == 0 && (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		r = ++n > ENTRIES_MAX ? -E2BIG : give_file(dir, e->d_name, t);
	}
	closedir(d);
	return r;
}

/*
 * Makes a directory and its files over to the user. While its files are looked through it is root's
 * alone, so that nothing is swapped between look and change. A directory of somebody else, or that
 * others write to (/tmp), was named by mistake.
 */
static int give_directory(int dir, const char *path, const struct target *t, struct eg_strbuf *why)
{
	struct stat st;
	int r;

	if (fstat(dir, &st) < 0)
		return -errno;
	if ((st.st_uid != 0 && st.st_uid != t->uid) || (st.st_mode & 022)) {
		eg_strbuf_printf(
			why,
			"%s belongs to user id %u or can be written by others (mode %04o): name "
			"a directory of the agent's own",
			path, (unsigned)st.st_uid, (unsigned)(st.st_mode & 07777));
		return -EPERM;
	}
	r = fchown(dir, 0, (gid_t)-1) < 0 ? -errno : give_files(dir, t);
	if (r == 0 && fchown(dir, t->uid, st.st_gid == 0 ? t->gid : (gid_t)-1) < 0)
		r = -errno;
	if (r < 0)
		eg_strbuf_printf(why, "cannot make %s over to user id %u: %s", path,
				 (unsigned)t->uid, eg_errno_text(r));
	return r;
}

static int open_directory(const char *path, const struct target *t, int *ret_fd,
			  struct eg_strbuf *why)
{
	/* A link could have a directory made over that nobody named; else it is a name like another. */
	eg_autoclose int fd =
		open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (t->change ? O_NOFOLLOW : 0));
	int r;

	if (fd < 0) {
		r = -errno;
		eg_strbuf_printf(why, "cannot open the directory %s%s: %s", path,
				 t->change ? " (which must be no link)" : "", eg_errno_text(r));
		return r;
	}
	r = t->change ? give_directory(fd, path, t, why) : 0;
	if (r == 0)
		*ret_fd = eg_take_fd(&fd);
	return r;
}

/* The directories of the configuration, opened; what is opened before an error is the caller's too. */
static int open_directories(const struct eg_privilege_config *cfg, const struct target *t,
			    int *dirs, size_t *n_dirs, struct eg_strbuf *why)
{
	static const char *const none[] = {NULL};
	const char *const *also = cfg->also_writable != NULL ? cfg->also_writable : none;
	size_t n = 0;

	for (const char *const *p = cfg->writable; *p != NULL; p++) {
		int r = n < WRITABLE_MAX ? open_directory(*p, t, &dirs[n], why) : -E2BIG;

		if (r < 0)
			return r;
		*n_dirs = ++n;
	}
	for (const char *const *p = also; *p != NULL && n < WRITABLE_MAX; p++) {
		dirs[n] = open(*p, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (dirs[n] >= 0)
			*n_dirs = ++n;
	}
	return 0;
}

/* ---- each thread ---- */

static int drop_capabilities(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}},
				      have[_LINUX_CAPABILITY_U32S_3];
	int r = syscall(SYS_capset, &head, none) < 0 ? -errno : 0;

	/* A service manager's filter may refuse the call to who has nothing to give up. */
	if (r < 0 && syscall(SYS_capget, &head, have) == 0 && memcmp(have, none, sizeof(none)) == 0)
		r = 0;
	return r;
}

/* In a signal handler of every thread: system calls only. */
static int drop_here(void *arg)
{
	const struct rights *gone = arg;
	const struct target *t = &gone->target;
	int r;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	/* These two want CAP_SETPCAP; without it there was nothing to regain by an exec either. */
	for (int cap = 0; prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0;)
		cap++;
	(void)!prctl(PR_SET_SECUREBITS,
		     SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
			     SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED,
		     0, 0, 0);
	if (t->change && (syscall(SET_GROUPS, t->n_groups, t->groups) < 0 ||
			  syscall(SET_RESGID, t->gid, t->gid, t->gid) < 0 ||
			  syscall(SET_RESUID, t->uid, t->uid, t->uid) < 0))
		return -errno;
	if (t->join) /* who may not is no worse off than before */
		(void)!syscall(SET_GROUPS, t->n_groups, t->groups);
	(void)!prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	r = drop_capabilities();
	if (r == 0 && gone->landlock_rules >= 0)
		r = eg_landlock_restrict(gone->landlock_rules);
	return r;
}

/* ---- what /proc says ---- */

struct seen {
	bool caps_empty, no_new_privs, user, filter;
	uid_t uid;
};

/* The hexadecimal or decimal word after a name of /proc/PID/status; "" if it is not there. */
static const char *status_word(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at != NULL ? at + strlen(name) : "";
}

static int look(pid_t tid, void *arg)
{
	static const char *const sets[] = {"\nCapInh:\t", "\nCapPrm:\t", "\nCapEff:\t"};
	struct seen *seen = arg;
	char path[64], text[8192], want[64];
	eg_autoclose int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", (int)tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	if (n <= 0)
		return fd >= 0 || errno == ENOENT || errno == ESRCH ? 0 : -errno;
	text[n] = '\0';
	for (size_t i = 0; i < EG_ARRAY_SIZE(sets); i++)
		if (strncmp(status_word(text, sets[i]), "0000000000000000\n", 17) != 0)
			seen->caps_empty = false;
	seen->no_new_privs &= status_word(text, "\nNoNewPrivs:\t")[0] == '1';
	seen->filter &= status_word(text, "\nSeccomp:\t")[0] == '2';
	snprintf(want, sizeof(want), "%u\t%u\t%u\t%u\n", seen->uid, seen->uid, seen->uid,
		 seen->uid);
	seen->user &= strncmp(status_word(text, "\nUid:\t"), want, strlen(want)) == 0;
	return 0;
}

/* ---- all of it ---- */

/* What needs root. */
static int prepare(const struct eg_privilege_config *cfg, struct eg_privilege_state *st,
		   struct eg_strbuf *why)
{
	int dirs[WRITABLE_MAX];
	size_t n_dirs = 0;
	int r = 0;

	rights.target.change = rights.target.join = false;
	rights.target.uid = geteuid();
	rights.landlock_rules = -1;
	if (cfg->user[0] != '\0')
		r = find_user(cfg->user, &rights.target, why);
	if (r == 0) {
		join_groups(cfg, &rights.target);
		r = open_directories(cfg, &rights.target, dirs, &n_dirs, why);
	}
	if (r == 0) {
		r = eg_landlock_rules(dirs, n_dirs, !cfg->may_exec, &rights.landlock_rules);
		if (r < 0)
			note(st,
			     "no Landlock (%s): other files are kept from the agent by their "
			     "modes alone",
			     eg_errno_text(r));
		r = 0;
	}
	while (n_dirs > 0)
		close(dirs[--n_dirs]);
	return r;
}

/* Every thread, and then the proof. A thread that hangs in a driver drops when it comes back. */
static int drop_all(struct eg_privilege_state *st, unsigned *ret_late, struct eg_strbuf *why)
{
	struct seen seen = {.caps_empty = true,
			    .no_new_privs = true,
			    .user = true,
			    .filter = true,
			    .uid = rights.target.uid};
	unsigned late = 0;
	int r = eg_every_thread(drop_here, &rights, THREADS_WAIT_NS, &late);

	if (r == -ETIMEDOUT) {
		note(st, "%u threads hang in the kernel and drop their rights when they come back",
		     late);
	} else if (r < 0) {
		eg_strbuf_printf(why, "cannot give up rights in every thread: %s",
				 eg_errno_text(r));
		return r;
	}
	r = eg_threads_walk(look, &seen);
	if (r < 0) {
		eg_strbuf_printf(why, "cannot see in /proc/self/task whether rights are gone: %s",
				 eg_errno_text(r));
		return r;
	}
	st->dropped_caps = seen.caps_empty;
	st->no_new_privs = seen.no_new_privs;
	st->changed_user = rights.target.change && seen.user;
	st->landlock = rights.landlock_rules >= 0 && late == 0;
	if (late == 0 && !(seen.caps_empty && seen.no_new_privs && seen.user)) {
		eg_strbuf_puts(why, "rights are not gone although the kernel said so");
		return -EPERM;
	}
	*ret_late = late;
	return 0;
}

static void filter(bool may_exec, bool may_drop, struct eg_privilege_state *st)
{
	struct seen seen = {.filter = true};
	int r = eg_syscalls_restrict(may_exec, may_drop);

	if (r == -ENOSYS)
		note(st, "no filter of system calls: libseccomp is not in this build");
	else if (r < 0)
		note(st, "no filter of system calls: %s", eg_errno_text(r));
	else
		st->seccomp = eg_threads_walk(look, &seen) == 0 && seen.filter;
}

int eg_privilege_drop(const struct eg_privilege_config *cfg, struct eg_privilege_state *ret,
		      struct eg_strbuf *why)
{
	struct eg_privilege_state st = {0};
	unsigned late = 0;
	int r = prepare(cfg, &st, why);

	if (r < 0)
		return r;
	r = drop_all(&st, &late, why);
	if (rights.landlock_rules >= 0 && late == 0) {
		close(rights.landlock_rules); /* else a late thread needs it */
		rights.landlock_rules = -1;
	}
	if (r < 0)
		return r;
	/* No core file and no debugger of the same user: keys of TLS are in memory. */
	(void)!prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (cfg->seccomp)
		filter(cfg->may_exec, late > 0, &st);
	*ret = st;
	return 0;
}
