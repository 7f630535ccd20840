/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options of drivers that hold secrets, in a build whose table of drivers is this file's: no driver of
 * today has one. They are masked wherever the configuration is shown, and never part of a message.
 */
#include "rig.h"

#define SECRET "hunter2-\xc3\xa9"

static const struct eg_option bmc_options[] = {
	{"password", EG_OPTION_TEXT, NULL, "x"},  {"password_file", EG_OPTION_TEXT, NULL, "x"},
	{"community", EG_OPTION_TEXT, NULL, "x"}, {"pin_token", EG_OPTION_U64, NULL, "x"},
	{"address", EG_OPTION_TEXT, NULL, "x"},	  {0}};
static const struct eg_driver bmc = {.name = "bmc", .summary = "x", .options = bmc_options};
static const struct eg_driver bare = {.name = "bare", .summary = "x"};
const struct eg_driver *const eg_drivers[] = {&bmc, &bare, NULL};
const struct eg_known_driver eg_known_drivers[] = {
	{.name = "bmc"}, {.name = "bare"}, {.name = "elsewhere"}, {0}};

static void assert_masked(const char *text)
{
	if (strstr(text, "hunter2") != NULL)
		fail_msg("the secret is in '%s'", text);
}

static void test_print_masks(void **state)
{
	struct loaded l = loaded_well("[drivers.bmc]\npassword = \"" SECRET "\"\n"
				      "password_file = \"/etc/p\"\naddress = \"10.0.0.1\"\n",
				      ENV("ERGON_DRIVERS_BMC_COMMUNITY=" SECRET),
				      FLAGS({"drivers", "bmc.pin_token=5"}));

	assert_int_equal(l.cfg->n_settings, 5);
	assert_string_equal(l.cfg->setting[0].value, SECRET); /* whoever needs it has it */
	for (int json = 0; json < 2; json++) {
		struct eg_strbuf out = EG_STRBUF_INIT(1 << 20);

		eg_config_print(l.c, json, &out);
		assert_masked(eg_strbuf_get(&out));
		assert_contains(eg_strbuf_get(&out),
				json ? "\"value\": \"***\"" : "bmc.password = \"***\"");
		assert_contains(eg_strbuf_get(&out), "/etc/p");
		assert_contains(eg_strbuf_get(&out), "10.0.0.1");
		if (!json) {
			assert_contains(eg_strbuf_get(&out), "bmc.community = \"***\"");
			assert_contains(eg_strbuf_get(&out), "bmc.pin_token = \"***\"");
		}
		eg_strbuf_free(&out);
	}
	unload(&l);
}

static void assert_refused_and_masked(const char *toml, const char *const *env, const char *flag)
{
	struct eg_config_flag f = {"drivers", flag};
	struct loaded l = load(toml, env, &f, flag != NULL);

	assert_int_equal(l.err, -EINVAL);
	assert_masked(l.why);
	assert_masked(l.warnings);
	unload(&l);
}

static void test_mistakes_mask(void **state)
{
	assert_refused_and_masked("[drivers.bmc]\npin_token = \"" SECRET "\"\n", NULL, NULL);
	assert_refused_and_masked(NULL, ENV("ERGON_DRIVERS_BMC_PIN_TOKEN=" SECRET), NULL);
	assert_refused_and_masked(NULL, ENV("ERGON_DRIVERS_BMC_PASSWORD=" SECRET "\xff"), NULL);
	assert_refused_and_masked(NULL, NULL, "bmc.pin_token=" SECRET);
	assert_refused_and_masked(NULL, NULL, "bmc-password=" SECRET);
	assert_refused_and_masked(NULL, NULL, "bmc.passwort=" SECRET);
	assert_refused_and_masked(NULL, NULL, "bcm.password=" SECRET);
	/* A variable that is not known may be one that was meant to be secret. */
	{
		struct loaded l =
			loaded_well(NULL, ENV("ERGON_DRIVERS_BMC_PASSWROD=" SECRET), NO_FLAGS);

		assert_contains(l.warnings, "did you mean ERGON_DRIVERS_BMC_PASSWORD?");
		assert_masked(l.warnings);
		unload(&l);
	}
}

static void test_restart_names_keys_only(void **state)
{
	struct loaded a = loaded_well("[drivers.bmc]\npassword = \"" SECRET "\"\n", NULL, NO_FLAGS);
	struct loaded b = loaded_well("", NULL, NO_FLAGS);
	struct eg_strbuf out = EG_STRBUF_INIT(1024);

	eg_config_needs_restart(a.cfg, b.cfg, &out);
	assert_string_equal(eg_strbuf_get(&out), "drivers.bmc.password");
	eg_strbuf_free(&out);
	unload(&a);
	unload(&b);
}

static void test_drivers_without_options_and_of_other_builds(void **state)
{
	struct loaded l;

	refused("[drivers.bare]\nx = 1\n", FILE_NAME ":2:1: driver bare has no options\n");
	l = loaded_well("[drivers.elsewhere]\nx = 1\n", NULL, FLAGS({"drivers", "elsewhere.y=2"}));
	assert_int_equal(l.cfg->n_settings, 0);
	assert_string_equal(l.warnings, FILE_NAME ":2:1: driver elsewhere is not in this build\n"
						  "--set: driver elsewhere is not in this build\n");
	unload(&l);
}

static void test_settings_are_bounded(void **state)
{
	struct eg_config_flag flags[EG_CONFIG_SETTINGS_MAX + 1];
	struct loaded l;

	/* The same one again replaces it. */
	for (size_t i = 0; i < EG_ARRAY_SIZE(flags); i++)
		flags[i] = (struct eg_config_flag){"drivers",
						   i % 2 ? "bmc.address=a" : "bmc.address=b"};
	l = loaded_well(NULL, NULL, flags, EG_ARRAY_SIZE(flags));
	assert_int_equal(l.cfg->n_settings, 1);
	assert_string_equal(l.cfg->setting[0].value, "b");
	unload(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_print_masks),
		cmocka_unit_test(test_mistakes_mask),
		cmocka_unit_test(test_restart_names_keys_only),
		cmocka_unit_test(test_drivers_without_options_and_of_other_builds),
		cmocka_unit_test(test_settings_are_bounded),
	};

	return cmocka_run_group_tests_name("config-secrets", tests, rig_enter, rig_leave);
}
