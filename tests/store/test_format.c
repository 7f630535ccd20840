/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes: CRC-32C and FNV-1a against published values, the hardware's CRC against the portable one, every
 * record and slot there and back, and the directory of format version 1 that is committed (T25): written
 * by other code, it must read as the same totals for ever.
 */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "store/bytes.h"
#include "store/crc32c.h"

static void test_crc_vectors(void **state)
{
	static const uint8_t pdu[48] = {
		0x01, 0xc0, [16] = 0x14, [22] = 4, [27] = 0x14, [31] = 0x18, 0x28, [40] = 0x02};
	uint8_t data[32], ones[32], up[32], down[32];

	memset(data, 0, 32);
	memset(ones, 0xff, 32);
	for (uint8_t i = 0; i < 32; i++) {
		up[i] = i;
		down[i] = (uint8_t)(31 - i);
	}
	/* RFC 3720 B.4; the last is the check value of every catalogue of CRCs. */
	assert_int_equal(eg_crc32c(0, data, 32), 0x8a9136aa);
	assert_int_equal(eg_crc32c(0, ones, 32), 0x62a8ab43);
	assert_int_equal(eg_crc32c(0, up, 32), 0x46dd794e);
	assert_int_equal(eg_crc32c(0, down, 32), 0x113fdb5c);
	assert_int_equal(eg_crc32c(0, pdu, 48), 0xd9963a56);
	assert_int_equal(eg_crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(eg_crc32c(0, "", 0), 0);
}

static void test_crc_hardware_is_portable(void **state)
{
	static uint8_t data[5000];
	uint64_t seed = 1;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)rig_random(&seed);
	print_message("# the processor's instruction %s used\n",
		      eg_crc32c_by_hardware() ? "is" : "is not");
	for (size_t n = 0; n < 300; n++)
		for (size_t from = 0; from < 9; from++)
			assert_int_equal(eg_crc32c(0, data + from, n),
					 eg_crc32c_portable(0, data + from, n));
	for (int i = 0; i < 1000; i++) {
		size_t n = rig_random(&seed) % sizeof(data), cut = n ? rig_random(&seed) % n : 0;
		uint32_t whole = eg_crc32c_portable(0, data, n);

		assert_int_equal(eg_crc32c(0, data, n), whole);
		assert_int_equal(eg_crc32c(eg_crc32c(0, data, cut), data + cut, n - cut), whole);
		assert_int_equal(eg_crc32c_portable(eg_crc32c(0, data, cut), data + cut, n - cut),
				 whole);
	}
}

static void test_T25_keys(void **state)
{
	static const struct {
		const char *device;
		enum eg_component component;
		enum eg_provenance provenance;
		const char *text;
		uint64_t key;
	} vectors[] = {
		{"cpu-0", EG_COMPONENT_PACKAGE, EG_PROVENANCE_MEASURED, "cpu-0/package/measured",
		 0x672897dc85f9fd0c},
		{"cpu-0", EG_COMPONENT_PACKAGE, EG_PROVENANCE_ESTIMATED, "cpu-0/package/estimated",
		 0xdf49190a11bef466},
		{"node", EG_COMPONENT_CHASSIS, EG_PROVENANCE_MEASURED, "node/chassis/measured",
		 0x1f59373e2850e387},
		{"gpu-GPU-8d1e/7", EG_COMPONENT_GPU, EG_PROVENANCE_MEASURED,
		 "gpu-GPU-8d1e/7/gpu/measured", 0xaedae272f02b5c11},
	};

	assert_true(eg_fnv1a("", 0) == 0xcbf29ce484222325);
	assert_true(eg_fnv1a("a", 1) == 0xaf63dc4c8601ec8c);
	assert_true(eg_fnv1a("foobar", 6) == 0x85944171f73967e8);
	for (size_t i = 0; i < EG_ARRAY_SIZE(vectors); i++) {
		struct eg_account a = rig_account(vectors[i].device, 1), back = {0};
		char text[EG_STORE_KEY_TEXT_MAX];

		a.component = vectors[i].component;
		a.provenance = vectors[i].provenance;
		assert_int_equal(eg_store_key_text(&a, text), strlen(vectors[i].text));
		assert_string_equal(text, vectors[i].text);
		assert_true(eg_store_key(&a) == vectors[i].key);
		assert_ok(eg_name_parse(text, &back));
		assert_string_equal(back.device, a.device);
		assert_int_equal(back.component, a.component);
		assert_int_equal(back.provenance, a.provenance);
	}
}

