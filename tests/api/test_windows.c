/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows of peers who may see everything: their sums against a known truth, nested and many at once,
 * with work counted inside them; whose they are; how they end, expire and are forgotten; limits.
 */
#include <math.h>
#include <stdlib.h>

#include "agent/api_internal.h"
#include "api_rig.h"

static void one_window(void **state)
{
	char id[33];
	json_t *j;

	api_open();
	api_tick(0);
	rig_at(ar->rig, SECOND / 4); /* between two ticks: its edges are samples of its own */
	j = api_call(&alice, "POST", "/windows", "{\"name\": \"job\"}", 201);
	assert_text(j, "name", "job");
	assert_number(j, "begin_boot_ns", (double)(RIG_T0 + SECOND / 4));
	assert_number(j, "expires_in_seconds", 86400);
	memcpy(id, text_at(j, "id"), sizeof(id));
	json_decref(j);
	assert_int_equal(eg_api_windows(ar->api), 1);
	api_run(10 * SECOND, SECOND);
	rig_at(ar->rig, 10 * SECOND + SECOND / 4);
	j = api_answer(api_ask(&alice, "GET", id, "", NULL), 200);
	assert_text(j, "state", "open");
	assert_number(j, "total.joules", 10 * API_WATTS);
	assert_number(j, "expires_in_seconds", 86390);
	json_decref(j);
	rig_at(ar->rig, 20 * SECOND + SECOND / 4);
	j = api_end(&alice, id);
	assert_text(j, "name", "job");
	assert_number(j, "seconds", 20);
	assert_number(j, "total.joules", 20 * API_WATTS);
	assert_number(j, "total.mean_watts", API_WATTS);
	assert_true(number_at(j, "total.uncertainty_joules") > 0);
	assert_text(j, "total.provenance", "measured");
	assert_int_equal(json_array_size(at(j, "total.channels")), 3);
	assert_number(pick(at(j, "channels"), "name", "rig/core"), "joules", 20 * 60.0);
	assert_text(pick(at(j, "channels"), "name", "rig/core"), "role", "part");
	assert_false(has(j, "expires_in_seconds"));
	json_decref(j);
	assert_int_equal(eg_api_windows(ar->api), 0);
}

static void nested_windows(void **state)
{
	char outer[33], inner[33], later[33];
	json_t *j;

	api_open();
	api_tick(0);
	api_begin(&alice, "{\"name\": \"x\"}", outer);
	api_run(5 * SECOND, SECOND);
	api_begin(&alice, "{\"name\": \"x\"}", inner); /* names need not differ */
	api_run(8 * SECOND, SECOND);
	api_begin(&alice, NULL, later); /* overlaps both */
	json_decref(api_end(&alice, inner));
	api_run(20 * SECOND, SECOND);
	j = api_end(&alice, outer);
	assert_number(j, "total.joules", 20 * API_WATTS);
	json_decref(j);
	api_run(21 * SECOND, SECOND);
	j = api_end(&alice, later);
	assert_number(j, "total.joules", 13 * API_WATTS);
	json_decref(j);
	j = api_answer(api_ask(&alice, "GET", inner, "", NULL), 410);
	assert_number(j, "result.total.joules", 3 * API_WATTS);
	json_decref(j);
}

static void hundred_at_once(void **state)
{
	static char id[100][33];

	api_open();
	for (int i = 0; i < 100; i++) {
		api_tick((uint64_t)i * SECOND);
		api_begin(i % 2 ? &alice : &bob, NULL, id[i]);
	}
	assert_int_equal(eg_api_windows(ar->api), 100);
	for (int i = 0; i < 100; i++) {
		int k = i * 37 % 100; /* in another order */
		json_t *j;

		rig_at(ar->rig, (uint64_t)(100 + i) * SECOND);
		j = api_end(k % 2 ? &alice : &bob, id[k]);
		assert_number(j, "total.joules", (100 + i - k) * API_WATTS);
		json_decref(j);
	}
	assert_int_equal(eg_api_windows(ar->api), 0);
}

