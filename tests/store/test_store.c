/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store as the agent uses it: what comes back after each kind of end, what is refused and left as it
 * is, and that neither months nor too many accounts lose anything silently. T numbers are those of the
 * contract's Part 5.
 */
#include "rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "store/bytes.h"
#include "store/crc32c.h"

#define MINUTE (60 * EG_NSEC_PER_SEC)

static void test_T16_restart_goes_on(void **state)
{
	struct rig *r = *state;
	struct eg_account a[2] = {rig_account("a", 100), rig_account("b", 0)};
	struct eg_store *s = rig_start(r, BOOT_A, 2);

	assert_true(eg_store_report(s)->fresh);
	assert_int_equal(rig_restored(s, "a"), UINT64_MAX);
	assert_ok(rig_flush(s, a, 2, T0));
	a[0].uj += 50;
	a[1].uj += 200;
	assert_ok(rig_flush(s, a, 2, T0 + MINUTE));
	rig_kill(s);
	rig_remove(r, EG_STORE_CHECKPOINT); /* the log alone */

	s = rig_start(r, BOOT_A, 2);
	assert_int_equal(rig_restored(s, "a"), 150);
	assert_int_equal(rig_restored(s, "b"), 200);
	assert_false(eg_store_report(s)->fresh);
	a[0].uj += 1;
	eg_store_checkpoint(s, a, 2, 1, T0 + 2 * MINUTE);
	rig_kill(s);

	s = rig_start(r, BOOT_A, 2);
	assert_int_equal(rig_restored(s, "a"), 151);
	assert_int_equal(rig_restored(s, "b"), 200);
	rig_close(s, a, 2, T0 + 3 * MINUTE);
	rig_remove(r, EG_STORE_CHECKPOINT);

	s = rig_start(r, BOOT_B, 2);
	assert_true(eg_store_report(s)->clean);
	assert_false(eg_store_report(s)->power_loss);
	assert_int_equal(rig_restored(s, "a"), 151);
	rig_kill(s);
}

static void assert_same_account(const struct eg_account *a, const struct eg_account *b)
{
	struct eg_boot boot = eg_boot_parse(BOOT_A);
	struct eg_numbers na = eg_account_numbers(a, NULL, &boot),
			  nb = eg_account_numbers(b, NULL, &boot);
	uint8_t x[EG_NUMBERS_BYTES], y[EG_NUMBERS_BYTES];

	eg_numbers_encode(x, &na);
	eg_numbers_encode(y, &nb);
	assert_memory_equal(x, y, sizeof(x));
	assert_string_equal(a->device, b->device);
	assert_string_equal(a->channel, b->channel);
	assert_int_equal(a->component, b->component);
	assert_int_equal(a->provenance, b->provenance);
	assert_int_equal(a->source, b->source);
	assert_int_equal(a->boundary, b->boundary);
}

/* Every number of an account comes back, from either file alone. */
static void test_whole_accounts_come_back(void **state)
{
	struct rig *r = *state;
	static const char *const files[] = {EG_STORE_LOG, EG_STORE_CHECKPOINT};

	for (size_t i = 0; i < EG_ARRAY_SIZE(files); i++) {
		struct eg_account a = rig_account("cpu-0", 12345678901234);
		const struct eg_account *back;
		struct eg_store *s;

		a.recovered_uj = 77;
		a.gap_ns = 1234567;
		a.resets = 3;
		a.last.rem = 2;
		a.source = EG_SOURCE_REDFISH;
		a.boundary = EG_BOUNDARY_NODE;
		s = rig_start(r, BOOT_A, 1);
		eg_store_checkpoint(s, &a, 1, 5, T0);
		assert_ok(rig_flush(s, &a, 1, T0));
		rig_kill(s);
		rig_remove(r, files[i]);
		s = rig_start(r, BOOT_A, 1);
		assert_int_equal(eg_store_accounts(s, &back), 1);
		assert_same_account(back, &a);
		rig_kill(s);
		rig_empty(r);
	}
}

