/* SPDX-License-Identifier: Apache-2.0 */
/* See mount.h. The tree on disk is kept by machine.c; this passes it on, late, broken or not. */
#include "sim/mount.h"

#include <errno.h>

#ifdef EG_HAVE_FUSE

#define FUSE_USE_VERSION 31
#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <fuse.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct eg_sim_mount {
	struct eg_sim *sim;
	const struct eg_sim_run *run;
	int dirfd;
	struct fuse *fuse;
	bool mounted, threaded;
	pthread_t thread;
	pthread_mutex_t lock; /* around sim */
	atomic_bool ending;
	struct eg_fault fault[EG_FAULTS_MAX];
	size_t n_faults;
};

bool eg_sim_mount_built(void)
{
	return true;
}

static struct eg_sim_mount *self(void)
{
	return fuse_get_context()->private_data;
}

/* Path below the tree's own folder. */
static const char *below(const char *path)
{
	return path[1] ? path + 1 : ".";
}

static uint64_t now_ns(const struct eg_sim_mount *m)
{
	uint64_t now = eg_sim_run_now_ns(m->run), end = m->run->t0_ns + m->run->duration_ns;

	return m->run->duration_ns ? EG_MIN(now, end) : now;
}

/* Brings the tree to this moment; under the lock. */
static int catch_up(struct eg_sim_mount *m)
{
	return eg_sim_advance(m->sim, now_ns(m));
}

static const struct eg_fault *fault_at(const struct eg_sim_mount *m, const char *path, unsigned on,
				       uint64_t t_ns)
{
	for (size_t i = 0; i < m->n_faults; i++) {
		const struct eg_fault *f = &m->fault[i];

		if ((f->on & on) && t_ns >= f->from_ns && (!f->to_ns || t_ns < f->to_ns) &&
		    strcmp(f->pattern, path) == 0)
			return f;
	}
	return NULL;
}

/* 0, or the error that this call must answer with; a hang is waited for here. */
static int suffer(struct eg_sim_mount *m, const char *path, unsigned on)
{
	static const struct timespec step = {.tv_nsec = 5000000};
	const struct eg_fault *f;

	while ((f = fault_at(m, below(path), on, now_ns(m)))) {
		if (f->kind == EG_FAULT_ERROR)
			return -f->error;
		if (atomic_load(&m->ending))
			return -EIO;
		nanosleep(&step, NULL);
	}
	return 0;
}

