/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every key, by its row: its default, another value through every layer, the borders of its range, what
 * goes before what, and that its sentence says what its row does.
 */
#include "rig.h"

#include "base/parse.h"

/* ---- Values made from rows ---- */

static const char *word_of(const struct eg_config_key *k, unsigned n, char *buf, size_t size)
{
	const char *p = k->value;

	while (n-- > 0)
		p += strcspn(p, "|") + 1;
	snprintf(buf, size, "%.*s", (int)strcspn(p, "|"), p);
	return buf;
}

static unsigned words_of(const struct eg_config_key *k)
{
	unsigned n = 1;

	for (const char *p = k->value; *p; p++)
		n += *p == '|';
	return n;
}

/* Two values that are neither the default nor each other; where there are but two, the second is the
 * default. */
static const char *other(const struct eg_config_key *k, unsigned n, char *buf, size_t size)
{
	static const char *const texts[] = {"some text", "another"};
	static const char *const paths[] = {"/some/where", "/else/where"};
	static const char *const addresses[] = {"127.0.0.1:1", "[::1]:65535"};
	static const char *const prices[] = {"0.25", "0"};
	static const char *const modes[] = {"0600", "0000"};
	const char *const *list = NULL;

	switch (k->type) {
	case EG_CONFIG_BOOL:
		return (strcmp(k->fallback, "true") == 0) == (n == 0) ? "false" : "true";
	case EG_CONFIG_TEXT:
		if (strcmp(k->name, "backend") == 0)
			return n ? "-dram" : "rapl,nvml/gpu-*";
		list = texts;
		break;
	case EG_CONFIG_FILE:
	case EG_CONFIG_DIR:
		list = paths;
		break;
	case EG_CONFIG_ADDRESS:
		list = addresses;
		break;
	case EG_CONFIG_PRICE:
		list = prices;
		break;
	case EG_CONFIG_OCTAL:
		list = modes;
		break;
	case EG_CONFIG_ENUM:
		for (unsigned i = 0; i < words_of(k); i++) {
			word_of(k, i, buf, size);
			if (strcmp(buf, k->fallback) != 0 && n-- == 0)
				return buf;
		}
		return k->fallback;
	default: /* the borders, and within where the default is one */
		snprintf(buf, size, "%s", n ? k->max : k->min);
		if (strcmp(buf, k->fallback) == 0)
			snprintf(buf, size, "7m");
		return buf;
	}
	return list[n];
}

static void put_toml(char *out, size_t size, const struct eg_config_key *k, const char *value)
{
	const char *quote = eg_config_is_quoted(k) ? "\"" : "";

	snprintf(out, size, "[%s]\n%s = %s%s%s\n", k->section, k->name, quote, value, quote);
}

static void put_env(char *out, size_t size, const struct eg_config_key *k, const char *value)
{
	char name[EG_CONFIG_NAME_MAX];

	eg_config_env_name(k->section, k->name, name);
	snprintf(out, size, "%s=%s", name, value);
}

static struct eg_config_flag flag(const struct eg_config_key *k, const char *value, char *buf,
				  size_t size)
{
	snprintf(buf, size, "%s.%s", k->section, k->name);
	return (struct eg_config_flag){buf, value};
}

/* What the key holds, as text, with quotes. */
static void assert_holds(const struct loaded *l, unsigned key, const char *value)
{
	const char *quote = eg_config_is_quoted(&eg_config_keys[key]) ? "\"" : "";
	eg_autofree char *text = shown(l->cfg, key);
	char want[EG_CONFIG_TEXT_MAX];

	snprintf(want, sizeof(want), "%s%s%s", quote, value, quote);
	assert_string_equal(text, want);
}

/* Keys that need others beside them. */
static bool stands_alone(const struct eg_config_key *k)
{
	return strncmp(k->name, "tls_", 4) != 0;
}

static const char *const tls_flags[] = {"http.tls_certificate", "http.tls_key",
					"grpc.tls_certificate", "grpc.tls_key"};