static uint64_t whole_records(struct rig *r)
{
	struct eg_log_found found;
	char path[256];
	int fd;

	rig_path(r, EG_STORE_LOG, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_ok(eg_log_read(&r->io, fd, NULL, NULL, &found));
	close(fd);
	assert_int_equal(found.damaged, 0);
	assert_int_equal(found.torn_bytes, 0);
	return found.records;
}

/* A torn last record is cut before anything is appended, whatever its length. */
static void test_T17_torn_tail(void **state)
{
	struct rig *r = *state;
	struct eg_account a = rig_account("a", 100);
	uint64_t before, whole;
	uint8_t *data;
	size_t n;
	struct eg_store *s = rig_start(r, BOOT_A, 1);

	assert_ok(rig_flush(s, &a, 1, T0));
	rig_kill(s);
	before = whole_records(r);
	data = rig_load(r, EG_STORE_LOG, &n);
	rig_remove(r, EG_STORE_CHECKPOINT);
	for (size_t torn = 1; torn < EG_RECORD_WIDTH; torn++) {
		uint8_t *longer = malloc(n + torn);

		assert_non_null(longer);
		memcpy(longer, data, n);
		memcpy(longer + n, data + n - EG_RECORD_WIDTH, torn); /* the half of a record */
		rig_save(r, EG_STORE_LOG, longer, n + torn);
		free(longer);
		assert_ok(rig_open_at(r, BOOT_A, T0, 0, &s, NULL));
		assert_int_equal(eg_store_report(s)->log_cut_bytes, torn);
		assert_int_equal(eg_store_report(s)->log_damaged, 0);
		assert_int_equal(eg_store_report(s)->log_records, before);
		assert_int_equal(rig_restored(s, "a"), 100);
		assert_int_equal(rig_size(r, EG_STORE_LOG), n);
		rig_kill(s);
	}
	/* Appended to after the cut: one start, one delta more, nothing shifted. */
	rig_save(r, EG_STORE_LOG, data, n - 100);
	free(data);
	s = rig_start(r, BOOT_A, 1);
	whole = whole_records(r);
	a.uj = 150;
	assert_ok(rig_flush(s, &a, 1, T0 + MINUTE));
	rig_kill(s);
	assert_true(whole_records(r) > whole);
	assert_ok(rig_open_at(r, BOOT_A, T0, 0, &s, NULL));
	assert_int_equal(rig_restored(s, "a"), 150);
	rig_kill(s);
}

static void test_T22_compaction_keeps_the_absent(void **state)
{
	struct rig *r = *state;
	struct eg_account a[2] = {rig_account("a", 150), rig_account("b", 10)};
	uint64_t before, after;
	struct eg_store *s = rig_start(r, BOOT_A, 2);

	assert_ok(rig_flush(s, a, 2, T0));
	for (int i = 0; i < 20; i++) {
		a[1].uj += 5;
		assert_ok(rig_flush(s, a, 2, T0 + (uint64_t)i * MINUTE));
	}
	rig_close(s, a, 2, T0 + 30 * MINUTE);
	rig_remove(r, EG_STORE_CHECKPOINT);

	/* Device a is not there any more; the log is small enough to be compacted at each flush. */
	assert_ok(rig_open_at(r, BOOT_A, T0 + 40 * MINUTE, 1, &s, NULL));
	assert_ok(eg_store_start(s, 1, NULL));
	for (int i = 0; i < 40; i++) {
		struct eg_store_status st;

		a[1].uj += 5;
		eg_store_checkpoint(s, &a[1], 1, 1, T0);
		assert_ok(rig_flush(s, &a[1], 1, T0 + 50 * MINUTE));
		eg_store_get_status(s, &st);
		assert_int_equal(st.pending_uj, 0);
		if (i == 39)
			assert_true(st.compactions > 1);
	}
	rig_kill(s);
	for (int checkpoint = 1; checkpoint >= 0; checkpoint--) {
		if (!checkpoint)
			rig_remove(r, EG_STORE_CHECKPOINT);
		assert_ok(rig_open_at(r, BOOT_A, T0, 0, &s, NULL));
		assert_int_equal(rig_restored(s, "a"), 150);
		assert_int_equal(rig_restored(s, "b"), 310);
		rig_kill(s);
	}
	/* By hand too: again and again, and the mark of how it ended stays. */
	s = rig_start(r, BOOT_A, 2);
	a[1].uj = 310;
	rig_close(s, a, 2, T0 + 60 * MINUTE);
	for (int i = 0; i < 3; i++) {
		assert_ok(eg_state_compact(r->dir, &before, &after, NULL));
		assert_true(i == 0 || before == after);
		rig_remove(r, EG_STORE_CHECKPOINT);
		assert_ok(rig_open_at(r, BOOT_B, T0, 0, &s, NULL));
		assert_int_equal(rig_restored(s, "a"), 150);
		assert_int_equal(rig_restored(s, "b"), 310);
		assert_true(eg_store_report(s)->clean);
		rig_kill(s);
	}
}

static void test_T23_second_agent_is_refused(void **state)
{
	struct rig *r = *state;
	struct eg_strbuf why = EG_STRBUF_INIT(4096);
	struct eg_account a = rig_account("a", 150);
	struct eg_store *s = rig_start(r, BOOT_A, 1), *second = (void *)1;
	uint8_t *log, *log_after;
	size_t n, n_after;
	char pid[32];
	pid_t child;
	int status;

	eg_store_checkpoint(s, &a, 1, 1, T0);
	assert_ok(rig_flush(s, &a, 1, T0));
	log = rig_load(r, EG_STORE_LOG, &n);
	assert_int_equal(rig_open_at(r, BOOT_A, T0, 0, &second, &why), -EBUSY);
	assert_ptr_equal(second, (void *)1);
	snprintf(pid, sizeof(pid), "(process %ld)", (long)getpid());
	assert_contains(eg_strbuf_get(&why), pid);
	assert_contains(eg_strbuf_get(&why), "stop it, or name another place with --state");
	assert_int_equal(eg_state_compact(r->dir, NULL, NULL, &why), -EBUSY);
	/* Another process, and one that inherits nothing. */
	child = fork();
	if (child == 0)
		_exit(rig_open_at(r, BOOT_A, T0, 0, &second, NULL) == -EBUSY ? 0 : 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	log_after = rig_load(r, EG_STORE_LOG, &n_after);
	assert_int_equal(n, n_after);
	assert_memory_equal(log, log_after, n);
	free(log);
	free(log_after);
	rig_kill(s);
	s = rig_start(r, BOOT_A, 1); /* the lock went with the first */
	assert_int_equal(rig_restored(s, "a"), 150);
	rig_kill(s);
	eg_strbuf_free(&why);
}

static void test_T23_a_lock_that_was_swept_away(void **state)
{
	struct rig *r = *state;
	struct eg_strbuf why = EG_STRBUF_INIT(4096);
	struct eg_store *s = rig_start(r, BOOT_A, 1), *second = NULL;

	rig_remove(r, EG_STORE_LOCK);
	assert_int_equal(rig_open_at(r, BOOT_A, T0, 0, &second, &why), -EBUSY);
	assert_contains(eg_strbuf_get(&why), "another agent uses this state directory");
	assert_int_equal(rig_open_at(r, BOOT_A, T0, 0, &second, &why), -EBUSY);
	rig_kill(s);
	rig_kill(rig_start(r, BOOT_A, 1));
	eg_strbuf_free(&why);
}

/* Whatever is given, what was there does not fall: neither in the files nor by what they say. */
static void test_a_smaller_total_is_not_believed(void **state)
{
	struct rig *r = *state;
	struct eg_account a = rig_account("a", 100), less = rig_account("a", 30);
	struct eg_store *s = rig_start(r, BOOT_A, 1);
	uint8_t *data, *longer;
	size_t n;

	rig_close(s, &a, 1, T0);
	for (int checkpoint = 1; checkpoint >= 0; checkpoint--) {
		s = rig_start(r, BOOT_A, 1);
		eg_store_checkpoint(s, &less, 1, 1, T0);
		assert_ok(rig_flush(s, &less, 1, T0));
		rig_kill(s);
		if (!checkpoint)
			rig_remove(r, EG_STORE_CHECKPOINT);
		assert_ok(rig_open_at(r, BOOT_A, T0, 0, &s, NULL));
		assert_int_equal(rig_restored(s, "a"), 100);
		rig_kill(s);
		rig_remove(r, EG_STORE_LOG); /* the second time: the checkpoint alone */
		if (checkpoint) {
			assert_ok(rig_open_at(r, BOOT_A, T0, 0, &s, NULL));
			assert_int_equal(rig_restored(s, "a"), 100);
			rig_kill(s);
		}
	}
	/* A log whose records fall: the largest counts. */
	rig_empty(r);
	s = rig_start(r, BOOT_A, 1);
	rig_close(s, &a, 1, T0);
	rig_remove(r, EG_STORE_CHECKPOINT);
	data = rig_load(r, EG_STORE_LOG, &n);
	longer = malloc(n + EG_RECORD_WIDTH);
	assert_non_null(longer);
	memcpy(longer, data, n);
	eg_record_encode(longer + n, &(struct eg_record){.type = EG_RECORD_DELTA,
							 .session = 1,
							 .key = eg_store_key(&a),
							 .delta_uj = 30,
							 .n = {.uj = 30}});
	rig_save(r, EG_STORE_LOG, longer, n + EG_RECORD_WIDTH);
	free(longer);
	free(data);
	assert_ok(rig_open_at(r, BOOT_A, T0, 0, &s, NULL));
	assert_int_equal(rig_restored(s, "a"), 100);
	rig_kill(s);
}

/* ---- T24: what is not ours ---- */

static uint64_t of_entry(uint64_t h, const char *dir, const char *name)
{
	char path[512], target[256];
	struct stat st;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_ok(lstat(path, &st));
	h = (h ^ eg_fnv1a(name, strlen(name)) ^ st.st_mode ^ st.st_ino) * 31;
	if (S_ISLNK(st.st_mode)) {
		n = readlink(path, target, sizeof(target));
		return (h ^ eg_fnv1a(target, (size_t)n)) * 31;
	}
	if (S_ISREG(st.st_mode)) {
		uint8_t *data = malloc((size_t)st.st_size + 1);
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		assert_non_null(data);
		assert_int_equal(read(fd, data, (size_t)st.st_size), st.st_size);
		h = (h ^ eg_fnv1a(data, (size_t)st.st_size)) * 31;
		close(fd);
		free(data);
	}
	return h;
}

/* Everything in the directory but the lock, which is always ours to make. */
static uint64_t fingerprint(const struct rig *r, bool with_lock)
{
	uint64_t h = 0;
	DIR *d = opendir(r->dir);
	struct dirent *e;

	assert_non_null(d);
	while ((e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    (with_lock || strcmp(e->d_name, EG_STORE_LOCK) != 0))
			h += of_entry(17, r->dir, e->d_name);
	closedir(d);
	return h;
}

static const char *const foreign_names[] = {EG_STORE_LOG, EG_STORE_CHECKPOINT, EG_STORE_LOCK};
enum { KIND_LINK, KIND_DANGLING, KIND_DIR, KIND_TEXT, KIND_FIFO, KIND_SOCKET, KIND_COUNT };

static void lay_out(const struct rig *r, const char *name, int kind)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	char path[256];
	int fd;

	rig_path(r, name, path);
	switch (kind) {
	case KIND_LINK:
		rig_save(r, "elsewhere", "precious", 8);
		assert_ok(symlink("elsewhere", path));
		break;
	case KIND_DANGLING:
		assert_ok(symlink("nowhere", path));
		break;
	case KIND_DIR:
		assert_ok(mkdir(path, 0700));
		break;
	case KIND_TEXT:
		rig_save(r, name, "Dear diary, today I did not use any energy.\n", 44);
		break;
	case KIND_FIFO:
		assert_ok(mkfifo(path, 0600));
		break;
	default:
		snprintf(at.sun_path, sizeof(at.sun_path), "%.100s", path);
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_ok(bind(fd, (struct sockaddr *)&at, sizeof(at)));
		close(fd);
		break;
	}
}

static void assert_refused(struct rig *r, int want, const char *cure)
{
	struct eg_strbuf why = EG_STRBUF_INIT(4096);
	struct eg_store *s = (void *)1;
	uint64_t before = fingerprint(r, false);
	int err = rig_open_at(r, BOOT_A, T0, 0, &s, &why);

	if (err == 0)
		print_error("%s was taken\n", r->dir);
	assert_true(err < 0);
	if (want)
		assert_int_equal(err, want);
	assert_ptr_equal(s, (void *)1);
	assert_contains(eg_strbuf_get(&why), cure);
	assert_true(fingerprint(r, false) == before);
	eg_strbuf_free(&why);
}

static void test_T24_kinds_are_refused(void **state)
{
	struct rig *r = *state;
	static const struct {
		int err;
		const char *cure;
	} want[KIND_COUNT] = {
		[KIND_LINK] = {-ELOOP, "a symbolic link is never followed here: remove it"},
		[KIND_DANGLING] = {-ELOOP, "remove it"},
		[KIND_DIR] = {-EISDIR, "move it away"},
		[KIND_TEXT] = {-EPROTO, "it is not ours and stays as it is: move it away"},
		[KIND_FIFO] = {-EPROTO, "move it away"},
		[KIND_SOCKET] = {-EPROTO, "move it away"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(foreign_names); i++) {
		for (int kind = 0; kind < KIND_COUNT; kind++) {
			rig_empty(r);
			lay_out(r, foreign_names[i], kind);
			assert_refused(r, want[kind].err, want[kind].cure);
		}
	}
}

/* The names that are written beside and renamed: a crash's leftover goes, anything else stays. */
static void test_T24_leftovers(void **state)
{
	static const char *const names[] = {EG_STORE_NEW_LOG, EG_STORE_NEW_CHECKPOINT};
	struct rig *r = *state;
	struct eg_store *s;
	char path[256];

	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++) {
		rig_empty(r);
		rig_save(r, names[i], "half", 4);
		s = rig_start(r, BOOT_A, 1);
		rig_path(r, names[i], path);
		assert_int_equal(access(path, F_OK), -1);
		rig_kill(s);
		for (int kind = 0; kind < KIND_COUNT; kind++) {
			if (kind == KIND_TEXT)
				continue;
			rig_empty(r);
			lay_out(r, names[i], kind);
			assert_refused(r, -EEXIST, "move it away");
		}
	}
}

static void test_T24_random_bytes_are_refused(void **state)
{
	static const size_t sizes[] = {1, 7, 8, 100, 255, 256, 257, 5000, 20480, 300000};
	static uint8_t data[300000];
	struct rig *r = *state;
	uint64_t seed = 3;

	for (size_t i = 0; i < EG_ARRAY_SIZE(foreign_names); i++) {
		for (size_t k = 0; k < EG_ARRAY_SIZE(sizes); k++) {
			for (size_t b = 0; b < sizes[k]; b++)
				data[b] = (uint8_t)rig_random(&seed);
			data[0] |= 0x80; /* a digit alone is a lock of ours */
			rig_empty(r);
			rig_save(r, foreign_names[i], data, sizes[k]);
			assert_refused(r, -EPROTO, "move it away");
		}
	}
	/* Zeros, which a disk may leave of a file: no magic, no record, so not ours. */
	memset(data, 0, sizeof(data));
	rig_empty(r);
	rig_save(r, EG_STORE_LOG, data, 4096);
	assert_refused(r, -EPROTO, "move it away");
}

static void test_T24_other_versions_are_refused(void **state)
{
	struct rig *r = *state;
	uint8_t header[EG_RECORD_WIDTH], *data;
	struct eg_account a = rig_account("a", 1);
	struct eg_store *s;
	size_t n;

	eg_log_header_encode(header, T0);
	eg_put_u32(header + 8, EG_LOG_VERSION + 1);
	eg_put_u32(header + 252, eg_crc32c(0, header, 252));
	rig_save(r, EG_STORE_LOG, header, sizeof(header));
	assert_refused(r, -EPROTO, "ledger.log is of format version 2");
	assert_refused(r, -EPROTO, "use the Ergon that wrote it");

	rig_empty(r);
	s = rig_start(r, BOOT_A, 1);
	rig_close(s, &a, 1, T0);
	data = rig_load(r, EG_STORE_CHECKPOINT, &n);
	eg_put_u32(data + 8, EG_CHECKPOINT_VERSION + 1);
	eg_put_u32(data + 252, eg_crc32c(0, data, 252));
	rig_save(r, EG_STORE_CHECKPOINT, data, n);
	free(data);
	assert_refused(r, -EPROTO, "checkpoint is of format version 2");
}

static void test_T24_empty_files_are_new(void **state)
{
	struct rig *r = *state;
	struct eg_account a = rig_account("a", 5);
	struct eg_store *s;

	for (size_t i = 0; i < EG_ARRAY_SIZE(foreign_names); i++)
		rig_save(r, foreign_names[i], "", 0);
	s = rig_start(r, BOOT_A, 1);
	assert_true(eg_store_report(s)->fresh);
	eg_store_checkpoint(s, &a, 1, 1, T0);
	assert_ok(rig_flush(s, &a, 1, T0));
	rig_kill(s);
	s = rig_start(r, BOOT_A, 1);
	assert_int_equal(rig_restored(s, "a"), 5);
	rig_kill(s);
}

static void test_T24_the_directory_itself(void **state)
{
	struct rig *r = *state;
	struct eg_strbuf why = EG_STRBUF_INIT(4096);
	struct eg_store_config cfg = {.boot_id = BOOT_A, .unix_ns = T0};
	struct eg_store *s = NULL;
	char path[256];

	rig_save(r, "file", "mine", 4);
	rig_path(r, "file", path);
	cfg.dir = path;
	assert_int_equal(eg_store_open(&cfg, &s, &why), -ENOTDIR);
	assert_contains(eg_strbuf_get(&why), "name a directory with --state");
	rig_path(r, "no/deeper", path);
	assert_int_equal(eg_store_open(&cfg, &s, &why), -ENOENT);
	assert_contains(eg_strbuf_get(&why), "make the directory above it");
	/* Made where it is not, for its user alone. */
	rig_path(r, "state", path);
	assert_ok(eg_store_open(&cfg, &s, &why));
	{
		struct stat st;

		assert_ok(stat(path, &st));
		assert_int_equal(st.st_mode & 07777, 0700);
	}
	rig_kill(s);
	rig_remove(r, "state/" EG_STORE_LOG);
	rig_remove(r, "state/" EG_STORE_LOCK);
	eg_strbuf_free(&why);
}

static void test_files_are_private(void **state)
{
	static const char *const names[] = {EG_STORE_LOG, EG_STORE_CHECKPOINT, EG_STORE_LOCK};
	struct rig *r = *state;
	mode_t mask = umask(0);
	struct eg_store *s = rig_start(r, BOOT_A, 1);

	umask(mask);
	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++) {
		struct stat st;
		char path[256];

		rig_path(r, names[i], path);
		assert_ok(stat(path, &st));
		assert_int_equal(st.st_mode & 07777, 0600);
	}
	rig_kill(s);
}

/* ---- ends of the machine ---- */

static void test_T18_power_loss_is_said(void **state)
{
	struct rig *r = *state;
	struct eg_account a = rig_account("a", 100);
	const struct eg_account *back;
	struct eg_store *s = rig_start(r, BOOT_A, 1);

	eg_store_checkpoint(s, &a, 1, 1, T0 + 10);
	assert_ok(rig_flush(s, &a, 1, T0 + 10));
	rig_kill(s);

	/* The process died, the machine did not: nothing is lost, nothing begins anew. */
	assert_ok(rig_open_at(r, BOOT_A, T0 + MINUTE, 0, &s, NULL));
	assert_true(eg_store_report(s)->same_boot && !eg_store_report(s)->clean);
	assert_false(eg_store_report(s)->power_loss);
	assert_int_equal(eg_store_accounts(s, &back), 1);
	assert_true(back->created_unix_ns == T0 && back->last.t_ns == a.last.t_ns);
	rig_kill(s);

	/* Another boot without a stop: said, and the total has a new beginning. */
	assert_ok(rig_open_at(r, BOOT_B, T0 + MINUTE, 0, &s, NULL));
	assert_false(eg_store_report(s)->same_boot);
	assert_true(eg_store_report(s)->power_loss && !eg_store_report(s)->clean);
	assert_int_equal(eg_store_report(s)->last_unix_ns, T0 + 10);
	assert_int_equal(eg_store_accounts(s, &back), 1);
	assert_true(back->created_unix_ns == T0 + MINUTE);
	assert_true(back->uj == 100 && back->last.unix_ns == a.last.unix_ns);
	rig_kill(s);

	/* The same boot, but the checkpoint is gone: its ticks are. */
	{
		uint8_t *data;
		size_t n;

		data = rig_load(r, EG_STORE_CHECKPOINT, &n);
		rig_remove(r, EG_STORE_CHECKPOINT);
		assert_ok(rig_open_at(r, BOOT_A, T0 + MINUTE, 0, &s, NULL));
		assert_true(eg_store_report(s)->power_loss);
		assert_false(eg_store_report(s)->checkpoint_used);
		rig_kill(s);
		memset(data + EG_CHECKPOINT_HEADER, 0xa5, n - EG_CHECKPOINT_HEADER);
		rig_save(r, EG_STORE_CHECKPOINT, data, n);
		assert_ok(rig_open_at(r, BOOT_A, T0 + MINUTE, 0, &s, NULL));
		assert_true(eg_store_report(s)->power_loss);
		assert_true(eg_store_report(s)->checkpoint_damaged);
		rig_kill(s);
		free(data);
	}
}

static void test_an_ordered_stop_is_no_power_loss(void **state)
{
	struct rig *r = *state;
	struct eg_account a = rig_account("a", 100);
	const struct eg_account *back;
	struct eg_store *s = rig_start(r, BOOT_A, 1);

	rig_close(s, &a, 1, T0 + 10);
	for (int checkpoint = 1; checkpoint >= 0; checkpoint--) {
		if (!checkpoint)
			rig_remove(r, EG_STORE_CHECKPOINT);
		assert_ok(rig_open_at(r, BOOT_B, T0 + MINUTE, 0, &s, NULL));
		assert_true(eg_store_report(s)->clean && !eg_store_report(s)->power_loss);
		assert_int_equal(eg_store_accounts(s, &back), 1);
		assert_true(back->created_unix_ns == T0);
		assert_int_equal(back->uj, 100);
		rig_kill(s);
	}
	/* A start alone is an agent that ran: its end was none. */
	s = rig_start(r, BOOT_B, 1);
	rig_kill(s);
	rig_remove(r, EG_STORE_CHECKPOINT);
	assert_ok(rig_open_at(r, BOOT_A, T0 + MINUTE, 0, &s, NULL));
	assert_true(eg_store_report(s)->power_loss && !eg_store_report(s)->clean);
	rig_kill(s);
}

/* An unknown boot id is no reason to go on from an interval clock. */
static void test_unknown_boot_is_another(void **state)
{
	struct rig *r = *state;
	struct eg_account a = rig_account("a", 100);
	struct eg_store *s = rig_start(r, "", 1);

	rig_close(s, &a, 1, T0);
	assert_ok(rig_open_at(r, "", T0, 0, &s, NULL));
	assert_false(eg_store_report(s)->same_boot);
	assert_true(eg_store_report(s)->clean);
	rig_kill(s);
}

/* A device away since an earlier boot must not be gone on with by the clock of this one. */
static void test_reading_of_an_earlier_boot(void **state)
{
	struct rig *r = *state;
	struct eg_account a[2] = {rig_account("stays", 100), rig_account("leaves", 50)};
	const struct eg_account *back;
	size_t n;
	struct eg_store *s = rig_start(r, BOOT_A, 2);

	rig_close(s, a, 2, T0);
	s = rig_start(r, BOOT_B, 2);
	a[0].uj = 120;
	a[0].last.t_ns = 7;
	a[0].last.raw = 7;
	n = eg_store_accounts(s, &back);
	assert_int_equal(n, 2);
	a[1] = back[1]; /* as the ledger carries an absent device */
	eg_store_checkpoint(s, a, 2, 7, T0);
	assert_ok(rig_flush(s, a, 2, T0));
	rig_kill(s);
	for (int checkpoint = 1; checkpoint >= 0; checkpoint--) {
		if (!checkpoint)
			rig_remove(r, EG_STORE_CHECKPOINT);
		assert_ok(rig_open_at(r, BOOT_B, T0, 0, &s, NULL));
		assert_true(eg_store_report(s)->same_boot);
		n = eg_store_accounts(s, &back);
		assert_int_equal(n, 2);
		assert_string_equal(back[1].device, "leaves");
		assert_true(back[0].last.t_ns == 7 && back[1].last.t_ns == 0);
		assert_true(back[1].last.unix_ns == a[1].last.unix_ns); /* for the gap */
		assert_int_equal(back[1].uj, 50);
		rig_kill(s);
	}
}

/* ---- bounds ---- */

/* Two months of flushes of nine series: the size stays below its limit and a batch, totals hold. */
static void test_T32_months(void **state)
{
	enum { SERIES = 9, FLUSHES = 60 * 24 * 60 };
	const uint64_t limit = 1u << 20;
	struct rig *r = *state;
	struct eg_account a[SERIES];
	struct eg_store_status st;
	uint64_t largest = 0;
	struct eg_store *s;

	r->lazy = true;
	for (size_t i = 0; i < SERIES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "dev-%zu", i);
		a[i] = rig_account(name, 0);
	}
	assert_ok(rig_open_at(r, BOOT_A, T0, limit, &s, NULL));
	assert_ok(eg_store_start(s, SERIES, NULL));
	for (uint64_t m = 1; m <= FLUSHES; m++) {
		for (size_t i = 0; i < SERIES; i++)
			a[i].uj += 1000003 * (i + 1);
		assert_ok(rig_flush(s, a, SERIES, T0 + m * MINUTE));
		if (m % 64 == 0)
			largest = EG_MAX(largest, rig_size(r, EG_STORE_LOG));
	}
	eg_store_get_status(s, &st);
	assert_true(largest > limit / 2 && largest <= limit + SERIES * 5 * EG_RECORD_WIDTH);
	assert_true(st.compactions > 100 && st.failed_flushes == 0);
	assert_int_equal(st.accounts, SERIES);
	rig_kill(s);
	rig_remove(r, EG_STORE_CHECKPOINT);
	s = rig_start(r, BOOT_A, SERIES);
	assert_int_equal(eg_store_report(s)->log_damaged, 0);
	for (size_t i = 0; i < SERIES; i++)
		assert_true(rig_restored(s, a[i].device) == 1000003ull * (i + 1) * FLUSHES);
	rig_kill(s);
}

