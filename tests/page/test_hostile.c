/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are no energy page, or a damaged or hostile one: each is refused, or gives numbers that
 * mean nothing, and never more than that.
 */
#include <errno.h>
#include <fcntl.h>

#include "rig.h"

#define ACCOUNTS 3
#define BYTES	 (256 + ACCOUNTS * (512 + 64))

static uint8_t good[BYTES];

/* A whole page, without an agent behind it. */
static void make(struct rig *r)
{
	struct eg_page_writer *w;
	int fd;

	rig_init(r, ACCOUNTS);
	rig_step(r, 10, rig_now());
	w = rig_create(r);
	fd = open(r->path, O_RDONLY);
	assert_int_equal(read(fd, good, BYTES), BYTES);
	close(fd);
	eg_page_close(w);
}

static void put(const struct rig *r, const void *bytes, size_t n)
{
	int fd = open(r->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, bytes, n), n);
	close(fd);
}

/* Everything a program could ask. */
static void use(ergon_page *page)
{
	struct ergon_page_info info = ERGON_PAGE_INFO_INIT;
	struct ergon_page_reading x = ERGON_PAGE_READING_INIT;
	struct ergon_page_delta d = ERGON_PAGE_DELTA_INIT;
	struct ergon_page_sum s = ERGON_PAGE_SUM_INIT;
	ergon_page_mark *mark;
	uint64_t age;

	for (size_t i = 0; i < ergon_page_count(page); i++) {
		assert_int_equal(ergon_page_account(page, i, &info), 0);
		assert_true(strlen(info.device) + strlen(info.channel) + strlen(info.source) +
				    strlen(info.component) + strlen(info.boundary) +
				    strlen(info.provenance) <
			    512);
		(void)ergon_page_read(page, i, &x);
	}
	(void)ergon_page_find(page, "cpu-0", "package", NULL);
	(void)ergon_page_total(page, &s);
	(void)ergon_page_state(page);
	(void)ergon_page_age_ns(page, &age);
	if (ergon_page_mark_new(page, &mark) == 0) {
		(void)ergon_page_since(page, mark, &d);
		ergon_page_mark_free(mark);
	}
}

/* The answer to a page of which n bytes at an offset are others. */
static int changed(const struct rig *r, size_t at, const void *what, size_t n)
{
	static uint8_t bytes[BYTES];
	ergon_page *page = (void *)1;
	int error;

	memcpy(bytes, good, BYTES);
	memcpy(bytes + at, what, n);
	put(r, bytes, BYTES);
	error = ergon_page_open(r->path, &page);
	if (error < 0) {
		assert_ptr_equal(page, (void *)1);
		return error;
	}
	use(page);
	ergon_page_close(page);
	return 0;
}

static int changed_u32(const struct rig *r, size_t at, uint32_t v)
{
	v = htole32(v);
	return changed(r, at, &v, sizeof(v));
}

static int changed_u64(const struct rig *r, size_t at, uint64_t v)
{
	v = htole64(v);
	return changed(r, at, &v, sizeof(v));
}

#define AT(field) offsetof(struct eg_page_header, field)

static void test_header_fields(void **state)
{
	static const uint32_t u32[] = {0, 1, 7, 63, 65, 255, 511, 4097, 1u << 31, UINT32_MAX};
	static const uint64_t u64[] = {0,
				       1,
				       8,
				       BYTES + 1,
				       1ull << 32,
				       1ull << 63,
				       UINT64_MAX,
				       UINT64_MAX - 63,
				       UINT64_MAX - 255,
				       UINT64_MAX - BYTES + 1};
	struct rig r;

	make(&r);
	assert_int_equal(changed_u64(&r, AT(magic), EG_PAGE_MAGIC), 0); /* the page is good */
	assert_int_equal(changed_u64(&r, AT(magic), EG_PAGE_MAGIC + 1), -EPROTO);
	for (size_t i = 0; i < EG_ARRAY_SIZE(u32); i++) {
		if (u32[i] != 1)
			assert_int_equal(changed_u32(&r, AT(version), u32[i]), -EPROTO);
		assert_int_equal(changed_u32(&r, AT(header_size), u32[i]), -EPROTO);
		if (u32[i] > 1) /* fewer accounts is a smaller page */
			assert_int_equal(changed_u32(&r, AT(n_accounts), u32[i]), -EPROTO);
		assert_int_equal(changed_u32(&r, AT(record_size), u32[i]), -EPROTO);
		assert_int_equal(changed_u32(&r, AT(line_size), u32[i]), -EPROTO);
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(u64); i++) {
		assert_int_equal(changed_u64(&r, AT(total_size), u64[i]), -EPROTO);
		assert_int_equal(changed_u64(&r, AT(records_offset), u64[i]), -EPROTO);
		assert_int_equal(changed_u64(&r, AT(lines_offset), u64[i]), -EPROTO);
	}
	assert_int_equal(changed_u64(&r, AT(lines_offset), 256), -EPROTO); /* over the records */
	assert_int_equal(changed_u64(&r, AT(interval_ns), 0), -EPROTO);
	assert_int_equal(changed_u64(&r, AT(interval_ns), UINT64_MAX / 3 + 2), -EPROTO);
	assert_int_equal(changed(&r, AT(boot_id), memset((char[40]){0}, 'a', 40), 40), -EPROTO);
	/* What only describes is taken as it is; an unknown state is not running. */
	assert_int_equal(changed_u64(&r, AT(state), 99), 0);
	assert_int_equal(changed_u64(&r, AT(generation), UINT64_MAX), 0);
	assert_int_equal(changed_u64(&r, AT(pid), UINT64_MAX), 0);
	rig_free(&r);
}