/* Loads one key through some layers; what tls_* need else is given by flags that lose nothing. */
static struct loaded load_key(unsigned key, const char *file_value, const char *env_value,
			      const char *flag_value)
{
	const struct eg_config_key *k = &eg_config_keys[key];
	char toml[4096], env[4096], name[64];
	struct eg_config_flag flags[1 + EG_ARRAY_SIZE(tls_flags)];
	size_t n = 0;

	put_toml(toml, sizeof(toml), k, file_value ? file_value : "");
	put_env(env, sizeof(env), k, env_value ? env_value : "");
	if (flag_value)
		flags[n++] = flag(k, flag_value, name, sizeof(name));
	for (size_t i = 0; !stands_alone(k) && i < EG_ARRAY_SIZE(tls_flags); i++)
		if (strncmp(tls_flags[i], k->section, 4) != 0 ||
		    strcmp(tls_flags[i] + 5, k->name) != 0)
			flags[n++] = (struct eg_config_flag){tls_flags[i], "/tls"};
	return loaded_well(file_value ? toml : NULL, ENV(env_value ? env : "A=b"), flags, n);
}

/* ---- Defaults: written down here once more, as the issue and the contract have them ---- */

static void test_defaults(void **state)
{
	struct loaded l = loaded_well(NULL, NULL, NO_FLAGS);
	const struct eg_config *c = l.cfg;

	assert_int_equal(c->agent.interval_ns, 1000000000);
	assert_string_equal(c->agent.state, "");
	assert_string_equal(c->agent.user, "");
	assert_int_equal(c->agent.log_level, 2);
	assert_int_equal(c->agent.log_format, EG_LOG_FORMAT_TEXT);
	assert_int_equal(c->agent.history_ns, 600 * EG_NSEC_PER_SEC);
	assert_true(c->agent.seccomp);
	assert_false(c->energy.has_price);
	assert_string_equal(c->energy.currency, "USD");
	assert_true(c->energy.show_cost && c->energy.wal_enabled);
	assert_string_equal(c->energy.wal_path, "");
	assert_int_equal(c->energy.wal_flush_ns, 60 * EG_NSEC_PER_SEC);
	assert_int_equal(c->energy.wal_max_bytes, 16 << 20);
	assert_int_equal(c->energy.gap_interpolate_ns, 10 * EG_NSEC_PER_SEC);
	assert_int_equal(c->energy.hold_max_ns, 60 * EG_NSEC_PER_SEC);
	assert_string_equal(c->energy.backend, "auto");
	assert_false(c->energy.allow_estimates);
	assert_string_equal(c->http.listen, "127.0.0.1:9102");
	assert_string_equal(c->http.tls_certificate, "");
	assert_string_equal(c->http.token_file, "");
	assert_int_equal(c->http.max_clients, 256);
	assert_string_equal(c->grpc.listen, "127.0.0.1:50053");
	assert_string_equal(c->grpc.tls_listen, "off");
	assert_string_equal(c->grpc.token_file, "");
	assert_int_equal(c->grpc.interval_ns, 50000000);
	assert_string_equal(c->grpc.gpus, "");
	assert_false(c->grpc.cpu_as_primary);
	assert_string_equal(c->zeusd.listen, "off");
	assert_string_equal(c->zeusd.socket, "");
	assert_int_equal(c->zeusd.mode, 0666);
	assert_string_equal(c->zeusd.token_file, "");
	assert_false(c->zeusd.claim_control);
	assert_int_equal(c->socket.mode, 0666);
	assert_string_equal(c->socket.group, "ergon");
	assert_true(c->page.enabled);
	assert_string_equal(c->page.group, "ergon");
	assert_int_equal(c->access.anonymous, EG_ACCESS_COARSE);
	assert_int_equal(c->access.authenticated, EG_ACCESS_FULL);
	assert_int_equal(c->access.group, EG_ACCESS_FULL);
	assert_int_equal(c->access.others, EG_ACCESS_COARSE);
	assert_int_equal(c->access.coarse_interval_ns, EG_NSEC_PER_SEC);
	assert_int_equal(c->access.max_windows, 256);
	assert_int_equal(c->access.window_expiry_ns, 24 * 3600 * EG_NSEC_PER_SEC);
	assert_true(c->compat.all_smi);
	assert_false(c->compat.all_smi_rows || c->compat.node_exporter || c->compat.dcgm ||
		     c->compat.estimates);
	assert_int_equal(c->n_settings, 0);
	assert_string_equal(c->file, "");
	assert_string_equal(l.warnings, "");
	unload(&l);
}

/* ---- Every key ---- */

