/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer of the energy page (see page.h; the layout is in base/page.h). A page is one file for one
 * agent: it is made whole beside its place and renamed there, so a reader maps all of it or another
 * one, and what an older agent left half written is never continued. Its memory is allocated before
 * anybody sees it, so that a full file system cannot end the agent (SIGBUS) at a later store.
 */
#include "agent/page.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/page.h"

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

/* The numbers of these words are part of the layout. */
_Static_assert(EG_STATUS_OK == 0 && EG_STATUS_NO_DATA == 1 && EG_STATUS_STALE == 2 &&
		       EG_STATUS_DENIED == 3 && EG_STATUS_ERROR == 4 && EG_STATUS_RESET == 5 &&
		       EG_STATUS_COUNT == 6,
	       "docs/energy-page.md and older readers know these");
_Static_assert(EG_ACCOUNTS_MAX <= EG_PAGE_ACCOUNTS_MAX, "every ledger fits");

struct eg_page_writer {
	char *path;
	uint8_t *base;
	int fd; /* holds the lock that says that the page is written; -1 none */
	size_t size, n;
	struct eg_page_header *header; /* at base */
	struct eg_page_line *line;     /* inside */
	dev_t dev;
	ino_t ino;
};

static int fail(struct eg_strbuf *why, const char *path, const char *what, int error)
{
	eg_strbuf_printf(why, "energy page %s: %s: %s", path, what, eg_errno_text(error));
	return error;
}

/* A lock of the process: readers, who cannot write, can neither take it nor stand in its way. */
static struct flock whole(short type)
{
	return (struct flock){.l_type = type, .l_whence = SEEK_SET};
}

/* Who writes the page now; 0: nobody. */
static pid_t writer_of(int fd)
{
	struct flock lock = whole(F_RDLCK);

	return fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? EG_MAX(lock.l_pid, 1) : 0;
}

/* The page that is there, left by an agent that was killed; *ret_fd stays -1 where there is none. */
static int open_old(const char *path, int *ret_fd, uint64_t *ret_generation, struct eg_strbuf *why)
{
	const int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	eg_autoclose int fd = open(path, O_RDWR | flags);
	struct eg_page_header h;
	struct stat st;
	ssize_t n;

	if (fd < 0 && errno == EACCES) /* of another user: enough to know what it is */
		fd = open(path, O_RDONLY | flags);
	if (fd < 0)
		return errno == ENOENT ? 0 : fail(why, path, "open", -errno);
	n = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? pread(fd, &h, sizeof(h), 0) : 0;
	if (n < (ssize_t)sizeof(h) || le64toh(h.magic) != EG_PAGE_MAGIC) {
		eg_strbuf_printf(why, "%s is no energy page: move it away, or choose another path",
				 path);
		return -EEXIST;
	}
	if (writer_of(fd)) {
		eg_strbuf_printf(
			why,
			"another agent (process %ld) writes %s: stop it, or choose another "
			"path",
			(long)writer_of(fd), path);
		return -EBUSY;
	}
	*ret_generation = le64toh(h.generation);
	*ret_fd = eg_take_fd(&fd);
	return 0;
}

/* A file of the size, all of it allocated, with its rights. */
static int make_file(const char *path, size_t size, gid_t gid, struct eg_strbuf *why)
{
	eg_autoclose int fd = -1;
	int r;

	/* What an agent left that died in here. */
	if (unlink(path) < 0 && errno != ENOENT)
		return fail(why, path, "remove", -errno);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return fail(why, path, "create", -errno);
	do
		r = posix_fallocate(fd, 0, (off_t)size);
	while (r == EINTR);
	if (r)
		r = fail(why, path, "allocate", -r);
	else if (gid != (gid_t)-1 && fchown(fd, (uid_t)-1, gid) < 0)
		r = fail(why, path, "give to its group", -errno);
	else if (fchmod(fd, 0640) < 0) /* whatever the umask is */
		r = fail(why, path, "set its mode", -errno);
	if (r < 0) {
		(void)unlink(path);
		return r;
	}
	return eg_take_fd(&fd);
}

static void read_boot_id(char id[40])
{
	eg_autoclose int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, id, 36);

	id[n == 36 ? 36 : 0] = '\0';
}