/* Every byte of the page, with values at the edges: refused or harmless. */
static void test_every_byte(void **state)
{
	static const uint8_t value[] = {0, 1, 0x7f, 0x80, 0xff};
	size_t refused = 0, taken = 0;
	struct rig r;

	make(&r);
	for (size_t at = 0; at < BYTES; at++)
		for (size_t k = 0; k < sizeof(value); k++) {
			int error;

			/* An odd sequence costs the reader its patience each time: a few are enough. */
			if (at >= 192 && at % 64 == 0 && k > 1)
				continue;
			error = changed(&r, at, &value[k], 1);
			assert_true(error == 0 || error == -EPROTO);
			refused += error != 0;
			taken += error == 0;
		}
	assert_true(refused > 100 && taken > 1000);
	rig_free(&r);
}

static void test_cut_short(void **state)
{
	ergon_page *page;
	struct rig r;

	make(&r);
	for (size_t n = 0; n < BYTES; n++) {
		put(&r, good, n);
		assert_int_equal(ergon_page_open(r.path, &page), -EPROTO);
	}
	rig_free(&r);
}

static void test_texts(void **state)
{
	static const struct {
		size_t at, size;
	} text[] = {{0, 96}, {96, 192}, {288, 32}, {320, 32}, {352, 16}, {368, 16}};
	uint8_t a[192];
	struct rig r;

	make(&r);
	memset(a, 'a', sizeof(a));
	for (size_t i = 0; i < EG_ARRAY_SIZE(text); i++)
		for (size_t k = 0; k < ACCOUNTS; k++) {
			size_t at = 256 + k * 512 + text[i].at;

			assert_int_equal(changed(&r, at, a, text[i].size), -EPROTO);
			assert_int_equal(changed(&r, at, a, text[i].size - 1), 0);
		}
	rig_free(&r);
}

/* The file changes after it was opened: sizes and texts are the reader's own by then. */
static void test_changed_later(void **state)
{
	struct ergon_page_info info = ERGON_PAGE_INFO_INIT;
	struct ergon_page_reading x = ERGON_PAGE_READING_INIT;
	static uint8_t bytes[BYTES];
	ergon_page *page;
	struct rig r;
	int fd;

	make(&r);
	put(&r, good, BYTES);
	page = rig_open(&r);
	memset(bytes, 0xfe, sizeof(bytes));
	fd = open(r.path, O_WRONLY);
	assert_int_equal(write(fd, bytes, BYTES), BYTES);
	close(fd);
	use(page);
	assert_int_equal(ergon_page_count(page), ACCOUNTS);
	assert_int_equal(ergon_page_account(page, 2, &info), 0);
	assert_string_equal(info.device, "cpu-2");
	/* An even sequence, so a whole line; it says that no reading has been there. */
	assert_int_equal(ergon_page_read(page, 2, &x), -ENODATA);
	assert_int_equal(ergon_page_state(page), ERGON_PAGE_ENDED);
	ergon_page_close(page);
	rig_free(&r);
}

