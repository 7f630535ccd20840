/* SPDX-License-Identifier: Apache-2.0 */
/* The gpu_metrics decoder: each version, wrong sizes, values that are absent, unknown versions. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "drivers/amdgpu/gpu_metrics.h"
#include "metrics_table.h"

static void test_versions(void **state)
{
	uint8_t b[4096];

	for (size_t i = 0; i < EG_ARRAY_SIZE(tables); i++) {
		const struct table *t = &tables[i];
		struct eg_amdgpu_metrics m;
		size_t n = table_make(t, b, 345, 0x123456789abcULL, 987654321);

		assert_int_equal(eg_amdgpu_metrics_decode(b, n, &m), 0);
		assert_int_equal(m.format, t->format);
		assert_int_equal(m.content, t->content);
		assert_int_equal(m.have_power, t->uw != 0);
		assert_int_equal(m.power_uw, 345ULL * t->uw);
		assert_int_equal(m.have_energy, t->energy != 0);
		assert_int_equal(m.energy, t->energy ? 0x123456789abcULL : 0);
		assert_true(m.have_clock);
		assert_int_equal(m.clock_ns, 987654321);
		assert_int_equal(eg_amdgpu_metrics_is_apu(b, n), t->format != 1);
	}
}

/* All ones are absence, per field. */
static void test_absent(void **state)
{
	uint8_t b[4096];

	for (size_t i = 0; i < EG_ARRAY_SIZE(tables); i++) {
		const struct table *t = &tables[i];
		struct eg_amdgpu_metrics m;
		size_t n = table_make(t, b, UINT64_MAX, UINT64_MAX, 5);

		assert_int_equal(eg_amdgpu_metrics_decode(b, n, &m), 0);
		assert_false(m.have_power);
		assert_false(m.have_energy);
		assert_true(m.have_clock);
		assert_int_equal(m.power_uw, 0);
		assert_int_equal(m.energy, 0);
		n = table_make(t, b, 0, 0, UINT64_MAX); /* zero is a value */
		assert_int_equal(eg_amdgpu_metrics_decode(b, n, &m), 0);
		assert_int_equal(m.have_power, t->uw != 0);
		assert_int_equal(m.have_energy, t->energy != 0);
		assert_false(m.have_clock);
		/* One bit less than all ones is a value too. */
		n = table_make(t, b, UINT64_MAX - 1, UINT64_MAX - 1, 5);
		assert_int_equal(eg_amdgpu_metrics_decode(b, n, &m), 0);
		assert_int_equal(m.have_power, t->uw != 0);
		assert_int_equal(m.have_energy, t->energy != 0);
	}
}

static void test_sizes(void **state)
{
	uint8_t *b = malloc(4097);

	assert_non_null(b);
	for (size_t i = 0; i < EG_ARRAY_SIZE(tables); i++) {
		struct eg_amdgpu_metrics m, untouched;
		size_t size = tables[i].size;

		memset(&m, 0x77, sizeof(m));
		untouched = m;
		memset(b, 0, 4097);
		(void)table_make(&tables[i], b, 1, 1, 1);
		for (size_t n = 0; n <= 4097; n++) {
			int r;

			if (n == size)
				continue;
			r = eg_amdgpu_metrics_decode(b, n, &m);
			assert_int_equal(r, n < 4 ? -EMSGSIZE : -EPROTO);
		}
		for (size_t declared = 0; declared < 65536; declared++) {
			if (declared == size)
				continue;
			table_put(b, 2, declared);
			assert_int_equal(eg_amdgpu_metrics_decode(b, size, &m), -EPROTO);
		}
		assert_memory_equal(&m, &untouched, sizeof(m));
	}
	free(b);
}

static void test_unknown_versions(void **state)
{
	uint8_t b[4096] = {0};
	struct eg_amdgpu_metrics m;

	for (unsigned f = 0; f < 256; f++)
		for (unsigned c = 0; c < 256; c++) {
			if (table_of(f, c))
				continue;
			table_put(b, 2, sizeof(b));
			b[2] = (uint8_t)f;
			b[3] = (uint8_t)c;
			assert_int_equal(eg_amdgpu_metrics_decode(b, sizeof(b), &m), -ENOTSUP);
			assert_int_equal(eg_amdgpu_metrics_is_apu(b, sizeof(b)), f == 2 || f == 3);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_absent),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_unknown_versions),
	};

	return cmocka_run_group_tests_name("gpu_metrics", tests, NULL, NULL);
}
