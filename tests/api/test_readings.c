/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Totals, power, sensors and history of the local API: against a known truth, to the microjoule where sums
 * are told, and with money where there is a price.
 */
#include <math.h>
#include <stdlib.h>

#include "agent/api_internal.h"
#include "api_rig.h"

static void totals(void **state)
{
	json_t *j, *a;

	api_open();
	api_run(100 * SECOND, SECOND);
	rig_at(ar->rig, 100 * SECOND + SECOND / 4);
	j = api_call(&alice, "GET", "/totals", NULL, 200);
	assert_text(j, "schema", "ergon.totals/1");
	assert_text(j, "access", "full");
	assert_number(j, "age_seconds", 0.25);
	assert_true(json_is_false(at(j, "fresh")));
	assert_number(j, "total.joules", 99 * API_WATTS); /* since the first sample */
	assert_number(j, "total.estimated_joules", 0);
	assert_text(j, "total.provenance", "measured");
	assert_text(j, "total.boundary", "component");
	assert_number(j, "total.since_unix_seconds", 1700000000 + RIG_T0 / SECOND);
	assert_int_equal(json_array_size(at(j, "total.channels")), 3);
	assert_number(j, "total.kwh", 99 * API_WATTS / 3.6e6);
	assert_false(has(j, "total.cost"));
	assert_false(has(j, "price"));
	assert_false(has(j, "top"));
	assert_int_equal(json_array_size(at(j, "accounts")), 4);
	a = pick(at(j, "accounts"), "component", "core");
	assert_number(a, "joules", 99 * 60.0);
	assert_text(a, "role", "part");
	assert_text(a, "channel", "rig/core");
	assert_number(a, "age_seconds", 0.25);
	json_decref(j);
	j = api_call(&alice, "GET", "/totals?fresh=true", NULL, 200);
	assert_true(json_is_true(at(j, "fresh")));
	assert_number(j, "total.joules", 99.25 * API_WATTS);
	assert_number(j, "age_seconds", 0);
	json_decref(j);
	assert_int_equal(ar->fresh, 1);
	j = api_call(&alice, "POST", "/sample", NULL, 200);
	assert_true(json_is_true(at(j, "fresh")));
	json_decref(j);
	assert_int_equal(ar->fresh, 2);
}

static uint64_t uj_at(json_t *j, const char *path)
{
	return (uint64_t)llround(number_at(j, path) * 1e6);
}

/* What is listed and `other` are the sum, for every length of the list. */
static void the_largest_and_the_rest(void **state)
{
	char target[64];

	rig_counter(ar->rig, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "33.3333W");
	rig_counter(ar->rig, "core", "cpu-0", EG_COMPONENT_CORE, "30W");
	rig_counter(ar->rig, "package-1", "cpu-1", EG_COMPONENT_PACKAGE, "33.3333W");
	rig_counter(ar->rig, "dram-0", "cpu-0", EG_COMPONENT_DRAM, "7.77777W");
	rig_gauge(ar->rig, "gpu-0", "gpu-x", EG_COMPONENT_GPU, "111.111W");
	rig_gauge(ar->rig, "gpu-1", "gpu-y", EG_COMPONENT_GPU, "0.000007W");
	rig_gauge(ar->rig, "chassis", "node", EG_COMPONENT_CHASSIS, "300W");
	api_open();
	api_run(77 * SECOND, SECOND / 7);
	for (unsigned top = 1; top <= 7; top++) {
		uint64_t sum = 0, last = UINT64_MAX;
		json_t *j, *e;
		size_t i;

		snprintf(target, sizeof(target), "/totals?top=%u", top);
		j = api_call(&alice, "GET", target, NULL, 200);
		assert_int_equal(json_array_size(at(j, "top.channels")), EG_MIN(top, 5));
		assert_number(j, "top.other.channels", 5 - EG_MIN(top, 5));
		json_array_foreach(at(j, "top.channels"), i, e)
		{
			assert_true(uj_at(e, "joules") <= last);
			last = uj_at(e, "joules");
			sum += last;
			/* Neither the whole machine nor the part of a part. */
			assert_string_not_equal(text_at(e, "component"), "chassis");
			assert_string_not_equal(text_at(e, "component"), "core");
		}
		assert_text(j, "top.channels.0.name", "rig/gpu-0");
		assert_true(sum + uj_at(j, "top.other.joules") == uj_at(j, "top.of_joules"));
		if (top >= 5)
			assert_int_equal(uj_at(j, "top.other.joules"), 0);
		json_decref(j);
	}
}