/* A session is a window: it ends and the next begins, and the counter knows nothing of it (T14). */
static void t14_session(void **state)
{
	char session[33];
	json_t *j;

	rig_counter(ar->rig, "gpu-0", "gpu-x", EG_COMPONENT_GPU, "300W")->ch.update_ns = 0;
	ar->rig->c[0].ch.resolution_uj = 1;
	api_open();
	api_tick(0);
	api_begin(&alice, "{\"name\": \"session\"}", session);
	api_run(600 * SECOND, SECOND);
	j = api_end(&alice, session);
	assert_number(j, "total.joules", 180000); /* T3 */
	assert_number(j, "kwh", 0.05);
	json_decref(j);
	api_begin(&alice, "{\"name\": \"session\"}", session);
	api_run(660 * SECOND, SECOND);
	j = api_end(&alice, session);
	assert_number(j, "total.joules", 18000);
	json_decref(j);
	j = api_call(&alice, "GET", "/totals", NULL, 200);
	assert_number(j, "total.joules", 198000);
	assert_number(j, "accounts.0.joules", 198000);
	json_decref(j);
}

static void add_units(const char *id, const char *unit, const char *count, unsigned status,
		      const char *code)
{
	char body[128];
	json_t *j;

	snprintf(body, sizeof(body), "{\"unit\": \"%s\", \"count\": %s}", unit, count);
	j = api_answer(api_ask(&alice, "POST", id, "/units", body), status);
	if (code)
		assert_text(j, "error.code", code);
	json_decref(j);
}

static void units_of_work(void **state)
{
	char id[33];
	json_t *j;

	api_open();
	api_tick(0);
	api_begin(&alice, NULL, id);
	api_run(10 * SECOND, SECOND);
	add_units(id, "tokens", "100", 200, NULL);
	add_units(id, "tokens", "30", 200, NULL);
	add_units(id, "images", "0", 200, NULL);
	j = api_end(&alice, id);
	assert_text(j, "units.0.unit", "tokens");
	assert_number(j, "units.0.count", 130);
	assert_number(j, "units.0.joules_per_unit", 10 * API_WATTS / 130);
	assert_number(j, "units.0.uncertainty_joules_per_unit",
		      number_at(j, "total.uncertainty_joules") / 130);
	assert_number(j, "units.1.count", 0); /* nothing is nothing per unit */
	assert_true(json_is_null(at(j, "units.1.joules_per_unit")));
	json_decref(j);
}

static void units_have_limits(void **state)
{
	char id[33], name[8];

	api_open();
	api_tick(0);
	api_begin(&alice, NULL, id);
	add_units(id, "n", "9223372036854775807", 200, NULL);
	add_units(id, "n", "9223372036854775807", 200, NULL);
	add_units(id, "n", "1", 200, NULL); /* 2^64 - 1 */
	add_units(id, "n", "1", 409, "overflow");
	add_units(id, "n", "0", 200, NULL);
	for (int i = 1; i < EG_UNITS_MAX; i++) {
		snprintf(name, sizeof(name), "u%d", i);
		add_units(id, name, "1", 200, NULL);
	}
	add_units(id, "more", "1", 409, "too_many_units");
	add_units(id, "u1", "1", 200, NULL);
	add_units(id, "0123456789012345678901234567890", "1", 409, "too_many_units");
	add_units(id, "01234567890123456789012345678901", "1", 400, "bad_value");
	add_units(id, "", "1", 400, "bad_value");
	add_units(id, "n", "-1", 400, "bad_value");
	add_units(id, "n", "0.5", 400, "bad_value");
	add_units(id, "n", "1.0", 400, "bad_value");
	add_units(id, "n", "\"1\"", 400, "bad_value");
	add_units(id, "n", "null", 400, "bad_value");
	add_units(id, "n", "9223372036854775808", 400, "bad_json");
	api_fails(&alice, "POST", "/windows/x/units", NULL, 400, "missing_member");
}

