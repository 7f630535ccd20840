/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Peers who may see only coarsely: whatever they ask, however often and by whatever route, no two
 * values that they get lie closer together than access.coarse_interval, less the eighth that a timer may
 * slip; and yet what they are told is exact, and their windows sum to the account.
 */
#include <math.h>
#include <stdlib.h>

#include "agent/api_internal.h"
#include "api_rig.h"

#define MS 1000000ULL

/* Everything eve has learned: joules of the node at a moment. */
static struct learned {
	double t_s, joules;
} learned[4096];
static size_t n_learned;

static int by_time(const void *a, const void *b)
{
	const struct learned *x = a, *y = b;

	return (x->t_s > y->t_s) - (x->t_s < y->t_s);
}

static void learn(double boot_ns, double joules)
{
	assert_true(n_learned < EG_ARRAY_SIZE(learned));
	learned[n_learned++] = (struct learned){(boot_ns - (double)RIG_T0) / 1e9, joules};
}

/* No two moments closer than seven eighths of a second, unless they are the same one; each is true. */
static void check_learned(void)
{
	qsort(learned, n_learned, sizeof(learned[0]), by_time);
	for (size_t i = 0; i < n_learned; i++) {
		const struct learned *x = &learned[i], *before = i ? x - 1 : NULL;

		if (fabs(x->joules - x->t_s * API_WATTS) > 1e-3)
			fail_msg("%.9f J at %.9f s", x->joules, x->t_s);
		if (before && x->t_s != before->t_s && x->t_s - before->t_s < 0.875)
			fail_msg("values at %.9f s and %.9f s", before->t_s, x->t_s);
	}
}

static double look_at_totals(const struct eg_http_peer *peer)
{
	json_t *j = api_call(peer, "GET", "/totals?fresh=1", NULL, 200);
	double joules = number_at(j, "total.joules");

	if (peer == &eve) {
		assert_true(json_is_false(at(j, "fresh")));
		assert_text(j, "access", "coarse");
		learn(number_at(j, "boot_ns"), joules);
	}
	json_decref(j);
	return joules;
}

static void polled_every_ten_milliseconds(void **state)
{
	double last = -1, fine;
	unsigned changes = 0;

	api_open();
	api_tick(0);
	n_learned = 0;
	for (uint64_t t = 10; t <= 10000; t += 10) {
		double now;

		rig_at(ar->rig, t * MS);
		if (t % 1000 == 0)
			api_tick(t * MS);
		now = look_at_totals(&eve);
		changes += now != last;
		last = now;
	}
	assert_int_equal(changes,
			 11); /* at 0.01 s, then each second, the first time a little early */
	assert_int_equal(ar->renewals, 11);
	check_learned();
	assert_int_equal(ar->fresh, 0);
	fine = look_at_totals(&alice); /* who may, sees the present */
	assert_true(fabs(fine - 10 * API_WATTS) < 1e-6);
}

static void power_is_as_coarse(void **state)
{
	json_t *a, *b;

	api_open();
	api_run(3 * SECOND, SECOND);
	a = api_call(&eve, "GET", "/power", NULL, 200);
	assert_number(a, "total.watts", API_WATTS);
	for (uint64_t t = 10; t < 870; t += 10) {
		rig_at(ar->rig, 3 * SECOND + t * MS);
		if (t % 100 == 0)
			api_tick(3 * SECOND + t * MS);
		b = api_call(&eve, "GET", "/power", NULL, 200);
		assert_true(number_at(b, "seq") == number_at(a, "seq"));
		json_decref(b);
		b = api_call(&eve, "GET", "/sensors", NULL, 200);
		assert_true(number_at(b, "seq") == number_at(a, "seq"));
		json_decref(b);
	}
	json_decref(a);
}