static void power(void **state)
{
	json_t *j;

	api_open();
	api_run(10 * SECOND, SECOND);
	j = api_call(&alice, "GET", "/power", NULL, 200);
	assert_number(j, "total.watts", API_WATTS);
	assert_number(pick(at(j, "channels"), "name", "rig/dram-0"), "watts", 25);
	json_decref(j);
	/* One is silent: its watts are not known, and neither is their sum. */
	ar->rig->c[3].absent = true;
	api_tick(11 * SECOND);
	rig_at(ar->rig, 12 * SECOND);
	j = api_call(&alice, "GET", "/power", NULL, 200);
	assert_true(json_is_null(at(j, "total.watts")));
	assert_number(j, "total.age_seconds", 2);
	assert_true(json_is_null(at(pick(at(j, "channels"), "name", "rig/gpu-0"), "watts")));
	assert_text(pick(at(j, "channels"), "name", "rig/gpu-0"), "status", "no_data");
	assert_number(pick(at(j, "channels"), "name", "rig/dram-0"), "watts", 25);
	json_decref(j);
}

/* T15: never a reading, no row, and no total that leaves it out silently; then 0. */
static void absent_is_absent(void **state)
{
	json_t *j;

	rig_gauge(ar->rig, "gpu-0", "gpu-x", EG_COMPONENT_GPU, "200W")->absent = true;
	api_open();
	api_run(10 * SECOND, SECOND);
	j = api_call(&alice, "GET", "/totals?top=3", NULL, 200);
	assert_int_equal(json_array_size(at(j, "accounts")), 0);
	assert_true(json_is_null(at(j, "total")));
	assert_int_equal(json_array_size(at(j, "top.channels")), 0);
	json_decref(j);
	j = api_call(&alice, "GET", "/sensors", NULL, 200);
	assert_true(json_is_null(at(j, "channels.0.watts")));
	assert_true(json_is_null(at(j, "channels.0.age_seconds")));
	assert_number(j, "channels.0.samples", 0);
	assert_number(j, "channels.0.failed", 10);
	json_decref(j);
	ar->rig->c[0].absent = false;
	api_tick(11 * SECOND);
	j = api_call(&alice, "GET", "/totals", NULL, 200);
	assert_int_equal(json_array_size(at(j, "accounts")), 1);
	assert_number(j, "accounts.0.joules", 0);
	assert_number(j, "total.joules", 0);
	json_decref(j);
}

/* Held readings are estimated, and the total says how much of it is. */
static void held_readings(void **state)
{
	double held;
	json_t *j, *a;

	rig_gauge(ar->rig, "gpu-0", "gpu-x", EG_COMPONENT_GPU, "200W");
	api_open();
	api_run(10 * SECOND, SECOND);
	ar->rig->c[0].absent = true;
	api_run(40 * SECOND, SECOND);
	ar->rig->c[0].absent = false;
	api_run(50 * SECOND, SECOND);
	j = api_call(&alice, "GET", "/totals", NULL, 200);
	assert_text(j, "total.provenance", "estimated");
	held = number_at(j, "total.estimated_joules");
	assert_true(held > 0);
	a = pick(at(j, "accounts"), "provenance", "estimated");
	assert_true(json_is_true(at(a, "held")));
	assert_number(a, "joules", held);
	a = pick(at(j, "accounts"), "provenance", "measured");
	assert_number(a, "joules", number_at(j, "total.joules") - held);
	json_decref(j);
}