/* To everybody but the owner there is no such window, in the same words as if there were none. */
static void others_see_nothing(void **state)
{
	const struct eg_http_peer *others[] = {&bob, &eve, &root, &agent, &carol, &anon};
	const char *const what[][2] = {
		{"GET", ""}, {"DELETE", ""}, {"POST", "/end"}, {"POST", "/units"}};
	static const char none[] = "0123456789abcdef0123456789abcdef";
	char id[33];
	json_t *j;

	api_open();
	api_tick(0);
	api_begin(&alice, NULL, id);
	for (size_t i = 0; i < EG_ARRAY_SIZE(others); i++) {
		for (size_t k = 0; k < EG_ARRAY_SIZE(what); k++) {
			const char *body = k == 3 ? "{\"unit\": \"n\", \"count\": 1}" : NULL;
			struct fake_request *real, *made;

			real = api_ask(others[i], what[k][0], id, what[k][1], body);
			made = api_ask(others[i], what[k][0], none, what[k][1], body);
			assert_int_equal(real->status, 404);
			assert_int_equal(made->status, 404);
			assert_string_equal(real->data, made->data);
			fake_free(real);
			fake_free(made);
		}
		j = api_call(others[i], "GET", "/windows", NULL, 200);
		assert_int_equal(json_array_size(at(j, "windows")), 0);
		json_decref(j);
	}
	json_decref(api_end(&alice, id));
	/* Nor do they see that it was there. */
	for (size_t i = 0; i < EG_ARRAY_SIZE(others); i++)
		json_decref(api_answer(api_ask(others[i], "GET", id, "", NULL), 404));
	json_decref(api_answer(api_ask(&alice, "GET", id, "", NULL), 410));
}

static void owners(void **state)
{
	struct eg_http_peer twin = alice, token = carol, forged = carol;
	char id[33];

	api_open();
	api_tick(0);
	/* Another process of the same uid is the same owner; the same name over TCP too. */
	twin.pid = 99;
	twin.gid = 7;
	api_begin(&alice, NULL, id);
	ar->cfg.access.others = EG_ACCESS_FULL;
	json_decref(api_end(&twin, id));
	api_begin(&carol, NULL, id);
	json_decref(api_answer(api_ask(&dave, "GET", id, "", NULL), 404));
	forged.authenticated = false; /* a name that nobody vouches for */
	json_decref(api_answer(api_ask(&forged, "GET", id, "", NULL), 404));
	forged = carol;
	forged.local = true;
	json_decref(api_answer(api_ask(&forged, "GET", id, "", NULL), 404));
	token.uid = 1000; /* of no meaning over TCP */
	json_decref(api_end(&token, id));
}

static void anonymous_windows(void **state)
{
	char id[33];
	json_t *j;

	api_open();
	api_tick(0);
	ar->cfg.access.anonymous = EG_ACCESS_FULL;
	api_begin(&anon, NULL, id);
	j = api_call(&anon, "GET", "/windows", NULL, 200); /* the id is what they know of theirs */
	assert_true(json_is_false(at(j, "listed")));
	assert_int_equal(json_array_size(at(j, "windows")), 0);
	json_decref(j);
	json_decref(api_end(&anon, id));
}

static void listed(void **state)
{
	char a[33], b[33], other[33];
	json_t *j;

	api_open();
	api_tick(0);
	api_begin(&alice, "{\"name\": \"a\"}", a);
	api_begin(&bob, "{\"name\": \"other\"}", other);
	api_begin(&alice, "{\"name\": \"b\", \"expires_seconds\": 60}", b);
	api_run(10 * SECOND, SECOND);
	j = api_call(&alice, "GET", "/windows", NULL, 200);
	assert_int_equal(json_array_size(at(j, "windows")), 2);
	assert_text(j, "windows.0.id", a);
	assert_text(j, "windows.1.name", "b");
	assert_number(j, "windows.1.expires_in_seconds", 50);
	json_decref(j);
}

static void ended_and_forgotten(void **state)
{
	char id[33], gone[33];
	json_t *j;

	api_open();
	api_tick(0);
	api_begin(&alice, NULL, id);
	api_begin(&alice, NULL, gone);
	json_decref(api_answer(api_ask(&alice, "DELETE", gone, "", NULL), 200));
	json_decref(api_answer(api_ask(&alice, "GET", gone, "", NULL), 404));
	json_decref(api_answer(api_ask(&alice, "DELETE", gone, "", NULL), 404));
	api_run(10 * SECOND, SECOND);
	json_decref(api_end(&alice, id));
	api_run(69 * SECOND, SECOND);
	j = api_answer(api_ask(&alice, "POST", id, "/end", NULL), 410);
	assert_text(j, "error.code", "ended");
	assert_number(j, "result.total.joules", 10 * API_WATTS);
	assert_text(j, "result.state", "ended");
	json_decref(j);
	api_run(70 * SECOND, SECOND); /* a minute has passed */
	json_decref(api_answer(api_ask(&alice, "POST", id, "/end", NULL), 404));
}

