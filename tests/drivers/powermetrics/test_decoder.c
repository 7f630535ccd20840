/* SPDX-License-Identifier: Apache-2.0 */
/* The plist decoder on hand-written, damaged, generated and captured streams. */
#include "../../host/tree.h"

#include "drivers/powermetrics/decoder.h"

#define HEAD \
	"<?xml version=\"1.0\"?>\n<!DOCTYPE plist PUBLIC \"a\" \"b\">\n<plist version=\"1.0\">\n<dict>\n"
#define TAIL	"</dict>\n</plist>\n"
#define ELAPSED "<key>elapsed_ns</key><integer>1000000000</integer>\n"
#define BIT(f)	(1u << EG_POWERMETRICS_##f)

struct got {
	struct eg_powermetrics_sample s[64];
	size_t n;
	uint64_t dropped;
};

/* Feeds in pieces of `piece` bytes. */
static struct got decode(const char *data, size_t n, size_t piece)
{
	struct eg_powermetrics_decoder d = {0};
	struct got g = {0};

	for (size_t at = 0; at < n;) {
		struct eg_powermetrics_sample s;
		size_t len = EG_MIN(piece, n - at);
		bool done;
		size_t took = eg_powermetrics_feed(&d, data + at, len, &s, &done);

		assert_true(took > 0 && took <= len);
		at += took;
		if (done && g.n < EG_ARRAY_SIZE(g.s))
			g.s[g.n++] = s;
	}
	g.dropped = d.dropped;
	return g;
}

static struct got decode_text(const char *text)
{
	struct got a = decode(text, strlen(text), 1), b = decode(text, strlen(text), 4096);

	assert_int_equal(a.n, b.n);
	assert_memory_equal(a.s, b.s, sizeof(a.s));
	return a;
}

static void values(void **state)
{
	struct got g = decode_text(
		HEAD ELAPSED
		"<key>processor</key>\n<dict>\n<key>cpu_energy</key>\n<integer>465</integer>\n"
		"<key>gpu_energy</key><real>27.5</real><key>ane_energy</key>"
		"<integer>0</integer><key>combined_power</key><real>4.925e+02</real>"
		"</dict>" TAIL);

	assert_int_equal(g.n, 1);
	assert_int_equal(g.s[0].elapsed_ns, 1000000000);
	assert_int_equal(g.s[0].have, BIT(CPU) | BIT(GPU) | BIT(ANE) | BIT(SOC));
	assert_int_equal(g.s[0].uj[EG_POWERMETRICS_CPU], 465000);
	assert_int_equal(g.s[0].uj[EG_POWERMETRICS_GPU], 27500);
	assert_int_equal(g.s[0].uj[EG_POWERMETRICS_ANE], 0);
	assert_int_equal(g.s[0].uj[EG_POWERMETRICS_SOC], 492500);
	/* Power only; Intel; elapsed after the values; half a second. */
	g = decode_text(HEAD "<key>processor</key><dict><key>package_watts</key><real>20.5</real>"
			     "<key>cpu_power</key><integer>3000</integer></dict>"
			     "<key>elapsed_ns</key><integer>500000000</integer>" TAIL);
	assert_int_equal(g.n, 1);
	assert_int_equal(g.s[0].have, BIT(PACKAGE) | BIT(CPU));
	assert_int_equal(g.s[0].uj[EG_POWERMETRICS_PACKAGE], 10250000);
	assert_int_equal(g.s[0].uj[EG_POWERMETRICS_CPU], 1500000);
	/* The GPU's own dictionary. */
	g = decode_text(HEAD ELAPSED "<key>gpu</key><dict><key>gpu_energy</key><integer>7</integer>"
				     "<key>cpu_energy</key><integer>9</integer></dict>" TAIL);
	assert_int_equal(g.s[0].have, BIT(GPU));
}

/* Absent is absent: nothing becomes 0 joules. */
static void absent(void **state)
{
	static const char *const v[] = {
		"<key>cpu_energy</key><integer>-1</integer>",
		"<key>cpu_energy</key><real>nan</real>",
		"<key>cpu_energy</key><real>inf</real>",
		"<key>cpu_energy</key><real></real>",
		"<key>cpu_energy</key><real/>",
		"<key>cpu_energy</key><string>5</string>",
		"<key>cpu_energy</key><integer>5 J</integer>",
		"<key>cpu_energy</key><integer>0x10</integer>",
		"<key>cpu_energy</key><real>1e300</real>",
		"<key>cpu_energy</key><integer>99999999999999999999999999</integer>",
		"<key>cpu_energy</key><true/><integer>5</integer>",
		"<integer>5</integer>",
		"<key>clusters</key><array><dict><key>cpu_energy</key><integer>5</integer></dict></array>",
		"<key>inner</key><dict><key>cpu_energy</key><integer>5</integer></dict>",
		("<key>cpu_energy_that_is_a_longer_key_than_any_key_of_interest_could_ever_be_here"
		 "</key><integer>5</integer>"),
		"",
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(v); i++) {
		char text[2048];

		snprintf(text, sizeof(text),
			 HEAD ELAPSED "<key>processor</key><dict>%s</dict>" TAIL, v[i]);
		struct got g = decode_text(text);

		assert_int_equal(g.n, 1);
		assert_int_equal(g.s[0].have, 0);
	}
	/* Outside the processor a key of that name means something else. */
	struct got g = decode_text(HEAD ELAPSED "<key>cpu_energy</key><integer>5</integer>"
						"<key>tasks</key><dict><key>cpu_energy</key>"
						"<integer>5</integer></dict>" TAIL);
	assert_int_equal(g.n, 1);
	assert_int_equal(g.s[0].have, 0);
}