/* Compaction does not run at every flush because what must be kept is more than the limit. */
static void test_T32_more_accounts_than_the_limit(void **state)
{
	enum { ACCOUNTS = 200 };
	struct rig *r = *state;
	struct eg_account *a = calloc(ACCOUNTS, sizeof(*a));
	struct eg_store_status st;
	struct eg_store *s;

	assert_non_null(a);
	r->lazy = true;
	for (size_t i = 0; i < ACCOUNTS; i++) {
		char name[16];

		snprintf(name, sizeof(name), "dev-%zu", i);
		a[i] = rig_account(name, 1);
	}
	assert_ok(rig_open_at(r, BOOT_A, T0, 4096, &s, NULL));
	assert_ok(eg_store_start(s, ACCOUNTS, NULL));
	for (uint64_t m = 1; m <= 100; m++) {
		for (size_t i = 0; i < ACCOUNTS; i++)
			a[i].uj++;
		assert_ok(rig_flush(s, a, ACCOUNTS, T0 + m * MINUTE));
	}
	eg_store_get_status(s, &st);
	assert_true(st.compactions > 5 && st.compactions < 30);
	assert_true(rig_size(r, EG_STORE_LOG) < 4ull * ACCOUNTS * 5 * EG_RECORD_WIDTH);
	rig_kill(s);
	free(a);
}

