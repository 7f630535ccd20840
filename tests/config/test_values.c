/* SPDX-License-Identifier: Apache-2.0 */
/* How values are written, what stands in the environment, prices, and values that must fit together. */
#include "rig.h"

/* The key as a flag; NULL: refused with these words. */
static void assert_word(const char *key, const char *value, const char *want, const char *why)
{
	char *dot = strchr(key, '.');
	struct loaded l = load(NULL, NULL, FLAGS({key, value}));
	char section[64];
	int k;

	snprintf(section, sizeof(section), "%.*s", (int)(dot - key), key);
	k = eg_config_find(section, dot + 1);
	assert_true(k >= 0);
	if (want != NULL) {
		eg_autofree char *text = NULL;

		assert_string_equal(l.why, "");
		text = shown(l.cfg, (unsigned)k);
		assert_string_equal(text, want);
	} else {
		assert_int_equal(l.err, -EINVAL);
		assert_contains(l.why, why);
	}
	unload(&l);
}

struct word {
	const char *value, *want, *why;
};

static void assert_words(const char *key, const struct word *w, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_word(key, w[i].value, w[i].want, w[i].why);
}
#define WORDS(key, ...)                                       \
	assert_words(key, (const struct word[]){__VA_ARGS__}, \
		     EG_ARRAY_SIZE(((const struct word[]){__VA_ARGS__})))

static void test_durations(void **state)
{
	const char *bad = "is not understood; give a time with its unit, 1ms to 60s";

	WORDS("agent.interval", {"1500us", "\"1500us\""}, {"0.5s", "\"500ms\""}, {"1m", "\"60s\""},
	      {"1.5ms", "\"1500us\""}, {"1000000ns", "\"1ms\""}, {"60000ms", "\"60s\""},
	      {"5", NULL, bad}, {"", NULL, bad}, {"s", NULL, bad}, {"1 s", "\"1s\""},
	      {"1S", NULL, bad}, {"1sec", NULL, bad}, {"1s2", NULL, bad},
	      {"-1s", NULL, "is out of range"}, {"nan", NULL, bad}, {"infs", NULL, bad},
	      {"0x10s", NULL, bad}, {"1e3ms", "\"1s\""}, {"1e300h", NULL, "is out of range"},
	      {"0", NULL, "is out of range"}, {"999999ns", NULL, "is out of range"},
	      {"60.000000001s", NULL, "is out of range"});
	WORDS("agent.history", {"0", "\"0s\""}, {"0h", "\"0s\""}, {"1d", "\"24h\""},
	      {"90m", "\"90m\""}, {"25h", NULL, "0s to 24h"});
	/* A bare number is one of seconds for this key alone: all-smi has no such key. */
	WORDS("energy.hold_max", {"60", "\"60s\""}, {"1.5", "\"1500ms\""}, {"0", "\"0s\""},
	      {"3600", "\"1h\""}, {"3600.1", NULL, "is out of range"});
	WORDS("energy.gap_interpolate_seconds", {"10", "10"}, {"1.5", "1.5"}, {"2s", "2"},
	      {"1h", "3600"}, {"500ms", NULL, "give 1 to 3600 seconds"},
	      {"0", NULL, "give 1 to 3600 seconds"}, {"3601", NULL, "give 1 to 3600 seconds"},
	      {"ten", NULL, "give 1 to 3600 seconds"});
}

static void test_sizes(void **state)
{
	const char *bad = "is not understood; give a size, 64KiB to 1GiB";
	const char *range = "is out of range; give a size, 64KiB to 1GiB";

	WORDS("energy.wal_max_bytes", {"65536", "\"64KiB\""}, {"64KiB", "\"64KiB\""},
	      {"1000001", "1000001"}, {"1MB", "1000000"}, {"70kB", "70000"}, {"70000B", "70000"},
	      {"1GiB", "\"1GiB\""}, {"1073741824", "\"1GiB\""}, {"1 MiB", "\"1MiB\""},
	      {"1GB", "1000000000"}, {"65535", NULL, range}, {"1073741825", NULL, range},
	      {"2GiB", NULL, range}, {"17179869184GiB", NULL, range},
	      {"18446744073709551616", NULL, range}, {"1.5MiB", NULL, bad}, {"1M", NULL, bad},
	      {"1mib", NULL, bad}, {"-1", NULL, bad}, {"", NULL, bad}, {"MiB", NULL, bad},
	      {"1MiBx", NULL, bad}, {"1KB", NULL, bad});
}