static void open_for_money(const char *power, double price)
{
	struct rig_channel *c =
		rig_counter(ar->rig, "chassis", "node", EG_COMPONENT_CHASSIS, power);

	c->ch.modulus = 0;
	c->ch.update_ns = 0;
	c->ch.resolution_uj = 1;
	c->ch.max_uw = 10000 * 1000000ULL;
	ar->cfg.energy.has_price = true;
	ar->cfg.energy.price_per_kwh = price;
	api_open();
	api_tick(0);
}

/* T29: 98 640 000 J in 6 h. */
static void t29_kwh_and_dollars(void **state)
{
	char id[33];
	json_t *j;

	open_for_money("4566.666667W", 0.12);
	api_begin(&alice, NULL, id);
	api_run(6 * 3600 * SECOND, 30 * SECOND);
	j = api_end(&alice, id);
	assert_true(fabs(number_at(j, "total.joules") - 98640000) < 0.1);
	assert_true(fabs(number_at(j, "kwh") - 27.4) < 1e-7);
	assert_true(fabs(number_at(j, "cost") - 3.288) < 1e-7);
	assert_text(j, "cost_text", "$3.29");
	assert_true(fabs(number_at(j, "total.mean_watts") - 4566.7) < 0.05);
	json_decref(j);
	j = api_call(&alice, "GET", "/totals?top=1", NULL, 200);
	assert_text(j, "total.cost_text", "$3.29");
	assert_text(j, "accounts.0.cost_text", "$3.29");
	assert_text(j, "top.channels.0.cost_text", "$3.29");
	assert_text(j, "price.currency", "USD");
	assert_number(j, "price.decimals", 2);
	json_decref(j);
}

static void t29_smaller(void **state)
{
	json_t *j;

	open_for_money("3210W", 0.12);
	api_run(3600 * SECOND, 30 * SECOND);
	j = api_call(&alice, "GET", "/totals", NULL, 200);
	assert_number(j, "total.joules", 11556000);
	assert_number(j, "total.kwh", 3.21);
	assert_text(j, "total.cost_text", "$0.39");
	json_decref(j);
}

static void no_money(json_t *j)
{
	assert_false(has(j, "price"));
	assert_false(has(j, "total.cost"));
	assert_false(has(j, "total.cost_text"));
	assert_false(has(j, "accounts.0.cost"));
	assert_number(j, "total.kwh", 3.21);
	json_decref(j);
}

/* T30: kilowatt-hours only. A price that the configuration would not take makes none either. */
static void t30_no_price(void **state)
{
	const double no[] = {0, -0.12, (double)NAN, (double)INFINITY};
	json_t *j;

	open_for_money("3210W", 0.1234);
	api_run(3600 * SECOND, 30 * SECOND);
	j = api_call(&alice, "GET", "/totals", NULL, 200);
	assert_number(j, "price.per_kwh", 0.1234); /* all its digits (W19) */
	json_decref(j);
	ar->cfg.energy.show_cost = false;
	no_money(api_call(&alice, "GET", "/totals", NULL, 200));
	ar->cfg.energy.show_cost = true;
	ar->cfg.energy.has_price = false;
	no_money(api_call(&alice, "GET", "/totals", NULL, 200));
	ar->cfg.energy.has_price = true;
	for (size_t i = 0; i < EG_ARRAY_SIZE(no); i++) {
		ar->cfg.energy.price_per_kwh = no[i];
		no_money(api_call(&alice, "GET", "/totals", NULL, 200));
	}
}

static void sensors(void **state)
{
	json_t *j, *c;

	api_open();
	api_run(5 * SECOND, SECOND);
	j = api_call(&alice, "GET", "/sensors", NULL, 200);
	assert_int_equal(json_array_size(at(j, "channels")), 4);
	c = pick(at(j, "channels"), "name", "rig/core");
	assert_text(c, "role", "part");
	assert_text(c, "of", "rig/package-0");
	assert_text(c, "quantity", "energy");
	assert_text(c, "unit", "joules");
	assert_number(c, "watts", 60);
	assert_number(c, "samples", 5);
	json_decref(j);
}

