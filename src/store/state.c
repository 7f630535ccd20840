/* SPDX-License-Identifier: Apache-2.0 */
/* See state.h. */
#include "store/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "core/diag.h"

#define PID_TEXT_MAX 24 /* what the lock file holds: a number and a newline */

/* A directory just made is as lasting as its name. Without the right to do so: later. */
static void sync_parent(int dir)
{
	eg_autoclose int parent = openat(dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (parent >= 0)
		(void)!fsync(parent);
}

int eg_state_open_dir(const char *path, bool make, struct eg_strbuf *why)
{
	eg_autoclose int fd = -1;
	bool made = make && mkdir(path, 0700) == 0;
	int err;

	if (make && !made && errno != EEXIST)
		return eg_io_why(why, -errno, "make the state directory", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		if (made)
			sync_parent(fd);
		return eg_take_fd(&fd);
	}
	err = -errno;
	if (err == -ENOENT && !make) {
		eg_strbuf_reset(why);
		eg_strbuf_printf(why,
				 "there is no state directory %s; `ergon agent` makes it, --state "
				 "names another one",
				 path);
		return err;
	}
	return eg_io_why(why, err, "open the state directory", path);
}

/* ---- the lock ---- */

static int busy(const struct eg_io *io, int fd, struct eg_strbuf *why)
{
	char text[PID_TEXT_MAX] = "";
	ssize_t n = eg_io_read_full(io, fd, text, sizeof(text) - 1, 0);
	size_t digits = n > 0 ? strspn(text, "0123456789") : 0;

	if (!why)
		return -EBUSY;
	eg_strbuf_reset(why);
	eg_strbuf_puts(why, "another agent ");
	if (digits)
		eg_strbuf_printf(why, "(process %.*s) ", (int)digits, text);
	eg_strbuf_puts(why,
		       "uses this state directory; stop it, or name another place with --state");
	return -EBUSY;
}

/* Ours holds a number of a process or nothing; anything else is somebody's file. */
static int check_lock_content(const struct eg_io *io, int fd)
{
	char text[PID_TEXT_MAX + 1];
	ssize_t n = eg_io_read_full(io, fd, text, sizeof(text), 0);
	size_t digits;

	if (n < 0)
		return (int)n;
	if ((size_t)n == sizeof(text))
		return -EPROTO;
	text[n] = '\0';
	digits = strspn(text, "0123456789");
	return digits == (size_t)n || (digits + 1 == (size_t)n && text[digits] == '\n') ? 0 :
											  -EPROTO;
}

static int open_lock(const struct eg_io *io, int dir)
{
	int fd = eg_io_open(io, dir, EG_STORE_LOCK, O_RDWR);

	if (fd == -ENOENT)
		fd = eg_io_create(io, dir, EG_STORE_LOCK, O_RDWR);
	return fd == -EEXIST ? eg_io_open(io, dir, EG_STORE_LOCK, O_RDWR) : fd;
}

int eg_state_lock(const struct eg_io *io, int dir, struct eg_strbuf *why)
{
	char text[PID_TEXT_MAX];
	int r, n;

	for (int tries = 0; tries < 3; tries++) {
		eg_autoclose int fd = open_lock(io, dir);

		if (fd < 0)
			return eg_io_why(why, fd, "open", EG_STORE_LOCK);
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return errno == EWOULDBLOCK ? busy(io, fd, why) :
						      eg_io_why(why, -errno, "lock", EG_STORE_LOCK);
		if (!eg_io_is_named(fd, dir, EG_STORE_LOCK)) /* removed meanwhile: not the lock */
			continue;
		/* The directory too: its lock cannot be swept away. Where a file system has no locks
		 * of directories the file's alone holds. */
		if (flock(dir, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
			return busy(io, fd, why);
		r = check_lock_content(io, fd);
		if (r < 0)
			return eg_io_why(why, r, "read", EG_STORE_LOCK);
		/* For people; the lock holds without it, on a full disk too. */
		n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
		if (io->ops->ftruncate(io->ctx, fd, 0) < 0 ||
		    eg_io_write_all(io, fd, text, (size_t)n, 0) < 0)
			(void)!io->ops->ftruncate(io->ctx, fd, 0);
		return eg_take_fd(&fd);
	}
	return eg_io_why(why, -EAGAIN, "lock", EG_STORE_LOCK);
}

/* ---- reading ---- */

int eg_state_other_version(struct eg_strbuf *why, const char *name, uint32_t version)
{
	if (!why)
		return -EPROTO;
	eg_strbuf_reset(why);
	eg_strbuf_printf(why,
			 "%s is of format version %u, which this Ergon does not know; it stays as "
			 "it is: use the Ergon that wrote it, or name another place with --state",
			 name, version);
	return -EPROTO;
}

static int read_log(const struct eg_io *io, int dir, int flags, struct eg_state *s,
		    struct eg_strbuf *why)
{
	struct eg_replay replay = {.book = &s->book};
	int fd = eg_io_open(io, dir, EG_STORE_LOG, flags), r;

	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return eg_io_why(why, fd, "open", EG_STORE_LOG);
	s->log_fd = fd;
	r = eg_log_read(io, fd, eg_replay_record, &replay, &s->log);
	if (r == -EPROTO && s->log.version)
		return eg_state_other_version(why, EG_STORE_LOG, s->log.version);
	if (r < 0)
		return eg_io_why(why, r, "read", EG_STORE_LOG);
	if (replay.history.error == -ENOSPC) {
		eg_strbuf_reset(why);
		eg_strbuf_printf(why,
				 EG_STORE_LOG " holds more than %d accounts, more than one agent "
					      "keeps; move it away, `ergon ledger export` reads it",
				 EG_ACCOUNTS_MAX);
		return -ENOSPC;
	}
	if (replay.history.error < 0)
		return eg_io_why(why, replay.history.error, "read", EG_STORE_LOG);
	s->history = replay.history;
	s->have_log = !s->log.empty;
	for (size_t i = 0; i < s->book.n; i++) {
		struct eg_entry *e = &s->book.entry[i];

		/* Its newest name is damaged: an older one must not stand for it. */
		if (e->in_log && e->log_feed != eg_feed_hash(e->feed)) {
			e->feed[0] = '\0';
			e->texts = 0;
		}
		e->now = e->log;
	}
	return 0;
}

static int lay_over(struct eg_state *s, const uint8_t *data, bool newer)
{
	char name[EG_STORE_KEY_TEXT_MAX], feed[EG_STORE_FEED_MAX];

	for (size_t i = 0; i < s->checkpoint.slot.n; i++) {
		struct eg_numbers n;
		struct eg_entry *e;
		int r;

		eg_checkpoint_entry(data, &s->checkpoint, i, name, feed, &n);
		if (!name[0])
			continue; /* none is written without */
		r = eg_book_add(&s->book, eg_fnv1a(name, strlen(name)), &e);
		if (r < 0)
			return r;
		(void)eg_copy(e->name, sizeof(e->name), name);
		e->in_checkpoint = true;
		if (!e->in_log)
			e->now = n;
		else
			e->now = newer ? eg_numbers_merge(&n, &e->log) :
					 eg_numbers_merge(&e->log, &n);
		/* The name of what feeds it goes with the reading that it stands on. */
		if (!e->in_log || eg_standing_same(&e->now.last, &n.last)) {
			if (strcmp(e->feed, feed) != 0)
				e->texts = 0;
			(void)eg_copy(e->feed, sizeof(e->feed), feed);
		}
	}
	return 0;
}

static int read_checkpoint(const struct eg_io *io, int dir, struct eg_state *s,
			   struct eg_strbuf *why)
{
	eg_autofree uint8_t *data = NULL;
	int r = eg_checkpoint_read(io, dir, &data, &s->checkpoint);

	if (r == -ENOENT)
		return 0;
	if (r == -EPROTO && s->checkpoint.version)
		return eg_state_other_version(why, EG_STORE_CHECKPOINT, s->checkpoint.version);
	if (r < 0)
		return eg_io_why(why, r, "read", EG_STORE_CHECKPOINT);
	s->have_checkpoint = !s->checkpoint.empty;
	if (!s->checkpoint.whole)
		return 0;
	r = lay_over(s, data, s->checkpoint.slot.session >= s->history.session);
	return r < 0 ? eg_io_why(why, r, "take the accounts of", EG_STORE_CHECKPOINT) : 0;
}

/* Which of the two is the newer state, and did it end in order? */
static void judge(struct eg_state *s)
{
	const struct eg_checkpoint_slot *c = &s->checkpoint.slot;
	bool slot = s->checkpoint.whole > 0;

	s->session = EG_MAX(s->history.session, slot ? c->session : 0);
	s->boot = s->history.boot;
	s->last_unix_ns = s->history.last_unix_ns;
	s->clean = s->history.stopped && s->history.session == s->session;
	if (!slot || c->session != s->session)
		return;
	s->boot = c->boot;
	s->clean |= c->clean;
	s->last_unix_ns = s->history.session == s->session ?
				  EG_MAX(c->unix_ns, s->history.last_unix_ns) :
				  c->unix_ns;
}

int eg_state_read(const struct eg_io *io, int dir, int log_flags, struct eg_state *ret,
		  struct eg_strbuf *why)
{
	struct eg_state s = {.log_fd = -1};
	int r = eg_book_init(&s.book, EG_ACCOUNTS_MAX);

	if (r < 0)
		return eg_io_why(why, r, "read", EG_STORE_LOG);
	r = read_log(io, dir, log_flags, &s, why);
	if (r == 0)
		r = read_checkpoint(io, dir, &s, why);
	if (r < 0) {
		eg_state_free(&s);
		return r;
	}
	judge(&s);
	*ret = s;
	return 0;
}

void eg_state_free(struct eg_state *s)
{
	eg_book_free(&s->book);
	if (s->log_fd >= 0)
		close(eg_take_fd(&s->log_fd));
}

static int find_log(int dir, const char *path, struct eg_strbuf *why)
{
	struct stat st;
	int err;

	if (fstatat(dir, EG_STORE_LOG, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	err = -errno;
	if (err != -ENOENT)
		return eg_io_why(why, err, "look at", EG_STORE_LOG);
	eg_strbuf_reset(why);
	eg_strbuf_printf(why, "there is no " EG_STORE_LOG " in %s; --state names another place",
			 path);
	return err;
}

int eg_state_compact(const char *path, uint64_t *ret_before, uint64_t *ret_after,
		     struct eg_strbuf *why)
{
	const struct eg_io io = {.ops = &eg_io_kernel_ops};
	eg_autoclose int dir = eg_state_open_dir(path, false, why);
	eg_autoclose int lock = -1;
	struct eg_record mark = {0};
	struct eg_state s;
	struct eg_log l;
	int r;

	if (dir < 0)
		return dir;
	r = find_log(dir, path, why); /* nothing is made in a directory that is not ours */
	if (r < 0)
		return r;
	lock = eg_state_lock(&io, dir, why);
	if (lock < 0)
		return lock;
	r = eg_state_read(&io, dir, O_RDWR, &s, why);
	if (r < 0)
		return r;
	if (s.history.session)
		mark = (struct eg_record){.type = s.history.stopped ? EG_RECORD_STOP :
								      EG_RECORD_START,
					  .session = s.history.session,
					  .unix_ns = s.history.last_unix_ns,
					  .n.boot = s.history.boot};
	r = eg_log_init(&l, &io, dir, eg_take_fd(&s.log_fd), s.log.end, s.log.records);
	if (r == 0)
		r = eg_log_rewrite(&l, &s.book, &mark, s.history.last_unix_ns);
	if (r == 0 && l.dir_unsynced)
		r = -EIO;
	if (r < 0)
		eg_io_why(why, r, "write anew", EG_STORE_LOG);
	if (ret_before)
		*ret_before = s.log.bytes;
	if (ret_after)
		*ret_after = l.good;
	eg_log_free(&l);
	eg_state_free(&s);
	return r;
}