static void test_names_of_all_words(void **state)
{
	char device[EG_DEVICE_MAX];

	memset(device, 'x', sizeof(device) - 1);
	device[sizeof(device) - 1] = '\0';
	for (int c = 0; c < EG_COMPONENT_COUNT; c++) {
		for (int p = 0; p < EG_PROVENANCE_COUNT; p++) {
			struct eg_account a = rig_account(device, 1), back = {0};
			char text[EG_STORE_KEY_TEXT_MAX];

			a.component = (enum eg_component)c;
			a.provenance = (enum eg_provenance)p;
			assert_true(eg_store_key_text(&a, text) < sizeof(text));
			assert_ok(eg_name_parse(text, &back));
			assert_string_equal(back.device, device);
			assert_int_equal(back.component, c);
			assert_int_equal(back.provenance, p);
		}
	}
	{
		struct eg_account untouched = {.uj = 7};

		assert_int_equal(eg_name_parse("", &untouched), -EPROTO);
		assert_int_equal(eg_name_parse("a/b", &untouched), -EPROTO);
		assert_int_equal(eg_name_parse("cpu-0/package/guessed", &untouched), -ENOENT);
		assert_int_equal(eg_name_parse("cpu-0/cooling/measured", &untouched), -ENOENT);
		assert_true(untouched.uj == 7 && !untouched.device[0]);
	}
}

static void test_boot_ids(void **state)
{
	struct eg_boot a = eg_boot_parse(BOOT_A), b = eg_boot_parse(BOOT_B),
		       none = eg_boot_parse("");
	struct eg_boot odd = eg_boot_parse("not a uuid");
	char text[EG_BOOT_TEXT_MAX];

	eg_boot_text(&a, text);
	assert_string_equal(text, BOOT_A);
	assert_true(eg_boot_equal(&a, &a) && !eg_boot_equal(&a, &b));
	assert_false(eg_boot_known(&none));
	assert_false(eg_boot_equal(&none, &none)); /* unknown equals nothing */
	assert_true(eg_boot_known(&odd) && !eg_boot_equal(&odd, &a));
	eg_boot_text(&none, text);
	assert_string_equal(text, "");
	a = eg_boot_parse(NULL);
	assert_false(eg_boot_known(&a));
}

static struct eg_numbers some_numbers(uint64_t x)
{
	return (struct eg_numbers){.uj = x,
				   .recovered_uj = x / 2,
				   .gap_ns = x ^ 5,
				   .resets = 3,
				   .created_unix_ns = T0,
				   .boot = eg_boot_parse(BOOT_A),
				   .last = {.raw = UINT64_MAX,
					    .t_ns = x + 1,
					    .awake_ns = x + 2,
					    .unix_ns = T0 + 9,
					    .rem = 1,
					    .unit_num = 5,
					    .unit_den = 7,
					    .modulus = 1ull << 63,
					    .counter = true}};
}

static void assert_same_numbers(const struct eg_numbers *a, const struct eg_numbers *b)
{
	uint8_t x[EG_NUMBERS_BYTES], y[EG_NUMBERS_BYTES];

	eg_numbers_encode(x, a);
	eg_numbers_encode(y, b);
	assert_memory_equal(x, y, sizeof(x));
	assert_true(a->uj == b->uj && a->last.raw == b->last.raw &&
		    a->last.counter == b->last.counter && a->last.modulus == b->last.modulus);
}

static void test_records_there_and_back(void **state)
{
	static const char name[] = "cpu-0/package/measured";
	uint8_t bytes[EG_RECORD_WIDTH];
	struct eg_record back;

	for (int type = EG_RECORD_START; type < EG_RECORD_TYPE_END; type++) {
		struct eg_record r = {.type = (enum eg_record_type)type,
				      .session = UINT64_MAX,
				      .unix_ns = T0,
				      .n = {.boot = eg_boot_parse(BOOT_B)}};

		if (type >= EG_RECORD_ACCOUNT)
			r.key = eg_fnv1a(name, strlen(name));
		if (type == EG_RECORD_ACCOUNT || type == EG_RECORD_CHANNEL)
			assert_ok(eg_copy(r.text, sizeof(r.text), name));
		if (type == EG_RECORD_DELTA) {
			r.delta_uj = 12;
			r.base = true;
			r.feed = eg_feed_hash("x");
			r.n = some_numbers(UINT64_MAX);
		}
		eg_record_encode(bytes, &r);
		assert_true(eg_record_is_whole(bytes));
		assert_int_equal(eg_record_peek(bytes), type);
		memset(&back, 0x55, sizeof(back));
		assert_ok(eg_record_decode(bytes, &back));
		assert_int_equal(back.type, type);
		assert_true(back.session == r.session && back.unix_ns == T0);
		if (type == EG_RECORD_ACCOUNT || type == EG_RECORD_CHANNEL)
			assert_string_equal(back.text, name);
		if (type == EG_RECORD_DELTA) {
			assert_true(back.delta_uj == 12 && back.base && back.feed == r.feed);
			assert_same_numbers(&back.n, &r.n);
		}
		if (type <= EG_RECORD_STOP)
			assert_true(eg_boot_equal(&back.n.boot, &r.n.boot));
		assert_string_not_equal(eg_record_word(r.type), "?");
		for (size_t i = 0; i < sizeof(bytes); i++) {
			bytes[i] ^= 0x10;
			assert_false(eg_record_is_whole(bytes));
			bytes[i] ^= 0x10;
		}
	}
}