static void test_T33_one_account_too_many(void **state)
{
	struct rig *r = *state;
	struct eg_account a[3] = {rig_account("a", 1), rig_account("b", 2), rig_account("c", 3)};
	struct eg_strbuf why = EG_STRBUF_INIT(4096);
	struct eg_store_status st;
	struct eg_store *s = rig_start(r, BOOT_A, 2);

	eg_store_checkpoint(s, a, 2, 1, T0);
	eg_store_get_status(s, &st);
	assert_int_equal(st.refused_accounts, 0);
	eg_store_checkpoint(s, a, 3, 1, T0);
	eg_store_get_status(s, &st);
	assert_int_equal(st.refused_accounts, 1);
	assert_true(st.pending_uj >= 3);
	rig_kill(s);
	assert_ok(rig_open_at(r, BOOT_A, T0, 0, &s, &why));
	assert_int_equal(rig_restored(s, "a"), 1);
	assert_int_equal(rig_restored(s, "b"), 2);
	assert_int_equal(eg_store_start(s, EG_ACCOUNTS_MAX + 1, &why), -ENOSPC);
	assert_contains(eg_strbuf_get(&why), "4097 accounts are more than the 4096");
	rig_kill(s);
	eg_strbuf_free(&why);
}

/* The ceiling itself: 4096 absent accounts on disk, and one that is new. */
static void test_T33_full_ledger(void **state)
{
	struct rig *r = *state;
	struct eg_account *a = calloc(EG_ACCOUNTS_MAX, sizeof(*a)), more = rig_account("more", 9);
	struct eg_store_status st;
	const struct eg_account *back;
	struct eg_store *s;

	assert_non_null(a);
	for (size_t i = 0; i < EG_ACCOUNTS_MAX; i++) {
		char name[16];

		snprintf(name, sizeof(name), "dev-%zu", i);
		a[i] = rig_account(name, i + 1);
	}
	s = rig_start(r, BOOT_A, EG_ACCOUNTS_MAX);
	rig_close(s, a, EG_ACCOUNTS_MAX, T0);
	s = rig_start(r, BOOT_A, 1);
	assert_int_equal(eg_store_accounts(s, &back), EG_ACCOUNTS_MAX);
	eg_store_checkpoint(s, &more, 1, 1, T0);
	assert_ok(rig_flush(s, &more, 1, T0));
	eg_store_get_status(s, &st);
	assert_int_equal(st.refused_accounts, 1);
	assert_int_equal(st.accounts, EG_ACCOUNTS_MAX);
	rig_kill(s);
	s = rig_start(r, BOOT_A, 1);
	/* More is not kept: that was said. Nobody who was there lost anything to it. */
	for (size_t i = 0; i < EG_ACCOUNTS_MAX; i += 97)
		assert_int_equal(rig_restored(s, a[i].device), i + 1);
	rig_kill(s);
	free(a);
}

