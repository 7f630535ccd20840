/* SPDX-License-Identifier: Apache-2.0 */
/* The texts of the protocol: time-outs, content types, percent-encoding. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "grpc/wire.h"

static void timeouts(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {
		{"1H", 3600000000000},
		{"2M", 120000000000},
		{"5S", 5000000000},
		{"2010m", 2010000000},
		{"7u", 7000},
		{"99999999n", 99999999},
		{"0n", 0},
		{"00000001S", 1000000000},
		{"99999999H", UINT64_MAX},
		{"99999999M", 99999999ULL * 60 * 1000000000},
	};
	static const char *const bad[] = {"",		"S",   "5",    "5s",   "5 S", "-5S", "+5S",
					  "123456789S", "5Sx", "0x1S", "1.5S", "5h",  "SS",  " 5S"};
	uint64_t ns;

	for (size_t i = 0; i < EG_ARRAY_SIZE(good); i++) {
		ns = 1;
		assert_int_equal(eg_grpc_parse_timeout(good[i].text, strlen(good[i].text), &ns), 0);
		assert_true(ns == good[i].ns);
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		ns = 42;
		assert_int_equal(eg_grpc_parse_timeout(bad[i], strlen(bad[i]), &ns), -EINVAL);
		assert_true(ns == 42);
	}
}

static void content_types(void **state)
{
	static const char *const good[] = {"application/grpc", "application/grpc+proto",
					   "application/grpc;charset=utf-8", "Application/GRPC"};
	static const char *const bad[] = {
		"",	     "application/grp", "application/grpc-web", "application/grpcx",
		"text/html", "application/json"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(good); i++)
		assert_true(eg_grpc_is_content_type(good[i], strlen(good[i])));
	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++)
		assert_false(eg_grpc_is_content_type(bad[i], strlen(bad[i])));
}

static void encode(const char *text, const char *want)
{
	char out[EG_GRPC_TEXT_MAX];
	size_t n = eg_grpc_encode_text(text, out);

	assert_int_equal(n, strlen(want));
	assert_memory_equal(out, want, n);
}

static void texts(void **state)
{
	char text[EG_GRPC_TEXT_MAX + 8], want[EG_GRPC_TEXT_MAX + 8];

	encode("", "");
	encode("plain ~ text", "plain ~ text");
	encode("50% \t\x7f\r\n", "50%25 %09%7F%0D%0A");
	encode("\xc3\xbc", "%C3%BC");
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	memcpy(want, text, sizeof(want));
	want[EG_GRPC_TEXT_MAX] = '\0';
	encode(text, want);
	/* A character of two bytes that fits by half is left out. */
	for (int at = EG_GRPC_TEXT_MAX - 6; at <= EG_GRPC_TEXT_MAX; at++) {
		bool fits = at == EG_GRPC_TEXT_MAX - 6;

		memset(text, 'x', sizeof(text));
		memcpy(text + at, "\xc3\xbc", 3);
		memset(want, 'x', (size_t)at);
		memcpy(want + at, fits ? "%C3%BC" : "", fits ? 7 : 1);
		encode(text, want);
	}
}

static void prefixes(void **state)
{
	uint8_t p[EG_GRPC_PREFIX_BYTES];

	eg_grpc_put_prefix(p, 0x01020304);
	assert_memory_equal(p, "\0\1\2\3\4", 5);
	assert_true(eg_grpc_get_length(p) == 0x01020304);
	assert_true(eg_grpc_get_length((const uint8_t *)"\0\xff\xff\xff\xff") == UINT32_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timeouts),
		cmocka_unit_test(content_types),
		cmocka_unit_test(texts),
		cmocka_unit_test(prefixes),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