/* A diagnostic may hold joules of somebody's window: not for those who see coarsely. */
static void diagnostics_are_blurred(void **state)
{
	static const char secret[] = "rapl says 123.456 J";
	json_t *j, *d;

	api_open();
	api_tick(0);
	for (int i = 0; i < 5; i++)
		eg_meter_diagnose(ar->rig->meter, EG_DIAG_CROSSCHECK, "rig", "x", "look", secret);
	eg_meter_diagnose(ar->rig->meter, EG_DIAG_SENSOR_BLOCKED, "rig", "y", "chmod",
			  "not for you");
	j = api_call(&alice, "GET", "/sensors", NULL, 200);
	d = pick(at(j, "diagnostics"), "code", "crosscheck");
	assert_text(d, "detail", secret);
	assert_number(d, "count", 5);
	json_decref(j);
	j = api_call(&eve, "GET", "/sensors", NULL, 200);
	d = pick(at(j, "diagnostics"), "code", "crosscheck");
	assert_null(strstr(text_at(d, "detail"), "123"));
	assert_number(d, "count", 1);
	assert_text(pick(at(j, "diagnostics"), "code", "sensor_blocked"), "detail", "not for you");
	json_decref(j);
}

static void history(void **state)
{
	json_t *j;

	api_open();
	api_run(700 * SECOND, SECOND / 2);
	j = api_call(&alice, "GET", "/history", NULL, 200);
	assert_number(j, "kept_seconds", 600);
	assert_number(j, "step_seconds", 1);
	assert_int_equal(json_array_size(at(j, "entries")), 600);
	assert_int_equal(json_array_size(at(j, "channels")), 4);
	assert_number(j, "entries.599.total_watts", API_WATTS);
	assert_number(j, "entries.599.joules.0",
		      (number_at(j, "entries.599.boot_ns") - (double)RIG_T0) / 1e9 * 100 - 50);
	assert_number(j, "entries.599.total_joules",
		      number_at(j, "entries.0.total_joules") + 599 * API_WATTS);
	json_decref(j);
	j = api_call(&alice, "GET", "/history?minutes=1&step=10", NULL, 200);
	assert_number(j, "step_seconds", 10);
	assert_in_range(json_array_size(at(j, "entries")), 6, 7);
	json_decref(j);
	j = api_call(&alice, "GET", "/history?minutes=90s", NULL, 200);
	assert_in_range(json_array_size(at(j, "entries")), 90, 91);
	json_decref(j);
	j = api_call(&alice, "GET", "/history?minutes=99999999&step=0.001", NULL, 200);
	assert_int_equal(json_array_size(at(j, "entries")), 600);
	json_decref(j);
}

/* Longer than the ring's memory: thinner, and as long. */
static void a_long_history(void **state)
{
	json_t *j;

	ar->cfg.agent.history_ns = 10 * 86400 * SECOND;
	api_open();
	api_run(3000 * SECOND, SECOND);
	j = api_call(&alice, "GET", "/history", NULL, 200);
	assert_true(number_at(j, "kept_seconds") >= 10 * 86400);
	assert_true(number_at(j, "step_seconds") > 1);
	assert_true((double)json_array_size(at(j, "entries")) <=
		    3000 / number_at(j, "step_seconds") + 2);
	json_decref(j);
}

static void no_history(void **state)
{
	ar->cfg.agent.history_ns = 0;
	api_open();
	api_tick(0);
	api_fails(&alice, "GET", "/history", NULL, 404, "no_history");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, api_setup, api_teardown)
	const struct CMUnitTest tests[] = {
		T(totals),	  T(the_largest_and_the_rest), T(power),       T(absent_is_absent),
		T(held_readings), T(t29_kwh_and_dollars),      T(t29_smaller), T(t30_no_price),
		T(sensors),	  T(diagnostics_are_blurred),  T(history),     T(a_long_history),
		T(no_history),
	};

	return cmocka_run_group_tests_name("api-readings", tests, NULL, NULL);
}