static void windows_that_are_served_at_once(void **state)
{
	char id[33];
	json_t *j;

	api_open();
	api_tick(0);
	rig_at(ar->rig,
	       5 * SECOND + 300 * MS); /* nobody has asked for long: a sample may be taken */
	j = api_call(&eve, "POST", "/windows", NULL, 201);
	assert_number(j, "begin_boot_ns", (double)(RIG_T0 + 5 * SECOND + 300 * MS));
	memcpy(id, text_at(j, "id"), sizeof(id));
	json_decref(j);
	api_run(10 * SECOND, SECOND / 2);
	rig_at(ar->rig, 10 * SECOND + 100 * MS);
	j = api_end(&eve, id);
	assert_number(j, "seconds", 4.8);
	assert_number(j, "total.joules", 4.8 * API_WATTS);
	/* The highest power is that of one sample. */
	assert_true(json_is_null(at(j, "total.max_watts")));
	for (size_t i = 0; i < json_array_size(at(j, "channels")); i++)
		assert_true(json_is_null(
			json_object_get(json_array_get(at(j, "channels"), i), "max_watts")));
	json_decref(j);
}

/* A renewal that was there before the request is no edge for it. */
static void windows_that_wait(void **state)
{
	struct fake_request *begin, *end;
	char id[33];
	json_t *j;

	api_open();
	api_tick(0);
	rig_at(ar->rig, 400 * MS);
	look_at_totals(&eve); /* renews it */
	rig_at(ar->rig, 500 * MS);
	begin = api_send(&eve, "POST", "/windows", NULL);
	assert_true(begin->deferred && !begin->answered);
	assert_true(eg_api_waits_coarse(ar->api));
	api_tick(SECOND);
	assert_false(begin->answered);
	rig_at(ar->rig, 1274 * MS);
	api_turn();
	assert_false(begin->answered);
	rig_at(ar->rig, 1275 * MS); /* as soon as it may be, not with the next tick */
	api_turn();
	assert_true(begin->answered);
	assert_false(eg_api_waits_coarse(ar->api));
	j = api_answer(begin, 201);
	assert_number(j, "begin_boot_ns", (double)(RIG_T0 + 1275 * MS));
	memcpy(id, text_at(j, "id"), sizeof(id));
	json_decref(j);
	rig_at(ar->rig, 1276 * MS);
	end = api_ask(&eve, "POST", id, "/end", NULL);
	assert_false(end->answered);
	api_tick(2 * SECOND);
	assert_false(end->answered);
	api_tick(2275 * MS);
	j = api_answer(end, 200);
	assert_number(j, "seconds", 1);
	assert_number(j, "total.joules", API_WATTS);
	json_decref(j);
	assert_int_equal(eg_api_windows(ar->api), 0);
}

/* One ends, the next begins on the same renewal: together they are the account. */
static void back_to_back(void **state)
{
	double sum = 0, first, last;
	char id[33], next[33];
	json_t *j;

	api_open();
	api_tick(0);
	rig_at(ar->rig, SECOND);
	first = look_at_totals(&eve);
	rig_at(ar->rig, SECOND);
	api_begin(&eve, NULL, id);
	for (unsigned k = 2; k < 40; k++) {
		struct fake_request *end, *begin;

		/* Asked for at any moment in between; fine readers have samples taken all the while. */
		rig_at(ar->rig, k * SECOND - 700 * MS);
		json_decref(api_call(&alice, "POST", "/sample", NULL, 200));
		end = api_ask(&eve, "POST", id, "/end", NULL);
		rig_at(ar->rig, k * SECOND - 300 * MS);
		json_decref(api_call(&alice, "POST", "/sample", NULL, 200));
		begin = api_send(&eve, "POST", "/windows", NULL);
		assert_false(end->answered || begin->answered);
		api_tick(k * SECOND);
		j = api_answer(begin, 201);
		memcpy(next, text_at(j, "id"), sizeof(next));
		json_decref(j);
		j = api_answer(end, 200);
		sum += number_at(j, "total.joules");
		json_decref(j);
		memcpy(id, next, sizeof(id));
	}
	last = look_at_totals(&eve);
	assert_true(fabs(sum - (last - first)) < 1e-6);
	assert_true(fabs(sum - 38 * API_WATTS) < 1e-6);
}