static void test_each_layer_sets_each_key(void **state)
{
	for (unsigned i = 0; i < EG_CONFIG_N_KEYS; i++) {
		const struct eg_config_key *k = &eg_config_keys[i];
		char buf[256], env_name[EG_CONFIG_NAME_MAX];
		const char *value = other(k, 0, buf, sizeof(buf));
		struct loaded l = load_key(i, value, NULL, NULL);

		assert_string_not_equal(value, k->fallback);
		assert_holds(&l, i, value);
		assert_int_equal(l.c->origin[i].layer, EG_LAYER_FILE);
		assert_int_equal(l.c->origin[i].line, 2);
		assert_int_equal(l.c->origin[i].column, strlen(k->name) + 4);
		assert_string_equal(l.cfg->file, FILE_NAME);
		unload(&l);

		l = load_key(i, NULL, value, NULL);
		assert_holds(&l, i, value);
		assert_int_equal(l.c->origin[i].layer, EG_LAYER_ENV);
		eg_config_env_name(k->section, k->name, env_name);
		assert_string_equal(l.c->origin[i].name, env_name);
		unload(&l);

		l = load_key(i, NULL, NULL, value);
		assert_holds(&l, i, value);
		assert_int_equal(l.c->origin[i].layer, EG_LAYER_FLAG);
		if (k->flag != NULL)
			assert_string_equal(l.c->origin[i].name + 2, k->flag);
		unload(&l);
	}
}

static void test_flag_before_environment_before_file(void **state)
{
	for (unsigned i = 0; i < EG_CONFIG_N_KEYS; i++) {
		const struct eg_config_key *k = &eg_config_keys[i];
		char a[256], b[256];
		const char *first = other(k, 0, a, sizeof(a));
		const char *second = other(k, 1, b, sizeof(b));
		struct loaded l = load_key(i, first, second, NULL);

		assert_string_not_equal(first, second);
		assert_holds(&l, i, second);
		assert_int_equal(l.c->origin[i].layer, EG_LAYER_ENV);
		unload(&l);
		l = load_key(i, second, NULL, first);
		assert_holds(&l, i, first);
		assert_int_equal(l.c->origin[i].layer, EG_LAYER_FLAG);
		unload(&l);
		l = load_key(i, NULL, second, first);
		assert_holds(&l, i, first);
		unload(&l);
		l = load_key(i, first, first, second);
		assert_holds(&l, i, second);
		unload(&l);
	}
}

/* A value that loses is checked as well. */
static void test_a_mistake_below_a_flag_is_a_mistake(void **state)
{
	struct loaded l = load("[agent]\ninterval = \"0s\"\n", ENV("ERGON_AGENT_INTERVAL=61s"),
			       FLAGS({"agent.interval", "2s"}));

	assert_int_equal(l.err, -EINVAL);
	assert_string_equal(
		l.why,
		"config.toml:2:12: agent.interval: '0s' is out of range; give a time with its "
		"unit, 1ms to 60s\n"
		"ERGON_AGENT_INTERVAL: '61s' is out of range; give a time with its unit, 1ms to "
		"60s\n");
	unload(&l);
}

/* ---- Borders ---- */

static uint64_t number_of(const struct eg_config_key *k, const char *value)
{
	char name[64];
	struct eg_config_flag f = flag(k, value, name, sizeof(name));
	struct loaded l = loaded_well(NULL, NULL, &f, 1);
	const void *field = (const char *)l.cfg + k->offset;
	uint64_t v = k->type == EG_CONFIG_OCTAL ? *(const unsigned *)field :
						  *(const uint64_t *)field;

	unload(&l);
	return v;
}

static void put_number(char *out, size_t size, const struct eg_config_key *k, uint64_t v)
{
	switch (k->type) {
	case EG_CONFIG_DURATION:
		snprintf(out, size, "%lluns", (unsigned long long)v);
		break;
	case EG_CONFIG_SECONDS:
		snprintf(out, size, "%llu.%09llu", (unsigned long long)(v / EG_NSEC_PER_SEC),
			 (unsigned long long)(v % EG_NSEC_PER_SEC));
		break;
	case EG_CONFIG_OCTAL:
		snprintf(out, size, "%llo", (unsigned long long)v);
		break;
	default:
		snprintf(out, size, "%llu", (unsigned long long)v);
		break;
	}
}