/* Whole by its CRC, and yet a lie: a name that has another key, a text without an end or without text. */
static void test_contradictions_are_no_records(void **state)
{
	struct eg_record r = {.type = EG_RECORD_ACCOUNT, .key = 1, .text = "a/package/measured"};
	uint8_t bytes[EG_RECORD_WIDTH];
	struct eg_record back;

	eg_record_encode(bytes, &r);
	assert_true(eg_record_is_whole(bytes));
	assert_int_equal(eg_record_decode(bytes, &back), -EPROTO);
	r.type = EG_RECORD_CHANNEL;
	r.text[0] = '\0';
	eg_record_encode(bytes, &r);
	assert_int_equal(eg_record_decode(bytes, &back), -EPROTO);
	memset(bytes + 32, 'x', EG_RECORD_TEXT_MAX);
	eg_put_u32(bytes, eg_crc32c(0, bytes + 4, EG_RECORD_WIDTH - 4));
	assert_true(eg_record_is_whole(bytes));
	assert_int_equal(eg_record_decode(bytes, &back), -EPROTO);
}

static void load_fixture(struct rig *r, const char *dir, const char *name)
{
	struct rig from = {0};
	uint8_t *data;
	size_t n;

	assert_ok(eg_copy(from.dir, sizeof(from.dir), dir));
	data = rig_load(&from, name, &n);
	rig_save(r, name, data, n);
	free(data);
}

static const char *fixture;

static const struct eg_account *find(const struct eg_store *s, const char *device,
				     enum eg_provenance provenance)
{
	const struct eg_account *a;
	size_t n = eg_store_accounts(s, &a);

	for (size_t i = 0; i < n; i++)
		if (strcmp(a[i].device, device) == 0 && a[i].provenance == provenance)
			return &a[i];
	fail_msg("no account of %s", device);
	return NULL;
}

static void check_fixture_accounts(const struct eg_store *s)
{
	const struct eg_account *a;

	assert_int_equal(eg_store_accounts(s, &a), 4);
	a = find(s, "cpu-0", EG_PROVENANCE_MEASURED);
	assert_true(a->uj == 10000000456 && a->recovered_uj == 500000000 &&
		    a->gap_ns == 39 * EG_NSEC_PER_SEC && a->resets == 1);
	assert_int_equal(a->component, EG_COMPONENT_PACKAGE);
	assert_int_equal(a->source, EG_SOURCE_RAPL);
	assert_int_equal(a->boundary, EG_BOUNDARY_COMPONENT);
	assert_string_equal(a->channel, "rapl/package-0");
	assert_true(a->last.raw == 578 && a->last.modulus == 262143328911360 && a->last.counter &&
		    a->last.unit_den == 1000 && a->last.t_ns == 71 * EG_NSEC_PER_SEC);
	a = find(s, "gpu-GPU-8d1e/7", EG_PROVENANCE_MEASURED);
	assert_true(a->uj == 18000000000 && a->component == EG_COMPONENT_GPU &&
		    a->source == EG_SOURCE_NVML);
	assert_true(a->last.t_ns == 0); /* of an earlier boot than the newest state */
	assert_true(find(s, "cpu-0", EG_PROVENANCE_ESTIMATED)->uj == 250000);
	a = find(s, "node", EG_PROVENANCE_MEASURED);
	assert_true(a->uj == 42 && a->boundary == EG_BOUNDARY_NODE && a->source == EG_SOURCE_IPMI);
}

static void test_T25_fixture_of_version_1(void **state)
{
	struct rig *r = *state;
	const struct eg_store_report *rep;
	struct eg_store *s;

	load_fixture(r, fixture, EG_STORE_LOG);
	load_fixture(r, fixture, EG_STORE_CHECKPOINT);
	s = rig_start(r, "ffeeddcc-bbaa-9988-7766-554433221100", 4);
	rep = eg_store_report(s);
	assert_true(rep->same_boot && !rep->clean && !rep->power_loss && !rep->fresh);
	assert_int_equal(rep->log_records, 15);
	assert_int_equal(rep->log_damaged, 0);
	assert_int_equal(rep->log_unknown_accounts, 1);
	check_fixture_accounts(s);
	/* Written on by this build, without anybody giving an account: all is there again, the one
	 * with a word of a later Ergon too. */
	rig_close(s, &(struct eg_account){0}, 0, T0);
	s = rig_start(r, "ffeeddcc-bbaa-9988-7766-554433221100", 4);
	assert_true(eg_store_report(s)->clean);
	assert_int_equal(eg_store_report(s)->log_unknown_accounts, 1);
	check_fixture_accounts(s);
	rig_kill(s);
}