/* Requests that one turn of the loop serves together, those of a fine reader among them. */
static void other_readers_move_no_edge(void **state)
{
	struct fake_request *end;
	char id[33], mine[33];
	json_t *j;

	api_open();
	api_tick(0);
	n_learned = 0;
	rig_at(ar->rig, 900 * MS);
	look_at_totals(&eve);
	api_begin(&eve, NULL, id);
	rig_at(ar->rig, 901 * MS);
	api_begin(&alice, NULL, mine);
	end = api_ask(&eve, "POST", id, "/end", NULL);
	rig_at(ar->rig, 1900 * MS);
	ar->busy = true;
	look_at_totals(&eve); /* renews the view */
	rig_at(ar->rig, 1903 * MS);
	json_decref(api_answer(api_ask(&alice, "GET", mine, "", NULL), 200)); /* samples */
	json_decref(api_call(&alice, "POST", "/sample", NULL, 200));
	ar->busy = false;
	api_turn();
	/* The window's edge would be the renewal; the meter has gone on, so it is the next one. */
	assert_false(end->answered);
	api_tick(2 * SECOND);
	assert_false(end->answered);
	api_tick(3 * SECOND);
	j = api_answer(end, 200);
	learn(number_at(j, "begin_boot_ns"),
	      (number_at(j, "begin_boot_ns") - (double)RIG_T0) / 1e9 * API_WATTS);
	learn(number_at(j, "end_boot_ns"),
	      (number_at(j, "begin_boot_ns") - (double)RIG_T0) / 1e9 * API_WATTS +
		      number_at(j, "total.joules"));
	json_decref(j);
	look_at_totals(&eve);
	check_learned();
}

/* An edge that somebody always takes away: it is said, not waited for without end. */
static void overtaken_for_good(void **state)
{
	struct fake_request *begin;
	char mine[33];
	unsigned k = 1;

	api_open();
	api_tick(0);
	look_at_totals(&eve);
	api_begin(&alice, NULL, mine);
	rig_at(ar->rig, 1 * MS);
	begin = api_send(&eve, "POST", "/windows", NULL);
	for (; !begin->answered && k < 10; k++) {
		rig_at(ar->rig, k * SECOND);
		ar->busy = true;
		look_at_totals(&eve);
		rig_at(ar->rig, k * SECOND + 1 * MS);
		json_decref(api_answer(api_ask(&alice, "GET", mine, "", NULL), 200));
		ar->busy = false;
		api_turn();
	}
	assert_int_equal(k, EG_API_MISSED_MAX + 1);
	json_decref(api_answer(begin, 503));
	assert_int_equal(eg_api_windows(ar->api), 1);
	json_decref(api_end(&alice, mine));
}

static void learn_history(void)
{
	json_t *j = api_call(&eve, "GET", "/history", NULL, 200), *e;
	size_t i;

	json_array_foreach(at(j, "entries"), i, e)
	{
		learn(number_at(e, "boot_ns"), number_at(e, "total_joules"));
	}
	json_decref(j);
}

/* The history is recorded by ticks, the view renewed at moments that eve chooses: right beside them. */
static void history_adds_nothing(void **state)
{
	static const uint64_t offset_ms[] = {0, 998, 2, 500, 999, 1, 870, 880, 130};

	api_open();
	n_learned = 0;
	api_tick(0);
	for (unsigned k = 0; k < 90; k++) {
		uint64_t ms = offset_ms[k % EG_ARRAY_SIZE(offset_ms)];

		rig_at(ar->rig, k * SECOND + ms * MS);
		if (k % 4 != 3) /* sometimes she stays away */
			look_at_totals(&eve);
		if (k % 7 == 0)
			learn_history();
		api_tick((k + 1) * SECOND);
		if (k % 5 == 0)
			learn_history();
	}
	rig_at(ar->rig, 95 * SECOND);
	learn_history();
	assert_true(n_learned > 200);
	check_learned();
}