static void test_words_of_bools_numbers_modes_and_enums(void **state)
{
	WORDS("page.enabled", {"true", "true"}, {"yes", "true"}, {"on", "true"}, {"1", "true"},
	      {"false", "false"}, {"no", "false"}, {"off", "false"}, {"0", "false"},
	      {"True", NULL, "give true or false"}, {"2", NULL, "give true or false"},
	      {"", NULL, "give true or false"});
	WORDS("http.max_clients", {"1", "1"}, {"4096", "4096"},
	      {"0", NULL, "a whole number, 1 to 4096"}, {"1.0", NULL, "a whole number"},
	      {"0x10", NULL, "a whole number"}, {"99999999999999999999", NULL, "is out of range"});
	WORDS("socket.mode", {"660", "\"0660\""}, {"0660", "\"0660\""}, {"0o660", "\"0660\""},
	      {"0", "\"0000\""}, {"1000", NULL, "\"0000\" to \"0777\""},
	      {"668", NULL, "an octal mode"}, {"rw-rw----", NULL, "an octal mode"},
	      {"", NULL, "an octal mode"}, {"0000000660", NULL, "an octal mode"},
	      {"0o", NULL, "an octal mode"});
	WORDS("access.anonymous", {"none", "\"none\""}, {"full", "\"full\""},
	      {"Full", NULL, "one of none|coarse|full"}, {"none|coarse", NULL, "one of"},
	      {"", NULL, "one of"}, {"ful", NULL, "one of"}, {"fulll", NULL, "one of"});
}

static void test_addresses(void **state)
{
	const char *bad = "is no address; give a numeric address and a port";

	WORDS("http.listen", {"0.0.0.0:9102", "\"0.0.0.0:9102\""}, {"[::]:1", "\"[::]:1\""},
	      {"127.0.0.1:0", "\"127.0.0.1:0\""}, {"off", "\"off\""},
	      {"[::1]:65535", "\"[::1]:65535\""}, {"", "\"\""}, {"localhost:9102", NULL, bad},
	      {"9102", NULL, bad}, {":9102", NULL, bad}, {"127.0.0.1", NULL, bad},
	      {"127.0.0.1:", NULL, bad}, {"127.0.0.1:65536", NULL, bad},
	      {"127.0.0.1:-1", NULL, bad}, {"127.0.0.1: 80", NULL, bad}, {"::1:9102", NULL, bad},
	      {"[::1]", NULL, bad}, {"[]:1", NULL, bad}, {"[:1", NULL, bad},
	      {"[127.0.0.1]:1", NULL, bad}, {"[fe80::1%eth0]:1", NULL, bad},
	      {"127.1:80", NULL, bad},
	      {"1111111111111111111111111111111111111111111111111111111111111111111:1", NULL, bad});
}

static void test_texts_and_paths(void **state)
{
	const char *const home[] = {"HOME=/home/a", NULL};
	struct loaded l = loaded_well("[http]\ntextfile = \"~/out.prom\"\n[agent]\nstate = \"~\"\n"
				      "run_dir = '/a\\b \"c\"'\n[energy]\ncurrency = \"\\u20ac\"\n",
				      home, NO_FLAGS);
	eg_autofree char *text = NULL;

	assert_string_equal(l.cfg->http.textfile, "/home/a/out.prom");
	assert_string_equal(l.cfg->agent.state, "/home/a");
	assert_string_equal(l.cfg->agent.run_dir, "/a\\b \"c\"");
	assert_string_equal(l.cfg->energy.currency, "\xe2\x82\xac");
	text = shown(l.cfg, EG_CONFIG_KEY_agent_run_dir);
	assert_string_equal(text, "\"/a\\\\b \\\"c\\\"\"");
	unload(&l);
	WORDS("http.textfile", {"~bob/x", NULL, "names another user's home"},
	      {"~/x", NULL, "needs $HOME, which is not set"},
	      {"a\nb", NULL, "holds a control character"},
	      {"a\x7f", NULL, "holds a control character"},
	      {"a\xc2\x9b", NULL, "holds a control character"}, {"a\xff", NULL, "is not UTF-8"},
	      {"a\xc0\x80", NULL, "is not UTF-8"}, {"a\xed\xa0\x80", NULL, "is not UTF-8"},
	      {"a\xe2\x82", NULL, "is not UTF-8"}, {"\xc3\xa9", "\"\xc3\xa9\""});
	/* Elsewhere '~' is a character like others. */
	WORDS("agent.user", {"~", "\"~\""});
}