static void expiry(void **state)
{
	char id[33];
	json_t *j;

	api_open();
	api_tick(0);
	rig_at(ar->rig, SECOND / 2);
	api_begin(&alice, "{\"expires_seconds\": 9.75}", id);
	api_run(10 * SECOND, SECOND / 2);
	rig_at(ar->rig, 10 * SECOND + SECOND / 5);
	json_decref(api_answer(api_ask(&alice, "GET", id, "", NULL), 200));
	/* Its time is over, its end is not there yet. */
	rig_at(ar->rig, 10 * SECOND + SECOND / 4);
	j = api_answer(api_ask(&alice, "POST", id, "/end", NULL), 410);
	assert_text(j, "error.code", "expired");
	assert_true(json_is_null(at(j, "result")));
	json_decref(j);
	api_tick(11 * SECOND);
	assert_int_equal(eg_api_windows(ar->api), 0);
	for (int i = 0; i < 2; i++) {
		j = api_answer(api_ask(&alice, i ? "POST" : "GET", id, i ? "/end" : "", NULL), 410);
		assert_text(j, "error.code", "expired");
		assert_text(j, "result.state", "expired");
		assert_number(j, "result.seconds", 10.5);
		assert_number(j, "result.total.joules", 10.5 * API_WATTS);
		json_decref(j);
	}
	json_decref(api_answer(api_ask(&bob, "GET", id, "", NULL), 404));
	api_tick(71 * SECOND);
	json_decref(api_answer(api_ask(&alice, "GET", id, "", NULL), 404));
}

static void a_shorter_expiry_after_a_reload(void **state)
{
	char id[33];

	api_open();
	api_tick(0);
	api_begin(&alice, NULL, id);
	ar->cfg.access.window_expiry_ns = 60 * SECOND; /* holds for those that begin now */
	api_run(100 * SECOND, SECOND);
	json_decref(api_end(&alice, id));
	api_fails(&alice, "POST", "/windows", "{\"expires_seconds\": 61}", 400, "bad_value");
	api_begin(&alice, NULL, id);
	api_run(161 * SECOND, SECOND);
	json_decref(api_answer(api_ask(&alice, "GET", id, "", NULL), 410));
}

static void limits(void **state)
{
	char first[33], id[33];
	json_t *j;

	api_open();
	api_tick(0);
	ar->cfg.access.max_windows = 5;
	api_begin(&alice, NULL, first);
	for (int i = 1; i < 5; i++)
		api_begin(&alice, NULL, id);
	j = api_call(&alice, "POST", "/windows", NULL, 429);
	assert_text(j, "error.code", "too_many_windows");
	assert_non_null(strstr(text_at(j, "error.message"), "5"));
	json_decref(j);
	api_begin(&bob, NULL, id); /* another one's limit is his own */
	json_decref(api_end(&alice, first));
	api_begin(&alice, NULL, first);
	json_decref(api_answer(api_ask(&alice, "DELETE", first, "", NULL), 200));
	api_begin(&alice, NULL, first);
	api_fails(&alice, "POST", "/windows", NULL, 429, "too_many_windows");
}

static void the_meter_is_full(void **state)
{
	char id[33];

	api_open();
	api_tick(0);
	ar->cfg.access.max_windows = UINT64_MAX;
	for (int i = 1; i < EG_WINDOWS_MAX; i++) /* one is the agent's own */
		api_begin(&alice, NULL, id);
	api_fails(&alice, "POST", "/windows", NULL, 503, "too_many_windows");
	api_fails(&bob, "POST", "/windows", NULL, 503, "too_many_windows");
	assert_int_equal(eg_api_windows(ar->api), EG_WINDOWS_MAX - 1);
	json_decref(api_end(&alice, id));
	api_begin(&bob, NULL, id);
}