static void fill_header(struct eg_page_header *h, const struct eg_view *v, size_t total_size,
			uint64_t interval_ns, uint64_t old_generation)
{
	size_t records = sizeof(*h),
	       lines = records + v->n_accounts * sizeof(struct eg_page_record);

	h->magic = htole64(EG_PAGE_MAGIC);
	h->version = htole32(EG_PAGE_VERSION);
	h->header_size = htole32(sizeof(*h));
	h->total_size = htole64(total_size);
	h->n_accounts = htole32((uint32_t)v->n_accounts);
	h->record_size = htole32(sizeof(struct eg_page_record));
	h->line_size = htole32(sizeof(struct eg_page_line));
	h->records_offset = htole64(records);
	h->lines_offset = htole64(lines);
	/* Rises also where the file of an agent that ended in order is gone. */
	h->generation = htole64(EG_MAX(old_generation + 1, v->unix_ns));
	h->pid = htole64((uint64_t)getpid());
	h->start_unix_ns = htole64(v->unix_ns);
	h->start_ns = htole64(v->t_ns);
	h->interval_ns = htole64(interval_ns);
	h->state = htole64(EG_PAGE_RUNNING);
	read_boot_id(h->boot_id);
}

static void fill_record(struct eg_page_record *r, const struct eg_view *v,
			const struct eg_view_account *va)
{
	const struct eg_view_channel *vc = va->channel >= 0 ? &v->channel[va->channel] : NULL;
	const struct eg_account *a = &va->a;
	uint32_t flags = va->held ? EG_PAGE_HELD : 0;

	if (vc && vc->role == EG_ROLE_TOTAL)
		flags |= EG_PAGE_COUNTED;
	(void)eg_copy(r->device, sizeof(r->device), a->device);
	(void)eg_copy(r->channel, sizeof(r->channel), vc ? vc->name : a->channel);
	(void)eg_copy(r->component, sizeof(r->component), eg_component_word(a->component));
	(void)eg_copy(r->provenance, sizeof(r->provenance), eg_provenance_word(a->provenance));
	if (vc || a->channel[0]) { /* else nothing ever fed it: source and boundary say nothing */
		(void)eg_copy(r->source, sizeof(r->source),
			      eg_source_word(vc ? vc->ch->source : a->source));
		(void)eg_copy(r->boundary, sizeof(r->boundary),
			      eg_boundary_word(vc ? vc->ch->boundary : a->boundary));
	}
	r->flags = htole32(flags);
	r->accuracy_ppm = htole32(vc && !va->held ? vc->ch->accuracy.rel_ppm : 0);
	r->accuracy_uw = htole64(vc && !va->held ? vc->ch->accuracy.abs_uw : 0);
}

static void fill(struct eg_page_writer *w, const struct eg_view *v, uint64_t interval_ns,
		 uint64_t old_generation)
{
	struct eg_page_record *record;

	w->header = (struct eg_page_header *)w->base;
	fill_header(w->header, v, w->size, interval_ns, old_generation);
	record = (struct eg_page_record *)(w->base + le64toh(w->header->records_offset));
	w->line = (struct eg_page_line *)(w->base + le64toh(w->header->lines_offset));
	w->n = v->n_accounts;
	for (size_t i = 0; i < w->n; i++)
		fill_record(&record[i], v, &v->account[i]);
	eg_page_write(w, v);
}

static struct eg_page_writer *writer_free(struct eg_page_writer *w)
{
	if (!w)
		return NULL;
	if (w->base)
		munmap(w->base, w->size);
	if (w->fd >= 0)
		close(w->fd);
	free(w->path);
	free(w);
	return NULL;
}

static void writer_freep(struct eg_page_writer **w)
{
	writer_free(*w);
}

