/* SPDX-License-Identifier: Apache-2.0 */
/* See checkpoint.h. */
#include "store/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "store/bytes.h"
#include "store/crc32c.h"
#include "store/sigbus.h"

/* Of the file's header; its CRC covers what comes before it. */
enum { FILE_VERSION = 8, FILE_ENTRY = 12, FILE_CAPACITY = 16, FILE_SLOT = 24, FILE_UNIX = 32 };
enum { FILE_CRC = 252, FILE_HEADER_USED = 256 };
/* Of a slot; its CRC covers the rest of the slot's header and the entries. */
enum { AT_CRC = 0, AT_ENTRY = 4, AT_COUNT = 8, AT_SEQUENCE = 16, AT_SESSION = 24, AT_TIME = 32 };
enum { AT_UNIX = 40, AT_BOOT = 48, AT_FLAGS = 64, FLAG_CLEAN = 1 };
/* Of an entry. */
enum { ENTRY_NAME = 128, ENTRY_FEED = 256 };
enum { PAGE = 4096, TRIES = 10, TRY_PAUSE_NS = 2000000 };

_Static_assert(EG_NUMBERS_BYTES <= ENTRY_NAME, "");
_Static_assert(ENTRY_NAME + EG_STORE_KEY_TEXT_MAX <= ENTRY_FEED, "");
_Static_assert(ENTRY_FEED + EG_STORE_FEED_MAX <= EG_CHECKPOINT_ENTRY, "");

uint64_t eg_checkpoint_slot_bytes(size_t capacity)
{
	uint64_t n = EG_CHECKPOINT_SLOT_HEADER + (uint64_t)capacity * EG_CHECKPOINT_ENTRY;

	return (n + PAGE - 1) / PAGE * PAGE;
}

static uint64_t file_bytes(size_t capacity)
{
	return EG_CHECKPOINT_HEADER + 2 * eg_checkpoint_slot_bytes(capacity);
}

/* ---- reading ---- */

enum header { GOOD, OTHER_VERSION, DAMAGED, FOREIGN };

static enum header decode_header(const uint8_t *data, size_t n, struct eg_checkpoint_found *f)
{
	if (n < 8 || memcmp(data, EG_CHECKPOINT_MAGIC, 8) != 0)
		return FOREIGN;
	if (n < FILE_HEADER_USED || eg_get_u32(data + FILE_CRC) != eg_crc32c(0, data, FILE_CRC))
		return DAMAGED;
	f->version = eg_get_u32(data + FILE_VERSION);
	f->capacity = eg_get_u64(data + FILE_CAPACITY);
	f->slot_bytes = eg_get_u64(data + FILE_SLOT);
	return f->version == EG_CHECKPOINT_VERSION &&
			       eg_get_u32(data + FILE_ENTRY) == EG_CHECKPOINT_ENTRY &&
			       f->capacity <= EG_ACCOUNTS_MAX &&
			       f->slot_bytes == eg_checkpoint_slot_bytes(f->capacity) ?
		       GOOD :
		       OTHER_VERSION;
}

/* n: bytes of the file from the slot on. */
static bool slot_is_whole(const uint8_t *slot, uint64_t n, uint64_t slot_bytes,
			  struct eg_checkpoint_slot *ret)
{
	uint64_t count;

	n = EG_MIN(n, slot_bytes);
	if (n < EG_CHECKPOINT_SLOT_HEADER || !eg_get_u64(slot + AT_SEQUENCE) ||
	    eg_get_u32(slot + AT_ENTRY) != EG_CHECKPOINT_ENTRY)
		return false;
	count = eg_get_u64(slot + AT_COUNT);
	if (count > (n - EG_CHECKPOINT_SLOT_HEADER) / EG_CHECKPOINT_ENTRY ||
	    eg_get_u32(slot) !=
		    eg_crc32c(0, slot + AT_ENTRY,
			      EG_CHECKPOINT_SLOT_HEADER - AT_ENTRY + count * EG_CHECKPOINT_ENTRY))
		return false;
	*ret = (struct eg_checkpoint_slot){
		.sequence = eg_get_u64(slot + AT_SEQUENCE),
		.session = eg_get_u64(slot + AT_SESSION),
		.t_ns = eg_get_u64(slot + AT_TIME),
		.unix_ns = eg_get_u64(slot + AT_UNIX),
		.clean = (eg_get_u64(slot + AT_FLAGS) & FLAG_CLEAN) != 0,
		.n = count,
	};
	memcpy(ret->boot.id, slot + AT_BOOT, EG_BOOT_BYTES);
	return true;
}