/* Results are kept for few: of one owner his newest, and nobody pushes out those of all others. */
static void kept_results_have_a_ceiling(void **state)
{
	static char id[EG_API_KEPT_MAX + 8][33];
	struct eg_http_peer peer = alice;
	char own[33];

	api_open();
	api_tick(0);
	api_begin(&bob, NULL, own);
	json_decref(api_end(&bob, own));
	for (int i = 0; i < EG_API_KEPT_PEER + 1; i++) {
		rig_at(ar->rig, (uint64_t)(i + 1) * SECOND / 10);
		api_begin(&alice, NULL, id[i]);
		json_decref(api_end(&alice, id[i]));
	}
	json_decref(api_answer(api_ask(&alice, "GET", id[0], "", NULL), 404));
	json_decref(api_answer(api_ask(&alice, "GET", id[1], "", NULL), 410));
	json_decref(api_answer(api_ask(&bob, "GET", own, "", NULL), 410));
	for (int i = 0; i < EG_API_KEPT_MAX; i++) { /* of many owners the oldest goes */
		rig_at(ar->rig, 10 * SECOND + (uint64_t)i * SECOND / 10);
		peer.uid = 2000 + (uid_t)i;
		api_begin(&peer, NULL, id[i]);
		json_decref(api_end(&peer, id[i]));
	}
	json_decref(api_answer(api_ask(&bob, "GET", own, "", NULL), 404));
	json_decref(api_answer(api_ask(&peer, "GET", id[EG_API_KEPT_MAX - 1], "", NULL), 410));
}

static void ids_are_not_guessed(void **state)
{
	char a[33], b[33], upper[33];

	api_open();
	api_tick(0);
	api_begin(&alice, NULL, a);
	api_begin(&alice, NULL, b);
	assert_string_not_equal(a, b);
	assert_int_equal(strspn(a, "0123456789abcdef"), 32);
	/* Exactly the id, or nothing. */
	for (size_t i = 0; i < sizeof(upper); i++)
		upper[i] = (char)(a[i] >= 'a' && a[i] <= 'f' ? a[i] - 32 : a[i]);
	if (strcmp(upper, a) != 0)
		json_decref(api_answer(api_ask(&alice, "GET", upper, "", NULL), 404));
	b[31] = '\0';
	json_decref(api_answer(api_ask(&alice, "GET", b, "", NULL), 404));
	json_decref(api_answer(api_ask(&alice, "GET", "a?b", "", NULL), 404));
	json_decref(api_answer(api_ask(&alice, "GET", EG_METER_SINCE_OPEN, "", NULL), 404));
	json_decref(api_answer(api_ask(&alice, "GET", "..", "", NULL), 404));
}

/* A machine whose only channel gives nothing: no number, and none per unit either. */
static void without_a_value(void **state)
{
	char id[33];
	json_t *j;

	rig_gauge(ar->rig, "gpu-0", "gpu-x", EG_COMPONENT_GPU, "200W")->absent = true;
	api_open();
	api_tick(0);
	api_begin(&alice, NULL, id);
	add_units(id, "n", "7", 200, NULL);
	api_run(10 * SECOND, SECOND);
	j = api_end(&alice, id);
	assert_true(json_is_null(at(j, "total")));
	assert_false(has(j, "kwh"));
	assert_true(json_is_null(at(j, "units.0.joules_per_unit")));
	assert_true(json_is_null(at(j, "channels.0.joules")));
	json_decref(j);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, api_setup, api_teardown)
	const struct CMUnitTest tests[] = {
		T(one_window),
		T(nested_windows),
		T(hundred_at_once),
		T(t14_session),
		T(units_of_work),
		T(units_have_limits),
		T(others_see_nothing),
		T(owners),
		T(anonymous_windows),
		T(listed),
		T(ended_and_forgotten),
		T(expiry),
		T(a_shorter_expiry_after_a_reload),
		T(limits),
		T(the_meter_is_full),
		T(kept_results_have_a_ceiling),
		T(ids_are_not_guessed),
		T(without_a_value),
	};

	return cmocka_run_group_tests_name("api-windows", tests, NULL, NULL);
}