static void history_without_other_readers(void **state)
{
	json_t *j;

	api_open();
	api_run(60 * SECOND, SECOND);
	j = api_call(&alice, "GET", "/history", NULL, 200);
	assert_int_equal(json_array_size(at(j, "entries")), 60);
	assert_number(j, "entries.59.boot_ns", (double)(RIG_T0 + 60 * SECOND));
	json_decref(j);
	j = api_call(&eve, "GET", "/history", NULL,
		     200); /* hers is that of the renewal she causes */
	assert_int_equal(json_array_size(at(j, "entries")), 59);
	json_decref(j);
	j = api_call(&eve, "GET", "/history", NULL, 200);
	assert_int_equal(json_array_size(at(j, "entries")), 59);
	json_decref(j);
	api_run(62 * SECOND, SECOND);
	j = api_call(&eve, "GET", "/history", NULL, 200);
	assert_number(j, "entries.60.boot_ns", (double)(RIG_T0 + 61 * SECOND));
	json_decref(j);
}

/* A reload that makes coarse readers coarser holds for what the history tells them too. */
static void history_of_a_tighter_policy(void **state)
{
	json_t *j, *entries;

	api_open();
	api_run(10 * SECOND, SECOND);
	ar->cfg.access.coarse_interval_ns = 30 * SECOND;
	api_run(300 * SECOND, SECOND);
	j = api_call(&eve, "GET", "/history", NULL, 200);
	entries = at(j, "entries");
	assert_true(json_array_size(entries) >= 9);
	for (size_t i = 1; i < json_array_size(entries); i++)
		assert_true(number_at(json_array_get(entries, i), "boot_ns") -
				    number_at(json_array_get(entries, i - 1), "boot_ns") >=
			    30e9 * 7 / 8);
	json_decref(j);
}

static void expiry_needs_nobody(void **state)
{
	char id[33];
	json_t *j;

	api_open();
	api_tick(0);
	ar->cfg.access.max_windows = 1;
	api_begin(&eve, "{\"expires_seconds\": 10}", id);
	api_fails(&eve, "POST", "/windows", NULL, 429, "too_many_windows");
	api_run(12 * SECOND, SECOND); /* no coarse reader asks for anything */
	assert_int_equal(eg_api_windows(ar->api), 0);
	assert_int_equal(ar->renewals, 2);
	j = api_answer(api_ask(&eve, "GET", id, "", NULL), 410);
	assert_text(j, "result.state", "expired");
	assert_number(j, "result.total.joules", 10 * API_WATTS);
	assert_true(json_is_null(at(j, "result.total.max_watts")));
	json_decref(j);
	api_begin(&eve, NULL, id);
}

/* What was begun coarsely stays so, and what was begun finely is coarse from the change on. */
static void access_that_changes(void **state)
{
	struct fake_request *end;
	char id[33];
	json_t *j;

	api_open();
	api_tick(0);
	api_begin(&alice, NULL, id);
	ar->cfg.access.group = EG_ACCESS_COARSE;
	rig_at(ar->rig, 10 * SECOND);
	look_at_totals(&eve);
	rig_at(ar->rig, 10 * SECOND + 10 * MS);
	end = api_ask(&alice, "POST", id, "/end", NULL);
	assert_false(end->answered);
	api_tick(11 * SECOND);
	j = api_answer(end, 200);
	assert_number(j, "seconds", 11);
	assert_true(json_is_null(at(j, "total.max_watts")));
	json_decref(j);
	rig_at(ar->rig, 20 * SECOND);
	api_begin(&alice, NULL, id);
	ar->cfg.access.group = EG_ACCESS_FULL;
	rig_at(ar->rig, 20 * SECOND + 10 * MS);
	j = api_end(&alice, id);
	assert_true(json_is_null(at(j, "total.max_watts")));
	json_decref(j);
}

static void too_many_wait(void **state)
{
	static struct fake_request *f[EG_API_WAITS_MAX];
	struct eg_http_peer peer = eve;
	json_t *j;

	api_open();
	api_tick(0);
	look_at_totals(&eve);
	rig_at(ar->rig, 1 * MS);
	for (int i = 0; i < EG_API_WAITS_MAX; i++) {
		peer.uid = 3000 + (uid_t)(i / EG_API_WAITS_PEER);
		f[i] = api_send(&peer, "POST", "/windows", NULL);
		assert_true(f[i]->deferred);
		if (i == EG_API_WAITS_PEER - 1)
			api_fails(&peer, "POST", "/windows", NULL, 429, "too_many_requests");
	}
	peer.uid = 4000;
	api_fails(&peer, "POST", "/windows", NULL, 503, "busy");
	assert_int_equal(eg_api_windows(ar->api), EG_API_WAITS_MAX);
	json_decref(api_call(&alice, "POST", "/windows", NULL, 201)); /* who need not wait */
	api_tick(SECOND);
	for (int i = 0; i < EG_API_WAITS_MAX; i++) {
		j = api_answer(f[i], 201);
		assert_number(j, "begin_boot_ns", (double)(RIG_T0 + SECOND));
		json_decref(j);
	}
	api_begin(&peer, NULL, (char[33]){0});
}