static int map_file(struct eg_page_writer *w, int fd)
{
	struct flock lock = whole(F_WRLCK);
	struct stat st;
	void *at;

	if (fstat(fd, &st) < 0)
		return -errno;
	at = mmap(NULL, w->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	w->base = at;
	w->fd = fd;
	(void)fcntl(fd, F_SETLK, &lock); /* a file system without locks has none */
	w->dev = st.st_dev;
	w->ino = st.st_ino;
	return 0;
}

/*
 * Tells the readers of an older page to look for the new one. By a write, not by a store: the file is
 * another agent's, and may have been cut. Where it fails they find out by the age of the page.
 */
static void end_old(int fd)
{
	uint64_t ended = htole64(EG_PAGE_ENDED);
	ssize_t n = 0;

	if (fd >= 0)
		n = pwrite(fd, &ended, sizeof(ended), offsetof(struct eg_page_header, state));
	(void)n;
}

int eg_page_create(const char *path, gid_t gid, const struct eg_view *v, uint64_t interval_ns,
		   struct eg_page_writer **ret, struct eg_strbuf *why)
{
	EG_CLEANUP(writer_freep) struct eg_page_writer *w = calloc(1, sizeof(*w));
	eg_autofree char *beside = NULL;
	eg_autoclose int fd = -1, old = -1;
	uint64_t generation = 0;
	int r;

	if (w)
		w->fd = -1;
	if (!w || !(w->path = strdup(path)) || !(beside = malloc(strlen(path) + sizeof(".new"))))
		return fail(why, path, "create", -ENOMEM);
	(void)snprintf(beside, strlen(path) + sizeof(".new"), "%s.new", path);
	r = open_old(path, &old, &generation, why);
	if (r < 0)
		return r;
	w->size = sizeof(struct eg_page_header) +
		  v->n_accounts * (sizeof(struct eg_page_record) + sizeof(struct eg_page_line));
	fd = make_file(beside, w->size, gid, why);
	if (fd < 0)
		return fd;
	r = map_file(w, fd);
	if (r < 0) {
		fail(why, beside, "map", r);
	} else {
		eg_take_fd(&fd); /* the writer's */
		fill(w, v, interval_ns, generation);
		r = rename(beside, path) < 0 ? fail(why, path, "put in place", -errno) : 0;
	}
	if (r < 0) {
		(void)unlink(beside);
		return r;
	}
	end_old(old);
	*ret = eg_take_ptr(w);
	return 0;
}

static void take_values(const struct eg_view *v, const struct eg_view_account *va,
			struct eg_page_values *x)
{
	const struct eg_view_channel *vc = va->channel >= 0 ? &v->channel[va->channel] : NULL;

	*x = (struct eg_page_values){.uj = va->a.uj,
				     .gap_ns = va->a.gap_ns,
				     .created_unix_ns = va->a.created_unix_ns,
				     .status = EG_STATUS_NO_DATA,
				     .flags = va->shown ? EG_PAGE_HAS_TOTAL : 0};
	if (!vc)
		return;
	x->status = vc->status;
	x->t_ns = vc->t_ns;
	if (vc->t_ns) /* the same moment, told by the distance to the sample */
		x->unix_ns = v->unix_ns - (v->t_ns - vc->t_ns);
	/* Power belongs to the account that is read, not to the one of what was held. */
	if (vc->have_uw && !va->held) {
		x->uw = vc->uw;
		x->flags |= EG_PAGE_HAS_POWER;
	}
}

void eg_page_write(struct eg_page_writer *w, const struct eg_view *v)
{
	struct eg_page_tick *tick = &w->header->tick;

	eg_page_write_begin(&tick->seq);
	for (size_t i = 0; i < w->n && i < v->n_accounts; i++) {
		struct eg_page_values x;

		take_values(v, &v->account[i], &x);
		eg_page_line_put(&w->line[i], &x);
	}
	eg_page_put(&tick->t_ns, v->t_ns);
	eg_page_put(&tick->unix_ns, v->unix_ns);
	eg_page_put(&tick->ticks, eg_page_get(&tick->ticks) + 1);
	eg_page_write_end(&tick->seq);
}

struct eg_page_writer *eg_page_close(struct eg_page_writer *w)
{
	struct stat st;

	if (!w)
		return NULL;
	eg_page_put(&w->header->state, EG_PAGE_ENDED);
	/* Not the page of an agent that took our place. */
	if (lstat(w->path, &st) == 0 && st.st_dev == w->dev && st.st_ino == w->ino)
		(void)unlink(w->path);
	return writer_free(w);
}