static int op_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	struct eg_sim_mount *m = self();
	int r;

	pthread_mutex_lock(&m->lock);
	r = catch_up(m);
	if (r == 0 && fstatat(m->dirfd, below(path), st, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	pthread_mutex_unlock(&m->lock);
	return r;
}

static int op_readlink(const char *path, char *buf, size_t n)
{
	ssize_t len = readlinkat(self()->dirfd, below(path), buf, n - 1);

	if (len < 0)
		return -errno;
	buf[len] = '\0';
	return 0;
}

static int op_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t off,
		      struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
	struct eg_sim_mount *m = self();
	struct dirent *e;
	DIR *dir;
	int fd, r;

	pthread_mutex_lock(&m->lock);
	r = catch_up(m);
	fd = openat(m->dirfd, below(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir && r == 0)
		r = -errno;
	while (dir && (e = readdir(dir)))
		if (fill(buf, e->d_name, NULL, 0, 0))
			break;
	if (dir)
		closedir(dir);
	else if (fd >= 0)
		close(fd);
	pthread_mutex_unlock(&m->lock);
	return r;
}

static int op_open(const char *path, struct fuse_file_info *fi)
{
	struct eg_sim_mount *m = self();
	int fd, r;

	if ((fi->flags & O_ACCMODE) != O_RDONLY)
		return -EACCES;
	r = suffer(m, path, EG_FAULT_OPEN);
	if (r < 0)
		return r;
	pthread_mutex_lock(&m->lock);
	r = catch_up(m);
	fd = openat(m->dirfd, below(path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && r == 0)
		r = -errno;
	pthread_mutex_unlock(&m->lock);
	if (r < 0) {
		if (fd >= 0)
			close(fd);
		return r;
	}
	fi->fh = (uint64_t)fd;
	fi->direct_io = 1;
	return 0;
}

static int op_read(const char *path, char *buf, size_t n, off_t off, struct fuse_file_info *fi)
{
	struct eg_sim_mount *m = self();
	struct stat st;
	ssize_t len = 0;
	int r = suffer(m, path, EG_FAULT_READ);

	if (r < 0)
		return r;
	pthread_mutex_lock(&m->lock);
	/* A text read in pieces comes from one moment: the first. */
	if (off == 0)
		r = catch_up(m);
	if (r == 0 && fstat((int)fi->fh, &st) == 0 && st.st_nlink == 0)
		r = -ENODEV; /* as sysfs answers for a device that has gone */
	if (r == 0) {
		len = pread((int)fi->fh, buf, n, off);
		if (len < 0)
			r = -errno;
	}
	pthread_mutex_unlock(&m->lock);
	return r < 0 ? r : (int)len;
}

static int op_release(const char *path, struct fuse_file_info *fi)
{
	close((int)fi->fh);
	return 0;
}

static void *op_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
	cfg->attr_timeout = cfg->entry_timeout = cfg->negative_timeout = 0;
	/* A device that has gone answers ENODEV through the descriptor, whatever its name does. */
	cfg->nullpath_ok = 0;
	return self();
}

static const struct fuse_operations operations = {
	.init = op_init,
	.getattr = op_getattr,
	.readlink = op_readlink,
	.readdir = op_readdir,
	.open = op_open,
	.read = op_read,
	.release = op_release,
};

static void *serve(void *ctx)
{
	struct eg_sim_mount *m = ctx;

	fuse_loop_mt(m->fuse, 0);
	return NULL;
}

int eg_sim_mount_open(struct eg_sim *sim, int dirfd, const char *dir, const struct eg_sim_run *run,
		      struct eg_sim_mount **ret)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct eg_sim_mount *m = calloc(1, sizeof(*m));
	int r = -ENOMEM;

	if (!m)
		return -ENOMEM;
	*m = (struct eg_sim_mount){.sim = sim, .run = run, .dirfd = dirfd};
	pthread_mutex_init(&m->lock, NULL);
	m->n_faults = EG_MIN(eg_sim_faults(sim, m->fault, EG_FAULTS_MAX), EG_FAULTS_MAX);
	if (fuse_opt_add_arg(&args, "ergon-sim") == 0 &&
	    fuse_opt_add_arg(&args, geteuid() == 0 ? "-oro,default_permissions,allow_other" :
						     "-oro,default_permissions") == 0)
		m->fuse = fuse_new(&args, &operations, sizeof(operations), m);
	fuse_opt_free_args(&args);
	if (m->fuse) {
		r = fuse_mount(m->fuse, dir) < 0 ? -EPERM : 0;
		m->mounted = r == 0;
	}
	if (r == 0) {
		r = -pthread_create(&m->thread, NULL, serve, m);
		m->threaded = r == 0;
	}
	if (r < 0) {
		eg_sim_mount_close(m);
		return r;
	}
	*ret = m;
	return 0;
}

/* Values are made when they are read; this only keeps events and their files on time. */
int eg_sim_mount_run(struct eg_sim_mount *m)
{
	const struct eg_sim_run *run = m->run;

	for (;;) {
		struct pollfd p = {.fd = run->stop_fd, .events = POLLIN};
		uint64_t now = now_ns(m);
		int r;

		pthread_mutex_lock(&m->lock);
		r = catch_up(m);
		pthread_mutex_unlock(&m->lock);
		if (r < 0 || (run->duration_ns && now == run->t0_ns + run->duration_ns))
			return r;
		if (poll(&p, 1, 20) > 0)
			return 0;
	}
}

void eg_sim_mount_close(struct eg_sim_mount *m)
{
	if (!m)
		return;
	atomic_store(&m->ending, true);
	if (m->fuse) {
		fuse_exit(m->fuse);
		if (m->mounted)
			fuse_unmount(m->fuse);
		if (m->threaded)
			pthread_join(m->thread, NULL);
		fuse_destroy(m->fuse);
	}
	pthread_mutex_destroy(&m->lock);
	free(m);
}

#else

bool eg_sim_mount_built(void)
{
	return false;
}

int eg_sim_mount_open(struct eg_sim *sim, int dirfd, const char *dir, const struct eg_sim_run *run,
		      struct eg_sim_mount **ret)
{
	return -ENOTSUP;
}

int eg_sim_mount_run(struct eg_sim_mount *m)
{
	return -ENOTSUP;
}

void eg_sim_mount_close(struct eg_sim_mount *m)
{
}

#endif