int eg_checkpoint_decode(const uint8_t *data, size_t n, struct eg_checkpoint_found *ret)
{
	struct eg_checkpoint_found f = {0};
	struct eg_checkpoint_slot slot;
	enum header header;

	if (n == 0) {
		*ret = (struct eg_checkpoint_found){.empty = true};
		return 0;
	}
	header = decode_header(data, n, &f);
	*ret = (struct eg_checkpoint_found){.version = f.version};
	if (header == OTHER_VERSION)
		return -EPROTO;
	f.header_damaged = header != GOOD;
	if (f.header_damaged) /* the size of the file tells the slots too */
		f.slot_bytes = n > EG_CHECKPOINT_HEADER ? (n - EG_CHECKPOINT_HEADER) / 2 : 0;
	for (unsigned i = 0; i < 2; i++) {
		uint64_t at = EG_CHECKPOINT_HEADER + i * f.slot_bytes;

		if (at >= n || n - at < EG_CHECKPOINT_SLOT_HEADER)
			continue;
		if (!slot_is_whole(data + at, n - at, f.slot_bytes, &slot)) {
			f.damaged_slots += eg_get_u64(data + at + AT_SEQUENCE) != 0;
			continue;
		}
		if (!f.whole || slot.sequence > f.slot.sequence) {
			f.slot = slot;
			f.which = i;
		}
		f.whole++;
	}
	if (header == FOREIGN && !f.whole)
		return -EPROTO;
	f.damaged = !f.whole;
	*ret = f;
	return 0;
}

void eg_checkpoint_entry(const uint8_t *data, const struct eg_checkpoint_found *f, size_t i,
			 char name[EG_STORE_KEY_TEXT_MAX], char feed[EG_STORE_FEED_MAX],
			 struct eg_numbers *ret)
{
	const uint8_t *e = data + EG_CHECKPOINT_HEADER + f->which * f->slot_bytes +
			   EG_CHECKPOINT_SLOT_HEADER + i * EG_CHECKPOINT_ENTRY;

	memcpy(name, e + ENTRY_NAME, EG_STORE_KEY_TEXT_MAX);
	name[EG_STORE_KEY_TEXT_MAX - 1] = '\0';
	memcpy(feed, e + ENTRY_FEED, EG_STORE_FEED_MAX);
	feed[EG_STORE_FEED_MAX - 1] = '\0';
	eg_numbers_decode(e, ret);
}

static int read_once(const struct eg_io *io, int dir, uint8_t **ret_data,
		     struct eg_checkpoint_found *ret)
{
	eg_autoclose int fd = eg_io_open(io, dir, EG_STORE_CHECKPOINT, O_RDONLY);
	size_t max = file_bytes(EG_ACCOUNTS_MAX), cap;
	eg_autofree uint8_t *data = NULL;
	struct stat st;
	ssize_t n;
	int r;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	cap = EG_MIN(max, (size_t)st.st_size);
	data = malloc(cap + 1);
	if (!data)
		return -ENOMEM;
	n = eg_io_read_full(io, fd, data, cap, 0);
	if (n < 0)
		return (int)n;
	r = eg_checkpoint_decode(data, (size_t)n, ret);
	if (r == 0)
		*ret_data = eg_take_ptr(data);
	return r;
}

/*
 * A slot that is whole beside one that is not may be older than what was exported before we looked: the
 * writer may have gone past it between our reads of the two. If a second look finds the same, it had
 * not.
 */
static bool is_sure(const struct eg_checkpoint_found *f, const struct eg_checkpoint_found *last)
{
	return f->empty || f->whole == 2 ||
	       (f->whole == 1 && last && last->whole == 1 &&
		last->slot.sequence == f->slot.sequence);
}

int eg_checkpoint_read(const struct eg_io *io, int dir, uint8_t **ret_data,
		       struct eg_checkpoint_found *ret)
{
	const struct timespec pause = {.tv_nsec = TRY_PAUSE_NS};
	struct eg_checkpoint_found last = {0};

	for (int i = 0;; i++) {
		struct eg_checkpoint_found f = {0};
		uint8_t *data = NULL;
		int r = read_once(io, dir, &data, &f);

		if (r == 0 && i < TRIES && !is_sure(&f, i ? &last : NULL)) {
			free(data);
			if (f.damaged)
				nanosleep(&pause, NULL);
			last = f;
			continue;
		}
		if (r == 0)
			*ret_data = data;
		if (r == 0 || r == -EPROTO)
			*ret = f;
		return r;
	}
}

