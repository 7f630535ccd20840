/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that only the start needed is given back, and everything still works. */
#include "rig.h"

#include "agent/settle.h"

/* Resident pages of files, kB. */
static long resident_kb(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	long kb = -1;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, "RssFile:", 8) == 0)
			kb = strtol(line + 8, NULL, 10);
	fclose(f);
	return kb;
}

static void test_settle(void **state)
{
	static const char text[] = "[http]\nlisten = \"off\"\n[energy]\nprice_per_kwh = 0.5\n";
	struct loaded before = loaded_well(text, NULL, NO_FLAGS), after;
	long first = resident_kb(), second;

	if (first < 0)
		skip();
	eg_settle();
	second = resident_kb();
	assert_true(second < first);
	/* What was relocated or written is untouched, and code comes back. */
	after = loaded_well(text, NULL, NO_FLAGS);
	assert_string_equal(before.cfg->http.listen, after.cfg->http.listen);
	assert_true(after.cfg->energy.price_per_kwh == 0.5);
	unload(&after);
	unload(&before);
	refused("[http\n",
		FILE_NAME ":1:6: Error while parsing table header: expected ']', saw '\\n'\n");
	for (int i = 0; i < 100; i++)
		eg_settle();
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_settle)};

	return cmocka_run_group_tests_name("config-settle", tests, rig_enter, rig_leave);
}
