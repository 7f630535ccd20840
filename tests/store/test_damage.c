/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Damage (T21): every bit of a small log, every byte of a checkpoint, ranges that are overwritten, cut
 * out or put in. What was not touched is kept, no total is above what was given, and the damage is
 * counted; then it is mended.
 */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { ACCOUNTS = 2, FLUSHES = 4 };
#define FIRST  100
#define STEP   7
#define MINUTE (60 * EG_NSEC_PER_SEC)

static const char *const device[ACCOUNTS] = {"cpu-0", "gpu-1"};

static uint64_t total_after(size_t account, int flush)
{
	return FIRST * (account + 1) + (uint64_t)flush * STEP;
}

/* A log of ACCOUNTS accounts, FLUSHES flushes and a stop; the checkpoint is taken away. */
static uint8_t *make_log(struct rig *r, size_t *ret_n)
{
	struct eg_store *s = rig_start(r, BOOT_A, ACCOUNTS);
	struct eg_account a[ACCOUNTS];

	for (size_t i = 0; i < ACCOUNTS; i++)
		a[i] = rig_account(device[i], 0);
	for (int f = 0; f < FLUSHES; f++) {
		for (size_t i = 0; i < ACCOUNTS; i++)
			a[i].uj = total_after(i, f);
		assert_ok(rig_flush(s, a, ACCOUNTS, T0 + (uint64_t)f * MINUTE));
	}
	rig_close(s, a, ACCOUNTS, T0 + FLUSHES * MINUTE);
	rig_remove(r, EG_STORE_CHECKPOINT);
	return rig_load(r, EG_STORE_LOG, ret_n);
}

static int open_dir(const struct rig *r)
{
	int dir = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(dir >= 0);
	return dir;
}

static void read_state(struct rig *r, int dir, struct eg_state *ret)
{
	struct eg_strbuf why = EG_STRBUF_INIT(4096);
	int err = eg_state_read(&r->io, dir, O_RDONLY, ret, &why);

	if (err < 0)
		print_error("%s\n", eg_strbuf_get(&why));
	assert_ok(err);
	eg_strbuf_free(&why);
}

/* The account whose newest record lies at this place of the log; -1: another record. */
static int newest_delta_at(const uint8_t *log, size_t n, size_t at)
{
	struct eg_record rec;
	uint64_t key;

	if (at < EG_RECORD_WIDTH)
		return -1;
	assert_ok(eg_record_decode(log + at, &rec));
	if (rec.type != EG_RECORD_DELTA)
		return -1;
	key = rec.key;
	for (size_t later = at + EG_RECORD_WIDTH; later < n; later += EG_RECORD_WIDTH) {
		assert_ok(eg_record_decode(log + later, &rec));
		if (rec.type == EG_RECORD_DELTA && rec.key == key)
			return -1;
	}
	for (size_t i = 0; i < ACCOUNTS; i++) {
		struct eg_account a = rig_account(device[i], 0);

		if (eg_store_key(&a) == key)
			return (int)i;
	}
	return -1;
}

static void check_bit(const struct eg_state *s, const uint8_t *log, size_t n, size_t byte)
{
	size_t at = byte / EG_RECORD_WIDTH * EG_RECORD_WIDTH;
	int loser = newest_delta_at(log, n, at);

	assert_int_equal(s->log.damaged, 1);
	assert_int_equal(s->log.header_damaged, at == 0);
	assert_int_equal(s->log.records, n / EG_RECORD_WIDTH - (at == 0 ? 1 : 2));
	assert_int_equal(s->log.bytes, n);
	assert_int_equal(s->book.n, ACCOUNTS);
	for (size_t i = 0; i < ACCOUNTS; i++) {
		const struct eg_entry *e = &s->book.entry[i];
		struct eg_account a;

		assert_ok(eg_entry_account(e, &e->now, &a)); /* its name is there */
		assert_string_equal(a.device, device[i]);
		assert_true(a.channel[0]);
		assert_true(a.uj == total_after(i, loser == (int)i ? FLUSHES - 2 : FLUSHES - 1));
	}
}