/* A log that holds more than one agent keeps is refused whole, not cut to what fits. */
static void test_T33_log_of_too_many(void **state)
{
	struct rig *r = *state;
	const size_t records = 1 + 2 * (EG_ACCOUNTS_MAX + 1);
	uint8_t *data = calloc(records, EG_RECORD_WIDTH);

	assert_non_null(data);
	eg_log_header_encode(data, T0);
	for (size_t i = 0; i <= EG_ACCOUNTS_MAX; i++) {
		uint8_t *at = data + (1 + 2 * i) * EG_RECORD_WIDTH;
		struct eg_record rec = {.type = EG_RECORD_ACCOUNT, .session = 1, .unix_ns = T0};
		int n = snprintf(rec.text, sizeof(rec.text), "dev-%zu/package/measured", i);

		rec.key = eg_fnv1a(rec.text, (size_t)n);
		eg_record_encode(at, &rec);
		rec.type = EG_RECORD_DELTA;
		rec.delta_uj = rec.n.uj = 5;
		eg_record_encode(at + EG_RECORD_WIDTH, &rec);
	}
	rig_save(r, EG_STORE_LOG, data, records * EG_RECORD_WIDTH);
	assert_refused(r, -ENOSPC, "`ergon ledger export` reads it");
	free(data);
}