/* ---- the mapping ---- */

static int map_file(struct eg_checkpoint *c, int fd, size_t capacity)
{
	size_t bytes = file_bytes(capacity);
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int r;

	if (p == MAP_FAILED)
		return -errno;
	r = eg_sigbus_guard(p, bytes, &c->lost);
	if (r < 0) {
		munmap(p, bytes);
		return r;
	}
	c->map = p;
	c->bytes = bytes;
	c->capacity = capacity;
	c->slot_bytes = eg_checkpoint_slot_bytes(capacity);
	c->fd = fd;
	return 0;
}

/* Goes on with the file that is there. -ENOENT: a new one must be made. */
static int reuse(struct eg_checkpoint *c, const struct eg_io *io, int dir, size_t capacity)
{
	eg_autofree uint8_t *data = NULL;
	struct eg_checkpoint_found f = {0};
	eg_autoclose int fd = -1;
	struct stat st;
	int r = eg_checkpoint_read(io, dir, &data, &f);

	if (r < 0)
		return r;
	if (f.empty || f.header_damaged || f.capacity < capacity)
		return -ENOENT;
	fd = eg_io_open(io, dir, EG_STORE_CHECKPOINT, O_RDWR);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != file_bytes(f.capacity))
		return -ENOENT;
	/* Blocks that are missing would be wanted when the disk is full, and raise SIGBUS. */
	if ((uint64_t)st.st_blocks * 512 < (uint64_t)st.st_size)
		r = io->ops->fallocate(io->ctx, fd, st.st_size);
	if (r < 0)
		return r;
	r = map_file(c, fd, f.capacity);
	if (r < 0)
		return r;
	eg_take_fd(&fd);
	c->sequence = f.slot.sequence;
	c->next = f.whole ? !f.which : 0;
	return 0;
}

static int make_new(struct eg_checkpoint *c, const struct eg_io *io, int dir, size_t capacity,
		    uint64_t unix_ns)
{
	eg_autoclose int fd = -1;
	uint8_t header[EG_CHECKPOINT_HEADER] = {0};
	int r;

	(void)!io->ops->unlinkat(io->ctx, dir, EG_STORE_NEW_CHECKPOINT);
	fd = eg_io_create(io, dir, EG_STORE_NEW_CHECKPOINT, O_RDWR);
	if (fd < 0)
		return fd;
	memcpy(header, EG_CHECKPOINT_MAGIC, 8);
	eg_put_u32(header + FILE_VERSION, EG_CHECKPOINT_VERSION);
	eg_put_u32(header + FILE_ENTRY, EG_CHECKPOINT_ENTRY);
	eg_put_u64(header + FILE_CAPACITY, capacity);
	eg_put_u64(header + FILE_SLOT, eg_checkpoint_slot_bytes(capacity));
	eg_put_u64(header + FILE_UNIX, unix_ns);
	eg_put_u32(header + FILE_CRC, eg_crc32c(0, header, FILE_CRC));
	r = io->ops->fallocate(io->ctx, fd, (off_t)file_bytes(capacity));
	if (r == 0)
		r = eg_io_write_all(io, fd, header, sizeof(header), 0);
	if (r == 0)
		r = map_file(c, fd, capacity);
	if (r < 0) {
		(void)!io->ops->unlinkat(io->ctx, dir, EG_STORE_NEW_CHECKPOINT);
		return r;
	}
	eg_take_fd(&fd);
	return 0;
}

/* Its first slot here, then on the disk. */
static int begin(struct eg_checkpoint *c, const struct eg_checkpoint_config *cfg)
{
	int r;

	cfg->fill(cfg->ctx, c);
	r = eg_checkpoint_sync(c);
	if (r < 0)
		eg_checkpoint_close(c);
	return r;
}

static int go_on(struct eg_checkpoint *c, const struct eg_io *io, int dir,
		 const struct eg_checkpoint_config *cfg, size_t capacity)
{
	int r = reuse(c, io, dir, capacity);

	return r < 0 ? r : begin(c, cfg);
}

static int put_new(struct eg_checkpoint *c, const struct eg_io *io, int dir,
		   const struct eg_checkpoint_config *cfg)
{
	int r = make_new(c, io, dir, EG_MAX(cfg->capacity, cfg->make), cfg->unix_ns);

	if (r < 0)
		return r;
	r = begin(c, cfg);
	if (r == 0)
		r = io->ops->fsync(io->ctx, c->fd);
	if (r == 0)
		r = io->ops->renameat(io->ctx, dir, EG_STORE_NEW_CHECKPOINT, EG_STORE_CHECKPOINT);
	if (r == 0)
		r = io->ops->fsync(io->ctx, dir);
	if (r < 0) {
		eg_checkpoint_close(c);
		(void)!io->ops->unlinkat(io->ctx, dir, EG_STORE_NEW_CHECKPOINT);
	}
	return r;
}