struct comparison {
	const uint8_t *data;
	size_t n;
};

static void compare(void *ctx, const struct eg_record *r, uint64_t offset, uint64_t bytes)
{
	struct comparison *c = ctx;
	uint8_t again[EG_RECORD_WIDTH];

	assert_non_null(r);
	eg_record_encode(again, r);
	assert_memory_equal(again, c->data + offset, sizeof(again));
	c->n++;
}

/* What other code wrote is byte for byte what this writes of the same facts. */
static void test_T25_fixture_is_written_the_same(void **state)
{
	struct rig *r = *state;
	struct eg_log_found found;
	struct comparison c = {0};
	uint8_t header[EG_RECORD_WIDTH], *data;
	char path[256];
	size_t n;
	int fd;

	load_fixture(r, fixture, EG_STORE_LOG);
	data = rig_load(r, EG_STORE_LOG, &n);
	c.data = data;
	eg_log_header_encode(header, T0);
	assert_memory_equal(header, data, sizeof(header));
	rig_path(r, EG_STORE_LOG, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_ok(eg_log_read(&r->io, fd, compare, &c, &found));
	close(fd);
	assert_int_equal(c.n, 15);
	free(data);
}

static void test_T25_checkpoint_is_written_the_same(void **state)
{
	struct rig *r = *state;
	struct eg_checkpoint_found f;
	uint8_t *data;
	size_t n;

	load_fixture(r, fixture, EG_STORE_CHECKPOINT);
	data = rig_load(r, EG_STORE_CHECKPOINT, &n);
	assert_ok(eg_checkpoint_decode(data, n, &f));
	assert_int_equal(f.whole, 2);
	assert_int_equal(f.slot.n, 3);
	for (size_t i = 0; i < f.slot.n; i++) {
		char name[EG_STORE_KEY_TEXT_MAX], feed[EG_STORE_FEED_MAX];
		uint8_t again[EG_CHECKPOINT_ENTRY];
		struct eg_numbers numbers;

		eg_checkpoint_entry(data, &f, i, name, feed, &numbers);
		eg_checkpoint_encode(again, name, strlen(name), feed, strlen(feed), &numbers);
		assert_memory_equal(again,
				    data + EG_CHECKPOINT_HEADER + f.which * f.slot_bytes +
					    EG_CHECKPOINT_SLOT_HEADER + i * EG_CHECKPOINT_ENTRY,
				    sizeof(again));
	}
	free(data);
}

static void test_merge_never_falls(void **state)
{
	uint64_t seed = 7;

	for (int i = 0; i < 20000; i++) {
		struct eg_numbers a = some_numbers(rig_random(&seed) % 4),
				  b = some_numbers(rig_random(&seed) % 4), m;

		a.resets = rig_random(&seed) % 3;
		b.gap_ns = rig_random(&seed) % 3;
		b.recovered_uj = rig_random(&seed) % 3;
		a.last.unix_ns = rig_random(&seed) % 3;
		m = eg_numbers_merge(&a, &b);
		assert_true(m.uj == EG_MAX(a.uj, b.uj));
		assert_true(m.recovered_uj == EG_MAX(a.recovered_uj, b.recovered_uj));
		assert_true(m.gap_ns == EG_MAX(a.gap_ns, b.gap_ns));
		assert_true(m.resets == EG_MAX(a.resets, b.resets));
		/* The reading that the total stands on is that of the larger total. */
		if (a.uj != b.uj)
			assert_true(eg_standing_same(&m.last, a.uj > b.uj ? &a.last : &b.last));
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc_vectors),
		cmocka_unit_test(test_crc_hardware_is_portable),
		cmocka_unit_test(test_T25_keys),
		cmocka_unit_test(test_names_of_all_words),
		cmocka_unit_test(test_boot_ids),
		cmocka_unit_test(test_records_there_and_back),
		cmocka_unit_test(test_contradictions_are_no_records),
		cmocka_unit_test_setup_teardown(test_T25_fixture_of_version_1, rig_setup,
						rig_teardown),
		cmocka_unit_test_setup_teardown(test_T25_fixture_is_written_the_same, rig_setup,
						rig_teardown),
		cmocka_unit_test_setup_teardown(test_T25_checkpoint_is_written_the_same, rig_setup,
						rig_teardown),
		cmocka_unit_test(test_merge_never_falls),
	};

	if (argc < 2)
		return 2;
	fixture = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