/* ---- rights ---- */

#define NOBODY 65534

/* In a child without rights: returns its exit status. */
static int as_nobody(struct rig *r, int (*what)(struct rig *r))
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
			_exit(99);
		_exit(what(r));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int run_a_life(struct rig *r)
{
	struct eg_account a = rig_account("a", 5);
	struct eg_store *s = NULL;

	if (rig_open_at(r, BOOT_A, T0, 0, &s, NULL) < 0)
		return 1;
	a.uj += rig_restored(s, "a") == UINT64_MAX ? 0 : rig_restored(s, "a");
	if (eg_store_start(s, 1, NULL) < 0)
		return 2;
	eg_store_checkpoint(s, &a, 1, 1, T0);
	if (!eg_store_flush(s, &a, 1, T0) || eg_flush_wait(s, 60 * EG_NSEC_PER_SEC) < 0)
		return 3;
	eg_store_close(s, &a, 1, T0, EG_NSEC_PER_SEC, NULL);
	return 0;
}

static int be_refused(struct rig *r)
{
	struct eg_strbuf why = EG_STRBUF_INIT(4096);
	struct eg_store *s = NULL;
	int err = rig_open_at(r, BOOT_A, T0, 0, &s, &why);

	return err == -EACCES && strstr(eg_strbuf_get(&why), "--state") ? 0 : 1;
}