int eg_checkpoint_open(struct eg_checkpoint *c, const struct eg_io *io, int dir,
		       const struct eg_checkpoint_config *cfg)
{
	int r;

	*c = (struct eg_checkpoint){.fd = -1};
	r = cfg->anew ? -ENOENT : go_on(c, io, dir, cfg, cfg->capacity);
	if (r != -ENOENT) /* what lies there may not be ours */
		return r;
	r = put_new(c, io, dir, cfg);
	if (r < 0 && !cfg->anew && go_on(c, io, dir, cfg, cfg->least) == 0)
		r = 0;
	return r;
}

void eg_checkpoint_close(struct eg_checkpoint *c)
{
	if (!c->map)
		return;
	eg_sigbus_release(c->map);
	munmap(c->map, c->bytes);
	close(c->fd);
	c->map = NULL;
	c->fd = -1;
}

int eg_checkpoint_sync(struct eg_checkpoint *c)
{
	return msync(c->map, c->bytes, MS_SYNC) < 0 ? -errno : 0;
}

/* ---- one slot ---- */

static uint8_t *slot_of(const struct eg_checkpoint *c)
{
	return c->map + EG_CHECKPOINT_HEADER + c->next * c->slot_bytes;
}

/*
 * The order of the compiler is what counts for a process that is killed: every store before the kill is
 * seen, none after it. Other processes that read meanwhile have the CRC.
 */
static void store_sequence(uint8_t *slot, uint64_t v)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	/* One plain store, not an atomic: it may fault, and sanitizers hold locks in theirs. */
	*(volatile uint64_t *)(void *)(slot + AT_SEQUENCE) = htole64(v);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

void eg_checkpoint_begin(struct eg_checkpoint *c)
{
	store_sequence(slot_of(c), 0);
}

uint8_t *eg_checkpoint_place(struct eg_checkpoint *c, size_t i)
{
	return slot_of(c) + EG_CHECKPOINT_SLOT_HEADER + i * EG_CHECKPOINT_ENTRY;
}

void eg_checkpoint_put(struct eg_checkpoint *c, size_t i, const uint8_t entry[EG_CHECKPOINT_ENTRY])
{
	memcpy(eg_checkpoint_place(c, i), entry, EG_CHECKPOINT_ENTRY);
}

void eg_checkpoint_end(struct eg_checkpoint *c, const struct eg_checkpoint_slot *slot)
{
	uint8_t *to = slot_of(c), head[EG_CHECKPOINT_SLOT_HEADER] = {0};
	uint32_t crc;

	eg_put_u32(head + AT_ENTRY, EG_CHECKPOINT_ENTRY);
	eg_put_u64(head + AT_COUNT, slot->n);
	eg_put_u64(head + AT_SEQUENCE, ++c->sequence);
	eg_put_u64(head + AT_SESSION, slot->session);
	eg_put_u64(head + AT_TIME, slot->t_ns);
	eg_put_u64(head + AT_UNIX, slot->unix_ns);
	memcpy(head + AT_BOOT, slot->boot.id, EG_BOOT_BYTES);
	eg_put_u64(head + AT_FLAGS, slot->clean ? FLAG_CLEAN : 0);
	crc = eg_crc32c(0, head + AT_ENTRY, sizeof(head) - AT_ENTRY);
	crc = eg_crc32c(crc, to + sizeof(head), slot->n * EG_CHECKPOINT_ENTRY);
	eg_put_u32(head + AT_CRC, crc);
	memcpy(to, head, AT_SEQUENCE);
	memcpy(to + AT_SESSION, head + AT_SESSION, sizeof(head) - AT_SESSION);
	store_sequence(to, c->sequence);
	c->next = !c->next;
}

void eg_checkpoint_encode(uint8_t out[EG_CHECKPOINT_ENTRY], const char *name, size_t name_len,
			  const char *feed, size_t feed_len, const struct eg_numbers *n)
{
	memset(out + ENTRY_NAME, 0, EG_CHECKPOINT_ENTRY - ENTRY_NAME);
	memcpy(out + ENTRY_NAME, name, name_len);
	memcpy(out + ENTRY_FEED, feed, feed_len);
	eg_numbers_encode(out, n);
}