static void damaged(void **state)
{
	static const char *const bad[] = {
		HEAD TAIL, /* no time */
		HEAD "<key>elapsed_ns</key><integer>0</integer>" TAIL,
		HEAD "<key>elapsed_ns</key><integer>99999999999999999</integer>" TAIL,
		HEAD ELAPSED "</dict></plist>\n</dict>"
			     "<plist></plist>",			/* second is empty */
		HEAD ELAPSED "<key>processor</key><dict>" TAIL, /* not closed */
		"<plist>" ELAPSED "</plist>",			/* no dict */
		"<plist></dict>" ELAPSED "</plist>",
	};
	static const char good[] = HEAD ELAPSED "<key>processor</key><dict><key>cpu_energy</key>"
						"<integer>3</integer></dict>" TAIL;
	char deep[4096] = HEAD ELAPSED "<key>processor</key>";

	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		struct got g = decode_text(bad[i]);

		assert_int_equal(g.n, i == 3);
		assert_int_equal(g.dropped, 1);
	}
	for (int i = 0; i < 100; i++)
		strcat(deep, "<dict>");
	for (int i = 0; i < 100; i++)
		strcat(deep, "</dict>");
	strcat(deep, TAIL);
	assert_int_equal(decode_text(deep).n, 0);

	/* Whatever stands before a NUL, the document behind it is found. */
	for (size_t cut = 0; cut < sizeof(good) - 1; cut++) {
		char stream[2 * sizeof(good) + 1];

		memcpy(stream, good, cut);
		stream[cut] = '\0';
		memcpy(stream + cut + 1, good, sizeof(good) - 1);
		for (size_t piece = 1; piece < 40; piece += 13) {
			struct got g = decode(stream, cut + sizeof(good), piece);

			assert_true(g.n >= 1 && g.n <= 2);
			assert_int_equal(g.s[g.n - 1].have, BIT(CPU));
			assert_int_equal(g.s[g.n - 1].uj[EG_POWERMETRICS_CPU], 3000);
		}
	}
}

/* Megabytes in one document cost no memory: the state has a fixed size. */
static void huge(void **state)
{
	static const char noise[] = "<key>tasks</key><array><dict><key>name</key><string>x</string>"
				    "</dict></array>";
	struct eg_powermetrics_decoder d = {0};
	struct eg_powermetrics_sample s;
	bool done;

	assert_int_equal(eg_powermetrics_feed(&d, HEAD ELAPSED, strlen(HEAD ELAPSED), &s, &done),
			 strlen(HEAD ELAPSED));
	for (int i = 0; i < 100000; i++) {
		assert_int_equal(eg_powermetrics_feed(&d, noise, sizeof(noise) - 1, &s, &done),
				 sizeof(noise) - 1);
		assert_false(done);
	}
	for (int i = 0; i < 1000000; i++)
		(void)!eg_powermetrics_feed(&d, i & 1 ? "a" : "\t", 1, &s, &done);
	(void)!eg_powermetrics_feed(&d, TAIL, strlen(TAIL), &s, &done);
	assert_true(done);
	assert_int_equal(s.elapsed_ns, 1000000000);
}

static void captures(void **state)
{
	const char *data = test_data();
	char path[512];
	size_t n = 0;

	if (!data)
		skip();
	snprintf(path, sizeof(path), "%s/powermetrics/macbookpro-m1pro-two-samples.plist", data);
	eg_autofree char *text = slurp(path, &n);

	assert_non_null(text);
	struct got g = decode(text, n, 977);

	assert_int_equal(g.n, 2);
	assert_int_equal(g.dropped, 0);
	assert_int_equal(g.s[0].elapsed_ns, 1026042166);
	assert_int_equal(g.s[1].elapsed_ns, 1036837833);
	assert_int_equal(g.s[0].have, BIT(CPU) | BIT(GPU) | BIT(ANE) | BIT(SOC));
	assert_int_equal(g.s[0].uj[EG_POWERMETRICS_CPU], 465000);
	assert_int_equal(g.s[0].uj[EG_POWERMETRICS_GPU], 27000);
	assert_int_equal(g.s[0].uj[EG_POWERMETRICS_ANE], 0);
	/* 479.512 mW x 1.026042166 s; and it is the sum of its parts, to their rounding. */
	assert_int_equal(g.s[0].uj[EG_POWERMETRICS_SOC], 492000);

	static const struct {
		const char *name;
		size_t samples;
		bool gpu;
	} small[] = {{"battery.xml", 1, false},
		     {"battery_multiple_samples.xml", 3, false},
		     {"gpu_power.xml", 1, true},
		     {"gpu_power_multiple_samples.xml", 5, true}};
	for (size_t i = 0; i < EG_ARRAY_SIZE(small); i++) {
		snprintf(path, sizeof(path), "%s/powermetrics/plist-small/%s", data, small[i].name);
		eg_autofree char *t = slurp(path, &n);

		assert_non_null(t);
		g = decode(t, n, 4096);
		print_message("# %s: %zu samples\n", small[i].name, g.n);
		assert_int_equal(g.n, small[i].samples);
		for (size_t k = 0; k < g.n; k++)
			assert_int_equal(g.s[k].have, small[i].gpu ? BIT(GPU) : 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values), cmocka_unit_test(absent),   cmocka_unit_test(damaged),
		cmocka_unit_test(huge),	  cmocka_unit_test(captures),
	};

	return cmocka_run_group_tests_name("powermetrics-decoder", tests, NULL, NULL);
}