/* A client that goes while it waits leaves no window behind. */
static void hangs_up(void **state)
{
	struct fake_request *f;
	char id[33];
	json_t *j;

	api_open();
	api_tick(0);
	look_at_totals(&eve);
	rig_at(ar->rig, 1 * MS);
	f = api_send(&eve, "POST", "/windows", NULL);
	assert_int_equal(eg_api_windows(ar->api), 1);
	fake_hang_up(f);
	fake_free(f);
	api_tick(SECOND);
	assert_int_equal(eg_api_windows(ar->api), 0);
	api_begin(&eve, NULL, id);
	rig_at(ar->rig, SECOND + 1 * MS);
	f = api_ask(&eve, "POST", id, "/end", NULL);
	fake_hang_up(f); /* of an end the result is kept */
	fake_free(f);
	api_tick(2 * SECOND);
	j = api_answer(api_ask(&eve, "GET", id, "", NULL), 410);
	assert_number(j, "result.total.joules", API_WATTS);
	json_decref(j);
}

/* Two ends of one window, and an end of one that is forgotten meanwhile. */
static void asked_twice(void **state)
{
	struct fake_request *one, *two;
	char id[33];

	api_open();
	api_tick(0);
	api_begin(&eve, NULL, id);
	rig_at(ar->rig, 1 * MS);
	one = api_ask(&eve, "POST", id, "/end", NULL);
	two = api_ask(&eve, "POST", id, "/end", NULL);
	api_tick(SECOND);
	json_decref(api_answer(one, 200));
	json_decref(api_answer(two, 410));
	api_begin(&eve, NULL, id);
	rig_at(ar->rig, SECOND + 1 * MS);
	one = api_ask(&eve, "POST", id, "/end", NULL);
	two = api_ask(&eve, "GET", id, "", NULL);
	json_decref(api_answer(api_ask(&eve, "DELETE", id, "", NULL), 200));
	api_tick(2 * SECOND);
	json_decref(api_answer(one, 404));
	json_decref(api_answer(two, 404));
}

static void the_agent_stops(void **state)
{
	struct fake_request *begin, *end, *look;
	char id[33];
	json_t *j;

	api_open();
	api_tick(0);
	api_begin(&eve, NULL, id);
	rig_at(ar->rig, 1 * MS);
	begin = api_send(&eve, "POST", "/windows", NULL);
	end = api_ask(&eve, "POST", id, "/end", NULL);
	look = api_ask(&eve, "GET", id, "", NULL);
	fake_hang_up(look);
	fake_free(look);
	ar->api = eg_api_free(ar->api);
	j = api_answer(begin, 503);
	assert_text(j, "error.code", "stopping");
	json_decref(j);
	json_decref(api_answer(end, 503));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, api_setup, api_teardown)
	const struct CMUnitTest tests[] = {
		T(polled_every_ten_milliseconds),
		T(power_is_as_coarse),
		T(windows_that_are_served_at_once),
		T(windows_that_wait),
		T(back_to_back),
		T(other_readers_move_no_edge),
		T(overtaken_for_good),
		T(history_adds_nothing),
		T(history_without_other_readers),
		T(history_of_a_tighter_policy),
		T(expiry_needs_nobody),
		T(access_that_changes),
		T(too_many_wait),
		T(hangs_up),
		T(asked_twice),
		T(the_agent_stops),
	};

	return cmocka_run_group_tests_name("api-coarse", tests, NULL, NULL);
}