static void test_a_home_that_does_not_fit(void **state)
{
	char home[1000] = "HOME=/";
	struct loaded l;

	memset(home + 6, 'h', sizeof(home) - 7);
	l = load(NULL, ENV(home), FLAGS({"agent.state", "~/123456"}));
	assert_int_equal(l.err, -EINVAL);
	assert_string_equal(l.why, "--state: '~/123456' is too long; give a path\n");
	unload(&l);
}

/* ---- How a value may be written in TOML ---- */

static void test_shapes(void **state)
{
	static const struct word words[] = {
		{"agent.interval = 1", NULL, "is a whole number; give a time with its unit"},
		{"agent.interval = 1.5", NULL, "is a number; give a time with its unit"},
		{"agent.interval = true", NULL, "is true or false; give"},
		{"agent.interval = [\"1s\"]", NULL, "is a list; give"},
		{"agent.interval = 2026-01-01", NULL, "is a date or time; give"},
		{"agent.interval = 07:32:00", NULL, "is a date or time; give"},
		{"agent.interval = {a = 1}", NULL, "is a section of keys; give"},
		{"agent.history = 0", "\"0s\"", NULL},
		{"agent.history = 1", NULL, "is a whole number"},
		{"page.enabled = \"true\"", NULL, "is a text; give true or false"},
		{"page.enabled = 1", NULL, "is a whole number; give true or false"},
		{"http.max_clients = \"5\"", NULL, "is a text; give a whole number"},
		{"http.max_clients = 5.0", NULL, "is a number; give a whole number"},
		{"http.max_clients = 0x20", "32", NULL},
		{"http.max_clients = 0b11", "3", NULL},
		{"http.max_clients = 0o17", "15", NULL},
		{"http.max_clients = 1_000", "1000", NULL},
		{"http.max_clients = -1", NULL, "'-1' is not understood"},
		{"energy.hold_max = 90", "\"90s\"", NULL},
		{"energy.hold_max = 0.25", "\"250ms\"", NULL},
		{"energy.hold_max = \"2m\"", "\"2m\"", NULL},
		{"energy.gap_interpolate_seconds = 1e1", "10", NULL},
		{"energy.gap_interpolate_seconds = inf", NULL, "'inf' is not understood"},
		{"energy.wal_max_bytes = 0x100000", "\"1MiB\"", NULL},
		{"energy.wal_max_bytes = 1e6", NULL, "is a number; give a size"},
		{"energy.price_per_kwh = 1", "1", NULL},
		{"energy.price_per_kwh = \"1\"", NULL, "is a text; give a number, 0 or more"},
		{"energy.currency = 5", NULL, "is a whole number; give a text of at most 16 bytes"},
		{"energy.currency = \"a\\u0000b\"", NULL, "a text holds the character U+0000"},
		{"energy.currency = \"a\\nb\"", NULL, "'a b' holds a control character"},
		{"energy.currency = '''EUR'''", "\"EUR\"", NULL},
		{"socket.mode = 0o640", "\"0640\"", NULL},
		{"socket.mode = 640", NULL, "is a whole number; give an octal mode in quotes"},
		{"socket.mode = 0b110", NULL, "is a whole number; give an octal mode in quotes"},
		{"socket.mode = 0x1A0", NULL, "is a whole number; give an octal mode in quotes"},
		{"socket.mode = \"640\"", "\"0640\"", NULL},
		{"\"socket\".\"mode\" = '640'", "\"0640\"", NULL},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(words); i++) {
		char section[32], key[64];
		struct loaded l = load(words[i].value, NULL, NO_FLAGS);

		if (words[i].want == NULL) {
			assert_int_equal(l.err, -EINVAL);
			assert_contains(l.why, words[i].why);
		} else {
			eg_autofree char *text = NULL;
			const char *p = words[i].value;
			char plain[128];
			size_t n = 0;
			int k;

			for (; *p; p++)
				if (*p != '"')
					plain[n++] = *p;
			plain[n] = '\0';
			assert_int_equal(sscanf(plain, "%31[^.].%63[^ ]", section, key), 2);
			assert_string_equal(l.why, "");
			k = eg_config_find(section, key);
			assert_true(k >= 0);
			text = shown(l.cfg, (unsigned)k);
			assert_string_equal(text, words[i].want);
		}
		unload(&l);
	}
}

