/* SPDX-License-Identifier: Apache-2.0 */
/* The pure decoders: typed values, and the ring of samples on the interval clock. */
#include "rig.h"

#include <errno.h>
#include <math.h>

#include "drivers/nvml/decode.h"

static void test_values(void **state)
{
	static const struct {
		uint32_t type;
		union nvml_value v;
		int rc;
		uint64_t mw;
	} cases[] = {
		{NVML_U32, {.ui = 350000}, 0, 350000},
		{NVML_U32, {.ui = 0}, 0, 0},
		{NVML_U64, {.ull = 1ULL << 40}, 0, 1ULL << 40},
		{NVML_U64, {.ull = UINT64_MAX}, -ERANGE, 0},
		{NVML_ULONG, {.ul = 77}, 0, 77},
		{NVML_DOUBLE, {.d = 1234.6}, 0, 1235},
		{NVML_DOUBLE, {.d = NAN}, -ERANGE, 0},
		{NVML_DOUBLE, {.d = -1}, -ERANGE, 0},
		{NVML_DOUBLE, {.d = INFINITY}, -ERANGE, 0},
		{NVML_DOUBLE, {.d = 1e300}, -ERANGE, 0},
		{NVML_S64, {.sll = -5}, -ERANGE, 0},
		{NVML_S64, {.sll = 5}, 0, 5},
		{NVML_S32, {.si = -5}, -ERANGE, 0},
		{NVML_S32, {.si = 5}, 0, 5},
		{NVML_U16, {.us = 65535}, 0, 65535},
		{7, {.ui = 5}, -EPROTO, 0},
		{UINT32_MAX, {.ui = 5}, -EPROTO, 0},
	};

	(void)state;
	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		uint64_t mw = 4711;

		assert_int_equal(eg_nvml_value_mw(cases[i].type, &cases[i].v, &mw), cases[i].rc);
		assert_int_equal(mw, cases[i].rc ? 4711 : cases[i].mw);
	}
}

static void test_ring(void **state)
{
	/* Real-time clock 10,000,000 us at interval clock 5 s. */
	const struct nvml_sample s[] = {
		{9960000, {.ui = 3}},  {9920000, {.ui = 1}},  {0, {.ui = 99}},
		{9940000, {.ui = 2}},  {9960000, {.ui = 7}},  {10000001, {.ui = 99}},
		{10000000, {.ui = 4}}, {9000000, {.ui = 98}}, {4999999, {.ui = 97}},
	};
	struct eg_nvml_point p[EG_ARRAY_SIZE(s)];
	int n = eg_nvml_ring_decode(s, EG_ARRAY_SIZE(s), NVML_U32, 4900000000, 5000000000,
				    10000000000, p);

	(void)state;
	assert_int_equal(n, 4);
	for (int i = 0; i < n; i++) {
		assert_int_equal(p[i].mw, i + 1);
		assert_int_equal(p[i].t_ns,
				 i < 3 ? 4920000000 + (uint64_t)i * 20000000 : 5000000000);
		assert_false(p[i].bad);
	}
	assert_int_equal(eg_nvml_ring_decode(s, 1, 9, 0, 5000000000, 10000000000, p), -EPROTO);
	assert_int_equal(eg_nvml_ring_decode(s, 0, NVML_U32, 0, 0, 0, p), 0);
	/* A sample older than the interval clock itself. */
	assert_int_equal(eg_nvml_ring_decode(s, 9, NVML_U32, 0, 1000000, 10000000000, p), 1);
}

static void test_ring_bad_values(void **state)
{
	const struct nvml_sample s[] = {{100, {.d = NAN}}, {200, {.d = -1}}, {300, {.d = 5}}};
	struct eg_nvml_point p[3];

	(void)state;
	assert_int_equal(eg_nvml_ring_decode(s, 3, NVML_DOUBLE, 0, 1000000, 1000000, p), 3);
	assert_true(p[0].bad);
	assert_true(p[1].bad);
	assert_false(p[2].bad);
	assert_int_equal(p[2].mw, 5);
}

static void test_text(void **state)
{
	struct nvml_pci_info pci = {.domain = 0x10, .bus = 0xca, .device = 1};
	char text[32], raw[4] = {'a', '\n', (char)0x80, 'b'};

	(void)state;
	eg_nvml_pci_text(&pci, text, sizeof(text));
	assert_string_equal(text, "0010:ca:01.0");
	eg_nvml_text(raw, sizeof(raw));
	assert_string_equal(raw, "a??");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_ring),
		cmocka_unit_test(test_ring_bad_values),
		cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests_name("nvml-decode", tests, NULL, NULL);
}