static void test_T21_every_bit_of_a_log(void **state)
{
	struct rig *r = *state;
	char path[256];
	uint8_t *log;
	size_t n;
	int dir, fd;

	log = make_log(r, &n);
	dir = open_dir(r);
	rig_path(r, EG_STORE_LOG, path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	for (size_t bit = 0; bit < n * 8; bit++) {
		size_t byte = bit / 8;
		uint8_t wrong = log[byte] ^ (uint8_t)(1u << bit % 8);
		struct eg_state s;

		assert_int_equal(pwrite(fd, &wrong, 1, (off_t)byte), 1);
		read_state(r, dir, &s);
		check_bit(&s, log, n, byte);
		eg_state_free(&s);
		assert_int_equal(pwrite(fd, &log[byte], 1, (off_t)byte), 1);
	}
	print_message("# %zu bits\n", n * 8);
	close(fd);
	close(dir);
	free(log);
}

/* The agent goes on from it, and after its first flush the log is whole again. */
static void test_T21_damage_is_mended(void **state)
{
	struct rig *r = *state;
	struct eg_account a[ACCOUNTS];
	uint8_t *log;
	size_t n;

	log = make_log(r, &n);
	for (size_t at = 0; at < n; at += EG_RECORD_WIDTH) {
		struct eg_store_status st;
		struct eg_state s;
		struct eg_store *store;
		int dir = open_dir(r);

		log[at + 77] ^= 0x40;
		rig_save(r, EG_STORE_LOG, log, n);
		log[at + 77] ^= 0x40;
		rig_remove(r, EG_STORE_CHECKPOINT);
		store = rig_start(r, BOOT_A, ACCOUNTS);
		assert_int_equal(eg_store_report(store)->log_damaged, 1);
		assert_int_equal(eg_store_report(store)->log_unknown_accounts, 0);
		for (size_t i = 0; i < ACCOUNTS; i++) {
			uint64_t uj = rig_restored(store, device[i]);

			assert_true(uj == total_after(i, FLUSHES - 1) ||
				    uj == total_after(i, FLUSHES - 2));
			a[i] = rig_account(device[i], uj + 5);
		}
		assert_ok(rig_flush(store, a, ACCOUNTS, T0));
		eg_store_get_status(store, &st);
		assert_true(st.compactions >= 1);
		rig_kill(store);
		rig_remove(r, EG_STORE_CHECKPOINT);
		read_state(r, dir, &s);
		assert_int_equal(s.log.damaged, 0);
		assert_int_equal(s.history.breaks, 0);
		assert_int_equal(s.book.n, ACCOUNTS);
		for (size_t i = 0; i < ACCOUNTS; i++)
			assert_int_equal(s.book.entry[i].now.uj, a[i].uj);
		eg_state_free(&s);
		close(dir);
	}
	free(log);
}

/* ---- ranges ---- */

struct seen {
	size_t n, damaged_bytes;
	uint64_t hash[64]; /* of the records that were given */
};

static void note(void *ctx, const struct eg_record *r, uint64_t offset, uint64_t bytes)
{
	struct seen *s = ctx;
	uint8_t again[EG_RECORD_WIDTH];

	if (!r) {
		s->damaged_bytes += bytes;
		return;
	}
	eg_record_encode(again, r);
	assert_true(s->n < EG_ARRAY_SIZE(s->hash));
	s->hash[s->n++] = eg_fnv1a(again, sizeof(again));
}

static bool saw(const struct seen *s, const uint8_t *record)
{
	uint64_t h = eg_fnv1a(record, EG_RECORD_WIDTH);

	for (size_t i = 0; i < s->n; i++)
		if (s->hash[i] == h)
			return true;
	return false;
}

/* Overwrites, takes out or puts in a stretch; returns the new size. lo..hi: what was touched. */
static size_t spoil(uint8_t *to, const uint8_t *log, size_t n, uint64_t *seed, size_t *lo,
		    size_t *hi)
{
	size_t at = rig_random(seed) % n, len = 1 + rig_random(seed) % 700;

	*lo = at;
	*hi = at;
	memcpy(to, log, at);
	switch (rig_random(seed) % 3) {
	case 0:
		len = EG_MIN(len, n - at);
		memcpy(to + at, log + at, n - at);
		for (size_t i = 0; i < len; i++)
			to[at + i] = (uint8_t)~log[at + i];
		*hi = at + len;
		return n;
	case 1:
		len = EG_MIN(len, n - at);
		memcpy(to + at, log + at + len, n - at - len);
		*hi = at + len;
		return n - len;
	default:
		for (size_t i = 0; i < len; i++)
			to[at + i] = (uint8_t)rig_random(seed);
		memcpy(to + at + len, log + at, n - at);
		return n + len;
	}
}

static void test_T21_ranges_cost_only_themselves(void **state)
{
	struct rig *r = *state;
	uint8_t *log, *bad;
	uint64_t seed = 11;
	char path[256];
	size_t n;

	log = make_log(r, &n);
	bad = malloc(n + 1024);
	assert_non_null(bad);
	rig_path(r, EG_STORE_LOG, path);
	for (int k = 0; k < 5000; k++) {
		struct eg_log_found found;
		struct seen seen = {0};
		size_t lo, hi, m = spoil(bad, log, n, &seed, &lo, &hi);
		bool header = lo < EG_RECORD_WIDTH;
		int fd, err;

		rig_save(r, EG_STORE_LOG, bad, m);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		err = eg_log_read(&r->io, fd, note, &seen, &found);
		close(fd);
		/* A first record that is shifted, behind a header that is gone: no longer ours. */
		if (err == -EPROTO) {
			assert_true(header && m != n);
			continue;
		}
		assert_ok(err);
		for (size_t at = EG_RECORD_WIDTH; at < n; at += EG_RECORD_WIDTH)
			if (at + EG_RECORD_WIDTH <= lo || (at >= hi && at > lo))
				assert_true(header || saw(&seen, log + at));
		assert_int_equal(seen.n, found.records);
		assert_true(seen.n <= n / EG_RECORD_WIDTH - 1);
		assert_true(seen.n * EG_RECORD_WIDTH + seen.damaged_bytes +
				    (found.header_damaged ? 0 : EG_RECORD_WIDTH) >=
			    m - (found.header_damaged ? EG_RECORD_WIDTH : 0));
	}
	free(bad);
	free(log);
}

/* ---- the checkpoint ---- */

static void test_T21_every_byte_of_a_checkpoint(void **state)
{
	static const uint8_t masks[] = {0x01, 0x80, 0xff};
	struct rig *r = *state;
	struct eg_account a[ACCOUNTS] = {rig_account(device[0], 100), rig_account(device[1], 200)};
	struct eg_store *s = rig_start(r, BOOT_A, ACCOUNTS);
	size_t n, used = EG_CHECKPOINT_SLOT_HEADER + ACCOUNTS * EG_CHECKPOINT_ENTRY, fell = 0;
	struct eg_checkpoint_found f;
	unsigned newer;
	uint8_t *data;

	eg_store_checkpoint(s, a, ACCOUNTS, 1, T0);
	a[0].uj = 101;
	a[1].uj = 203;
	eg_store_checkpoint(s, a, ACCOUNTS, 2, T0 + 1);
	rig_kill(s);
	data = rig_load(r, EG_STORE_CHECKPOINT, &n);
	assert_ok(eg_checkpoint_decode(data, n, &f));
	assert_int_equal(f.whole, 2);
	newer = f.which;
	for (size_t i = 0; i < n * EG_ARRAY_SIZE(masks); i++) {
		size_t at = i / EG_ARRAY_SIZE(masks);
		uint8_t mask = masks[i % EG_ARRAY_SIZE(masks)];
		size_t slot =
			at < EG_CHECKPOINT_HEADER ? 2 : (at - EG_CHECKPOINT_HEADER) / f.slot_bytes;
		bool hit = slot < 2 && (at - EG_CHECKPOINT_HEADER) % f.slot_bytes < used;
		struct eg_checkpoint_found g;
		bool old;

		data[at] ^= mask;
		assert_ok(eg_checkpoint_decode(data, n, &g));
		assert_int_equal(g.whole, hit ? 1 : 2);
		assert_int_equal(g.header_damaged, at < 256);
		assert_false(g.damaged);
		/* A sequence of 0 is a slot that was not finished; anything else is damage. */
		assert_true(g.damaged_slots <= hit);
		old = hit && slot == newer;
		fell += old;
		assert_int_equal(g.which, old ? !newer : newer);
		for (size_t k = 0; k < ACCOUNTS; k++) {
			char name[EG_STORE_KEY_TEXT_MAX], feed[EG_STORE_FEED_MAX];
			struct eg_numbers now;

			eg_checkpoint_entry(data, &g, k, name, feed, &now);
			assert_true(now.uj == (old ? 100 * (k + 1) : k ? 203 : 101));
		}
		data[at] ^= mask;
	}
	assert_int_equal(fell, used * EG_ARRAY_SIZE(masks));
	print_message("# %zu changes\n", n * EG_ARRAY_SIZE(masks));
	free(data);
}

/* Both files at once, the log's end and the newer slot: the older slot and the log's rest. */
static void test_both_files_damaged(void **state)
{
	struct rig *r = *state;
	struct eg_account a = rig_account("a", 100);
	struct eg_checkpoint_found f;
	uint8_t *data;
	size_t n;
	struct eg_store *s = rig_start(r, BOOT_A, 1);

	assert_ok(rig_flush(s, &a, 1, T0));
	a.uj = 110;
	eg_store_checkpoint(s, &a, 1, 1, T0);
	a.uj = 120;
	eg_store_checkpoint(s, &a, 1, 2, T0);
	assert_ok(rig_flush(s, &a, 1, T0));
	rig_kill(s);
	data = rig_load(r, EG_STORE_CHECKPOINT, &n);
	assert_ok(eg_checkpoint_decode(data, n, &f));
	data[EG_CHECKPOINT_HEADER + f.which * f.slot_bytes + 200] ^= 1;
	rig_save(r, EG_STORE_CHECKPOINT, data, n);
	free(data);
	data = rig_load(r, EG_STORE_LOG, &n);
	data[n - 1] ^= 1;
	rig_save(r, EG_STORE_LOG, data, n);
	free(data);
	s = rig_start(r, BOOT_A, 1);
	assert_int_equal(rig_restored(s, "a"), 110);
	rig_kill(s);
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_T21_every_bit_of_a_log),
		T(test_T21_damage_is_mended),
		T(test_T21_ranges_cost_only_themselves),
		T(test_T21_every_byte_of_a_checkpoint),
		T(test_both_files_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