/* ---- The price: T30 of the contract ---- */

static void test_price(void **state)
{
	struct loaded l = loaded_well("[energy]\nprice_per_kwh = 0.12\n", NULL, NO_FLAGS);

	assert_true(l.cfg->energy.has_price && l.cfg->energy.price_per_kwh == 0.12);
	unload(&l);
	/* Unset: no price, not 0. */
	l = loaded_well("[energy]\n", NULL, NO_FLAGS);
	assert_false(l.cfg->energy.has_price);
	unload(&l);
	/* 0 is a price, which hides the cost. */
	l = loaded_well("[energy]\nprice_per_kwh = -0.0\n", NULL, NO_FLAGS);
	assert_true(l.cfg->energy.has_price && l.cfg->energy.price_per_kwh == 0);
	unload(&l);
	l = loaded_well("[energy]\nprice_per_kwh = 0.12\nshow_cost = false\n", NULL, NO_FLAGS);
	assert_true(l.cfg->energy.has_price && !l.cfg->energy.show_cost);
	unload(&l);
	refused("[energy]\nprice_per_kwh = -0.12\n",
		"config.toml:2:17: energy.price_per_kwh: '-0.12' is negative; give a number, 0 or more\n");
	refused("[energy]\nprice_per_kwh = nan\n",
		"config.toml:2:17: energy.price_per_kwh: 'nan' is no number; give a number, 0 or more\n");
	refused("[energy]\nprice_per_kwh = -inf\n",
		"config.toml:2:17: energy.price_per_kwh: '-inf' is no number; give a number, 0 or more\n");
	for (const char *const *p =
		     ENV("nan", "NaN", "-nan", "inf", "-1", "-1e-9", "0,12", "1e999", "x", "1 2");
	     *p; p++) {
		char env[64];

		snprintf(env, sizeof(env), "ALL_SMI_ENERGY_PRICE_PER_KWH=%s", *p);
		l = load(NULL, ENV(env), NO_FLAGS);
		assert_int_equal(l.err, -EINVAL);
		assert_contains(l.why, "ALL_SMI_ENERGY_PRICE_PER_KWH: '");
		assert_contains(l.why, "give a number, 0 or more");
		unload(&l);
	}
}

/* ---- The environment ---- */

static void test_names_of_all_smi(void **state)
{
	struct loaded l = loaded_well(
		"[energy]\nprice_per_kwh = 9\ncurrency = \"SEK\"\n",
		ENV("ALL_SMI_ENERGY_PRICE_PER_KWH=0.5", "ALL_SMI_ENERGY_CURRENCY=EUR",
		    "ALL_SMI_ENERGY_SHOW_COST=false", "ALL_SMI_ENERGY_WAL_PATH=/w",
		    "ALL_SMI_ENERGY_WAL_ENABLED=0", "ALL_SMI_ENERGY_GAP_INTERPOLATE_SECONDS=20"),
		NO_FLAGS);

	assert_true(l.cfg->energy.price_per_kwh == 0.5);
	assert_string_equal(l.cfg->energy.currency, "EUR");
	assert_string_equal(l.cfg->energy.wal_path, "/w");
	assert_false(l.cfg->energy.show_cost || l.cfg->energy.wal_enabled);
	assert_int_equal(l.cfg->energy.gap_interpolate_ns, 20 * EG_NSEC_PER_SEC);
	assert_string_equal(l.warnings, ""); /* the preferred names are no matter */
	unload(&l);
}

/* ERGON_ > preferred > older, in whatever order they stand. */
static void test_order_of_names(void **state)
{
	static const char *const all[] = {"ALL_SMI_ENERGY_PRICE=1", "ERGON_ENERGY_PRICE_PER_KWH=3",
					  "ALL_SMI_ENERGY_PRICE_PER_KWH=2"};
	static const char *const said =
		"ALL_SMI_ENERGY_PRICE: an older name; use ERGON_ENERGY_PRICE_PER_KWH\n";

	for (unsigned mask = 1; mask < 8; mask++) {
		const char *env[4] = {NULL};
		size_t n = 0;
		struct loaded l;

		for (unsigned i = 0; i < 3; i++)
			if (mask & 1u << i)
				env[n++] = all[i];
		l = loaded_well("[energy]\nprice_per_kwh = 9\n", env, NO_FLAGS);
		assert_true(l.cfg->energy.price_per_kwh == (mask & 2 ? 3 : mask & 4 ? 2 : 1));
		assert_string_equal(l.warnings, mask & 1 ? said : "");
		unload(&l);
	}
}