static void assert_range(unsigned key, const char *value, bool inside)
{
	const struct eg_config_key *k = &eg_config_keys[key];
	char toml[512], env[512], name[64];
	struct eg_config_flag f = flag(k, value, name, sizeof(name));

	put_toml(toml, sizeof(toml), k, value);
	put_env(env, sizeof(env), k, value);
	for (int layer = 0; layer < 3; layer++) {
		struct loaded l = load(layer == 0 ? toml : NULL, ENV(layer == 1 ? env : "A=b"), &f,
				       layer == 2);

		if (inside != (l.err == 0))
			fail_msg("%s.%s = %s: %d %s", k->section, k->name, value, l.err, l.why);
		if (!inside) {
			assert_contains(l.why, "is out of range; give ");
			assert_contains(l.why, k->min);
			assert_contains(l.why, k->max);
		}
		unload(&l);
	}
}

static void test_borders(void **state)
{
	unsigned ranges = 0;

	for (unsigned i = 0; i < EG_CONFIG_N_KEYS; i++) {
		const struct eg_config_key *k = &eg_config_keys[i];
		char text[64];
		uint64_t min, max;

		if (k->max[0] == '\0' || k->type == EG_CONFIG_TEXT)
			continue;
		ranges++;
		min = number_of(k, k->min);
		max = number_of(k, k->max);
		assert_true(min < max);
		put_number(text, sizeof(text), k, min);
		assert_range(i, text, true);
		assert_int_equal(number_of(k, text), min);
		put_number(text, sizeof(text), k, max);
		assert_range(i, text, true);
		assert_int_equal(number_of(k, text), max);
		put_number(text, sizeof(text), k, max + 1);
		assert_range(i, text, false);
		if (min > 0) {
			put_number(text, sizeof(text), k, min - 1);
			assert_range(i, text, false);
		}
	}
	assert_int_equal(ranges, 13);
}

/* As the issue and the contract have them. */
static void test_ranges_of_the_contract(void **state)
{
	static const struct {
		const char *section, *key;
		uint64_t min, max;
	} want[] = {
		{"agent", "interval", 1000000, 60000000000},
		{"energy", "gap_interpolate_seconds", 1000000000, 3600000000000},
		{"energy", "hold_max", 0, 3600000000000},
		{"energy", "wal_flush", 1000000000, 3600000000000},
		{"access", "coarse_interval", 1000000000, 3600000000000},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(want); i++) {
		int key = eg_config_find(want[i].section, want[i].key);

		assert_true(key >= 0);
		assert_int_equal(number_of(&eg_config_keys[key], eg_config_keys[key].min),
				 want[i].min);
		assert_int_equal(number_of(&eg_config_keys[key], eg_config_keys[key].max),
				 want[i].max);
	}
}

static void test_texts_have_ceilings(void **state)
{
	char long_text[EG_CONFIG_TEXT_MAX + 2];

	for (unsigned i = 0; i < EG_CONFIG_N_KEYS; i++) {
		const struct eg_config_key *k = &eg_config_keys[i];
		uint64_t max = EG_CONFIG_TEXT_MAX;
		char name[64];
		struct eg_config_flag f = flag(k, long_text, name, sizeof(name));
		struct loaded l;

		if (k->type != EG_CONFIG_TEXT && k->type != EG_CONFIG_FILE &&
		    k->type != EG_CONFIG_DIR)
			continue;
		if (k->max[0])
			assert_int_equal(eg_parse_u64(k->max, strlen(k->max), &max), 0);
		memset(long_text, 'x', max + 1);
		/* Patterns of a selection have a ceiling of their own. */
		for (size_t j = 9; strcmp(k->name, "backend") == 0 && j <= max; j += 40)
			long_text[j] = ',';
		long_text[max + 1] = '\0';
		l = load(NULL, NULL, &f, 1);
		assert_int_equal(l.err, -EINVAL);
		assert_contains(l.why, "is too long");
		assert_int_equal(strstr(l.why, "...'") != NULL, max > 64); /* repeated in part */
		unload(&l);
		long_text[max] = '\0';
		if (!stands_alone(k))
			continue;
		l = loaded_well(NULL, NULL, &f, 1);
		unload(&l);
	}
}

/* ---- The sentences ---- */

/* " 1ms to" in "1ms to 60s" but not in "11ms". */
static bool says(const char *help, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = help; (p = strstr(p, word)) != NULL; p++)
		if ((p == help || strchr(" (,:", p[-1])) &&
		    (p[n] == '\0' || strchr(" ,;.:)", p[n])))
			return true;
	return false;
}