static void test_user_without_rights(void **state)
{
	static const char *const names[] = {EG_STORE_LOG, EG_STORE_CHECKPOINT, EG_STORE_LOCK};
	struct rig *r = *state;

	if (geteuid() != 0) {
		print_message("# needs root to become another user\n");
		skip();
	}
	assert_ok(as_nobody(r, be_refused)); /* the directory is root's */
	assert_ok(chown(r->dir, NOBODY, NOBODY));
	assert_ok(as_nobody(r, run_a_life));
	assert_ok(as_nobody(r, run_a_life));
	/* What root makes there by hand the agent's user can go on with. */
	assert_ok(eg_state_compact(r->dir, NULL, NULL, NULL));
	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++) {
		struct stat st;
		char path[256];

		rig_path(r, names[i], path);
		assert_ok(stat(path, &st));
		assert_int_equal(st.st_uid, NOBODY);
	}
	assert_ok(as_nobody(r, run_a_life));
	{
		struct eg_store *s = rig_start(r, BOOT_A, 1);

		assert_int_equal(rig_restored(s, "a"), 15);
		rig_kill(s);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_T16_restart_goes_on),
		T(test_whole_accounts_come_back),
		T(test_T17_torn_tail),
		T(test_T22_compaction_keeps_the_absent),
		T(test_T23_second_agent_is_refused),
		T(test_T23_a_lock_that_was_swept_away),
		T(test_a_smaller_total_is_not_believed),
		T(test_T24_kinds_are_refused),
		T(test_T24_leftovers),
		T(test_T24_random_bytes_are_refused),
		T(test_T24_other_versions_are_refused),
		T(test_T24_empty_files_are_new),
		T(test_T24_the_directory_itself),
		T(test_files_are_private),
		T(test_T18_power_loss_is_said),
		T(test_an_ordered_stop_is_no_power_loss),
		T(test_unknown_boot_is_another),
		T(test_reading_of_an_earlier_boot),
		T(test_T32_months),
		T(test_T32_more_accounts_than_the_limit),
		T(test_T33_one_account_too_many),
		T(test_T33_full_ledger),
		T(test_T33_log_of_too_many),
		T(test_user_without_rights),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