/* Row 18 of the contract: set and non-empty, not 0 or false. */
static void test_no_cost_and_no_wal(void **state)
{
	static const struct {
		const char *value;
		bool no, odd;
	} words[] = {{"1", true},	  {"true", true},   {"yes", true},    {"on", true},
		     {"", false},	  {"0", false},	    {"false", false}, {"no", true, true},
		     {"x y", true, true}, {"2", true, true}};

	for (size_t i = 0; i < EG_ARRAY_SIZE(words); i++) {
		char cost[64], wal[64];
		struct loaded l;

		snprintf(cost, sizeof(cost), "ALL_SMI_ENERGY_NO_COST=%s", words[i].value);
		snprintf(wal, sizeof(wal), "ALL_SMI_ENERGY_NO_WAL=%s", words[i].value);
		l = loaded_well(NULL, ENV(cost, wal), NO_FLAGS);
		assert_int_equal(l.cfg->energy.show_cost, !words[i].no);
		assert_int_equal(l.cfg->energy.wal_enabled, !words[i].no);
		assert_int_equal(strstr(l.warnings, "counts as set; only 0 and false do not") !=
					 NULL,
				 words[i].odd);
		unload(&l);
		/* The preferred name goes before it. */
		l = loaded_well(NULL, ENV(cost, "ALL_SMI_ENERGY_SHOW_COST=true"), NO_FLAGS);
		assert_true(l.cfg->energy.show_cost);
		unload(&l);
	}
}

static void test_empty_variables_are_not_set(void **state)
{
	struct loaded l = loaded_well(
		"[http]\nlisten = \"off\"\n",
		ENV("ERGON_HTTP_LISTEN=", "ERGON_AGENT_INTERVAL=", "ALL_SMI_ENERGY_PRICE="),
		NO_FLAGS);

	assert_string_equal(l.cfg->http.listen, "off");
	assert_int_equal(l.c->origin[EG_CONFIG_KEY_http_listen].layer, EG_LAYER_FILE);
	assert_string_equal(l.warnings, "");
	unload(&l);
}

static void test_unknown_variables(void **state)
{
	struct loaded l =
		loaded_well(NULL,
			    ENV("ERGON_HTTP_LISTN=x", "ERGON_QQQQQQQQQQQQQQQ=1",
				"ALL_SMI_ENERGY_PRICES=1", "ERGONOMIC=1", "ALL_SMI_OTHER=1",
				"ERGON_HTTP_LISTEN_ON", "ergon_http_listen=x"),
			    NO_FLAGS);

	assert_string_equal(
		l.warnings,
		"unknown variable ERGON_HTTP_LISTN; did you mean ERGON_HTTP_LISTEN?\n"
		"unknown variable ERGON_QQQQQQQQQQQQQQQ\n"
		"unknown variable ALL_SMI_ENERGY_PRICES; did you mean ALL_SMI_ENERGY_PRICE?\n");
	unload(&l);
	/* Of ./run, make and the tests. */
	l = loaded_well(NULL,
			ENV("ERGON_TEST_DATA=/x", "ERGON_BUILD_DIR=b", "ERGON_SOAK=10",
			    "ERGON_AGENT_DIR=/y", "ERGON_FAIL_MALLOC=3", "ERGON_FAKE_CLOCK=f"),
			NO_FLAGS);
	assert_string_equal(l.warnings, "");
	unload(&l);
	l = loaded_well(NULL, ENV("ERGON_TEST_DATAX=/x", "ERGON_SOA=1"), NO_FLAGS);
	assert_string_equal(l.warnings,
			    "unknown variable ERGON_TEST_DATAX\nunknown variable ERGON_SOA\n");
	unload(&l);
}