static void test_sentences_say_what_the_rows_do(void **state)
{
	for (unsigned i = 0; i < EG_CONFIG_N_KEYS; i++) {
		const struct eg_config_key *k = &eg_config_keys[i];
		char buf[64];

		if (k->fallback[0] && !says(k->help, k->fallback))
			fail_msg("%s.%s does not say its default %s", k->section, k->name,
				 k->fallback);
		if (k->fallback[0] && !strcasestr(k->help, "default"))
			fail_msg("%s.%s", k->section, k->name);
		if (k->type == EG_CONFIG_ENUM)
			for (unsigned w = 0; w < words_of(k); w++) {
				if (!says(k->help, word_of(k, w, buf, sizeof(buf))))
					fail_msg("%s.%s does not say %s", k->section, k->name, buf);
			}
		else if (k->max[0] && k->type != EG_CONFIG_TEXT &&
			 (!says(k->help, k->min) || !says(k->help, k->max)))
			fail_msg("%s.%s does not say its range", k->section, k->name);
		assert_int_equal(k->help[strlen(k->help) - 1], '.');
	}
}

static void test_names_are_unlike(void **state)
{
	for (unsigned i = 0; i < EG_CONFIG_N_KEYS; i++) {
		char a[EG_CONFIG_NAME_MAX], b[EG_CONFIG_NAME_MAX];

		assert_int_equal(eg_config_find(eg_config_keys[i].section, eg_config_keys[i].name),
				 i);
		eg_config_env_name(eg_config_keys[i].section, eg_config_keys[i].name, a);
		for (unsigned j = 0; j < i; j++) {
			eg_config_env_name(eg_config_keys[j].section, eg_config_keys[j].name, b);
			assert_string_not_equal(a, b);
			if (eg_config_keys[i].flag && eg_config_keys[j].flag)
				assert_string_not_equal(eg_config_keys[i].flag,
							eg_config_keys[j].flag);
		}
	}
	assert_int_equal(eg_config_find("http", "interval"), -ENOENT);
}

/* ---- Reload ---- */

static void test_what_needs_a_restart(void **state)
{
	struct loaded old = loaded_well(NULL, NULL, NO_FLAGS);

	for (unsigned i = 0; i < EG_CONFIG_N_KEYS; i++) {
		const struct eg_config_key *k = &eg_config_keys[i];
		char buf[256], name[64];
		struct loaded l;
		struct eg_strbuf out = EG_STRBUF_INIT(1024);

		if (!stands_alone(k))
			continue;
		l = load_key(i, other(k, 0, buf, sizeof(buf)), NULL, NULL);
		eg_config_needs_restart(old.cfg, l.cfg, &out);
		snprintf(name, sizeof(name), "%s.%s", k->section, k->name);
		assert_string_equal(eg_strbuf_get(&out), k->bits & EG_CONFIG_RESTART ? name : "");
		eg_strbuf_reset(&out);
		eg_config_needs_restart(l.cfg, l.cfg, &out);
		assert_int_equal(out.len, 0);
		eg_strbuf_free(&out);
		unload(&l);
	}
	unload(&old);
}

static void test_options_of_drivers_need_a_restart(void **state)
{
	struct loaded old = loaded_well("[drivers.cpu_model]\nidle_watts = 5\n", NULL, NO_FLAGS);
	struct loaded new_one = loaded_well(
		"[drivers.cpu_model]\nfull_watts = 90\n[http]\nlisten = \"off\"\n", NULL, NO_FLAGS);
	struct eg_strbuf out = EG_STRBUF_INIT(1024);

	eg_config_needs_restart(old.cfg, new_one.cfg, &out);
	assert_string_equal(
		eg_strbuf_get(&out),
		"http.listen, drivers.cpu_model.idle_watts, drivers.cpu_model.full_watts");
	eg_strbuf_free(&out);
	unload(&old);
	unload(&new_one);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_each_layer_sets_each_key),
		cmocka_unit_test(test_flag_before_environment_before_file),
		cmocka_unit_test(test_a_mistake_below_a_flag_is_a_mistake),
		cmocka_unit_test(test_borders),
		cmocka_unit_test(test_ranges_of_the_contract),
		cmocka_unit_test(test_texts_have_ceilings),
		cmocka_unit_test(test_sentences_say_what_the_rows_do),
		cmocka_unit_test(test_names_are_unlike),
		cmocka_unit_test(test_what_needs_a_restart),
		cmocka_unit_test(test_options_of_drivers_need_a_restart),
	};

	return cmocka_run_group_tests_name("config-keys", tests, rig_enter, rig_leave);
}