/* A writer that changes the sequence for ever must not hold the reader for ever. */
static void test_odd_for_ever(void **state)
{
	struct ergon_page_reading x = ERGON_PAGE_READING_INIT;
	struct ergon_page_delta d = ERGON_PAGE_DELTA_INIT;
	struct ergon_page_sum s = ERGON_PAGE_SUM_INIT;
	const uint64_t odd = htole64(3), even = htole64(4);
	const off_t line = 256 + ACCOUNTS * 512 + 64;
	ergon_page_mark *mark = NULL, *none = (void *)1;
	ergon_page *page;
	struct rig r;
	int fd;

	make(&r);
	put(&r, good, BYTES);
	page = rig_open(&r);
	assert_int_equal(ergon_page_mark_new(page, &mark), 0);
	fd = open(r.path, O_WRONLY);
	assert_int_equal(pwrite(fd, &odd, 8, line), 8);
	x.total_uj = s.total_uj = d.uj = 42;
	assert_int_equal(ergon_page_read(page, 1, &x), -EAGAIN);
	assert_int_equal(ergon_page_total(page, &s), -EAGAIN);
	assert_int_equal(ergon_page_since(page, mark, &d), -EAGAIN);
	assert_int_equal(ergon_page_mark_new(page, &none), -EAGAIN);
	assert_ptr_equal(none, (void *)1);
	assert_int_equal(x.total_uj + s.total_uj + d.uj, 3 * 42);
	assert_int_equal(ergon_page_read(page, 0, &x), 0); /* the others can be read */
	assert_int_equal(ergon_page_read(page, 2, &x), 0);
	assert_int_equal(pwrite(fd, &even, 8, line), 8);
	assert_int_equal(ergon_page_read(page, 1, &x), 0);
	assert_int_equal(pwrite(fd, &odd, 8, 192), 8); /* the tick's own */
	assert_int_equal(ergon_page_read(page, 1, &x), 0);
	assert_int_equal(ergon_page_total(page, &s), -EAGAIN);
	assert_int_equal(ergon_page_since(page, mark, &d), -EAGAIN);
	close(fd);
	ergon_page_mark_free(mark);
	ergon_page_close(page);
	rig_free(&r);
}

/* Parts of a later version: longer header, records and lines, each read by its own size. */
static void test_later_version_appends(void **state)
{
	enum {
		HEADER = 320,
		RECORD = 576,
		LINE = 128,
		TOTAL = HEADER + ACCOUNTS * (RECORD + LINE)
	};
	struct ergon_page_info info = ERGON_PAGE_INFO_INIT;
	struct ergon_page_reading x = ERGON_PAGE_READING_INIT;
	static _Alignas(64) uint8_t bytes[TOTAL + 100];
	struct eg_page_header *h = (void *)bytes;
	ergon_page *page;
	struct rig r;

	make(&r);
	memcpy(bytes, good, 256);
	h->header_size = htole32(HEADER);
	h->record_size = htole32(RECORD);
	h->line_size = htole32(LINE);
	h->total_size = htole64(TOTAL);
	h->records_offset = htole64(HEADER);
	h->lines_offset = htole64(HEADER + ACCOUNTS * RECORD);
	for (size_t i = 0; i < ACCOUNTS; i++) {
		memcpy(bytes + HEADER + i * RECORD, good + 256 + i * 512, 512);
		memcpy(bytes + HEADER + ACCOUNTS * RECORD + i * LINE,
		       good + 256 + ACCOUNTS * 512 + i * 64, 64);
	}
	put(&r, bytes, sizeof(bytes)); /* and a file that is longer than its page */
	page = rig_open(&r);
	assert_int_equal(ergon_page_account(page, 2, &info), 0);
	assert_string_equal(info.device, "cpu-2");
	assert_int_equal(ergon_page_read(page, 2, &x), 0);
	assert_true(rig_whole(&x, 2));
	ergon_page_close(page);
	rig_free(&r);
}

static void test_not_files(void **state)
{
	ergon_page *page;
	struct rig r;

	rig_init(&r, 1);
	assert_int_equal(ergon_page_open(r.path, &page), -ENOENT);
	assert_int_equal(ergon_page_open(r.dir, &page), -EPROTO);
	assert_int_equal(ergon_page_open("/dev/null", &page), -EPROTO);
	assert_int_equal(ergon_page_open("/dev/null/energy", &page), -ENOTDIR);
	assert_int_equal(ergon_page_open("", &page), -ENOENT);
	assert_int_equal(mkfifo(r.path, 0600), 0);
	assert_int_equal(ergon_page_open(r.path, &page), -EPROTO); /* and does not wait */
	rig_free(&r);
}

/* A file that is no page in the place of the next one: said, and the old one stays. */
static void test_refresh_to_nonsense(void **state)
{
	struct ergon_page_reading x = ERGON_PAGE_READING_INIT;
	struct eg_page_writer *w;
	ergon_page *page;
	struct rig r;

	make(&r);
	w = rig_create(&r);
	page = rig_open(&r);
	eg_page_close(w);
	put(&r, good, 100);
	assert_int_equal(ergon_page_refresh(page), -EPROTO);
	assert_int_equal(ergon_page_read(page, 1, &x), 0);
	assert_true(rig_whole(&x, 1));
	ergon_page_close(page);
	rig_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header_fields),
		cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_changed_later),
		cmocka_unit_test(test_odd_for_ever),
		cmocka_unit_test(test_later_version_appends),
		cmocka_unit_test(test_not_files),
		cmocka_unit_test(test_refresh_to_nonsense),
	};

	return cmocka_run_group_tests_name("page-hostile", tests, NULL, NULL);
}