static void test_warnings_are_bounded(void **state)
{
	const char *env[102] = {NULL};
	char text[101][24];
	struct loaded l;
	unsigned lines = 0;

	for (unsigned i = 0; i < 101; i++) {
		snprintf(text[i], sizeof(text[i]), "ERGON_%08u=", i);
		env[i] = text[i];
	}
	l = loaded_well(NULL, env, NO_FLAGS);
	for (const char *p = l.warnings; *p; p++)
		lines += *p == '\n';
	assert_int_equal(lines, 21);
	assert_contains(l.warnings, "\nand 81 more warnings\n");
	unload(&l);
}

/* ---- Options of drivers ---- */

static void test_options_of_drivers(void **state)
{
	struct loaded l = loaded_well(
		"[drivers.cpu_model]\nidle_watts = 5.5\nfull_watts = 1\n[drivers.rapl]\n",
		ENV("ERGON_DRIVERS_CPU_MODEL_FULL_WATTS=90"),
		FLAGS({"drivers", "cpu_model.idle_watts=6"}));
	const char *driver[2] = {l.cfg->setting[0].driver, l.cfg->setting[1].driver};

	assert_int_equal(l.cfg->n_settings, 2);
	assert_string_equal(driver[0], "cpu_model");
	assert_string_equal(l.cfg->setting[0].name, "idle_watts");
	assert_string_equal(l.cfg->setting[0].value, "6");
	assert_string_equal(l.c->setting_origin[0].name, "--set");
	assert_string_equal(l.cfg->setting[1].name, "full_watts");
	assert_string_equal(l.cfg->setting[1].value, "90");
	assert_string_equal(l.c->setting_origin[1].name, "ERGON_DRIVERS_CPU_MODEL_FULL_WATTS");
	unload(&l);
	refused("[drivers.cpu_modle]\nidle_watts = 1\n",
		"config.toml:1:10: no driver 'cpu_modle'; did you mean cpu_model?\n");
	refused("[drivers.cpu_model]\nidle_wats = 1\n",
		"config.toml:2:1: driver cpu_model has no option "
		"'idle_wats'; did you mean idle_watts?\n");
	refused("[drivers.cpu_model]\nidle_watts = \"a\"\n",
		"config.toml:2:1: cpu_model.idle_watts: 'a' is no number\n");
	refused("[drivers.cpu_model]\nidle_watts = [1]\n",
		"config.toml:2:1: drivers.cpu_model.idle_watts takes one text, number, true or false\n");
	refused("drivers.cpu_model = 1\n",
		"config.toml:1:9: drivers.cpu_model is a section: write [drivers.cpu_model]\n");
	refused("drivers = 1\n", "config.toml:1:1: drivers is a section: write [drivers]\n");
}

static void test_set(void **state)
{
	static const char *const bad[] = {
		"", "rapl", "rapl.x", "=", ".=", "rapl.=1", ".x=1", "rapl=x.y", NULL};

	for (size_t i = 0; bad[i]; i++) {
		struct loaded l = load(NULL, NULL, FLAGS({"drivers", bad[i]}));

		assert_int_equal(l.err, -EINVAL);
		assert_contains(l.why, "is no DRIVER.OPTION=VALUE");
		unload(&l);
	}
}

/* ---- What must fit together ---- */

static void test_tls(void **state)
{
	refused("[http]\ntls_key = \"/k\"\n",
		"config.toml:2:11: http.tls_key needs http.tls_certificate\n");
	refused("[http]\ntls_certificate = \"/c\"\n",
		"config.toml:2:19: http.tls_certificate needs http.tls_key\n");
	refused("[http]\ntls_client_ca = \"/c\"\n",
		"config.toml:2:17: http.tls_client_ca needs http.tls_certificate and http.tls_key\n");
}

static void assert_warns(const char *toml, const char *part)
{
	struct loaded l = loaded_well(toml, NULL, NO_FLAGS);

	if (part != NULL)
		assert_contains(l.warnings, part);
	else
		assert_string_equal(l.warnings, "");
	unload(&l);
}

static void test_listening_outside_is_told(void **state)
{
	static const char *const outside[] = {"0.0.0.0:9102", "[::]:9102",
					      "192.0.2.1:80", "[2001:db8::1]:80",
					      "128.0.0.1:1",  "[::ffff:10.0.0.1]:1",
					      "[::2]:1"};
	static const char *const inside[] = {
		"127.0.0.1:1",		"127.255.0.1:1", "[::1]:1", "[0:0:0:0:0:0:0:1]:1",
		"[::ffff:127.0.0.1]:1", "off",		 ""};
	char toml[256];

	for (size_t i = 0; i < EG_ARRAY_SIZE(outside); i++) {
		snprintf(toml, sizeof(toml), "[http]\nlisten = \"%s\"\n", outside[i]);
		assert_warns(toml, "config.toml:2:10: whoever reaches ");
		assert_warns(toml,
			     "set http.basic_auth_file, http.token_file or http.tls_client_ca\n");
		snprintf(toml, sizeof(toml), "[http]\nlisten = \"%s\"\ntoken_file = \"/t\"\n",
			 outside[i]);
		assert_warns(toml, "travel unencrypted");
		snprintf(toml, sizeof(toml),
			 "[http]\nlisten = \"%s\"\ntoken_file = \"/t\"\ntls_key = \"/k\"\n"
			 "tls_certificate = \"/c\"\n",
			 outside[i]);
		assert_warns(toml, NULL);
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(inside); i++) {
		snprintf(toml, sizeof(toml), "[http]\nlisten = \"%s\"\n", inside[i]);
		assert_warns(toml, NULL);
		snprintf(toml, sizeof(toml), "[http]\nlisten = \"%s\"\nbasic_auth_file = \"/t\"\n",
			 inside[i]);
		assert_warns(toml, NULL);
	}
}

static void test_access_that_is_odd_is_told(void **state)
{
	assert_warns("[access]\nanonymous = \"full\"\n",
		     "config.toml:2:13: anybody who reaches 127.0.0.1:9102");
	assert_warns("[access]\nanonymous = \"full\"\n[http]\nlisten = \"off\"\n", NULL);
	assert_warns("[access]\nanonymous = \"none\"\n", "nobody can read from 127.0.0.1:9102");
	assert_warns("[access]\nanonymous = \"none\"\n[http]\ntoken_file = \"/t\"\n", NULL);
	assert_warns("[access]\nanonymous = \"none\"\n[http]\nlisten = \"0.0.0.0:1\"\n",
		     "nobody can read from 0.0.0.0:1");
}

static void test_backend(void **state)
{
	struct eg_strbuf toml = EG_STRBUF_INIT(1024);
	struct loaded l;

	refused("[energy]\nbackend = \"rapl,,nvml\"\n",
		"config.toml:2:11: 'rapl,,nvml' is no list of at most 32 patterns such as "
		"rapl,nvml/gpu-0\n");
	eg_strbuf_puts(&toml, "[energy]\nbackend = \"a");
	for (int i = 0; i < 31; i++)
		eg_strbuf_printf(&toml, ",a%d", i);
	eg_strbuf_puts(&toml, "\" #\"\n");
	assert_warns(eg_strbuf_get(&toml), NULL);
	memcpy(strstr(toml.s, "\" #\""), ",z \"", 4);
	l = load(toml.s, NULL, NO_FLAGS);
	assert_int_equal(l.err, -EINVAL);
	unload(&l);
	eg_strbuf_free(&toml);
}

/* Row 6 of the contract: sampling slower than the threshold must not make every step a gap. */
static void test_gap_below_two_intervals_is_told(void **state)
{
	assert_warns(
		"[agent]\ninterval = \"15s\"\n",
		"energy.gap_interpolate_seconds is below two intervals, which are used instead");
	assert_warns("[agent]\ninterval = \"5s\"\n", NULL);
	assert_warns("[agent]\ninterval = \"15s\"\n[energy]\ngap_interpolate_seconds = 30\n", NULL);
	assert_warns("[energy]\ngap_interpolate_seconds = 1\n", "config.toml:2:27: ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_words_of_bools_numbers_modes_and_enums),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_texts_and_paths),
		cmocka_unit_test(test_a_home_that_does_not_fit),
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_price),
		cmocka_unit_test(test_names_of_all_smi),
		cmocka_unit_test(test_order_of_names),
		cmocka_unit_test(test_no_cost_and_no_wal),
		cmocka_unit_test(test_empty_variables_are_not_set),
		cmocka_unit_test(test_unknown_variables),
		cmocka_unit_test(test_warnings_are_bounded),
		cmocka_unit_test(test_options_of_drivers),
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_listening_outside_is_told),
		cmocka_unit_test(test_access_that_is_odd_is_told),
		cmocka_unit_test(test_backend),
		cmocka_unit_test(test_gap_below_two_intervals_is_told),
	};

	return cmocka_run_group_tests_name("config-values", tests, rig_enter, rig_leave);
}
